"""Events of the user's own from cells: in the kernel's handlers, in order, with where they come from."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.kernels import Notebook

LISTEN = """
from snakepit_nb import telemetry
heard = []
telemetry.detach("own")
telemetry.attach_prefix("own", "app", lambda event, measured, facts, config: heard.append(
    (telemetry.dotted(event), {**measured, **facts})))
"""
TELL = """%%snakepit {pool}
from snakepit_nb import telemetry
try:
    with telemetry.span("app.fit", {{"model": "ridge"}}) as fit:
        with telemetry.span("app.load"):
            telemetry.execute("app.step", {{"number": 1}})
        telemetry.execute("app.step", {{"number": 2}})
        raise ValueError("a secret")
except ValueError:
    pass
"""


def value(notebook: Notebook, code: str) -> Any:
    text = notebook.run(code).ok().value
    assert text is not None
    return ast.literal_eval(text)


@pytest.mark.parametrize("profile", ["process", "thread"])
def test_events_and_spans_of_a_cell_arrive_in_order_with_their_origin(shared: Notebook, profile: str) -> None:
    name = f"own_{profile}"
    shared.run(LISTEN + f"%snakepit start {name} -w 1 --profile {profile}").ok()
    assert "a secret" not in shared.run(TELL.format(pool=name)).ok().stdout
    heard = value(shared, "heard")
    assert [event for event, _ in heard] == [
        "app.fit.start", "app.load.start", "app.step", "app.load.stop", "app.step", "app.fit.exception",
    ]  # fmt: skip
    for _, facts in heard:
        assert facts["pool"] == name
        assert facts["worker_id"].startswith(f"{name}-")
        assert facts["request_id"] == heard[0][1]["request_id"] > 0
    stamps = [facts["monotonic_ns"] for _, facts in heard]
    assert stamps == sorted(stamps)
    fit, load, _, loaded, _, failed = (facts for _, facts in heard)
    assert fit["telemetry_span_context"] == failed["telemetry_span_context"] == load["parent_span_context"]
    assert load["telemetry_span_context"] == loaded["telemetry_span_context"]
    assert (failed["kind"], failed["reason"]) == ("error", "ValueError")
    assert "a secret" not in str(heard)
    shared.run(f"telemetry.detach('own')\n%snakepit stop {name}").ok()


def test_a_flood_within_a_cell_arrives_and_what_is_kept_of_it_is_bounded(shared: Notebook) -> None:
    shared.run(
        "from snakepit_nb import telemetry\n"
        "from snakepit_nb.exporters.buffered import Buffered\n"
        "numbers, passed = [], []\n"
        "telemetry.attach('flood', 'app.flood', lambda _, measured, *more: numbers.append(measured['n']))\n"
        "import threading; gate = threading.Event()\n"
        "slow = Buffered(lambda *heard: (gate.wait(), passed.append(1)), size=1000)\n"
        "telemetry.attach('slow', 'app.flood', slow)"
    ).ok()
    shared.run(
        "%%snakepit\nfrom snakepit_nb import telemetry\n"
        "for n in range(100_000):\n    telemetry.execute('app.flood', {'n': n})"
    ).ok()
    assert value(shared, "numbers == list(range(100_000))")
    kept = value(
        shared,
        "telemetry.attach('late', 'app.flood', lambda *_: None); kept = telemetry.replay('late')\n"
        "gate.set(); slow.flush(); kept, len(passed), slow.dropped",
    )
    assert kept[0] <= 4096
    assert kept[1] + kept[2] == 100_000
    assert kept[1] <= 2001
    shared.run("for each in ('flood', 'slow', 'late'): telemetry.detach(each)\nslow.close()").ok()


def test_a_metric_of_an_event_of_ones_own_is_shown_to_prometheus(shared: Notebook) -> None:
    pytest.importorskip("prometheus_client")
    shared.run(
        "from snakepit_nb.exporters.metrics import counter\n"
        "from snakepit_nb.exporters.prometheus import PrometheusExporter\n"
        "exporter = PrometheusExporter([counter('app.step.count', tags=['pool', 'model'])]).attach()"
    ).ok()
    shared.run(
        "%%snakepit\nfrom snakepit_nb import telemetry\n"
        "for n in range(3):\n    telemetry.execute('app.step', {}, {'model': 'ridge'})"
    ).ok()
    text = shared.run("print(exporter.text()); exporter.close()").ok().stdout
    assert 'app_step_total{model="ridge",pool="default"} 3.0' in text
