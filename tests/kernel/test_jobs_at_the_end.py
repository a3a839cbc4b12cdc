"""Jobs in notebooks that nobody looks at: nbconvert and papermill end the kernel after the last cell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.test_routing_in_lab import notebook_of
from tests.kernels import private_home

if TYPE_CHECKING:
    from pathlib import Path

RUNNERS = {
    "nbconvert": ("nbconvert", "--to", "notebook", "--execute", "in.ipynb", "--output", "out.ipynb"),
    "papermill": ("papermill", "in.ipynb", "out.ipynb", "--kernel", "python3"),
}
SLOW = "%%snakepit -b -n slow\nimport time\ntime.sleep(600)"
HALF = "%%snakepit -b -n half\nimport time\ntime.sleep(0.5)\nhalf_made = 21\nhalf_made"
WHOLE = "%%snakepit -b -n whole\nhalf.result() * 2"


def run_by(runner: str, folder: Path, *cells: str) -> tuple[list[dict[str, Any]], str]:
    """The cells of the notebook that was saved, and what the console showed."""
    notebook_of(folder / "in.ipynb", "%load_ext snakepit_nb", *cells)
    home = folder / "home"
    home.mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", *RUNNERS[runner]],
        cwd=folder,
        env=os.environ | private_home(home),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    saved = json.loads((folder / "out.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in saved["cells"] if cell["cell_type"] == "code"][1:], ran.stderr


def texts(cell: dict[str, Any]) -> list[str]:
    """The plain texts of a cell's displays and its Out."""
    return ["".join(each["data"]["text/plain"]) for each in cell["outputs"] if "data" in each]


@pytest.mark.parametrize("runner", RUNNERS)
def test_jobs_that_are_waited_for_are_done_in_the_saved_notebook(runner: str, tmp_path: Path) -> None:
    (half, whole, waits, made), console = run_by(
        runner, tmp_path, HALF, WHOLE, "%snakepit jobs --wait", "half_made, whole.result()"
    )
    assert [each.partition(" in ")[0] for each in texts(half)] == ["<Job 'half' done"]
    assert [each.partition(" in ")[0] for each in texts(whole)] == ["<Job 'whole' done"]
    note, table = texts(waits)
    assert note.startswith("snakepit: waiting for 2 jobs: half, whole")
    assert table.count(" done ") == 2
    assert texts(made) == ["(21, 42)"]
    assert "the kernel ends before" not in console


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_that_is_cut_off_by_the_end_is_named_on_the_console(runner: str, tmp_path: Path) -> None:
    (slow, _), console = run_by(runner, tmp_path, SLOW, "1 + 1")
    assert len(texts(slow)) == 1
    assert "snakepit: the kernel ends before a job: slow; to wait for jobs" in console
