"""Tables and frames travel by their buffers, without a copy on the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from snakepit_nb.wire.payload import pack, unpack
from tests.stores import KERNEL, WORKER, checked_events, settle, two_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.arrays.store import Store

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


def lies_in_lent_memory(store: Store, array: np.ndarray) -> bool:
    """Whether an array is a view of what was lent: its base ends the loan."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    del store
    return type(base).__name__ == "Lent"


def is_clean(pair: tuple[Store, Store]) -> bool:
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
    return [
        (buffer.address, buffer.size)
        for column in found.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None and buffer.size >= 4096
    ]


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
    del found
    assert is_clean(pair)


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
    assert lies_in_lent_memory(pair[1], found["x"].to_numpy())
    found.loc[0, "x"] = -1
    assert sent.loc[0, "x"] == 0
    del found
    assert is_clean(pair)
