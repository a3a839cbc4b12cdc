"""The seventh notebook as a reader meets it: a job in the timeline, its recording as a table, and again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.notebooks import Executed, executed, value

if TYPE_CHECKING:
    from typing import Any


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return executed("07_timeline", tmp_path_factory.mktemp("out"))


def report(cell: Any) -> tuple[str, str]:
    """What stays of a timeline, as text and as HTML."""
    (shown,) = [output.data for output in cell.outputs if "image/svg+xml" in output.data.get("text/html", "")]
    assert "application/vnd.jupyter.widget-view+json" not in shown
    return shown["text/plain"], shown["text/html"]


def test_the_live_timeline_leaves_its_report_and_the_replayed_one_the_same(timeline: Executed) -> None:
    live, again = report(timeline.cells["dashboard"]), report(timeline.cells["replayed"])
    assert live[0].startswith("Pool lab: stopped (shutdown)\n203 requests, 1 failed")
    assert "crash: segfault" in live[0]
    assert again[0] == live[0]
    for _, html in (live, again):
        (picture,) = re.findall(r"data:image/svg\+xml;base64,[\w+/=]+", html)
        assert picture in timeline.page
    assert "MB copied" in live[0]


def test_the_recording_has_every_request_and_says_which_waited_longest(timeline: Executed) -> None:
    assert re.fullmatch(
        r"<Recording to '.*lab\.arrows': \d+ events, closed>", value(timeline.cells["stopped"])
    )
    counts = dict(re.findall(r"^(snakepit\.\S+) +(\d+)$", value(timeline.cells["table"]), re.MULTILINE))
    assert counts["snakepit.request.executed"] == "203"
    waited = [
        float(each)
        for each in re.findall(r"ok +([\d.]+) +[\d.]+$", value(timeline.cells["waited"]), re.MULTILINE)
    ]
    assert len(waited) == 5
    assert waited == sorted(waited, reverse=True)
    ran = dict(re.findall(r"^(long|short) +[\d.]+ +([\d.]+)$", value(timeline.cells["kinds"]), re.MULTILINE))
    assert float(ran["long"]) > float(ran["short"])


def test_the_crash_is_in_the_recording_with_all_that_was_told_of_it(timeline: Executed) -> None:
    died = value(timeline.cells["died"])
    assert re.search(r"snakepit\.worker\.crash +lab-\d +SIGSEGV +segfault", died)
    assert re.search(r"snakepit\.worker\.tainted +lab-\d +SIGSEGV +segfault +500\.0", died)


def test_the_replayed_timeline_is_written_to_files(timeline: Executed) -> None:
    assert value(timeline.cells["export"]) == "['lab.html', 'lab.trace.json', 'lab.svg', 'lab.parquet']"
