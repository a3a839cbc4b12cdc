"""Pools whose one worker runs requests in threads: what is shared, what is told apart, what a death costs."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb import Pool, PoolError, RequestTimeout, WorkerCrashed, events, options, testing
from snakepit_nb.pool.output import ScriptSink, set_sink
from tests.pool.conftest import HANG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.pool.conftest import Gate


@pytest.fixture
def threads() -> Iterator[Pool]:
    made = Pool(3, name="threads", profile="thread").start()
    yield made
    made.kill()


def spins() -> None:
    while True:
        pass


def in_one_process_at_once(parties: int) -> Callable[[object], tuple[int, object]]:
    def meets(value: object) -> tuple[int, object]:
        import builtins

        vars(builtins).setdefault("meeting_of_a_test", threading.Barrier(parties)).wait(60)
        return os.getpid(), value

    return meets


def test_as_many_requests_as_were_asked_for_run_at_once_in_one_process(threads: Pool) -> None:
    found = [each.result(HANG) for each in [threads.submit(in_one_process_at_once(3), n) for n in range(3)]]
    assert [value for _, value in found] == [0, 1, 2]
    assert len({pid for pid, _ in found} | {threads.submit(os.getpid).result(HANG)}) == 1


def test_what_started_says_profile_and_capacity() -> None:
    with testing.capture_events(events.WORKER_STARTED) as seen, Pool(4, profile="thread") as pool:
        pool.submit(int).result(HANG)
        (started,) = seen.wait_for(events.WORKER_STARTED)
    assert (started.metadata["profile"], started.metadata["capacity"]) == ("thread", 4)


def test_more_requests_than_threads_wait_and_none_is_lost(threads: Pool) -> None:
    assert list(threads.map(pow, range(500), [2] * 500)) == [number**2 for number in range(500)]


def test_arrays_go_in_and_come_back_in_each_thread(threads: Pool) -> None:
    arrays = [np.full(200_000, number, dtype=np.float64) for number in range(12)]
    found = list(threads.map(lambda array: array * 2, arrays))
    assert all((each == number * 2).all() for number, each in enumerate(found))


def test_what_threads_write_at_once_is_told_apart(threads: Pool) -> None:
    together = in_one_process_at_once(3)

    def talks(number: int) -> None:
        together(number)
        for _ in range(50):
            print(number, end="")

    heard: dict[object, str] = {}
    lock = threading.Lock()

    class Sink(ScriptSink):
        number = 0

        def origin(self) -> object:
            return self.number

        def stream(self, origin: object, name: str, text: str) -> None:
            assert name == "stdout"
            with lock:
                heard[origin] = heard.get(origin, "") + text

    sink = Sink()
    set_sink(sink)
    try:
        futures = []
        for number in range(3):
            sink.number = number
            futures.append(threads.submit(talks, number))
        for each in futures:
            each.result(HANG)
    finally:
        set_sink(None)
    assert heard == {number: str(number) * 50 for number in range(3)}


def test_a_request_that_is_cancelled_ends_at_once_and_so_does_its_thread(threads: Pool, gate: Gate) -> None:
    held = threads.submit(gate.task, "kept")
    gate.wait_begun()
    pid = threads.submit(os.getpid).result(HANG)
    doomed = [threads.submit(spins) for _ in range(2)]
    for each in doomed:
        assert each.cancel()
        with pytest.raises(CancelledError):
            each.result(HANG)
    gate.open()
    assert held.result(HANG) == "kept"
    found = [each.result(HANG) for each in [threads.submit(in_one_process_at_once(3), n) for n in range(3)]]
    assert {each for each, _ in found} == {pid}  # all threads serve again, and nothing died for it


def test_a_request_whose_time_is_over_ends_and_the_others_go_on(threads: Pool, gate: Gate) -> None:
    held = threads.submit(gate.task, "kept")
    gate.wait_begun()
    with pytest.raises(RequestTimeout):
        threads.request(spins, timeout=0.1).result(HANG)
    gate.open()
    assert held.result(HANG) == "kept"


class Hears(ScriptSink):
    """Says when certain words were heard, and how often."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._news = threading.Condition()

    def stream(self, origin: object, name: str, text: str) -> None:
        del origin, name
        with self._news:
            self._texts.append(text)
            self._news.notify_all()

    def wait_for(self, words: str, times: int = 1) -> None:
        with self._news:
            assert self._news.wait_for(lambda: "".join(self._texts).count(words) >= times, HANG)


@pytest.fixture
def hears() -> Iterator[Hears]:
    made = Hears()
    set_sink(made)
    yield made
    set_sink(None)


def stubborn(flag: str) -> None:
    """Goes on whatever is raised in it, until there is a file."""
    while True:
        try:
            print("begun", flush=True)
            while not os.path.exists(flag):  # noqa: PTH110 - travels by value
                pass
            return  # noqa: TRY300 - it is what the loop is for
        except KeyboardInterrupt:
            pass


def test_a_thread_that_cannot_be_ended_is_told_of(hears: Hears, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    with options.override(interrupt_grace=0.05), Pool(2, name="stuck", profile="thread") as pool:
        stuck = pool.submit(stubborn, str(flag))
        hears.wait_for("begun")
        assert stuck.cancel()
        hears.wait_for("a thread cannot be made to")
        assert pool.submit(abs, -1).result(HANG) == 1
        flag.touch()


def test_a_process_full_of_threads_that_do_not_end_is_replaced(hears: Hears, tmp_path: Path) -> None:
    flag = str(tmp_path / "never")
    with options.override(interrupt_grace=0.05), Pool(2, name="full", profile="thread") as pool:
        pid = pool.submit(os.getpid).result(HANG)
        stuck = [pool.submit(stubborn, flag) for _ in range(2)]
        hears.wait_for("begun", 2)
        for future in stuck:
            assert future.cancel()
        assert pool.submit(os.getpid).result(HANG) != pid


def test_a_death_costs_what_ran_in_its_threads_and_nothing_that_waited(
    threads: Pool, gates: Callable[[], Gate]
) -> None:
    held = [gates() for _ in range(3)]
    running = [threads.submit(each.task, None) for each in held]
    for each in held:
        each.wait_begun()
    waiting = [threads.submit(abs, -number) for number in range(5)]
    with testing.capture_events("snakepit.worker", "snakepit.request") as seen:
        os.kill(threads.workers()[0].pid, signal.SIGKILL)
        errors = [each.exception(HANG) for each in running]
        assert [each.result(HANG) for each in waiting] == list(range(5))
        crashes = seen.wait_for(events.WORKER_CRASH)
    assert [type(each) for each in errors] == [WorkerCrashed] * 3
    assert len(crashes) == 1


def test_recycling_loses_nothing_and_what_runs_ends_first(threads: Pool, gate: Gate) -> None:
    pid = threads.submit(os.getpid).result(HANG)
    held = threads.submit(gate.task, "kept")
    gate.wait_begun()
    with testing.capture_events(events.WORKER_STARTED, events.WORKER_RECYCLED) as seen:
        threads.recycle()
        seen.wait_for(events.WORKER_STARTED)
        gate.open()
        assert held.result(HANG) == "kept"
        seen.wait_for(events.WORKER_RECYCLED)
    assert threads.submit(os.getpid).result(HANG) != pid


def test_a_life_of_so_many_requests_ends_after_exactly_those() -> None:
    with Pool(3, name="short", profile="thread", max_requests=4) as pool:
        pids = [each.result(HANG) for each in [pool.submit(os.getpid) for _ in range(12)]]
    assert sorted(pids.count(each) for each in set(pids)) == [4, 4, 4]


def test_a_session_keeps_its_names(threads: Pool) -> None:
    session = threads.session("s")
    session.keep("x", int, "3")
    assert session.submit(pow, session["x"], 2).result(HANG) == 9
    session.close()


def test_several_streams_come_at_once(threads: Pool) -> None:
    streams = [threads.stream(range, start, start + 200) for start in (0, 1000, 2000)]
    found = [list(each) for each in streams]
    assert found == [list(range(start, start + 200)) for start in (0, 1000, 2000)]


def test_libraries_of_linear_algebra_share_the_cores() -> None:
    def blas() -> list[int]:
        import numpy.linalg  # noqa: F401 - loads the library that is asked about
        import threadpoolctl

        return [each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]

    with options.override(blas_threads=3), Pool(2, profile="thread") as pool:
        assert set(pool.submit(blas).result(HANG)) <= {3}


def test_one_process_with_threads_cannot_be_scaled(threads: Pool) -> None:
    with pytest.raises(PoolError, match="one worker with threads"):
        threads.scale(2)


def test_shutdown_waits_for_what_runs(gate: Gate) -> None:
    pool = Pool(2, name="closing", profile="thread")
    held = pool.submit(gate.task, "kept")
    gate.wait_begun()
    opener = threading.Thread(target=gate.open)
    pool.shutdown(wait=False)
    opener.start()
    pool.shutdown(wait=True)
    opener.join(HANG)
    assert held.result(HANG) == "kept"
