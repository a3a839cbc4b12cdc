"""The notebook about events: each of its nine examples does what it says."""

from __future__ import annotations

import re

import pytest

from tests.notebooks import Executed, executed, printed, value


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return executed("05_telemetry", tmp_path_factory.mktemp("out"))


def test_one_handler_hears_of_two_events(notebook: Executed) -> None:
    told = value(notebook.cells["monitor"])
    assert re.findall(r"'(\w[\w.-]*)'", told) == [
        "snakepit.worker.recycled", "work-0", "manual", "snakepit.worker.recycled", "work-1", "manual",
    ]  # fmt: skip


def test_prometheus_is_shown_a_counter_and_a_histogram(notebook: Executed) -> None:
    text = printed(notebook.cells["exposed"])
    assert 'snakepit_worker_recycled_total{pool="work",reason="manual"} 2.0' in text
    assert 'snakepit_worker_recycled_uptime_seconds_bucket{le="+Inf",pool="work"} 2.0' in text


def test_the_table_has_workers_recycles_uptime_and_queue(notebook: Executed) -> None:
    rows = dict(re.findall(r"^([\w.]+) +pool=work +(\d+)", value(notebook.cells["table"]), re.MULTILINE))
    assert rows.pop("pool.saturated.queue_size") != "0"
    assert rows == {"workers": "2", "worker.recycled.count": "2", "worker.recycled.uptime_seconds": "2"}


def test_the_alert_fires_once(notebook: Executed) -> None:
    assert printed(notebook.cells["churn"]) == (
        "alert high worker churn: snakepit.worker.recycled: 11 in 60 s, more than 10\nfired again: False\n"
    )


def test_a_late_handler_is_told_of_the_start(notebook: Executed) -> None:
    count, first = re.fullmatch(r"\((\d+), (\[.*\])\)", value(notebook.cells["late"])).groups()  # type: ignore[union-attr]
    assert int(count) == 2 + 2 + 14
    assert first == "['work-0', 'work-1']"


def test_events_of_a_cell_come_with_their_facts(notebook: Executed) -> None:
    assert printed(notebook.cells["losses"]) == (
        "{0: 1.0, 1: 0.5, 2: 0.3333333333333333}\nridge 3 work True\n"
    )


def test_a_slow_handler_holds_nobody_up_and_its_losses_are_told(notebook: Executed) -> None:
    assert printed(notebook.cells["buffered"]) == (
        "emitted 1000, posted 0\nposted 101 dropped 899\n"
        "snakepit.telemetry.dropped count=1 dropped=899 queue='server'\n"
    )


def test_all_events_can_be_seen(notebook: Executed) -> None:
    told = value(notebook.cells["everything"])
    assert "'snakepit.request.queued': 1" in told
    assert "'snakepit.request.dispatched': 1" in told


def test_one_fired_by_hand_is_captured_and_not_counted(notebook: Executed) -> None:
    captured, counted = printed(notebook.cells["synthetic"]).splitlines()
    assert "pool='test_pool'" in captured
    assert captured.endswith("synthetic=True")
    assert counted == "False"


def test_a_worker_sends_a_tenth_where_that_is_asked_for(notebook: Executed) -> None:
    assert value(notebook.cells["few"]) == str(list(range(0, 100, 10)))
