"""A handle is checked field by field: whatever it says, nothing outside its arena is ever mapped from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snakepit_nb.arrays import dtypes
from snakepit_nb.arrays.handle import ArrayHandle, check_extent, from_fields, span
from snakepit_nb.errors.types import ArrayError

GOOD = ArrayHandle("dlpack", "arena", "k1", 1, 0, 48, 7, "cpu", "<f8", (2, 3), (24, 8), 0, "numpy")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def test_a_handle_survives_json() -> None:
    assert from_fields(json.loads(json.dumps(GOOD))) == GOOD


@pytest.mark.parametrize("field", ArrayHandle._fields)
def test_a_field_of_the_wrong_type_is_refused_by_its_name(field: str) -> None:
    fields = [None if name == field else value for name, value in GOOD._asdict().items()]
    with pytest.raises(ArrayError, match=field):
        from_fields(fields)


@pytest.mark.parametrize("fields", [[], list(GOOD)[:-1], [*GOOD, 1]])
def test_a_missing_or_surplus_field_is_refused(fields: list[object]) -> None:
    with pytest.raises(ArrayError, match=r"13 fields, got \d+"):
        from_fields(fields)


@given(st.lists(json_values, min_size=13, max_size=13))
def test_garbage_in_the_fields_only_ever_gives_array_error(fields: list[object]) -> None:
    try:
        from_fields(fields)
    except ArrayError:
        return
    assert all(type(fields[index]) is int for index in (3, 4, 5, 6, 11))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": -8}, "outside its arena"),
        ({"offset": 4096}, "outside its arena"),
        ({"nbytes": -1}, "outside its arena"),
        ({"nbytes": 40}, "span bytes 0 to 48 of an extent of 40"),
        ({"start": -8}, "span bytes -8"),
        ({"start": 8}, "span bytes 8 to 56"),
        ({"strides": (24, -8)}, "span bytes -16"),
        ({"strides": (1 << 62, 8)}, "span bytes"),
        ({"shape": (2,)}, "with shape"),
        ({"shape": (-2, 3)}, "with shape"),
    ],
)
def test_elements_outside_the_extent_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ArrayError, match=words):
        check_extent(GOOD._replace(**change), 8, 4096)  # type: ignore[arg-type]


@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    strides=st.lists(st.integers(-64, 64), min_size=3, max_size=3),
    start=st.integers(0, 128),
    nbytes=st.integers(0, 256),
)
def test_what_passes_the_check_touches_no_byte_outside(
    shape: tuple[int, ...], strides: list[int], start: int, nbytes: int
) -> None:
    used = tuple(strides[: len(shape)])
    handle = GOOD._replace(shape=shape, strides=used, start=start, nbytes=nbytes)
    offsets = [start + sum(i * s for i, s in zip(at, used, strict=True)) for at in np.ndindex(shape)]
    inside = all(offset >= 0 and offset + 4 <= nbytes for offset in offsets)
    try:
        check_extent(handle, 4, 4096)
    except ArrayError:
        assert not inside
    else:
        assert inside


@given(hnp.arrays(np.int32, hnp.array_shapes(max_dims=3, max_side=4)), st.data())
def test_span_is_what_numpy_says_of_a_view(array: np.ndarray, data: st.DataObject) -> None:
    view = array[data.draw(hnp.basic_indices(array.shape, allow_ellipsis=False))]
    if not isinstance(view, np.ndarray) or view.size == 0:
        return
    low, high = np.lib.array_utils.byte_bounds(view)
    address = view.__array_interface__["data"][0]
    assert span(view.shape, view.strides, view.itemsize) == (low - address, high - address)


ODD_DTYPES = [
    np.dtype([("a", "<i4"), ("b", ">f8", (2, 3)), ("c", [("d", "S3"), ("e", "<M8[ns]")])]),
    np.dtype({"names": ["x"], "formats": ["<i2"], "offsets": [6], "itemsize": 16}),
    np.dtype([(("a title", "t"), "<i4")]),
    np.dtype("V7"),
]


@pytest.mark.parametrize("dtype", ODD_DTYPES, ids=str)
def test_an_odd_dtype_survives_json(dtype: np.dtype) -> None:
    descr = dtypes.describe(dtype)
    assert descr is not None
    assert dtypes.restore(json.loads(json.dumps(descr))) == dtype


@given(hnp.scalar_dtypes() | hnp.array_dtypes() | hnp.nested_dtypes())
def test_every_dtype_comes_back_as_it_was_or_is_not_described(dtype: np.dtype) -> None:
    descr = dtypes.describe(dtype.base)
    if descr is not None:
        assert dtypes.restore(json.loads(json.dumps(descr))) == dtype.base


@pytest.mark.parametrize("descr", ["O", "|O", [["a", "|O"]], "nonsense", [1], [["a"]], [[1, 2]], "f8, O"])
def test_a_description_of_objects_or_of_nothing_is_refused(descr: dtypes.Descr) -> None:
    with pytest.raises(ArrayError, match="array handle with"):
        dtypes.restore(descr)


@given(st.text() | st.lists(json_values))
def test_garbage_for_a_dtype_only_ever_gives_array_error(descr: dtypes.Descr) -> None:
    try:
        found = dtypes.restore(descr)
    except ArrayError:
        return
    assert not found.hasobject
