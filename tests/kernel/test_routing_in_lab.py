"""What a user at JupyterLab sees of a background job's output, the server's own rate limits included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.browser import LabSession

if TYPE_CHECKING:
    from pathlib import Path

SETUP = """
import threading
from snakepit_nb.magics.routing import sink_for
sink = sink_for(get_ipython())
"""
JOB = """
def work(here=sink.origin()):
    work.go.wait()
    for step in range(1_000):
        sink.stream(here, "stdout", f"\\r{step + 1:4} of 1000")
    sink.stream(here, "stdout", "\\nthe job is done\\n")
    figure = {"text/plain": "its figure", "text/html": "<b>its figure</b>"}
    sink.display(here, {"type": "display_data", "data": figure})
    sink.finish(here)
work.go = threading.Event()
job = threading.Thread(target=work)
job.start()
"""
RELEASE = "work.go.set(); job.join(); print('the later cell')"
FLOOD = """
here = sink.origin()
for start in range(0, 300_000, 1_000):
    lines = [f"line {number} {'x' * 80}\\n" for number in range(start, start + 1_000)]
    sink.stream(here, "stdout", "".join(lines))
sink.finish(here)
"""
REQUESTS = """
for number in range(10_000):
    here = sink.origin()
    sink.stream(here, "stdout", f"{number} ")
    sink.finish(here)
"""


def notebook_of(path: Path, *cells: str) -> Path:
    written: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": f"cell-{index}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": source.strip(),
        }
        for index, source in enumerate(cells)
    ]
    content = {"cells": written, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_in_jupyterlab_output_is_under_its_cell_a_bar_is_redrawn_and_no_limit_is_hit(tmp_path: Path) -> None:
    with LabSession(notebook_of(tmp_path / "routing.ipynb", SETUP, JOB, RELEASE, FLOOD, REQUESTS)) as lab:
        lab.run_all()
        lab.wait_for_text("the job is done")
        lab.wait_for_text("9999 ")
        lab.wait_idle()
        lab.screenshot(tmp_path / "routing.png")
        _, job, later, flood, requests = lab.outputs()
        assert job.split("\n") == ["1000 of 1000", "the job is done", "", "its figure"]
        assert later.strip() == "the later cell"
        assert flood.startswith("line 0 x")
        assert "bytes of stdout left out" in flood
        assert flood.rstrip().endswith(f"line 299999 {'x' * 80}")
        assert requests.split() == [str(number) for number in range(10_000)]
        assert "exceeded" not in lab.log()

        lab.save()
        saved = json.loads(lab.path.read_text(encoding="utf-8"))
        assert "the job is done" in json.dumps(saved["cells"][1]["outputs"])
        lab.reload()
        lab.wait_for_text("the job is done")
