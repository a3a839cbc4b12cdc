"""A recording's timeline as a user at JupyterLab sees it: all of it, nothing to be done, and every event."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser import LabSession
from tests.kernel.test_dashboard_in_lab import Seen, shot, written

if TYPE_CHECKING:
    from pathlib import Path

RECORDED: Final = "recording = snakepit_nb.exporters.recording.Recording('run.arrows').attach(replay=True)"
CELLS: Final = (
    "%load_ext snakepit_nb\n%snakepit start recorded -w 2\nimport snakepit_nb.exporters.recording",
    RECORDED,
    "%%snakepit recorded --map n in range(30) --no-progress\nimport time\ntime.sleep(0.02 + n % 5 * 0.03)",
    "%%snakepit recorded\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "%snakepit stop recorded\nrecording.close()",
    "replayed = snakepit_nb.Dashboard.from_recording('run.arrows')\nreplayed",
    "replayed.close()",
)


@pytest.mark.timeout(300)  # one walk through the whole page, since each start of Lab takes seconds
def test_a_recording_is_shown_whole_read_and_written_and_leaves_its_report(tmp_path: Path) -> None:
    with LabSession(written(tmp_path / "recording.ipynb", *CELLS), size=(1280, 1200)) as lab:
        lab.page.locator(".jp-CodeCell .jp-InputArea-editor").first.click()
        for _ in CELLS[:-1]:
            lab.page.keyboard.press("Shift+Enter")
        lab.wait_idle()
        seen = Seen(lab)
        seen.figure("ok").get_by_text("30", exact=True).wait_for()
        seen.figure("crashes").get_by_text("1", exact=True).wait_for()
        seen.root.get_by_text("a recording", exact=True).wait_for()
        seen.root.get_by_text("Nothing can be done: this is a recording.").wait_for()
        assert seen.root.get_by_role("button", name="Stop pool").is_disabled()
        seen.root.scroll_into_view_if_needed()
        shot(lab, "recording")
        is_read(seen)
        is_written(seen)
        lab.page.locator(".jp-CodeCell .jp-InputArea-editor").nth(len(CELLS) - 1).click()
        lab.page.keyboard.press("Control+Enter")
        seen.root.wait_for(state="detached")
        lab.page.locator('.jp-OutputArea-output img[src^="data:image/svg+xml;base64,"]').first.wait_for()
        assert [line for line in lab.console if line.startswith("pageerror")] == []


def is_read(seen: Seen) -> None:
    """Every event with all that is known of it."""
    seen.press("t")
    seen.rows().filter(has_text="segfault").first.click()
    inspector = seen.root.locator(".inspector")
    inspector.get_by_text("SIGSEGV").first.wait_for()
    seen.press("Escape")
    seen.press("t")


def is_written(seen: Seen) -> None:
    """Files of it."""
    seen.root.get_by_text("Export", exact=True).click()
    with seen.lab.page.expect_download() as download:
        seen.root.get_by_role("button", name=re.compile("CSV")).click()
    assert download.value.suggested_filename == "recorded.csv"
