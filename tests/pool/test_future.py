"""The future by itself: any order of settling, waiting, cancelling and calling back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest

from snakepit_nb.pool.future import PoolFuture


class Keeper:
    """A pool that notes what a future asks of it."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        self.asked.append(("attend", timeout))
        if timeout is None:
            future.settle("fetched", None)

    def cancel(self, future: PoolFuture[Any]) -> bool:
        self.asked.append("cancel")
        future.settle_cancelled()
        return future.cancelled()

    def running(self, future: PoolFuture[Any]) -> bool:
        del future
        return True


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def future(keeper: Keeper) -> PoolFuture[object]:
    return PoolFuture(keeper, 7, "work")


def test_who_asks_for_the_result_fetches_it_himself(future: PoolFuture[object], keeper: Keeper) -> None:
    assert future.result() == "fetched"
    assert keeper.asked == [("attend", None)]


def test_a_done_future_asks_nobody(future: PoolFuture[object], keeper: Keeper) -> None:
    future.settle(1, None)
    assert (future.result(), future.exception(), future.done(), future.running()) == (1, None, True, False)
    assert not future.cancel()
    assert keeper.asked == []


def test_a_timeout_raises_and_the_future_goes_on(future: PoolFuture[object], keeper: Keeper) -> None:
    for timeout in (0, 0.001, -1):
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout)
    assert keeper.asked[-1] == ("attend", 0.0)
    assert future.running()
    future.settle(1, None)
    assert future.result(0) == 1


def test_an_exception_is_raised_by_result_and_given_by_exception(future: PoolFuture[object]) -> None:
    error = ValueError("no")
    future.settle(None, error)
    assert future.exception() is error
    with pytest.raises(ValueError, match="no"):
        future.result()


def test_only_the_first_end_counts(future: PoolFuture[object]) -> None:
    future.settle(1, None)
    assert not future.settle(2, None)
    assert not future.settle_cancelled()
    assert future.result() == 1


def test_a_cancelled_future_raises_and_stays_cancelled(future: PoolFuture[object]) -> None:
    assert future.cancel()
    assert not future.settle(1, None)
    for ask in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    assert future.cancel()


def test_callbacks_wait_for_run_callbacks_and_run_in_order(future: PoolFuture[object]) -> None:
    seen: list[int] = []
    future.add_done_callback(lambda _: seen.append(1))
    future.add_done_callback(lambda _: seen.append(2))
    assert future.settle(1, None)
    assert seen == []
    future.run_callbacks()
    assert seen == [1, 2]


def test_a_callback_added_after_the_end_runs_at_once(future: PoolFuture[object]) -> None:
    future.settle(1, None)
    seen: list[object] = []
    future.add_done_callback(seen.append)
    assert seen == [future]


def test_every_waiting_thread_wakes(future: PoolFuture[object]) -> None:
    heard: list[object] = []
    threads = [threading.Thread(target=lambda: heard.append(future.result(60))) for _ in range(5)]
    for thread in threads:
        thread.start()
    future.settle("all", None)
    for thread in threads:
        thread.join()
    assert heard == ["all"] * 5


def test_a_future_can_be_awaited_even_when_done(future: PoolFuture[object]) -> None:
    future.settle(3, None)

    async def main() -> object:
        return await future

    assert asyncio.run(main()) == 3


def test_an_abandoned_future_ends_although_its_condition_is_held(future: PoolFuture[object]) -> None:
    holder = threading.Thread(target=future._condition.acquire)
    holder.start()
    holder.join()
    future.abandon(OSError("not here"))
    with pytest.raises(OSError, match="not here"):
        future.result()


class _Door(threading.Condition):
    """A condition that tells when somebody comes to it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def __enter__(self) -> bool:
        self.asked.set()
        return super().__enter__()


def test_a_future_is_not_done_while_others_count_what_is_not_done(keeper: Keeper) -> None:
    # `concurrent.futures.wait` counts under the condition; one that ended in the middle was counted twice.
    future = PoolFuture[int](keeper, 1, "test")
    door = future._made = _Door()
    thread = threading.Thread(target=future.settle, args=(1, None))
    door.acquire()
    thread.start()
    assert door.asked.wait(20)
    assert not future.done()
    door.release()
    thread.join(20)
    assert future.result() == 1
