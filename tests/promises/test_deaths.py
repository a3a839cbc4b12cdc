"""A death is noticed at once, costs one request, has nothing run twice, and does not go on for ever."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import wait
from typing import TYPE_CHECKING

import psutil
import pytest

from snakepit_nb import Pool, PoolBroken, WorkerCrashed, events, options, testing
from snakepit_nb.pool import process
from tests.pool.conftest import gone, outcome, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate, Log


def test_a_death_is_noticed_within_a_second_and_made_up_for_within_three(gates: Callable[[], Gate]) -> None:
    """The quickest of five counts: what is promised is the pool's doing, not this machine's."""
    noticed, replaced = [], []
    with options.override(deaths=1000, taint=0.0), Pool(1) as pool:
        for _ in range(5):
            gate = gates()
            running = pool.submit(gate.task, None)
            gate.wait_begun()
            with testing.capture_events("snakepit.worker") as seen:
                began = time.monotonic_ns()
                os.kill(pool.workers()[0].pid, signal.SIGKILL)
                assert isinstance(outcome(running), WorkerCrashed)
                noticed.append(time.monotonic_ns() - began)
                seen.wait_for(events.WORKER_STARTED)
                replaced.append(time.monotonic_ns() - began)
    assert min(noticed) < 1_000_000_000
    assert min(replaced) < 3_000_000_000


def test_nothing_runs_twice_although_workers_are_killed_all_the_time(log: Log) -> None:
    with options.override(deaths=10**6, taint=0.0), Pool(2) as pool:
        pool.start()
        futures = [pool.submit(log.task, number) for number in range(3_000)]
        for _ in range(20):
            busy = [each.pid for each in pool.workers() if each.state == "busy"]
            if busy:
                os.kill(busy[0], signal.SIGKILL)
            wait(futures, 0.02)
        errors = [outcome(future) for future in futures]
    assert {type(error) for error in errors} <= {type(None), WorkerCrashed}
    assert sum(error is not None for error in errors) <= 20
    ran = Counter(log.lines())
    assert set(ran.values()) == {1}
    assert {str(number) for number, error in enumerate(errors) if error is None} <= set(ran)


@pytest.mark.parametrize("how", ["exits", "killed"])
def test_workers_that_die_before_they_serve_are_not_made_again_and_again(log: Log, how: str) -> None:
    noted = log.task

    def dies() -> None:
        noted("tried")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)

    with Pool(2, initializer=dies) as pool:
        futures = [pool.submit(abs, -number) for number in range(20)]
        errors = [outcome(future) for future in futures]
        assert {type(error) for error in errors} == {PoolBroken}
        assert len({str(error) for error in errors}) == 1
        assert "died" in str(errors[0])
        with pytest.raises(PoolBroken):
            pool.submit(abs, -1)
        assert gone(pids(pool))
    assert 1 <= len(log.lines()) <= options.current().deaths + 3


def test_a_pool_that_broke_has_no_process_left(log: Log) -> None:
    with Pool(2) as pool:
        pool.start()
        before = pids(pool)
        futures = [pool.submit(os._exit, 3) for _ in range(20)]
        assert isinstance(outcome(futures[-1]), PoolBroken)
        with pytest.raises(PoolBroken):
            pool.submit(log.task, 1)
        assert gone(before | pids(pool))
        assert psutil.Process(process.nursery(())._process.pid).children() == []
    assert log.lines() == []
