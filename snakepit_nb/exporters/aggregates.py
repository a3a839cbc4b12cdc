"""The reporter that keeps metrics in memory and shows them as a table: for a notebook, and for tests.

*Rule:* what is read is up to date: events that wait in the queue are counted first.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.exporters.buffered import Attachment
from snakepit_nb.exporters.defaults import DEFAULT
from snakepit_nb.exporters.tally import MAX_SERIES, Spread, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snakepit_nb.exporters.metrics import Kind, Metric
    from snakepit_nb.telemetry import Record

HEADS: Final = ("metric", "labels", "value", "mean", "least", "most")
"""What stands above the columns of `rows`."""

_PREFIX: Final = "snakepit."
_MINUTE: Final = 60.0
_KILO: Final = 1000.0
_SMALL: Final = 100.0


class Value(NamedTuple):
    """One value of one metric.

    Attributes:
        name: The metric's name, dotted.
        kind: How it came to be.
        labels: The values of the metric's tags.
        value: A number, or for a summary and a distribution count, sum, least and most.
        unit: What it counts; "" for a plain number.
    """

    name: str
    kind: Kind
    labels: Mapping[str, str]
    value: float | Spread
    unit: str


class Aggregates(Attachment):
    """Keeps what metrics ask for in memory, while attached.

    Shown in a notebook, it is a table of all values.

    Args:
        metrics: What is wanted; those of `exporters.defaults.DEFAULT` where nothing is said.
        max_series: How many sets of label values each metric may have; what comes beyond is counted under
            the label value `other`.

    Raises:
        ValueError: two metrics of one name contradict each other.

    Example:
        >>> from snakepit_nb import telemetry
        >>> from snakepit_nb.exporters import metrics
        >>> with Aggregates([metrics.counter("app.job.done.count", tags=["kind"])]) as counted:
        ...     telemetry.execute("app.job.done", {}, {"kind": "import"})
        ...     counted.value("app.job.done.count", kind="import")
        1
    """

    def __init__(self, metrics: Iterable[Metric] = DEFAULT, *, max_series: int = MAX_SERIES) -> None:
        self._tally = Tally(metrics, max_series=max_series)
        super().__init__(self._tally.events, name="metrics")

    def take(self, batch: list[Record]) -> None:
        """Count a batch of records."""
        self._tally.take(batch)

    @property
    def folded(self) -> dict[str, int]:
        """How many events were counted under `other`, by the metric's name; only those that have some."""
        return self._tally.folded

    def values(self, pool: str | None = None) -> list[Value]:
        """All values, in the order in which the metrics were declared.

        Args:
            pool: Only those with this value of the label `pool`; None for all.
        """
        self.flush()
        found = []
        for metric, values in self._tally.families():
            for labels, value in sorted(values.items()):
                named = dict(zip(metric.tags, labels, strict=True))
                if pool is None or named.get("pool") == pool:
                    found.append(Value(metric.name, metric.kind, MappingProxyType(named), value, metric.unit))
        return found

    def value(self, name: str, **labels: str) -> float | Spread | None:
        """The value of one metric; where several label sets fit, what they add up to.

        Args:
            name: The metric's name.
            **labels: The label values that are wanted; all those of a tag that is not named.

        Returns:
            A number, a `Spread` for summaries and distributions, or None where nothing was measured so far.
        """
        found = [
            each.value
            for each in self.values()
            if each.name == name and all(each.labels.get(key) == value for key, value in labels.items())
        ]
        if not found:
            return None
        spreads = [each for each in found if isinstance(each, Spread)]
        if not spreads:
            return sum(each for each in found if not isinstance(each, Spread))
        total, *others = spreads
        for other in others:
            total = total.plus(other)
        return total

    def rows(self, pool: str | None = None) -> list[tuple[str, ...]]:
        """The values as texts for a table, under `HEADS`.

        Args:
            pool: Only those with this value of the label `pool`; None for all.
        """
        rows = []
        last = ""
        for name, _, labels, value, unit in self.values(pool):
            title = "" if name == last else name.removeprefix(_PREFIX)
            last = name
            told = ", ".join(
                f"{key}={label}" for key, label in labels.items() if not (key == "pool" and label == pool)
            )
            if isinstance(value, Spread):
                spread = (value.mean, value.least, value.most)
                rows.append((title, told, in_unit(value.count), *(in_unit(each, unit) for each in spread)))
            else:
                rows.append((title, told, in_unit(value, unit), "", "", ""))
        return rows

    def __repr__(self) -> str:
        table = [HEADS, *self.rows()]
        if len(table) == 1:
            return "<Aggregates: nothing was measured so far>"
        widths = [max(len(row[at]) for row in table) for at in range(len(HEADS))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if at < 2 else cell.rjust(width)  # noqa: PLR2004 - texts, then numbers
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )


def in_unit(value: float, unit: str = "") -> str:
    """A number for people.

    Example:
        >>> in_unit(1200), in_unit(0.0123, "seconds"), in_unit(93.4e6, "bytes"), in_unit(0.5, "ratio")
        ('1,200', '12.3 ms', '93.4 MB', '50 %')
    """
    if unit == "seconds":
        for below, factor, name in ((1e-3, 1e6, "\N{MICRO SIGN}s"), (1.0, 1e3, "ms"), (_MINUTE, 1.0, "s")):
            if abs(value) < below:
                return f"{_short(value * factor)} {name}"
        return f"{value / _MINUTE:,.1f} min"
    if unit == "bytes":
        for name in ("B", "kB", "MB", "GB"):
            if abs(value) < _KILO:
                return f"{_short(value)} {name}"
            value /= _KILO
        return f"{_short(value)} TB"
    if unit == "ratio":
        return f"{value * 100:,.0f} %"
    return f"{_short(value)} {unit}".rstrip()


def _short(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) < _SMALL else f"{value:,.0f}"
