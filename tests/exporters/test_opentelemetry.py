"""What OpenTelemetry gets to see of cells, requests, workers and the user's own spans."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from snakepit_nb import Pool, WorkerCrashed, events, telemetry, testing
from snakepit_nb.exporters import metrics
from snakepit_nb.exporters.opentelemetry import OpenTelemetryExporter
from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator


class Memory:
    """A provider that keeps its spans."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.kept.get_finished_spans()}

    def path(self, name: str) -> list[str]:
        """The names from the root to a span."""
        by_id = {span.context.span_id: span for span in self.kept.get_finished_spans()}
        span: ReadableSpan | None = self.spans[name]
        found: list[str] = []
        while span is not None:
            found.insert(0, span.name)
            span = by_id.get(span.parent.span_id) if span.parent else None
        return found


@pytest.fixture
def memory() -> Iterator[Memory]:
    memory = Memory()
    yield memory
    memory.provider.shutdown()


def trained(rows: int) -> int:
    with telemetry.span("app.train", {"model": "m"}) as work:
        telemetry.execute("app.note", {"rows": rows})
        work.measurements["loss"] = 0.5
    return rows


def failing() -> None:
    with telemetry.span("app.train"):
        message = "the password is hunter2"
        raise ValueError(message)


def test_a_request_is_traced_from_who_asked_to_what_ran_in_the_worker(memory: Memory) -> None:
    with OpenTelemetryExporter(tracer_provider=memory.provider), Pool(1) as pool:
        with telemetry.span("app.experiment"):
            pool.submit(trained, 3).result()
        (pid,) = {pool.submit(os.getpid).result()}
    assert memory.path("app.train") == ["app.experiment", "request trained", "run trained", "app.train"]
    assert len({span.context.trace_id for name, span in memory.spans.items() if "getpid" not in name}) == 1
    request, run, user = (memory.spans[name] for name in ("request trained", "run trained", "app.train"))
    assert [request.kind, run.kind, user.kind] == [SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL]
    assert request.attributes is not None
    assert request.attributes["snakepit.pool"] == "default"
    assert request.attributes["snakepit.outcome"] == "ok"
    assert request.attributes["snakepit.queue.duration"] > 0  # type: ignore[operator]
    assert run.attributes is not None
    assert (run.attributes["process.pid"], run.attributes["snakepit.worker.id"]) == (pid, "default-0")
    assert user.attributes is not None
    assert (user.attributes["model"], user.attributes["loss"]) == ("m", 0.5)
    assert [(event.name, event.attributes["rows"]) for event in run.events if event.attributes] == [
        ("app.note", 3)
    ]
    times = [(span.start_time, span.end_time) for span in (request, run, user)]
    assert times == sorted(times, key=lambda both: (both[0], -(both[1] or 0)))
    assert times == sorted(times, key=lambda both: -(both[1] or 0))


def test_a_failure_is_an_error_by_its_type_and_its_message_is_nowhere(memory: Memory) -> None:
    exporter = OpenTelemetryExporter(tracer_provider=memory.provider)
    with exporter, Pool(1) as pool, pytest.raises(ValueError, match="hunter2"):
        pool.submit(failing).result()
    for name in ("request failing", "run failing", "app.train"):
        status = memory.spans[name].status
        assert (status.status_code, status.description) == (StatusCode.ERROR, "ValueError")
    (told,) = [each for each in memory.spans["app.train"].events if each.name == "exception"]
    assert told.attributes is not None
    assert told.attributes["exception.type"] == "ValueError"
    assert "in failing" in str(told.attributes["exception.stacktrace"])
    assert "hunter2" not in "".join(span.to_json() for span in memory.spans.values())


def test_a_crash_is_told_within_the_run_that_it_ended(memory: Memory) -> None:
    exporter = OpenTelemetryExporter(tracer_provider=memory.provider)
    with exporter, Pool(1) as pool, pytest.raises(WorkerCrashed):
        pool.submit(os.abort).result()
    run = memory.spans["run abort"]
    assert run.status.description == "crashed"
    (told,) = run.events
    assert told.name == "snakepit.worker.crash"
    assert told.attributes is not None
    assert told.attributes["snakepit.classification"] == "abort"


def test_a_request_that_waited_in_vain_ends_without_a_run(memory: Memory) -> None:
    with OpenTelemetryExporter(tracer_provider=memory.provider), Pool(1) as pool:
        pool.submit(time.sleep, 60)
        assert pool.submit(abs, 1).cancel()
        pool.kill()
    assert memory.spans["request abs"].status.status_code is StatusCode.UNSET
    assert "run abs" not in memory.spans


def test_closing_ends_what_is_open_and_leaves_the_provider_as_it_is(memory: Memory) -> None:
    exporter = OpenTelemetryExporter(tracer_provider=memory.provider).attach()
    with telemetry.span("app.open"):
        exporter.close()
    exporter.close()
    attributes = memory.spans["app.open"].attributes
    assert attributes is not None
    assert attributes["snakepit.unfinished"] is True
    memory.provider.get_tracer("mine").start_span("later").end()
    assert "later" in memory.spans


def test_a_flush_waits_until_what_ended_is_told(memory: Memory) -> None:
    with OpenTelemetryExporter(tracer_provider=memory.provider) as exporter:
        with telemetry.span("app.load"):
            pass
        assert exporter.flush()
        assert list(memory.spans) == ["app.load"]


def test_a_replay_tells_what_happened_before(memory: Memory) -> None:
    with telemetry.span("app.before"):
        pass
    OpenTelemetryExporter(tracer_provider=memory.provider).attach(replay=True).close()
    assert "app.before" in memory.spans


def test_events_fired_by_hand_leave_no_span(memory: Memory) -> None:
    with OpenTelemetryExporter(tracer_provider=memory.provider):
        testing.synthetic(
            events.REQUEST_EXECUTED,
            {"duration_us": 3, "queue_us": 1},
            {
                "request_id": 1,
                "pool": "p",
                "worker_id": "p-0",
                "command": "f",
                "success": True,
                "outcome": "ok",
            },
        )
    assert memory.spans == {}


def test_an_event_that_is_not_as_it_should_be_harms_no_other(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenTelemetryExporter(tracer_provider=memory.provider):
        for _ in range(2):
            telemetry.execute(events.REQUEST_EXECUTED, {}, {"request_id": []})
        with telemetry.span("app.load", {"big": 1 << 80, "half": "\ud800", "list": [1, "a"], "none": None}):
            pass
    assert [record.getMessage() for record in caplog.records if "snakepit" in record.name] == [
        "an event could not be told to OpenTelemetry: ('snakepit', 'request', 'executed')"
    ]
    assert dict(memory.spans["app.load"].attributes or {}) == {
        "big": str(1 << 80), "half": "?", "list": '[1, "a"]',
    }  # fmt: skip


def test_without_the_library_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
from snakepit_nb.exporters.opentelemetry import OpenTelemetryExporter
try:
    OpenTelemetryExporter()
except ImportError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "opentelemetry.trace is not installed; pip install 'snakepit_nb[otel]'\n"


class Receiver(ThreadingHTTPServer):
    """A collector that understands OTLP over HTTP, by the official messages."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.scopes: set[str] = set()


class _Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.server.scopes.add(scope.scope.name)
                    self.server.spans += scope.spans
        else:
            assert self.path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    self.server.scopes.add(scope.scope.name)
                    self.server.metrics |= {metric.name: metric for metric in scope.metrics}
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def test_a_receiver_of_otlp_gets_the_spans_and_metrics_of_a_pool() -> None:
    with receiving() as receiver:
        tracing = TracerProvider()
        at = f"http://127.0.0.1:{receiver.server_port}/v1"
        tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{at}/traces")))
        metering = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{at}/metrics"))])
        with OpenTelemetryExporter(tracer_provider=tracing, meter_provider=metering), Pool(1) as pool:
            pool.submit(trained, 3).result()
        metering.shutdown()
        tracing.shutdown()
    spans = {span.name: span for span in receiver.spans}
    assert receiver.scopes == {"snakepit_nb"}
    assert set(spans) == {"request trained", "run trained", "app.train"}
    assert spans["app.train"].parent_span_id == spans["run trained"].span_id
    assert spans["run trained"].parent_span_id == spans["request trained"].span_id
    assert len({span.trace_id for span in receiver.spans}) == 1
    (done,) = receiver.metrics["snakepit.request.executed"].sum.data_points
    assert done.as_int == 1
    assert {each.key: each.value.string_value for each in done.attributes} == {
        "snakepit.pool": "default",
        "snakepit.outcome": "ok",
    }
    duration = receiver.metrics["snakepit.request.duration"]
    assert duration.unit == "s"
    assert [point.count for point in duration.histogram.data_points] == [1]


class Measured:
    """A provider that keeps what was measured."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def points(self, name: str) -> dict[tuple[object, ...], Any]:
        """The points of a metric by the values of their attributes."""
        told = self.reader.get_metrics_data()
        found = [
            metric
            for resource in (told.resource_metrics if told is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return {
            tuple((point.attributes or {}).values()): point
            for metric in found
            for point in metric.data.data_points
        }

    def values(self, name: str) -> dict[tuple[object, ...], float]:
        return {labels: point.value for labels, point in self.points(name).items()}


@pytest.fixture
def measured() -> Iterator[Measured]:
    measured = Measured()
    yield measured
    measured.provider.shutdown()


KINDS = [
    metrics.counter("app.job.count", tags=["kind"], called="jobs"),
    metrics.sum("app.job.size", unit=("kB", "bytes"), called="size"),
    metrics.last_value("app.job.left", tags=["kind"], called="left"),
    metrics.summary("app.job.took", called="took"),
    metrics.distribution("app.job.took", buckets=[1, 10], unit=("ms", "ms"), called="spread"),
    metrics.level("app.up.count", down="app.down", by="who", called="there"),
]


def test_each_kind_of_metric_becomes_an_instrument(memory: Memory, measured: Measured) -> None:
    exporter = OpenTelemetryExporter(
        tracer_provider=memory.provider, meter_provider=measured.provider, metrics=KINDS
    )
    with exporter:
        for number in (1, 2, 20):
            facts = {"kind": "odd" if number % 2 else "even"}
            telemetry.execute("app.job", {"size": number, "left": -number, "took": number}, facts)
            telemetry.execute("app.up", {}, {"who": number})
        telemetry.execute("app.down", {}, {"who": 1})
        testing.synthetic("app.job", {"size": 1000}, {"kind": "odd"})
        exporter.flush()
        assert measured.values("jobs") == {("odd",): 1, ("even",): 2}
        assert measured.values("size") == {(): 23_000}
        assert measured.values("left") == {("odd",): -1, ("even",): -20}
        assert measured.values("there") == {(): 2}
        (point,) = measured.points("spread").values()
        assert (point.explicit_bounds, point.bucket_counts) == ((1, 10), (1, 1, 1))
        (point,) = measured.points("took").values()
        assert (point.count, point.sum, point.min, point.max) == (3, 23, 1, 20)
    assert measured.values("there") == {(): 0}
    assert measured.values("left") == {}


def test_one_exporter_after_the_other_goes_on_counting(measured: Measured) -> None:
    for left in (5, 7):
        with OpenTelemetryExporter(meter_provider=measured.provider, metrics=KINDS) as exporter:
            telemetry.execute("app.job", {"left": left}, {"kind": "odd"})
            exporter.flush()
            assert measured.values("left") == {("odd",): left}
    assert measured.values("jobs") == {("odd",): 2}


def test_tags_of_too_many_values_are_bounded(measured: Measured, caplog: pytest.LogCaptureFixture) -> None:
    took = metrics.summary("app.job.took", tags=["kind"], called="took")
    exporter = OpenTelemetryExporter(meter_provider=measured.provider, metrics=[took], max_series=2)
    with exporter:
        for number in range(10):
            telemetry.execute("app.job", {"took": number}, {"kind": str(number)})
    points = measured.points("took")
    assert {labels: point.count for labels, point in points.items()} == {("0",): 1, ("1",): 1, ("other",): 8}
    assert "has 2 sets of label values" in caplog.text


def test_a_real_pool_is_measured_by_the_metrics_of_the_house(measured: Measured) -> None:
    with OpenTelemetryExporter(meter_provider=measured.provider) as exporter, Pool(1) as pool:
        for future in [pool.submit(abs, number) for number in range(10)]:
            future.result()
        exporter.flush()
        assert measured.values("snakepit.workers") == {("default",): 1}
    assert measured.values("snakepit.request.executed") == {("default", "ok"): 10}
    assert measured.points("snakepit.request.queue")["default",].count == 10
    assert measured.values("snakepit.workers") == {("default",): 0}


SET_UP = """
%load_ext snakepit_nb
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
from snakepit_nb.exporters.opentelemetry import OpenTelemetryExporter
exporter = OpenTelemetryExporter().attach()
"""
CELL = """%%snakepit -n fit
from snakepit_nb import telemetry
with telemetry.span("app.train"):
    with telemetry.span("app.epoch"):
        pass
"""
SEEN = """
exporter.flush()
spans = memory.get_finished_spans()
names = {span.context.span_id: span.name for span in spans}
for span in sorted(spans, key=lambda span: span.name):
    print(span.name, "<", names[span.parent.span_id] if span.parent else "nothing")
print(len({span.context.trace_id for span in spans}), "trace")
exporter.close()
"""


@pytest.mark.usefixtures("clients_event_loop")
def test_in_a_notebook_a_cell_is_one_trace_to_the_innermost_span_of_its_body() -> None:
    with Notebook() as notebook:
        assert notebook.run(SET_UP).status == "ok"
        assert notebook.run(CELL).status == "ok"
        seen = notebook.run(SEEN)
    assert seen.stdout.splitlines() == [
        "app.epoch < app.train",
        "app.train < run fit",
        "cell fit < nothing",
        "request fit < cell fit",
        "run fit < request fit",
        "1 trace",
    ], seen
