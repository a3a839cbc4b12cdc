"""The timeline as a user at JupyterLab sees it: it moves, answers keys and buttons, and its report stays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser import LabSession
from tests.kernel.test_routing_in_lab import notebook_of
from tests.kernels import private_home

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator

ROOT: Final = Path(__file__).parent.parent.parent
AXE: Final = ROOT / "widgets" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS: Final = os.environ.get("SNAKEPIT_NB_SHOTS")
MARKUP: Final = "<img src=x onerror=alert(1)>\u202egnp.exe"
CELLS: Final = (
    "%load_ext snakepit_nb\n%snakepit start -w 2\nimport snakepit_nb",
    "%snakepit dashboard",
    "%%snakepit --map n in range(30) --no-progress\nimport time\ntime.sleep(0.02 + n % 5 * 0.03)",
    f"%%snakepit\nraise ValueError({MARKUP!r})",
    "%%snakepit\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
)
PIXELS: Final = "canvas => canvas.toDataURL()"
THEME: Final = "() => document.body.dataset.jpThemeLight"
VIOLATIONS: Final = """async () => (await axe.run('.snakepit-nb', {resultTypes: ['violations']})).violations
    .filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => `${each.id}: ${each.nodes.map(node => node.html.slice(0, 200)).join(' | ')}`)"""
VIEW: Final = "application/vnd.jupyter.widget-view+json"
NOT_FOUND: Final = "model not found"


def written(path: Path, *cells: str) -> Path:
    """A notebook that goes on after its cells' errors."""
    content = json.loads(notebook_of(path, *cells).read_text(encoding="utf-8"))
    for cell in content["cells"]:
        cell["metadata"] = {"tags": ["raises-exception"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def shot(lab: LabSession, name: str) -> None:
    if SHOTS:
        lab.screenshot(Path(SHOTS) / f"{name}.png")


def said_by_scripts(lab: LabSession) -> list[str]:
    """What scripts say to the user, from now on; that Lab asks before a page is left is no such thing."""
    said: list[str] = []

    def hear(dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            dialog.accept()
            return
        said.append(dialog.message)
        dialog.dismiss()

    lab.page.on("dialog", hear)
    return said


class Seen:
    """The timeline on the page."""

    def __init__(self, lab: LabSession) -> None:
        self.lab = lab
        self.root = lab.page.locator(".snakepit-nb").first
        self.root.wait_for()
        self.picture = self.root.locator(".picture")

    def pixels(self) -> str:
        return str(self.picture.locator("canvas").first.evaluate(PIXELS))

    def wait_for_change(self, before: str) -> None:
        self.lab.page.wait_for_function(
            "([before]) => document.querySelector('.snakepit-nb .picture canvas').toDataURL() !== before",
            arg=[before],
        )

    def press(self, key: str) -> None:
        self.picture.focus()
        self.lab.page.keyboard.press(key)

    def rows(self) -> Locator:
        return self.root.locator(".events tbody tr")

    def figure(self, name: str) -> Locator:
        label = self.lab.page.locator("dt", has_text=name)
        return self.root.locator(".figures > div", has=label).locator("dd")


@pytest.mark.timeout(300)  # one walk through the whole page, since each start of Lab takes seconds
def test_it_moves_is_read_handled_survives_a_reload_and_leaves_its_report(tmp_path: Path) -> None:
    path = written(tmp_path / "timeline.ipynb", *CELLS)
    with LabSession(path, size=(1280, 1400)) as lab:
        dialogs = said_by_scripts(lab)
        lab.run_all()
        seen = Seen(lab)
        moves(seen)
        lab.wait_idle()
        tells_it_as_a_table(seen)
        is_zoomed_and_panned_by_keys(seen)
        is_filtered(seen)
        shows_the_error(seen)
        shot(lab, "light")
        no_serious_violation(lab)
        in_the_dark(seen)
        recycles(seen)
        survives_a_reload(lab)
        leaves_its_report(lab)
        assert dialogs == []
        assert [line for line in lab.console if line.startswith("pageerror")] == []


def test_in_somebody_elses_notebook_and_on_a_page_made_of_it_the_report_is_shown(tmp_path: Path) -> None:
    cells = ["%load_ext snakepit_nb\n%snakepit start -w 2", CELLS[1], CELLS[2], "%snakepit stop"]
    path = written(tmp_path / "other.ipynb", *cells)
    executed(path)
    html = page_of(path)
    assert VIEW not in json.loads(path.read_text(encoding="utf-8"))["cells"][1]["outputs"][0]["data"]
    assert re.search(r'<img[^>]* src="data:image/svg\+xml;base64,', html)
    with LabSession(path) as lab:
        shows_the_report(lab)
        shot(lab, "untrusted")


@pytest.mark.timeout(300)  # as above
def test_in_a_box_it_stays_when_the_kernel_ends_and_below_many_runs_it_becomes_its_report(
    tmp_path: Path,
) -> None:
    cells = [
        CELLS[0] + ", ipywidgets",
        "ipywidgets.HBox([snakepit_nb.Dashboard()])",
        "snakepit_nb.Dashboard()",
        CELLS[2].replace("--no-progress", "--progress timeline"),
    ]
    with LabSession(written(tmp_path / "box.ipynb", *cells), size=(1280, 1900)) as lab:
        in_cell = [lab.page.locator(".jp-CodeCell").nth(index) for index in range(4)]
        lab.run_all()
        in_cell[3].locator(".snakepit-nb canvas").wait_for()
        shot(lab, "mini")
        in_cell[3].locator("img").first.wait_for()
        lab.wait_idle()
        boxed = in_cell[1].locator(".snakepit-nb")
        assert boxed.bounding_box()["width"] > 400  # type: ignore[index]
        assert in_cell[2].locator(".snakepit-nb").count() == 1
        lab.shut_down()
        in_cell[2].locator("img").first.wait_for()
        boxed.get_by_text("Nothing can be done: the kernel has ended.").wait_for()
        assert boxed.get_by_role("button", name="Stop pool").is_disabled()
        shot(lab, "ended")
        assert [line for line in lab.console if line.startswith("pageerror")] == []


def test_when_the_kernel_is_restarted_or_killed_the_page_leaves_the_report(tmp_path: Path) -> None:
    path = written(tmp_path / "gone.ipynb", *CELLS[:2], "import os\nos.kill(os.getpid(), 9)")
    with LabSession(path, size=(1280, 1400)) as lab:
        for ends in (restarted, killed):
            for number in range(2):
                lab.page.locator(".jp-CodeCell .jp-InputArea-editor").nth(number).click()
                lab.page.keyboard.press("Control+Enter")
                lab.wait_idle()
            Seen(lab).figure("idle").get_by_text("2", exact=True).wait_for()
            ends(lab)
            lab.page.locator(".snakepit-nb").wait_for(state="detached")
            picture = lab.page.locator('.jp-OutputArea-output img[src^="data:image/svg+xml;base64,"]').first
            picture.wait_for()
            lab.save()
            saved = lab.path.read_text(encoding="utf-8")
            assert VIEW not in saved
            assert "data:image/svg+xml;base64," in saved


def restarted(lab: LabSession) -> None:
    lab.page.locator(".lm-MenuBar-item").filter(has_text="Kernel").first.click()
    lab.page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).click()
    lab.page.locator(".jp-Dialog button.jp-mod-accept").click()


def killed(lab: LabSession) -> None:
    lab.page.locator(".jp-CodeCell .jp-InputArea-editor").nth(2).click()
    lab.page.keyboard.press("Control+Enter")
    lab.page.locator(".jp-Dialog button.jp-mod-accept").click()


def moves(seen: Seen) -> None:
    before = seen.pixels()
    seen.wait_for_change(before)
    seen.figure("ok").get_by_text("30", exact=True).wait_for()


def tells_it_as_a_table(seen: Seen) -> None:
    seen.press("t")
    seen.rows().filter(has_text="crash").first.wait_for()
    words = seen.rows().all_inner_texts()
    assert sum("request" in line.lower() for line in words) >= 30
    assert any("segfault" in line for line in words)
    assert seen.root.locator(".events caption").inner_text().startswith("Events, newest first")


def is_zoomed_and_panned_by_keys(seen: Seen) -> None:
    for key in ("0", "+", "Shift+ArrowLeft", "f"):
        before = seen.pixels()
        seen.press(key)
        seen.wait_for_change(before)


def is_filtered(seen: Seen) -> None:
    everything = seen.rows().count()
    choice = seen.root.get_by_label("Filter by outcome")
    choice.select_option(label="Error")
    seen.lab.page.wait_for_function(
        "rows => document.querySelectorAll('.snakepit-nb .events tbody tr').length < rows", arg=everything
    )
    assert {line.split("\t")[5] for line in seen.rows().all_inner_texts()} == {"error"}


def shows_the_error(seen: Seen) -> None:
    seen.rows().filter(has_text="request").first.click()
    inspector = seen.root.locator(".inspector")
    page = inspector.frame_locator("iframe")
    page.get_by_text("ValueError").first.wait_for()
    text = page.locator("body").inner_text()
    assert "<img src=x onerror=alert(1)>" in text
    assert "\u202e" not in text
    assert inspector.locator("img").count() == page.locator("img").count() == 0
    assert "snakepit.request.executed" in inspector.inner_text()


def no_serious_violation(lab: LabSession) -> None:
    if not AXE.exists():
        pytest.fail("axe-core is not installed: npm ci in widgets/")
    lab.page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    assert lab.page.evaluate(VIOLATIONS) == []


def recycles(seen: Seen) -> None:
    seen.lab.page.keyboard.press("Escape")
    seen.root.get_by_label("Filter by outcome").select_option(label="Any outcome")
    started = seen.rows().filter(has_text="started")
    before = started.count()
    seen.root.get_by_role("button", name="Recycle all").click()
    seen.root.get_by_text("every worker is being replaced").wait_for()
    seen.figure("recycled").wait_for()
    seen.lab.page.wait_for_function(
        """before => [...document.querySelectorAll('.snakepit-nb .events tbody tr')].filter(
            row => row.innerText.includes('started')).length >= before + 2""",
        arg=before,
    )


def in_the_dark(seen: Seen) -> None:
    page = seen.lab.page
    before = seen.pixels()
    page.get_by_text("Settings", exact=True).first.click()
    page.get_by_text("Theme", exact=True).first.hover()
    page.get_by_role("menuitem", name="JupyterLab Dark", exact=True).click()
    page.wait_for_function(f"() => ({THEME})() === 'false'")
    page.locator('.snakepit-nb[data-theme="dark"]').first.wait_for()
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    seen.wait_for_change(before)
    page.wait_for_function("() => document.querySelector('.inspector iframe').srcdoc.includes('scheme:dark')")
    shot(seen.lab, "dark")
    no_serious_violation(seen.lab)


def survives_a_reload(lab: LabSession) -> None:
    lab.save()
    lab.reload()
    seen = Seen(lab)
    seen.figure("ok").get_by_text("30", exact=True).wait_for()
    seen.press("t")
    seen.rows().filter(has_text="segfault").first.wait_for()


def leaves_its_report(lab: LabSession) -> None:
    # Lab has forgotten which output is the kernel's to replace: the page does it.
    seen = Seen(lab)
    seen.root.get_by_role("button", name="Stop pool").click()
    seen.root.get_by_role("button", name="Stop it").click()
    lab.page.locator(".snakepit-nb").wait_for(state="detached")
    shows_the_report(lab)
    shot(lab, "report")
    lab.save()
    lab.shut_down()
    lab.reload()
    shows_the_report(lab)
    shot(lab, "trusted")


def shows_the_report(lab: LabSession) -> None:
    output = lab.page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output")
    output.get_by_text("stopped").first.wait_for()
    picture = output.locator('img[src^="data:image/svg+xml;base64,"]').first
    picture.wait_for()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    assert NOT_FOUND not in lab.page.locator("body").inner_text().lower()
    assert lab.page.locator(".snakepit-nb").count() == 0


def executed(notebook: Path) -> None:
    """Run a notebook as a program does, in place."""
    nbconvert(notebook, "--to", "notebook", "--inplace", "--execute")


def page_of(notebook: Path) -> str:
    """The page that nbconvert makes of a notebook."""
    nbconvert(notebook, "--to", "html")
    return notebook.with_suffix(".html").read_text(encoding="utf-8")


def nbconvert(notebook: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "nbconvert", *arguments, str(notebook)]
    env = os.environ | private_home(notebook.parent)
    done = subprocess.run(command, check=False, env=env, cwd=notebook.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
