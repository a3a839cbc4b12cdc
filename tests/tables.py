"""Arrow's arrays and tables at random: any type, nested, sliced, in chunks, with nulls and without."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn, SearchStrategy


class Money(pa.ExtensionType):  # type: ignore[misc]
    """A type of the tests' own that nobody registers."""

    def __init__(self, currency: str = "EUR") -> None:
        self.currency = currency
        super().__init__(pa.int64(), "snakepit_nb.tests.money")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.currency.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Self:
        del storage_type
        return cls(serialized.decode())


_texts = st.text(string.ascii_letters + "äö☃", max_size=30)
_bytes = st.binary(max_size=30)


def _ints(bits: int, *, signed: bool = True) -> SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


def _decimals(digits: int, scale: int) -> SearchStrategy[object]:
    return st.decimals(-(10 ** (digits - scale)) + 1, 10 ** (digits - scale) - 1, places=scale)


PLAIN: dict[pa.DataType, SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.int8(): _ints(8),
    pa.uint16(): _ints(16, signed=False),
    pa.int32(): _ints(32),
    pa.int64(): _ints(64),
    pa.uint64(): _ints(64, signed=False),
    pa.float16(): st.floats(width=16, allow_nan=False).map(np.float16),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.decimal128(20, 3): _decimals(20, 3),
    pa.decimal256(50, 10): _decimals(50, 10),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.timestamp("ms"): _ints(40),
    pa.timestamp("ns", "Europe/Berlin"): _ints(60),
    pa.duration("s"): _ints(30),
    pa.month_day_nano_interval(): st.tuples(_ints(16), _ints(16), _ints(40)),
    pa.string(): _texts,
    pa.large_string(): _texts,
    pa.string_view(): _texts,
    pa.binary(): _bytes,
    pa.binary_view(): _bytes,
    pa.binary(3): st.binary(min_size=3, max_size=3),
}


@st.composite
def _plain(draw: DrawFn, length: int) -> pa.Array:
    kind, values = draw(st.sampled_from(list(PLAIN.items())))
    nulls = draw(st.sampled_from([values, values | st.none(), st.none()]))
    return pa.array(draw(st.lists(nulls, min_size=length, max_size=length)), kind)


@st.composite
def _lists(draw: DrawFn, length: int, depth: int) -> pa.Array:
    ends = sorted(draw(st.lists(st.integers(0, 12), min_size=length + 1, max_size=length + 1)))
    inside = draw(_of(ends[-1], depth - 1))
    make, width = draw(
        st.sampled_from(
            [(pa.ListArray, pa.int32()), (pa.LargeListArray, pa.int64()), (pa.MapArray, pa.int32())]
        )
    )
    offsets: list[int | None] = list(ends)
    if length and draw(st.booleans()):
        offsets[draw(st.integers(0, length - 1))] = None
    if make is pa.MapArray:
        keys = pa.array([str(each) for each in range(ends[-1])])
        return make.from_arrays(pa.array(offsets, width), keys, inside)
    return make.from_arrays(pa.array(offsets, width), inside)


@st.composite
def _list_views(draw: DrawFn, length: int, depth: int) -> pa.Array:
    inside = draw(_of(10, depth - 1))
    starts = draw(st.lists(st.integers(0, 5), min_size=length, max_size=length))
    sizes = draw(st.lists(st.integers(0, 5), min_size=length, max_size=length))
    return pa.ListViewArray.from_arrays(pa.array(starts, pa.int32()), pa.array(sizes, pa.int32()), inside)


@st.composite
def _fixed_lists(draw: DrawFn, length: int, depth: int) -> pa.Array:
    width = draw(st.integers(1, 3))
    return pa.FixedSizeListArray.from_arrays(draw(_of(length * width, depth - 1)), width)


@st.composite
def _structs(draw: DrawFn, length: int, depth: int) -> pa.Array:
    children = draw(st.lists(_of(length, depth - 1), min_size=1, max_size=3))
    mask = draw(st.none() | st.lists(st.booleans(), min_size=length, max_size=length))
    names = [f"f{each}" for each in range(len(children))]
    told = None if mask is None else pa.array(mask, pa.bool_())
    return pa.StructArray.from_arrays(children, names, mask=told)


@st.composite
def _dictionaries(draw: DrawFn, length: int, depth: int) -> pa.Array:
    del depth
    places = draw(st.lists(st.integers(0, 3) | st.none(), min_size=length, max_size=length))
    values = pa.array(draw(st.lists(_texts, min_size=4, max_size=4, unique=True)))
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int8()), values, ordered=draw(st.booleans()))


@st.composite
def _run_ends(draw: DrawFn, length: int, depth: int) -> pa.Array:
    del depth
    values = draw(st.lists(st.sampled_from([1, 2, None]), min_size=length, max_size=length))
    return pc.run_end_encode(pa.array(values, pa.int16()))


@st.composite
def _unions(draw: DrawFn, length: int, depth: int) -> pa.Array:
    kinds = pa.array(draw(st.lists(st.integers(0, 1), min_size=length, max_size=length)), pa.int8())
    children = [draw(_of(length, depth - 1)), draw(_of(length, depth - 1))]
    if draw(st.booleans()):
        return pa.UnionArray.from_sparse(kinds, children)
    return pa.UnionArray.from_dense(kinds, pa.array(range(length), pa.int32()), children)


@st.composite
def _extensions(draw: DrawFn, length: int, depth: int) -> pa.Array:
    del depth
    if draw(st.booleans()):
        storage = pa.array(draw(st.lists(_ints(64), min_size=length, max_size=length)), pa.int64())
        return pa.ExtensionArray.from_storage(Money(), storage)
    sixteen = st.binary(min_size=16, max_size=16)
    return pa.array(draw(st.lists(sixteen, min_size=length, max_size=length)), pa.uuid())


_NESTED: list[Callable[[int, int], SearchStrategy[pa.Array]]] = [
    _lists, _list_views, _fixed_lists, _structs, _dictionaries, _run_ends, _unions, _extensions,
]  # fmt: skip


@st.composite
def _of(draw: DrawFn, length: int, depth: int) -> pa.Array:
    if depth and draw(st.booleans()):
        return draw(draw(st.sampled_from(_NESTED))(length, depth))
    return draw(_plain(length))


@st.composite
def arrays(draw: DrawFn, *, min_size: int = 0, depth: int = 2) -> pa.Array:
    """An array of any type, of up to eight values, as it was made or as a slice of one."""
    length = draw(st.integers(min_size, 8))
    before, after = draw(st.sampled_from([(0, 0), (1, 2), (9, 0)]))
    whole = draw(_of(before + length + after, depth))
    return whole.slice(before, length)


@st.composite
def tables(draw: DrawFn) -> pa.Table:
    """A table of any types, in chunks of any lengths, with metadata."""
    rows = draw(st.integers(0, 8))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=2)))
    columns = []
    for _ in range(draw(st.integers(0, 3))):
        whole = draw(_of(rows, 2))
        ends = draw(st.sampled_from([[], cuts]))
        chunks = [whole.slice(low, high - low) for low, high in zip([0, *ends], [*ends, rows], strict=True)]
        columns.append(pa.chunked_array(chunks, whole.type))
    noted = draw(st.none() | st.dictionaries(_bytes, _bytes, max_size=2))
    fields = [
        pa.field(draw(_texts), column.type, metadata=draw(st.none() | st.just({"unit": "m"})))
        for column in columns
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=noted))


def same(found: pa.Array, sent: pa.Array) -> bool:
    """Whether two arrays are of one type, metadata included, and hold the same values."""
    alike: bool = found.type.equals(sent.type, check_metadata=True) and found.equals(sent)
    return alike
