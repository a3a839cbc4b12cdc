"""Slices cut out of the memory that they lie in, so that a few rows of a long table cost a few rows.

*Rule:* only what would have to be copied is cut, and only where that makes it much smaller.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb.arrays.constant import is_constant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import pyarrow as pa

    from snakepit_nb.arrays.doors import Lender

_WORTH_CUTTING: Final = 1 << 16  # bytes; below, a cut saves nothing that one would notice


def without_the_rest(held: pa.Table, lender: Lender) -> tuple[pa.Table, bool]:
    """A table, batch or array, cut out of memory that is much larger and would have to be copied.

    Also says whether that holds for as long as the object lives.

    Example:
        >>> import pyarrow as pa
        >>> class Copies:
        ...     trusts = True
        ...     def reaches(self, data):
        ...         return False
        >>> cut, lasting = without_the_rest(pa.array(range(100_000))[:10], Copies())
        >>> cut.get_total_buffer_size(), lasting
        (80, True)
    """
    total = held.get_total_buffer_size()
    if total < _WORTH_CUTTING:
        return held, True
    arrays = list(arrays_of(held))
    if 2 * sum(map(_needed, arrays)) > total:
        return held, True
    buffers = [each for array in arrays for each in array.buffers() if each is not None and each.size]
    if all(lender.reaches(np.frombuffer(each, np.uint8)) for each in buffers):
        return held, False
    return _cut(held), lender.trusts and all(map(is_constant, buffers))


def arrays_of(held: pa.Table) -> Iterator[pa.Array]:
    """The arrays that a table, a batch or a chunked array consists of, or the array itself.

    Example:
        >>> import pyarrow as pa
        >>> [len(each) for each in arrays_of(pa.table({"x": pa.chunked_array([[1], [2, 3]])}))]
        [1, 2]
    """
    import pyarrow as pa  # noqa: PLC0415 - who has an array has loaded it

    if isinstance(held, pa.ChunkedArray):
        return iter(held.chunks)
    if isinstance(held, pa.Array):
        return iter((held,))
    return chain.from_iterable(map(arrays_of, held.columns))


def _needed(array: pa.Array) -> int:
    """How many bytes of its buffers an array uses, as far as Arrow can tell."""
    import pyarrow as pa  # noqa: PLC0415 - who has an array has loaded it

    width = _widths(pa).get(array.type.id)
    if width is not None:
        # The values lie anywhere in the rest: a part of the views is taken to need as large a part of it.
        rows = max(1, array.buffers()[1].size // width)
        return int(array.get_total_buffer_size() * len(array) // rows)
    try:
        return int(array.nbytes)
    except pa.ArrowException:
        return int(array.get_total_buffer_size())


@cache
def _widths(pa: ModuleType) -> dict[int, int]:
    """The bytes of one view, for the types that look at their values through views."""
    names = {"STRING_VIEW": 16, "BINARY_VIEW": 16, "LIST_VIEW": 4, "LARGE_LIST_VIEW": 8}
    return {number: names[name] for name in names if (number := getattr(pa.lib, f"Type_{name}", None))}


def _cut(held: pa.Table) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - who has an array has loaded it

    if isinstance(held, pa.Array):
        return _copied(held)
    if isinstance(held, pa.ChunkedArray):
        return pa.chunked_array([_copied(each) for each in held.chunks], type=held.type)
    return type(held).from_arrays([_cut(each) for each in held.columns], schema=held.schema)


def _copied(array: pa.Array) -> pa.Array:
    """The array in buffers of its own, no larger than it needs; as it is where Arrow has no way for that."""
    import pyarrow as pa  # noqa: PLC0415 - who has an array has loaded it

    try:
        if _widths(pa).get(array.type.id) == 16:  # noqa: PLR2004 - texts and bytes, which stay whole otherwise
            return array.cast(pa.large_binary()).cast(array.type)
        return pa.concat_arrays([array])
    except pa.ArrowException:
        return array
