"""What the notebook has around it is seen when a cell is launched, and looking at it breaks nothing."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest

from snakepit_nb.magics import surroundings as room
from snakepit_nb.magics.surroundings import Observer
from snakepit_nb.wire import surroundings as wire


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def observer(told: list[str]) -> Observer:
    # The runner of the tests, and libraries that others loaded, have handlers that stay here.
    return Observer(lambda text: None if " logger " in text or "root logger" in text else told.append(text))


def libraries(seen: wire.Surroundings) -> dict[str, dict[str, object]]:
    return {name: pickle.loads(packed) for name, packed in seen.libraries}


def test_only_variables_that_changed_go_and_go_on_being_said(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> dict[str, str | None]:
        changed = dict(wire.unpack(observer.look()).environ)
        changed.pop("PYTEST_CURRENT_TEST", None)
        return changed

    assert said() == {}
    monkeypatch.setenv("SNAKE", "1")
    assert said() == {"SNAKE": "1"}
    monkeypatch.delenv("SNAKE")
    assert said() == {"SNAKE": None}
    monkeypatch.setenv("SNAKEPIT_NB_DEPTH", "7")
    assert said() == {"SNAKE": None}


def test_what_did_not_change_is_packed_once(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = observer.look()
    assert observer.look() is first
    monkeypatch.syspath_prepend("/new")
    assert wire.unpack(observer.look()).path[0] == "/new"


def test_a_function_among_the_options_goes_along(observer: Observer) -> None:
    with pd.option_context("display.float_format", lambda number: f"<{number}>"):
        shown = libraries(wire.unpack(observer.look()))["pandas"]["display.float_format"]
    assert callable(shown)
    assert shown(0.5) == "<0.5>"
    assert "pandas" not in libraries(wire.unpack(observer.look()))


def test_an_option_that_cannot_travel_is_told_once_and_the_others_go(
    observer: Observer, told: list[str]
) -> None:
    class Format:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, number: float) -> str:
            return str(number)

    with pd.option_context("display.float_format", Format(), "display.max_rows", 7):
        for _ in range(2):
            assert libraries(wire.unpack(observer.look()))["pandas"] == {"display.max_rows": 7}
            observer._settings.clear()
    assert told == ["pandas's display.float_format stays in the notebook: it cannot travel"]


def test_a_library_that_keeps_its_settings_elsewhere_is_told_and_the_rest_goes(
    observer: Observer, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "altair", SimpleNamespace(renderers=None, data_transformers=SimpleNamespace())
    )
    seen = libraries(wire.unpack(observer.look()))
    assert "altair" not in seen
    assert "numpy" in seen
    (line,) = told
    assert line.startswith("altair's settings stay in the notebook (AttributeError")


def test_a_failure_of_looking_is_a_note_and_the_cell_goes_without(
    observer: Observer, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_where", lambda: 1 / 0)
    assert observer.look() == b""
    assert told == ["the cell runs with what its worker has around it (ZeroDivisionError: division by zero)"]


def test_a_filter_for_a_warning_of_the_notebook_itself_is_told(
    observer: Observer, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = type("OddWarning", (UserWarning,), {"__module__": "__main__"})
    monkeypatch.setattr(
        warnings, "filters", [("ignore", None, ours, None, 0), ("error", None, Warning, None, 0)]
    )
    assert wire.unpack(observer.look()).filters == (("error", None, ("builtins", "Warning"), None, 0),)
    assert told[0].startswith("the filter for OddWarning stays in the notebook")


def test_a_folder_that_is_gone_is_none(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert wire.unpack(observer.look()).cwd is None
