"""Each event becomes the row, the lane or the figure that the timeline shows for it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from snakepit_nb import events
from snakepit_nb.dashboard.marks import LOOKS
from snakepit_nb.dashboard.protocol import POOL_LANE, Kind, Outcome
from snakepit_nb.dashboard.requests import BUDGET, NAMES
from snakepit_nb.dashboard.tracks import Tracks
from tests.dashboard.story import POOL, Story


@pytest.fixture
def story() -> Story:
    return Story()


# Requests


def test_a_request_is_a_bar_from_dispatch_to_end_with_what_it_waited_before(story: Story) -> None:
    story.started("p-3.2")
    story.queued(7, 1.0, command="predict")
    story.sent(7, 3.0, "p-3.2", waited=2.0, command="predict")
    story.ended(7, 4.5, "p-3.2", command="predict", outcome="error")
    bar = story.rows()[1]
    assert bar[:8] == (Kind.REQUEST, 3.0, 1.5, 2.0, 1, 2, "predict", Outcome.ERROR)
    assert story.told()["lanes"][1]["label"] == "p-3"


@pytest.mark.parametrize("outcome", ["ok", "error", "cancelled", "timeout", "crashed"])
def test_each_outcome_is_counted_and_shown(story: Story, outcome: str) -> None:
    story.sent(1, 1.0)
    story.ended(1, 2.0, outcome=outcome)
    assert story.rows()[0].outcome.name.lower() == outcome
    counted = story.summary()["requests"]
    assert counted == {**dict.fromkeys(counted, 0), outcome: 1}


def test_a_request_that_was_not_seen_to_be_sent_begins_as_long_before_its_end_as_it_ran(story: Story) -> None:
    story.ended(1, 5.0, ran=2.0, waited=1.0)
    assert story.rows()[0][:4] == (Kind.REQUEST, 3.0, 2.0, 1.0)


def test_a_request_without_a_worker_lies_in_the_lane_of_the_pool(story: Story) -> None:
    story.ended(None, 5.0, worker=None)
    (bar,) = story.rows()
    assert (bar.lane, bar.life) == (POOL_LANE, 0)
    assert len(story.told()["lanes"]) == 1


def test_what_a_process_was_sent_ahead_runs_one_after_the_other(story: Story) -> None:
    story.started()
    for request in (1, 2, 3):
        story.sent(request, 1.0, waited=0.5)
    (only,) = story.told()["open"]
    assert only[-1] == 1
    story.ended(1, 2.0)
    (only,) = story.told()["open"]
    assert only[-3:] == [2.0, 1.5, 2]
    story.ended(2, 4.0)
    story.ended(3, 4.5)
    bars = [(row.t, row.dur, row.extra) for row in story.rows()[1:]]
    assert bars == [(1.0, 1.0, 0.5), (2.0, 2.0, 1.5), (4.0, 0.5, 3.5)]


def test_a_worker_of_threads_runs_several_at_once(story: Story) -> None:
    story.started(capacity=4)
    for request in (1, 2):
        story.sent(request, 1.0)
    assert [each[-1] for each in story.told()["open"]] == [1, 2]
    story.ended(2, 2.0)
    story.ended(1, 3.0)
    assert [(row.t, row.dur) for row in story.rows()[1:]] == [(1.0, 1.0), (1.0, 2.0)]
    assert story.summary()["profile"] == "thread"


def test_what_runs_is_told_with_all_that_a_view_needs_to_draw_it(story: Story) -> None:
    story.started("p-1.4")
    story.sent(9, 2.0, "p-1.4", waited=0.25, command="train")
    told = story.told()
    ((number, lane, name, life, t, wait, request),) = told["open"]
    assert (lane, life, t, wait, request) == (1, 4, 2.0, 0.25, 9)
    assert story.tracks.names.texts[name] == "train"
    assert number == 2
    assert told["lanes"][1]["state"] == "busy"
    assert told["summary"]["workers"]["busy"] == 1


def test_a_request_that_a_worker_gave_back_runs_where_it_was_sent_next(story: Story) -> None:
    story.sent(1, 1.0, "p-0")
    story.sent(1, 2.0, "p-1")
    assert [(each[1], each[4]) for each in story.told()["open"]] == [(2, 2.0)]
    story.ended(1, 3.0, "p-1")
    assert [(row.lane, row.t) for row in story.rows()] == [(2, 2.0)]


def test_nothing_runs_in_a_worker_that_died_and_its_request_still_gets_its_bar(story: Story) -> None:
    story.started()
    story.sent(1, 1.0)
    story.tell(events.WORKER_CRASH, 2.0, worker_id="p-0", classification="abort")
    assert story.told()["open"] == []
    story.ended(1, 2.5, outcome="crashed")
    assert story.rows()[-1][:3] == (Kind.REQUEST, 1.0, 1.5)


def test_a_clock_that_went_back_makes_no_bar_of_negative_length(story: Story) -> None:
    story.sent(1, 5.0)
    story.ended(1, 4.0)
    assert story.rows()[0].dur == 0


def test_what_waits_is_counted(story: Story) -> None:
    for size in range(3):
        story.queued(size + 1, 1.0, size)
    assert story.summary()["queued"] == 3
    story.sent(1, 2.0)
    assert story.summary()["queued"] == 2


@pytest.mark.parametrize("outcome", ["error", "cancelled", "timeout", "crashed"])
def test_what_is_withdrawn_while_it_waits_waits_no_more_and_has_no_bar(story: Story, outcome: str) -> None:
    story.started()
    story.rows()
    for size in range(2):
        story.queued(size + 1, 1.0, size)
    story.withdrawn(1, 2.0, outcome)
    story.withdrawn(7, 2.0, outcome)
    assert story.summary()["queued"] == 1
    assert story.rows() == []
    assert story.summary()["requests"][outcome] == 0


def test_what_waits_to_be_tried_again_and_is_withdrawn_does_not_run_any_more(story: Story) -> None:
    story.started()
    story.sent(1, 1.0)
    assert len(story.told()["open"]) == 1
    story.withdrawn(1, 2.0, "timeout")
    assert story.told()["open"] == []


def test_the_next_that_waits_says_how_many_do_where_an_event_was_lost(story: Story) -> None:
    for size in range(100):
        story.queued(size + 1, 1.0, size)
    story.queued(101, 2.0, 0)
    assert story.summary()["queued"] == 1


def test_with_more_requests_than_the_budget_they_become_density_and_every_marker_stays_a_row(
    story: Story,
) -> None:
    story.started()
    story.tick(1.0)
    for request in range(BUDGET + 500):
        story.sent(request, 1.0 + request * 1e-4)
        story.ended(request, 1.0 + request * 1e-4 + 5e-5, outcome="error" if request % 10 == 0 else "ok")
        if request % 100 == 0:
            story.tell(events.WORKER_HEALTH_CHECK_FAILED, 1.0, worker_id="p-0", reason="timeout")
    bars, marks, density, *_ = story.tick(2.0).tables
    assert len(bars) == 0
    assert len(marks) == (BUDGET + 500) / 100
    assert density[["t", "width", "count", "failed", "lane"]].tolist() == [(1.0, 1.0, BUDGET + 500, 250, 1)]
    assert density["busy"][0] == pytest.approx((BUDGET + 500) * 5e-5, rel=1e-3)


def test_a_request_that_ran_long_keeps_its_bar_among_however_many(story: Story) -> None:
    for round_ in range(3):  # the first interval that is dense, one that is from its beginning, and the last
        at = 1.0 + round_
        story.sent(0, at, "p-1")
        story.ended(0, at + 0.5, "p-1")
        for request in range(1, BUDGET if round_ < 2 else 10):
            story.ended(request, at + 0.5, ran=1e-4)
        story.ended(BUDGET, at + 0.5, ran=1e-4)
        rows, _, density, *_ = story.tick(at + 0.9).tables
        assert (len(rows), density["count"].tolist()) == (1, [BUDGET if round_ < 2 else 10])
        assert rows["lane"][0] != density["lane"][0]


def test_when_requests_are_few_again_they_have_bars_again(story: Story) -> None:
    for request in range(BUDGET + 1):
        story.ended(request, 1.0, ran=1e-4)
    story.tick(1.1)
    story.tick(1.2)
    story.ended(0, 1.3)
    rows, _, density, *_ = story.tick(1.4).tables
    assert (len(rows), len(density)) == (1, 0)


def test_density_is_as_busy_as_what_runs_on(story: Story) -> None:
    story.started(capacity=2)
    story.sent(0, 1.5)
    for request in range(1, BUDGET + 2):
        story.ended(request, 1.0, "p-1", ran=1e-4)
    story.tick(1.0)
    for request in range(1, BUDGET + 2):
        story.ended(request, 1.9, "p-1", ran=1e-4)
    density = story.tick(2.0).tables[2]
    assert density["busy"][density["lane"] == 1].tolist() == [0.25]  # one of two, half of the time


# Workers


def test_a_life_of_a_slot_from_start_to_restart(story: Story) -> None:
    where: dict[str, Any] = {"worker_id": "p-0"}
    story.tell(events.POOL_STARTED, 0.0, workers=1, profile="process")
    story.started("p-0", 1.0)
    assert story.told()["lanes"][1] == {
        "lane": 1, "label": "p-0", "kind": "worker", "worker": "p-0", "tainted_until": None, "state": "idle",
    }  # fmt: skip
    story.tell(events.WORKER_CRASH, 2.0, **where, classification="segfault", reason="SIGSEGV")
    story.tell(events.WORKER_TAINTED, 2.0, {"duration_ms": 500}, **where, classification="segfault")
    story.tell(events.WORKER_RECYCLED, 2.0, **where, reason="worker_died", uptime_seconds=1.0)
    lane = story.told(2.1)["lanes"][1]
    assert (lane["state"], lane["worker"], lane["tainted_until"]) == ("tainted", None, pytest.approx(2.5))
    assert story.told(2.6)["lanes"][1]["state"] == "starting"
    story.started("p-0.2", 2.7)
    story.tell(events.WORKER_RESTARTED, 2.7, worker_id="p-0.2", classification="segfault")
    lane = story.told(2.8)["lanes"][1]
    assert (lane["state"], lane["worker"], lane["tainted_until"]) == ("idle", "p-0.2", None)
    assert [row[:7] for row in story.rows()] == [
        (Kind.POOL_STARTED, 0.0, 0.0, 1.0, 0, 0, ""),
        (Kind.STARTED, 1.0, 0.0, 0.03, 1, 1, ""),
        (Kind.CRASH, 2.0, 0.0, 0.0, 1, 1, "segfault"),
        (Kind.TAINTED, 2.0, 0.5, 0.0, 1, 1, "segfault"),
        (Kind.RECYCLED, 2.0, 0.0, 1.0, 1, 1, "worker_died"),
        (Kind.STARTED, 2.7, 0.0, 0.03, 1, 2, ""),
        (Kind.RESTARTED, 2.7, 0.0, 0.0, 1, 2, "segfault"),
    ]
    summary = story.summary()
    assert (summary["crashes"], summary["recycled"]) == (1, 0)


def test_while_a_worker_is_replaced_the_lane_has_the_new_one(story: Story) -> None:
    story.started("p-0", 0.0)
    story.started("p-0.2", 5.0)
    story.tell(events.WORKER_RECYCLED, 5.1, worker_id="p-0", reason="manual", uptime_seconds=5.1)
    assert [lane["worker"] for lane in story.told()["lanes"]] == [None, "p-0.2"]
    assert story.summary()["recycled"] == 1


def test_a_lane_that_a_smaller_pool_has_no_worker_for_is_gone(story: Story) -> None:
    story.tell(events.POOL_STARTED, 0.0, workers=2, profile="process")
    story.started("p-0")
    story.started("p-1")
    story.tell(events.POOL_RESIZED, 1.0, workers=1, previous=2)
    story.tell(events.WORKER_RECYCLED, 1.0, worker_id="p-0", reason="manual", uptime_seconds=1.0)
    assert [lane["state"] for lane in story.told()["lanes"]] == ["idle", "gone", "idle"]
    assert story.summary()["workers"] == {"busy": 0, "idle": 1, "tainted": 0, "starting": 0, "target": 1}
    assert [row.extra for row in story.rows() if row.kind is Kind.POOL_RESIZED] == [1.0]


def test_first_workers_start_when_something_waits(story: Story) -> None:
    story.tell(events.POOL_STARTED, 0.0, workers=4, profile="process")
    assert story.summary()["workers"]["starting"] == 0
    story.queued(1, 0.1, 0)
    story.queued(2, 0.1, 1)
    assert story.summary()["workers"]["starting"] == 2


def test_figures_of_workers_go_to_their_lanes(story: Story) -> None:
    story.tell(events.WORKER_STATS, 1.0, {"memory_mb": 12.5, "cpu_percent": 99}, worker_id="p-0")
    gpu = {"memory_mb": 1, "cpu_percent": 2, "gpu_memory_mb": 3}
    story.tell(events.WORKER_STATS, 2.0, gpu, worker_id="p-1")
    first, second = story.tick(3.0).tables[4].tolist()
    assert first[:4] == (1.0, 1.0, 12.5, 99.0)
    assert math.isnan(first[4])
    assert second == (2.0, 2.0, 1.0, 2.0, 3.0)


def test_names_of_pools_may_look_like_names_of_workers() -> None:
    story = Story("a-1.5-b.c")
    story.started("a-1.5-b.c-12.7")
    (row,) = story.rows()
    assert (row.lane, row.life) == (1, 7)
    assert [lane["label"] for lane in story.told()["lanes"]] == ["a-1.5-b.c", "a-1.5-b.c-12"]


def test_a_name_that_is_no_slot_of_the_pool_gets_a_lane_of_its_own(story: Story) -> None:
    story.started("somebody")
    assert story.told()["lanes"][1]["kind"] == "user"
    assert story.rows()[0].life == 0


# What else happens

WORKER = {"worker_id": "p-0"}
Mark = tuple[tuple[str, ...], dict[str, Any], dict[str, Any], Kind, str, float]
MARKS: list[Mark] = [
    (
        events.WORKER_HEALTH_CHECK_FAILED, {}, {**WORKER, "reason": "timeout"},
        Kind.HEALTH_CHECK_FAILED, "timeout", 0,
    ),
    (
        events.ZERO_COPY_EXPORT, {"bytes": 8}, {**WORKER, "direction": "to_kernel"},
        Kind.EXPORT, "to_kernel", 8,
    ),
    (events.ZERO_COPY_FALLBACK, {"bytes": 8}, {**WORKER, "reason": "dtype"}, Kind.FALLBACK, "dtype", 8),
    (events.ZERO_COPY_LEAKED, {"bytes": 8}, WORKER, Kind.LEAKED, "", 8),
    (
        events.PYTHON_EXCEPTION_MAPPED, {}, {"error": "ShapeMismatch", "python_type": "ValueError"},
        Kind.EXCEPTION, "ShapeMismatch", 0,
    ),
    (
        events.PYTHON_EXCEPTION_UNMAPPED, {}, {"error": "RemoteError", "python_type": "MyError"},
        Kind.EXCEPTION, "MyError", 0,
    ),
    (events.POOL_STOPPED, {}, {"reason": "shutdown"}, Kind.POOL_STOPPED, "shutdown", 0),
    (events.RETRY_ATTEMPT, {"attempt": 2}, {"reason": "crashed"}, Kind.RETRY, "crashed", 2),
    (events.RETRY_EXHAUSTED, {"attempts": 3}, {"reason": "error"}, Kind.RETRY_EXHAUSTED, "error", 3),
    (events.CIRCUIT_BREAKER_OPENED, {"failures": 3}, {}, Kind.BREAKER, "opened", 0),
    (events.CIRCUIT_BREAKER_HALF_OPEN, {}, {}, Kind.BREAKER, "half_open", 0),
    (events.CIRCUIT_BREAKER_CLOSED, {}, {}, Kind.BREAKER, "closed", 0),
    (events.SESSION_OPENED, {}, {**WORKER, "session": "model"}, Kind.SESSION_OPENED, "model", 0),
    (events.SESSION_LOST, {}, {**WORKER, "session": "model"}, Kind.SESSION_LOST, "model", 0),
    (events.CELL_COPIED, {"bytes": 80}, {"name": "frame"}, Kind.COPIED, "frame", 80),
    (
        events.REQUEST_PROGRESS, {"done": 1, "total": 4}, {**WORKER, "command": "fit"},
        Kind.PROGRESS, "fit", 0.25,
    ),
    (events.REQUEST_PROGRESS, {"done": 3}, {**WORKER, "command": "fit"}, Kind.PROGRESS, "fit", 3),
    (events.TELEMETRY_DROPPED, {"dropped": 9}, {"queue": "worker"}, Kind.DROPPED, "worker", 9),
    (events.ALERT_FIRED, {"value": 11, "limit": 10}, {"alert": "churn"}, Kind.ALERT, "churn", 11),
    (("app", "epoch"), {"loss": 1}, WORKER, Kind.USER, "app.epoch", 0),
]  # fmt: skip


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: ".".join(mark[0][1:]))
def test_what_else_happens_is_a_marker(story: Story, mark: Mark) -> None:
    event, measured, facts, kind, name, extra = mark
    story.started()
    story.rows()
    story.tell(event, 2.0, measured, **facts)
    (row,) = story.rows()
    lane = 1 if "worker_id" in facts else POOL_LANE
    assert row == (kind, 2.0, 0.0, extra, lane, 1 if lane else 0, name, Outcome.NONE, 2)
    assert story.summary()["events"] == 2


@pytest.mark.parametrize(
    ("facts", "shown"), [({}, 1), ({"pool": POOL}, 1), ({"pool": "another"}, 0)], ids=["no", "this", "other"]
)
def test_an_alert_shows_in_its_pools_timeline_and_in_all_where_it_names_none(
    facts: dict[str, object], shown: int
) -> None:
    tracks = Tracks(0, POOL)
    told = {"alert": "churn", "kind": "rate", "event": "app.lost", **facts}
    tracks.add((events.ALERT_FIRED, {"value": 11, "limit": 10}, told, 0, 5, 1, 0))
    (rows, *_) = tracks.tick(10).tables[1:]
    assert [(row["kind"], row["lane"]) for row in rows] == [(Kind.ALERT, POOL_LANE)] * shown


def test_every_event_of_the_catalogue_shows_or_is_known_not_to(story: Story) -> None:
    unseen = {
        events.TELEMETRY_HANDLER_FAILURE,  # of no pool
        events.ZERO_COPY_IMPORT,  # the other side of an export
        events.ZERO_COPY_RELEASE,
        events.CELL_START,  # told at the end
    }
    marks = story.tracks.marks
    assert set(events.CATALOGUE) - {*LOOKS, *marks._makes, *NAMES} == unseen
    assert set(marks._changes) <= {*LOOKS, *marks._makes}


def test_what_was_fired_by_hand_is_shown_and_changes_nothing_else(story: Story) -> None:
    story.started()
    story.rows()
    before = story.told()
    for event, measured, facts, *_ in MARKS:
        story.tell(event, 1.0, measured, **facts, synthetic=True)
    story.tell(events.WORKER_CRASH, 1.0, {}, synthetic=True)
    rows = story.rows()
    assert [row.kind for row in rows] == [*(mark[3] for mark in MARKS), Kind.CRASH]
    after = story.told()
    for told in (before, after):
        del told["summary"]["events"]
    assert after == before


def test_bytes_shared_and_copied_are_summed(story: Story) -> None:
    for size in (10, 20):
        story.tell(events.ZERO_COPY_EXPORT, 1.0, {"bytes": size}, worker_id="p-0", direction="to_kernel")
        story.tell(events.ZERO_COPY_IMPORT, 1.0, {"bytes": size}, direction="to_kernel")
        story.tell(events.ZERO_COPY_FALLBACK, 1.0, {"bytes": size * 100}, worker_id="p-0", reason="dtype")
    summary = story.summary()
    assert (summary["bytes_shared"], summary["bytes_copied"], summary["events"]) == (30, 3000, 6)
    assert len(story.rows()) == 4


def test_what_names_no_pool_belongs_to_the_pool_of_its_request(story: Story) -> None:
    raised: dict[str, Any] = {"error": "RemoteError", "python_type": "ValueError", "pool": None}
    story.tell(events.ZERO_COPY_EXPORT, 1.0, {"bytes": 8}, pool=None, request_id=1, direction="to_worker")
    story.tell(events.ZERO_COPY_EXPORT, 1.0, {"bytes": 8}, pool=None, request_id=2, direction="to_worker")
    story.tell(events.ZERO_COPY_RELEASE, 1.0, {"bytes": 8}, pool=None)
    assert story.rows() == []
    story.queued(1, 1.1)
    story.sent(1, 1.2, "p-1")
    story.tell(events.PYTHON_EXCEPTION_UNMAPPED, 1.3, **raised, request_id=1)
    story.ended(1, 1.4, "p-1", outcome="error")
    story.tell(events.ZERO_COPY_EXPORT, 1.5, {"bytes": 8}, pool=None, request_id=1, direction="to_kernel")
    shown = [(row.kind, row.t, row.lane) for row in story.rows()]
    assert shown == [
        (Kind.EXPORT, 1.0, POOL_LANE),  # before it was known which worker it would be for
        (Kind.EXCEPTION, 1.3, 1),
        (Kind.REQUEST, 1.2, 1),
        (Kind.EXPORT, 1.5, POOL_LANE),
    ]
    assert story.summary()["exceptions"] == 1


def test_other_pools_are_left_alone(story: Story) -> None:
    for event, measured, facts, *_ in MARKS:
        story.tell(event, 1.0, measured, **facts, pool="other")
    story.tell(events.REQUEST_QUEUED, 1.0, {"queue_size": 0}, pool="other", request_id=1, command="fit")
    assert story.rows() == []
    assert story.summary()["events"] == 0


def test_saturation_is_a_span_until_nothing_waits(story: Story) -> None:
    facts = {"outcome": "queued", "available_workers": 0, "busy_workers": 1}
    story.queued(1, 1.0)
    story.tell(events.POOL_SATURATED, 1.0, {"queue_size": 1}, **facts)
    story.tick(2.0)
    assert story.summary()["saturated_since"] == 1.0
    story.sent(1, 3.0)
    rows = story.rows(3.0)
    assert rows[0][:5] == (Kind.SATURATED, 1.0, 2.0, 0.0, POOL_LANE)
    assert story.summary()["saturated_since"] is None


def test_saturations_that_came_and_went_between_two_ticks_are_spans_of_their_own(story: Story) -> None:
    facts = {"outcome": "queued", "available_workers": 0, "busy_workers": 1}
    for request, at in ((1, 1.0), (2, 5.0)):
        story.queued(request, at)
        story.tell(events.POOL_SATURATED, at, {"queue_size": 1}, **facts)
        story.sent(request, at + 2.0)
    spans = [row[:3] for row in story.rows(9.0) if row[0] == Kind.SATURATED]
    assert spans == [(Kind.SATURATED, 1.0, 2.0), (Kind.SATURATED, 5.0, 2.0)]


def test_a_rejected_request_is_a_marker(story: Story) -> None:
    story.tell(events.POOL_SATURATED, 1.0, {"queue_size": 5}, outcome="rejected")
    assert story.rows()[0][:4] == (Kind.REJECTED, 1.0, 0.0, 5.0)
    assert story.summary()["saturated_since"] is None


@pytest.mark.parametrize(
    ("event", "facts", "name", "outcome"),
    [
        (events.CELL_STOP, {"cell": 3, "name": "train"}, "train", Outcome.OK),
        (events.CELL_STOP, {"cell": 3, "name": None}, "In [3]", Outcome.OK),
        (events.CELL_EXCEPTION, {"cell": 3, "name": None, "kind": "error"}, "In [3]", Outcome.ERROR),
        (events.CELL_EXCEPTION, {"cell": 3, "name": None, "kind": "interrupt"}, "In [3]", Outcome.CANCELLED),
        (("app", "load", "stop"), {"telemetry_span_context": "1"}, "app.load", Outcome.OK),
        (("app", "load", "exception"), {"telemetry_span_context": "1"}, "app.load", Outcome.ERROR),
    ],
)
def test_cells_and_spans_are_told_at_their_end(
    story: Story, event: tuple[str, ...], facts: dict[str, Any], name: str, outcome: Outcome
) -> None:
    start = (*event[:-1], "start")
    story.tell(
        start, 1.0, {"monotonic_time": 1, "system_time": 1}, **{"telemetry_span_context": "1", **facts}
    )
    assert story.rows() == []
    story.tell(event, 5.0, {"duration": 3_000_000_000}, **facts)
    (row,) = story.rows()
    kind = Kind.CELL if event[0] == "snakepit" else Kind.USER
    assert row[:8] == (kind, 2.0, 3.0, 0.0, POOL_LANE, 0, name, outcome)


def test_when_the_pool_ends_nothing_runs_or_waits_and_its_lanes_are_gone(story: Story) -> None:
    story.started()
    story.sent(1, 1.0)
    story.queued(2, 1.0)
    story.tell(events.POOL_SATURATED, 1.0, {"queue_size": 1}, outcome="queued")
    story.tell(events.POOL_STOPPED, 2.0, reason="broken")
    told = story.told()
    summary = told["summary"]
    assert (summary["state"], summary["reason"], summary["queued"]) == ("broken", "broken", 0)
    assert told["open"] == []
    assert {lane["state"] for lane in told["lanes"]} == {"gone"}
    assert [row.dur for row in story.rows() if row.kind is Kind.SATURATED] == [1.0]


def test_a_pool_of_the_same_name_that_begins_later_begins_anew(story: Story) -> None:
    story.started()
    story.sent(1, 1.0)
    story.tell(events.POOL_STOPPED, 2.0, reason="shutdown")
    story.tell(events.POOL_STARTED, 3.0, workers=2, profile="process")
    story.started("p-0", 3.1)
    told = story.told()
    assert (told["summary"]["state"], told["summary"]["reason"]) == ("running", "")
    assert [lane["state"] for lane in told["lanes"]] == ["idle", "idle"]


# What is not as it should be

BROKEN: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = [
    (events.REQUEST_QUEUED, {}, {}),
    (events.REQUEST_QUEUED, {"queue_size": "many"}, {"request_id": 1}),
    (events.REQUEST_DISPATCHED, {"queue_us": 1}, {"request_id": "1", "worker_id": "p-0", "command": "f"}),
    (
        events.REQUEST_DISPATCHED, {"queue_us": math.nan},
        {"request_id": 1, "worker_id": "p-0", "command": "f"},
    ),
    (events.REQUEST_DISPATCHED, {"queue_us": "1"}, {"request_id": 1, "worker_id": "p-0", "command": "f"}),
    (events.REQUEST_DISPATCHED, {"queue_us": 1}, {"request_id": 1, "worker_id": 5, "command": "f"}),
    (events.REQUEST_DISPATCHED, {"queue_us": 1}, {"request_id": 1, "worker_id": "p-0", "command": []}),
    (events.REQUEST_EXECUTED, {"queue_us": 1, "duration_us": 1}, {"command": "f", "outcome": "splendid"}),
    (events.REQUEST_EXECUTED, {"queue_us": "1", "duration_us": "1"}, {"command": "f", "outcome": "ok"}),
    (
        events.REQUEST_EXECUTED, {"queue_us": 1, "duration_us": 1},
        {"command": "f", "outcome": "ok", "monotonic_ns": math.nan},
    ),
    (events.WORKER_STARTED, {"startup_time_ms": math.inf}, {"worker_id": "p-0"}),
    (events.WORKER_STARTED, {}, {"worker_id": 5}),
    (events.WORKER_TAINTED, {"duration_ms": math.nan}, {"worker_id": "p-0"}),
    (events.ZERO_COPY_EXPORT, {"bytes": 10**400}, {"worker_id": "p-0"}),
    (events.POOL_STARTED, {}, {"workers": None}),
    (events.WORKER_STATS, {"memory_mb": "much"}, {"worker_id": "p-0"}),
    (("app", "epoch"), {"duration_ms": "long"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("event", "measured", "facts"), BROKEN)
def test_a_strange_event_is_skipped_and_harms_no_other(
    story: Story, event: tuple[str, ...], measured: dict[str, Any], facts: dict[str, Any]
) -> None:
    story.started("p-1")
    story.tell(event, 1.0, measured, **facts)
    story.sent(2, 1.0, "p-1")
    story.ended(2, 2.0, "p-1")
    assert [row.kind for row in story.rows()] == [Kind.STARTED, Kind.REQUEST]
    told = story.told()
    assert told["open"] == []
    assert sum(told["summary"]["requests"].values()) == 1
    assert story.tracks.skipped == 1


def test_what_is_emitted_by_hand_under_an_equal_name_counts_as_well(story: Story) -> None:
    story.started()
    for event in (events.REQUEST_DISPATCHED, events.REQUEST_EXECUTED):
        measured = {"queue_us": 1, "duration_us": 1}
        story.tell(
            (event[0], *event[1:]), 1.0, measured, request_id=1, worker_id="p-0", command="f", outcome="ok"
        )
    assert story.summary()["requests"]["ok"] == 1
    assert [row.id for row in story.rows()] == [1, 3]


def test_hostile_text_is_cut_and_made_visible_wherever_it_stands() -> None:
    hostile = "<b>\u202e\x1b[31m\n\ud800" + "x" * 10_000_000
    story = Story(hostile)
    story.started(hostile)
    story.sent(1, 1.0, hostile, command=hostile)
    story.ended(1, 2.0, hostile, command=hostile)
    story.tell((hostile.replace(".", ""), "x"), 2.0, {}, worker_id=hostile)
    story.tell(events.POOL_STOPPED, 3.0, reason=hostile)
    told = story.told()
    texts = [
        *story.tracks.names.texts, told["summary"]["pool"], told["summary"]["reason"],
        *(text for lane in told["lanes"] for text in (lane["label"], lane["worker"] or "")),
    ]  # fmt: skip
    assert len(story.rows()) == 4
    for text in texts:
        assert len(text) <= 200
        assert text.isprintable()
        text.encode()
    assert "<b>\\u202e\\x1b[31m\\n\\ud800xx" in texts[2]
