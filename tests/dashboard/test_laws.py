"""Whatever happens, in whatever order, the picture is whole: nothing is counted twice, lost or left over."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import events
from snakepit_nb.dashboard.feed import Feed
from snakepit_nb.dashboard.history import History
from snakepit_nb.dashboard.protocol import Kind
from tests.dashboard.browser import Browser
from tests.dashboard.story import Story, record, seen_in

WORKERS = ("p-0", "p-0.2", "p-1", "p-1.2", "p-2", "elsewhere")
OUTCOMES = ("ok", "error", "cancelled", "timeout", "crashed")
REQUESTS = st.integers(1, 12)
JUNK = st.one_of(
    st.none(), st.text(max_size=3), st.floats(), st.integers(), st.lists(st.integers(), max_size=1)
)
KEYS = (
    "worker_id",
    "request_id",
    "command",
    "outcome",
    "reason",
    "monotonic_ns",
    "workers",
    "duration_ms",
    "bytes",
)


class Program:
    """Events of a pool as they may come, and what is to be true after them."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.executed = 0
        self.running: set[int] = set()
        self.now = 0.0

    def step(self, step: tuple[Any, ...]) -> None:
        """Let something happen."""
        what, request, worker, outcome = step
        self.now += 0.01
        story, now = self.story, self.now
        if what == "queued":
            story.queued(request, now, size=request)
        elif what == "sent":
            story.sent(request, now, worker)
            self.running.add(request)
        elif what == "ended":
            story.ended(request, now, worker, outcome)
            self.running.discard(request)
            self.executed += 1
        elif what == "started":
            story.started(worker, now, capacity=request % 3 + 1)
        elif what == "crash":
            facts = {"worker_id": worker, "classification": "abort"}
            story.tell(events.WORKER_CRASH, now, None, **facts)
            story.tell(events.WORKER_TAINTED, now, {"duration_ms": 20}, **facts)
        elif what == "recycled":
            story.tell(events.WORKER_RECYCLED, now, worker_id=worker, reason="manual", uptime_seconds=1.0)
        elif what == "saturated":
            story.tell(events.POOL_SATURATED, now, {"queue_size": 1}, outcome="queued")
        elif what == "resized":
            story.tell(events.POOL_RESIZED, now, workers=request, previous=1)
        else:
            story.tell(events.POOL_STOPPED, now, reason="shutdown")
            self.running.clear()


STEPS = st.tuples(
    st.sampled_from(
        (
            "queued",
            "sent",
            "ended",
            "ended",
            "started",
            "crash",
            "recycled",
            "saturated",
            "resized",
            "stopped",
        )
    ),
    REQUESTS,
    st.sampled_from(WORKERS),
    st.sampled_from(OUTCOMES),
)


@given(st.lists(STEPS, max_size=60))
def test_after_any_course_of_events_the_picture_is_whole(steps: list[tuple[Any, ...]]) -> None:
    story = Story()
    program = Program(story)
    rows = []
    for step in steps:
        program.step(step)
        rows += story.rows(program.now)
        told = story.told(program.now)
        summary, lanes = told["summary"], told["lanes"]
        assert sum(summary["requests"].values()) == program.executed
        assert {each[-1] for each in told["open"]} <= program.running
        assert [lane["lane"] for lane in lanes] == list(range(len(lanes)))
        assert len({lane["label"] for lane in lanes}) == len(lanes)
        states = [lane["state"] for lane in lanes[1:]]
        for state in ("busy", "idle", "tainted"):
            assert summary["workers"][state] == states.count(state)
        assert summary["workers"]["starting"] >= states.count("starting")
        for lane in lanes[1:]:
            assert (lane["worker"] is not None) == (lane["state"] in {"busy", "idle"})
            assert (lane["tainted_until"] is not None) == (lane["state"] == "tainted")
        assert {each[1] for each in told["open"] if each[1]} == {
            lane["lane"] for lane in lanes[1:] if lane["state"] == "busy"
        }
        for each in told["open"]:
            assert 0 <= each[4] <= program.now + 1e-9
            assert lanes[each[1]]
    assert sum(row.kind is Kind.REQUEST for row in rows) == program.executed
    assert story.tracks.skipped == 0
    for row in rows:
        assert row.dur >= 0
        assert row.lane < len(story.told()["lanes"])
    per_lane: dict[int, float] = {}
    single = not any(step[0] == "started" and step[1] % 3 for step in steps)
    for row in rows if single else []:
        if row.kind is Kind.REQUEST and row.lane:
            # A worker of one request at a time shows no two at a time.
            assert row.t + row.dur >= per_lane.get(row.lane, 0.0) - 1e-6
            per_lane[row.lane] = row.t + row.dur


@given(
    st.sampled_from(sorted(events.CATALOGUE)),
    st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=6),
    st.dictionaries(
        st.sampled_from(("queue_us", "duration_us", "bytes", "done", "duration_ms")), JUNK, max_size=4
    ),
)
def test_no_event_whatever_it_holds_spoils_the_picture(
    name: tuple[str, ...], facts: dict[str, Any], measured: dict[str, Any]
) -> None:
    browser = Browser()
    feed = Feed("p", browser)
    feed.heard("a")
    feed._pending.append(record(name, 1.0, measured, pool="p", **facts))
    feed._pending.append(record(("app", "after"), 2.0, pool="p"))
    feed._turn()
    assert "app.after" in [row.name for row in browser.rows]
    assert feed.frame()[0]["rows"] == len(browser.rows)
    assert not feed._failed


TURNS = st.one_of(
    st.tuples(st.just("emit"), st.integers(1, 9)),
    st.tuples(st.just("name"), st.integers(0, 3)),
    st.tuples(st.just("see"), st.booleans()),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("key"), st.just(0)),
    st.tuples(st.just("turn"), st.just(0)),
)


@given(st.lists(TURNS, max_size=50))
def test_whoever_looks_and_whatever_is_lost_the_browser_has_what_the_kernel_has(  # noqa: C901
    turns: list[tuple[str, int]],
) -> None:
    browser = Browser()
    loses = False

    def send(content: dict[str, Any], buffers: list[bytes]) -> None:
        nonlocal loses
        if loses:
            loses = False
            raise OSError
        browser(content, buffers)

    feed = Feed("p", send)
    feed._history = History(marks=20)
    feed.heard("a")
    emitted = 0
    for what, count in turns:
        if what == "emit":
            for _ in range(count):
                emitted += 1
                feed._pending.append(record(("app", "step"), emitted, pool="p"))
        elif what == "name":
            facts: dict[str, Any] = {"pool": "p", "worker_id": f"p-{count}", "reason": f"because {count}"}
            emitted += 1
            feed._pending.append(record(events.WORKER_HEALTH_CHECK_FAILED, emitted, None, **facts))
        elif what == "see":
            feed.visible("a", on=bool(count))
        elif what == "lose":
            loses = True
        elif what == "key":
            feed.keyframe()
        else:
            feed._turn()
            if browser.lost:
                feed.keyframe()  # as the browser asks, when it sees the gap
    loses = False
    feed.visible("a", on=True)
    feed._turn()
    feed.heard("a")
    feed._turn()
    if browser.lost:
        feed.keyframe()
        feed._turn()
    kept = seen_in(feed.frame())
    assert len(kept) == min(emitted, 20)
    assert browser.rows[len(browser.rows) - len(kept) :] == kept
    assert [row.id for row in browser.rows] == sorted({row.id for row in browser.rows})
    assert browser.messages[-1]["summary"]["events"] == emitted
    assert browser.messages[-1]["summary"]["forgotten"] == emitted - len(kept)
