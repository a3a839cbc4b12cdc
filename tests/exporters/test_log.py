"""Events as log lines."""

from __future__ import annotations

import logging

import pytest

from snakepit_nb import events, telemetry, testing
from snakepit_nb.exporters import log

CRASH: dict[str, object] = {
    "worker_id": "w1",
    "pool": "default",
    "reason": "killed by SIGSEGV",
    "exit_code": None,
    "device": None,
    "signal": "SIGSEGV",
    "classification": "segfault",
}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="snakepit_nb.events")
    return caplog


def test_an_event_becomes_one_line_with_its_facts(lines: pytest.LogCaptureFixture) -> None:
    with log.LogExporter():
        telemetry.execute(events.WORKER_CRASH, {}, CRASH)
    (record,) = lines.records
    assert record.getMessage() == (
        'snakepit.worker.crash count=1 worker_id=w1 pool=default reason="killed by SIGSEGV" '
        "exit_code=null device=null signal=SIGSEGV classification=segfault"
    )
    assert record.levelno == logging.ERROR
    assert record.name == "snakepit_nb.events"


def test_the_record_carries_the_facts_as_structured_extras(lines: pytest.LogCaptureFixture) -> None:
    with testing.capture_events("snakepit") as captured, log.LogExporter():
        telemetry.execute(events.WORKER_CRASH, {}, CRASH)
    (record,) = lines.records
    extras = vars(record)
    assert extras["event"] == "snakepit.worker.crash"
    assert extras["measurements"] == captured[0].measurements
    assert extras["metadata"] == captured[0].metadata


def test_nothing_that_data_holds_breaks_the_line_or_formats_it(lines: pytest.LogCaptureFixture) -> None:
    hostile = 'a\nERROR forged\r\x1b[31m\u2028 %s {0} "quoted" a=b'
    with log.LogExporter("app"):
        telemetry.execute(
            "app.job", {}, {"text": hostile, "break": "a\nb", "shape": [1, 2], "empty": "", "percent": "%d"}
        )
    text = lines.records[0].getMessage()
    assert text.isprintable()
    assert len(text.splitlines()) == 1
    assert text.endswith('shape=[1, 2] empty="" percent=%d')


def test_levels_follow_the_weight_of_the_event_and_can_be_changed(lines: pytest.LogCaptureFixture) -> None:
    with log.LogExporter(levels={"snakepit.pool.started": logging.CRITICAL}):
        for name in (events.POOL_STARTED, events.POOL_STOPPED, events.REQUEST_QUEUED, events.POOL_SATURATED):
            testing.synthetic(name)
    assert [record.levelname for record in lines.records] == ["CRITICAL", "INFO", "DEBUG", "WARNING"]


def test_what_the_logger_does_not_let_through_is_left_out(lines: pytest.LogCaptureFixture) -> None:
    lines.set_level(logging.INFO, logger="snakepit_nb.events")
    with log.LogExporter():
        testing.synthetic(events.REQUEST_QUEUED)
        testing.synthetic(events.POOL_STARTED)
    assert [vars(record)["event"] for record in lines.records] == ["snakepit.pool.started"]


def test_it_writes_only_while_attached_and_two_do_not_disturb_each_other(
    lines: pytest.LogCaptureFixture,
) -> None:
    first, second = log.LogExporter("app"), log.LogExporter("app")
    first.attach()
    with second:
        with pytest.raises(telemetry.AlreadyAttached):
            first.attach()
        telemetry.execute("app.job")
    telemetry.execute("app.job")
    first.detach()
    first.detach()
    telemetry.execute("app.job")
    assert len(lines.records) == 3


def test_it_can_write_what_happened_before_it_came(lines: pytest.LogCaptureFixture) -> None:
    telemetry.execute("app.early.bird", {}, {"n": 1})
    with log.LogExporter("app.early") as exporter:
        assert exporter.replay() >= 1
    assert lines.records[-1].getMessage() == "app.early.bird count=1 n=1"


def test_every_level_is_for_an_event_of_the_catalogue() -> None:
    assert set(log.LEVELS) <= set(events.CATALOGUE)
