"""Loans end once, whoever ends them and in whatever thread and moment, and nothing is left of them."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.memory import PAGE
from snakepit_nb.arrays.store import Store
from tests.stores import (
    KERNEL,
    WORKER,
    checked_events,
    descriptors,
    introduce,
    lend,
    mappings,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Callable


EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"
RELEASE = "snakepit.zero_copy.release"
LEAKED = "snakepit.zero_copy.leaked"


# The ends of loans


def test_a_lease_ends_once_with_the_last_view(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = worker.import_(lend(kernel, np.zeros(1000), WORKER), peer=KERNEL)
    view = array[::2].reshape(5, 100).T
    with checked_events() as captured:
        del array
        assert worker.take_returns(KERNEL) == []
        del view
        leases = worker.take_returns(KERNEL)
        assert len(leases) == 1
        kernel.release(leases)
        kernel.release(leases)
        kernel.forget(WORKER)
    assert captured.names() == [RELEASE]
    assert (kernel.stats().leases, kernel.stats().live_bytes) == (0, 0)


def test_the_death_of_a_borrower_ends_its_leases_as_leaked_and_only_its(pair: tuple[Store, Store]) -> None:
    kernel, _ = pair
    theirs = lend(kernel, np.zeros(1000), WORKER)
    other = lend(kernel, np.zeros(1000), "other")
    with checked_events() as captured:
        kernel.forget(WORKER)
        kernel.forget(WORKER)
        kernel.release([theirs.lease])
    assert captured.names() == [LEAKED]
    assert captured[0].metadata["handle_id"] == f"{theirs.lease:x}"
    assert kernel.stats().leases == 1
    kernel.release([other.lease])


def test_a_block_is_not_used_again_while_a_view_of_this_process_lives(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    there = worker.import_(lend(kernel, np.ones(1000), WORKER), peer=KERNEL, mode="readonly")
    back = kernel.import_(lend(worker, there, KERNEL), peer=WORKER, mode="in_place")
    kernel.forget(WORKER)
    assert kernel.stats().leases == 0
    lend(kernel, np.zeros(1000), WORKER)
    assert back.sum() == 1000
    del back
    settle(kernel, worker)
    assert kernel.stats().live_bytes == 2 * PAGE
    del there


def test_a_block_lent_on_is_held_until_the_last_borrower_is_done(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, np.ones(1000), KERNEL), peer=WORKER, mode="in_place")
    home = worker.import_(lend(kernel, here, WORKER), peer=KERNEL)
    del here
    settle(kernel, worker)
    lend(worker, np.zeros(1000), KERNEL)
    assert home.sum() == 1000
    del home
    settle(kernel, worker)
    assert worker.stats().live_bytes == 2 * PAGE


def test_whoever_waits_for_returns_is_called_once_until_they_are_taken() -> None:
    called: list[str] = []
    store = Store("kernel", None, on_return=called.append)
    for lease in (1, 2, 3):
        store.give_back("a", lease)
    store.give_back("b", 4)
    assert called == ["a", "b"]
    assert (store.take_returns("a"), store.take_returns("a"), store.take_returns("b")) == ([1, 2, 3], [], [4])
    store.give_back("a", 5)
    assert called == ["a", "b", "a"]


def test_an_array_outlives_its_lender(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, np.arange(1000.0), KERNEL), peer=WORKER, mode="in_place")
    assert worker.arena is not None
    worker_arena = worker.arena.id
    worker.close()
    kernel.detach(worker_arena)
    here += 1
    assert here[-1] == 1000
    heir = Store("worker", None, inline_bytes=0)
    found = kernel.open_readonly(worker_arena)
    assert found is not None
    heir.attach(worker_arena, *found)
    there = heir.import_(lend(kernel, here, "heir"), peer=KERNEL)
    kernel.forget("heir")
    del here
    assert there[-1] == 1000
    del there
    heir.close()
    assert kernel.open_readonly(worker_arena) is None


def test_an_arena_that_was_dismissed_and_introduced_again_is_known(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, np.ones(1000), KERNEL), peer=WORKER, mode="in_place")
    assert worker.arena is not None
    kernel.detach(worker.arena.id)
    introduce(worker, kernel)
    del here
    kernel.take_returns(WORKER)
    again = kernel.import_(lend(worker, np.ones(1000), KERNEL), peer=WORKER, mode="in_place")
    assert again.sum() == 1000
    del again


def test_closing_a_store_keeps_the_memory_of_arrays_that_are_still_here() -> None:
    store = Store("kernel", Arena(1 << 20), inline_bytes=0)
    array = store.import_(lend(store, np.arange(1000.0), KERNEL), peer=KERNEL, mode="in_place")
    store.close()
    assert array.sum() == 499500
    before = descriptors()
    del array
    assert descriptors() == before - 1


def test_nothing_is_left_after_a_thousand_round_trips(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = np.arange(20_000.0)

    def round_trip() -> None:
        there = worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
        there += 1
        back = kernel.import_(lend(worker, there, KERNEL), peer=WORKER, mode="in_place")
        assert back[0] == 1
        del there, back
        settle(kernel, worker)

    round_trip()
    before = (descriptors(), mappings())
    for _ in range(1000):
        round_trip()
    assert (descriptors(), mappings()) == before
    for store in pair:
        assert (store.stats().leases, store.stats().live_bytes) == (0, 0)


def test_borrowed_memory_that_is_lent_on_is_kept_by_its_lease_and_not_longer(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, np.ones(1000), KERNEL), peer=WORKER, mode="in_place")
    handle = lend(kernel, here[::2], WORKER)
    del here
    assert kernel.take_returns(WORKER) == []
    kernel.release([handle.lease])
    assert len(kernel.take_returns(WORKER)) == 1


# Finalisers


class _Cycle:
    """Garbage that only a collection finds."""

    def __init__(self, array: np.ndarray, then: Callable[[], object] | None = None) -> None:
        self.array = array
        self.then = then
        self.me = self

    def __del__(self) -> None:
        if self.then is not None:
            self.then()


def test_a_collection_of_garbage_at_any_moment_neither_hangs_nor_loses_a_lease(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    array = np.ones(1000)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(100):
            _Cycle(worker.import_(lend(kernel, array, WORKER), peer=KERNEL))
            there = worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
            assert there.sum() == 1000
            del there
            kernel.release(worker.take_returns(KERNEL))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    settle(kernel, worker)
    assert (kernel.stats().leases, kernel.stats().live_bytes) == (0, 0)


def test_the_end_of_an_array_while_this_thread_is_inside_the_store_is_booked_later(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    array = worker.import_(lend(kernel, np.ones(1000), WORKER), peer=KERNEL)
    with worker.borrower._books.lock:
        del array
        assert worker.borrower._books.waiting
    assert len(worker.take_returns(KERNEL)) == 1


def test_the_end_of_an_array_in_another_thread_never_waits_for_the_store(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    held = [worker.import_(lend(kernel, np.ones(1000), WORKER), peer=KERNEL)]
    with worker.borrower._books.lock:
        other = threading.Thread(target=held.clear)
        other.start()
        other.join(10)
        assert not other.is_alive()
    assert len(worker.take_returns(KERNEL)) == 1


def test_a_finaliser_of_the_user_s_may_use_the_store_it_was_called_from(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    seen: list[float] = []

    def use_it_again() -> None:
        seen.append(float(worker.import_(lend(kernel, np.ones(10), WORKER), peer=KERNEL).sum()))

    garbage = _Cycle(worker.import_(lend(kernel, np.ones(1000), WORKER), peer=KERNEL), use_it_again)
    with worker.borrower._books.lock:
        del garbage
        gc.collect()
    assert seen == [10]
    settle(kernel, worker)
    assert kernel.stats().leases == 0


def test_many_threads_that_lend_and_drop_at_once_leave_nothing(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    faults: list[BaseException] = []

    def work(value: int) -> None:
        try:
            for turn in range(100):
                array = np.full(600, value * 1000 + turn)
                there = worker.import_(lend(kernel, array, WORKER), peer=KERNEL, mode="readonly")
                assert there.min() == there.max() == value * 1000 + turn
                del there
                kernel.release(worker.take_returns(KERNEL))
        except BaseException as fault:  # noqa: BLE001 - handed to the main thread
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    settle(kernel, worker)
    assert (kernel.stats().leases, kernel.stats().live_bytes) == (0, 0)
