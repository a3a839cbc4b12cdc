"""Arrays of every dtype and layout through two stores: what arrives is what was sent."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import as_strided

from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.memory import PAGE
from snakepit_nb.arrays.store import Store
from tests.stores import (
    KERNEL,
    WORKER,
    introduce,
    lend,
    settle,
    two_stores,
)

if TYPE_CHECKING:
    from snakepit_nb.arrays import borrowing

EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"
RELEASE = "snakepit.zero_copy.release"
LEAKED = "snakepit.zero_copy.leaked"


RECORD = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", [("d", "S3"), ("e", "U2")])])
ARRAYS = {
    "bool": np.array([True, False, True]),
    "int8": np.arange(-5, 5, dtype=np.int8),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "float16": np.linspace(0, 1, 7, dtype=np.float16),
    "nan and inf": np.array([np.nan, -np.inf, -0.0]),
    "longdouble": np.arange(3, dtype=np.longdouble),
    "complex64": np.array([1 + 2j, -3j], np.complex64),
    "datetime64": np.array(["2020-01-01", "NaT"], "M8[ns]"),
    "datetime64 of 25 us": np.array([1, 2], "M8[25us]"),
    "timedelta64": np.array([1, -2], "m8[s]"),
    "bytes": np.array([b"ab", b"c"], "S5"),
    "text": np.array(["äö", "☃"], "U3"),
    "void": np.array([b"abc", b"\0\1\2"], "V3"),
    "structured": np.array([(1, [2, 3], ("x", "y"))] * 3, RECORD),
    "field of a structured one": np.array([(1, [2, 3], ("x", "y"))] * 3, RECORD)["c"],
    "with gaps": np.zeros(4, np.dtype({"names": ["x"], "formats": ["<i2"], "offsets": [6], "itemsize": 16})),
    "aligned": np.ones(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "big endian": np.arange(6, dtype=">i8"),
    "big endian text": np.array(["äö"], ">U2"),
    "zero dimensions": np.array(3.5),
    "many dimensions": np.arange(32).reshape((2,) * 5),
    "Fortran order": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "Fortran order, three axes": np.zeros((2, 3, 4), order="F") + 1.5,
    "every other": np.arange(20)[::2],
    "a column": np.arange(20).reshape(4, 5)[:, 2],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0),
    "backwards": np.arange(10)[::-1],
    "backwards on two axes": np.arange(12).reshape(3, 4)[::-1, ::-2],
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "overlapping windows": as_strided(np.arange(8), (5, 4), (8, 8)),
    "read-only": np.frombuffer(b"12345678", np.int32),
    "a page and a bit": np.arange(PAGE // 8 + 1),
    "a megabyte": np.arange(1 << 17),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
@pytest.mark.parametrize("mode", ["copy_on_write", "in_place", "readonly"])
def test_an_array_arrives_as_it_was(
    pair: tuple[Store, Store], array: np.ndarray, mode: borrowing.Mode
) -> None:
    kernel, worker = pair
    there = worker.import_(lend(kernel, array, WORKER), peer=KERNEL, mode=mode)
    np.testing.assert_array_equal(there, array, strict=True)
    assert there.dtype == array.dtype
    assert there.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc
    # Rows that are one memory cannot be written to apart, there as here.
    assert there.flags.writeable == (mode != "readonly" and 0 not in there.strides)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_a_view_of_lent_memory_goes_home_with_its_own_shape_and_strides(
    pair: tuple[Store, Store], array: np.ndarray
) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, array, KERNEL), peer=WORKER, mode="in_place")
    for view in (here, here[::-1] if here.ndim else here, here.T, here[..., None]):
        there = worker.import_(lend(kernel, view, WORKER), peer=KERNEL)
        np.testing.assert_array_equal(there, view, strict=True)
        assert (there.strides, there.dtype) == (view.strides, view.dtype)


@given(
    hnp.arrays(
        hnp.scalar_dtypes() | hnp.array_dtypes(allow_subarrays=True).map(lambda dtype: dtype.base),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.data(),
)
def test_any_array_and_any_view_of_it_arrives_as_it_was(array: np.ndarray, data: st.DataObject) -> None:
    view = np.asarray(array[data.draw(hnp.basic_indices(array.shape, allow_newaxis=True))])
    with two_stores() as (kernel, worker):
        handle = kernel.export(view)
        if view.nbytes == 0:
            assert handle is None
            return
        assert handle is not None
        there = worker.import_(handle, peer=KERNEL)
        assert there.dtype == view.dtype
        assert there.tobytes() == view.tobytes()
        assert there.shape == view.shape
        del there
        settle(kernel, worker)
        assert kernel.stats().live_bytes == 0


def test_between_two_processes_each_sees_what_the_other_lent() -> None:
    kernel = Store("kernel", Arena(1 << 24), inline_bytes=0)
    worker = Store("worker", Arena(1 << 24), inline_bytes=0)
    introduce(kernel, worker)
    introduce(worker, kernel)
    given_array = np.arange(5000.0).reshape(50, 100)[:, ::-3]
    handle = lend(kernel, given_array, WORKER)
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of threads; this child runs a few lines of ours and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            array = worker.import_(handle, peer=KERNEL)
            array *= 2
            answer = worker.export(array)
            os.write(write, repr(tuple(answer or ())).encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
    answer = type(handle)(*eval(os.read(read, 10_000)))  # noqa: S307 - the child's own repr
    os.close(read)
    back = kernel.import_(answer, peer=WORKER, mode="in_place")
    np.testing.assert_array_equal(back, given_array * 2, strict=True)
    np.testing.assert_array_equal(given_array[0, 0], 99.0)
    mine = kernel.import_(handle, peer=KERNEL)
    np.testing.assert_array_equal(mine, given_array, strict=True)
    del back, mine
    kernel.close()
    worker.close()
