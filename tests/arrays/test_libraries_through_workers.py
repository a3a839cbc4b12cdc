"""Tables, frames and tensors through a real worker and back, and what that cost."""

from __future__ import annotations

import copy
import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snakepit_nb import Pool, options
from snakepit_nb.pool import loans
from tests.stores import checked_events
from tests.tables import arrays, same, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPORT = "snakepit.zero_copy.export"
FALLBACK = "snakepit.zero_copy.fallback"
MIB = 1 << 20

often = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    # One worker, so that what is asked of it is asked of one process; and all memory is lent, however small.
    with options.override(inline_bytes=1), Pool(1) as made:
        yield made.start()


@pytest.fixture
def shared() -> None:
    """For tests of what only happens where results of any library are born in shared memory."""
    loans.kernel_store()
    loans.bear_here()
    store = loans.kernel_store()
    probe = np.ones(MIB)
    block = store.arena.find(probe.ctypes.data, probe.nbytes) if store.arena is not None else None
    if block is None or store.arena is None:
        pytest.skip("arrays are not born in shared memory here: no arena library, or SNAKEPIT_NB_ARENA=0")
    store.arena.free(block)


def _same(value: Any) -> Any:
    return value


def _made_again(value: Any) -> Any:
    return pa.concat_arrays([value]) if isinstance(value, pa.Array) else pa.concat_tables([value])


# Any value


@often
@given(table=tables())
def test_any_table_comes_back_as_it_went(pool: Pool, table: pa.Table) -> None:
    for function in (_same, _made_again):
        found = pool.submit(function, table).result()
        found.validate(full=True)
        assert found.equals(table, check_metadata=True)


@often
@given(array=arrays())
def test_any_array_of_arrow_comes_back_as_it_went(pool: Pool, array: pa.Array) -> None:
    found = pool.submit(_same, array).result()
    found.validate(full=True)
    assert type(found) is type(array)
    assert same(found, array)


COLUMNS = st.sampled_from(
    [
        np.dtype("float64"),
        np.dtype("int16"),
        np.dtype("bool"),
        np.dtype("M8[ns]"),
        np.dtype("m8[s]"),
        pd.Int32Dtype(),
        pd.StringDtype(),
        pd.CategoricalDtype(["a", "b", "c"]),
        pd.ArrowDtype(pa.int64()),
        pd.ArrowDtype(pa.string()),
    ]
)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A frame of some columns, without or with an index of its own, whole or a part."""
    rows = draw(st.integers(0, 12))
    columns: dict[str, object] = {}
    for number in range(draw(st.integers(0, 4))):
        dtype = draw(COLUMNS)
        if isinstance(dtype, np.dtype):
            column: object = draw(hnp.arrays(dtype, rows, elements=hnp.from_dtype(dtype, allow_nan=True)))
        else:
            numbers = isinstance(dtype, pd.Int32Dtype) or str(dtype) == "int64[pyarrow]"
            each = st.integers(-9, 9) if numbers else st.sampled_from(["a", "b", "c"])
            values: Any = draw(st.lists(st.none() | each, min_size=rows, max_size=rows))
            column = pd.array(values, dtype=dtype)
        columns[f"column {number}"] = column
    index = pd.Index([f"row {number}" for number in range(rows)]) if draw(st.booleans()) else None
    frame = pd.DataFrame(columns, index=index)
    low = draw(st.integers(0, rows))
    return frame.iloc[low:] if draw(st.booleans()) else frame


@often
@given(frame=frames())
def test_any_frame_comes_back_as_a_deep_copy_would(pool: Pool, frame: pd.DataFrame) -> None:
    expected = copy.deepcopy(frame)
    found = pool.submit(_same, frame).result()
    pd.testing.assert_frame_equal(found, expected)
    if len(found) and len(found.columns):
        found.iloc[0, 0] = found.iloc[-1, 0]  # it is the kernel's to write to
        pd.testing.assert_frame_equal(frame, expected)


def test_a_frame_of_polars_comes_back_as_it_went(pool: Pool) -> None:
    frame = pl.DataFrame({"n": range(3000), "s": [f"row {n}" for n in range(3000)], "l": [[1, None]] * 3000})
    polars.testing.assert_frame_equal(pool.submit(_same, frame).result(), frame)


# What it costs


def _table(rows: int) -> pa.Table:
    return pa.table({"n": pa.array(range(rows)), "s": pa.array([f"row {n}" for n in range(rows)])})


@pytest.mark.usefixtures("shared")
def test_a_table_is_copied_once_and_what_a_worker_makes_comes_without_a_copy(pool: Pool) -> None:
    table = _table(300_000)
    with checked_events(FALLBACK) as captured:
        pool.submit(_same, table).result()
    assert {each.metadata["reason"] for each in captured} == {"first_share"}
    assert {each.metadata["kind"] for each in captured} == {"arrow"}
    with checked_events(FALLBACK) as captured:
        found = pool.submit(_same, table).result()
        made = pool.submit(_table, 300_000).result()
    assert [each.measurements["bytes"] for each in captured if each.measurements["bytes"] > MIB] == []
    assert found.equals(table)
    assert made.equals(table)


@pytest.mark.usefixtures("shared")
def test_a_frame_of_numbers_goes_and_comes_without_a_copy(pool: Pool) -> None:
    frame = pd.DataFrame(np.arange(4.0 * MIB).reshape(-1, 4), columns=list("abcd"))

    def doubled(given: pd.DataFrame) -> pd.DataFrame:
        return given * 2

    pool.submit(doubled, frame).result()
    with checked_events(EXPORT, FALLBACK) as captured:
        found = pool.submit(doubled, frame).result()
    large = [each for each in captured if each.measurements["bytes"] > MIB]
    assert [each.name for each in large] == [(*EXPORT.split("."),)] * len(large)
    assert len(large) >= 2
    pd.testing.assert_frame_equal(found, frame * 2)


# torch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed: pip install torch")


@pytest.mark.usefixtures("shared")
def test_a_tensor_is_copied_once_and_its_results_never(pool: Pool, torch: Any) -> None:
    tensor = torch.arange(float(MIB))
    row = tensor[5:9]

    def plus(given: Any, more: float) -> Any:
        given += more  # the worker's own from here on
        return given * 1

    pool.submit(plus, torch.ones(3), 1.0).result()
    with checked_events(EXPORT, FALLBACK) as captured:
        first = pool.submit(plus, tensor, 1.0).result()
        tensor += 1
        second = pool.submit(plus, tensor, 1.0).result()
    assert [(each.name[-1], each.metadata["direction"]) for each in captured] == [
        ("fallback", "to_worker"),
        ("export", "to_kernel"),
        ("export", "to_worker"),
        ("export", "to_kernel"),
    ]
    assert (first[0], second[0], tensor[0], row[0]) == (1, 2, 1, 6)
    row[0] = -1
    assert tensor[5] == -1
    first += 1
    assert first[0] == 2


@pytest.mark.usefixtures("shared")
def test_the_state_of_a_model_costs_one_copy_for_each_storage_and_none_the_second_time(
    pool: Pool, torch: Any
) -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(300, 300) for _ in range(4)))

    def total(state: dict[str, Any]) -> float:
        return sum(float(each.double().sum()) for each in state.values())

    expected = total(model.state_dict())
    counts = []
    for _ in range(2):
        with checked_events(FALLBACK) as captured:
            assert pool.submit(total, model.state_dict()).result() == pytest.approx(expected)
        counts.append(sum(each.measurements["bytes"] >= 4096 for each in captured))
    assert counts == [4, 0]


def test_what_a_tensor_is_comes_back_too(pool: Pool, torch: Any) -> None:
    base = torch.arange(12.0).view(3, 4)
    given = {
        "bfloat16": torch.ones(3000, dtype=torch.bfloat16),
        "transposed": base.T,
        "learns": torch.nn.Parameter(torch.rand(40, 50)),
        "asks": torch.ones(2000, requires_grad=True),
        "views": [base, base[1]],
    }
    found = pool.submit(_same, given).result()
    assert (found["bfloat16"].dtype, found["bfloat16"].sum()) == (torch.bfloat16, 3000)
    assert found["transposed"].stride() == base.T.stride()
    assert type(found["learns"]) is torch.nn.Parameter
    assert found["asks"].requires_grad
    found["views"][0][1, 0] = -1
    assert found["views"][1][0] == -1
    assert base[1, 0] == 4


def test_tensors_leave_nothing(pool: Pool, torch: Any) -> None:
    store = loans.kernel_store()
    tensor = torch.ones(2000)

    def settled() -> tuple[int, int]:
        gc.collect()
        for _ in range(3):
            pool.submit(abs, -1).result()
        return store.stats().live_bytes, store.stats().leases

    pool.submit(_same, tensor).result()
    before = settled()
    for _ in range(300):
        pool.submit(_same, [tensor, tensor[3:]]).result()
    assert settled() == before
