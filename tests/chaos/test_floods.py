"""More than anybody should ask for: every request ends once, and callers and events count the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, wait
from typing import TYPE_CHECKING, Any

import pytest

from snakepit_nb import Pool, PoolSaturated, WorkerCrashed, events, options, telemetry
from tests.pool.conftest import HANG, Gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.chaos.conftest import Story


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def told() -> Iterator[Counter[str]]:
    """How often each outcome of a request, and each other event, was told."""
    found: Counter[str] = Counter()

    def hear(event: tuple[str, ...], _numbers: object, metadata: dict[str, object], _config: object) -> None:
        found[".".join(event[1:])] += 1
        if event == events.REQUEST_EXECUTED:
            found[str(metadata["outcome"])] += 1

    telemetry.attach_prefix("flood", "snakepit", hear)
    yield found
    telemetry.detach("flood")


def outcomes(futures: list[Future[Any]]) -> Counter[str]:
    wait(futures, HANG)
    found: Counter[str] = Counter()
    for each in futures:
        if each.cancelled():
            found["cancelled"] += 1
        else:
            error = each.exception(0)
            found["ok" if error is None else type(error).__name__] += 1
    return found


def test_a_hundred_thousand_queued_tasks_each_run_once(told: Counter[str]) -> None:
    with Pool(2) as pool:
        futures = [pool.submit(abs, -number) for number in range(100_000)]
        assert sum(each.result(HANG) for each in futures) == sum(range(100_000))
    assert told["request.executed"] == told["ok"] == 100_000


def test_a_storm_of_cancels_counts_up(told: Counter[str], gate: Gate) -> None:
    with Pool(2) as pool:
        futures: list[Future[Any]] = [pool.submit(gate.task, 0)]
        gate.wait_begun()
        futures += [pool.submit(time.sleep, 0.0001) for _ in range(5_000)]
        threads = [
            threading.Thread(target=lambda part: [each.cancel() for each in part], args=(futures[at::4],))
            for at in range(1, 5)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        gate.open()
        found = outcomes(futures)
    assert set(found) <= {"ok", "cancelled"}
    assert found.total() == 5_001
    assert told["ok"] == found["ok"]


def test_workers_are_recycled_while_the_pool_is_saturated_and_nothing_is_lost(told: Counter[str]) -> None:
    with Pool(2, max_queue=5, when_full="block") as pool:
        futures: list[Future[Any]] = []
        lock = threading.Lock()

        def submit() -> None:
            for _ in range(100):
                made = pool.submit(time.sleep, 0.001)
                with lock:
                    futures.append(made)

        threads = [threading.Thread(target=submit) for _ in range(4)]
        for each in threads:
            each.start()
        while any(each.is_alive() for each in threads):
            pool.recycle()
            threads[0].join(0.02)
        assert outcomes(futures) == {"ok": 400}
    assert told["ok"] == told["request.executed"] == 400
    assert told["worker.crash"] == 0
    # Each life ends in one of these, or in the stop of the pool: two workers, each with a successor at most.
    assert 2 <= told["worker.started"] - told["worker.recycled"] <= 4


def test_a_full_pool_that_rejects_tells_each_rejection(told: Counter[str], gate: Gate) -> None:
    with Pool(1, max_queue=3, when_full="reject") as pool:
        held = pool.submit(gate.task, 0)
        gate.wait_begun()
        waiting = [pool.submit(abs, -1) for _ in range(3)]
        for _ in range(50):
            with pytest.raises(PoolSaturated):
                pool.submit(abs, -1)
        gate.open()
        assert outcomes([held, *waiting]) == {"ok": 4}
    assert told["pool.saturated"] == 51  # when it became so, and each that was turned away


def test_workers_that_are_killed_all_the_time_cost_what_they_ran_and_nothing_else(told: Counter[str]) -> None:
    with options.override(deaths=10**6), Pool(2) as pool:
        pool.start()
        futures: list[Future[Any]] = [pool.submit(time.sleep, 0.002) for _ in range(600)]
        for _ in range(20):
            pids = [each.pid for each in pool.workers() if each.state == "busy"]
            if pids:
                os.kill(pids[0], signal.SIGKILL)
            wait(futures, 0.03)
        found = outcomes(futures)
        pool.start(timeout=HANG)  # the last of the dead is replaced
    assert set(found) <= {"ok", WorkerCrashed.__name__}
    assert found["ok"] >= 580
    assert told["worker.crash"] >= found[WorkerCrashed.__name__]
    assert told["worker.started"] - told["worker.recycled"] == 2


def test_a_pool_that_is_shut_down_while_it_is_flooded_ends_what_it_took(gate: Gate) -> None:
    pool = Pool(2)
    futures: list[Future[Any]] = [pool.submit(gate.task, 0)]
    gate.wait_begun()
    futures += [pool.submit(abs, -number) for number in range(2_000)]
    pool.shutdown(wait=False)
    gate.open()
    pool.shutdown()
    assert outcomes(futures) == {"ok": 2_001}
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        pool.submit(abs, -1)


def test_a_pool_that_is_shut_down_and_cancels_keeps_only_what_runs(gate: Gate) -> None:
    pool = Pool(1)
    held = pool.submit(gate.task, "kept")
    gate.wait_begun()
    queued = [pool.submit(abs, -number) for number in range(2_000)]
    closing = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    closing.start()
    for each in queued:
        with pytest.raises(CancelledError):
            each.result(HANG)
    gate.open()
    closing.join(HANG)
    assert held.result(0) == "kept"


def test_a_gigabyte_of_text_neither_fills_the_kernel_nor_ends_the_cell(story: Story) -> None:
    before = int(story.value("import psutil; psutil.Process().memory_info().rss"))
    body = "line = 'x' * 999_999\nfor _ in range(1_000):\n    print(line)\nprint('the end')"
    cell = story.goes_wrong(f"%%snakepit\n{body}", None)
    story.notebook.wait_until(lambda: cell.stdout.endswith("the end\n"), what="the end of the text")
    assert len(cell.stdout) < 2_000_000
    assert "bytes of stdout left out" in cell.stdout
    assert int(story.value("psutil.Process().memory_info().rss")) < before + 200_000_000
    story.goes_on()
