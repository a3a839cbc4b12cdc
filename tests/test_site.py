"""The documentation's site: it is whole, works from a folder without a network, and fits a phone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urldefrag

import pytest

from tests.browser import ARGUMENTS, chromium_path
from tests.test_docs import PAGES, links

if TYPE_CHECKING:
    from playwright.sync_api import Request

ROOT: Final = Path(__file__).parent.parent
PHONE: Final = {"width": 390, "height": 800}
_LOADED: Final = {"script": "src", "img": "src", "link": "href", "iframe": "src"}


class Page(NamedTuple):
    """What of a page can be seen without a browser."""

    path: Path
    ids: set[str]
    goes_to: list[str]
    loads: list[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.goes_to: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.goes_to.append(given["href"] or "")
        if tag in _LOADED and given.get(_LOADED[tag]):
            self.loads.append(given[_LOADED[tag]] or "")


def read(path: Path) -> Page:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return Page(path, reader.ids, reader.goes_to, reader.loads)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew; a warning of the build would be a failure of it."""
    out = tmp_path_factory.mktemp("documentation") / "site"
    done = subprocess.run(
        [sys.executable, "tools/site.py", out],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: read(path) for path in sorted(site.rglob("*.html"))}


def test_every_page_of_the_contents_is_in_the_navigation_once_and_in_order(
    site: Path,
) -> None:
    contents = ROOT / "docs" / "index.md"
    wanted = [
        f"{os.path.normpath(contents.parent / path).removeprefix(f'{ROOT}/').rpartition('.')[0]}.html"
        for path, _ in links(contents.read_text(encoding="utf-8"))
    ]
    page = (site / "docs" / "index.html").read_text(encoding="utf-8")
    tree = page[page.index('class="sidebar-tree"') :]
    listed = re.findall(
        r'class="toctree-l1"><a class="reference internal" href="([^"#]+)"', tree[: tree.index("</aside>")]
    )
    assert [os.path.normpath(f"docs/{path}") for path in listed] == wanted
    assert [path for path in wanted if not (site / path).exists()] == []
    assert len(wanted) == len(set(wanted)) >= len(PAGES)


def test_the_first_page_leads_to_the_contents(site: Path) -> None:
    assert 'href="docs/index.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_what_the_docstrings_promise_is_on_its_page(pages: dict[Path, Page], site: Path) -> None:
    pools, bus = (pages[site / "docs" / f"{name}.html"].ids for name in ("api", "api_telemetry"))
    assert {
        "snakepit_nb.Pool.submit",
        "snakepit_nb.Dashboard",
        "snakepit_nb.errors.types.ShapeMismatch",
    } <= pools
    assert {"snakepit_nb.telemetry.attach", "snakepit_nb.testing.capture_events"} <= bus


def test_the_links_of_the_site_lead_somewhere(pages: dict[Path, Page]) -> None:
    lost = []
    for page in pages.values():
        for link in page.goes_to:
            path, anchor = urldefrag(link)
            if re.match(r"(https?|mailto):", path):
                continue
            target = (page.path.parent / unquote(path)).resolve() if path else page.path
            known = pages.get(target)
            if not target.exists() or (anchor and known is not None and unquote(anchor) not in known.ids):
                lost.append(f"{page.path.name}: {link}")
    assert lost == []


def test_a_cell_of_a_worker_is_shown_as_python_with_a_magic(site: Path) -> None:
    page = (site / "docs" / "getting_started.html").read_text(encoding="utf-8")
    assert '<span class="o">%%</span><span class="k">snakepit</span>' in page
    assert '<span class="kc">False</span>' in page[page.index('<span class="o">%%</span>') :]


def test_nothing_is_loaded_from_elsewhere_and_every_page_fits_a_phone_in_light_and_in_dark(
    site: Path, pages: dict[Path, Page]
) -> None:
    from playwright.sync_api import sync_playwright

    assert [link for page in pages.values() for link in page.loads if re.match(r"(https?:)?//", link)] == []
    asked: list[str] = []
    wide: list[str] = []
    colours: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((site.as_uri(), "data:")):
            asked.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, viewport=PHONE)  # type: ignore[arg-type]
            tab = context.new_page()
            tab.on("request", note)
            # The first page is left at once.
            for path in pages.keys() - {site / "index.html"} if scheme == "light" else []:
                tab.goto(path.as_uri())
                if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    wide.append(path.name)
            tab.goto((site / "README.html").as_uri())
            colours.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
            context.close()
        browser.close()
    assert asked == []
    assert wide == []
    assert len(set(colours)) == 2
