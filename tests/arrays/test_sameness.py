"""A copy is told from its original by every byte, and is made the same again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.arrays.sameness import update

MIB = 1 << 20
LENGTH = 5 * MIB + 3
changes = st.lists(st.integers(0, LENGTH - 1), max_size=6)


def both(changed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    original = np.zeros(LENGTH, np.uint8)
    copy = original.copy()
    original[changed] = 1
    return copy, original


@given(changes)
def test_a_copy_that_may_be_written_to_is_the_same_afterwards(changed: list[int]) -> None:
    copy, original = both(changed)
    copied = update(copy.ctypes.data, original.ctypes.data, LENGTH, writing=True)
    assert np.array_equal(copy, original)
    assert copied is not None
    assert (copied == 0) == (not changed)
    assert copied <= LENGTH


@given(changes)
def test_a_copy_that_may_not_be_written_to_is_left_alone(changed: list[int]) -> None:
    copy, original = both(changed)
    copied = update(copy.ctypes.data, original.ctypes.data, LENGTH, writing=False)
    assert copied == (None if changed else 0)
    assert not copy.any()


def test_little_is_copied_where_little_was_changed_and_all_where_all_was() -> None:
    copy, original = both([3 * MIB])
    assert update(copy.ctypes.data, original.ctypes.data, LENGTH, writing=True) == MIB
    original[:] = 2
    assert update(copy.ctypes.data, original.ctypes.data, LENGTH, writing=True) == LENGTH
