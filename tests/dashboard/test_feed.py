"""The feed sends what is new and only where somebody looks, loses nothing, and ends with `close` alone."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from snakepit_nb import events, telemetry, testing
from snakepit_nb.dashboard import feed as feed_module
from snakepit_nb.dashboard.feed import Feed
from snakepit_nb.dashboard.history import History
from snakepit_nb.dashboard.packing import tables
from snakepit_nb.dashboard.protocol import Kind
from tests.dashboard.browser import Browser
from tests.dashboard.story import record, seen_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def empty_bus() -> Iterator[None]:
    telemetry.set_ring_size(0)
    telemetry.set_ring_size(telemetry.RING_SIZE)
    yield
    assert not telemetry.list_handlers("snakepit")


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def feed(browser: Browser) -> Iterator[Feed]:
    feed = Feed("p", browser, interval=0.02)
    feed.start()
    yield feed
    feed.close()


def unhealthy(worker: str = "p-0", **facts: Any) -> None:
    told = {"pool": "p", "worker_id": worker, "reason": "timeout", **facts}
    telemetry.execute(events.WORKER_HEALTH_CHECK_FAILED, {}, told)


def ask(request: int, worker: str = "p-0", pool: str = "p") -> None:
    facts: dict[str, object] = {"pool": pool, "command": "fit", "request_id": request}
    there = {**facts, "worker_id": worker}
    telemetry.execute(events.REQUEST_QUEUED, {"queue_size": 0}, facts)
    telemetry.execute(events.REQUEST_DISPATCHED, {"queue_us": 5}, there)
    measured = {"queue_us": 5, "duration_us": 50}
    telemetry.execute(events.REQUEST_EXECUTED, measured, {**there, "success": True, "outcome": "ok"})


def stop(reason: str = "shutdown") -> None:
    telemetry.execute(events.POOL_STOPPED, {}, {"pool": "p", "reason": reason})


# What is sent


def test_the_first_message_is_a_keyframe_and_then_comes_what_is_new(feed: Feed, browser: Browser) -> None:
    browser.wait(lambda: browser.batches)
    assert browser.batches[0]["key"]
    feed.heard("a")
    unhealthy()
    browser.wait(lambda: browser.rows)
    unhealthy("p-1")
    browser.wait(lambda: len(browser.rows) == 2)
    assert [row.lane for row in browser.rows] == [1, 2]
    assert [lane["label"] for lane in browser.last["lanes"]] == ["p", "p-0", "p-1"]
    assert [each["seq"] for each in browser.batches] == list(range(1, len(browser.batches) + 1))
    assert not browser.batches[-1]["key"]
    assert not browser.lost


def test_where_nothing_is_new_a_summary_tells_that_the_kernel_lives(feed: Feed, browser: Browser) -> None:
    feed.heard("a")
    browser.wait(lambda: len(browser.summaries) == 3)
    first, second = browser.summaries[-2:]
    assert second["now"] - first["now"] >= 1.0
    assert second["seq"] == browser.last["seq"]
    assert second["summary"]["pool"] == "p"


def test_a_view_that_says_something_is_answered_at_once(feed: Feed, browser: Browser) -> None:
    feed.heard("a")
    browser.wait(lambda: browser.batches and browser.summaries)
    before = browser.messages[-1]["now"]
    feed.heard("a")
    count = len(browser.messages)
    browser.wait(lambda: len(browser.messages) > count)
    assert browser.messages[count]["type"] == "summary"
    assert browser.messages[count]["now"] - before < 1.0


def test_to_hidden_views_goes_a_summary_and_what_they_missed_comes_when_they_are_seen(
    feed: Feed, browser: Browser
) -> None:
    feed.heard("a")
    browser.wait(lambda: browser.batches)
    feed.visible("a", on=False)
    ask(1)
    unhealthy()
    batches, summaries = len(browser.batches), len(browser.summaries)
    browser.wait(lambda: len(browser.summaries) >= summaries + 2)
    assert len(browser.batches) == batches
    assert browser.summaries[-1]["summary"]["requests"]["ok"] == 1
    feed.visible("a", on=True)
    browser.wait(lambda: len(browser.batches) > batches)
    assert [row.kind for row in browser.rows] == [Kind.REQUEST, Kind.HEALTH_CHECK_FAILED]
    assert not browser.batches[-1]["key"]


def test_a_keyframe_has_everything(feed: Feed, browser: Browser) -> None:
    feed.heard("a")
    ask(1)
    browser.wait(lambda: browser.rows)
    feed.keyframe()
    browser.wait(lambda: browser.last["key"] and browser.last["seq"] > 1)
    assert [row.name for row in browser.rows] == ["fit"]


def test_a_view_that_is_shown_gets_everything_though_it_is_not_heard(feed: Feed, browser: Browser) -> None:
    feed.visible("a", on=False)
    unhealthy()
    count = len(browser.batches)
    feed.shown()
    browser.wait(lambda: len(browser.batches) > count + 1)
    assert browser.batches[count]["key"]
    assert len(browser.rows) == 1
    browser.wait(lambda: sum(each["key"] for each in browser.batches) >= count + 2)


def test_under_load_there_is_one_message_in_an_interval(browser: Browser) -> None:
    feed = Feed("p", browser)
    feed.start()
    feed.heard("a")
    done = threading.Event()

    def emit() -> None:
        request = 0
        while not done.wait(0.001):
            for _ in range(10):
                request += 1
                ask(request)

    thread = threading.Thread(target=emit)
    thread.start()
    browser.wait(lambda: len(browser.messages) >= 12)
    done.set()
    thread.join()
    feed.close()
    # A last one when it is closed may come at any time.
    told = [each["now"] for each in browser.messages[:-1]]
    assert told[-1] - told[0] >= (len(told) - 1) * 0.1 * 0.95
    assert sum(row.kind is Kind.REQUEST for row in browser.rows) == browser.last["summary"]["requests"]["ok"]


def test_another_pool_is_another_feed(feed: Feed, browser: Browser) -> None:
    feed.heard("a")
    other = Browser()
    second = Feed("q", other, interval=0.02)
    second.start()
    ask(1, "q-0", pool="q")
    unhealthy()
    browser.wait(lambda: browser.rows)
    other.wait(lambda: other.rows)
    second.close()
    assert [row.kind for row in browser.rows] == [Kind.HEALTH_CHECK_FAILED]
    assert [row.kind for row in other.rows] == [Kind.REQUEST]
    assert feed.event(other.rows[0].id) is None or feed.frame()[0]["summary"]["events"] == 1


def test_events_of_the_users_own_that_name_the_pool_are_shown_and_others_are_not(
    feed: Feed, browser: Browser
) -> None:
    feed.heard("a")
    telemetry.execute("app.elsewhere", {}, {"pool": "q"})
    telemetry.execute("app.nowhere", {}, {})
    telemetry.execute("app.epoch", {"duration_ms": 5}, {"pool": "p", "worker_id": "p-1", "epoch": 3})
    browser.wait(lambda: browser.rows)
    (row,) = browser.rows
    assert (row.kind, row.name, row.dur, row.lane) == (Kind.USER, "app.epoch", 0.005, 1)
    event = feed.event(row.id)
    assert event is not None
    assert event[2]["epoch"] == 3


def test_a_row_leads_to_its_event_as_handlers_got_it(feed: Feed, browser: Browser) -> None:
    feed.heard("a")
    with testing.capture_events("snakepit") as captured:
        ask(1)
        testing.synthetic(events.WORKER_CRASH, metadata={"pool": "p", "worker_id": "p-0"})
    browser.wait(lambda: len(browser.rows) == 2)
    for row, event in zip(browser.rows, (captured[2], captured[3]), strict=True):
        assert feed.event(row.id) == (event.name, event.measurements, event.metadata)
    assert [event[0] for event in feed.events()] == [each.name for each in captured]
    assert captured[3].metadata["synthetic"] is True


# Beginning and end


def test_it_begins_with_what_the_bus_remembers(browser: Browser) -> None:
    ask(1)
    unhealthy()
    ask(2, pool="q")
    feed = Feed("p", browser, interval=0.02)
    feed.start()
    browser.wait(lambda: browser.batches)
    feed.close()
    assert [row.kind for row in browser.rows] == [Kind.REQUEST, Kind.HEALTH_CHECK_FAILED]
    assert 0 <= browser.rows[0].t < browser.rows[1].t <= browser.last["now"]


def test_it_leaves_out_an_earlier_pool_of_the_same_name(browser: Browser) -> None:
    unhealthy()
    stop()
    telemetry.execute(events.POOL_STARTED, {}, {"pool": "p", "workers": 2, "profile": "process"})
    feed = Feed("p", browser, interval=0.02)
    feed.start()
    browser.wait(lambda: browser.batches)
    feed.close()
    assert [row.kind for row in browser.rows] == [Kind.POOL_STARTED]
    assert browser.last["summary"]["state"] == "running"


def test_of_a_pool_nothing_is_shown_from_before_it_was_made(browser: Browser) -> None:
    unhealthy()
    stop()
    feed = Feed("p", browser, interval=0.02, since_ns=time.monotonic_ns())
    feed.start()
    browser.wait(lambda: browser.batches)
    feed.close()
    assert browser.rows == []
    assert browser.last["summary"]["state"] == "running"


def test_the_end_of_the_pool_is_sent_and_then_told_once(feed: Feed, browser: Browser) -> None:
    told = []
    ended = threading.Event()

    def note() -> None:
        told.append(browser.last["summary"]["state"])
        ended.set()

    feed.on_stopped = note
    feed.visible("a", on=False)  # sent though nobody looks: it is the last there is
    stop("broken")
    assert ended.wait(30)
    stop("broken")
    count = len(browser.messages)
    browser.wait(lambda: len(browser.messages) > count)
    assert told == ["broken"]
    assert browser.rows[0].kind is Kind.POOL_STOPPED


def test_an_end_from_before_is_told_by_the_state_alone(browser: Browser) -> None:
    stop()
    feed = Feed("p", browser, interval=0.02)
    feed.on_stopped = lambda: pytest.fail("it had stopped before")
    feed.start()
    browser.wait(lambda: browser.batches)
    feed.close()
    assert browser.last["summary"]["state"] == "stopped"


def test_closing_sends_what_is_left_and_detaches(browser: Browser) -> None:
    feed = Feed("p", browser, interval=60.0)
    feed.start()
    feed.visible("a", on=False)
    unhealthy()
    feed.close()
    assert len(browser.rows) == 1
    unhealthy()
    feed.close()
    assert len(seen_in(feed.frame())) == 1
    assert feed.events()


def test_it_may_be_closed_from_its_own_thread(browser: Browser) -> None:
    feed = Feed("p", browser, interval=0.02)
    closed = threading.Event()

    def end() -> None:
        feed.close()
        closed.set()

    feed.on_stopped = end
    feed.start()
    stop()
    assert closed.wait(30)


def test_closing_does_not_wait_for_a_browser_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_JOIN", 0.05)
    hangs, go = threading.Event(), threading.Event()

    def send(*_: object) -> None:
        hangs.set()
        go.wait()

    feed = Feed("p", send, interval=0.02)
    feed.start()
    assert hangs.wait(30)
    unhealthy()
    assert feed.frame()[0]["rows"] == 1
    feed.close()
    go.set()


def test_a_browser_that_cannot_be_reached_is_tried_again(browser: Browser) -> None:
    calls = []

    def send(content: dict[str, Any], buffers: list[bytes]) -> None:
        calls.append(content)
        if len(calls) < 3:
            raise SystemExit
        browser(content, buffers)

    feed = Feed("p", send, interval=0.02)
    feed.start()
    feed.heard("a")
    feed.keyframe()
    browser.wait(lambda: browser.summaries)
    feed.keyframe()
    unhealthy()
    browser.wait(lambda: browser.rows)
    feed.close()


@pytest.mark.parametrize(
    ("event", "measured", "facts"),
    [
        (events.REQUEST_EXECUTED, None, {"pool": "p"}),
        (events.REQUEST_DISPATCHED, {"queue_us": "x"}, {"pool": "p", "request_id": [], "worker_id": {}}),
        (events.WORKER_STARTED, {}, {"pool": "p", "worker_id": 7}),
        (events.POOL_STOPPED, {}, {"pool": "p", "reason": 5}),
        (events.WORKER_STATS, {"memory_mb": None}, {"pool": ["p"], "worker_id": "p-0"}),
    ],
)
def test_what_somebody_emits_by_hand_never_stops_it(
    feed: Feed, browser: Browser, event: tuple[str, ...], measured: Any, facts: dict[str, object]
) -> None:
    feed.heard("a")
    telemetry.execute(event, measured, facts)
    unhealthy()
    browser.wait(lambda: browser.rows)
    assert [row.kind for row in browser.rows] == [Kind.HEALTH_CHECK_FAILED]


def test_a_forked_child_has_no_feed(feed: Feed) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            unhealthy()
            left = telemetry.list_handlers("snakepit")
            feed.close()
            told = f"{left} {feed.frame()[0]['rows']} {len(feed._pending)}"
        except BaseException as error:  # noqa: BLE001 - it must not go on with the tests
            told = repr(error)
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "[] 0 0"
    os.waitpid(child, 0)
    unhealthy()
    assert feed.frame()[0]["rows"] == 1


# Too much


def test_of_too_many_events_requests_are_left_out_and_counted_and_markers_are_not(
    monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.setattr(feed_module, "_PENDING", 1000)
    feed = Feed("p", browser)
    for request in range(2000):
        facts: dict[str, Any] = {
            "pool": "p",
            "request_id": request,
            "command": "fit",
            "worker_id": "p-0",
            "outcome": "ok",
        }
        feed._pending.append(record(events.REQUEST_QUEUED, 1.0, {"queue_size": 0}, **facts))
        feed._pending.append(record(events.REQUEST_DISPATCHED, 1.0, {"queue_us": 1}, **facts))
        feed._pending.append(record(events.REQUEST_EXECUTED, 1.0, {"queue_us": 1, "duration_us": 1}, **facts))
        feed._pending.append(record(events.WORKER_HEALTH_CHECK_FAILED, 1.0, reason="timeout", **facts))
    feed._turn()
    kinds = [row.kind for row in browser.rows]
    assert kinds.count(Kind.HEALTH_CHECK_FAILED) == 2000
    (dropped,) = [row for row in browser.rows if row.kind is Kind.DROPPED]
    assert dropped.extra == 8000 - 1000 - 7000 // 4
    summary = browser.last["summary"]
    assert summary["forgotten"] == dropped.extra
    assert summary["requests"]["ok"] == 2000
    assert summary["queued"] == 0
    assert browser.last["open"] == []


def test_a_view_that_comes_back_after_too_long_gets_a_keyframe(browser: Browser) -> None:
    feed = Feed("p", browser)
    feed._history = History(marks=50)
    feed.heard("a")
    feed._turn()
    feed.visible("a", on=False)
    for request in range(200):
        feed._pending.append(record(("app", "step"), 1.0, pool="p", step=request))
    feed._turn()
    assert browser.rows == []
    feed.visible("a", on=True)
    feed._turn()
    assert browser.last["key"]
    assert len(browser.rows) == 50
    assert browser.last["summary"]["forgotten"] == 150


def test_ever_new_names_are_told_from_the_beginning_when_the_dictionary_is_full(browser: Browser) -> None:
    feed = Feed("p", browser)
    feed._history = History(marks=100)
    feed.heard("a")
    for turn in range(14):
        for number in range(5000):
            feed._pending.append(record(("app", f"{turn}-{number}"), 1.0, pool="p"))
        feed._turn()
        assert len(browser.texts) < 0x10000
        assert [row.name for row in browser.rows][-100:] == [
            f"app.{turn}-{number}" for number in range(4900, 5000)
        ]
    assert not browser.lost
    assert sum(each["key"] for each in browser.batches) > 1


def test_a_frame_is_the_same_picture_as_the_batches(feed: Feed, browser: Browser) -> None:
    feed.heard("a")
    for request in range(1, 50):
        ask(request, f"p-{request % 3}")
    browser.wait(lambda: len(browser.rows) == 49)
    content, buffers = feed.frame()
    assert content["key"]
    assert seen_in((content, buffers)) == browser.rows
    assert content["strings"] == browser.texts
    assert content["origin_ms"] == browser.last["origin_ms"]
    assert len(tables(content, buffers)[0]) == 49
