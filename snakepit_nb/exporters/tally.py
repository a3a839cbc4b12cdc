"""Keeps what metrics ask for: records in, one value for each metric and set of label values out.

*Rule:* it has no clock, thread or descriptor, so that every reporter counts the same way.
*Rule:* a metric has a bounded number of label sets. What comes beyond is not lost: it is counted under the
label value `other`, told once in the log, and shown by `folded`.
*Rule:* nothing raises: what an event lacks is skipped, and a `keep` that raises leaves the event out, which
is logged once.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from snakepit_nb.telemetry import dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from snakepit_nb.exporters.metrics import Metric
    from snakepit_nb.telemetry import EventName, Record

_LOG: Final = logging.getLogger(__name__)
MAX_SERIES: Final = 1000
OTHER: Final = "other"
_FOLDED: Final = 100  # label sets with `other` in them, beyond those that are kept in full
_GONE: Final = 4096
_MOST_PRESENT: Final = 1_000_000
_LONGEST: Final = 200

Labels: TypeAlias = tuple[str, ...]
Observe: TypeAlias = "Callable[[Metric, Labels, float], object]"
_Key: TypeAlias = tuple[object, ...] | None
_Mapping: TypeAlias = "Mapping[str, object]"
_Step: TypeAlias = "Callable[[Mapping[str, float], Mapping[str, object]], None]"


@dataclass(frozen=True, slots=True)
class Spread:
    """What a summary or a distribution holds.

    Attributes:
        count: How many values there were.
        sum: What they add up to.
        least: The least of them.
        most: The most of them.
        buckets: How many fell into each bucket of a distribution; the last one has no upper end.

    Example:
        >>> Spread(4, 10.0, 1.0, 4.0).mean
        2.5
    """

    count: int
    sum: float
    least: float
    most: float
    buckets: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.sum / self.count if self.count else 0.0

    def plus(self, other: Spread) -> Spread:
        """The two in one.

        Example:
            >>> Spread(1, 2.0, 2.0, 2.0).plus(Spread(1, 4.0, 4.0, 4.0)).mean
            3.0
        """
        buckets = tuple(one + two for one, two in zip(self.buckets, other.buckets, strict=True))
        return Spread(
            self.count + other.count,
            self.sum + other.sum,
            min(self.least, other.least),
            max(self.most, other.most),
            buckets,
        )


class Family(NamedTuple):
    """One metric as it stands.

    Attributes:
        metric: What was declared.
        values: Its value by the values of its tags, in their order.
    """

    metric: Metric
    values: dict[Labels, float | Spread]


class Tally:
    """Counts.

    Args:
        metrics: What is wanted. Two of one name, kind, tags, unit and buckets add up.
        max_series: How many sets of label values each may have.
        observe: Takes each value of a summary or a distribution, with the metric and its labels; they are not
            kept here then.

    Raises:
        ValueError: two of one name contradict each other, or `max_series` is no whole number from 1 on.

    Example:
        >>> from snakepit_nb.exporters import metrics
        >>> tally = Tally([metrics.counter("app.job.done.count", tags=["kind"])])
        >>> tally.take([(("app", "job", "done"), {}, {"kind": "import"}, 0, 0, 0, 0)])
        >>> tally.families()[0].values
        {('import',): 1}
    """

    def __init__(
        self, metrics: Iterable[Metric], *, max_series: int = MAX_SERIES, observe: Observe | None = None
    ) -> None:
        if type(max_series) is not int or max_series < 1:
            message = (
                f"max_series: expected a number of label sets, a whole one from 1 on, got {max_series!r}"
            )
            raise ValueError(message)
        self._kept: dict[str, _Kept] = {}
        self._plans: dict[EventName, list[_Step]] = {}
        self._complained: set[EventName] = set()
        self._lock = threading.Lock()
        for metric in metrics:
            kept = self._kept.get(metric.name)
            if kept is None:
                kept = self._kept[metric.name] = _Kept(metric, max_series, observe)
            elif _nature(metric) != _nature(kept.metric):
                message = (
                    f"two metrics called {metric.name!r} contradict each other: {_told(kept.metric)}, and "
                    f"{_told(metric)}; give one of them another name with called="
                )
                raise ValueError(message)
            for event, step in kept.steps(metric):
                self._plans.setdefault(event, []).append(step)

    @property
    def events(self) -> tuple[EventName, ...]:
        """The events that it has to hear."""
        return tuple(self._plans)

    @property
    def folded(self) -> dict[str, int]:
        """How many events were counted under `other`, by the metric's name; only those that have some."""
        return {name: kept.folded for name, kept in self._kept.items() if kept.folded}

    def take(self, records: Iterable[Record]) -> None:
        """Count records of the bus."""
        plans = self._plans
        with self._lock:
            for record in records:
                metadata = record[2]
                if "synthetic" in metadata and metadata["synthetic"] is True:
                    continue
                for step in plans.get(record[0], ()):
                    try:
                        step(record[1], metadata)
                    except Exception:  # noqa: BLE001 - one event less of one metric; others are owed theirs
                        self._left_out(record[0])

    def _left_out(self, event: EventName) -> None:
        """Say once that an event was not counted, be it for a `keep` that raised."""
        if event not in self._complained:
            self._complained.add(event)
            _LOG.exception("a metric left out an event of %s; further ones are not told", dotted(event))

    def families(self) -> list[Family]:
        """All metrics in the order in which they were declared, with their values as they stand."""
        with self._lock:
            return [Family(kept.metric, kept.values()) for kept in self._kept.values()]


def _nature(metric: Metric) -> tuple[object, ...]:
    return metric.kind, metric.tags, metric.unit, metric.buckets


def _told(metric: Metric) -> str:
    unit = f" in {metric.unit}" if metric.unit else ""
    return f"a {metric.kind} of {dotted(metric.event)} by {', '.join(metric.tags) or 'nothing'}{unit}"


class _Kept:
    """The series of one name."""

    def __init__(self, metric: Metric, max_series: int, observe: Observe | None = None) -> None:
        self.metric = metric
        self._observe = observe
        self._labels: dict[int, Labels] = {}
        self._max = max_series
        self._ends = metric.buckets
        self._warned = False
        self.folded = 0
        # Each series is a list that steps write to: (number,) or (count, sum, least, most, *buckets).
        self._series: dict[Labels, list[float]] = {}
        self._raw: dict[tuple[object, ...], list[float]] = {}
        self._seen: list[set[str]] = [set() for _ in metric.tags]
        self._folded: set[Labels] = set()
        self._present: dict[object, dict[object, list[float]]] = {}
        self._owned: dict[tuple[object, object], set[tuple[Labels, _Key]]] = {}
        self._gone: dict[tuple[object, object], None] = {}

    def steps(self, metric: Metric) -> list[tuple[EventName, _Step]]:
        """What is to be done at which event for one declaration of this name."""
        if metric.kind == "level":
            steps = [(each, self._up(metric)) for each in (metric.event, *metric.also)]
            steps += [(each, self._down(metric)) for each in metric.down]
        else:
            put = {
                "counter": self._add,
                "sum": self._add,
                "last_value": self._set,
                "summary": self._spread,
                "distribution": self._spread,
            }[metric.kind]
            if self._observe is not None and put == self._spread:
                put = self._pass_on
            steps = [(metric.event, self._measure(metric, put))]
            steps += [(each, self._forget(metric)) for each in metric.down]
        if metric.over is not None:
            steps.append((metric.over, self._over))
        return steps

    def _measure(self, metric: Metric, put: Callable[[list[float], float], None]) -> _Step:
        measurement, factor, by = metric.measurement, metric.factor, metric.by
        plain, ends = metric.keep is None, bool(metric.down)
        one = plain and metric.kind == "counter"
        weighs = metric.kind in {"counter", "sum"}
        raw, key_of = self._raw, _key_of(metric.tags)

        def step(measurements: Mapping[str, float], metadata: _Mapping) -> None:
            found: float | None
            if weighs and "sample_rate" in metadata:
                found = metric.value(measurements, metadata)
            elif one:
                found = 1
            elif plain and type(given := measurements.get(measurement)) is int:
                found = given * factor
            else:
                found = metric.value(measurements, metadata)
            if found is None or (ends and (metadata.get("pool"), metadata.get(by)) in self._gone):
                return
            key = key_of(metadata)
            cell = raw.get(key) if key is not None else None
            if cell is None:
                cell = self._cell(metric.labels(metadata), key, metadata.get("pool"), metadata.get(by))
            put(cell, found)

        return step

    def _cell(self, labels: Labels, key: _Key, pool: object = None, owner: object = None) -> list[float]:
        labels = tuple([each if len(each) <= _LONGEST else each[:_LONGEST] for each in labels])
        cell = self._series.get(labels)
        if cell is None:
            labels = self._bounded(labels)
            cell = self._series.get(labels)
            if cell is None:
                cell = self._series[labels] = self._new()
                if self._observe is not None:
                    self._labels[id(cell)] = labels
        if labels in self._folded:
            self.folded += 1
            return cell
        if key is not None and len(self._raw) <= self._max:
            self._raw[key] = cell
        if owner is not None:
            self._owned.setdefault((pool, owner), set()).update([(labels, key)])
        return cell

    def _bounded(self, labels: Labels) -> Labels:
        """The labels, or where there are too many sets of them, those under which they are counted."""
        if len(self._series) - len(self._folded) < self._max:
            for seen, label in zip(self._seen, labels, strict=True):
                seen.add(label)
            return labels
        widest = max(range(len(labels)), key=lambda at: len(self._seen[at]))
        if not self._warned:
            self._warned = True
            _LOG.warning(
                "metric %r has %d sets of label values, the most from its tag %r: what comes beyond is "
                "counted under %r; leave the tag out, or give the exporter a larger max_series",
                self.metric.name,
                self._max,
                self.metric.tags[widest],
                OTHER,
            )
        folded = (*labels[:widest], OTHER, *labels[widest + 1 :])
        if folded not in self._folded and len(self._folded) >= _FOLDED:
            folded = (OTHER,) * len(labels)
        self._folded.add(folded)
        return folded

    def _new(self) -> list[float]:
        if self.metric.kind == "summary" or self._ends:
            return [0, 0.0, 0.0, 0.0, *([0] * (len(self._ends) + 1) if self._ends else ())]
        return [0]

    @staticmethod
    def _add(cell: list[float], value: float) -> None:
        cell[0] += value

    @staticmethod
    def _set(cell: list[float], value: float) -> None:
        cell[0] = value

    def _pass_on(self, cell: list[float], value: float) -> None:
        if self._observe is not None:
            self._observe(self.metric, self._labels[id(cell)], value)

    def _spread(self, cell: list[float], value: float) -> None:
        if not cell[0]:
            cell[2] = cell[3] = value
        elif value < cell[2]:
            cell[2] = value
        elif value > cell[3]:
            cell[3] = value
        cell[0] += 1
        cell[1] += value
        if self._ends:
            cell[4 + bisect_left(self._ends, value)] += 1

    # What comes and goes

    def _up(self, metric: Metric) -> _Step:
        by, key_of, raw, there = metric.by, _key_of(metric.tags), self._raw, self._present
        gone = self._gone if metric.also else {}

        def step(_: Mapping[str, float], metadata: _Mapping) -> None:
            who, pool = metadata.get(by), metadata.get("pool")
            present = there.get(pool)
            if present is None:
                present = there[pool] = {}
            if (
                who is None
                or who in present
                or len(present) >= _MOST_PRESENT
                or (gone and (pool, who) in gone)
            ):
                return
            key = key_of(metadata)
            cell = raw.get(key) if key is not None else None
            if cell is None:
                cell = self._cell(metric.labels(metadata), key)
            cell[0] += 1
            present[who] = cell

        return step

    def _down(self, metric: Metric) -> _Step:
        by, there = metric.by, self._present
        remember = bool(metric.also)  # what one of these tells may come after the end

        def step(_: Mapping[str, float], metadata: _Mapping) -> None:
            pool, who = metadata.get("pool"), metadata.get(by)
            present = there.get(pool)
            if present and who in present:
                present.pop(who)[0] -= 1
            if remember:
                self._went(pool, who)

        return step

    def _forget(self, metric: Metric) -> _Step:
        by = metric.by

        def step(_: Mapping[str, float], metadata: _Mapping) -> None:
            owner = metadata.get("pool"), metadata.get(by)
            self._drop(self._owned.pop(owner, ()))
            self._went(*owner)

        return step

    def _over(self, _: Mapping[str, float], metadata: _Mapping) -> None:
        pool = metadata.get("pool")
        for cell in self._present.pop(pool, {}).values():
            cell[0] -= 1
        for owner in [each for each in self._owned if each[0] == pool]:
            self._drop(self._owned.pop(owner))

    def _drop(self, gone: Iterable[tuple[Labels, _Key]]) -> None:
        for labels, key in gone:
            cell = self._series.pop(labels, None)
            self._labels.pop(id(cell), None)
            self._raw.pop(key or labels, None)

    def _went(self, pool: object, who: object) -> None:
        """Remember who is gone: what was measured of it before may be told after its end."""
        self._gone[pool, who] = None
        if len(self._gone) > _GONE:
            del self._gone[next(iter(self._gone))]

    def values(self) -> dict[Labels, float | Spread]:
        """A copy of its series."""
        if self.metric.kind == "summary" or self._ends:
            return {
                labels: Spread(int(cell[0]), cell[1], cell[2], cell[3], tuple(map(int, cell[4:])))
                for labels, cell in self._series.items()
            }
        return {labels: cell[0] for labels, cell in self._series.items()}


def _key_of(tags: Sequence[str]) -> Callable[[_Mapping], _Key]:
    """Makes what a series is found by: its labels, where all are texts.

    1, 1.0 and True are one key of a dict, but three labels.
    """
    if len(tags) == 1:
        (tag,) = tags

        def alone(metadata: _Mapping) -> _Key:
            label = metadata.get(tag)
            return (label,) if type(label) is str else None

        return alone

    def several(metadata: _Mapping) -> _Key:
        key = tuple([metadata.get(tag) for tag in tags])
        for each in key:
            if type(each) is not str:
                return None
        return key

    return several


def scaled(value: float | Spread, factor: float) -> float | Spread:
    """A value in another unit.

    Example:
        >>> scaled(Spread(2, 3.0, 1.0, 2.0), 1000).sum
        3000.0
    """
    if factor == 1.0:
        return value
    if isinstance(value, Spread):
        return replace(value, sum=value.sum * factor, least=value.least * factor, most=value.most * factor)
    return value * factor
