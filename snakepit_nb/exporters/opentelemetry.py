"""Spans and metrics by OpenTelemetry, handed to the providers that the user's program has set up.

*Rule:* nothing is set up, and nothing shut down here: where spans and metrics go is the user's to say.
*Rule:* the library is imported when an exporter is made, never before.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb.exporters.buffered import Attachment
from snakepit_nb.exporters.defaults import DEFAULT
from snakepit_nb.exporters.instruments import Instruments
from snakepit_nb.exporters.spans import Spans
from snakepit_nb.exporters.tally import MAX_SERIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from snakepit_nb.exporters.attributes import Facts
    from snakepit_nb.exporters.metrics import Metric
    from snakepit_nb.exporters.spans import Kind
    from snakepit_nb.telemetry import Record

_LOG: Final = logging.getLogger(__name__)
_SCOPE: Final = "snakepit_nb"
_PIECE: Final = 24  # events of eight calls: most of a millisecond


class OpenTelemetryExporter(Attachment):
    """Tells cells, requests and the user's spans as spans of OpenTelemetry, and measures, while attached.

    A cell is a span; within it each request that it makes, within that the run in the worker, and within that
    the spans of the user's that began there. See the page "OpenTelemetry" for their attributes.

    Args:
        tracer_provider: Makes the spans; by default the global one, as it is when the exporter is made.
        meter_provider: Makes the instruments; by default the global one.
        metrics: What is measured: by default those of `exporters.defaults.DEFAULT`, nothing with `()`.
        max_series: How many sets of tag values each metric may have; the rest is counted under `other`.

    Raises:
        ImportError: OpenTelemetry is not installed; the message says what to install.
        ValueError: two metrics contradict each other.

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        >>> from snakepit_nb import telemetry
        >>> memory, provider = InMemorySpanExporter(), TracerProvider()
        >>> provider.add_span_processor(SimpleSpanProcessor(memory))
        >>> with OpenTelemetryExporter(tracer_provider=provider), telemetry.span("app.load"):
        ...     pass
        >>> [span.name for span in memory.get_finished_spans()]
        ['app.load']
        >>> provider.shutdown()
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        metrics: Iterable[Metric] = DEFAULT,
        max_series: int = MAX_SERIES,
    ) -> None:
        super().__init__(name="opentelemetry")
        trace, measuring = _library("opentelemetry.trace"), _library("opentelemetry.metrics")
        meters = measuring.get_meter_provider() if meter_provider is None else meter_provider
        meter = meters.get_meter(_SCOPE, _version())
        self._instruments = Instruments(metrics, meter, measuring.Observation, max_series)
        provider = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
        self._spans: Spans[Span] = Spans(_Drawing(provider.get_tracer(_SCOPE, _version())))
        self._failed = False

    @property
    def lost(self) -> int:
        """How many spans were ended unfinished, because too many others were open."""
        return self._spans.lost

    def take(self, batch: list[Record]) -> None:
        """Measure, and draw what happened."""
        take = self._spans.take
        for start in range(0, len(batch), _PIECE):
            if start:
                self._batches.breathe()
            piece = batch[start : start + _PIECE]
            self._instruments.take(piece)
            for record in piece:
                try:
                    take(record)
                except Exception:  # noqa: BLE001 - one event more or less; the others are owed their spans
                    self._fails(record)
        self._instruments.tell()

    def _fails(self, record: Record) -> None:
        if not self._failed:
            _LOG.exception("an event could not be told to OpenTelemetry: %s", record[0])
        self._failed = True

    def close(self) -> None:
        """Listen no more, end what is open as unfinished, and let go; the providers stay as they are."""
        super().close()
        self._spans.close()
        self._instruments.close()


class _Drawing:
    """Draws spans by a tracer of OpenTelemetry."""

    def __init__(self, tracer: Tracer) -> None:
        trace = _library("opentelemetry.trace")
        self._start = tracer.start_span
        self._within = trace.set_span_in_context
        self._nowhere = _library("opentelemetry.context").Context()
        self._kinds = {
            "here": trace.SpanKind.INTERNAL,
            "asked": trace.SpanKind.CLIENT,
            "answered": trace.SpanKind.SERVER,
        }
        self._error = trace.StatusCode.ERROR

    def begin(self, name: str, at: int, parent: Span | None, kind: Kind, facts: Facts) -> Span:
        context = self._nowhere if parent is None else self._within(parent, self._nowhere)
        return self._start(name, context, self._kinds[kind], facts, start_time=at)

    def note(self, span: Span, name: str, at: int, facts: Facts) -> None:
        span.add_event(name, facts, at)

    def end(self, span: Span, at: int, facts: Facts, error: str | None) -> None:
        if error is not None:
            facts = {**facts, "error.type": error}
            span.set_status(self._error, error)
        if facts:
            span.set_attributes(facts)
        span.end(at)


def _library(name: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module(name)
    except ImportError as error:
        message = f"{name} is not installed; pip install 'snakepit_nb[otel]'"
        raise ImportError(message, name=name) from error


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - dear, and only needed here

    return version("snakepit_nb")
