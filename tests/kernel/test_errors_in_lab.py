"""What a user at JupyterLab sees of an error: text and never markup, marked lines, folds, in both themes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.browser import LabSession
from tests.kernel.test_routing_in_lab import notebook_of

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Dialog

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CELLS = (
    "%load_ext snakepit_nb\nimport numpy as np",
    f"%%snakepit\ntry:\n    np.linalg.inv(np.zeros((2, 2)))\nfinally:\n    raise ValueError({MARKUP!r})",
    "print('reached')",
)
# What of an error's output is more than text, a table or a fold.
# Lab itself makes anchors, without an address, of what looks like a path.
LIVE = """() => [...document.querySelectorAll('.jp-OutputArea-output :is(' +
    'img, script, iframe, object, embed, a[href], button, form, input, style, link)')].map(
    each => each.outerHTML)"""
# The colours of the failing lines: the text's, and those of what lies below it, up to what is opaque.
MARKS = """() => [...document.querySelectorAll('.jp-OutputArea-output mark')].map(mark => {
    const colours = [getComputedStyle(mark).color]
    for (let each = mark; each; each = each.parentElement) {
        colours.push(getComputedStyle(each).backgroundColor)
        if (colours.at(-1).startsWith('rgb(')) break
    }
    return colours
})"""
SELECTED = "() => getSelection().toString()"
THEME = "() => document.body.dataset.jpThemeLight"


def _dialogs(lab: LabSession) -> list[str]:
    """What scripts say to the user, from now on."""
    said: list[str] = []

    def hear(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    lab.page.on("dialog", hear)
    return said


def _contrast(colours: list[str]) -> float:
    """The contrast, after WCAG 2, of a text and its ground, which may both be translucent."""

    def over(colour: str, below: list[float]) -> list[float]:
        *above, alpha = (float(part) for part in [*re.findall(r"[\d.]+", colour), "1"][:4])
        return [alpha * one / 255 + (1 - alpha) * other for one, other in zip(above, below, strict=True)]

    def luminance(parts: list[float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ink, *grounds = colours
    ground = [1.0, 1.0, 1.0]
    for each in reversed(grounds):
        ground = over(each, ground)
    darker, lighter = sorted((luminance(ground), luminance(over(ink, ground))))
    return (lighter + 0.05) / (darker + 0.05)


def test_an_error_is_text_marked_and_folded_and_the_run_stops(tmp_path: Path) -> None:
    with LabSession(notebook_of(tmp_path / "errors.ipynb", *CELLS)) as lab:
        dialogs = _dialogs(lab)
        lab.run_all()
        lab.wait_for_text("at In [2], line 5")
        lab.wait_idle()
        _, shown, after = lab.outputs()
        assert shown.count(f"ValueError: {MARKUP}") == 1
        assert "\N{BLACK RIGHT-POINTING TRIANGLE} 5 |     raise ValueError(" in shown
        assert after == ""
        folds = lab.page.locator(".jp-OutputArea-output summary")
        titles = ["While handling: numpy.linalg.LinAlgError: Singular matrix", "2 steps in numpy"]
        assert folds.all_text_contents()[:2] == titles
        folds.nth(0).click()
        folds.nth(1).click()
        lab.wait_for_text('File "numpy/linalg/_linalg.py", line ')

        # The plain text is selected by one click.
        folds.last.click()
        lab.page.locator(".jp-OutputArea-output details pre").last.click()
        selected = lab.page.evaluate(SELECTED)
        assert selected.startswith("Traceback (most recent call last) in worker ")
        assert selected.rstrip().endswith(f"ValueError: {MARKUP}")

        for light in ("true", "false"):
            assert lab.page.evaluate(THEME) == light
            marks = lab.page.evaluate(MARKS)
            assert len(marks) == 2
            assert all(_contrast(mark) >= 7 for mark in marks), marks
            lab.page.get_by_text("Settings", exact=True).first.click()
            lab.page.get_by_text("Theme", exact=True).first.hover()
            name = "JupyterLab Dark" if light == "true" else "JupyterLab Light"
            lab.page.get_by_role("menuitem", name=name, exact=True).click()
            lab.page.wait_for_function(f"light => ({THEME})() !== light", arg=light)

        assert lab.page.evaluate(LIVE) == []
        assert dialogs == []
        lab.save()
        saved = lab.path.read_text(encoding="utf-8")
    html = json.loads(saved)["cells"][1]["outputs"][0]["data"]["text/html"]
    assert "<script" not in "".join(html)

    # In somebody else's notebook Lab strips what it does not trust: the text, the signs and the folds stay.
    other = tmp_path / "other.ipynb"
    other.write_text(saved, encoding="utf-8")
    with LabSession(other) as lab:
        dialogs = _dialogs(lab)
        lab.wait_for_text("at In [2], line 5")
        assert lab.outputs()[1] == shown
        assert lab.page.evaluate(LIVE) == []
        assert all(_contrast(mark) >= 7 for mark in lab.page.evaluate(MARKS))
        assert dialogs == []
