"""What a user at JupyterLab sees of a job: one line below its cell, which becomes what the job becomes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.browser import LabSession
from tests.kernel.test_routing_in_lab import notebook_of

if TYPE_CHECKING:
    from pathlib import Path

WAIT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"
CELLS = (
    "%load_ext snakepit_nb",
    f"%%snakepit -b -n job\n{WAIT}\nprint('from it')\n5",
    "%%snakepit -b -n behind\njob.result() + 1",
    "%%snakepit -b -n failing\nraise ValueError('<b>no</b>')",
    "%%snakepit -b -n endless\nimport time\ntime.sleep(600)",
    "%snakepit jobs",
    "print('all cells have run')",
)


def test_its_line_goes_from_running_to_done_in_place_and_is_saved(tmp_path: Path) -> None:
    with LabSession(notebook_of(tmp_path / "jobs.ipynb", *CELLS)) as lab:
        lab.run_all()
        lab.wait_for_text("all cells have run")
        lab.wait_for_text("failing failed after")
        assert re.fullmatch(r"● job running on default-\d+ · \d+(\.\d)? s", lab.outputs()[1])
        assert lab.outputs()[2] == "◌ behind waiting for job"
        # Time goes on in the line while nothing is run.
        lab.wait_for_text("· 2.")
        lab.screenshot(tmp_path / "running.png")
        (lab.path.parent / "go").touch()
        lab.wait_for_text("job done in")
        lab.wait_for_text("behind done in")
        lab.wait_for_text("from it")
        lab.screenshot(tmp_path / "done.png")
        _, job, behind, failing, *_ = lab.outputs()
        assert re.fullmatch(r"✓ job done in \d+(\.\d)? s\nfrom it\n?", job)
        assert re.fullmatch(r"✓ behind done in \d+(\.\d)? s", behind)
        assert "◆ failing failed after 0.0 s: ValueError: <b>no</b>" in failing

        lab.save()
        saved = json.loads(lab.path.read_text(encoding="utf-8"))
        assert "<Job 'job' done in" in json.dumps(saved["cells"][1]["outputs"])
        lab.shut_down()
        lab.wait_for_text("endless ended with the kernel")
        lab.screenshot(tmp_path / "ended.png")
        lab.save()
        saved = json.loads(lab.path.read_text(encoding="utf-8"))
        assert "<Job 'endless' ended with the kernel>" in json.dumps(saved["cells"][4]["outputs"])
