"""What a Prometheus server would be told, and how it is served."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from snakepit_nb import telemetry
from snakepit_nb.exporters import metrics
from snakepit_nb.exporters.defaults import DEFAULT
from snakepit_nb.exporters.metrics import counter, distribution, last_value, level, summary
from snakepit_nb.exporters.prometheus import PrometheusExporter
from tests.notebooks import ROOT
from tests.prometheus import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.exporters.scraped import Endpoint

DONE = "app.job.done"


def samples(text: str) -> dict[str, float]:
    """The series of an exposition as one writes them."""
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sample.labels.items())}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(endpoint: Endpoint, path: str = "/metrics", host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(
        endpoint.url.split("//")[1].rsplit(":", 1)[0].strip("[]"), endpoint.port
    )
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def exporter() -> Iterator[PrometheusExporter]:
    with PrometheusExporter([counter(f"{DONE}.count", tags=["kind"])]) as exporter:
        yield exporter


def test_every_kind_has_its_form_its_base_unit_and_its_name() -> None:
    made = [
        counter(f"{DONE}.count", tags=["kind"]),
        metrics.sum(f"{DONE}.size_mb", unit="MB"),
        last_value(f"{DONE}.share", unit="%"),
        summary(f"{DONE}.wait_us", unit="us"),
        distribution(f"{DONE}.took_ms", unit="ms", buckets=[10, 2000]),
        level("app.up.count", down="app.down", by="who", called="app.there"),
    ]
    with PrometheusExporter(made) as exporter:
        numbers = {"size_mb": 2.0, "share": 50.0, "wait_us": 1500, "took_ms": 70}
        telemetry.execute(DONE, numbers, {"kind": "a"})
        telemetry.execute("app.up", {}, {"who": 1})
        assert samples(exporter.text()) == {
            "app_job_done_total{kind=a}": 1,
            "app_job_done_size_bytes_total{}": 2e6,
            "app_job_done_share_ratio{}": 0.5,
            "app_job_done_wait_seconds_count{}": 1,
            "app_job_done_wait_seconds_sum{}": 0.0015,
            "app_job_done_took_seconds_bucket{le=0.01}": 0,
            "app_job_done_took_seconds_bucket{le=2.0}": 1,
            "app_job_done_took_seconds_bucket{le=+Inf}": 1,
            "app_job_done_took_seconds_count{}": 1,
            "app_job_done_took_seconds_sum{}": 0.07,
            "app_there{}": 1,
        }


def test_what_happened_before_the_scrape_is_in_it(exporter: PrometheusExporter) -> None:
    for number in range(1, 4):
        telemetry.execute(DONE, {}, {"kind": "a"})
        assert samples(exporter.text()) == {"app_job_done_total{kind=a}": number}


def test_texts_from_data_do_not_break_the_exposition(exporter: PrometheusExporter) -> None:
    nasty = 'a"b\\c\nd{}#\u2028\N{SNAKE}'
    telemetry.execute(DONE, {}, {"kind": nasty})
    (family,) = text_string_to_metric_families(exporter.text())
    assert [sample.labels for sample in family.samples] == [{"kind": nasty}]


def test_what_can_be_foreseen_is_there_at_zero_so_that_the_first_event_is_a_rise() -> None:
    with PrometheusExporter() as exporter:
        started = {"pool": "p", "worker_id": "p-0", "profile": "process"}
        telemetry.execute("snakepit.worker.started", {"startup_time_ms": 3}, started)
        found = samples(exporter.text())
    assert found["snakepit_worker_crash_total{classification=segfault,pool=p}"] == 0
    assert found["snakepit_request_executed_total{outcome=ok,pool=p}"] == 0
    assert found["snakepit_zero_copy_bytes_total{copied=true,direction=to_kernel,kind=arrow}"] == 0
    assert found["snakepit_workers{pool=p}"] == 1


def test_labels_of_its_own_tell_notebooks_apart() -> None:
    with PrometheusExporter(
        [counter(f"{DONE}.count", tags=["kind"])], labels={"notebook": "fit"}
    ) as exporter:
        telemetry.execute(DONE, {}, {"kind": "a"})
        assert samples(exporter.text()) == {"app_job_done_total{kind=a,notebook=fit}": 1}


def test_too_many_label_values_are_seen_in_the_metrics_themselves(caplog: pytest.LogCaptureFixture) -> None:
    with PrometheusExporter([counter(f"{DONE}.count", tags=["user"])], max_series=10) as exporter:
        for number in range(10_000):
            telemetry.execute(DONE, {}, {"user": f"u{number}"})
        found = samples(exporter.text())
    assert len(found) == 12
    assert found["app_job_done_total{user=other}"] == 9_990
    assert found["snakepit_metrics_folded_total{metric=app_job_done}"] == 9_990
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ([counter(f"{DONE}.count", tags=["__name"])], "'__name' cannot be a label"),
        ([counter(f"{DONE}.count", tags=["a-b", "a.b"])], "the label 'a_b' would be there twice"),
        ([distribution(f"{DONE}.n", tags=["le"])], "the tag 'le' means something else"),
        ([counter("a.b.count"), counter("a_b.count")], "would both be a_b_total in Prometheus"),
        (
            [distribution("a.b.n", called="a"), last_value("a.n.n", called="a.bucket")],
            "would both be a in Prometheus",
        ),
        (
            [counter("a.b.count", called="x"), metrics.sum("a.b.n", called="x")],
            "two metrics called 'x' contradict each other",
        ),
    ],
)
def test_names_that_cannot_be_are_refused_when_they_are_declared(declared: list[Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PrometheusExporter(declared)


def test_two_exporters_on_one_registry_are_refused_until_one_is_closed() -> None:
    registry = CollectorRegistry()
    first = PrometheusExporter(registry=registry)
    with pytest.raises(ValueError, match=r"has metrics of these names already.*leave out registry="):
        PrometheusExporter(registry=registry)
    first.close()
    first.close()
    second = PrometheusExporter(registry=registry)
    second.close()


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install 'snakepit_nb\[prometheus\]'"):
        PrometheusExporter()


# Served


def test_it_is_served_on_loopback_until_it_is_closed(exporter: PrometheusExporter) -> None:
    telemetry.execute(DONE, {}, {"kind": "a"})
    with exporter.serve() as endpoint:
        assert re.fullmatch(rf"http://127\.0\.0\.1:{endpoint.port}/metrics", endpoint.url)
        status, text = get(endpoint)
        assert (status, samples(text)) == (200, {"app_job_done_total{kind=a}": 1})
        assert get(endpoint, "/elsewhere") == (404, "the metrics are at /metrics\n")
    assert repr(endpoint) == f"<Endpoint {endpoint.url}, closed>"
    with pytest.raises(ConnectionRefusedError):
        get(endpoint)


def test_it_tells_nothing_to_a_page_that_has_its_own_name_lead_here(exporter: PrometheusExporter) -> None:
    with exporter.serve() as endpoint:
        assert get(endpoint, host=f"evil.example:{endpoint.port}")[0] == 403
        assert get(endpoint, host=f"localhost:{endpoint.port}")[0] == 200
        assert get(endpoint, host=f"[::1]:{endpoint.port}")[0] == 200


def test_on_another_address_than_loopback_it_answers_all(exporter: PrometheusExporter) -> None:
    with exporter.serve(addr="0.0.0.0") as endpoint:  # noqa: S104 - what is tested
        assert get(endpoint, host="any.example")[0] == 200


def test_serving_attaches_where_that_was_not_done() -> None:
    exporter = PrometheusExporter([counter(f"{DONE}.count")])
    with exporter.serve() as endpoint:
        telemetry.execute(DONE)
        assert samples(get(endpoint)[1]) == {"app_job_done_total{}": 1}
    exporter.close()


def test_a_port_that_is_taken_is_named_with_what_to_do(exporter: PrometheusExporter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=f"port {port} of 127.0.0.1 is taken; choose another one, or port=0"
        ):
            exporter.serve(port)


@pytest.mark.parametrize("port", [-1, 65536, "80", 1.5, True])
def test_a_port_that_is_none_is_refused(exporter: PrometheusExporter, port: Any) -> None:
    with pytest.raises(ValueError, match="port: expected a number from 0 to 65535"):
        exporter.serve(port)


def test_an_address_that_is_not_this_machines_is_refused(exporter: PrometheusExporter) -> None:
    with pytest.raises(OSError, match=r"cannot listen on '192\.0\.2\.1'"):
        exporter.serve(addr="192.0.2.1")


def test_it_closes_with_its_pool_and_with_its_exporter(exporter: PrometheusExporter) -> None:
    mine, other = exporter.serve(pool="mine"), exporter.serve(pool="other")
    telemetry.execute("snakepit.pool.stopped", {}, {"pool": "mine", "reason": "shutdown"})
    exporter.flush()
    assert (mine.closed, other.closed) == (True, False)
    exporter.close()
    assert other.closed


def test_scrapes_side_by_side_while_events_come_are_whole(exporter: PrometheusExporter) -> None:
    found: list[float] = []
    with exporter.serve() as endpoint:
        telemetry.execute(DONE, {}, {"kind": "a"})

        def scrape() -> None:
            found.extend(samples(get(endpoint)[1])["app_job_done_total{kind=a}"] for _ in range(5))

        threads = [threading.Thread(target=scrape) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(2_000):
            telemetry.execute(DONE, {}, {"kind": "a"})
        for thread in threads:
            thread.join()
        assert len(found) == 20
        assert samples(get(endpoint)[1])["app_job_done_total{kind=a}"] == 2_001


def test_promtool_has_nothing_against_names_and_texts() -> None:
    promtool = program("promtool")
    with PrometheusExporter() as exporter:
        facts = {
            "pool": "p", "worker_id": "p-0", "profile": "process", "reason": "manual", "outcome": "ok",
            "kind": "dlpack", "direction": "to_worker", "copied": False, "uptime_seconds": 3.0,
            "classification": "segfault", "request_id": 1, "error": "ShapeMismatch", "queue": "log",
            "dropped": 3,
        }  # fmt: skip
        numbers = {
            "startup_time_ms": 5, "memory_mb": 6.0, "cpu_percent": 50.0, "duration_us": 7, "queue_us": 8,
            "bytes": 9, "duration_ms": 10, "dropped": 3,
        }  # fmt: skip
        for name in {metric.event for metric in DEFAULT}:
            if name != ("snakepit", "worker", "recycled"):
                telemetry.execute(name, numbers, facts)
        assert len({name.partition("{")[0] for name in samples(exporter.text())}) > 30
        text = exporter.text()
        telemetry.execute("snakepit.worker.recycled", {}, facts)
        for each in (text, exporter.text()):
            done = subprocess.run(
                [promtool, "check", "metrics"], input=each, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_tool_that_checks_is_the_one_that_would_object() -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input="# HELP a_ms b\n# TYPE a_ms counter\na_ms 1\n",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "_total" in done.stderr


def test_the_page_lists_the_default_set() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(snakepit_\w+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    exporter = PrometheusExporter()
    told = []
    for family in exporter.describe()[: len({metric.name for metric in DEFAULT})]:
        wanted = next(metric for metric in DEFAULT if metric.description == family.documentation)
        ending = {"counter": "_total"}.get(family.type, "")
        kind = " (histogram)" if family.type == "histogram" else ""
        labels = ", ".join(f"`{tag}`" for tag in wanted.tags)
        told.append((f"{family.name}{ending}", labels, f"{family.documentation.rstrip('.')}{kind}"))
    exporter.close()
    assert listed == told
