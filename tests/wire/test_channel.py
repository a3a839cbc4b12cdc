"""One end of a conversation: whole packets or none, and a way for packets of any length."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.store import Store
from snakepit_nb.errors.types import ArrayError, ProtocolError
from snakepit_nb.wire import channel, codec, messages
from snakepit_nb.wire.channel import LONGEST, Channel
from snakepit_nb.wire.lane import DescriptorLane
from tests.stores import KERNEL, WORKER, descriptors, introduce

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP = codec.encode(messages.Stop())


class Conversation:
    """A kernel's and a worker's end, each with a store and a lane."""

    def __init__(self, room: str = "arena") -> None:
        self.stores = [
            Store(
                role,
                None
                if room == "no arena"
                else Arena(64 << 20, budget=4096 if room == "full arena" else None),
            )
            for role in ("kernel", "worker")
        ]
        self.far: socket.socket
        ours, self.far = channel.pair()
        lanes = [DescriptorLane(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
        self.kernel = Channel(ours, self.stores[0], WORKER, lanes[0])
        self.worker = Channel(self.far, self.stores[1], KERNEL, lanes[1])
        for end, other in ((self.kernel, self.worker), (self.worker, self.kernel)):
            if other.store.arena is not None:
                introduce(other.store, end.store)
                end.peer_arena = other.store.arena.id

    def settle(self) -> None:
        """Take ended leases home, as the next message would."""
        self.stores[0].release(self.stores[1].take_returns(KERNEL))
        self.stores[1].release(self.stores[0].take_returns(WORKER))

    def is_clean(self) -> bool:
        self.settle()
        return all((each.stats().leases, each.stats().live_bytes) == (0, 0) for each in self.stores)

    def close(self) -> None:
        for end in (self.kernel, self.worker):
            end.close()
            if end.lane is not None:
                end.lane.close()
            end.store.close()


@pytest.fixture
def talk(request: pytest.FixtureRequest) -> Iterator[Conversation]:
    made = Conversation(getattr(request, "param", "arena"))
    yield made
    made.close()


def call(nbytes: int, number: int = 1) -> messages.Call:
    return messages.Call(number, b"key", os.urandom(nbytes), b"")


def test_a_packet_arrives_whole_or_not_at_all(talk: Conversation) -> None:
    assert talk.worker.receive() is None
    sent: list[messages.Message] = [messages.Define(b"key", b"function", b""), call(1000)]
    assert talk.kernel.send(codec.encode_all(sent))
    assert talk.worker.receive() == sent
    assert talk.worker.receive() is None


def test_packets_come_in_the_order_they_were_sent(talk: Conversation) -> None:
    sent = [call(10, number) for number in range(20)]
    for each in sent:
        talk.kernel.send(codec.encode(each))
    assert [talk.worker.receive() for _ in sent] == [[each] for each in sent]


def test_the_end_of_the_peer_is_an_end_and_not_a_silence(talk: Conversation) -> None:
    talk.worker.close()
    with pytest.raises(EOFError):
        talk.kernel.receive()
    with pytest.raises(EOFError):
        talk.kernel.spin(1_000_000)
    with pytest.raises(BrokenPipeError):
        talk.kernel.send(STOP)


def test_garbage_from_the_peer_is_a_protocol_error(talk: Conversation) -> None:
    talk.far.send(b"garbage")
    with pytest.raises(ProtocolError):
        talk.kernel.receive()


def test_a_spinning_side_finds_what_is_there_and_gives_up_in_the_end(talk: Conversation) -> None:
    assert talk.worker.spin(0) is None
    assert talk.worker.spin(100_000) is None
    talk.kernel.send(STOP)
    assert talk.worker.spin(0) == [messages.Stop()]


def test_a_sleeping_side_is_woken_by_a_packet_and_by_the_end_of_the_peer(talk: Conversation) -> None:
    assert not talk.worker.wait(0)
    talk.kernel.send(STOP)
    assert talk.worker.wait(None)
    talk.worker.receive()
    talk.kernel.close()
    assert talk.worker.wait(None)


@pytest.mark.parametrize("talk", ["arena", "no arena", "full arena"], indirect=True)
@pytest.mark.parametrize("nbytes", [LONGEST - 100, LONGEST, 65_536, 5_000_000])
def test_a_packet_of_any_length_arrives_both_ways_and_leaves_nothing(talk: Conversation, nbytes: int) -> None:
    talk.kernel.send(STOP)
    talk.worker.receive()
    before = descriptors()
    sent = call(nbytes)
    assert talk.kernel.send(codec.encode(sent))
    assert talk.worker.receive() == [sent]
    answer = messages.Value(1, 2, 3, sent.arguments, b"")
    assert talk.worker.send(codec.encode(answer), wait=True)
    assert talk.kernel.receive() == [answer]
    assert talk.is_clean()
    assert descriptors() == before


@pytest.mark.parametrize("talk", ["arena", "no arena", "full arena"], indirect=True)
def test_a_long_packet_that_nobody_took_can_be_taken_back(talk: Conversation) -> None:
    before = descriptors()
    sent = [call(100_000, number) for number in range(3)]
    for each in sent:
        assert talk.kernel.send(codec.encode(each))
    assert talk.worker.receive() == [sent[0]]
    taken = [talk.kernel.own(talk.far.recv(1 << 16)) for _ in range(2)]
    assert taken == [[sent[1]], [sent[2]]]
    assert talk.worker.receive() is None
    # The peer closes what it was handed for nothing when it looks at its lane next.
    assert talk.worker.lane is not None
    talk.worker.lane.update(talk.worker.store)
    assert talk.is_clean()
    assert descriptors() == before


@pytest.mark.parametrize("talk", ["arena", "no arena"], indirect=True)
def test_a_long_packet_for_a_full_socket_is_refused_at_once_and_leaves_nothing(talk: Conversation) -> None:
    count = 0
    while talk.kernel.send(STOP):
        count += 1
    before = descriptors()
    packet = codec.encode(call(100_000))
    assert not talk.kernel.send(packet)
    assert talk.kernel.store.stats().live_bytes == 0
    for _ in range(count):
        assert talk.worker.receive() == [messages.Stop()]
    assert talk.kernel.send(packet)
    assert talk.worker.receive() == codec.decode(packet)
    assert talk.is_clean()
    assert descriptors() == before


@pytest.mark.parametrize("talk", ["arena", "no arena"], indirect=True)
def test_a_long_packet_for_a_peer_that_is_gone_leaves_nothing(talk: Conversation) -> None:
    talk.worker.close()
    before = descriptors()
    with pytest.raises(BrokenPipeError):
        talk.kernel.send(codec.encode(call(100_000)))
    assert talk.is_clean()
    assert descriptors() == before


@pytest.mark.parametrize("talk", ["arena", "no arena"], indirect=True)
def test_the_death_of_the_peer_frees_a_long_packet_that_it_never_took(talk: Conversation) -> None:
    before = descriptors()
    talk.kernel.send(codec.encode(call(100_000)))
    talk.kernel.store.forget(WORKER)
    assert talk.kernel.store.stats().leases == 0
    assert talk.kernel.store.stats().live_bytes == 0
    assert descriptors() == before


def test_without_arena_and_lane_a_long_packet_is_an_error_that_leaves_nothing(talk: Conversation) -> None:
    ours, theirs = channel.pair()
    alone = Channel(ours, Store("kernel", None), WORKER)
    before = descriptors()
    with pytest.raises(ArrayError, match="needs an arena, or a lane"):
        alone.send(codec.encode(call(100_000)))
    assert descriptors() == before
    assert alone.send(STOP)
    alone.close()
    theirs.close()
    del talk


@pytest.mark.parametrize("talk", ["no arena"], indirect=True)
def test_a_shortage_of_descriptors_is_not_taken_for_the_end_of_the_peer(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(talk.kernel.store, "open_readonly", none_left)
    with pytest.raises(ArrayError, match="cannot be handed over: Too many open files"):
        talk.kernel.send(codec.encode(call(100_000)))
    assert talk.is_clean()


def test_a_note_of_memory_that_is_not_there_is_an_error(talk: Conversation) -> None:
    talk.kernel.send(codec.encode(messages.Spill(0, 10, 1, "elsewhere")))
    with pytest.raises(ArrayError, match="cannot be read here"):
        talk.worker.receive()
