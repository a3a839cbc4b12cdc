"""The timeline of a real pool shows what the pool itself says of its life."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb import Pool, events, telemetry, testing
from snakepit_nb.dashboard.feed import Feed
from snakepit_nb.dashboard.protocol import Kind, Outcome
from tests.dashboard.browser import Browser
from tests.dashboard.story import seen_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def feed(browser: Browser) -> Iterator[Feed]:
    feed = Feed("timeline", browser, interval=0.02, since_ns=time.monotonic_ns())
    feed.start()
    feed.heard("a")
    yield feed
    feed.close()


def refuse(value: int) -> int:
    message = f"not {value}"
    raise ValueError(message)


def report(name: str) -> None:
    telemetry.execute(name, {"duration_ms": 2}, {"epoch": 1})


def ones(count: int) -> np.ndarray:
    return np.ones(count)


def test_a_life_with_everything(feed: Feed, browser: Browser) -> None:
    with testing.capture_events("snakepit", "app") as captured, Pool(2, name="timeline") as pool:
        assert list(pool.map(len, ["a"] * 200)) == [1] * 200
        assert pool.submit(ones, 1 << 20).result().sum() == 1 << 20
        pool.submit(len, np.ones(1 << 18)).result()
        pool.submit(report, "app.epoch").result()
        assert isinstance(pool.submit(refuse, 1).exception(), ValueError)
        assert pool.submit(os.abort).exception() is not None
        captured.wait_for(events.WORKER_RESTARTED)
        pool.recycle(pool.workers()[0].worker_id)
        captured.wait_for(events.WORKER_RECYCLED, reason="manual")
        pool.submit(len, "abc").result()
        browser.wait(lambda: browser.messages[-1]["summary"]["events"] and not browser.last["open"])
        totals = pool.totals()
    browser.wait(lambda: browser.last["summary"]["state"] == "stopped")
    told = [event for event in captured if event.metadata.get("pool", "timeline") == "timeline"]
    summary = browser.last["summary"]

    def rows(kind: Kind) -> list[str]:
        return [row.name for row in browser.rows if row.kind is kind]

    def emitted(name: tuple[str, ...]) -> list[testing.CapturedEvent]:
        return [event for event in told if event.name == name]

    executed = emitted(events.REQUEST_EXECUTED)
    assert [row.name for row in browser.rows if row.kind is Kind.REQUEST] == [
        event.metadata["command"] for event in executed
    ]
    assert summary["requests"] == {
        outcome.name.lower(): sum(event.metadata["outcome"] == outcome.name.lower() for event in executed)
        for outcome in Outcome
        if outcome
    }
    assert summary["requests"]["crashed"] == summary["crashes"] == totals.crashed == 1
    assert totals.answered == summary["requests"]["ok"] + summary["requests"]["error"]
    assert totals.recycled == summary["recycled"] == 1
    assert totals.started == len(rows(Kind.STARTED)) == 4
    assert rows(Kind.CRASH) == rows(Kind.TAINTED) == rows(Kind.RESTARTED) == ["abort"]
    assert sorted(rows(Kind.RECYCLED)) == ["manual", "worker_died"]
    assert rows(Kind.EXCEPTION) == ["ValueError"]
    assert rows(Kind.USER) == ["app.epoch"]
    assert rows(Kind.POOL_STOPPED) == ["shutdown"]
    assert len(rows(Kind.SATURATED)) >= 1
    lent = emitted(events.ZERO_COPY_EXPORT)
    assert rows(Kind.EXPORT) == [event.metadata["direction"] for event in lent]
    assert summary["bytes_shared"] == sum(event.measurements["bytes"] for event in lent) > 8 << 20
    assert summary["bytes_copied"] == sum(
        event.measurements["bytes"] for event in emitted(events.ZERO_COPY_FALLBACK)
    )
    assert summary["queued"] == 0
    assert feed._tracks.skipped == 0
    assert {lane["label"]: lane["state"] for lane in browser.last["lanes"]} == dict.fromkeys(
        ("timeline", "timeline-0", "timeline-1"), "gone"
    )
    assert seen_in(feed.frame()) == sorted(browser.rows, key=lambda row: row.id)
    for row in browser.rows:
        event = feed.event(row.id)
        assert event is not None
        assert (event[0] == events.REQUEST_EXECUTED) == (row.kind is Kind.REQUEST)
    for lane in (1, 2):
        bars = [row for row in browser.rows if row.kind is Kind.REQUEST and row.lane == lane]
        for life in {row.life for row in bars}:
            ends = [(row.t, row.t + row.dur) for row in bars if row.life == life]
            assert all(before[1] <= after[0] + 2e-6 for before, after in pairwise(ends))


def test_what_runs_and_what_waits_is_what_the_pool_says(
    feed: Feed, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gate")
    began, go = str(folder / "began"), str(folder / "go")
    for path in (began, go):
        os.mkfifo(path)

    def held() -> None:
        with open(began, "w"), open(go) as wait:  # noqa: PTH123 - it travels by value
            wait.read()

    with Pool(1, name="timeline") as pool:
        first = pool.submit(held)
        with open(began):  # noqa: PTH123 - returns once it runs
            pass
        others = [pool.submit(held) for _ in range(3)]
        browser.wait(lambda: browser.last["summary"]["saturated_since"] and browser.last["open"])
        browser.wait(lambda: browser.last["summary"]["queued"] == pool.waiting().queued)
        (worker,) = pool.workers()
        ((_, lane, _, life, _, _, request),) = browser.last["open"]
        assert (request, lane, life) == (first.request_id, 1, 1)
        assert browser.last["lanes"][1]["worker"] == worker.worker_id
        assert browser.last["summary"]["workers"]["busy"] == 1
        for other in others:
            other.cancel()
        with open(go, "w"):  # noqa: PTH123 - lets it go
            pass
        first.result()
        browser.wait(lambda: not browser.messages[-1]["summary"]["queued"])
        browser.wait(lambda: not browser.messages[-1]["summary"]["saturated_since"])
    del feed


def test_threads_run_at_once_in_one_lane(feed: Feed, browser: Browser) -> None:
    def meet(parties: int) -> None:
        import builtins
        import threading

        # The one thing that both threads find: each of them unpacks this function for itself.
        vars(builtins).setdefault("_barrier", threading.Barrier(parties)).wait()

    with Pool(2, name="timeline", profile="thread") as pool:
        for future in [pool.submit(meet, 2) for _ in range(2)]:
            future.result()
    browser.wait(lambda: browser.last["summary"]["state"] == "stopped")
    first, second = (row for row in browser.rows if row.kind is Kind.REQUEST)
    assert browser.last["summary"]["profile"] == "thread"
    assert first.lane == second.lane == 1
    assert second.t < first.t + first.dur
    del feed
