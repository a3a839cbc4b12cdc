"""Messages to bytes and back, without any input or output.

*Rule:* the codec never runs anything that a peer sent: numbers by `struct`, text as UTF-8, bytes as they are.

A frame is a head (tag, version, two bytes that mean nothing), the message's numbers, the lengths of its byte
fields, both as unsigned 64-bit integers, and then those fields. Little-endian. A packet is frames end to end.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.types import ProtocolError
from snakepit_nb.wire import messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.wire.messages import Message

VERSION: Final = 1
_HEAD: Final = struct.Struct("<BBxx")


class _Layout:
    """How one kind of message lies in a frame: its numbers come first, then its byte and text fields."""

    __slots__ = ("build", "numbers", "pack", "size", "struct", "tag", "text")

    def __init__(self, tag: int, kind: type, fields: str) -> None:
        numbers = fields.count("n")
        self.tag = tag
        self.build = kind
        self.numbers = numbers
        self.text = tuple(index for index, field in enumerate(fields) if field == "t")
        self.struct = struct.Struct(f"<BBxx{'Q' * len(fields)}")
        self.pack = self.struct.pack
        self.size = self.struct.size


# n: number, b: bytes, t: text; numbers stand first in every message.
_KINDS: Final[tuple[tuple[int, type, str], ...]] = (
    (1, messages.Define, "bbb"),
    (2, messages.Call, "nbbb"),
    (3, messages.Release, "b"),
    (4, messages.Stop, ""),
    (5, messages.Nudge, ""),
    (6, messages.Hello, "nntt"),
    (7, messages.Value, "nnnbb"),
    (8, messages.Error, "nnnb"),
    (9, messages.Output, "ntt"),
    (10, messages.Display, "nb"),
    (11, messages.Events, "nb"),
    (12, messages.Spill, "nnnt"),
    (13, messages.Broken, "b"),
    (14, messages.Introduce, "nt"),
    (15, messages.Dismiss, "t"),
    (16, messages.Item, "nbb"),
    (17, messages.Stream, "nn"),
    (18, messages.More, "nn"),
    (19, messages.Enough, "n"),
    (20, messages.Interrupt, "n"),
    (21, messages.Forward, "b"),
)
_BY_TAG: Final = {tag: _Layout(tag, kind, fields) for tag, kind, fields in _KINDS}
_BY_KIND: Final = {layout.build: layout for layout in _BY_TAG.values()}
_CALL: Final = _BY_KIND[messages.Call]
_VALUE: Final = _BY_KIND[messages.Value]
_new: Final = tuple.__new__  # what a NamedTuple's own constructor calls, in twice the time


def encode(message: Message) -> bytes:
    """The frame of one message.

    Raises:
        ProtocolError: a number is negative or above 64 bits.

    Example:
        >>> decode(encode(messages.Stop()))
        [Stop()]
    """
    layout = _BY_KIND[type(message)]
    numbers = layout.numbers
    fields: list[bytes] = list(message[numbers:])  # type: ignore[arg-type]
    for index in layout.text:
        fields[index - numbers] = fields[index - numbers].encode("utf-8", "replace")  # type: ignore[attr-defined]
    try:
        head = layout.pack(layout.tag, VERSION, *message[:numbers], *map(len, fields))
    except struct.error as error:
        text = f"{type(message).__name__} does not fit its frame: {error}"
        raise ProtocolError(text) from error
    return b"".join((head, *fields))


def encode_call(request_id: int, key: bytes, arguments: bytes, buffers: bytes) -> bytes:
    """The frame of a `Call`, straight from its fields: this is the hot path's way out.

    Example:
        >>> decode(encode_call(7, b"key", b"args", b""))
        [Call(request_id=7, key=b'key', arguments=b'args', buffers=b'')]
    """
    head = _CALL.pack(2, VERSION, request_id, len(key), len(arguments), len(buffers))
    return b"".join((head, key, arguments, buffers))


def encode_value(request_id: int, started_ns: int, ended_ns: int, value: bytes, buffers: bytes) -> bytes:
    """The frame of a `Value`, straight from its fields: this is the hot path's way back.

    Example:
        >>> decode(encode_value(7, 1, 2, b"v", b""))[0].request_id
        7
    """
    head = _VALUE.pack(7, VERSION, request_id, started_ns, ended_ns, len(value), len(buffers))
    return b"".join((head, value, buffers))


def encode_all(several: Iterable[Message]) -> bytes:
    """One packet of several messages, in order.

    Example:
        >>> len(decode(encode_all([messages.Nudge(), messages.Stop()])))
        2
    """
    return b"".join(map(encode, several))


def decode(packet: bytes) -> list[Message]:
    """The messages of one packet, in order.

    Raises:
        ProtocolError: the bytes are not whole frames of this version; nothing of the packet is used then.

    Example:
        >>> decode(b"")
        []
    """
    end = len(packet)
    tag = packet[0] if end > _HEAD.size else 0
    # The hot path both ways: one call, or one answer, and nothing else in its packet.
    if tag == _VALUE.tag and end >= _VALUE.size:
        _, version, number, started, ended, value, buffers = _VALUE.struct.unpack_from(packet)
        middle = _VALUE.size + value
        if middle + buffers == end and version == VERSION:
            answer = (number, started, ended, packet[_VALUE.size : middle], packet[middle:])
            return [_new(messages.Value, answer)]
    elif tag == _CALL.tag and end >= _CALL.size:
        _, version, number, key, arguments, buffers = _CALL.struct.unpack_from(packet)
        first = _CALL.size + key
        second = first + arguments
        if second + buffers == end and version == VERSION:
            call = (number, packet[_CALL.size : first], packet[first:second], packet[second:])
            return [_new(messages.Call, call)]
    return _decode_each(packet)


def _decode_each(packet: bytes) -> list[Message]:
    found: list[Message] = []
    position, end = 0, len(packet)
    while position < end:
        layout = _BY_TAG.get(packet[position])
        if layout is None or position + layout.size > end:
            text = f"no whole frame at byte {position} of a packet of {end} bytes"
            raise ProtocolError(text)
        _, version, *head = layout.struct.unpack_from(packet, position)
        if version != VERSION:
            text = (
                f"wire version {version}, expected {VERSION}: kernel and worker run different releases; "
                "restart both"
            )
            raise ProtocolError(text)
        position += layout.size
        for index in range(layout.numbers, len(head)):
            length = head[index]
            head[index] = packet[position : position + length]
            position += length
        if position > end:
            text = f"a {layout.build.__name__} frame says more bytes than its packet holds"
            raise ProtocolError(text)
        try:
            for index in layout.text:
                head[index] = head[index].decode()
        except UnicodeDecodeError as error:
            text = f"a {layout.build.__name__} frame holds text that is not UTF-8"
            raise ProtocolError(text) from error
        found.append(layout.build(*head))
    return found


_LEASE: Final = struct.Struct("<Q")


def pack_leases(leases: Iterable[int]) -> bytes:
    """Lease numbers as a `Release` carries them.

    Example:
        >>> unpack_leases(pack_leases([1, 2]))
        [1, 2]
    """
    return b"".join(map(_LEASE.pack, leases))


def unpack_leases(packed: bytes) -> list[int]:
    """Undo `pack_leases`.

    Raises:
        ProtocolError: the length is not a multiple of eight bytes.

    Example:
        >>> unpack_leases(b"")
        []
    """
    if len(packed) % _LEASE.size:
        text = f"a list of leases of {len(packed)} bytes"
        raise ProtocolError(text)
    return [number for (number,) in _LEASE.iter_unpack(packed)]
