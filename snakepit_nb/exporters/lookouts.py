"""What alerts can look out for, as values: too many, too much, or nothing at all.

*Rule:* an alert is checked against the catalogue when it is declared; one about an event of the user's own is
taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from snakepit_nb.exporters import metrics
from snakepit_nb.telemetry import EventName, Name, as_name, dotted

Match: TypeAlias = Mapping[str, object] | Callable[[Mapping[str, float], Mapping[str, object]], bool]
"""Which events count: facts that their metadata have, or a function of measurements and metadata."""

Action: TypeAlias = Callable[["Alert"], object]
"""What is called when an alert fires."""

Kind = Literal["rate", "threshold", "absence"]

COOLDOWN: Final = 60.0
"""Seconds for which a `ThresholdAlert` stays silent, where it does not say."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What an action is called with: one firing of an alert.

    Attributes:
        name: The alert's name.
        kind: `rate`, `threshold` or `absence`.
        event: The event that it is about.
        value: How many events there were, the value measured, or for how many seconds there was none.
        limit: What `value` was compared with.
        text: What is the case, in words.
        time_ns: When it became so, wall clock.
        measurements: Those of the event that set it off; empty for an absence.
        facts: The metadata of that event; for an absence the facts that were asked for.

    Example:
        >>> str(Alert("churn", "rate", ("app", "lost"), 11, 10, "app.lost: 11 in 60 s, more than 10"))
        'alert churn: app.lost: 11 in 60 s, more than 10'
    """

    name: str
    kind: Kind
    event: EventName
    value: float
    limit: float
    text: str = ""
    time_ns: int = 0
    measurements: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """The alert in one line."""
        return f"alert {self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class RateAlert:
    """Fires when more than `limit` events come within a window.

    Args:
        event: The event that is counted.
        limit: How many are still well.
        window: Seconds; counted on the monotonic clock by when the events happened, not when they arrived.
        cooldown: Seconds for which it stays silent after it has fired; by default as long as the window.
        match: Which events count: a dict of facts that their metadata have, or a function of their
            measurements and metadata. All where it is not given.
        action: Called with an `Alert`; where it is not given, a warning is logged.
        name: What it is called in `snakepit.alert.fired`, in the timeline, and by `Alert`.

    Raises:
        UnknownEvent, UnknownKey: the catalogue has no such event, or the event no such fact.
        TypeError, ValueError: an argument that cannot be used.

    Example:
        >>> RateAlert("snakepit.worker.recycled", limit=10, window=60).name
        'more than 10 snakepit.worker.recycled in 60 s'
    """

    event: Name
    limit: int
    window: float
    cooldown: float | None = None
    match: Match | None = None
    action: Action | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _checked(self, "window")
        if type(self.limit) is not int or self.limit < 0:
            message = f"limit: expected how many events are still well, from 0 on, got {self.limit!r}"
            raise ValueError(message)
        _name(self, f"more than {self.limit} {dotted(self.event)} in {self.window:g} s")

    @property
    def kind(self) -> Kind:
        """`"rate"`."""
        return "rate"


@dataclass(frozen=True, slots=True)
class ThresholdAlert:
    """Fires when a number of an event is above, or below, what it should be.

    Args:
        event: The event that is looked at.
        measurement: A key of its measurements, or else a number in its metadata.
        above: The highest value that is still well.
        below: The lowest one; one of the two is given.
        times: How many such values there have to be.
        within: Seconds within which they have to come, where `times` is more than one.
        cooldown: Seconds for which it stays silent after it has fired.
        match: As for `RateAlert`.
        action: As for `RateAlert`.
        name: As for `RateAlert`.

    Raises:
        UnknownEvent, UnknownKey: the catalogue has no such event, or the event no such number or fact.
        TypeError, ValueError: an argument that cannot be used.

    Example:
        >>> ThresholdAlert("snakepit.pool.saturated", "queue_size", above=100).name
        'snakepit.pool.saturated.queue_size above 100'
    """

    event: Name
    measurement: str
    above: float | None = None
    below: float | None = None
    times: int = 1
    within: float = 0.0
    cooldown: float | None = COOLDOWN
    match: Match | None = None
    action: Action | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _checked(self, "within", least=0.0)
        metrics.last_value((*as_name(self.event), self.measurement))
        if (self.above is None) == (self.below is None):
            message = "above, below: expected one of the two, the limit beyond which values are not well"
            raise ValueError(message)
        _number("above" if self.below is None else "below", self.limit)
        if type(self.times) is not int or self.times < 1:
            message = f"times: expected how many values, a whole number from 1 on, got {self.times!r}"
            raise ValueError(message)
        if self.times > 1 and not self.within:
            message = f"within: expected the seconds within which {self.times} such values have to come"
            raise ValueError(message)
        side = "above" if self.below is None else "below"
        _name(self, f"{dotted(self.event)}.{self.measurement} {side} {self.limit:g}")

    @property
    def kind(self) -> Kind:
        """`"threshold"`."""
        return "threshold"

    @property
    def limit(self) -> float:
        """What a value is compared with."""
        return self.above if self.above is not None else (self.below or 0.0)

    def is_beyond(self, value: float) -> bool:
        """Whether a value is not well.

        Example:
            >>> ThresholdAlert("app.step", "loss", below=0.5).is_beyond(0.4)
            True
        """
        return value > self.limit if self.below is None else value < self.limit


@dataclass(frozen=True, slots=True)
class AbsenceAlert:
    """Fires when an event has not come for a while; once, until it has come again.

    Time is counted from when the alert is attached. An event counts when it arrives: what a cell emits may
    be under way for as long as the cell runs.

    Args:
        event: The event that should come.
        window: Seconds for which it may stay away.
        cooldown: Seconds for which the alert stays silent after it has fired, whatever comes.
        match: As for `RateAlert`.
        action: As for `RateAlert`.
        name: As for `RateAlert`.

    Raises:
        UnknownEvent, UnknownKey: the catalogue has no such event, or the event no such fact.
        TypeError, ValueError: an argument that cannot be used.

    Example:
        >>> AbsenceAlert("snakepit.worker.stats", window=30, match={"pool": "default"}).name
        'no snakepit.worker.stats for 30 s'
    """

    event: Name
    window: float
    cooldown: float | None = None
    match: Match | None = None
    action: Action | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _checked(self, "window")
        _name(self, f"no {dotted(self.event)} for {self.window:g} s")

    @property
    def kind(self) -> Kind:
        """`"absence"`."""
        return "absence"

    @property
    def limit(self) -> float:
        """The seconds for which the event may stay away."""
        return self.window


AnyAlert: TypeAlias = RateAlert | ThresholdAlert | AbsenceAlert


def text_of(alert: AnyAlert, value: float) -> str:
    """What is the case where an alert fires with a value, in words.

    Example:
        >>> text_of(AbsenceAlert("app.beat", window=5), 5.5)
        'app.beat: none for 5.5 s'
    """
    event = dotted(alert.event)
    if isinstance(alert, RateAlert):
        return f"{event}: {value:g} in {alert.window:g} s, more than {alert.limit}"
    if isinstance(alert, AbsenceAlert):
        return f"{event}: none for {value:g} s"
    side = "above" if alert.below is None else "below"
    return f"{event}: {alert.measurement} is {value:g}, {side} {alert.limit:g}"


def _name(alert: AnyAlert, name: str) -> None:
    given: object = alert.name
    if not isinstance(given, str):
        message = f"name: expected a text, got {given!r}"
        raise TypeError(message)
    object.__setattr__(alert, "name", given or name)


def _number(what: str, given: object, least: float = -math.inf) -> None:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        message = f"{what}: expected a number, got {given!r}"
        raise TypeError(message)
    if given < least:
        message = f"{what}: expected a number from {least:g} on, got {given!r}"
        raise ValueError(message)


def _checked(alert: AnyAlert, seconds: str, least: float = 1e-3) -> None:
    """Check what all alerts have: event, match, action, and times in seconds."""
    event = as_name(alert.event)
    match: object = alert.match
    action: object = alert.action
    if match is not None and not callable(match) and not isinstance(match, Mapping):
        message = f"match: expected facts, or a function of measurements and metadata, got {match!r}"
        raise TypeError(message)
    # A counter of the event by these facts is possible where, and only where, the event has them.
    metrics.counter((*event, "count"), tags=list(match) if isinstance(match, Mapping) else [])
    if action is not None and not callable(action):
        message = f"action: expected a function that takes an Alert, got {action!r}"
        raise TypeError(message)
    _number(seconds, getattr(alert, seconds), least)
    if alert.cooldown is not None:
        _number("cooldown", alert.cooldown, 0.0)
