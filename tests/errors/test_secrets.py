"""However a cell fails: no value of its variables, arguments, environment or arrays is in what is told."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from snakepit_nb.errors import describe, pack_exception, render_text, to_json, unpack_exception
from snakepit_nb.errors.mapping import map_record
from snakepit_nb.errors.page import render_html
from snakepit_nb.errors.remote import STRUCTURED, RemoteError
from tests.errors.raised import LIBRARIES, RAISED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.errors.raised import Case

    Cell = Callable[..., BaseException]

SECRET = "tell-no-one-" + "this"
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what the libraries warn of before they raise
    pytest.mark.usefixtures("polars_runtime"),
]


def _said(error: BaseException) -> list[str]:
    """All that is told of an error, here and in the kernel."""
    record = describe(error)
    mapped = map_record(record)
    arrived = unpack_exception(pack_exception(error), worker_id="w", pool="p", request_id=1, command="c")
    assert isinstance(arrived, RemoteError)
    suggestion = None if mapped is None else mapped.suggestion
    texts = [to_json(record), render_text(record, colour=False, suggestion=suggestion), repr(mapped)]
    texts.append(render_html(arrived.noted, facts=arrived.facts, suggestion=arrived.suggestion))
    return [*texts, str(arrived), repr(arrived), repr(vars(arrived)), *arrived._render_traceback_()]


def _one_of_each() -> list[Case]:
    """A case of every class and every library that the source names."""
    seen: dict[tuple[object, str], Case] = {}
    for case in RAISED:
        library = next((name for name in LIBRARIES if f"{name}." in case.source), "")
        seen.setdefault((case.cls, library), case)
    return list(seen.values())


def test_every_class_is_among_those_that_are_tried() -> None:
    assert {case.cls for case in _one_of_each()} == set(STRUCTURED)


@pytest.mark.parametrize("case", _one_of_each(), ids=lambda case: case.source.replace("\n", "; "))
def test_no_value_that_is_near_is_told(cell: Cell, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    monkeypatch.setenv("SECRET_OF_A_TEST", SECRET.upper())
    body = case.source.replace("\n", "\n    ")
    source = f"def work(given):\n    token = given[::-1]\n    {body}\nwork(secret)"
    if case.source.startswith(("from ", "import ")):
        source = case.source
    error = cell(source, secret=SECRET, held=np.array([SECRET]), **LIBRARIES)
    assert map_record(describe(error)) is not None
    for text in _said(error):
        for secret in (SECRET, SECRET.upper(), SECRET[::-1]):
            assert secret not in text


@pytest.mark.parametrize(
    "source",
    [
        "x * y",
        "x @ y",
        "np.concatenate([x, np.ones((2, 2))])",
        "x.reshape(7)",
        "x[9]",
        "x.nope",
        "df['nope']",
        "df.merge(df[[]])",
        "df['b'] = [1, 2, 3, 4, 5]",
        "df.a + x[:1] * 1.5",
        "s.str.nope",
        "t['nope']",
        "np.ones(3) + np.ones(4) if len(x) else x",
        "assert len(x) == 7",
        "{}[len(x)]",
    ],
)
def test_no_value_of_an_array_or_a_table_is_told(cell: Cell, source: str) -> None:
    held = {
        "x": np.array([SECRET, "b"]),
        "y": np.array([[SECRET]] * 3),
        "df": pd.DataFrame({"a": [SECRET, "b"]}, index=[SECRET, "i"]),
        "s": pd.Series([SECRET], dtype="category"),
        "t": pa.table({"a": [SECRET]}),
    }
    for text in _said(cell(source, **held, **LIBRARIES)):
        assert SECRET not in text


def test_keys_that_are_alike_in_nothing_are_not_told(cell: Cell) -> None:
    error = cell("tokens['user']", tokens={SECRET: 1, "users": 2})
    assert describe(error).close == ("users",)
    assert all(SECRET not in text for text in _said(error))


def test_the_failing_line_is_all_that_is_shown_of_a_source(cell: Cell) -> None:
    error = cell(f"token = '{SECRET}'\n\n\n\n\n{{}}['a']")
    assert all(SECRET not in text for text in _said(error))
    linecache.checkcache()
