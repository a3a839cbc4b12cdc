"""Alerts: what sets them off, what they call and tell, and that nobody else is harmed."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import Pool, events, telemetry
from snakepit_nb.exporters.alerts import AbsenceAlert, Alert, Alerts, RateAlert, ThresholdAlert
from snakepit_nb.exporters.metrics import UnknownKey
from snakepit_nb.testing import capture_events, synthetic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.exporters.alerts import AnyAlert

SECOND = 1_000_000_000
RECYCLED = "snakepit.worker.recycled"


def recycled(at: float, **facts: object) -> None:
    """A worker's end, as the product tells it, at a second of a hand-made clock."""
    told: dict[str, object] = {
        "pool": "p", "worker_id": "p-0", "reason": "manual", "uptime_seconds": 1, "request_count": 0,
    }  # fmt: skip
    telemetry.execute(RECYCLED, {}, {**told, **facts, "monotonic_ns": round(at * SECOND)})


def test_the_seeds_example_fires_once_and_then_respects_its_cooldown() -> None:
    fired: list[Alert] = []
    churn = RateAlert(RECYCLED, limit=10, window=60, cooldown=300, name="churn", action=fired.append)
    with capture_events(events.ALERT_FIRED) as told, Alerts(churn) as alerts:
        for second in range(10):
            recycled(second)
        alerts.flush()
        assert not fired
        for second in range(10, 40):
            recycled(second)
        alerts.flush()
        assert [alert.value for alert in fired] == [11]
        for second in range(309, 330):
            recycled(second)
        alerts.flush()
    assert [(alert.name, alert.kind, alert.value, alert.limit) for alert in fired] == [
        ("churn", "rate", 11, 10),
        ("churn", "rate", 11, 10),
    ]
    assert [alert.facts["monotonic_ns"] for alert in fired] == [10 * SECOND, 319 * SECOND]
    assert str(fired[0]) == f"alert churn: {RECYCLED}: 11 in 60 s, more than 10"
    first = told[0]
    assert first.measurements == {"count": 1, "value": 11, "limit": 10}
    assert first.has({"alert": "churn", "kind": "rate", "event": RECYCLED, "pool": "p"})
    assert not events.check(first.name, first.measurements, first.metadata)


def test_a_real_pool_whose_workers_go_too_often_sets_it_off() -> None:
    calls: queue.SimpleQueue[tuple[Alert, int]] = queue.SimpleQueue()
    churn = RateAlert(
        RECYCLED, limit=10, window=60, match={"pool": "churning"},
        action=lambda alert: calls.put((alert, threading.get_ident())),
    )  # fmt: skip
    with Alerts(churn) as alerts, Pool(1, name="churning", max_requests=1) as pool:
        assert list(pool.map(abs, range(12))) == list(range(12))
        alert, thread = calls.get(timeout=60)
        alerts.flush()
    assert (alert.value, alert.facts["pool"], alert.facts["reason"]) == (11, "churning", "max_requests")
    assert thread != threading.get_ident()
    assert calls.empty()


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (None, 3),
        ({"reason": "ttl_expired"}, 1),
        ({"reason": "ttl_expired", "pool": "other"}, 0),
        (lambda measured, facts: measured["count"] == 1 and facts["uptime_seconds"] > 5, 2),
    ],
    ids=["all", "by a fact", "by two", "by a function"],
)
def test_only_what_matches_counts(match: Mapping[str, object] | None, expected: int) -> None:
    fired: list[Alert] = []
    with Alerts(RateAlert(RECYCLED, 0, 1, 0, match=match, action=fired.append)) as alerts:
        recycled(1)
        recycled(3, uptime_seconds=9)
        recycled(5, uptime_seconds=9, reason="ttl_expired")
        alerts.flush()
    assert len(fired) == expected


def test_a_threshold_is_crossed_above_or_below_or_several_times() -> None:
    fired: list[Alert] = []
    high = ThresholdAlert("app.step", "loss", above=2, cooldown=0, name="high", action=fired.append)
    low = ThresholdAlert("app.step", "rate", below=0.1, cooldown=10, name="low", action=fired.append)
    often = ThresholdAlert(
        "app.step", "loss", above=2, times=2, within=5, cooldown=100, name="often", action=fired.append
    )
    with Alerts(high, low, often) as alerts:
        for at, loss, rate in ((1, 1, 0.1), (2, 3, 0.05), (10, 4, 0.01), (13, 5, 0.02), (14, "x", None)):
            facts = {"monotonic_ns": at * SECOND, "step": at}
            telemetry.execute("app.step", {"loss": loss, "rate": rate}, facts)  # type: ignore[dict-item]
        alerts.flush()
    said = sorted((alert.name, alert.value, alert.facts["step"]) for alert in fired)
    assert said == [
        ("high", 3, 2), ("high", 4, 10), ("high", 5, 13), ("low", 0.02, 13), ("low", 0.05, 2),
        ("often", 5, 13),
    ]  # fmt: skip
    assert str(next(alert for alert in fired if alert.name == "low")) == (
        "alert low: app.step: rate is 0.05, below 0.1"
    )


def test_a_number_in_the_metadata_has_a_threshold_too() -> None:
    fired: list[Alert] = []
    with Alerts(ThresholdAlert(RECYCLED, "uptime_seconds", below=2, action=fired.append)) as alerts:
        recycled(1, uptime_seconds=100)
        recycled(2, uptime_seconds=1)
        alerts.flush()
    assert [alert.value for alert in fired] == [1]


def test_an_absence_is_told_once_until_the_event_has_come_again() -> None:
    fired: queue.SimpleQueue[Alert] = queue.SimpleQueue()
    beat = AbsenceAlert("app.beat", window=0.05, match={"who": "a"}, action=fired.put)
    with capture_events(events.ALERT_FIRED) as told, Alerts(beat) as alerts:
        first = fired.get(timeout=30)
        telemetry.execute("app.beat", {}, {"who": "b"})
        alerts.flush()
        assert fired.empty()
        telemetry.execute("app.beat", {}, {"who": "a"})
        second = fired.get(timeout=30)
        alerts.detach()
        telemetry.execute("app.beat", {}, {"who": "a"})
        alerts.flush()
        alerts.attach()
        third = fired.get(timeout=30)
    for alert in (first, second, third):
        assert alert.kind == "absence"
        assert alert.value >= alert.limit == 0.05
        assert alert.facts == {"who": "a"}
    assert len(told) == 3
    assert all("pool" not in event.metadata for event in told)


def test_an_absence_names_the_pool_that_was_asked_for() -> None:
    fired: queue.SimpleQueue[Alert] = queue.SimpleQueue()
    silent = AbsenceAlert("snakepit.worker.stats", window=0.01, match={"pool": "gone"}, action=fired.put)
    with capture_events(events.ALERT_FIRED) as told, Alerts(silent):
        fired.get(timeout=30)
    assert told[0].metadata["pool"] == "gone"


def test_what_is_fired_by_hand_sets_nothing_off() -> None:
    fired: list[Alert] = []
    with Alerts(RateAlert(RECYCLED, 0, 60, action=fired.append)) as alerts:
        synthetic(RECYCLED, {}, {"pool": "p", "reason": "manual"})
        alerts.flush()
    assert not fired


def test_alerts_about_alerts_do_not_go_round() -> None:
    fired: list[Alert] = []
    many = RateAlert(events.ALERT_FIRED, 1, 60, 0, name="many", action=fired.append)
    each = RateAlert("app.bad", 0, 60, 0, action=fired.append)
    with capture_events(events.ALERT_FIRED) as told, Alerts(many, each) as alerts:
        for at in (1, 2):
            telemetry.execute("app.bad", {}, {"monotonic_ns": at})
        for _ in range(3):
            alerts.flush()
    assert sorted(alert.name for alert in fired) == ["many", *["more than 0 app.bad in 60 s"] * 2]
    assert len(told) == 3


def test_recent_events_count_where_that_is_asked_for() -> None:
    fired: list[Alert] = []
    for _ in range(3):
        telemetry.execute("app.replayed.alert")
    alerts = Alerts(RateAlert("app.replayed.alert", 2, 60, action=fired.append))
    alerts.attach(replay=True)
    alerts.flush()
    alerts.close()
    alerts.close()
    assert [alert.value for alert in fired] == [3]


def test_a_warning_is_logged_where_there_is_no_action(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Alerts(RateAlert("app.lost", 0, 5)) as alerts:
        telemetry.execute("app.lost")
        alerts.flush()
    assert caplog.messages == ["alert more than 0 app.lost in 5 s: app.lost: 1 in 5 s, more than 0"]


def test_an_action_that_raises_is_logged_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def act(alert: Alert) -> None:
        calls.append(alert)
        raise ConnectionError(calls)

    with (
        capture_events("telemetry") as failures,
        Alerts(RateAlert("app.lost", 0, 5, 0, action=act)) as alerts,
    ):
        for at in (1, 2):
            telemetry.execute("app.lost", {}, {"monotonic_ns": at})
        alerts.flush()
    assert len(calls) == 2
    assert "ConnectionError" in caplog.text
    assert not failures


def test_an_action_that_hangs_holds_up_nobody_else() -> None:
    let_go, hangs = threading.Event(), threading.Event()
    others: queue.SimpleQueue[Alert] = queue.SimpleQueue()

    def hang(_: Alert) -> None:
        hangs.set()
        let_go.wait()

    stuck = RateAlert("app.lost", 0, 5, 0, name="stuck", action=hang)
    alerts = Alerts(stuck, RateAlert("app.other", 0, 5, 0, action=others.put)).attach()
    with capture_events(events.ALERT_FIRED) as told:
        telemetry.execute("app.lost")
        assert hangs.wait(30)
        telemetry.execute("app.lost")
        telemetry.execute("app.other")
        assert others.get(timeout=30).event == ("app", "other")
        assert not alerts.flush(timeout=0.01)
        told.wait_for(events.ALERT_FIRED, 3)
    let_go.set()
    alerts.close()


def test_a_match_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    fired: list[Alert] = []
    deep = RateAlert("app.lost", 0, 5, 0, match=lambda _, facts: facts["depth"] == 2, action=fired.append)
    with Alerts(deep) as alerts:
        for facts in ({}, {}, {"depth": 2}):
            telemetry.execute("app.lost", {}, facts)
        alerts.flush()
    assert len(fired) == 1
    assert caplog.text.count("the match of alert") == 1


def test_a_child_that_the_user_forks_closes_its_copy_at_once() -> None:
    with Alerts(AbsenceAlert("app.beat", window=100)) as alerts:
        telemetry.execute("app.beat")
        alerts.flush()
        pid = os.fork()
        if pid == 0:
            alerts.close()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: RateAlert("snakepit.worker.recyceld", 1, 1), events.UnknownEvent, "worker.recycled"),
        (lambda: RateAlert(RECYCLED, 1, 1, match={"raeson": "ttl"}), UnknownKey, "did you mean reason"),
        (lambda: RateAlert(RECYCLED, -1, 1), ValueError, "limit"),
        (lambda: RateAlert(RECYCLED, 1.5, 1), ValueError, "limit"),  # type: ignore[arg-type]
        (lambda: RateAlert(RECYCLED, 1, 0), ValueError, "window"),
        (lambda: RateAlert(RECYCLED, 1, "60"), TypeError, "window"),  # type: ignore[arg-type]
        (lambda: RateAlert(RECYCLED, 1, 1, -1), ValueError, "cooldown"),
        (lambda: RateAlert(RECYCLED, 1, 1, float("nan")), TypeError, "cooldown"),
        (lambda: RateAlert(RECYCLED, 1, 1, match="pool"), TypeError, "match"),  # type: ignore[arg-type]
        (lambda: RateAlert(RECYCLED, 1, 1, action=3), TypeError, "action"),  # type: ignore[arg-type]
        (lambda: RateAlert(RECYCLED, 1, 1, name=3), TypeError, "name"),  # type: ignore[arg-type]
        (lambda: ThresholdAlert(RECYCLED, "uptime"), UnknownKey, "did you mean uptime_seconds"),
        (lambda: ThresholdAlert("app.x", "y"), ValueError, "above, below"),
        (lambda: ThresholdAlert("app.x", "y", above=1, below=2), ValueError, "above, below"),
        (lambda: ThresholdAlert("app.x", "y", above=True), TypeError, "above"),
        (lambda: ThresholdAlert("app.x", "y", above=1, times=0), ValueError, "times"),
        (lambda: ThresholdAlert("app.x", "y", above=1, times=2), ValueError, "within"),
        (lambda: AbsenceAlert("app.x", window=float("inf")), TypeError, "window"),
        (Alerts, TypeError, "at least one"),
        (lambda: Alerts(RECYCLED), TypeError, "RateAlert"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(make: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "alert",
    [RateAlert("app.x", 1, 2), ThresholdAlert("app.x", "y", above=1), AbsenceAlert("app.x", 2)],
    ids=lambda alert: alert.kind,
)
def test_an_alert_is_a_value(alert: AnyAlert) -> None:
    assert alert == type(alert)(**{name: getattr(alert, name) for name in alert.__slots__})
    with pytest.raises(AttributeError):
        alert.name = "another"  # type: ignore[misc]
