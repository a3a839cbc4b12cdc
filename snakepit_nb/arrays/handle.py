"""A handle: where an array lies in memory that processes share, as a plain value.

*Rule:* a handle is checked field by field against the arena's bounds before anything is mapped from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Sequence


class ArrayHandle(NamedTuple):
    """Where one array or buffer lies, and how to read it.

    Attributes:
        kind: `"dlpack"` for arrays, `"arrow"` for columns and other plain buffers.
        memory: `"arena"`, the only place so far.
        arena: The id of the arena that the bytes lie in.
        generation: Which life of that block this is; a stale handle never maps a newer array.
        offset: First byte of the extent, from the arena's start.
        nbytes: Length of the extent in bytes.
        lease: The owner's number for this loan; it goes back in a release.
        device: `"cpu"`.
        dtype: NumPy's descr: a string, or a list for structured types.
        shape: Length of each axis.
        strides: Bytes between elements along each axis.
        start: Bytes from `offset` to the first element (negative strides start at the end).
        library: The library to give the array back in.

    Example:
        >>> ArrayHandle("dlpack", "arena", "k1", 1, 0, 16, 1, "cpu", "<f8", (2,), (8,), 0, "numpy").nbytes
        16
    """

    kind: str
    memory: str
    arena: str
    generation: int
    offset: int
    nbytes: int
    lease: int
    device: str
    dtype: str | list[object]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int
    library: str


_TEXT = (0, 1, 2, 7, 12)
_NUMBERS = (3, 4, 5, 6, 11)


def from_fields(fields: Sequence[object]) -> ArrayHandle:
    """Build a handle from decoded fields.

    Raises:
        ArrayError: a field is missing or of the wrong type.

    Example:
        >>> from_fields(["dlpack", "arena", "k1", 1, 0, 16, 1, "cpu", "<f8", [2], [8], 0, "numpy"]).shape
        (2,)
    """
    if len(fields) != len(ArrayHandle._fields):
        message = f"an array handle has {len(ArrayHandle._fields)} fields, got {len(fields)}"
        raise ArrayError(message)
    values = list(fields)
    for index in _TEXT:
        _expect(index, values[index], str)
    for index in _NUMBERS:
        _expect(index, values[index], int)
    for index in (9, 10):
        axes = values[index]
        if not isinstance(axes, (list, tuple)) or not all(type(each) is int for each in axes):
            message = f"array handle field {ArrayHandle._fields[index]!r}: expected integers, got {axes!r}"
            raise ArrayError(message)
        values[index] = tuple(axes)
    if not isinstance(values[8], (str, list)):
        message = f"array handle field 'dtype': expected a descr, got {values[8]!r}"
        raise ArrayError(message)
    return ArrayHandle(*values)  # type: ignore[arg-type]


def _expect(index: int, value: object, kind: type) -> None:
    if type(value) is not kind:
        name = ArrayHandle._fields[index]
        message = f"array handle field {name!r}: expected {kind.__name__}, got {value!r}"
        raise ArrayError(message)


def span(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, int]:
    """From where to where the elements of an array lie, in bytes from its first element.

    Example:
        >>> span((3,), (-8,), 8)
        (-16, 8)
    """
    ends = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    return sum(end for end in ends if end < 0), sum(end for end in ends if end > 0) + itemsize


def check_extent(handle: ArrayHandle, itemsize: int, arena_bytes: int) -> None:
    """Check that every element lies inside the extent and the extent inside the arena.

    Raises:
        ArrayError: it does not; the message says which bound is broken.

    Example:
        >>> good = ArrayHandle("dlpack", "arena", "k1", 1, 0, 16, 1, "cpu", "<f8", (2,), (8,), 0, "numpy")
        >>> check_extent(good, 8, 4096)
    """
    if handle.offset < 0 or handle.nbytes < 0 or handle.offset + handle.nbytes > arena_bytes:
        reach = f"{handle.offset}+{handle.nbytes} of {arena_bytes} bytes"
        message = f"array handle reaches outside its arena: {reach}"
        raise ArrayError(message)
    if len(handle.shape) != len(handle.strides) or any(length < 0 for length in handle.shape):
        message = f"array handle with shape {handle.shape} and strides {handle.strides}"
        raise ArrayError(message)
    if 0 in handle.shape:
        return
    low, high = (handle.start + end for end in span(handle.shape, handle.strides, itemsize))
    if low < 0 or high > handle.nbytes:
        message = f"array handle's elements span bytes {low} to {high} of an extent of {handle.nbytes}"
        raise ArrayError(message)
