"""First shares that are kept: what never changes is copied once, and lent from then on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb.arrays.arena import Arena, ArenaFull
from snakepit_nb.arrays.memory import PAGE
from snakepit_nb.arrays.shares import Shares
from snakepit_nb.arrays.shipping import Shipment
from snakepit_nb.arrays.store import Store
from tests.stores import KERNEL, WORKER, checked_events, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPORT = "snakepit.zero_copy.export"
FALLBACK = "snakepit.zero_copy.fallback"


class Owner:
    """Owns memory that never changes."""

    def __init__(self, nbytes: int = 10 * PAGE, value: int = 7) -> None:
        self.data = np.full(nbytes, value, np.uint8)


def send(store: Store, owner: Owner, holder: str = WORKER) -> tuple[int, ...]:
    shipment = Shipment(store)
    item = shipment.add(owner.data, kind="arrow", cached_by=owner)
    assert item is not None
    leases = shipment.seal([item]).leases
    store.hand(leases, holder)
    return leases


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store("kernel", Arena(100 * PAGE), inline_bytes=0)
    yield made
    made.close()


def test_the_first_loan_is_a_copy_and_the_next_ones_are_not(store: Store) -> None:
    owner = Owner()
    with checked_events(EXPORT, FALLBACK) as captured:
        for _ in range(3):
            store.release(send(store, owner))
    assert captured.names() == [FALLBACK, EXPORT, EXPORT]
    assert captured[0].has({"reason": "first_share", "bytes": 10 * PAGE, "kind": "arrow"})
    assert store.stats().cached_bytes == store.stats().live_bytes == 10 * PAGE


def test_what_is_lent_from_a_kept_copy_is_what_was_copied(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    owner = Owner(value=9)
    for _ in range(2):
        shipment = Shipment(kernel)
        item = shipment.add(owner.data, cached_by=owner)
        assert item is not None
        from snakepit_nb.arrays.handle import from_bytes

        (handle,) = from_bytes(shipment.seal([item, item]).buffers)[:1]
        there = worker.import_(handle, peer=KERNEL)
        assert (there.min(), there.max(), there.nbytes) == (9, 9, owner.data.nbytes)
        there[0] = 1
        del there
        settle(kernel, worker)


def test_a_kept_copy_goes_with_its_owner_and_not_before_its_last_loan(store: Store) -> None:
    owner = Owner()
    leases = send(store, owner)
    del owner
    assert (store.stats().cached_bytes, store.stats().live_bytes) == (0, 10 * PAGE)
    store.release(leases)
    assert store.stats().live_bytes == 0


def test_an_owner_that_ends_while_the_books_are_open_is_booked_later(store: Store) -> None:
    assert store.shares is not None
    owners = [Owner()]
    store.release(send(store, owners[0]))
    with store.shares._books.lock:
        other = threading.Thread(target=owners.clear)
        other.start()
        other.join(10)
        assert not other.is_alive()
        assert store.stats().cached_bytes == 10 * PAGE
    store.shares._books.settle()
    assert store.stats().live_bytes == 0


def test_another_owner_at_the_same_place_gets_a_copy_of_its_own(store: Store) -> None:
    assert store.shares is not None
    first = Owner()
    store.release(send(store, first))
    impostor = Owner()
    key = (id(impostor), *next(iter(store.shares._kept))[1:])
    store.shares._kept[key] = next(iter(store.shares._kept.values()))
    assert store.shares.find(impostor, key[1], key[2]) is None
    del store.shares._kept[key]


def test_kept_copies_never_take_more_than_a_part_of_the_arena(store: Store) -> None:
    owners = [Owner() for _ in range(5)]
    for owner in owners:
        store.release(send(store, owner))
    assert store.stats().cached_bytes <= 25 * PAGE
    with checked_events(EXPORT, FALLBACK) as captured:
        store.release(send(store, owners[-1]))
        store.release(send(store, owners[0]))
    assert captured.names() == [EXPORT, FALLBACK]
    huge = Owner(60 * PAGE)
    store.release(send(store, huge))
    assert store.stats().cached_bytes <= 25 * PAGE


def test_kept_copies_make_room_for_what_is_needed_now(store: Store) -> None:
    owners = [Owner() for _ in range(2)]
    for owner in owners:
        store.release(send(store, owner))
    block = store.allocate(95 * PAGE)
    assert store.stats().cached_bytes == 0
    with pytest.raises(ArenaFull):
        store.allocate(10 * PAGE)
    assert store.arena is not None
    store.arena.free(block)
    for owner in owners:
        store.release(send(store, owner))


def test_what_cannot_be_referred_to_weakly_is_not_kept() -> None:
    arena = Arena(100 * PAGE)
    shares = Shares(arena)
    block = arena.allocate(PAGE)
    shares.keep((1, 2), 0, 10, block)
    assert shares.nbytes == 0
    arena.free(block)
    assert arena.live_bytes == 0
    arena.close()


def test_a_worker_does_not_copy_what_never_changes_because_it_keeps_it() -> None:
    worker = Store("worker", Arena(100 * PAGE), inline_bytes=0)
    owner = Owner()
    with checked_events(EXPORT, FALLBACK) as captured:
        for _ in range(2):
            shipment = Shipment(worker)
            item = shipment.add(owner.data, cached_by=owner)
            assert item is not None
            worker.release(shipment.seal([item], moving=True).leases)
    assert captured.names() == [FALLBACK, EXPORT]
    worker.close()
