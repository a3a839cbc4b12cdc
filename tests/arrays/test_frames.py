"""Frames and columns of pandas and polars, and what offers itself to Arrow: as they come out of a pickle."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest

from tests.shelf import Shelf, addresses, large, send

# pandas


FRAMES = {
    "numbers": pd.DataFrame({"x": np.arange(3.0), "y": [1, 2, 3]}),
    "texts": pd.DataFrame({"s": ["a", None, "c"]}),
    "arrow's numbers": pd.DataFrame({"x": pd.array([1, None, 3], "int64[pyarrow]")}),
    "arrow's lists": pd.DataFrame({"x": pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int8())))}),
    "texts of pyarrow": pd.DataFrame({"s": pd.array(["a", None], "string[pyarrow]")}),
    "masked": pd.DataFrame({"x": pd.array([1, None, 3], "Int64")}),
    "categories": pd.DataFrame({"c": pd.Categorical(["a", "b", "a"], ordered=True)}),
    "times": pd.DataFrame({"t": pd.date_range("2020", periods=3, tz="Europe/Berlin")}),
    "intervals and periods": pd.DataFrame(
        {"i": pd.interval_range(0, 3), "p": pd.period_range("2020", periods=3, freq="M")}
    ),
    "objects": pd.DataFrame({"o": [{1}, None, "x"]}),
    "two levels": pd.DataFrame({("a", 1): [1], ("b", 2): [2.0]}),
    "text index": pd.DataFrame({"x": [1, 2]}, index=pd.Index(["p", "q"], name="k")),
    "nothing": pd.DataFrame(),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_of_pandas_arrives_as_it_was(frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(send(frame), frame)
    pd.testing.assert_index_equal(send(frame.index), frame.index)
    for name in frame.columns:
        pd.testing.assert_series_equal(send(frame[name]), frame[name])


def test_the_texts_of_a_frame_are_copied_once_and_lent_from_then_on() -> None:
    shelf = Shelf()
    frame = pd.DataFrame({"s": [f"row {i}" for i in range(40_000)]}).astype("string[pyarrow]")
    for copied in (True, False):
        found = send(frame, shelf)
        pd.testing.assert_frame_equal(found, frame)
        loans = [each for each in shelf.taken() if each.nbytes > 4096]
        assert [each.copied for each in loans] == [copied] * 2
    found.loc[0, "s"] = "changed"
    assert frame.loc[0, "s"] == "row 0"
    frame.loc[1, "s"] = "changed"
    assert send(frame, shelf).loc[1, "s"] == "changed"


def test_a_column_of_chunks_is_not_put_together_for_the_way() -> None:
    chunks = pa.chunked_array([range(20_000), range(20_000)])
    series = pd.Series(pd.arrays.ArrowExtensionArray(chunks))
    shelf = Shelf()
    shelf.own = [(each, each + 160_000) for each in addresses(chunks)]
    found = send(series, shelf)
    pd.testing.assert_series_equal(found, series)
    assert not any(each.copied for each in shelf.taken())


# polars


POLARS = pl.DataFrame(
    {
        "x": [1, None, 3],
        "s": ["a", None, "a text that does not fit into a view"],
        "c": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        "e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"])),
        "l": [[1], [], None],
        "r": [{"a": 1}, {"a": None}, {"a": 3}],
        "a": pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int8, 2)),
        "d": pl.Series([Decimal("1.20"), None, Decimal("-3.00")], dtype=pl.Decimal(10, 2)),
        "t": pl.Series([datetime(2020, 1, 1, tzinfo=timezone.utc)] * 3),  # noqa: UP017
        "u": pl.Series([timedelta(1), None, timedelta(2)]),
        "b": [b"x", None, b""],
        "n": [None, None, None],
        "o": [True, None, False],
    }
)


@pytest.mark.parametrize(
    "frame",
    [
        POLARS,
        POLARS.head(0),
        POLARS.slice(1, 1),
        POLARS.select([]),
        pl.DataFrame(),
        pl.concat([POLARS, POLARS], rechunk=False),
    ],
    ids=["all", "no rows", "a slice", "no columns", "nothing", "chunks"],
)
def test_a_frame_of_polars_arrives_as_it_was(frame: pl.DataFrame) -> None:
    pl.testing.assert_frame_equal(send(frame), frame, categorical_as_str=False)
    for column in frame.iter_columns():
        pl.testing.assert_series_equal(send(column), column)


def test_what_polars_cannot_give_to_arrow_is_pickled_as_everywhere() -> None:
    frame = pl.DataFrame({"x": pl.Series([1, None], dtype=pl.Int128)})
    pl.testing.assert_frame_equal(send(frame), frame)
    lazy = POLARS.lazy().select("x")
    assert send(lazy).collect().equals(lazy.collect())
    with pytest.raises(pl.exceptions.ComputeError, match="Object"):
        send(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


def test_a_frame_of_polars_is_copied_once_and_lent_from_then_on_until_it_is_written_to() -> None:
    shelf = Shelf()
    parts = [pl.DataFrame({"x": range(20_000), "y": 1.5}) for _ in range(2)]
    frame = pl.concat(parts, rechunk=False)
    for copied in (True, False):
        assert send(frame, shelf).equals(frame)
        assert [each.copied for each in shelf.taken()] == [copied] * 4
    frame[0, "x"] = -7
    assert send(frame, shelf)[0, "x"] == -7
    series = pl.Series("s", range(20_000))
    for value in (1, 2, 3):
        series[0] = value
        assert send(series, shelf)[0] == value


# Others


class Stays:
    """Holds something of Arrow, and cannot be pickled."""

    def __init__(self, held: object) -> None:
        self.held: Any = held

    def __reduce__(self) -> str:
        message = "stays here"
        raise TypeError(message)


class Streams(Stays):
    """Offers it as a stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.held.__arrow_c_stream__(requested_schema)


class Arrays(Stays):
    """Offers it in one piece."""

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self.held.__arrow_c_array__(requested_schema)


class Frame:
    """Offers a table, and can be pickled."""

    def __init__(self, held: pa.Table) -> None:
        self.held = held

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.held.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    ("offer", "arrives"),
    [
        (Streams(large()), large()),
        (Streams(large()["x"]), large()["x"]),
        (large().to_reader(), large()),
        (Arrays(large().to_batches()[0]), large().to_batches()[0]),
        (Arrays(pa.array([1, 2])), pa.array([1, 2])),
    ],
    ids=["a stream of rows", "a stream of values", "a reader", "a batch", "an array"],
)
def test_what_offers_itself_to_arrow_and_cannot_be_pickled_arrives_as_arrow(
    offer: object, arrives: Any
) -> None:
    found = send(offer)
    assert type(found) is type(arrives)
    assert found.equals(arrives)


def test_what_can_be_pickled_stays_what_it_is_and_its_table_is_lent() -> None:
    shelf = Shelf()
    found = send(Frame(large()), shelf)
    assert isinstance(found, Frame)
    assert found.held.equals(large())
    assert len(shelf.taken()) == 3


def test_looking_for_a_door_imports_no_library() -> None:
    told = (
        "import sys; from snakepit_nb.arrays import arrow; arrow.door(dict)\n"
        "print([each for each in ('pyarrow', 'pandas', 'polars') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
