"""The notebook about metrics, with a real Prometheus server, and without one."""

from __future__ import annotations

import re
from typing import Any

import nbformat
import pytest

from tests.kernels import Notebook
from tests.notebooks import ROOT, Executed, executed, pictures, printed, value
from tests.prometheus import program


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    program("prometheus")
    return executed("06_prometheus", tmp_path_factory.mktemp("out"))


def told(cell: Any) -> list[tuple[str, ...]]:
    """The rows of the table that a cell shows."""
    (table,) = [output.data["text/markdown"] for output in cell.outputs]
    rows = [tuple(each.strip() for each in line.strip("| ").split("|")) for line in table.splitlines()]
    return rows[2:]


def test_a_real_server_answers_what_the_notebook_asks(notebook: Executed) -> None:
    cells = notebook.cells
    assert re.fullmatch(r"'http://127\.0\.0\.1:\d+/metrics'", value(cells["exporter"]))
    assert "scrapes this notebook" in printed(cells["start"])
    assert {("default", "manual"), ("default", "worker_died")} <= {row[:2] for row in told(cells["recycled"])}
    ((uptime,),) = told(cells["uptime"])
    assert float(uptime) > 0
    outcomes = {outcome: float(count) for outcome, count in told(cells["executed"])}
    assert outcomes["ok"] >= 40
    assert outcomes["crashed"] == 1
    crossed = {copied: float(size) for copied, size in told(cells["crossed"])}
    assert set(crossed) == {"false", "true"}
    assert crossed["false"] >= 8e6
    (picture,) = pictures(cells["figure"])
    assert len(picture) < 100_000


def test_it_counts_in_the_notebook_as_well(notebook: Executed) -> None:
    (table,) = [output.data["text/plain"] for output in notebook.cells["table"].outputs]
    assert re.search(r"^request\.executed +pool=default, outcome=crashed +1 ", table, re.MULTILINE)
    assert re.search(r"^zero_copy\.bytes .*copied=false +[\d.]+ MB", table, re.MULTILINE)
    assert re.search(r"^worker\.crash +pool=default, classification=abort +1 ", table, re.MULTILINE)


def test_only_the_crash_and_the_misspelling_fail(notebook: Executed) -> None:
    failed = {
        cell.id: output.ename
        for cell in notebook.cells.values()
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }
    assert failed == {"misspelt": "UnknownKey", "crash": "WorkerCrashed"}
    (error,) = notebook.cells["misspelt"].outputs
    assert "did you mean reason?" in error.evalue


@pytest.mark.usefixtures("clients_event_loop")
def test_without_a_server_it_shows_the_text_and_says_so() -> None:
    stored = nbformat.read(ROOT / "notebooks" / "06_prometheus.ipynb", as_version=4).cells
    source = {cell.id: cell.source for cell in stored}
    with Notebook() as kernel:
        kernel.run("import os\nos.environ['PATH'] = ''").ok()
        for cell in ("load", "metrics", "exporter"):
            kernel.run(source[cell]).ok()
        assert "no prometheus here" in kernel.run(source["start"]).ok().stdout
        kernel.run(source["ask"]).ok()
        kernel.run("%snakepit start -w 1\n%snakepit recycle").ok()
        result = kernel.run(source["recycled"]).ok().result
        assert result is not None
        text = result["text/markdown"]
        assert re.search(r'mine_recycled_total\{notebook="06",pool="default",reason="manual"\} \d', text)
        assert kernel.run(source["figure"]).ok().displays == []
        kernel.run(source["close"]).ok()
