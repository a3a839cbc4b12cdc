"""What a cell copied rather than shared, as the notebook shows it below the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernels import CellOutcome


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    """A kernel with an array that is older than the extension, and a list of texts."""
    with Notebook() as kernel:
        kernel.run("import numpy as np\nold = np.ones(10_000_000)\ntexts = ['word'] * 10").ok()
        kernel.run("%load_ext snakepit_nb").ok()
        kernel.run("%snakepit start").ok()
        kernel.run("big = [f'{n:064}' for n in range(1_000_000)]").ok()
        yield kernel


def notes(cell: CellOutcome) -> list[str]:
    texts = [shown["data"]["text/plain"] for shown in cell.displays]
    return [text for text in texts if text.startswith("snakepit: ")]


def test_the_first_cell_that_takes_an_array_from_before_says_so(notebook: Notebook) -> None:
    [line] = notes(notebook.run("%%snakepit\nold.sum()").ok())
    assert line.startswith("snakepit: old (80.0 MB) was copied in ")
    assert " rather than shared: " in line


def test_a_quiet_cell_and_one_that_takes_little_say_nothing(notebook: Notebook) -> None:
    assert notes(notebook.run("%%snakepit -q\nlen(big)").ok()) == []
    assert notes(notebook.run("%%snakepit\nlen(texts)").ok()) == []


def test_a_cell_in_the_background_says_it_below_itself(notebook: Notebook) -> None:
    launched = notebook.run("%%snakepit -b -n job\nlen(big)").ok()
    later = notebook.run("job.result()").ok()
    assert later.value == "1000000"
    [line] = notes(launched)
    assert line.startswith("snakepit: big (6")
    assert "so it is pickled" in line
    assert notes(later) == []


def test_the_names_are_text_and_what_comes_back_counts(notebook: Notebook) -> None:
    shown = notebook.run("%%snakepit\nback = [f'{n:064}' for n in range(1_000_000)]").ok()
    [line] = notes(shown)
    assert line.startswith("snakepit: back (6")
    assert " came back as a copy in " in line


def test_how_much_is_worth_a_line_is_an_option(notebook: Notebook) -> None:
    notebook.run("%snakepit config report_copies_ms=100000 report_copies_bytes=1GB").ok()
    assert notes(notebook.run("%%snakepit\nlen(big)").ok()) == []
    notebook.run("%snakepit config --reset").ok()
    assert len(notes(notebook.run("%%snakepit\nlen(big)").ok())) == 1
