"""What metrics say is wanted, and what a tally makes of events."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import events, telemetry, testing
from snakepit_nb.exporters import metrics
from snakepit_nb.exporters.aggregates import Aggregates, in_unit
from snakepit_nb.exporters.defaults import DEFAULT
from snakepit_nb.exporters.metrics import (
    Metric,
    UnknownKey,
    counter,
    distribution,
    last_value,
    level,
    summary,
)
from snakepit_nb.exporters.tally import OTHER, Spread, Tally


def record(name: str, measurements: dict[str, float] | None = None, **metadata: Any) -> telemetry.Record:
    return telemetry.as_name(name), measurements or {}, metadata, 0, 0, 0, 0


def values(tally: Tally, name: str = "") -> dict[tuple[str, ...], float | Spread]:
    found = {family.metric.name: family.values for family in tally.families()}
    return found[name] if name else next(iter(found.values()))


# Declared


@pytest.mark.parametrize(
    ("name", "tags", "error", "told"),
    [
        ("snakepit.worker.recycle.count", [], events.UnknownEvent, "did you mean snakepit.worker.recycled"),
        ("snakepit.worker.recycled", [], events.UnknownEvent, "snakepit.worker.recycled.count"),
        ("snakepit.worker.recycled.uptime", [], UnknownKey, "did you mean uptime_seconds?"),
        ("snakepit.worker.recycled.xyz", [], UnknownKey, "uptime_seconds, request_count, memory_mb"),
        ("snakepit.worker.recycled.reason", [], UnknownKey, "has no number called 'reason'"),
        ("snakepit.worker.recycled.count", ["pol"], UnknownKey, "did you mean pool?"),
        ("snakepit.worker.recycled.count", "pool", TypeError, r"write \['pool'\]"),
        ("count", [], ValueError, "that of an event and of a number of it"),
    ],
)
def test_a_wrong_name_is_refused_when_it_is_declared_and_near_ones_are_named(
    name: str, tags: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        counter(name, tags=tags)


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: distribution("a.b.n", buckets=[]), "buckets: expected the finite upper ends"),
        (lambda: distribution("a.b.n", buckets=[2, 1]), "buckets: expected the finite upper ends"),
        (lambda: distribution("a.b.n", buckets=[1, math.inf]), "buckets: expected the finite upper ends"),
        (lambda: summary("a.b.n", unit=("ms", "bytes")), "ms is time and cannot become bytes"),
        (lambda: summary("a.b.n", unit=("ms", "hours")), "'hours' is none of ns, us, ms, seconds"),
        (lambda: level("a.up.count", down="a.down", by=""), "by: expected the key"),
        (lambda: last_value("a.b.n", down="a.end", by="who"), "by: 'who' says whose value it is"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(declare: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        declare()


def test_the_ends_of_a_level_are_checked_as_well() -> None:
    with pytest.raises(events.UnknownEvent, match="did you mean"):
        level("snakepit.worker.started.count", down="snakepit.worker.recycld", by="worker_id")
    with pytest.raises(UnknownKey, match="'name'"):
        level("snakepit.cell.start.count", down="snakepit.pool.stopped", by="name")


def test_a_metric_of_the_users_own_event_is_taken_as_it_is() -> None:
    metric = counter("app.job.done.rows", tags=["whatever"])
    assert (metric.event, metric.measurement) == (("app", "job", "done"), "rows")


def test_metrics_are_values() -> None:
    assert counter("app.job.done.count") == counter("app.job.done.count")
    assert len({counter("app.job.done.count"), counter("app.job.done.count")}) == 1


def test_a_number_is_converted_to_the_unit_that_is_wanted() -> None:
    tally = Tally([metrics.sum("snakepit.request.executed.duration_us", unit=("us", "seconds"))])
    tally.take([record("snakepit.request.executed", {"duration_us": 1_500_000})] * 2)
    assert values(tally) == {(): 3.0}


@given(st.sampled_from(sorted(metrics.UNITS)), st.sampled_from(sorted(metrics.UNITS)))
def test_units_convert_there_and_back_or_not_at_all(one: str, other: str) -> None:
    if metrics.UNITS[one][0] != metrics.UNITS[other][0]:
        with pytest.raises(ValueError, match="cannot become"):
            summary("a.b.n", unit=(one, other))
        return
    there, back = summary("a.b.n", unit=(one, other)), summary("a.b.n", unit=(other, one))
    assert math.isclose(there.factor * back.factor, 1.0)


# Counted


def test_each_kind_makes_its_own_of_the_numbers() -> None:
    name = "app.job.done.ms"
    made = [
        counter(name, called="counter"),
        metrics.sum(name, called="sum"),
        last_value(name, called="last"),
        summary(name, called="summary"),
        distribution(name, called="distribution", buckets=[1, 10]),
    ]
    tally = Tally(made)
    tally.take([record("app.job.done", {"ms": number}) for number in (1, 11, 4)])
    assert values(tally, "sum") == {(): 16}
    assert values(tally, "last") == {(): 4}
    assert values(tally, "summary") == {(): Spread(3, 16, 1, 11)}
    assert values(tally, "distribution") == {(): Spread(3, 16, 1, 11, (1, 1, 1))}


def test_a_counter_counts_events_whatever_the_number() -> None:
    tally = Tally([counter("app.job.done.rows")])
    tally.take([record("app.job.done", {"rows": 5}), record("app.job.done")])
    assert values(tally) == {(): 2}


def test_an_event_that_was_sampled_stands_for_those_that_were_left_out() -> None:
    name = "app.job.done.rows"
    tally = Tally([counter(name, called="counter"), metrics.sum(name, called="sum"), summary(name)])
    tally.take([record("app.job.done", {"rows": 5}, sample_rate=0.1), record("app.job.done", {"rows": 1})])
    assert values(tally, "counter") == {(): 11}
    assert values(tally, "sum") == {(): 51}
    assert values(tally, name) == {(): Spread(2, 6, 1, 5)}


def test_what_is_missing_or_no_number_is_skipped() -> None:
    tally = Tally([summary("app.job.done.rows", tags=["kind"])])
    odd: list[Any] = [None, "many", True, math.nan, math.inf]
    tally.take([record("app.job.done", {"rows": each}) for each in odd])
    tally.take([record("app.job.done"), record("app.other", {"rows": 1})])
    assert values(tally) == {}


def test_labels_that_are_equal_in_python_are_apart_where_their_texts_are() -> None:
    tally = Tally([counter("app.job.done.count", tags=["kind"])])
    tally.take([record("app.job.done", kind=kind) for kind in (True, 1, 1.0, "1", None, [1], "true")])
    assert values(tally) == {("true",): 2, ("1",): 2, ("1.0",): 1, ("",): 1, ("[1]",): 1}


def test_keep_decides_and_one_that_raises_leaves_the_event_out_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tally = Tally(
        [
            counter("app.job.done.count", keep=lambda _, facts: len(str(facts["kind"])) > 2, called="long"),
            counter("app.job.done.count", called="all"),
        ]
    )
    tally.take([record("app.job.done", kind="import"), record("app.job.done", kind="x")])
    tally.take([record("app.job.done")] * 5)
    assert values(tally, "long") == {(): 1}
    assert values(tally, "all") == {(): 7}
    (said,) = caplog.records
    assert "a metric left out an event of app.job.done" in said.getMessage()


def test_events_that_were_fired_by_hand_are_not_measured() -> None:
    with Aggregates() as counted:
        testing.synthetic("snakepit.worker.recycled", {}, {"pool": "p", "reason": "manual"})
        assert counted.values() == []


def test_a_level_goes_up_and_down_by_who_comes_and_goes() -> None:
    tally = Tally(
        [
            level(
                "app.up.count", also=["app.alive"], down=["app.down", "app.lost"], over="app.over",
                by="who", tags=["pool"],
            )
        ]
    )  # fmt: skip
    told = [
        ("up", 1),
        ("up", 1),
        ("up", 2),
        ("alive", 3),
        ("alive", 2),
        ("down", 1),
        ("lost", 3),
        ("down", 9),
    ]
    tally.take([record(f"app.{what}", who=who, pool="p") for what, who in told])
    tally.take([record("app.alive", who=1, pool="p")])  # told late: it is gone
    tally.take([record("app.up", who=1, pool="q")])
    assert values(tally) == {("p",): 1, ("q",): 1}
    tally.take([record("app.over", pool="p")])
    assert values(tally) == {("p",): 0, ("q",): 1}


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "over"]), st.integers(0, 3), st.sampled_from("pq"))))
def test_a_level_is_the_number_of_those_that_are_there(story: list[tuple[str, int, str]]) -> None:
    tally = Tally([level("app.up.count", down="app.down", over="app.over", by="who", tags=["pool"])])
    there: set[tuple[str, int]] = set()
    for what, who, pool in story:
        tally.take([record(f"app.{what}", who=who, pool=pool)])
        if what == "up":
            there.add((pool, who))
        else:
            there -= {each for each in there if each == (pool, who) or (what == "over" and each[0] == pool)}
    found = values(tally)
    assert {pool: found.get((pool,), 0) for pool in "pq"} == {
        pool: sum(each[0] == pool for each in there) for pool in "pq"
    }


@given(st.lists(st.floats(0, 20), min_size=1), st.lists(st.floats(0, 20), min_size=1, unique=True))
def test_each_number_is_in_the_first_bucket_that_it_fits(numbers: list[float], ends: list[float]) -> None:
    tally = Tally([distribution("app.job.done.n", buckets=sorted(ends))])
    tally.take([record("app.job.done", {"n": number}) for number in numbers])
    spread = values(tally)[()]
    assert isinstance(spread, Spread)
    bounds = [-math.inf, *sorted(ends), math.inf]
    expected = [sum(low < number <= high for number in numbers) for low, high in pairwise(bounds)]
    assert list(spread.buckets) == expected
    assert (spread.count, spread.least, spread.most) == (len(numbers), min(numbers), max(numbers))


def test_the_series_of_what_has_ended_are_gone_and_do_not_come_back() -> None:
    tally = Tally(DEFAULT)
    stats = {"memory_mb": 5.0, "cpu_percent": 50}
    workers = [record("snakepit.worker.stats", stats, pool="p", worker_id=f"p-{each}") for each in range(3)]
    tally.take(workers)
    assert values(tally, "snakepit.worker.memory") == {("p", f"p-{each}"): 5e6 for each in range(3)}
    assert values(tally, "snakepit.worker.cpu")["p", "p-0"] == 0.5
    tally.take([record("snakepit.worker.recycled", pool="p", worker_id="p-1", uptime_seconds=2.0)])
    tally.take(workers)
    assert set(values(tally, "snakepit.worker.memory")) == {("p", "p-0"), ("p", "p-2")}
    assert values(tally, "snakepit.workers") == {("p",): 2}
    tally.take([record("snakepit.pool.stopped", pool="p")])
    assert values(tally, "snakepit.worker.memory") == {}
    assert values(tally, "snakepit.workers") == {("p",): 0}


def test_what_waits_is_counted_until_it_is_sent_or_withdrawn() -> None:
    tally = Tally(DEFAULT)
    for number in range(4):
        tally.take([record("snakepit.request.queued", {"queue_size": 0}, pool="p", request_id=number)])
    tally.take([record("snakepit.request.dispatched", pool="p", request_id=1)])
    tally.take([record("snakepit.request.executed", pool="p", request_id=1)])
    tally.take([record("snakepit.request.withdrawn", pool="p", request_id=2)])
    assert values(tally, "snakepit.pool.queue_size") == {("p",): 2}


# Bounded


def test_a_tag_of_ten_thousand_values_is_bounded_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally([counter("app.job.done.count", tags=["pool", "user"])], max_series=50)
    tally.take([record("app.job.done", pool="p", user=f"u{each}") for each in range(10_000)])
    tally.take([record("app.job.done", pool="q", user="u1")])
    found = values(tally)
    assert len(found) == 52
    assert found["p", OTHER] == 9_950
    assert found["q", OTHER] == 1
    assert sum(each for each in found.values() if not isinstance(each, Spread)) == 10_001
    assert tally.folded == {"app.job.done.count": 9_951}
    (said,) = caplog.records
    assert "50 sets of label values, the most from its tag 'user'" in said.getMessage()


def test_tags_that_have_ten_thousand_values_together_are_bounded_as_well() -> None:
    tally = Tally([counter("app.job.done.count", tags=["one", "two"])], max_series=10)
    tally.take([record("app.job.done", one=f"{each}", two=f"{each}") for each in range(10_000)])
    found = values(tally)
    assert len(found) == 10 + 100 + 1
    assert found[OTHER, OTHER] == 10_000 - 110


def test_a_very_long_label_is_cut() -> None:
    tally = Tally([counter("app.job.done.count", tags=["kind"])])
    tally.take([record("app.job.done", kind="x" * 100_000)] * 2)
    assert values(tally) == {("x" * 200,): 2}


# Declared together


def test_two_of_one_name_add_up() -> None:
    tally = Tally(DEFAULT)
    array = {"kind": "dlpack", "direction": "to_worker"}
    for way, copied in (("export", False), ("fallback", True), ("export", False)):
        tally.take([record(f"snakepit.zero_copy.{way}", {"bytes": 7}, copied=copied, **array)])
    assert values(tally, "snakepit.zero_copy.bytes") == {
        ("dlpack", "to_worker", "false"): 14,
        ("dlpack", "to_worker", "true"): 7,
    }


@pytest.mark.parametrize(
    "other",
    [
        metrics.sum("app.other.count", called="jobs"),
        counter("app.other.count", called="jobs", tags=["kind"]),
    ],
)
def test_two_of_one_name_that_contradict_each_other_are_refused(other: Metric) -> None:
    with pytest.raises(ValueError, match="two metrics called 'jobs' contradict each other: a counter of"):
        Tally([counter("app.job.done.count", called="jobs"), other])


def test_the_default_set_measures_all_of_the_seeds_events() -> None:
    heard = {name for metric in DEFAULT for name in metric.events()}
    assert {name for name, event in events.CATALOGUE.items() if event.source == "seed"} <= heard


# In memory


def test_what_a_live_dashboard_shows_has_its_twin() -> None:
    board = Aggregates(
        [
            level(
                "snakepit.worker.started.count",
                down="snakepit.worker.recycled",
                over="snakepit.pool.stopped",
                by="worker_id",
                called="snakepit.worker.count",
            ),
            counter("snakepit.worker.recycled.count", called="snakepit.worker.recycled_total"),
            summary("snakepit.worker.recycled.uptime_seconds"),
            last_value("snakepit.request.queued.queue_size", called="snakepit.pool.queue_size"),
        ]
    )
    with board:
        for each in range(3):
            telemetry.execute("snakepit.worker.started", {}, {"pool": "p", "worker_id": f"p-{each}"})
        for each, uptime in ((0, 10.0), (1, 20.0)):
            gone = {"pool": "p", "worker_id": f"p-{each}", "reason": "manual", "uptime_seconds": uptime}
            telemetry.execute("snakepit.worker.recycled", {}, gone)
        telemetry.execute("snakepit.request.queued", {"queue_size": 4}, {"pool": "p", "command": "fit"})
        assert board.value("snakepit.worker.count") == 1
        assert board.value("snakepit.worker.recycled_total") == 2
        assert board.value("snakepit.worker.recycled.uptime_seconds") == Spread(2, 30.0, 10.0, 20.0)
        assert board.value("snakepit.pool.queue_size") == 4


def test_values_are_read_by_labels_and_by_pool_and_shown_as_a_table() -> None:
    counted = Aggregates()
    assert repr(counted) == "<Aggregates: nothing was measured so far>"
    with counted:
        for pool, reason in (("p", "manual"), ("p", "ttl_expired"), ("q", "manual")):
            facts = {"pool": pool, "reason": reason, "uptime_seconds": 90.0, "worker_id": "w"}
            telemetry.execute("snakepit.worker.recycled", {}, facts)
        assert counted.value("snakepit.worker.recycled") == 3
        assert counted.value("snakepit.worker.recycled", pool="p") == 2
        assert counted.value("snakepit.worker.recycled", pool="none") is None
        assert counted.value("snakepit.worker.uptime", pool="p") == Spread(
            2, 180.0, 90.0, 90.0, (0, 0, 0, 2, *[0] * 7)
        )
        assert [each.labels["reason"] for each in counted.values("q") if each.kind == "counter"] == ["manual"]
    assert "worker.recycled  pool=p, reason=manual" in repr(counted)
    assert "1.5 min" in repr(counted)
    assert counted.folded == {}


def test_an_exporter_counts_while_it_is_attached_and_from_before_if_it_is_told_to() -> None:
    telemetry.execute("app.before.done", {}, {})
    counted = Aggregates([counter("app.before.done.count")])
    telemetry.execute("app.before.done", {}, {})
    counted.attach(replay=True)
    telemetry.execute("app.before.done", {}, {})
    counted.detach()
    telemetry.execute("app.before.done", {}, {})
    assert counted.value("app.before.done.count") == 3
    counted.close()


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.000_25, "seconds", "250 µs"),
        (0.25, "seconds", "250 ms"),
        (2.5, "seconds", "2.5 s"),
        (90.0, "seconds", "1.5 min"),
        (999.0, "bytes", "999 B"),
        (5e13, "bytes", "50 TB"),
        (7.0, "%", "7 %"),
        (1234.5, "", "1,234"),
    ],
)
def test_numbers_are_shown_for_people(value: float, unit: str, shown: str) -> None:
    assert in_unit(value, unit) == shown
