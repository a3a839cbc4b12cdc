"""The codec against every message, and against bytes that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.errors.types import ProtocolError
from snakepit_nb.wire import codec, messages
from tests.wire import says


def decoded(packet: bytes) -> list[messages.Message] | None:
    """What a packet says, None where it is refused; no other error may come."""
    try:
        return codec.decode(packet)
    except ProtocolError:
        return None


@pytest.mark.parametrize("kind", says.KINDS)
def test_every_kind_of_message_has_a_frame(kind: type) -> None:
    @given(says.of_kind(kind))
    def comes_back(message: messages.Message) -> None:
        (found,) = codec.decode(codec.encode(message))
        assert found == message
        assert type(found) is kind

    comes_back()


@given(st.lists(says.every, max_size=6))
def test_any_messages_in_one_packet_come_out_in_their_order(several: list[messages.Message]) -> None:
    found = codec.decode(codec.encode_all(several))
    assert found == several
    assert [type(each) for each in found] == [type(each) for each in several]


@given(st.lists(says.every, min_size=1, max_size=4), st.data())
def test_a_packet_cut_anywhere_but_between_frames_is_refused(
    several: list[messages.Message], data: st.DataObject
) -> None:
    frames = [codec.encode(each) for each in several]
    packet = b"".join(frames)
    cut = data.draw(st.integers(0, len(packet) - 1))
    ends = [sum(map(len, frames[:count])) for count in range(len(frames))]
    if cut in ends:
        assert codec.decode(packet[:cut]) == several[: ends.index(cut)]
    else:
        with pytest.raises(ProtocolError):
            codec.decode(packet[:cut])


@given(st.binary(max_size=200))
def test_garbage_only_ever_gives_protocol_error(packet: bytes) -> None:
    decoded(packet)


@given(says.every, st.data())
def test_a_changed_byte_gives_protocol_error_or_whole_messages(
    message: messages.Message, data: st.DataObject
) -> None:
    packet = bytearray(codec.encode(message))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    found = decoded(bytes(packet))
    if found is not None:
        # What was understood is what is written again, but for the two bytes that mean nothing.
        again = codec.encode_all(found)
        assert codec.decode(again) == found
        assert len(again) == len(packet)


@given(says.every, says.every, st.binary(min_size=1, max_size=40))
def test_a_packet_with_garbage_behind_good_frames_is_refused_as_a_whole(
    first: messages.Message, second: messages.Message, garbage: bytes
) -> None:
    rest = decoded(garbage)
    found = decoded(codec.encode_all([first, second]) + garbage)
    assert found == (None if rest is None else [first, second, *rest])


@given(says.numbers, *[st.binary(max_size=50)] * 3)
def test_the_quick_way_out_writes_what_the_ordinary_one_writes(
    number: int, key: bytes, arguments: bytes, buffers: bytes
) -> None:
    call = messages.Call(number, key, arguments, buffers)
    assert codec.encode_call(*call) == codec.encode(call)
    value = messages.Value(number, 1, 2**64 - 1, arguments, buffers)
    assert codec.encode_value(*value) == codec.encode(value)


def test_an_empty_packet_says_nothing() -> None:
    assert codec.decode(b"") == []


def test_another_release_is_told_from_garbage() -> None:
    for message in (messages.Stop(), messages.Call(1, b"", b"", b""), messages.Value(1, 1, 1, b"", b"")):
        packet = bytearray(codec.encode(message))
        packet[1] = codec.VERSION + 1
        with pytest.raises(ProtocolError, match=rf"wire version {codec.VERSION + 1}, .*restart both"):
            codec.decode(bytes(packet))


def test_text_that_is_not_utf_8_is_refused() -> None:
    packet = codec.encode(messages.Output(1, "stdout", "ab"))
    with pytest.raises(ProtocolError, match="Output frame holds text that is not UTF-8"):
        codec.decode(packet.replace(b"ab", b"\xff\xfe"))


def test_half_a_character_does_not_keep_the_rest_of_a_text_from_arriving() -> None:
    (found,) = codec.decode(codec.encode(messages.Output(1, "stdout", "a\udcffb")))
    assert found == messages.Output(1, "stdout", "a?b")


@pytest.mark.parametrize("number", [-1, 2**64, 1.5, "7"])
def test_a_number_that_does_not_fit_is_refused_with_the_message_s_name(number: object) -> None:
    with pytest.raises(ProtocolError, match="Hello does not fit its frame"):
        codec.encode(messages.Hello(number, 0, "", ""))  # type: ignore[arg-type]


@given(st.lists(says.numbers, max_size=10))
def test_leases_come_back_in_their_order(leases: list[int]) -> None:
    assert codec.unpack_leases(codec.pack_leases(leases)) == leases


@given(st.binary(max_size=40))
def test_leases_of_an_odd_length_are_refused(packed: bytes) -> None:
    if len(packed) % 8:
        with pytest.raises(ProtocolError, match=f"a list of leases of {len(packed)} bytes"):
            codec.unpack_leases(packed)
    else:
        assert codec.pack_leases(codec.unpack_leases(packed)) == packed
