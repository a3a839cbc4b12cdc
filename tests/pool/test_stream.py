"""Streams: what a generator in a worker yields comes as it comes, and no more than is wanted."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb import Pool, PoolError, WorkerCrashed, events, options, testing
from snakepit_nb.pool import loans
from snakepit_nb.pool.output import ScriptSink, set_sink
from tests.pool.conftest import HANG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pool.conftest import Gate, Log


def counted(log: Log, end: int) -> Callable[[], Iterator[int]]:
    """A generator that notes each value that it makes, and that it is closed."""
    note = log.task

    def numbers() -> Iterator[int]:
        try:
            for number in range(end):
                note(number)
                yield number
        finally:
            note("closed")

    return numbers


def test_values_come_in_order_and_the_last_is_followed_by_what_was_returned(pool: Pool) -> None:
    def task(end: int) -> Any:
        for number in range(end):
            yield {"number": number, "square": np.full(2, number**2)}
        return "done"

    stream = pool.stream(task, 100)
    found = list(stream)
    assert [each["number"] for each in found] == list(range(100))
    assert all((each["square"] == each["number"] ** 2).all() for each in found)
    assert stream.future.result(HANG) == "done"
    assert list(stream) == []


def test_a_value_is_here_before_the_next_is_made(pool: Pool, gate: Gate) -> None:
    wait = gate.task

    def task() -> Iterator[str]:
        yield "first"
        wait(None)
        yield "second"

    stream = pool.stream(task)
    assert next(stream) == "first"
    assert not stream.future.done()
    gate.open_after_begin()
    assert list(stream) == ["second"]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_a_worker_is_never_further_ahead_than_it_may_be(log: Log, ahead: int) -> None:
    with options.override(stream_ahead=ahead), Pool(1) as pool:
        for taken, number in enumerate(pool.stream(counted(log, 40)), 1):
            assert number == taken - 1
            # One more is made and waits in the worker.
            made = [line for line in log.lines() if line != "closed"]
            assert len(made) <= taken + ahead + 1
    assert log.lines() == [*map(str, range(40)), "closed"]


def test_a_loop_that_is_left_closes_the_generator_in_its_worker(pool: Pool, log: Log) -> None:
    for number in pool.stream(counted(log, 10**9)):
        if number == 5:
            break
    # The worker serves the next request when it is through with that.
    assert [pool.submit(abs, -1).result(HANG) for _ in range(4)] == [1] * 4
    pool.shutdown()
    assert log.lines()[-1] == "closed"


def test_a_stream_that_is_closed_gives_nothing_more(pool: Pool, log: Log) -> None:
    with pool.stream(counted(log, 10**9)) as stream:
        assert next(stream) == 0
    assert list(stream) == []
    assert stream.future.result(HANG) is None
    assert log.lines()[-1] == "closed"


def test_a_stream_that_no_worker_has_begun_never_begins(log: Log, gate: Gate) -> None:
    with Pool(1) as pool:
        running = pool.submit(gate.task, None)
        gate.wait_begun()
        stream = pool.stream(counted(log, 3))
        stream.close()
        assert stream.future.cancelled()
        gate.open()
        running.result(HANG)
    assert log.lines() == []


def test_what_a_generator_raises_comes_after_what_it_yielded(pool: Pool) -> None:
    def task() -> Iterator[int]:
        yield 1
        yield 2
        message = "no more"
        raise LookupError(message)

    stream = pool.stream(task)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(LookupError, match="no more"):
        next(stream)
    assert list(stream) == []


def test_a_worker_that_dies_in_a_stream_ends_it_with_the_reason(pool: Pool) -> None:
    def task() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGKILL)

    stream = pool.stream(task)
    assert next(stream) == 1
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        next(stream)


def test_a_generator_closed_early_may_fail_in_its_end_without_harm(pool: Pool) -> None:
    def task() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            message = "in the end"
            raise RuntimeError(message)

    stream = pool.stream(task)
    assert next(stream) == 1
    stream.close()
    with pytest.raises(RuntimeError, match="in the end"):
        stream.future.result(HANG)


def test_any_iterable_will_do_and_nothing_else(pool: Pool) -> None:
    assert list(pool.stream(dict.fromkeys, "abc")) == ["a", "b", "c"]
    with pytest.raises(TypeError, match=r"stream: expected a function that yields .* it gave a int"):
        list(pool.stream(abs, -1))  # type: ignore[arg-type]  # that is what is tried


def test_a_value_that_cannot_travel_ends_the_stream_and_says_which(pool: Pool) -> None:
    def iter_of_nothing() -> Iterator[None]:
        yield

    def task() -> Iterator[object]:
        yield 1
        yield iter_of_nothing()

    stream = pool.stream(task)
    assert next(stream) == 1
    with pytest.raises(TypeError, match="generator"):
        next(stream)


def test_what_a_generator_prints_comes_before_the_value_that_it_yields_next(pool: Pool) -> None:
    heard: list[str] = []

    class Sink(ScriptSink):
        def stream(self, origin: object, name: str, text: str) -> None:
            del origin, name
            heard.append(text)

    def task() -> Iterator[int]:
        for number in range(3):
            print("making", number)
            yield number

    set_sink(Sink())
    try:
        for number in pool.stream(task):
            assert f"making {number}\n" in "".join(heard)
    finally:
        set_sink(None)


def test_arrays_of_a_stream_lie_in_memory_that_is_given_back() -> None:
    def task() -> Iterator[np.ndarray]:
        buffer = np.zeros(300_000)
        for number in range(50):
            buffer[:] = number  # the same memory again
            yield buffer

    with Pool(1) as pool:
        kept = list(pool.stream(task))
        assert [int(each[0]) for each in kept] == list(range(50))
        assert all((each == each[0]).all() for each in kept)
        del kept
        gc.collect()
        pool.submit(abs, -1).result(HANG)
        assert loans.kernel_store().stats().leases == 0


def test_a_stream_is_one_request_and_says_how_it_ended(pool: Pool) -> None:
    with testing.capture_events(events.REQUEST_EXECUTED) as seen:
        assert list(pool.stream(range, 5)) == [0, 1, 2, 3, 4]
        (executed,) = seen.wait_for(events.REQUEST_EXECUTED, timeout=HANG)
    assert executed.metadata["command"] == "range"
    assert executed.metadata["outcome"] == "ok"


def test_a_stream_can_be_awaited_beside_other_work(pool: Pool) -> None:
    async def together() -> tuple[list[int], list[int]]:
        async def taken(end: int) -> list[int]:
            return [number async for number in pool.stream(range, end)]

        first, second = await asyncio.gather(taken(50), taken(30))
        return first, second

    assert asyncio.run(together()) == (list(range(50)), list(range(30)))


def test_several_threads_share_the_values_of_one_stream(pool: Pool) -> None:
    stream = pool.stream(range, 200)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(stream)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert sorted(found) == list(range(200))


def test_a_callback_of_the_pool_cannot_wait_for_a_stream(pool: Pool, gate: Gate) -> None:
    told: Future[BaseException] = Future()

    def wait(_: object) -> None:
        try:
            next(pool.stream(gate.task, None))  # type: ignore[arg-type]  # it never gives anything
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            told.set_result(error)

    pool.submit(abs, -1).add_done_callback(wait)
    assert isinstance(told.result(HANG), PoolError)
    pool.kill()


def test_many_streams_at_once_do_not_mix(pool: Pool) -> None:
    streams = [pool.stream(range, number, number + 20) for number in range(0, 100, 20)]
    found = [list(stream) for stream in streams]
    assert found == [list(range(number, number + 20)) for number in range(0, 100, 20)]


def test_a_pool_that_is_shut_down_ends_its_streams_first(log: Log) -> None:
    with Pool(1) as pool:
        stream = pool.stream(counted(log, 5))
    assert list(stream) == [0, 1, 2, 3, 4]


def test_a_pool_that_is_killed_ends_its_streams(log: Log) -> None:
    pool = Pool(1)
    stream = pool.stream(counted(log, 10**9))
    next(stream)
    pool.kill()
    assert len(list(stream)) <= options.current().stream_ahead
    assert stream.future.cancelled()
