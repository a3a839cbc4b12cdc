"""A handle: where an array lies in memory that processes share, as a plain value, and that value as bytes.

*Rule:* a handle is checked field by field against the arena's bounds before anything is mapped from it.

As bytes a handle is a head of numbers, two signed 64-bit integers for each axis (lengths, then strides), its
texts with a zero byte between them, and where it is its own memory, the content. Little-endian.
"""

from __future__ import annotations

import json
import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast, get_args

from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snakepit_nb.arrays.dtypes import Descr

Mode = Literal["copy_on_write", "in_place", "readonly"]
Memory = Literal["arena", "inline", "again"]

_WRITABLE: Final = "+w"


class ArrayHandle(NamedTuple):
    """Where one array or buffer lies, and how to read it.

    Attributes:
        kind: `"dlpack"` for arrays, `"arrow"` for columns and other plain buffers.
        memory: `"arena"`; `"inline"` where the bytes came along in `content`; `"again"` for the very array of
            an earlier handle of the message, whose number is `start`.
        arena: The id of the arena that the bytes lie in.
        generation: Which life of that block this is; a stale handle never maps a newer array.
        offset: First byte of the extent, from the arena's start.
        nbytes: Length of the extent in bytes: a whole block, in which other handles may lie too.
        lease: The owner's number for this loan; it goes back in a release.
        device: `"cpu"`.
        dtype: NumPy's descr: a string, or a list for structured types.
        shape: Length of each axis.
        strides: Bytes between elements along each axis.
        start: Bytes from `offset` to the first element (negative strides start at the end).
        mode: How the extent is to be mapped; all handles of one lease say the same.
        writable: Whether the array may be written to, in a mapping that may.
        content: The bytes themselves, where `memory` says so.

    Example:
        >>> ArrayHandle("dlpack", "arena", "k1", 1, 0, 16, 1, "cpu", "<f8", (2,), (8,), 0).mode
        'copy_on_write'
    """

    kind: str
    memory: Memory
    arena: str
    generation: int
    offset: int
    nbytes: int
    lease: int
    device: str
    dtype: str | list[object]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int
    mode: Mode = "copy_on_write"
    writable: bool = True
    content: bytes = b""


_MODES: Final = get_args(Mode)
_MEMORIES: Final = get_args(Memory)
_HEAD: Final = struct.Struct("<IHBBQQQQq")
_MOST_AXES: Final = 64
_TEXTS: Final = 5
_TEXTS_KEPT: Final = 256


@cache
def _axes(count: int) -> struct.Struct:
    return struct.Struct(f"<{2 * count}q")


def to_bytes(handle: ArrayHandle) -> bytes:
    """A handle as bytes; several are their bytes end to end.

    Example:
        >>> handle = ArrayHandle("dlpack", "arena", "k1", 1, 0, 16, 1, "cpu", "<f8", (2,), (8,), 0)
        >>> from_bytes(to_bytes(handle)) == [handle]
        True
    """
    dtype = handle.dtype
    text = _text(
        handle.kind,
        handle.memory,
        handle.arena,
        handle.device,
        dtype if isinstance(dtype, str) else json.dumps(dtype),
    )
    axes = len(handle.shape)
    head = _HEAD.pack(
        len(text), axes, _MODES.index(handle.mode), handle.writable,
        handle.generation, handle.offset, handle.nbytes, handle.lease, handle.start,
    )  # fmt: skip
    return b"".join((head, _axes(axes).pack(*handle.shape, *handle.strides), text, handle.content))


@lru_cache(_TEXTS_KEPT)
def _text(*texts: str) -> bytes:
    return "\0".join(texts).encode()


@lru_cache(_TEXTS_KEPT)
def _texts(text: bytes) -> tuple[str, str, str, str, Descr]:
    texts = text.decode().split("\0")
    if len(texts) != _TEXTS or texts[1] not in _MEMORIES:
        message = f"its texts are {texts!r}"
        raise ValueError(message)
    kind, memory, arena, device, dtype = texts
    descr = cast("list[object]", json.loads(dtype)) if dtype.startswith("[") else dtype
    return kind, memory, arena, device, descr


def from_bytes(data: bytes) -> list[ArrayHandle]:
    """The handles in `data`, end to end.

    Raises:
        ArrayError: the bytes are not whole handles; the message says what is wrong with them.

    Example:
        >>> from_bytes(b"")
        []
    """
    found = []
    position = 0
    try:
        while position < len(data):
            handle, position = _read(data, position)
            found.append(handle)
    except (struct.error, ValueError, RecursionError) as error:
        message = f"no whole array handle at byte {position} of {len(data)}: {error}"
        raise ArrayError(message) from error
    return found


def _read(data: bytes, position: int) -> tuple[ArrayHandle, int]:
    length, axes, mode, writable, generation, offset, nbytes, lease, start = _HEAD.unpack_from(data, position)
    if axes > _MOST_AXES or mode >= len(_MODES):
        message = f"{axes} axes, mode {mode}"
        raise ValueError(message)
    position += _HEAD.size
    numbers = _axes(axes).unpack_from(data, position)
    position += 16 * axes
    text = data[position : position + length]
    position += length
    if len(text) != length:
        message = f"{len(text)} bytes of the {length} of its texts"
        raise ValueError(message)
    kind, memory, arena, device, descr = _texts(text)
    content = b""
    if memory == "inline":
        content = data[position : position + nbytes]
        position += nbytes
        if len(content) != nbytes:
            message = f"{len(content)} bytes of its {nbytes} came along"
            raise ValueError(message)
    handle = ArrayHandle(
        kind, cast("Memory", memory), arena, generation, offset, nbytes, lease, device, descr,
        numbers[:axes], numbers[axes:], start, _MODES[mode], bool(writable), content,
    )  # fmt: skip
    return handle, position


def again(number: int) -> bytes:
    """What stands for the array of the message's handle `number`, counted from 0, as bytes.

    Example:
        >>> from_bytes(again(3))[0].start
        3
    """
    return to_bytes(ArrayHandle("", "again", "", 0, 0, 0, 0, "cpu", "|u1", (), (), number))


def writable_view(arena: str) -> str:
    """The name under which an arena is introduced to a peer that may write to it.

    Example:
        >>> plain(writable_view("k1"))
        'k1'
    """
    return arena if arena.endswith(_WRITABLE) else arena + _WRITABLE


def plain(arena: str) -> str:
    """The arena's own id, whatever view of it is named.

    Example:
        >>> plain("k1")
        'k1'
    """
    return arena.removesuffix(_WRITABLE)


def strongest(modes: Iterable[Mode]) -> Mode:
    """How memory is mapped that is asked for in these ways at once: its views stay views of one memory.

    Example:
        >>> strongest(["readonly", "copy_on_write"])
        'copy_on_write'
    """
    wanted = modes if isinstance(modes, set) else set(modes)
    if "in_place" in wanted:
        return "in_place"
    return "copy_on_write" if "copy_on_write" in wanted else "readonly"


def span(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, int]:
    """From where to where the elements of an array lie, in bytes from its first element.

    Example:
        >>> span((3,), (-8,), 8)
        (-16, 8)
    """
    low = high = 0
    for length, stride in zip(shape, strides, strict=True):
        if stride < 0:
            low += (length - 1) * stride
        else:
            high += (length - 1) * stride
    return low, high + itemsize


def check_extent(handle: ArrayHandle, itemsize: int, arena_bytes: int) -> None:
    """Check that every element lies inside the extent and the extent inside the arena.

    Raises:
        ArrayError: it does not; the message says which bound is broken.

    Example:
        >>> good = ArrayHandle("dlpack", "arena", "k1", 1, 0, 16, 1, "cpu", "<f8", (2,), (8,), 0)
        >>> check_extent(good, 8, 4096)
    """
    if handle.offset < 0 or handle.nbytes < 0 or handle.offset + handle.nbytes > arena_bytes:
        reach = f"{handle.offset}+{handle.nbytes} of {arena_bytes} bytes"
        message = f"array handle reaches outside its arena: {reach}"
        raise ArrayError(message)
    if len(handle.shape) != len(handle.strides) or any(length < 0 for length in handle.shape):
        message = f"array handle with shape {handle.shape} and strides {handle.strides}"
        raise ArrayError(message)
    if 0 in handle.shape:
        return
    low, high = span(handle.shape, handle.strides, itemsize)
    if handle.start + low < 0 or handle.start + high > handle.nbytes:
        low, high = handle.start + low, handle.start + high
        message = f"array handle's elements span bytes {low} to {high} of an extent of {handle.nbytes}"
        raise ArrayError(message)
