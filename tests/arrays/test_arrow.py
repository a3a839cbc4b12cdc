"""Tables, batches, arrays and buffers of Arrow: taken apart by their doors, and put together."""

from __future__ import annotations

import gc
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.arrays import arrow
from snakepit_nb.arrays.constant import is_constant
from tests.shelf import Loan, Shelf, addresses, large, send
from tests.tables import Money, arrays, same, tables

if TYPE_CHECKING:
    from pathlib import Path


@given(tables())
def test_any_table_arrives_as_it_was(table: pa.Table) -> None:
    found = send(table)
    found.validate(full=True)
    assert found.equals(table, check_metadata=True)
    assert found.num_rows == table.num_rows
    assert [column.num_chunks for column in found.columns] == [each.num_chunks for each in table.columns]


@given(arrays())
def test_any_array_arrives_as_it_was(array: pa.Array) -> None:
    found = send(array)
    found.validate(full=True)
    assert type(found) is type(array)
    assert same(found, array)


@given(arrays())
def test_what_arrived_goes_on_as_it_was(array: pa.Array) -> None:
    assert same(send(send(array)), array)


@given(arrays(min_size=1), st.data())
def test_any_slice_of_a_long_array_arrives_as_it_was(array: pa.Array, data: st.DataObject) -> None:
    long = pa.concat_arrays([array] * (2000 // len(array))) if not pa.types.is_union(array.type) else array
    start = data.draw(st.integers(0, len(long)))
    part = long.slice(start, data.draw(st.integers(0, min(20, len(long) - start))))
    found = send(part)
    found.validate(full=True)
    assert same(found, part)


@given(tables())
def test_batches_and_chunked_arrays_arrive_as_they_were(table: pa.Table) -> None:
    for batch in table.to_batches():
        found = send(batch)
        assert isinstance(found, pa.RecordBatch)
        found.validate(full=True)
        assert found.equals(batch, check_metadata=True)
    for column in table.columns:
        assert send(column).equals(column)
        assert send(column).type.equals(column.type, check_metadata=True)


@pytest.mark.parametrize(
    "obj",
    [
        pa.table({}),
        pa.table({"x": [1, 2]}).select([]),
        pa.record_batch({"x": [1, 2]}).select([]),
        pa.table({"x": [1]}).select([]).replace_schema_metadata({"a": "b"}),
        pa.table({"x": pa.chunked_array([], pa.int8())}),
        pa.table({"x": pa.chunked_array([[], [1], []], pa.int8())}),
        pa.table({"x": pa.chunked_array([], Money())}),
        pa.table({"x": [1]}, pa.schema([pa.field("x", pa.int8(), nullable=False, metadata={"u": "m"})])),
        pa.table([[1], [2]], names=["x", "x"]),
    ],
    ids=str,
)
def test_odd_tables_arrive_as_they_were(obj: pa.Table) -> None:
    found = send(obj)
    found.validate(full=True)
    assert found.equals(obj, check_metadata=True)
    assert found.num_rows == obj.num_rows


@pytest.mark.parametrize("obj", [pa.scalar(3), pa.schema([("x", pa.int8())]), pa.field("x", pa.string())])
def test_what_holds_no_memory_is_pickled_as_everywhere(obj: object) -> None:
    assert arrow.door(type(obj)) is None
    assert send(obj) == obj


def test_metadata_inside_a_nested_type_is_kept() -> None:
    inner = pa.field("item", pa.int8(), metadata={"unit": "m"})
    array = pa.array([[1], None], pa.list_(inner))
    assert send(array).type.equals(array.type, check_metadata=True)
    assert send(pa.chunked_array([array])).type.equals(array.type, check_metadata=True)


def test_an_extension_type_that_is_not_registered_arrives_as_itself() -> None:
    array = pa.ExtensionArray.from_storage(Money("EUR"), pa.array([1, 2]))
    for found in (send(array).type, send(pa.table({"m": array})).schema.field("m").type):
        assert isinstance(found, Money)
        assert found.currency == "EUR"


# Loans


def test_each_buffer_is_copied_once_and_lent_from_then_on() -> None:
    shelf, table = Shelf(), large()
    first = send(table, shelf)
    assert [each.copied for each in shelf.taken()] == [True] * 3
    second = send(table, shelf)
    assert shelf.taken() == [
        Loan(320_000, "int64", copied=False),
        Loan(160_004, "string", copied=False),
        Loan(table["s"].chunk(0).buffers()[2].size, "string", copied=False),
    ]
    assert first.equals(table)
    assert second.equals(table)
    assert addresses(first) == addresses(second)


def test_a_kept_copy_ends_with_the_table() -> None:
    shelf, table = Shelf(), large()
    send(table, shelf)
    assert len(shelf.kept) == 3
    del table
    gc.collect()
    assert shelf.kept == {}


def test_memory_that_can_be_lent_is_not_copied() -> None:
    shelf, table = Shelf(), large()
    shelf.own = [(each, each + 400_000) for each in addresses(table)]
    found = send(table, shelf)
    assert not any(each.copied for each in shelf.taken())
    assert addresses(found) == addresses(table)


def test_what_arrives_is_read_only_and_ends_its_loan_with_the_last_array() -> None:
    shelf = Shelf()
    found = send(pa.table({"x": np.arange(40_000)}), shelf)
    column = found["x"].chunk(0)
    assert not column.buffers()[1].is_mutable
    piece = column.slice(3, 4)
    del found, column
    assert shelf.copies[0]() is not None
    assert piece.to_pylist() == [3, 4, 5, 6]
    del piece
    assert shelf.copies[0]() is None


def made_of_numpys_memory(way: str, numbers: np.ndarray) -> pa.Table:
    """A table over an array's own memory."""
    if way == "table":
        return pa.table({"x": numbers})
    if way == "pandas":
        return pa.Table.from_pandas(pd.DataFrame({"x": numbers}, copy=False))
    if way == "slice":
        return pa.table({"x": numbers}).slice(0, 30_000)
    column = pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
    return pa.table({"x": column})


@pytest.mark.parametrize("way", ["table", "pandas", "slice", "buffer"])
def test_what_numpy_may_write_to_is_never_served_from_a_kept_copy(way: str) -> None:
    numbers = np.arange(40_000)
    shelf, table = Shelf(), made_of_numpys_memory(way, numbers)
    for value in (7, 8):
        numbers[0] = value
        assert table["x"][0].as_py() == value
        assert send(table, shelf)["x"][0].as_py() == value
    assert all(each.copied for each in shelf.taken())


def test_a_read_only_view_of_numpy_is_not_taken_for_a_constant() -> None:
    numbers = np.arange(40_000)
    view = numbers.view()
    view.flags.writeable = False
    shelf, array = Shelf(), pa.array(view)
    assert not array.buffers()[1].is_mutable
    send(array, shelf)
    numbers[0] = 99
    assert send(array, shelf)[0].as_py() == 99


def file_of(table: pa.Table, folder: Path) -> pa.Table:
    path = folder / "table.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def test_what_arrow_made_or_its_maker_gave_away_is_constant(tmp_path: Path) -> None:
    table = large(2000)
    out = io.BytesIO()
    table.to_pandas().to_parquet(out)
    for made in (
        table,
        table.slice(5, 9),
        table.take([1, 2]),
        pa.table({"x": pc.add(table["x"], 1)}),
        pq.read_table(io.BytesIO(out.getvalue())),
        file_of(table, tmp_path),
        pl.DataFrame({"x": [1, 2, 3]}).to_arrow(),
    ):
        buffers = [each for column in made.columns for each in column.chunk(0).buffers() if each]
        assert all(map(is_constant, buffers)), made


def test_a_buffer_arrives_as_one_and_is_kept_where_it_cannot_be_written_to() -> None:
    shelf = Shelf()
    fixed = large().column("s").chunk(0).buffers()[2].slice(0, 100_000)
    for _ in range(2):
        assert send(fixed, shelf).equals(fixed)
    assert [each.copied for each in shelf.taken()] == [True, False]
    written = pa.allocate_buffer(5000)
    memoryview(written).cast("B")[:] = bytes(5000)
    for value in (1, 2):
        memoryview(written).cast("B")[0] = value
        found = send(written, shelf)
        assert found[0] == value
        assert found.is_mutable
    assert [each.copied for each in shelf.taken()] == [True, True]
    assert send(pa.py_buffer(b"")).to_pybytes() == b""


# Slices


SLICED = {
    "numbers": pa.array(range(50_000)),
    "texts": pa.array([f"row {i}" for i in range(50_000)]),
    "text views": pa.array([f"a text of some length {i}" for i in range(50_000)], pa.string_view()),
    "lists": pa.array([[i, i] for i in range(50_000)]),
    "list views": pa.array([[i, i] for i in range(50_000)], pa.list_view(pa.int64())),
    "structs": pa.array([{"a": i} for i in range(50_000)]),
    "run ends": pc.run_end_encode(pa.array([i // 2 for i in range(50_000)])),
}


@pytest.mark.parametrize("array", SLICED.values(), ids=SLICED.keys())
def test_of_a_short_slice_little_more_than_its_values_is_copied(array: pa.Array) -> None:
    shelf = Shelf()
    for part in (array.slice(40_000, 10), pa.chunked_array([array.slice(40_000, 10)])):
        found = send(part, shelf)
        assert found.equals(part)
        found.validate(full=True)
        assert sum(each.nbytes for each in shelf.taken()) < 1000
    table = pa.table({"x": array}).slice(17, 5)
    assert send(table, shelf).equals(table)
    assert send(table.to_batches()[0], shelf).equals(table.to_batches()[0])
    assert sum(each.nbytes for each in shelf.taken()) < 2000


def test_a_slice_is_cut_once_and_lent_from_then_on() -> None:
    shelf, part = Shelf(), large().slice(1000, 5000)
    send(part, shelf)
    assert [each.copied for each in shelf.taken()] == [True] * 3
    assert send(part, shelf).equals(part)
    assert [each.copied for each in shelf.taken()] == [False] * 3


def test_a_slice_of_what_numpy_may_write_to_is_cut_anew_each_time() -> None:
    numbers = np.arange(100_000)
    shelf, part = Shelf(), pa.array(numbers).slice(10, 10)
    send(part, shelf)
    numbers[10] = -5
    assert send(part, shelf)[0].as_py() == -5


def test_a_slice_of_memory_that_can_be_lent_is_lent_whole() -> None:
    shelf, table = Shelf(), large()
    shelf.own = [(each, each + 400_000) for each in addresses(table)]
    part = table.slice(1000, 10)
    found = send(part, shelf)
    assert found.equals(part)
    assert addresses(found) == addresses(table)
    assert not any(each.copied for each in shelf.taken())
