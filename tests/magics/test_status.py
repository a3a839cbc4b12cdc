"""The table of pools: who works, on what, for how long, and what waits."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import Pool, events, options, registry, testing
from snakepit_nb.magics.status import Status
from snakepit_nb.pool import loans
from tests.pool.conftest import HANG, Gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def pool() -> Iterator[Pool]:
    yield registry.start("shown", workers=1)
    registry.stop("shown")


def rows(status: Status) -> list[dict[str, str]]:
    """The rows of the first table, by their heads."""
    lines = repr(status).split("\n\n", maxsplit=1)[0].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("worker "))
    heads, *found = [re.split(r"  +", line.strip()) for line in lines[start:]]
    return [dict(zip(heads, row, strict=True)) for row in found]


def test_without_a_pool_it_says_how_one_starts_and_what_became_of_the_last() -> None:
    assert repr(Status([], None)) == "no pool is running; the first %%snakepit cell starts one"
    broken = Status([], None, "5 workers died <b>")
    assert repr(broken).startswith("no pool is running, the last one broke: 5 workers died <b>; the next")
    assert "5 workers died &lt;b&gt;" in broken._repr_html_()


def test_an_idle_worker_has_its_process_age_and_memory(pool: Pool) -> None:
    pool.submit(abs, -1).result(HANG)
    shown = Status([pool], loans.kernel_store().stats())
    about, past, *_ = repr(shown).splitlines()
    assert about == "pool shown: up to 1 worker, processes · 0 busy · 1 idle · 0 queued"
    assert past == "1 request answered · 1 worker started · 0 crashed · 0 recycled"
    (row,) = rows(shown)
    assert row.items() >= {"worker": "shown-0", "state": "idle", "request": "-", "answered": "1"}.items()
    assert row["device"] == "cpu"
    assert int(row["pid"]) == pool.workers()[0].pid
    assert re.fullmatch(r"[\d.]+ [KMG]B", row["memory"])
    assert "arrays to workers: " in repr(shown)
    # Nobody has a time limit or a session: no columns for them.
    assert not row.keys() & {"time left", "sessions"}


def test_a_busy_worker_has_what_it_runs_and_what_waits_is_counted(pool: Pool, gate: Gate) -> None:
    held = pool.request(gate.task, (1,), command="train", timeout=500)
    gate.wait_begun()
    waiting = pool.submit(abs, -1)
    shown = Status([pool], None)
    about = repr(shown).splitlines()[0]
    assert " · 1 busy · 0 idle · 1 queued · the first for 0." in about
    assert re.search(r" · a time limit in 8 min \d+ s$", about)
    (row,) = rows(shown)
    assert row["request"] == f"train #{held.request_id}"
    assert re.fullmatch(r"8 min \d+ s", row["time left"])  # of the 500 seconds that it has
    gate.open()
    assert waiting.result(HANG) == 1


def test_a_worker_that_goes_says_why_and_who_stands_by(pool: Pool, gate: Gate) -> None:
    held = pool.submit(gate.task, 1)
    gate.wait_begun()
    with testing.capture_events(events.WORKER_STARTED) as seen:
        pool.recycle()
        seen.wait_for(events.WORKER_STARTED)
    states = [row["state"] for row in rows(Status([pool], None))]
    assert states == ["recycling: by hand", "standing by"]
    gate.open()
    assert held.result(HANG) == 1


def test_requests_behind_the_one_that_runs_wait(gate: Gate) -> None:
    # However slow this machine is, all are quick ones, of which more than one is sent at a time.
    with options.override(ahead_below_us=1_000_000_000), Pool(1, name="behind") as pool:
        pool.submit(abs, -1).result(HANG)
        held = pool.submit(gate.task, 1)
        gate.wait_begun()
        behind = pool.submit(abs, -1)
        facts = pool.workers()[0].requests
        assert [each.request_id for each in facts] == [held.request_id, behind.request_id]
        assert [each.running_seconds is None for each in facts] == [False, True]
        gate.open()
        assert behind.result(HANG) == 1


def test_a_pool_counts_what_it_has_been_through() -> None:
    with Pool(1, name="counted") as pool:
        pool.submit(abs, -1).result(HANG)
        with testing.capture_events(events.WORKER_STARTED, events.WORKER_RECYCLED) as seen:
            pool.recycle()
            seen.wait_for(events.WORKER_RECYCLED)
            pool.submit(os._exit, 3).exception(HANG)
            seen.wait_for(events.WORKER_RECYCLED, count=2)
        assert pool.totals()._replace(started=0) == (1, 0, 1, 1)
        pool.kill()


def test_a_circuit_breaker_is_told_of_where_there_is_one() -> None:
    with options.override(breaker=1, taint=0.0), Pool(1, name="breaks") as pool:
        assert "circuit breaker closed" in repr(Status([pool], None))
        pool.submit(os._exit, 3).exception(HANG)
        assert "circuit breaker open" in repr(Status([pool], None))
        pool.kill()


def test_sessions_stand_at_the_worker_that_keeps_them(pool: Pool) -> None:
    with pool.session("model") as session:
        session.keep("x", int, "3").result(HANG)
        assert rows(Status([pool], None))[0]["sessions"] == "model"


def test_a_place_that_is_empty_after_a_crash_says_for_how_long() -> None:
    with options.override(taint=60.0), Pool(1, name="tainted") as pool:
        with testing.capture_events(events.WORKER_CRASH) as seen:
            pool.submit(abs, -1).result(HANG)
            pid = pool.workers()[0].pid
            os.kill(pid, signal.SIGSEGV)
            seen.wait_for(events.WORKER_CRASH)
        shown = Status([pool], None)
        (row,) = rows(shown)
        assert row["pid"] == "-"
        assert re.fullmatch(r"tainted, again in (5\d s|1 min 0 s)", row["state"])
        assert " · 1 tainted · " in repr(shown)
        pool.kill()


def test_a_worker_that_is_stopped_does_not_keep_the_table_waiting(pool: Pool) -> None:
    pid = pool.submit(os.getpid).result(HANG)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert rows(Status([pool], None))[0]["state"].startswith("idle")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_threads_of_one_worker_have_a_row_each_for_what_they_run(gate: Gate) -> None:
    with Pool(3, name="threads", profile="thread") as pool:
        held = [pool.request(gate.task, (1,), command="first")]
        gate.wait_begun()
        held.append(pool.request(input_of, (gate.task,), command="second"))
        shown = repr(Status([pool], None))
        assert "pool threads: 3 threads in one process" in shown
        assert [name for name in ("first", "second") if f"{name} #" in shown] == ["first", "second"]
        gate.open()
        held[0].result(HANG)
        held[1].cancel()
        pool.kill()


def input_of(task: object) -> None:
    """Runs until it is ended."""
    del task
    while True:
        pass


def test_names_are_text_whatever_they_hold(pool: Pool, gate: Gate) -> None:
    pool.request(gate.task, (1,), command="<script>alert(1)</script>\n\x1b[31m")
    gate.wait_begun()
    shown = Status([pool], None)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert r"\x1b[31m" in repr(Status([pool], None))
    gate.open()
