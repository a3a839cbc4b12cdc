"""A notebook that hears all events of its pools, and is as it was after whatever happened in a worker."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import Inventory
from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.kernels import CellOutcome

# Signs of life are asked for often, taints are short, and any number of deaths is fine: these are many.
SETUP: Final = """
%load_ext snakepit_nb
%snakepit config health_interval=0.3 health_timeout=1 health_misses=2 deaths=1000 taint=0.05
%snakepit start -w 2
import numpy as np, os, threading
from snakepit_nb import telemetry
heard, news = [], threading.Condition()
def hear(event, measurements, metadata, config):
    with news:
        if event[2] != "stats":
            heard.append((event[1:], dict(metadata)))
            news.notify_all()
telemetry.attach_prefix("chaos", "snakepit", hear)
def told(name, **facts):
    wanted = tuple(name.split("."))
    return [seen for event, seen in heard if event == wanted and facts.items() <= seen.items()]
def wait_told(name, count=1, **facts):
    with news:
        assert news.wait_for(lambda: len(told(name, **facts)) >= count, 15), [each for each, _ in heard]
answer, array = {"n": 42}, np.arange(300_000.0)
"""
NAMES: Final = "answer == {'n': 42} and float(array.sum()) == 44_999_850_000.0"


class Story:
    """A notebook in which something goes wrong, and that goes on.

    Args:
        notebook: Its kernel, set up.
    """

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook

    def goes_wrong(self, code: str, kind: str | None, says: str = "") -> CellOutcome:
        """Run a cell in which something happens: what it raises, and words of the error; None for nothing."""
        self.notebook.run("heard.clear()").ok()
        cell = self.notebook.run(code)
        if kind is None:
            return cell.ok()
        assert cell.error is not None, cell
        assert (cell.error.ename, says in cell.error.text) == (kind, True), cell.error.text
        return cell

    def wait_told(self, name: str, count: int = 1, **facts: object) -> None:
        """Return once an event was told so often."""
        given = "".join(f", {key}={value!r}" for key, value in facts.items())
        self.notebook.run(f"wait_told({name!r}, {count}{given})").ok()

    def told(self, *names: str) -> dict[str, int]:
        """How often these events were told since it began to go wrong."""
        return {name: int(self.value(f"len(told({name!r}))")) for name in names}

    def facts(self, name: str) -> Mapping[str, object]:
        """What the one event of a name said."""
        (facts,) = ast.literal_eval(self.value(f"told({name!r})"))
        found: Mapping[str, object] = facts
        return found

    def value(self, code: str) -> str:
        """What an ordinary cell shows."""
        return self.notebook.run(code).ok().value or ""

    def goes_on(self, pool: str = "") -> None:
        """The notebook is as it was: its names, its pool, and the way of arrays to a worker and back."""
        assert self.value(NAMES) == "True"
        cell = self.notebook.run(f"%%snakepit {pool}\nback = array * 2\nanswer['n'], float(back[-1])").ok()
        assert cell.value == "(42, 599998.0)"
        assert self.value("float(back.sum())") == "89999700000.0"
        assert self.value(NAMES) == "True"


@pytest.fixture(scope="session", autouse=True)
def _event_loop(clients_event_loop: None) -> None:
    """See there."""


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """One notebook for a module: whatever happens in it, it goes on."""
    before = Inventory.taken()
    with Notebook() as kernel:
        kernel.run(SETUP).ok()
        yield Story(kernel)
    assert before.left() == []


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """As everywhere; but the workers of a notebook for many tests come and go, and it is looked at last."""
    if "story" not in request.fixturenames:
        before = Inventory.taken()
        yield
        assert before.left() == []
    else:
        yield


@pytest.fixture
def own_story() -> Iterator[Story]:
    """One for this test alone."""
    with Notebook() as kernel:
        kernel.run(SETUP).ok()
        yield Story(kernel)
