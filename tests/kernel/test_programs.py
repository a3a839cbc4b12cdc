"""A notebook that a program executes, and a script, hold what the same cells hold in a front end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.kernels import private_home

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def written(path: Path, *sources: str, tags: Sequence[str] = ()) -> Path:
    """A notebook of these cells, the first of which has the tags."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = list(tags)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def executed(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A program of this interpreter, run in a folder and a home of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | private_home(home),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def outputs(path: Path) -> list[list[Any]]:
    return [cell.outputs for cell in nbformat.read(path, as_version=4).cells]


def value(found: Sequence[Any]) -> str:
    (last,) = [each for each in found if each.output_type == "execute_result"]
    return str(last.data["text/plain"])


CELLS = (
    "%load_ext snakepit_nb",
    "%%snakepit\nprint('said')\ndoubled = n * 2\ndoubled",
    "%%time\n%%snakepit\nimport pandas as pd\npd.DataFrame({'a': [doubled]})",
    "doubled + 1",
)


def test_nbconvert_executes_a_notebook_from_the_command_line(tmp_path: Path) -> None:
    written(tmp_path / "in.ipynb", "n = 20", *CELLS)
    done = executed(
        tmp_path, "nbconvert", "--to", "notebook", "--execute", "--output", "out.ipynb", "in.ipynb"
    )
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path / "out.ipynb")
    assert found[2][0].text == "said\n"
    assert (value(found[2]), value(found[4])) == ("40", "41")
    assert "<table" in found[3][-1].data["text/html"] or "<table" in found[3][0].data["text/html"]


def test_papermill_hands_its_parameters_to_a_cell(tmp_path: Path) -> None:
    written(tmp_path / "in.ipynb", "n = 1", *CELLS, tags=["parameters"])
    done = executed(tmp_path, "papermill", "in.ipynb", "out.ipynb", "-p", "n", "21", "--no-progress-bar")
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path / "out.ipynb")
    assert (value(found[3]), value(found[5])) == ("42", "43")


@pytest.mark.parametrize("program", ["nbconvert", "papermill"])
def test_a_cell_that_fails_ends_the_execution_with_the_line_that_failed(tmp_path: Path, program: str) -> None:
    written(tmp_path / "in.ipynb", "%load_ext snakepit_nb", "%%snakepit\nx = 1\nx / 0", "print('never')")
    arguments = {
        "nbconvert": ("--to", "notebook", "--execute", "--output", "out.ipynb", "in.ipynb"),
        "papermill": ("in.ipynb", "out.ipynb", "--no-progress-bar"),
    }
    done = executed(tmp_path, program, *arguments[program])
    assert done.returncode != 0
    told = plain(done.stderr)
    assert ("CellExecutionError" if program == "nbconvert" else "PapermillExecutionError") in told
    assert "In [2], line 3" in told
    assert "---> 3" in told
    assert "ZeroDivisionError: division by zero" in told
    assert "never\n" not in told


def test_a_plain_script_uses_a_pool_and_shows_what_its_workers_say(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nfrom snakepit_nb import Pool\n\n\ndef task(n):\n"
        "    sys.stdout.write(f'task {n}\\n')\n    sys.stderr.write('aside\\n')\n    return n * n\n\n\n"
        "if __name__ == '__main__':\n    with Pool(2) as pool:\n"
        "        print(sum(pool.map(task, range(4))))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | private_home(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert sorted(done.stdout.splitlines()) == ["14", "task 0", "task 1", "task 2", "task 3"]
    assert done.stderr.splitlines() == ["aside"] * 4
