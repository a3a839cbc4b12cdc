"""The pool as an Executor: what its users rely on, in good times and bad."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import operator
import os
import sys
import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb import CaptureError, Pool, PoolBroken, PoolClosed, PoolError, RequestTimeout
from snakepit_nb.pool import loans
from tests.pool.conftest import HANG, gone, outcome, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate, Log


# submit and map


def test_arguments_may_have_the_names_of_our_own_parameters(pool: Pool) -> None:
    def told(**given: object) -> dict[str, object]:
        return given

    assert pool.submit(told, self=1, fn=2, args=3, timeout=4).result() == {
        "self": 1,
        "fn": 2,
        "args": 3,
        "timeout": 4,
    }


def test_arguments_are_packed_inside_submit(pool: Pool, gate: Gate) -> None:
    running = [pool.submit(gate.task, None)]
    gate.wait_begun()
    seen = ["before"]
    future = pool.submit(operator.itemgetter(0), seen)
    seen[0] = "after"
    gate.open()
    assert (future.result(), running[0].result()) == ("before", None)


def test_what_cannot_travel_is_refused_at_once_and_the_pool_serves_on(pool: Pool) -> None:
    with pytest.raises(CaptureError, match=r"argument 1\['lock'\]"):
        pool.submit(len, {"lock": threading.Lock()})
    with pytest.raises(CaptureError):
        lock = threading.Lock()
        pool.submit(lambda: lock)
    assert pool.submit(len, [1]).result() == 1


def test_a_result_that_cannot_travel_says_so(pool: Pool) -> None:
    with pytest.raises(CaptureError, match="result"):
        pool.submit(lambda: [threading.Lock()]).result()
    assert pool.submit(len, [1]).result() == 1


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map_keeps_the_order_of_its_items(pool: Pool, chunksize: int) -> None:
    assert list(pool.map(pow, range(10), [2] * 10, chunksize=chunksize)) == [n * n for n in range(10)]


def test_map_of_nothing_is_nothing(pool: Pool) -> None:
    assert list(pool.map(abs, [])) == []


def test_map_raises_what_a_call_raised_at_its_place(pool: Pool) -> None:
    results = pool.map(operator.truediv, [1, 1], [1, 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_gives_up_after_its_timeout_and_ends_what_is_left(pool: Pool, gate: Gate, log: Log) -> None:
    def task(item: int) -> object:
        return held(item) if item == 0 else noted(item)

    held, noted = gate.task, log.task
    results = pool.map(task, range(3), timeout=0.01)
    with pytest.raises(TimeoutError):
        list(results)
    assert pool.submit(abs, -1).result() == 1


def test_a_chunksize_below_one_is_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="chunksize must be at least 1, got 0"):
        pool.map(abs, [1], chunksize=0)


def test_wait_and_as_completed_take_our_futures(pool: Pool, gates: Callable[[], Gate]) -> None:
    first, second = gates(), gates()
    slow, quick = pool.submit(first.task, "slow"), pool.submit(second.task, "quick")
    first.wait_begun()
    second.wait_begun()
    completed = concurrent.futures.as_completed([slow, quick], HANG)  # type: ignore[var-annotated, arg-type]
    second.open()
    assert next(completed) is quick
    done, pending = concurrent.futures.wait(
        [slow, quick], HANG, return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert (done, pending) == ({quick}, {slow})
    first.open()
    assert concurrent.futures.wait([slow, quick], HANG).not_done == set()


def test_wait_sees_cancelled_and_failed_ones(pool: Pool, gate: Gate) -> None:
    running = pool.submit(gate.task, None)
    gate.wait_begun()
    failing = pool.submit(operator.truediv, 1, 0)
    assert concurrent.futures.wait([failing], HANG, concurrent.futures.FIRST_EXCEPTION).done == {failing}
    assert running.cancel()
    assert concurrent.futures.wait([running], HANG).done == {running}


def test_a_future_can_be_awaited(pool: Pool) -> None:
    async def both() -> list[object]:
        return [await pool.submit(abs, -1), await asyncio.wrap_future(pool.submit(abs, -2))]

    assert asyncio.run(both()) == [1, 2]


def test_cancelling_the_task_that_awaits_ends_the_request(pool: Pool, gate: Gate) -> None:
    future = pool.submit(gate.task, None)
    gate.wait_begun()

    async def awaits() -> object:
        return await future

    async def main() -> None:
        task = asyncio.ensure_future(awaits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert concurrent.futures.wait([future], HANG).done
    assert future.cancelled()


def test_an_event_loop_runs_blocking_work_in_the_pool(pool: Pool) -> None:
    async def main() -> object:
        return await asyncio.get_running_loop().run_in_executor(pool, abs, -5)

    assert asyncio.run(main()) == 5


def test_dask_finds_how_many_workers_there_are() -> None:
    assert Pool(3)._max_workers == 3


def test_ten_thousand_queued_tasks_each_run_once(pool: Pool, log: Log) -> None:
    futures = [pool.submit(log.task, number) for number in range(10_000)]
    assert [future.result(HANG) for future in futures] == list(range(10_000))
    assert Counter(log.lines()) == Counter(str(number) for number in range(10_000))


def test_arguments_and_results_are_not_kept_alive(pool: Pool) -> None:
    class Thing:
        pass

    thing = Thing()
    gone_soon = weakref.ref(thing)
    future = pool.submit(lambda it: type(it).__name__, thing)
    assert future.result() == "Thing"
    del thing
    gc.collect()
    assert gone_soon() is None
    array = pool.submit(np.zeros, 100_000).result()
    ends = weakref.ref(array)
    del array
    assert ends() is None


def test_arrays_lent_to_requests_come_back(pool: Pool) -> None:
    for _ in range(20):
        assert pool.submit(np.sum, np.ones(50_000)).result() == 50_000
    # A lease may ride on the next answer.
    pool.submit(abs, 1).result()
    pool.submit(abs, 1).result()
    pool.shutdown()
    assert loans.kernel_store().stats().leases == 0


# cancel


def test_a_queued_request_is_cancelled_and_never_runs(
    pool: Pool, gates: Callable[[], Gate], log: Log
) -> None:
    held = [gates(), gates()]
    running = [pool.submit(each.task, None) for each in held]
    for each in held:
        each.wait_begun()
    queued = [pool.submit(log.task, number) for number in range(3)]
    assert queued[1].cancel()
    assert queued[1].cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        queued[1].result()
    for each in held:
        each.open()
    assert [queued[0].result(), queued[2].result()] == [0, 2]
    assert concurrent.futures.wait(running, HANG).not_done == set()
    assert sorted(log.lines()) == ["0", "2"]


def test_cancelling_a_running_request_kills_its_worker_only(pool: Pool, gates: Callable[[], Gate]) -> None:
    first, second = gates(), gates()
    victim, other = pool.submit(first.task, 1), pool.submit(second.task, 2)
    first.wait_begun()
    second.wait_begun()
    before = pids(pool)
    assert victim.running()
    assert victim.cancel()
    assert not victim.running()
    second.open()
    assert other.result(HANG) == 2
    pool.start()
    assert len(before & pids(pool)) == 1


def test_what_waits_behind_a_cancelled_request_runs_once(log: Log, gate: Gate) -> None:
    with Pool(1) as pool:
        pool.submit(log.task, "warm").result()
        running = pool.submit(gate.task, None)
        gate.wait_begun()
        behind = [pool.submit(log.task, number) for number in range(20)]
        assert running.cancel()
        assert [future.result(HANG) for future in behind] == list(range(20))
    assert log.lines() == ["warm", *map(str, range(20))]


def test_a_waiter_hears_of_the_cancelling_of_what_waits_behind_another(gate: Gate) -> None:
    with Pool(1) as pool:
        pool.submit(abs, 1).result()
        running = pool.submit(gate.task, None)
        gate.wait_begun()
        behind = pool.submit(abs, 1)
        waiting = threading.Thread(target=lambda: outcome_or_cancelled(behind))
        waiting.start()
        assert behind.cancel()
        waiting.join(HANG)
        assert not waiting.is_alive()
        gate.open()
        assert running.result() is None


def outcome_or_cancelled(future: concurrent.futures.Future[int]) -> None:
    try:
        future.result()
    except concurrent.futures.CancelledError:
        return


def test_a_done_request_cannot_be_cancelled(pool: Pool) -> None:
    future = pool.submit(abs, -1)
    assert future.result() == 1
    assert not future.cancel()
    assert future.result() == 1


def test_a_storm_of_cancels_leaves_each_request_cancelled_or_done_once(pool: Pool, log: Log) -> None:
    futures = [pool.submit(log.task, number) for number in range(3_000)]
    threads = [
        threading.Thread(target=lambda part=part: [future.cancel() for future in futures[part::7]])
        for part in (1, 2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    done, pending = concurrent.futures.wait(futures, HANG)
    assert not pending
    ran = Counter(log.lines())
    assert all(times == 1 for times in ran.values())
    assert {str(future.result()) for future in done if not future.cancelled()} <= set(ran)
    assert pool.submit(abs, -1).result(HANG) == 1


def test_a_timeout_ends_the_request_and_not_the_pool(pool: Pool, gates: Callable[[], Gate]) -> None:
    held = gates()
    future = pool.request(held.task, (None,), timeout=0.2)
    held.wait_begun()
    error = outcome(future)
    assert isinstance(error, RequestTimeout)
    assert (error.seconds, error.pool, error.request_id) == (0.2, "test", future.request_id)
    assert isinstance(error, TimeoutError)
    assert pool.submit(abs, -1).result() == 1


def test_a_timeout_also_ends_a_request_that_still_waits(gate: Gate, log: Log) -> None:
    with Pool(1) as pool:
        running = pool.submit(gate.task, None)
        gate.wait_begun()
        future = pool.request(log.task, (1,), timeout=0.05)
        assert isinstance(outcome(future), RequestTimeout)
        gate.open()
        assert running.result() is None
    assert log.lines() == []


def test_a_long_timeout_of_a_quick_request_leaves_nothing_behind(pool: Pool, gate: Gate) -> None:
    longest = pool.request(gate.task, (None,), timeout=1800)
    gate.wait_begun()
    for _ in range(1_000):
        pool.request(abs, (-1,), timeout=3600).result()
    assert len(pool._supervisor.reactor._timers) < 500
    gate.open()
    assert longest.result() is None


@pytest.mark.parametrize(
    ("timeout", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_timeout_that_is_none_is_refused(pool: Pool, timeout: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout: expected a number of seconds"):
        pool.request(abs, (1,), timeout=timeout)  # type: ignore[arg-type]


# interrupt


def test_an_interrupt_ends_the_call_and_keeps_the_worker(pool: Pool, gate: Gate) -> None:
    future = pool.request(gate.task, (None,), alone=True)
    gate.wait_begun()
    before = pids(pool)
    pool.interrupt(future)
    assert isinstance(outcome(future), KeyboardInterrupt)
    assert pids(pool) == before
    assert pool.submit(abs, -1).result() == 1


def test_an_interrupt_spares_who_shares_the_worker(gate: Gate) -> None:
    with Pool(1) as pool:
        pool.submit(abs, 1).result()
        running = pool.submit(gate.task, "kept")
        gate.wait_begun()
        behind = pool.submit(abs, -2)
        pool.interrupt(behind)
        gate.open()
        assert (running.result(HANG), behind.result(HANG)) == ("kept", 2)


def test_an_interrupt_of_what_is_done_is_nothing(pool: Pool) -> None:
    future = pool.submit(abs, -1)
    assert future.result() == 1
    pool.interrupt(future)
    assert pool.submit(abs, -2).result() == 2


# shutdown


def test_submit_after_shutdown_says_what_every_executor_says() -> None:
    pool = Pool(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown") as caught:
        pool.submit(abs, 1)
    assert isinstance(caught.value, PoolClosed)
    with pytest.raises(PoolClosed):
        pool.map(abs, [1])


def test_a_pool_can_be_shut_down_twice_and_before_its_start() -> None:
    unused, used = Pool(1), Pool(1)
    assert used.submit(abs, -1).result() == 1
    for pool in (unused, used):
        pool.shutdown()
        pool.shutdown(wait=True, cancel_futures=True)
        pool.kill()
        assert repr(pool).endswith(" closed>")


def test_shutdown_waits_for_what_runs_and_what_is_queued(log: Log, gate: Gate) -> None:
    with Pool(1) as pool:
        running = pool.submit(gate.task, "ran")
        gate.wait_begun()
        queued = [pool.submit(log.task, number) for number in range(5)]
        pool.shutdown(wait=False)
        assert repr(pool).endswith("; closing>")
        gate.open()
    assert running.result() == "ran"
    assert [future.result(0) for future in queued] == list(range(5))


def test_shutdown_with_cancel_lets_only_what_runs_end(log: Log, gate: Gate) -> None:
    pool = Pool(1)
    running = pool.submit(gate.task, "ran")
    gate.wait_begun()
    queued = [pool.submit(log.task, number) for number in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in queued)
    gate.open()
    pool.shutdown()
    assert running.result() == "ran"
    assert log.lines() == []


def test_kill_cancels_all_and_leaves_no_worker(pool: Pool, gate: Gate) -> None:
    future = pool.submit(gate.task, None)
    gate.wait_begun()
    before = pids(pool)
    pool.kill()
    assert future.cancelled()
    assert gone(before)


def test_a_pool_that_nobody_holds_still_does_its_work(gate: Gate) -> None:
    pool = Pool(1)
    future = pool.submit(gate.task, "done")
    gate.wait_begun()
    before = pids(pool)
    supervisor = pool._supervisor
    del pool
    gc.collect()
    gate.open()
    assert future.result(HANG) == "done"
    assert supervisor.finished.wait(HANG)
    assert gone(before)


# initializers


def test_the_initializer_runs_once_in_each_worker_before_its_first_request() -> None:
    def initialize(values: np.ndarray, name: str) -> None:
        vars(sys).setdefault("_initialized", []).append((float(values.sum()), name))

    def seen() -> tuple[int, list[tuple[float, str]]]:
        return os.getpid(), vars(sys)["_initialized"]

    with Pool(2, initializer=initialize, initargs=(np.ones(100_000), "here")).start() as pool:
        found = dict(pool.submit(seen).result() for _ in range(50))
    assert set(map(str, found.values())) == {str([(100_000.0, "here")])}


def test_an_initializer_that_raises_breaks_the_pool_and_says_why() -> None:
    def fails() -> None:
        text = "no licence"
        raise OSError(text)

    with Pool(1, initializer=fails) as pool:
        error = outcome(pool.submit(abs, 1))
        assert isinstance(error, PoolBroken)
        assert isinstance(error, concurrent.futures.BrokenExecutor)
        assert "initializer" in error.reason
        assert "no licence" in error.reason
        with pytest.raises(PoolBroken, match="no licence"):
            pool.submit(abs, 1)
        with pytest.raises(PoolBroken):
            pool.start()
        assert "broken" in repr(pool)


def test_an_initializer_that_ends_its_process_breaks_the_pool() -> None:
    with Pool(1, initializer=os._exit, initargs=(3,)) as pool:
        error = outcome(pool.submit(abs, 1))
        assert isinstance(error, PoolBroken)
        assert "died" in error.reason


# callbacks


def test_a_callback_that_exits_or_raises_harms_nobody(
    pool: Pool, caplog: pytest.LogCaptureFixture, gate: Gate
) -> None:
    heard = threading.Event()
    future = pool.submit(gate.task, "done")
    future.add_done_callback(lambda _: sys.exit(3))
    future.add_done_callback(lambda _: operator.truediv(1, 0))
    future.add_done_callback(lambda _: heard.set())
    gate.open_after_begin()
    assert future.result(HANG) == "done"
    assert heard.wait(HANG)
    assert pool.submit(abs, -1).result(HANG) == 1
    assert "ZeroDivisionError" in caplog.text
    assert "SystemExit" in caplog.text


def test_a_callback_may_take_a_lock_that_the_waiting_thread_holds(pool: Pool, gate: Gate) -> None:
    lock = threading.Lock()
    heard = threading.Event()

    def callback(_: object) -> None:
        with lock:
            heard.set()

    future = pool.submit(gate.task, "done")
    future.add_done_callback(callback)
    with lock:
        gate.open_after_begin()
        assert future.result(HANG) == "done"
    assert heard.wait(HANG)


def test_a_callback_may_submit_and_shut_down(gate: Gate) -> None:
    pool = Pool(1)
    chained: list[concurrent.futures.Future[object]] = []
    over = threading.Event()

    def callback(_: object) -> None:
        chained.append(pool.submit(abs, -7))
        pool.shutdown()
        over.set()

    future = pool.submit(gate.task, None)
    future.add_done_callback(callback)
    gate.open_after_begin()
    assert over.wait(HANG)
    assert chained[0].result(HANG) == 7
    pool.shutdown()


def test_a_callback_that_waits_for_its_own_pool_is_told_instead_of_hanging(pool: Pool, gate: Gate) -> None:
    heard: list[BaseException] = []
    over = threading.Event()

    def callback(_: object) -> None:
        try:
            pool.submit(abs, 1).result()
        except PoolError as error:
            heard.append(error)
        over.set()

    future = pool.submit(gate.task, None)
    future.add_done_callback(callback)
    gate.open_after_begin()
    assert over.wait(HANG)
    assert "done-callback" in str(heard[0])


def test_a_callback_of_a_done_future_runs_at_once(pool: Pool) -> None:
    future = pool.submit(abs, -1)
    assert future.result() == 1
    seen: list[object] = []
    future.add_done_callback(seen.append)
    assert seen == [future]


# bad input


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"max_workers": 0}, ValueError, "max_workers: expected at least 1, got 0"),
        ({"max_workers": -2}, ValueError, "max_workers: expected at least 1, got -2"),
        ({"max_workers": 1.5}, TypeError, "max_workers: expected a whole number, got 1.5"),
        ({"max_workers": True}, TypeError, "max_workers: expected a whole number"),
        ({"name": ""}, ValueError, "name: expected a letter"),
        ({"name": "a b"}, ValueError, "name: expected a letter"),
        ({"profile": "gpu"}, ValueError, "profile: expected 'process' or 'thread'"),
        ({"initializer": 3}, TypeError, "initializer: expected a callable"),
        ({"preload": "numpy"}, TypeError, "preload: expected names of modules"),
    ],
)
def test_bad_arguments_are_named(given: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Pool(**given)  # type: ignore[arg-type]


def test_a_module_that_cannot_be_preloaded_breaks_the_pool_with_its_name() -> None:
    with (
        Pool(1, preload=("no_such_module_here",)) as pool,
        pytest.raises(PoolBroken, match="no_such_module_here"),
    ):
        pool.start()


# what it says of itself


def test_repr_tells_what_the_pool_does(gate: Gate) -> None:
    pool = Pool(2, name="r")
    assert repr(pool) == "<Pool 'r' up to 2 workers, none started>"
    with pool.start():
        assert repr(pool) == "<Pool 'r' 2 workers: 0 busy, 2 idle; 0 queued>"
        future = pool.submit(gate.task, None)
        gate.wait_begun()
        assert repr(pool) == "<Pool 'r' 2 workers: 1 busy, 1 idle; 0 queued>"
        gate.open()
        assert future.result() is None
    assert repr(pool) == "<Pool 'r' closed>"


def test_workers_tell_who_they_are(pool: Pool) -> None:
    facts = pool.workers()
    assert [worker.worker_id for worker in facts] == ["test-0", "test-1"]
    assert {worker.state for worker in facts} == {"idle"}
    assert pool.submit(os.getpid).result() in {worker.pid for worker in facts}
    assert sum(worker.request_count for worker in pool.workers()) == 1


def test_threads_may_all_submit_and_wait_at_once(pool: Pool) -> None:
    wrong: list[object] = []

    def client(number: int) -> None:
        sums = (pool.submit(operator.add, number, step).result(HANG) for step in range(200))
        wrong.extend((number, step) for step, total in enumerate(sums) if total != number + step)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert not wrong
