"""Metrics as instruments of OpenTelemetry.

*Rule:* what only adds up is told now and then, whatever the number of events; a histogram wants each
value.
*Rule:* a meter has one instrument for each name, and keeps it: exporters that come and go share it.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from snakepit_nb.exporters.attributes import attribute
from snakepit_nb.exporters.tally import Spread, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from snakepit_nb.exporters.metrics import Metric
    from snakepit_nb.exporters.tally import Labels
    from snakepit_nb.telemetry import EventName, Record

UNITS: Final = MappingProxyType(
    {
        "": "1",
        "ratio": "1",
        "%": "%",
        "seconds": "s",
        "ms": "ms",
        "us": "us",
        "ns": "ns",
        "bytes": "By",
        "kB": "kBy",
        "MB": "MBy",
        "GB": "GBy",
    }
)
"""Units as the Unified Code for Units of Measure writes them."""

_LONGEST: Final = 255
_NONE_SUCH: Final = re.compile(r"[^A-Za-z0-9_.\-/]")
_Series: TypeAlias = "dict[str, str]"
_gauges: Final[WeakKeyDictionary[Meter, dict[str, WeakSet[Instruments]]]] = WeakKeyDictionary()


class Instruments:
    """Has a meter measure what metrics ask for.

    Args:
        metrics: What is wanted.
        meter: Makes the instruments.
        observation: OpenTelemetry's class of that name.
        max_series: How many sets of label values each may have; the rest is counted under `other`.
    """

    def __init__(
        self, metrics: Iterable[Metric], meter: Meter, observation: type[Observation], max_series: int
    ) -> None:
        self._tally = Tally(metrics, max_series=max_series, observe=self._observed)
        self._observation = observation
        self._adds: dict[str, Callable[[float, _Series], object]] = {}
        self._records: dict[str, Callable[[float, _Series], object]] = {}
        self._told: dict[tuple[str, Labels], float] = {}
        self._attributes: dict[tuple[str, Labels], _Series] = {}
        for metric, _ in self._tally.families():
            self._make(metric, meter)

    @property
    def events(self) -> tuple[EventName, ...]:
        """The events that it has to hear."""
        return self._tally.events

    def take(self, batch: list[Record]) -> None:
        """Count events, and record what histograms want of them."""
        self._tally.take(batch)

    def tell(self) -> None:
        """Tell what was added up since the last time."""
        for metric, values in self._tally.families():
            add = self._adds.get(metric.name)
            for labels, value in values.items() if add is not None else ():
                key = metric.name, labels
                more = value - self._told.get(key, 0) if not isinstance(value, Spread) else 0
                if more and add is not None:
                    self._told[key] = self._told.get(key, 0) + more
                    add(more, self._series(metric, labels))

    def close(self) -> None:
        """What is there now is not known any more."""
        for metric, values in self._tally.families():
            if metric.kind == "level":
                for labels in values:
                    left = self._told.pop((metric.name, labels), 0)
                    if left:
                        self._adds[metric.name](-left, self._series(metric, labels))
        for listening in [each for names in list(_gauges.values()) for each in names.values()]:
            listening.discard(self)

    def _make(self, metric: Metric, meter: Meter) -> None:
        name = _NONE_SUCH.sub("_", metric.name)
        name = (name if name[0].isalpha() else f"m{name}")[:_LONGEST]
        given = {"unit": UNITS[metric.unit], "description": metric.description}
        if metric.kind in {"counter", "sum"}:
            self._adds[metric.name] = meter.create_counter(name, **given).add
        elif metric.kind == "level":
            self._adds[metric.name] = meter.create_up_down_counter(name, **given).add
        elif metric.kind == "last_value":
            names = _gauges.setdefault(meter, {})
            if name not in names:
                names[name] = WeakSet()
                meter.create_observable_gauge(name, [_Reading(names[name], metric.name)], **given)
            names[name].add(self)
        else:
            ends = list(metric.buckets) or None
            made = meter.create_histogram(name, **given, explicit_bucket_boundaries_advisory=ends)
            self._records[metric.name] = made.record

    def _observed(self, metric: Metric, labels: Labels, value: float) -> None:
        self._records[metric.name](value, self._series(metric, labels))

    def _series(self, metric: Metric, labels: Labels) -> _Series:
        found = self._attributes.get((metric.name, labels))
        if found is None:
            pairs = zip(metric.tags, labels, strict=True)
            found = {attribute(metric.event, tag): label for tag, label in pairs if label}
            self._attributes[metric.name, labels] = found
        return found

    def values(self, name: str) -> Iterator[Observation]:
        """The series of a last value as they stand."""
        for metric, values in self._tally.families():
            if metric.name == name:
                for labels, value in values.items():
                    if not isinstance(value, Spread):
                        yield self._observation(value, self._series(metric, labels))


class _Reading:
    """Reads a gauge: of all who are there, since a meter keeps it for good."""

    def __init__(self, listening: WeakSet[Instruments], name: str) -> None:
        self._listening, self._name = listening, name

    def __call__(self, _: CallbackOptions) -> list[Observation]:
        return [each for instruments in list(self._listening) for each in instruments.values(self._name)]
