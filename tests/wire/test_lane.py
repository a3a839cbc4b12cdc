"""Descriptors beside a channel: each arena once, memory of one message as often as there are any."""

from __future__ import annotations

import os
import resource
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.store import Store
from snakepit_nb.errors.types import ArrayError, ProtocolError
from snakepit_nb.wire import codec, messages
from snakepit_nb.wire.lane import DescriptorLane
from tests.stores import descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lanes() -> Iterator[tuple[DescriptorLane, DescriptorLane]]:
    ours, theirs = map(DescriptorLane, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(1 << 20)
    yield made
    made.close()


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store("worker", None)
    yield made
    made.close()


def known(store: Store, arena: str) -> bool:
    found = store.open_readonly(arena)
    if found is not None:
        os.close(found[0])
    return found is not None


def fill(lane: DescriptorLane) -> int:
    """Say things until the lane is full; how many it took."""
    count = 0
    try:
        while True:
            lane.sock.send(codec.encode(messages.Dismiss("nobody")))
            count += 1
    except BlockingIOError:
        return count


def test_a_peer_knows_an_arena_from_its_introduction_to_its_dismissal(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    assert not ours.knows(arena.id)
    ours.introduce(arena.id, arena.fd, arena.nbytes)
    assert ours.knows(arena.id)
    theirs.update(store)
    assert known(store, arena.id)
    ours.dismiss(arena.id)
    theirs.update(store)
    assert not ours.knows(arena.id)
    assert not known(store, arena.id)


def test_an_arena_is_introduced_once_and_the_descriptor_closed_behind_exec(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    before = descriptors()
    for _ in range(3):
        ours.introduce(arena.id, arena.fd, arena.nbytes)
    theirs.update(store)
    assert descriptors() == before + 1
    received = store.borrower._attached[arena.id].fd
    assert not os.get_inheritable(received)


def test_an_arena_that_the_peer_never_knew_is_not_dismissed(
    lanes: tuple[DescriptorLane, DescriptorLane],
) -> None:
    ours, theirs = lanes
    ours.dismiss("nobody")
    with pytest.raises(BlockingIOError):
        theirs.sock.recv(100)


def test_nothing_on_a_lane_and_a_closed_lane_are_no_news(
    lanes: tuple[DescriptorLane, DescriptorLane], store: Store
) -> None:
    ours, theirs = lanes
    theirs.update(store)
    ours.close()
    theirs.update(store)


@pytest.mark.parametrize(
    "packet",
    [
        codec.encode(messages.Stop()),
        codec.encode(messages.Introduce(1 << 20, "k1")) * 2,
        b"garbage",
    ],
    ids=["another message", "two in one", "garbage"],
)
def test_anything_else_on_a_lane_is_refused_and_its_descriptor_closed(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store, packet: bytes
) -> None:
    ours, theirs = lanes
    before = descriptors()
    socket.send_fds(ours.sock, [packet], [arena.fd])
    with pytest.raises(ProtocolError):
        theirs.update(store)
    assert descriptors() == before


def test_an_introduction_without_a_descriptor_is_refused(
    lanes: tuple[DescriptorLane, DescriptorLane], store: Store
) -> None:
    ours, theirs = lanes
    ours.sock.send(codec.encode(messages.Introduce(1 << 20, "k1")))
    with pytest.raises(ProtocolError, match="a lane for descriptors carried"):
        theirs.update(store)


def test_memory_that_is_shorter_than_said_is_refused(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    before = descriptors()
    ours.introduce(arena.id, arena.fd, arena.nbytes + 1)
    with pytest.raises(ArrayError, match="shorter"):
        theirs.update(store)
    assert descriptors() == before


def test_a_full_lane_says_so_at_once_and_an_introduction_can_be_tried_again(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    fill(ours)
    with pytest.raises(BlockingIOError):
        ours.introduce(arena.id, arena.fd, arena.nbytes)
    assert not ours.knows(arena.id)
    theirs.update(store)
    ours.introduce(arena.id, arena.fd, arena.nbytes)
    theirs.update(store)
    assert known(store, arena.id)


def test_who_waits_for_room_in_a_lane_goes_on_when_the_peer_reads(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    fill(ours)
    waiting = threading.Thread(
        target=lambda: ours.hand_over(arena.id, arena.fd, arena.nbytes, wait=True), daemon=True
    )
    waiting.start()
    while waiting.is_alive():
        theirs.update(store)
    theirs.update(store)
    assert known(store, arena.id)


def test_a_dismissal_that_finds_the_lane_full_is_said_before_the_next_word(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    ours.introduce(arena.id, arena.fd, arena.nbytes)
    fill(ours)
    ours.dismiss(arena.id)
    theirs.update(store)
    assert known(store, arena.id)
    other = Arena(1 << 20)
    ours.introduce(other.id, other.fd, other.nbytes)
    theirs.update(store)
    assert known(store, other.id)
    assert not known(store, arena.id)
    other.close()


def test_what_there_is_no_descriptor_for_waits_until_there_is_one(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    ours.introduce(arena.id, arena.fd, arena.nbytes)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All numbers below the limit are taken.
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(ArrayError, match=r"no descriptor is left here .*: close files"):
            theirs.update(store)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    theirs.update(store)
    assert known(store, arena.id)


def test_what_a_peer_handed_over_is_there_although_it_died_with_something_unread(
    lanes: tuple[DescriptorLane, DescriptorLane], arena: Arena, store: Store
) -> None:
    ours, theirs = lanes
    ours.recall("unread")
    theirs.introduce(arena.id, arena.fd, arena.nbytes)
    theirs.close()
    ours.update(store)
    assert known(store, arena.id)
