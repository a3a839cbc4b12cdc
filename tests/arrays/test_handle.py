"""A handle is checked field by field: whatever it says, nothing outside its arena is ever mapped from it."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snakepit_nb.arrays import dtypes
from snakepit_nb.arrays.handle import ArrayHandle, Mode, check_extent, from_bytes, span, to_bytes
from snakepit_nb.errors.types import ArrayError

GOOD = ArrayHandle("dlpack", "arena", "k1", 1, 0, 48, 7, "cpu", "<f8", (2, 3), (24, 8), 0)
INLINE = GOOD._replace(memory="inline", arena="", nbytes=3, content=b"abc", dtype=[["a", "|u1"]])
NUMBERS = st.integers(0, 2**64 - 1)
SIGNED = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(
    st.lists(
        st.builds(
            lambda numbers, axes, start, mode, writable, name: GOOD._replace(
                generation=numbers[0], offset=numbers[1], nbytes=numbers[2], lease=numbers[3],
                shape=tuple(axes), strides=tuple(reversed(axes)), start=start, mode=mode, writable=writable,
                arena=name,
            ),
            st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
            SIGNED,
            st.integers(-(2**63), 2**63 - 1),
            st.sampled_from(get_args(Mode)),
            st.booleans(),
            st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        )
        | st.just(INLINE)
    )
)  # fmt: skip
def test_handles_survive_being_bytes(handles: list[ArrayHandle]) -> None:
    assert from_bytes(b"".join(map(to_bytes, handles))) == handles


@given(st.binary(max_size=200))
def test_garbage_for_handles_only_ever_gives_array_error(data: bytes) -> None:
    try:
        from_bytes(data)
    except ArrayError:
        return
    assert not data


@given(st.data())
def test_handles_with_bytes_changed_or_missing_are_refused_or_whole(data: st.DataObject) -> None:
    raw = bytearray(to_bytes(GOOD) + to_bytes(INLINE))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        found = from_bytes(cut)
    except ArrayError:
        return
    assert all(len(each.shape) == len(each.strides) and each.mode in get_args(Mode) for each in found)


@pytest.mark.parametrize("cut", [1, 10, 48, 80, 100])
def test_handles_that_end_too_early_are_refused(cut: int) -> None:
    with pytest.raises(ArrayError, match="no whole array handle at byte 0"):
        from_bytes(to_bytes(INLINE)[:-1][:cut] if cut < 100 else to_bytes(INLINE)[:-1])


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
