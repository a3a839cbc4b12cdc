"""A real Prometheus server scrapes a real pool, and answers what the dashboard and the notebook ask."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from snakepit_nb import Pool, events, options, testing
from snakepit_nb.errors.types import PoolSaturated, WorkerCrashed
from snakepit_nb.exporters.aggregates import Aggregates
from snakepit_nb.exporters.prometheus import PrometheusExporter
from snakepit_nb.exporters.tally import Spread
from tests.notebooks import ROOT
from tests.prometheus import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

BOARD: Final = json.loads((ROOT / "docs" / "grafana.json").read_text(encoding="utf-8"))
PANELS: Final = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES: Final = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def work(pool: Pool) -> None:
    """What makes the events of the dashboard happen; what runs is imported quickly."""
    assert isinstance(pool.submit(os.abort).exception(), WorkerCrashed)
    pool.submit(np.sum, np.ones(1 << 20)).result()
    pool.submit(np.sum, np.ones(1000)).result()
    wait([pool.submit(abs, -1) for _ in range(20)])
    assert isinstance(pool.submit(np.dot, np.ones((2, 3)), np.ones((2, 3))).exception(), ValueError)


class World:
    """A pool that has worked, what it told, and a server that has scraped it."""

    def __init__(self, server: Server, counted: Aggregates, exporter: PrometheusExporter) -> None:
        self.server, self.counted, self.exporter = server, counted, exporter


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    exporter = PrometheusExporter(labels={"notebook": "fit"})
    with (
        exporter.serve() as endpoint,
        Aggregates() as counted,
        Server(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{endpoint.port}") as server,
        testing.capture_events("snakepit") as seen,
        options.override(taint=0.1),
        Pool(2, name="real") as pool,
    ):
        pool.start()
        # Before anything goes wrong the server has seen that nothing did: from there on it rises.
        server.until('snakepit_worker_crash_total{pool="real", classification="abort"} == 0')
        work(pool)
        seen.wait_for(events.WORKER_RESTARTED)
        pool.recycle()
        seen.wait_for(events.WORKER_RECYCLED, 3)
        ended = counted.value("snakepit.request.executed", pool="real")
        server.until(f'sum(snakepit_request_executed_total{{pool="real"}}) == {ended}')
        yield World(server, counted, exporter)
    exporter.close()


def asked(expression: str) -> str:
    """A query of the dashboard as Grafana would send it."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "5m"), ("$pool", ".*"), ("$instance", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize(
    ("title", "expression"), QUERIES, ids=[f"{at}-{title}" for at, (title, _) in enumerate(QUERIES)]
)
def test_every_query_of_the_dashboard_gives_data(world: World, title: str, expression: str) -> None:
    def numbers(found: list[dict[str, Any]]) -> bool:
        return bool(found) and all(each["value"][1] != "NaN" for each in found)

    assert world.server.until(asked(expression), numbers), title


def test_the_server_has_what_was_counted_in_memory(world: World) -> None:
    compared = 0
    for name, kind, labels, value, unit in world.counted.values("real"):
        if kind == "last_value" or isinstance(value, Spread):
            continue
        told = name.replace(".", "_")
        if unit and not told.endswith(unit):
            told += f"_{unit}"
        if kind != "level":
            told += "_total"
        wanted = ", ".join(f'{key}="{label}"' for key, label in labels.items())
        world.server.until(f"{told}{{{wanted}}} == {value}")
        compared += 1
    assert compared > 8


def test_the_first_crash_is_a_rise_and_not_only_a_new_series(world: World) -> None:
    (found,) = world.server.until('increase(snakepit_worker_crash_total{classification="abort"}[5m])')
    assert float(found["value"][1]) > 0.5
    assert found["metric"]["notebook"] == "fit"


def test_the_seeds_two_metrics_answer(world: World) -> None:
    reasons = world.server.ask('sum by (reason) (snakepit_worker_recycled_total{pool="real"}) > 0')
    assert {"worker_died", "manual"} <= {each["metric"]["reason"] for each in reasons}
    (lived,) = world.server.ask(
        "histogram_quantile(0.5, sum by (le) (snakepit_worker_uptime_seconds_bucket))"
    )
    assert float(lived["value"][1]) > 0


def test_arrays_that_were_shared_and_copied_are_told_apart(world: World) -> None:
    found = world.server.ask("sum by (copied) (snakepit_zero_copy_bytes_total) > 0")
    assert {each["metric"]["copied"] for each in found} == {"false", "true"}


def test_what_waits_is_nothing_when_all_is_done(world: World) -> None:
    assert world.server.ask('snakepit_pool_queue_size{pool="real"} == 0')


def test_the_dashboard_shows_each_metric_that_it_asks_for_and_its_variables_have_values(world: World) -> None:
    for variable in BOARD["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", ""))
        if variable["type"] == "datasource":
            continue
        assert found is not None
        assert world.server.ask(f"count by ({found[2]}) ({asked(found[1])})")
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert all(panel["description"] for panel in PANELS)


def test_a_full_queue_and_a_worker_that_ended_show(world: World) -> None:
    with (
        Pool(1, name="small", max_queue=1, when_full="reject") as pool,
        testing.capture_events("snakepit") as seen,
    ):
        pool.start()
        world.server.until('snakepit_workers{pool="small"} == 1')
        slow: list[Future[object]] = [pool.submit(os.abort)]
        with pytest.raises(PoolSaturated):
            slow.extend(pool.submit(abs, 1) for _ in range(10_000))
        wait(slow)
        seen.wait_for(events.POOL_SATURATED)
    world.server.until('snakepit_pool_saturated_total{pool="small", outcome="rejected"} >= 1')
    world.server.until('snakepit_workers{pool="small"} == 0')
