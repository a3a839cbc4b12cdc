"""Workers that are replaced in time: by policy or by hand, at their moment, once, and at nobody's cost."""

from __future__ import annotations

import builtins
import ctypes
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb import Pool, PoolClosed, WorkerCrashed, events, options, testing
from snakepit_nb.errors.types import PoolError
from snakepit_nb.pool.recycle import Policy
from tests.pool.conftest import HANG, outcome, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate

MB = 1_000_000


def hoard(megabytes: int) -> int:
    """Keep so much memory for good; who has it now."""
    kept: Any = builtins
    kept.hoard_of_a_test = [*getattr(builtins, "hoard_of_a_test", ()), b"x" * (megabytes * MB)]
    return os.getpid()


def hoard_arrays(megabytes: int) -> int:
    kept: Any = builtins
    kept.hoard_of_a_test = [*getattr(builtins, "hoard_of_a_test", ()), np.ones(megabytes * MB // 8)]
    return os.getpid()


def hoard_for_ever() -> None:
    while True:
        hoard(20)


def reasons(seen: testing.Captured) -> list[object]:
    return [each.metadata["reason"] for each in seen.named(events.WORKER_RECYCLED)]


# By requests


def test_after_so_many_requests_another_worker_takes_over() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1, max_requests=3) as pool:
        served = [pool.submit(os.getpid).result(HANG) for _ in range(10)]
        seen.wait_for(events.WORKER_RECYCLED, 3)
    assert [served.count(pid) for pid in dict.fromkeys(served)] == [3, 3, 3, 1]
    assert reasons(seen) == ["max_requests"] * 3
    assert [each.metadata["request_count"] for each in seen.named(events.WORKER_RECYCLED)] == [3] * 3


def test_of_many_requests_at_once_none_is_lost_or_run_twice() -> None:
    with testing.capture_events("snakepit") as seen, Pool(2, max_requests=7) as pool:
        assert list(pool.map(abs, range(-500, 0))) == list(range(500, 0, -1))
    executed = seen.named(events.REQUEST_EXECUTED)
    assert len(executed) == len({each.metadata["request_id"] for each in executed}) == 500
    per_life: list[Any] = [each.metadata["request_count"] for each in seen.named(events.WORKER_RECYCLED)]
    assert max(per_life) <= 7
    started = {each.metadata["worker_id"] for each in seen.named(events.WORKER_STARTED)}
    ended = [each.metadata["worker_id"] for each in seen.named(events.WORKER_RECYCLED)]
    assert len(ended) == len(set(ended))
    assert set(ended) <= started
    assert not seen.named(events.WORKER_CRASH)


# By age


def test_a_worker_that_has_served_for_its_time_is_replaced() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1, ttl=0.2) as pool:
        first = pool.submit(os.getpid).result(HANG)
        facts: dict[str, Any] = dict(seen.wait_for(events.WORKER_RECYCLED)[0].metadata)
        assert pool.submit(os.getpid).result(HANG) != first
    assert (facts["reason"], facts["request_count"]) == ("ttl_expired", 1)
    assert facts["uptime_seconds"] >= 0.18


def test_chance_shortens_a_life_and_never_prolongs_it() -> None:
    policy = Policy(ttl=100.0, jitter=0.1)
    assert [policy.lifetime(chance) for chance in (0.0, 0.5, 1.0)] == [100.0, 95.0, 90.0]


# By memory


@pytest.mark.parametrize("leak", [hoard, hoard_arrays], ids=["objects", "arrays"])
def test_a_worker_that_holds_too_much_is_replaced_once_it_has_answered(leak: Callable[[int], int]) -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1, max_memory="300MB") as pool:
        first = [pool.submit(leak, 150).result(HANG) for _ in range(2)]
        facts: dict[str, Any] = dict(seen.wait_for(events.WORKER_RECYCLED)[0].metadata)
        assert pool.submit(os.getpid).result(HANG) != first[0]
    assert (facts["reason"], facts["memory_threshold_mb"]) == ("memory_threshold", 300)
    assert facts["memory_mb"] > 300
    assert not seen.named(events.WORKER_CRASH)


def test_what_the_notebook_holds_of_a_worker_does_not_count_against_it() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1, max_memory="200MB") as pool:
        held = [pool.submit(np.ones, 100 * MB // 8).result(HANG) for _ in range(5)]
        given = np.ones(300 * MB // 8)
        assert pool.submit(np.sum, given).result(HANG) == len(given)
        worker = pool.workers()[0]
        process = pool._supervisor.workers[worker.worker_id]
        assert pool._supervisor.lifecycle._health.memory_of(process) < 200 * MB
        assert len(held) == 5
    assert reasons(seen) == []


def test_a_worker_that_takes_far_too_much_is_ended_before_the_machine_is_full() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1, max_memory="200MB") as pool:
        error = outcome(pool.submit(hoard_for_ever))
        assert isinstance(error, WorkerCrashed)
        assert (error.classification, error.signal_name) == ("oom", "SIGKILL")
        assert "because memory ran out" in str(error)
        assert pool.submit(abs, -1).result(HANG) == 1
    assert seen.named(events.WORKER_CRASH)[0].metadata["classification"] == "oom"
    assert reasons(seen) == ["worker_died"]
    assert len(seen.named(events.WORKER_TAINTED)) == len(seen.named(events.WORKER_RESTARTED))


# By hand


def test_all_workers_are_replaced_by_hand_and_what_waits_is_served(gates: Callable[[], Gate]) -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(2) as pool:
        before = pids(pool.start())
        gate = gates()
        held = pool.submit(gate.task, "kept")
        gate.wait_begun()
        waiting = [pool.submit(os.getpid) for _ in range(50)]
        pool.recycle()
        seen.wait_for(events.WORKER_STARTED, 4)
        assert not held.done()
        gate.open()
        assert held.result(HANG) == "kept"
        assert all(future.result(HANG) for future in waiting)
        seen.wait_for(events.WORKER_RECYCLED, 2)
        assert not before & pids(pool)
    assert reasons(seen) == ["manual", "manual"]


def test_one_worker_is_replaced_by_its_name_and_the_other_stays() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(2) as pool:
        first, second = pool.start().workers()
        pool.recycle(first.worker_id)
        seen.wait_for(events.WORKER_RECYCLED, worker_id=first.worker_id)
        now = {each.worker_id: each.pid for each in pool.workers()}
        assert now[second.worker_id] == second.pid
        assert set(now) == {second.worker_id, f"{first.worker_id}.2"}


def test_of_two_workers_of_one_place_only_one_works(gates: Callable[[], Gate]) -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1) as pool:
        gate = gates()
        held = pool.submit(gate.task, None)
        gate.wait_begun()
        pool.recycle()
        seen.wait_for(events.WORKER_STARTED, 2)
        behind = pool.submit(os.getpid)
        assert not behind.running()
        gate.open()
        held.result(HANG)
        assert behind.result(HANG) == pool.workers()[-1].pid


def test_a_worker_that_is_not_there_cannot_be_replaced() -> None:
    with Pool(1, name="small") as pool:
        with pytest.raises(PoolError, match="pool 'small' has no worker 'x': it has none yet"):
            pool.recycle("x")
        pool.start()
        with pytest.raises(PoolError, match="pool 'small' has no worker 'x': it has small-0"):
            pool.recycle("x")
    with pytest.raises(PoolClosed):
        pool.recycle()


# What may be said


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        ({"max_requests": 0}, ValueError, "max_requests: expected at least 1, got 0"),
        ({"max_requests": 2.5}, TypeError, "max_requests: expected a whole number, got 2.5"),
        ({"ttl": -1}, ValueError, "ttl: expected a number of seconds above zero, got -1"),
        ({"ttl": "1h"}, TypeError, "ttl: expected a number of seconds, got '1h'"),
        ({"max_memory": "much"}, ValueError, "max_memory: expected bytes, or a size like '4GB' or '512MiB'"),
        ({"max_memory": None.__class__}, TypeError, "max_memory: expected a whole number"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        Pool(1, **said)


def test_the_options_speak_where_the_arguments_do_not() -> None:
    with (
        options.override(max_requests=1),
        testing.capture_events("snakepit.worker") as seen,
        Pool(1) as pool,
    ):
        assert len({pool.submit(os.getpid).result(HANG) for _ in range(3)}) == 3
        seen.wait_for(events.WORKER_RECYCLED, 2)


# After a crash


def test_a_crash_of_native_code_taints_its_place_and_the_next_worker_ends_that() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1, name="one") as pool:
        assert isinstance(outcome(pool.submit(ctypes.string_at, 0)), WorkerCrashed)
        assert pool.submit(abs, -1).result(HANG) == 1
    told = [each.name[-1] for each in seen]
    assert told == ["started", "crash", "tainted", "recycled", "started", "restarted"]
    crash, tainted, restarted = (
        seen.named(name)[0] for name in (events.WORKER_CRASH, events.WORKER_TAINTED, events.WORKER_RESTARTED)
    )
    assert tainted.measurements["duration_ms"] == 500
    for key in ("reason", "exit_code", "device", "signal", "classification"):
        assert crash.metadata[key] == tainted.metadata[key] == restarted.metadata[key]
    assert (crash.metadata["worker_id"], restarted.metadata["worker_id"]) == ("one-0", "one-0.2")
    for each in seen:
        assert events.check(each.name, each.measurements, each.metadata) == []


def test_an_end_by_hand_taints_nothing() -> None:
    with testing.capture_events("snakepit.worker") as seen, Pool(1) as pool:
        assert isinstance(outcome(pool.submit(os._exit, 3)), WorkerCrashed)
        assert pool.submit(abs, -1).result(HANG) == 1
    assert [each.name[-1] for each in seen] == ["started", "crash", "recycled", "started"]


def test_where_the_machine_runs_out_of_memory_a_worker_goes_before_the_kernel() -> None:
    def score() -> int:
        from pathlib import Path

        return int(Path("/proc/self/oom_score_adj").read_text())

    with Pool(1) as pool:
        assert pool.submit(score).result(HANG) > score()
