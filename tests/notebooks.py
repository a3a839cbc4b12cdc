"""A notebook of this repository, executed as `make demo` executes it, and what its cells show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import nbformat

ROOT: Final = Path(__file__).parent.parent
PNG: Final = "image/png"


class Executed(NamedTuple):
    """An executed notebook: its cells by their ids, its HTML page, and what the demo printed."""

    cells: dict[str, Any]
    page: str
    told: str


def executed(name: str, out: Path) -> Executed:
    """A notebook after `make demo`'s own way of running it."""
    done = subprocess.run(
        [sys.executable, "tools/run_notebook.py", f"notebooks/{name}.ipynb", "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (out / f"{name}.html").read_text(encoding="utf-8")
    cells = nbformat.read(out / f"{name}.ipynb", as_version=4).cells
    return Executed({cell.id: cell for cell in cells}, page, done.stdout)


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def value(cell: Any) -> str:
    results = [output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
    assert len(results) == 1, cell.outputs
    return str(results[0])


def pictures(cell: Any) -> list[str]:
    return [output.data[PNG] for output in cell.outputs if PNG in output.get("data", {})]
