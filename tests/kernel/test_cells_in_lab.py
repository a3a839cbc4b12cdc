"""What a user at JupyterLab sees of cells in workers, in a real browser."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.browser import LabSession
from tests.kernel.test_routing_in_lab import notebook_of

if TYPE_CHECKING:
    from pathlib import Path

CELLS = (
    "%load_ext snakepit_nb\nimport numpy as np\nx = np.arange(4.0)",
    "%%snakepit\nimport pandas as pd\nx[0] = 5\npd.DataFrame({'column': x})",
    "%%snakepit\nprint('from a worker')",
    "%%snakepit\nimport matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(3, 2))\naxes.plot(x);",
    "%%snakepit\ny = 1\ny / 0",
    "%%snakepit\nimport ctypes\nctypes.string_at(0)",
    "%%snakepit\nx =",
    "%%snakepit\nprint('it serves', 'on')",
    "%snakepit status",
)
# Outputs that the page shows as alarms, by cell.
ALARMS = """() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell')].map(
    cell => cell.querySelectorAll('[data-mime-type="application/vnd.jupyter.stderr"]').length)"""
PICTURES = """() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell')].map(
    cell => cell.querySelectorAll('.jp-OutputArea img').length)"""


def test_results_notes_figures_errors_and_crashes_are_shown_under_their_cells(tmp_path: Path) -> None:
    path = notebook_of(tmp_path / "cells.ipynb", *CELLS)
    content = json.loads(path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        cell["metadata"] = {"tags": ["raises-exception"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    with LabSession(path) as lab:
        lab.run_all()
        lab.wait_for_text("it serves on")
        lab.wait_idle()
        _, table, text, _, error, crash, syntax, last, status = lab.outputs()
        assert table.startswith("snakepit: x[…] = … changes the worker's copy only")
        assert table.split()[-9:] == ["column", "0", "5.0", "1", "1.0", "2", "2.0", "3", "3.0"]
        assert text.strip() == "from a worker"
        assert "In [5], line 3" in error
        assert "ZeroDivisionError: division by zero" in error
        assert "SIGSEGV" in crash
        assert "Cell In[7], line 2" in syntax
        assert "magics" not in syntax
        assert last.strip() == "it serves on"
        # A harmless hint is no alarm.
        assert lab.page.evaluate(ALARMS)[1] == 0
        assert lab.page.evaluate(PICTURES) == [0, 0, 0, 1, 0, 0, 0, 0, 0]
        assert status.startswith("pool default up to ")
        assert "1 crashed" in status
        rows = lab.page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output tr")
        worker, *_ = rows.filter(has_text="default-").all_inner_texts()
        assert re.fullmatch(r"default-\S+\t(\d+|-)\t[○●◔◑◆] \w.*\tcpu", worker)
