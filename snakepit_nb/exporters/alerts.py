"""Alerts: call a function when an event comes too often, measures too much, or does not come.

*Rule:* an alert is a value, and says only what is looked out for; `Alerts` looks out and acts.
*Rule:* whoever emits an event waits for none of it: events are looked at in a thread of the queue's own, and
each alert's action runs in another one, where it may raise, or hang, at its own cost.
*Rule:* what was fired by hand (`synthetic`) sets off nothing, and no alert about alerts does so to another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Self

from snakepit_nb import events, telemetry
from snakepit_nb.exporters import metrics
from snakepit_nb.exporters.buffered import Attachment, Buffered
from snakepit_nb.exporters.lookouts import (
    COOLDOWN,
    AbsenceAlert,
    Alert,
    AnyAlert,
    RateAlert,
    ThresholdAlert,
    text_of,
)
from snakepit_nb.exporters.watches import Often, Silence
from snakepit_nb.telemetry import as_name, dotted

if TYPE_CHECKING:
    from snakepit_nb.telemetry import EventName, Record

__all__ = ["AbsenceAlert", "Alert", "Alerts", "AnyAlert", "RateAlert", "ThresholdAlert"]

_LOG: Final = logging.getLogger(__name__)
_NS: Final = 1_000_000_000
_MOST_ACTIONS: Final = 1000
_OWN: Final = dotted(events.ALERT_FIRED)
_MARK: Final[EventName] = ()  # no event has this name: a word from here to the queue's thread


class Alerts(Attachment):
    """Looks out for what some alerts say, while attached.

    Each firing is emitted as `snakepit.alert.fired`, so it shows in the timeline; then the alert's action is
    called. Detached and attached again, every alert begins anew.

    Args:
        *alerts: What to look out for.

    Raises:
        TypeError: one of them is no alert, or there is none.

    Example:
        >>> fired = []
        >>> with Alerts(RateAlert("app.lost", limit=1, window=60, action=fired.append)) as alerts:
        ...     for _ in range(4):
        ...         telemetry.execute("app.lost", {}, {"who": "b"})
        ...     _ = alerts.flush()
        >>> [(alert.value, alert.facts["who"]) for alert in fired]
        [(2, 'b')]
    """

    def __init__(self, *alerts: AnyAlert) -> None:
        for each in alerts:
            given: object = each
            if not isinstance(given, (RateAlert, ThresholdAlert, AbsenceAlert)):
                message = f"expected a RateAlert, ThresholdAlert or AbsenceAlert, got {given!r}"
                raise TypeError(message)
        if not alerts:
            message = "expected at least one alert to look out for"
            raise TypeError(message)
        self.alerts = alerts
        super().__init__([alert.event for alert in alerts], name="alerts", interval=0.05)
        self._posts = [_Post(alert) for alert in alerts]
        self._absent = [post for post in self._posts if isinstance(post.watch, Silence)]
        self._clock = _Clock(self._tick) if self._absent else None

    def attach(self, *, replay: bool = False) -> Self:
        """Begin to look out; with `replay` the recent events from before count, too.

        Raises:
            telemetry.AlreadyAttached: it is attached.
        """
        super().attach(replay=replay)
        self._mark({"begins": True})
        return self

    def detach(self) -> None:
        """Look out no more; what came is still looked at."""
        super().detach()
        self._mark({"ends": True})

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that came is looked at and acted on; False where it is not in `timeout` seconds."""
        until = time.monotonic() + timeout
        done = super().flush(timeout)
        return done and all(post.acts.flush(max(0.0, until - time.monotonic())) for post in self._posts)

    def close(self, timeout: float = 10.0) -> None:
        """Look out no more, act on what came, and let go of everything. Idempotent.

        Args:
            timeout: Seconds to wait for actions that hang, all together.
        """
        until = time.monotonic() + timeout
        telemetry.detach(self._handler_id)
        if self._clock is not None:
            self._clock.close()
        self._batches.close(timeout)
        for post in self._posts:
            post.acts.close(max(0.0, until - time.monotonic()))

    # In the queue's thread

    def take(self, batch: list[Record]) -> None:
        """Look at some events."""
        for record in batch:
            name, measurements, facts, wall, clock, *_ = record
            if name == _MARK:
                self._marked(facts, clock)
                continue
            if facts.get("synthetic") is True or (name == events.ALERT_FIRED and facts.get("event") == _OWN):
                continue
            at = facts.get("monotonic_ns", clock)
            for post in self._posts:
                if post.event == name:
                    value = post.look(record, at if type(at) is int else clock)
                    if value is not None:
                        _, measurements, facts = telemetry.heard(record)
                        said = facts.get("time_ns", wall)
                        self._fire(post, value, said if type(said) is int else wall, measurements, facts)
        self._set_clock()

    def _marked(self, facts: Mapping[str, object], now: int) -> None:
        for post in self._posts:
            if "begins" in facts and isinstance(post.watch, Silence):
                post.watch.begin(now)
            elif "ends" in facts:
                post.begin()
        for post in self._absent:
            assert isinstance(post.watch, Silence)  # noqa: S101 - so they were chosen
            quiet = post.watch.passed(now)
            if quiet is not None:
                asked = post.alert.match
                self._fire(post, quiet / _NS, time.time_ns(), {}, asked if isinstance(asked, Mapping) else {})

    def _set_clock(self) -> None:
        if self._clock is not None:
            watches = (post.watch for post in self._absent)
            due = [each.due_ns for each in watches if isinstance(each, Silence) and each.due_ns is not None]
            self._clock.set(min(due, default=None))

    def _fire(
        self,
        post: _Post,
        value: float,
        wall: int,
        measurements: Mapping[str, float],
        facts: Mapping[str, object],
    ) -> None:
        alert, event = post.alert, post.event
        told: dict[str, object] = {"alert": alert.name, "kind": alert.kind, "event": dotted(event)}
        if isinstance(facts.get("pool"), str):
            told["pool"] = facts["pool"]
        telemetry.execute(events.ALERT_FIRED, {"value": value, "limit": alert.limit}, told)
        text = text_of(alert, value)
        fired = Alert(alert.name, alert.kind, event, value, alert.limit, text, wall, measurements, facts)
        post.acts(event, {}, {}, fired)

    # A word to the queue's thread

    def _mark(self, facts: dict[str, object]) -> None:
        self._batches.put((_MARK, {}, facts, 0, time.monotonic_ns(), 0, 0))

    def _tick(self) -> None:
        self._mark({})


class _Post:
    """One alert that is looked out for: its watch, and the queue before its action."""

    def __init__(self, alert: AnyAlert) -> None:
        self.alert = alert
        self.event = as_name(alert.event)
        action = alert.action or _warn
        # The alert that fired comes as what a handler is given as its config.
        self.acts = Buffered(lambda *heard: action(heard[3]), size=_MOST_ACTIONS, name=alert.name)
        self._metric: metrics.Metric | None = None
        if isinstance(alert, ThresholdAlert):
            self._metric = metrics.last_value((*self.event, alert.measurement))
        self._failed = False
        self.begin()

    def begin(self) -> None:
        """Forget what was seen."""
        alert = self.alert
        if isinstance(alert, AbsenceAlert):
            self.watch: Often | Silence = Silence(_ns(alert.window), _ns(alert.cooldown or 0.0))
        elif isinstance(alert, RateAlert):
            cooldown = alert.window if alert.cooldown is None else alert.cooldown
            self.watch = Often(alert.limit, _ns(alert.window), _ns(cooldown))
        else:
            cooldown = COOLDOWN if alert.cooldown is None else alert.cooldown
            self.watch = Often(alert.times - 1, _ns(alert.within), _ns(cooldown))

    def look(self, record: Record, at: int) -> float | None:
        """Take an event in; the value with which the alert fires, where it does."""
        try:
            if not self._matches(record):
                return None
            measured = None if self._metric is None else self._metric.value(record[1], record[2])
        except Exception:  # noqa: BLE001 - the user's function; the next event may be one that it can take
            if not self._failed:
                _LOG.exception("the match of alert %r failed at %s", self.alert.name, dotted(self.event))
            self._failed = True
            return None
        if isinstance(self.alert, ThresholdAlert):
            return measured if measured is not None and self._beyond(measured, at) else None
        return self.watch.seen(at)

    def _beyond(self, measured: float, at: int) -> bool:
        assert isinstance(self.alert, ThresholdAlert)  # noqa: S101 - who asks has looked
        return self.alert.is_beyond(measured) and self.watch.seen(at) is not None

    def _matches(self, record: Record) -> bool:
        match = self.alert.match
        if match is None:
            return True
        if callable(match):
            _, measurements, metadata = telemetry.heard(record)
            return bool(match(measurements, metadata))
        facts = record[2]
        return all(key in facts and facts[key] == value for key, value in match.items())


class _Clock:
    """Calls a function when a time has come that may be set anew; its thread begins with the first one."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._due: int | None = None
        self._news = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def set(self, due_ns: int | None) -> None:
        self._due = due_ns
        if self._thread is None and due_ns is not None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="snakepit_nb alerts' clock", daemon=True)
            self._thread.start()
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            due = self._due
            left = None if due is None else max(0.0, (due - time.monotonic_ns()) / _NS)
            if left == 0.0:
                # It is set anew, and that is news, once the queue has come to the call.
                self._due = None
                self._call()
                continue
            self._news.wait(left)
            self._news.clear()


def _warn(alert: Alert) -> None:
    _LOG.warning("%s", alert)


def _ns(seconds: float) -> int:
    return round(seconds * _NS)
