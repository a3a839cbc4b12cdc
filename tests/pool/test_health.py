"""Signs of life: who is stopped is found out and replaced, who is only busy is left alone."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import Pool, WorkerCrashed, events, options, testing
from snakepit_nb.arrays import native
from tests.pool.conftest import HANG, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.pool.conftest import Gate


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    with options.override(health_interval=0.05, health_timeout=0.3, health_misses=2):
        yield


def checks(seen: testing.Captured) -> list[object]:
    return [each.metadata["reason"] for each in seen.named(events.WORKER_HEALTH_CHECK_FAILED)]


def test_an_idle_worker_that_is_stopped_is_replaced() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1) as pool:
        (worker,) = pool.start().workers()
        os.kill(worker.pid, signal.SIGSTOP)
        seen.wait_for(events.WORKER_STARTED, 2)
        assert pool.submit(abs, -1).result(HANG) == 1
    assert checks(seen) == ["timeout", "timeout"]
    told = [each.name[-1] for each in seen]
    assert told == ["started", "health_check_failed", "health_check_failed", "crash", "recycled", "started"]
    assert seen.named(events.WORKER_RECYCLED)[0].metadata["reason"] == "worker_died"
    for each in seen:
        assert events.check(each.name, each.measurements, each.metadata) == []


def test_a_worker_that_is_stopped_while_it_works_costs_its_request_alone(gates: Callable[[], Gate]) -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1) as pool:
        gate = gates()
        running = pool.submit(gate.task, None)
        gate.wait_begun()
        behind = pool.submit(abs, -2)
        os.kill(pool.workers()[0].pid, signal.SIGSTOP)
        error = outcome(running)
        assert isinstance(error, WorkerCrashed)
        assert "missed 2 health checks in a row" in error.stderr_tail
        assert behind.result(HANG) == 2
    assert checks(seen) == ["timeout", "timeout"]


def test_a_worker_that_goes_on_in_time_is_kept() -> None:
    with (
        options.override(health_misses=1000),
        testing.capture_events("snakepit.worker") as seen,
        Pool(1) as pool,
    ):
        (worker,) = pool.start().workers()
        os.kill(worker.pid, signal.SIGSTOP)
        seen.wait_for(events.WORKER_HEALTH_CHECK_FAILED, 2)
        os.kill(worker.pid, signal.SIGCONT)
        assert pool.submit(os.getpid).result(HANG) == worker.pid
        process = pool._supervisor.workers[worker.worker_id]
        while process.misses:
            pool.submit(abs, -1).result(HANG)


@pytest.mark.skipif(native.available() is not None, reason="signs of life come from C: no arena library here")
def test_code_that_never_lets_go_of_python_s_lock_is_busy_and_not_ill(tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    for each in (began, go):
        os.mkfifo(each)

    def hold(began: str, go: str) -> int:
        with open(began, "w"):  # noqa: PTH123 - travels by value, and needs no more than this
            pass
        # Unlike `CDLL`, this one keeps the lock while it calls; and the call waits for a writer.
        return int(ctypes.PyDLL(None).open(go.encode(), os.O_RDONLY))

    with options.override(health_interval=0.0), Pool(1) as pool:
        holding = pool.submit(hold, str(began), str(go))
        began.read_bytes()
        assert_alive(pool)
        assert not holding.done()
        go.write_bytes(b"")
        assert holding.result(HANG) > 0


def assert_alive(pool: Pool) -> None:
    """Ask the one worker for a sign of life, and wait for it."""
    (process,) = pool._supervisor.workers.values()
    assert process.probe()
    while not process.beats:
        process.feel()


@pytest.mark.parametrize("arena", [True, False], ids=["by C", "by Python"])
def test_a_worker_gives_signs_of_life_with_and_without_the_library_in_c(arena: bool) -> None:  # noqa: FBT001 - a parameter
    with options.override(arena=arena, health_interval=0.0), Pool(1) as pool:
        pool.start()
        assert_alive(pool)


def test_who_looks_too_late_has_no_opinion() -> None:
    # As after a night in which the machine slept, or this process was stopped.
    with (
        options.override(health_interval=3600, health_timeout=1.0),
        testing.capture_events("snakepit.worker") as seen,
        Pool(1) as pool,
    ):
        (worker,) = pool.start().workers()
        process = pool._supervisor.workers[worker.worker_id]
        health = pool._supervisor.lifecycle._health
        process.beats = False
        health._check(process, time.monotonic_ns() - 3600 * 10**9)
        assert (process.misses, checks(seen)) == (0, [])
        health._check(process, time.monotonic_ns())
        assert (process.misses, checks(seen)) == (1, ["timeout"])
        process.beats = True
        health._check(process, time.monotonic_ns())
        assert process.misses == 0


def test_no_checks_are_made_where_none_are_wanted() -> None:
    with (
        options.override(health_interval=0.0),
        testing.capture_events("snakepit.worker") as seen,
        Pool(1) as pool,
    ):
        (worker,) = pool.start().workers()
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            pool.submit(abs, -1).result(0.4)
        os.kill(worker.pid, signal.SIGCONT)
        assert pool.submit(abs, -1).result(HANG) == 1
    assert checks(seen) == []


def test_what_each_worker_holds_and_how_busy_it_is_is_told_while_somebody_listens() -> None:
    def work(size: int) -> None:
        kept = bytearray(size)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            kept[0] ^= 1

    with Pool(2, name="test") as pool, testing.capture_events(events.WORKER_STATS) as seen:
        pool.start()
        busy = pool.submit(work, 50_000_000)
        seen.wait_for(events.WORKER_STATS, 4, HANG)
        busy.result(HANG)
    most: dict[object, float] = {}
    for each in seen:
        assert events.check(each.name, each.measurements, each.metadata) == []
        worker = each.metadata["worker_id"]
        most[worker] = max(most.get(worker, 0.0), each.measurements["cpu_percent"])
    assert len(most) == 2
    assert max(most.values()) > 5 * min(most.values())
    assert max(each.measurements["memory_mb"] for each in seen) > 50
