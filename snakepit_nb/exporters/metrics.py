"""What is to be measured, as values: which event, which of its numbers, and by which tags.

The kinds and the rules are those of Erlang's `telemetry_metrics` (https://hexdocs.pm/telemetry_metrics/): a
metric says what is wanted, and a reporter, such as the one for Prometheus, decides how it is kept.

*Rule:* a metric of this product's events is checked against the catalogue when it is declared; one of the
user's own events is taken as it is.
*Rule:* an event that was fired by hand (`synthetic`) is never measured. One that was sampled stands for those
that were left out: it counts and adds up so many times.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from snakepit_nb import events
from snakepit_nb.telemetry import EventName, Name, as_name, dotted

Kind = Literal["counter", "sum", "last_value", "summary", "distribution", "level"]
Keep: TypeAlias = Callable[[Mapping[str, float], Mapping[str, object]], bool]
"""Whether an event counts, by its measurements and metadata."""

Tag: TypeAlias = str | bool | int | float | None

UNITS: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(
    {
        "ns": ("time", 1e-9),
        "us": ("time", 1e-6),
        "ms": ("time", 1e-3),
        "seconds": ("time", 1.0),
        "bytes": ("memory", 1.0),
        "kB": ("memory", 1e3),
        "MB": ("memory", 1e6),
        "GB": ("memory", 1e9),
        "%": ("share", 0.01),
        "ratio": ("share", 1.0),
    }
)
"""What units there are: what each is of, and how many of the base unit it makes."""

BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 3600.0)
"""The upper ends of a distribution's buckets where none are given: seconds, from a message to an hour."""


class UnknownKey(LookupError):  # noqa: N818 - named for what is the case
    """An event of the catalogue has no such measurement or key in its metadata."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing to be measured; made by `counter`, `sum`, `last_value`, `summary`, `distribution`, `level`.

    Attributes:
        kind: How values become one.
        event: The event that is looked at.
        measurement: The number of it that counts; a key of its measurements, or else of its metadata.
        name: What the metric is called, dotted; two of the same name, kind and tags are one.
        tags: Keys of the metadata by whose values it is kept apart.
        unit: The unit of the result, of `UNITS`, or "" for a plain number.
        factor: What a value is multiplied by to be in that unit.
        keep: Whether an event counts; None where all do.
        description: A sentence for people.
        buckets: The upper ends of a distribution's buckets, rising, without infinity.
        also: Other events that say that one is there, for a level.
        down: The events that take one away again, for a level; those after which what `by` names has no
            value any more, for a last value.
        over: The event that ends all of a pool, for both.
        by: The key of the metadata that names what is counted or measured, for both.
    """

    kind: Kind
    event: EventName
    measurement: str
    name: str
    tags: tuple[str, ...] = ()
    unit: str = ""
    factor: float = 1.0
    keep: Keep | None = None
    description: str = ""
    buckets: tuple[float, ...] = ()
    also: tuple[EventName, ...] = ()
    down: tuple[EventName, ...] = ()
    over: EventName | None = None
    by: str = ""

    def events(self) -> tuple[EventName, ...]:
        """The events that a reporter has to hear for it.

        Example:
            >>> counter("snakepit.worker.recycled.count").events()
            (('snakepit', 'worker', 'recycled'),)
        """
        over = () if self.over is None else (self.over,)
        return tuple(dict.fromkeys((self.event, *self.also, *self.down, *over)))

    def value(self, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> float | None:
        """What an event adds, in the metric's unit; None where it does not count or has no such number.

        Raises:
            Exception: what `keep` raises.

        Example:
            >>> wait = summary("snakepit.request.executed.queue_us", unit=("us", "ms"))
            >>> wait.value({"queue_us": 1500}, {}), wait.value({}, {})
            (1.5, None)
        """
        if metadata.get("synthetic") is True:
            return None
        if self.keep is not None and not self.keep(measurements, metadata):
            return None
        if self.kind == "counter":
            return _stands_for(metadata)
        # Every event counts as one, whether its record says so or not.
        found = measurements.get(self.measurement, metadata.get(self.measurement))
        if found is None and self.measurement == "count":
            found = 1
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
            return None
        weight = _stands_for(metadata) if self.kind == "sum" else 1
        return found * self.factor * weight

    def labels(self, metadata: Mapping[str, object]) -> tuple[str, ...]:
        """The values of its tags as texts, in their order; "" for one that is missing.

        Example:
            >>> counter("app.job.done.count", tags=["kind", "pool"]).labels({"kind": "manual"})
            ('manual', '')
        """
        return tuple(_text(metadata.get(tag)) for tag in self.tags)


def _stands_for(metadata: Mapping[str, object]) -> float:
    """How many events one is, where others like it were left out on their way from a worker."""
    rate = metadata.get("sample_rate")
    return 1 / rate if isinstance(rate, (int, float)) and 0 < rate < 1 else 1


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def counter(
    name: Name, *, tags: Sequence[str] = (), keep: Keep | None = None, called: str = "", description: str = ""
) -> Metric:
    """How often an event happened, whatever it measured; `name` ends in a measurement, `count` as a rule.

    Args:
        name: The event's name and one of its measurements: `"snakepit.worker.recycled.count"`.
        tags: Keys of the metadata by whose values it is counted apart.
        keep: Whether an event counts; called with its measurements and metadata.
        called: The metric's own name, where that is not `name`.
        description: A sentence for people.

    Raises:
        UnknownEvent: the catalogue has no such event; the message says which are near.
        UnknownKey: the event has no such measurement, or no such tag; the message says which there are.
        TypeError, ValueError: an argument that cannot be used.

    Example:
        >>> counter("snakepit.worker.recycled.count", tags=["pool", "reason"]).tags
        ('pool', 'reason')
    """
    return _declared("counter", name, tags, keep, called, description)


def sum(  # noqa: A001, PLR0913 - what telemetry_metrics calls it, used as metrics.sum; all by name
    name: Name,
    *,
    tags: Sequence[str] = (),
    keep: Keep | None = None,
    unit: str | tuple[str, str] | None = None,
    called: str = "",
    description: str = "",
) -> Metric:
    """What a number of an event adds up to; arguments and errors as for `counter`.

    Args:
        name: The event's name and the key of a number: `"snakepit.zero_copy.export.bytes"`.
        tags: Keys of the metadata by whose values it is added up apart.
        keep: Whether an event counts.
        unit: The unit of the number, or a pair: the unit that it is in and the one that is wanted.
        called: The metric's own name.
        description: A sentence for people.

    Example:
        >>> sum("snakepit.zero_copy.export.bytes", unit=("bytes", "MB")).factor
        1e-06
    """
    return _declared("sum", name, tags, keep, called, description, unit)


def last_value(  # noqa: PLR0913 - all by name but the first
    name: Name,
    *,
    tags: Sequence[str] = (),
    keep: Keep | None = None,
    unit: str | tuple[str, str] | None = None,
    called: str = "",
    description: str = "",
    down: Name | Sequence[Name] = (),
    over: Name | None = None,
    by: str = "",
) -> Metric:
    """The newest value of a number of an event; other arguments and errors as for `sum`.

    Args:
        name: The event's name and the key of a number.
        tags: Keys of the metadata by whose values it is kept apart.
        keep: Whether an event counts.
        unit: The unit of the number, or a pair: the unit that it is in and the one that is wanted.
        called: The metric's own name.
        description: A sentence for people.
        down: The event, or events, after which what `by` names has no value any more.
        over: The event after which nothing of its pool has one.
        by: The key of the metadata that names what is measured, one of `tags`.

    Example:
        >>> last_value("snakepit.pool.saturated.queue_size", tags=["pool"]).kind
        'last_value'
    """
    ends = _ends(down, by)
    if by and by not in tags:
        message = f"by: {by!r} says whose value it is, so it has to be one of the tags, got {list(tags)!r}"
        raise ValueError(message)
    return _declared(
        "last_value", name, tags, keep, called, description, unit, down=ends, over=_known(over), by=by
    )


def summary(  # noqa: PLR0913 - all by name but the first
    name: Name,
    *,
    tags: Sequence[str] = (),
    keep: Keep | None = None,
    unit: str | tuple[str, str] | None = None,
    called: str = "",
    description: str = "",
) -> Metric:
    """How often, how much in all, least, most and mean of a number; arguments and errors as for `sum`.

    Example:
        >>> summary("snakepit.worker.recycled.uptime_seconds").unit
        'seconds'
    """
    return _declared("summary", name, tags, keep, called, description, unit)


def distribution(  # noqa: PLR0913 - all by name but the first
    name: Name,
    *,
    buckets: Sequence[float] = BUCKETS,
    tags: Sequence[str] = (),
    keep: Keep | None = None,
    unit: str | tuple[str, str] | None = None,
    called: str = "",
    description: str = "",
) -> Metric:
    """How often a number fell into each of some buckets; other arguments and errors as for `sum`.

    Args:
        name: The event's name and the key of a number.
        buckets: Their upper ends, rising, in the unit of the result; infinity comes of itself.
        tags: Keys of the metadata by whose values it is kept apart.
        keep: Whether an event counts.
        unit: The unit of the number, or a pair: the unit that it is in and the one that is wanted.
        called: The metric's own name.
        description: A sentence for people.

    Example:
        >>> distribution("snakepit.worker.recycled.uptime_seconds", buckets=[60, 3600]).buckets
        (60.0, 3600.0)
    """
    ends = tuple(float(end) for end in buckets)
    rising = all(one < other for one, other in pairwise(ends))
    if not ends or not rising or not all(map(math.isfinite, ends)):
        message = f"buckets: expected the finite upper ends of buckets, rising, got {list(buckets)!r}"
        raise ValueError(message)
    return _declared("distribution", name, tags, keep, called, description, unit, buckets=ends)


def level(  # noqa: PLR0913 - all by name but the first
    name: Name,
    *,
    down: Name | Sequence[Name],
    by: str,
    also: Sequence[Name] = (),
    over: Name | None = None,
    tags: Sequence[str] = (),
    called: str = "",
    description: str = "",
) -> Metric:
    """How many there are now: one more with each event, one less with each `down`, none after `over`.

    Args:
        name: The event that brings one, and its measurement `count`.
        down: The event, or events, that take it away.
        by: The key of the metadata that says which one: who is not there is not taken away, and who is there
            does not come again.
        also: Other events that tell of one that is there: for who begins to listen late.
        over: The event after which none of its pool is there.
        tags: Keys of the metadata by whose values it is counted apart.
        called: The metric's own name.
        description: A sentence for people.

    Raises:
        UnknownEvent, UnknownKey, TypeError, ValueError: as for `counter`.

    Example:
        >>> started, recycled = "snakepit.worker.started.count", "snakepit.worker.recycled"
        >>> level(started, down=recycled, by="worker_id", tags=["pool"]).events()[1]
        ('snakepit', 'worker', 'recycled')
    """
    if isinstance(also, str):
        message = f"also: expected a list of events, got the text {also!r}; write [{also!r}]"
        raise TypeError(message)
    others = tuple(each for each in map(_known, also) if each is not None)
    for each in others:
        _check((*each, "count"), (*tags, by))
    return _declared(
        "level", name, tags, None, called, description,
        also=others, down=_ends(down, by), over=_known(over), by=by,
    )  # fmt: skip


def _known(event: Name | None) -> EventName | None:
    """An event's name, of the catalogue where it is this product's."""
    if event is None:
        return None
    name = as_name(event)
    return events.spec(name).name if name[0] == "snakepit" else name


def _ends(down: Name | Sequence[Name], by: str) -> tuple[EventName, ...]:
    """The events that end something, all of which say what."""
    # A tuple of texts without dots is one name.
    one = isinstance(down, str) or (
        isinstance(down, tuple)
        and bool(down)
        and all(isinstance(each, str) and "." not in each for each in down)
    )
    given: Sequence[Name] = [down] if one else down  # type: ignore[list-item]
    ends = tuple(each for each in map(_known, given) if each is not None)
    if ends and not by:
        message = "by: expected the key of the metadata that says what the events of `down` end, got nothing"
        raise ValueError(message)
    for each in ends:
        _check((*each, "count"), (by,))
    return ends


def _declared(  # noqa: PLR0913, PLR0917 - what the kinds have in common
    kind: Kind,
    name: Name,
    tags: Sequence[str],
    keep: Keep | None,
    called: str,
    description: str,
    unit: str | tuple[str, str] | None = None,
    *,
    buckets: tuple[float, ...] = (),
    also: tuple[EventName, ...] = (),
    down: tuple[EventName, ...] = (),
    over: EventName | None = None,
    by: str = "",
) -> Metric:
    parts = as_name(name)
    if len(parts) < 2:  # noqa: PLR2004 - an event and a number of it
        message = f"a metric's name is that of an event and of a number of it, got {dotted(parts)!r}"
        raise ValueError(message)
    if isinstance(tags, str):
        message = f"tags: expected a list of keys, got the text {tags!r}; write [{tags!r}]"
        raise TypeError(message)
    if keep is not None and not callable(keep):
        message = f"keep: expected a function of measurements and metadata, got {keep!r}"
        raise TypeError(message)
    event, measurement = parts[:-1], parts[-1]
    known = _check(parts, (*tags, *((by,) if by else ())))
    wanted, factor = "", 1.0
    if kind not in {"counter", "level"}:  # what is counted is events, whatever they measure
        wanted, factor = _conversion(unit, known.unit if known is not None else None)
    return Metric(
        kind, event, measurement, called or dotted(parts), tuple(tags), wanted, factor, keep,
        description, buckets, also, down, over, by,
    )  # fmt: skip


def _check(parts: EventName, tags: Iterable[str]) -> events.Key | None:
    """What the catalogue knows of a number; None where the event is one of the user's own."""
    event, measurement = parts[:-1], parts[-1]
    if event[0] != "snakepit":
        return None
    if event not in events.CATALOGUE and parts in events.CATALOGUE:
        message = (
            f"{dotted(parts)!r} is an event; a metric also says which number of it: {dotted(parts)}.count"
        )
        raise events.UnknownEvent(message)
    entry = events.spec(event)
    facts = {key.name: key for key in (*events.ENVELOPE_METADATA, *entry.metadata)}
    numbers = {
        **{name: key for name, key in facts.items() if key.type in {"int", "float"}},
        **{key.name: key for key in (*events.ENVELOPE_MEASUREMENTS, *entry.measurements)},
    }
    if measurement not in numbers:
        raise UnknownKey(_unknown("number", measurement, numbers, event))
    for tag in tags:
        if tag not in facts:
            raise UnknownKey(_unknown("key in its metadata", tag, facts, event))
    return numbers[measurement]


def _unknown(what: str, name: str, known: Iterable[str], event: EventName) -> str:
    names = [each for each in known if each not in {"time_ns", "monotonic_ns", "pid"}]
    near = difflib.get_close_matches(name, names)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    return f"{dotted(event)} has no {what} called {name!r}; {hint}"


def _conversion(unit: str | tuple[str, str] | None, known: str | None) -> tuple[str, float]:
    given, wanted = (unit, unit) if isinstance(unit, str) or unit is None else unit
    given, wanted = given or known or "", wanted or known or ""
    if given == wanted:
        return wanted, 1.0
    for each in (given, wanted):
        if each not in UNITS:
            message = f"unit: {each!r} is none of {', '.join(UNITS)}"
            raise ValueError(message)
    if UNITS[given][0] != UNITS[wanted][0]:
        message = f"unit: {given} is {UNITS[given][0]} and cannot become {wanted}"
        raise ValueError(message)
    return wanted, UNITS[given][1] / UNITS[wanted][1]
