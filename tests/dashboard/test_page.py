"""The timeline as one file: it opens in a browser without a kernel or a network, and holds data as data."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from snakepit_nb.dashboard.page import as_page
from snakepit_nb.dashboard.protocol import Kind, Outcome
from tests.browser import ARGUMENTS, chromium_path
from tests.dashboard.frames import Frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, Page

MARKUP: Final = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>"
# Of the canvas of the lanes: how many colours there are in it.
COLOURS: Final = """() => Math.max(...[...document.querySelectorAll('#timeline canvas')].map(canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}))"""


@pytest.fixture
def browser() -> Iterator[Browser]:
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Opened:
    """A page opened from a file, and what it asked for and said."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self._context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        self.page: Page = self._context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._hear)
        self.page.goto(path.as_uri())

    def _hear(self, dialog: Dialog) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    path = tmp_path / "run.html"
    path.write_text(as_page(frames().frame(), title=MARKUP), encoding="utf-8")
    page = Opened(browser, path)
    yield page
    page.close()


def frames() -> Frames:
    made = Frames(pool=MARKUP, now=12.0)
    made.row(Kind.STARTED, 0.1, lane=1, life=1)
    made.request(1.0, 4.0, name="train")
    made.request(1.0, 8.0, lane=2, name=MARKUP, outcome=Outcome.ERROR)
    made.row(Kind.EXCEPTION, 9.0, lane=2, life=1, name="ValueError")
    made.samples = [(second, 1.0, 2.0, 5.0, 9.0, 12.0) for second in range(12)]
    return made


def test_the_timeline_is_drawn_and_its_events_are_a_table(opened: Opened) -> None:
    page = opened.page
    page.locator("#timeline canvas").first.wait_for(state="visible")
    page.wait_for_function(f"() => ({COLOURS})() > 20")
    assert page.locator("#still").is_hidden()
    page.get_by_role("button", name="Table").click()
    page.locator("#timeline table tbody tr").first.wait_for()
    rows = page.locator("#timeline table tbody tr").all_inner_texts()
    assert any("train" in row for row in rows)
    assert any(MARKUP in row for row in rows)


def test_nothing_is_fetched_and_nothing_of_the_data_runs(opened: Opened) -> None:
    page = opened.page
    page.locator("#timeline canvas").first.wait_for(state="visible")
    assert page.title() == MARKUP
    assert page.locator("h1").inner_text() == MARKUP
    kinds = {url.partition(":")[0] for url in opened.asked}
    assert kinds <= {"file", "data", "blob"}
    assert len([url for url in opened.asked if url.startswith("file:")]) == 1
    assert opened.said == []


def test_its_policy_keeps_a_script_from_reaching_out(opened: Opened) -> None:
    tried = opened.page.evaluate(
        "() => fetch('http://127.0.0.1:9/').then(() => 'fetched', (error) => error.message)"
    )
    assert tried == "Failed to fetch"
    assert any("Content Security Policy" in text for text in opened.said)


def test_without_scripts_the_picture_is_there(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text(as_page(frames().frame(), title="a run"), encoding="utf-8")
    opened = Opened(browser, path, java_script_enabled=False)
    try:
        image = opened.page.locator("#still img")
        assert image.is_visible()
        box = image.bounding_box()
        assert box is not None
        assert box["height"] > 200
    finally:
        opened.close()


def test_data_cannot_end_its_block() -> None:
    made = frames()
    made.open = [[1, 1, made.text("x"), 1, float("nan"), float("inf"), 1]]
    page = as_page(made.frame(), title="a run")
    blocks = re.findall(r"<script[^>]*>", page)
    assert blocks == ['<script type="application/json" id="told">', '<script type="module">']
    data = page.partition('id="told">')[2].partition("</script>")[0]
    assert json.loads(data)["content"]["strings"][1] == "train"
    assert "onerror" not in re.sub(r'id="told">.*?</script>', "", page, flags=re.DOTALL).replace(
        MARKUP.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;"), ""
    )
