"""Metrics for Prometheus (https://prometheus.io): as text, in a registry, or served for a server to scrape.

*Rule:* it listens on loopback unless it is told otherwise, and answers there only who asks for loopback.
*Rule:* what is scraped is up to date: events that wait in the queue are counted first.
*Rule:* names are as Prometheus wants them: base units, `_total` for what only grows, no dots or colons.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from snakepit_nb import events
from snakepit_nb.exporters.buffered import Attachment
from snakepit_nb.exporters.defaults import DEFAULT
from snakepit_nb.exporters.metrics import UNITS
from snakepit_nb.exporters.scraped import Endpoint
from snakepit_nb.exporters.tally import MAX_SERIES, Spread, Tally, scaled
from snakepit_nb.telemetry import dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

    from snakepit_nb.exporters.metrics import Metric
    from snakepit_nb.exporters.tally import Labels
    from snakepit_nb.telemetry import Record

_MISSING: Final = (
    "metrics for Prometheus need prometheus_client, which is not installed; "
    "pip install 'snakepit_nb[prometheus]' brings it"
)
_BASE: Final = MappingProxyType({"time": "seconds", "memory": "bytes", "share": "ratio"})
_SPELT: Final = MappingProxyType(
    {"%": ("percent",), "MB": ("mb",), "GB": ("gb",), "kB": ("kb",), "seconds": ("seconds", "s")}
)
_GROWS: Final = frozenset({"counter", "sum"})
_ENDINGS: Final = MappingProxyType(
    {"summary": ("_count", "_sum"), "distribution": ("_count", "_sum", "_bucket")}
)
_TAKEN: Final = MappingProxyType({"summary": "quantile", "distribution": "le"})
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FLUSH: Final = 5.0  # seconds; a server waits ten for a scrape
_FOLDED: Final = "snakepit_metrics_folded_total"
_MOST_ZEROS: Final = 64


class _Named(NamedTuple):
    """A metric as Prometheus knows it."""

    metric: Metric
    name: str
    factor: float
    unit: str
    labels: tuple[str, ...]
    closed: Mapping[str, tuple[str, ...]]


class PrometheusExporter(Attachment):
    """Counts events for Prometheus, while attached.

    Args:
        metrics: What is wanted; those of `exporters.defaults.DEFAULT` where nothing is said.
        registry: Where it is to be found; one of its own by default.
        max_series: How many sets of label values each metric may have; what comes beyond is counted under
            the label value `other`, told once in the log, and by `snakepit_metrics_folded_total`.
        labels: Labels that all of its metrics get, to tell notebooks apart: `{"notebook": "fit"}`.

    Attributes:
        registry: The registry of prometheus_client that it is in.

    Raises:
        ImportError: prometheus_client is not installed; the message names the extra that brings it.
        ValueError: two metrics contradict each other, or a label is none; or the registry has metrics of
            these names already, those of another exporter as a rule.

    Example:
        >>> from snakepit_nb import telemetry
        >>> from snakepit_nb.exporters import metrics
        >>> wanted = metrics.counter("app.job.done.count", tags=["kind"], description="Jobs.")
        >>> with PrometheusExporter([wanted]) as exporter:
        ...     telemetry.execute("app.job.done", {}, {"kind": "import"})
        ...     print(exporter.text())
        # HELP app_job_done_total Jobs.
        # TYPE app_job_done_total counter
        app_job_done_total{kind="import"} 1.0
        <BLANKLINE>
    """

    def __init__(
        self,
        metrics: Iterable[Metric] = DEFAULT,
        *,
        registry: CollectorRegistry | None = None,
        max_series: int = MAX_SERIES,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        client = _client()
        wanted = tuple(metrics)
        self._tally = Tally(wanted, max_series=max_series)
        self._constant = tuple((labels or {}).items())
        self._named = _names(wanted, dict(self._constant))
        self._attached = False
        self._endpoints: list[tuple[str | None, Endpoint]] = []
        self.registry: CollectorRegistry = registry if registry is not None else client.CollectorRegistry()
        # The end of a pool is heard whatever is measured.
        super().__init__((*self._tally.events, events.POOL_STOPPED), name="prometheus")
        try:
            self.registry.register(self)
        except ValueError as error:
            message = (
                "the registry has metrics of these names already, those of another exporter as a rule; close "
                "that one, or leave out registry= so that each has its own"
            )
            raise ValueError(message) from error

    def take(self, batch: list[Record]) -> None:
        """Count a batch of records, and stop serving for pools that have stopped."""
        self._tally.take(batch)
        if self._endpoints:
            stopped = {record[2].get("pool") for record in batch if record[0] == events.POOL_STOPPED}
            for pool, endpoint in self._endpoints.copy():
                if pool in stopped:
                    endpoint.close()

    @property
    def folded(self) -> dict[str, int]:
        """How many events were counted under `other`, by the metric's name; only those that have some."""
        return self._tally.folded

    def attach(self, *, replay: bool = False) -> Self:
        """Begin to count; with `replay` the recent events from before as well.

        Raises:
            telemetry.AlreadyAttached: it is attached.
        """
        super().attach(replay=replay)
        self._attached = True
        return self

    def text(self) -> str:
        """What a server would scrape now, in Prometheus's text format."""
        return str(_client().generate_latest(self.registry), "utf-8")

    def serve(self, port: int = 0, addr: str = "127.0.0.1", *, pool: str | None = None) -> Endpoint:
        """Serve the metrics over HTTP, in a thread, until that is closed; attach where that was not done.

        Args:
            port: The port; 0 takes one that is free.
            addr: The address to listen on. With another than loopback, whoever reaches this machine can read
                them.
            pool: The pool with which it ends: closed when the pool of this name stops.

        Returns:
            What serves: it has `url` and `port`, and `close()`.

        Raises:
            OSError: the port is taken, or the address is none of this machine.
        """
        endpoint = Endpoint(self.registry, port, addr)
        if not self._attached:
            self.attach()
        self._endpoints = [each for each in self._endpoints if not each[1].closed]
        self._endpoints.append((pool, endpoint))
        return endpoint

    def close(self) -> None:
        """Serve no more, listen no more, and leave the registry. Idempotent."""
        for _, endpoint in self._endpoints:
            endpoint.close()
        super().close()
        try:
            self.registry.unregister(self)
        except KeyError:  # closed before
            return

    # What prometheus_client asks a collector for

    def describe(self) -> list[Family]:
        """The names of its metrics, by which a registry finds out what it has already."""
        return [*(self._family(named) for named in self._named.values()), self._folded_family()]

    def collect(self) -> Iterator[Family]:
        """All metrics as they stand; those of which nothing was heard are left out."""
        self.flush(_FLUSH)
        families = self._tally.families()
        pools = {
            labels[at]
            for metric, values in families
            if "pool" in metric.tags and (at := metric.tags.index("pool")) >= 0
            for labels in values
        }
        for metric, values in families:
            named = self._named[metric.name]
            told: dict[Labels, float | Spread] = {**_zeros(named, pools), **values}
            if not told:
                continue
            family = self._family(named)
            for labels, value in sorted(told.items()):
                self._add(family, named, labels, scaled(value, named.factor))
            yield family
        folded = self._folded_family()
        for name, count in self._tally.folded.items():
            folded.add_metric([self._named[name].name, *self._constants()], count)
        if folded.samples:
            yield folded

    def _constants(self) -> list[str]:
        return [value for _, value in self._constant]

    def _label_names(self, *names: str) -> list[str]:
        return [*names, *(name for name, _ in self._constant)]

    def _folded_family(self) -> Any:  # noqa: ANN401 - prometheus_client's family, whose class is imported late
        text = "Events that were counted under the label value other, since there were too many label values."
        return _client().metrics_core.CounterMetricFamily(_FOLDED, text, labels=self._label_names("metric"))

    def _family(self, named: _Named) -> Any:  # noqa: ANN401 - as above
        core = _client().metrics_core
        made = {
            "counter": core.CounterMetricFamily,
            "sum": core.CounterMetricFamily,
            "last_value": core.GaugeMetricFamily,
            "level": core.GaugeMetricFamily,
            "summary": core.SummaryMetricFamily,
            "distribution": core.HistogramMetricFamily,
        }[named.metric.kind]
        text = named.metric.description or f"{named.metric.kind} of {dotted(named.metric.event)}"
        return made(named.name, text, labels=self._label_names(*named.labels))

    def _add(self, family: Any, named: _Named, labels: Labels, value: float | Spread) -> None:  # noqa: ANN401
        given = [*labels, *self._constants()]
        if not isinstance(value, Spread):
            family.add_metric(given, value)
        elif named.metric.kind == "summary":
            family.add_metric(given, value.count, value.sum)
        else:
            ends = [f"{end * named.factor:.12g}" for end in named.metric.buckets]
            below, buckets = 0, []
            for end, count in zip([*(str(float(end)) for end in ends), "+Inf"], value.buckets, strict=True):
                below += count
                buckets.append((end, below))
            family.add_metric(given, buckets, value.sum)


def _client() -> Any:  # noqa: ANN401 - a module that may be missing
    try:
        import prometheus_client  # noqa: PLC0415 - only needed here, and may be missing
        import prometheus_client.metrics_core  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ImportError(_MISSING, name="prometheus_client") from error
    return prometheus_client


def _names(metrics: Iterable[Metric], constant: Mapping[str, str]) -> dict[str, _Named]:
    """Each metric by its dotted name, as Prometheus knows it.

    Raises:
        ValueError: two of them would be one there, or a label is none.
    """
    found: dict[str, _Named] = {}
    taken: dict[str, str] = {_FOLDED: "what was folded"}
    for name in constant:
        _check_label(name, name, "labels")
    for metric in metrics:
        named = _named(metric, constant)
        before = found.get(metric.name)
        if before is not None:
            both = {
                tag: tuple(dict.fromkeys(before.closed[tag] + named.closed[tag]))
                for tag in before.closed.keys() & named.closed.keys()
            }
            found[metric.name] = before._replace(closed=both)
            continue
        full = f"{named.name}_total" if metric.kind in _GROWS else named.name
        for each in (full, *(f"{named.name}{ending}" for ending in _ENDINGS.get(metric.kind, ()))):
            if each in taken:
                message = (
                    f"{metric.name!r} and {taken[each]!r} would both be {each} in Prometheus; give one of "
                    "them another name with called="
                )
                raise ValueError(message)
            taken[each] = metric.name
        found[metric.name] = named
    return found


def _named(metric: Metric, constant: Mapping[str, str]) -> _Named:
    name = re.sub(r"[^a-zA-Z0-9_]+", "_", metric.name).strip("_").lower()
    name = re.sub(r"^(?=\d)", "_", name)
    name = re.sub(r"_(total|count)$", "", name) if metric.kind != "level" else name.removesuffix("_count")
    base, factor = "", 1.0
    if metric.unit:
        sort, factor = UNITS.get(metric.unit, ("", 1.0))
        base = _BASE.get(sort, re.sub(r"\W+", "_", metric.unit))
        spelt = {each for unit, (of, _) in UNITS.items() if of == sort for each in _SPELT.get(unit, (unit,))}
        stem, _, last = name.rpartition("_")
        name = f"{stem if stem and last in spelt else name}_{base}"
    if metric.kind != "summary":
        name = re.sub(r"_(sum|bucket)$", "", name)
    labels = tuple(re.sub(r"\W", "_", tag, flags=re.ASCII) for tag in metric.tags)
    for tag, label in zip(metric.tags, labels, strict=True):
        _check_label(label, tag, metric.name)
        if label == _TAKEN.get(metric.kind):
            message = f"{metric.name!r}: the tag {tag!r} means something else in Prometheus for this kind"
            raise ValueError(message)
        if label in constant or labels.count(label) > 1:
            message = f"{metric.name!r}: the label {label!r} would be there twice; leave out one of the two"
            raise ValueError(message)
    return _Named(metric, name, factor, base, labels, _closed(metric))


def _check_label(label: str, given: str, of: str) -> None:
    if not _LABEL.fullmatch(label) or label.startswith("__"):
        message = f"{of}: {given!r} cannot be a label in Prometheus: letters, digits and _, not __ first"
        raise ValueError(message)


def _closed(metric: Metric) -> dict[str, tuple[str, ...]]:
    """The tags whose values the catalogue knows, with these."""
    entry = events.CATALOGUE.get(metric.event)
    keys = {key.name: key for key in entry.metadata} if entry is not None else {}
    return {
        tag: tuple(str(value).lower() if isinstance(value, bool) else value for value in keys[tag].values)
        for tag in metric.tags
        if tag in keys and keys[tag].values and not keys[tag].nullable
    }


def _zeros(named: _Named, pools: Iterable[str]) -> dict[Labels, float | Spread]:
    """The series that can be foreseen, at 0: what appears at 1 has not grown for Prometheus.

    https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
    """
    kind = named.metric.kind
    if kind in {"last_value", "level"}:
        return {}
    known = [tuple(pools) if tag == "pool" else named.closed.get(tag, ()) for tag in named.metric.tags]
    sets: list[Labels] = [()]
    for values in known:
        sets = [(*each, value) for each in sets for value in values]
        if len(sets) > _MOST_ZEROS * max(1, len(tuple(pools))):
            return {}
    ends = (0,) * (len(named.metric.buckets) + 1) if kind == "distribution" else ()
    return dict.fromkeys(sets, 0.0 if kind in _GROWS else Spread(0, 0.0, 0.0, 0.0, ends))
