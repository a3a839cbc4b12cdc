"""The bar below a cell: what it says at each moment, and when it is drawn at all."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.magics.progress import Bar, Count, as_html, as_text
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Page(output.ScriptSink):
    """Keeps what is shown."""

    redraws = True

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, str]] = []

    def display(self, origin: object, message: Mapping[str, object]) -> None:
        assert origin == "the cell"
        data, transient = message["data"], message["transient"]
        assert isinstance(data, dict)
        assert isinstance(transient, dict)
        self.shown.append((str(message["type"]), data["text/plain"], transient["display_id"]))


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def page() -> Iterator[Page]:
    found = Page()
    output.set_sink(found)
    yield found
    output.set_sink(None)


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (Count("items", 0, 0, 4, 0.6), "0 of 4 items · 0 %"),
        (Count("items", 10, 1, 40, 5.0), "10 of 40 items · 25 % · 2.0 a second · 1 failed · 15 s left"),
        (Count("items", 1_500, 0, None, 1.0), "1,500 items · 1,500 a second"),
        (Count("items", 7, 0, 40, 2.0, "stopped"), "7 of 40 items · 17 % · stopped · 3.5 a second"),
        (Count("workers", 2, 0, 2, 1.0, "done"), "2 workers in 1.0 s · 2.0 a second"),
        (Count("items", 0, 0, 0, 0.0, "done"), "0 items in 0.0 s"),
    ],
)
def test_it_says_how_far_it_is_how_fast_and_how_long_it_takes(count: Count, line: str) -> None:
    assert count.line() == line


def test_more_items_than_were_promised_do_not_break_it() -> None:
    assert "5 of 4" in as_text(Count("items", 5, 0, 4, 1.0), "a")


def test_a_name_with_markup_is_shown_as_text() -> None:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, _: object) -> None:
            found.append(tag)

    Tags().feed(as_html(Count("items", 1, 0, 2, 1.0), "<img src=x onerror=alert(1)>"))
    assert set(found) == {"div", "span"}


def test_one_that_is_soon_over_shows_nothing(page: Page) -> None:
    clock = Clock()
    bar = Bar("items", 4, "snakepit:", "the cell", wanted=None, clock=clock)
    clock.now = 0.4
    bar.update(2, 0)
    bar.close(4, 0, "done")
    assert page.shown == []


def test_one_that_takes_long_is_drawn_in_one_place_and_not_too_often(page: Page) -> None:
    clock = Clock()
    bar = Bar("items", 1000, "snakepit:", "the cell", wanted=None, clock=clock)
    for step in range(1000):
        clock.now = step / 100
        bar.update(step, 0)
    clock.now = 10.0
    bar.close(1000, 0, "done")
    kinds = [kind for kind, _, _ in page.shown]
    assert kinds[0] == "display_data"
    assert set(kinds[1:]) == {"update_display_data"}
    assert len({place for _, _, place in page.shown}) == 1
    assert len(kinds) <= 60
    assert page.shown[-1][1].endswith("1,000 items in 10 s · 100 a second")


def test_it_is_shown_at_once_where_it_is_asked_for_and_never_where_it_is_not(page: Page) -> None:
    for wanted, lines in ((True, 2), (False, 0)):
        page.shown.clear()
        bar = Bar("items", 4, "snakepit:", "the cell", wanted=wanted, clock=Clock())
        bar.update(0, 0)
        bar.close(4, 0, "done")
        assert len(page.shown) == lines


def test_where_nothing_can_be_redrawn_the_end_alone_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    bar = Bar("items", 4, "sweep", None, wanted=None, clock=clock)
    clock.now = 3.0
    bar.update(2, 0)
    assert capsys.readouterr().err == ""
    bar.close(4, 1, "done")
    assert capsys.readouterr().err == f"sweep [{'#' * 24}] 4 items in 3.0 s · 1.3 a second · 1 failed\n"
