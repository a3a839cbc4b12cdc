"""Copies of what may change: kept, compared, brought up to date, and never written to under a borrower."""

from __future__ import annotations

import contextvars
import gc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb import options
from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.handle import from_bytes
from snakepit_nb.arrays.shares import Shares
from snakepit_nb.arrays.shipping import Shipment
from snakepit_nb.arrays.store import Store
from tests.stores import KERNEL, WORKER, checked_events, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.arrays.handle import ArrayHandle, Mode

EXPORT = "snakepit.zero_copy.export"
FALLBACK = "snakepit.zero_copy.fallback"
MIB = 1 << 20


@pytest.fixture
def kernel() -> Iterator[Store]:
    made = Store("kernel", Arena(64 * MIB), inline_bytes=0)
    yield made
    made.close()


def send(store: Store, array: np.ndarray, mode: Mode = "copy_on_write") -> ArrayHandle:
    shipment = Shipment(store, mode=mode)
    item = shipment.add(array)
    assert item is not None
    sealed = shipment.seal([item])
    store.hand(sealed.leases, WORKER)
    return from_bytes(sealed.buffers)[0]


def test_what_did_not_change_is_copied_once_however_many_are_lent_it(kernel: Store) -> None:
    array = np.ones(2 * MIB, np.uint8)
    with checked_events(EXPORT, FALLBACK) as captured:
        handles = [send(kernel, array) for _ in range(4)]
    assert captured.names() == [FALLBACK, EXPORT, EXPORT, EXPORT]
    assert kernel.stats().live_bytes == 2 * MIB
    kernel.release([handle.lease for handle in handles])
    assert kernel.stats().cached_bytes == 2 * MIB


def test_of_what_changed_only_that_is_copied_where_nobody_holds_the_copy(kernel: Store) -> None:
    array = np.ones(8 * MIB, np.uint8)
    first = send(kernel, array)
    kernel.release([first.lease])
    array[5 * MIB] = 2
    with checked_events(EXPORT, FALLBACK) as captured:
        second = send(kernel, array)
    assert captured.names() == [FALLBACK]
    assert captured[0].has({"bytes": MIB, "reason": "first_share"})
    assert second.offset == first.offset
    kernel.release([second.lease])


def test_a_borrower_goes_on_seeing_what_it_was_lent(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = np.ones(2 * MIB, np.uint8)
    before = worker.import_(send(kernel, array), peer=KERNEL)
    array[:] = 2
    after = worker.import_(send(kernel, array), peer=KERNEL)
    assert (before.min(), before.max(), after.min(), after.max()) == (1, 1, 2, 2)
    del before, after
    settle(kernel, worker)


def test_what_a_borrower_writes_stays_with_it(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = np.ones(2 * MIB, np.uint8)
    for _ in range(3):
        there = worker.import_(send(kernel, array), peer=KERNEL)
        assert (there.min(), there.max()) == (1, 1)
        there[:] = 9
        del there
        settle(kernel, worker)


def test_what_is_lent_in_place_is_never_kept(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = np.ones(2 * MIB, np.uint8)
    there = worker.import_(send(kernel, array, "in_place"), peer=KERNEL)
    there[:] = 9
    beside = worker.import_(send(kernel, array), peer=KERNEL)
    there[:] = 8
    assert (beside.min(), beside.max()) == (1, 1)
    del there, beside
    settle(kernel, worker)


@pytest.mark.parametrize("constant", [True, False])
def test_what_comes_back_of_a_kept_copy_is_written_to_without_changing_it(
    pair: tuple[Store, Store],
    constant: bool,  # noqa: FBT001 - a parameter
) -> None:
    kernel, worker = pair
    array = np.ones(2 * MIB, np.uint8)
    # An array of NumPy can be referred to weakly, too.
    owner = array if constant else None

    def lent() -> np.ndarray:
        shipment = Shipment(kernel)
        item = shipment.add(array, cached_by=owner)
        assert item is not None
        return worker.import_(from_bytes(shipment.seal([item]).buffers)[0], peer=KERNEL)

    there, beside = lent(), lent()
    handle = worker.export(there)
    assert handle is not None
    back = kernel.import_(handle, peer=WORKER, mode="in_place")
    back[:] = 9
    assert (beside.min(), beside.max()) == (1, 1)
    again = lent()
    assert (again.min(), again.max(), array.max()) == (1, 1, 1)
    del there, beside, back, again
    settle(kernel, worker)


def test_an_array_that_was_sent_can_still_be_resized(kernel: Store) -> None:
    array = np.ones(2 * MIB, np.uint8)
    kernel.release([send(kernel, array).lease])
    array.resize(3 * MIB)
    array[-1] = 7
    handle = send(kernel, array)
    assert kernel.arena is not None
    assert (handle.shape, kernel.stats().copied_bytes) == ((3 * MIB,), 5 * MIB)
    kernel.release([handle.lease])


def test_the_copy_of_an_array_that_is_gone_goes_when_it_is_asked(kernel: Store) -> None:
    # So large that the system has its memory back at once; not born in an arena, which would keep it.
    array = contextvars.Context().run(np.ones, 40 * MIB, np.uint8)
    with options.override(reuse_copies=True):
        kernel.release([send(kernel, array[: 8 * MIB]).lease])
    assert kernel.stats().cached_bytes == 8 * MIB
    assert kernel.shares is not None
    kernel.shares.tidy()
    assert kernel.stats().cached_bytes == 8 * MIB
    del array
    gc.collect()
    kernel.shares.tidy()
    assert kernel.stats().live_bytes == 0


def test_switched_off_every_loan_is_a_copy(kernel: Store) -> None:
    array = np.ones(2 * MIB, np.uint8)
    with options.override(reuse_copies=False), checked_events(EXPORT, FALLBACK) as captured:
        for _ in range(2):
            kernel.release([send(kernel, array).lease])
    assert captured.names() == [FALLBACK, FALLBACK]
    assert kernel.stats().live_bytes == 0


def test_a_copy_that_is_being_compared_is_nobody_else_s_until_that_is_over() -> None:
    arena = Arena(16 * MIB)
    shares, array = Shares(arena), np.ones(MIB, np.uint8)
    place = array.ctypes.data
    block = arena.allocate(MIB)
    assert shares.keep(None, place, MIB, block)
    arena.free(block)
    [kept] = shares._kept.values()
    kept.in_work = True
    assert shares.refreshed(None, place, MIB) is None
    kept.in_work = False
    found = shares.refreshed(None, place, MIB)
    assert found is not None
    assert (found.block, found.copied, kept.in_work) == (block, MIB, False)
    # Somebody holds it now.
    array[3] = 9
    assert shares.refreshed(None, place, MIB) is None
    arena.free(found.block)
    arena.close()
