"""The pages tell the truth: their cells run in a real kernel and show what they say, and links lead on."""

from __future__ import annotations

import builtins
import concurrent.futures
import json
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from jupyter_core.utils import ensure_event_loop

import snakepit_nb
from snakepit_nb.magics.arguments import help_text
from tests.kernels import CellOutcome, Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED: Final = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
LARGEST_PICTURE: Final = 200_000
FENCE: Final = re.compile(
    r"(?:^<!-- raises: (?P<raises>\w+) -->\n)?^```python\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<shows>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module", autouse=True)
def event_loop() -> None:
    """The one that jupyter_client makes at its first use and keeps to the end of the process."""
    ensure_event_loop()


@dataclass(frozen=True, slots=True)
class Block:
    """One cell of a page: what it raises and shows, where the page says so."""

    line: int
    code: str
    raises: str | None
    shows: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            text.count("\n", 0, found.start("code")), found["code"].rstrip(), found["raises"], found["shows"]
        )
        for found in FENCE.finditer(text)
    ]


def shown(outcome: CellOutcome) -> str:
    """What a reader sees below a cell, without its colours."""
    error = outcome.error
    told = [outcome.stdout, outcome.stderr, outcome.value or "", error.text if error else ""]
    return COLOUR.sub("", "\n".join(each.rstrip() for each in told if each)).strip()


def fits(expected: str, seen: str) -> bool:
    """Whether a page's text is what was seen; `...` on the page stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("..."))
    return re.fullmatch(pattern, seen, re.DOTALL) is not None


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_cells_of_a_page_run_in_order_and_show_what_it_says(page: Path) -> None:
    with Notebook() as notebook:
        for block in blocks(page):
            outcome = notebook.run(block.code)
            where = f"{page.name}:{block.line}\n{outcome}"
            raised = outcome.error.ename if outcome.error else None
            assert raised == block.raises, where
            assert outcome.status == ("error" if block.raises else "ok"), where
            if block.shows is not None:
                assert fits(block.shows, shown(outcome)), f"{where}\nexpected:\n{block.shows}"


def test_every_page_that_shows_an_error_says_which_one_it_expects() -> None:
    raising = [block.raises for page in PAGES for block in blocks(page) if block.raises]
    assert {"ZeroDivisionError", "WorkerCrashed", "CaptureError", "RequestTimeout"} <= set(raising)


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> Iterator[tuple[str, str]]:
    """The links of a text that lead into this repository: path and anchor."""
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        yield path, anchor


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    lost = []
    for path, anchor in links(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(f"{path}#{anchor}")
    assert lost == []


def test_every_page_can_be_reached_from_the_contents() -> None:
    index = ROOT / "docs" / "index.md"
    reached = {(index.parent / path).resolve() for path, _ in links(index.read_text(encoding="utf-8"))}
    assert {page.resolve() for page in PAGES} - reached == {index.resolve()}


def test_pictures_are_small() -> None:
    pictures = [path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > LARGEST_PICTURE] == []


def options(usage: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])-{1,2}[a-z][\w-]*", usage))


def test_the_readme_lists_the_options_that_a_cell_takes_and_no_others() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"^%%snakepit \[POOL\].*$", readme, re.MULTILINE)
    assert line is not None
    listed = re.findall(r"^  (-\S.*?)(?:  |$)", help_text("cell"), re.MULTILINE)
    offered = [options(each) for each in listed if "--help" not in each]
    assert offered
    assert [each for each in offered if not each & options(line[0])] == []
    assert options(line[0]) <= set().union(*offered)


def test_the_page_of_the_magics_has_every_command_and_says_something_of_every_option() -> None:
    render = runpy.run_path(str(ROOT / "docs" / "generate_magics.py"))["render"]
    page = (ROOT / "docs" / "magics.md").read_text(encoding="utf-8")
    assert render(page) == page, "run `make docs`"
    with pytest.raises(ValueError, match=r"no place for \['%snakepit jobs'\]"):
        render(page.replace("<!-- %snakepit jobs: written", "<!-- %snakepit gone: written"))
    with pytest.raises(ValueError, match="%%snakepit has the option --gpu, and nothing is said"):
        render(page.replace("`%%snakepit --gpu", "`%%snakepit").replace("**`--gpu`**", "It"))


def test_the_errors_in_the_readme_are_also_what_it_says_they_are() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+)` \|$", readme, re.MULTILINE)
    assert len(rows) >= 5
    for name, other in rows:
        error = getattr(snakepit_nb, name)
        base = getattr(builtins, other, None) or getattr(concurrent.futures, other, None)
        base = base or concurrent.futures.BrokenExecutor
        assert base.__name__ == other
        assert issubclass(error, (base,))
        assert issubclass(error, snakepit_nb.SnakepitError)


def test_a_wrong_text_on_a_page_would_be_noticed() -> None:
    assert fits("In [...], line 3\n...\nZeroDivisionError", "In [7], line 3\n  > 1 / 0\nZeroDivisionError")
    assert not fits("(1000, 3)", "(1000, 4)")
    assert not fits("True", "True\nand more")


def test_the_notebooks_that_pages_link_to_are_notebooks() -> None:
    for page in LINKED:
        for path, _ in links(page.read_text(encoding="utf-8")):
            if path.endswith(".ipynb"):
                assert json.loads((page.parent / path).read_text(encoding="utf-8"))["nbformat"] == 4
