"""Tables and frames travel by their buffers, without a copy on the way in."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings

from snakepit_nb import Pool
from snakepit_nb.pool.loans import kernel_store
from snakepit_nb.wire.payload import pack, take, unpack
from tests.stores import KERNEL, WORKER, checked_events, settle, two_stores
from tests.tables import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.arrays.store import Store
    from snakepit_nb.testing import Captured

FALLBACK = "snakepit.zero_copy.fallback"
EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"


@pytest.fixture
def pair() -> Iterator[tuple[Store, Store]]:
    with two_stores(inline_bytes=4096) as both:
        yield both


def over(pair: tuple[Store, Store], obj: object) -> Any:
    """The object as it arrives in the worker."""
    kernel, worker = pair
    return unpack(pack(obj, kernel), worker, peer=KERNEL)


def lies_in_lent_memory(array: np.ndarray) -> bool:
    """Whether an array is a view of what was lent."""
    address = array.__array_interface__["data"][0]
    return any(low <= address and address + array.nbytes <= high for low, high in lent_ranges())


def is_clean(pair: tuple[Store, Store]) -> bool:
    """Whether all that was lent is back, and no copy is kept."""
    settle(*pair)
    return all((each.stats().leases, each.stats().live_bytes) == (0, 0) for each in pair)


def table() -> pa.Table:
    return pa.table(
        {
            "x": np.arange(5000.0),
            "s": [f"row {i}" for i in range(5000)],
            "n": pa.array([None if i % 3 else i for i in range(5000)], pa.int64()),
        }
    )


def addresses(found: pa.Table) -> list[tuple[int, int]]:
    """Where the larger buffers of a table lie, and how long they are."""
    buffers = (each for column in found.columns for chunk in column.chunks for each in chunk.buffers())
    return [(each.address, each.size) for each in buffers if each is not None and each.size >= 4096]


def told(captured: Captured) -> dict[str, int]:
    """How many loans each event told of."""
    return Counter(name.rpartition(".")[2] for name in captured.names() if not name.endswith("release"))


def constants() -> pa.Table:
    """A table that nobody but Arrow can write to: four large buffers, and a small one."""
    table = pa.table({"n": range(5000), "s": [f"row {i}" for i in range(5000)]})
    return table.append_column("l", pc.make_struct(table["n"], field_names=["i"]))


def lent_ranges() -> list[tuple[int, int]]:
    """The mappings of lent memory in this process."""
    with open("/proc/self/maps", encoding="ascii") as lines:  # noqa: PTH123 - not a path of files
        spans = [line.split()[0].split("-") for line in lines if "memfd:snakepit_nb" in line]
    return [(int(low, 16), int(high, 16)) for low, high in spans]


def test_a_table_travels_by_its_buffers_and_is_not_copied_on_import(pair: tuple[Store, Store]) -> None:
    sent = table()
    with checked_events() as captured:
        found = over(pair, sent)
    assert found.equals(sent)
    assert {each.metadata["kind"] for each in captured} == {"arrow"}
    assert captured.names().count(FALLBACK) == captured.names().count(IMPORT) == len(addresses(sent))
    ranges = lent_ranges()
    for address, size in addresses(found):
        assert any(low <= address and address + size <= high for low, high in ranges)
    del found, sent
    assert is_clean(pair)


def test_a_table_is_copied_once_and_lent_without_a_copy_from_then_on(pair: tuple[Store, Store]) -> None:
    sent = constants()
    with checked_events() as captured:
        first = over(pair, sent)
    assert told(captured) == {"fallback": 3, "import": 3}
    with checked_events() as captured:
        second = over(pair, [sent, sent])
    assert told(captured) == {"export": 3, "import": 3}
    assert second[0] is second[1]
    assert first.equals(sent)
    assert second[0].equals(sent)
    assert pair[0].stats().cached_bytes > 0
    del first, second, sent
    assert is_clean(pair)


def test_the_facts_of_a_loan_name_the_column(pair: tuple[Store, Store]) -> None:
    with checked_events(FALLBACK) as captured:
        over(pair, constants().select(["n"]))
    [one] = captured
    assert one.measurements["bytes"] == 40_000
    assert one.metadata["kind"] == "arrow"
    assert one.metadata["dtype"] == "int64"
    assert one.metadata["shape"] == [5000]
    assert one.metadata["reason"] == "first_share"


def test_what_numpy_may_write_to_is_shared_as_it_is_now(pair: tuple[Store, Store]) -> None:
    numbers = np.arange(5000)
    sent = pa.table({"x": numbers})
    for value in (1, 2, 3):
        numbers[0] = value
        assert over(pair, sent)["x"][0].as_py() == value


def test_a_slice_of_a_long_table_is_cut_out_of_what_would_be_copied(pair: tuple[Store, Store]) -> None:
    long = pa.table({"x": range(100_000)})
    with checked_events(FALLBACK) as captured:
        assert over(pair, long.slice(500, 1000)).equals(long.slice(500, 1000))
    assert [each.measurements["bytes"] for each in captured] == [8000]


def test_a_slice_of_shared_memory_is_lent_whole(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    sent = pa.table({"x": range(100_000)})
    here: Any = unpack(pack(sent, worker), kernel, peer=WORKER, mode="in_place")
    with checked_events() as captured:
        there = over(pair, here.slice(500, 1000))
    assert told(captured) == {"export": 1, "import": 1}
    assert there.equals(sent.slice(500, 1000))
    del here, there


def test_a_table_goes_home_as_it_came(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    sent = constants()
    there = over(pair, sent)
    with checked_events() as captured:
        home: Any = unpack(pack(there, worker), kernel, peer=WORKER)
    assert told(captured) == {"export": 3, "import": 3}
    assert home.equals(sent)
    del there, home, sent
    assert is_clean(pair)


def test_a_frame_of_polars_is_copied_once_until_it_is_written_to(pair: tuple[Store, Store]) -> None:
    sent = pl.DataFrame({"x": range(5000), "y": [0.5] * 5000})
    for expected in ({"fallback": 2, "import": 2}, {"export": 2, "import": 2}):
        with checked_events() as captured:
            found = over(pair, sent)
        assert told(captured) == expected
        pl.testing.assert_frame_equal(found, sent)
    found[0, "x"] = -1
    assert sent[0, "x"] == 0
    sent[1, "x"] = -2
    assert over(pair, sent)[1, "x"] == -2
    del found, sent
    assert is_clean(pair)


@pytest.mark.parametrize("kind", ["string[pyarrow]", pd.ArrowDtype(pa.string())], ids=str)
def test_the_texts_of_a_frame_are_copied_once(pair: tuple[Store, Store], kind: Any) -> None:
    sent = pd.DataFrame({"s": [f"row {i}" for i in range(5000)]}).astype(kind)
    for expected in ({"fallback": 2, "import": 2}, {"export": 2, "import": 2}):
        with checked_events() as captured:
            found = over(pair, sent)
        assert told(captured) == expected
        pd.testing.assert_frame_equal(found, sent)
    found.loc[0, "s"] = "changed"
    assert sent.loc[0, "s"] == "row 0"


def test_a_table_that_is_full_of_small_ones_is_told_of_by_nobody(pair: tuple[Store, Store]) -> None:
    sent = [pa.table({"x": [i]}) for i in range(100)]
    with checked_events() as captured:
        assert over(pair, sent) == sent
    assert told(captured) == {}


def test_a_table_of_a_worker_goes_to_another_without_a_copy(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    here: Any = unpack(pack(table(), worker), kernel, peer=WORKER, mode="in_place")
    with checked_events() as captured:
        there = over(pair, here)
    assert set(captured.names()) == {EXPORT, IMPORT}
    assert there.equals(table())
    del here, there
    assert is_clean(pair)


def test_a_frame_travels_by_its_buffers_and_is_not_copied_on_import(pair: tuple[Store, Store]) -> None:
    sent = pd.DataFrame(
        {
            "x": np.arange(5000.0),
            "y": np.arange(5000),
            "t": pd.date_range("2020", periods=5000),
            "c": pd.Categorical(["a", "b"] * 2500),
            "s": [f"row {i}" for i in range(5000)],
        }
    )
    with checked_events() as captured:
        found = over(pair, sent)
    pd.testing.assert_frame_equal(found, sent)
    told = [each for each in captured if each.name[-1] == "import"]
    assert len(told) >= 4
    assert lies_in_lent_memory(found["x"].to_numpy())
    found.loc[0, "x"] = -1
    assert sent.loc[0, "x"] == 0
    del found, sent
    assert is_clean(pair)


def test_a_worker_computes_with_tables_and_gives_them_back() -> None:
    sent = constants()
    shared = [{"fallback": 3, "import": 3}, {"export": 3, "import": 3}]
    in_band = [{"fallback": 3}] * 2
    with Pool(1) as pool:
        for expected in shared if kernel_store().arena else in_band:
            with checked_events("snakepit.zero_copy") as captured:
                assert pool.submit(len, sent).result() == 5000
            assert told(captured) == expected
        found = pool.submit(pa.Table.sort_by, sent, [("n", "descending")]).result()
        assert found.equals(sent.sort_by([("n", "descending")]))
        assert pool.submit(pl.DataFrame, {"x": range(5000)}).result()["x"].sum() == 12_497_500
        assert (
            pool.submit(pd.Series.sum, pd.Series(range(5000), dtype="int64[pyarrow]")).result() == 12_497_500
        )


def test_any_table_comes_back_from_a_worker_as_it_was() -> None:
    with Pool(1) as pool:

        @settings(max_examples=40)
        @given(tables())
        def round_trip(table: pa.Table) -> None:
            found: Any = pool.submit(take, table).result()
            found.validate(full=True)
            assert found.equals(table, check_metadata=True)

        round_trip()
