"""What cannot change: whose memory Arrow's buffers are, and what is kept beside an object while that lives.

*Rule:* memory counts as constant where Arrow's memory pool made it, or where its maker handed it over as
constant and is neither NumPy nor the buffer protocol: what lies under those changes when the array does.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


class _Makers(NamedTuple):
    """Where a buffer of pyarrow points to its C++ object, and what shows the classes of these apart."""

    place: int
    pool: int
    borrowed: frozenset[int]


def is_constant(buffer: pa.Buffer) -> bool:
    """Whether nobody writes to this memory: Arrow's pool made it for Arrow, or its maker says so.

    Buffers do not say whose memory they are, and those over NumPy's, read-only ones too, change when the
    array does. Their C++ classes differ, which shows in the first word of the object.

    Example:
        >>> import pyarrow as pa
        >>> is_constant(pa.array([1, 2]).buffers()[1]), is_constant(pa.array(np.arange(2)).buffers()[1])
        (True, False)
    """
    makers = _makers()
    if makers is None:
        return False
    parent = buffer.parent
    while parent is not None:
        buffer, parent = parent, parent.parent
    made_by = _word(_word(id(buffer) + makers.place))
    return made_by == makers.pool or (not buffer.is_mutable and made_by not in makers.borrowed)


@cache
def _makers() -> _Makers | None:
    """Found on buffers whose makers are known; None where this build of pyarrow is made in another way."""
    if sys.implementation.name != "cpython":  # an id is no address there
        return None
    import pyarrow as pa  # noqa: PLC0415 - who has a buffer has loaded it

    one, two = pa.array([1, 2, 3]), pa.array([1, 2, 3])
    made, again, other = one.buffers()[1], one.buffers()[1], two.buffers()[1]
    numbers = np.arange(3)
    borrowed = [
        pa.array(numbers).buffers()[1],
        pa.py_buffer(b"abc"),
        pa.foreign_buffer(made.address, 8, made),
    ]
    places = range(0, type(made).__basicsize__, ctypes.sizeof(ctypes.c_size_t))
    # Two faces of one buffer share their pointers, to the object and to its count of users, with no other.
    shared = [each for each in places if _word(id(made) + each) == _word(id(again) + each)]
    shared = [each for each in shared if _word(id(made) + each) != _word(id(other) + each)]
    if len(shared) != 2:  # noqa: PLR2004 - the two pointers
        return None
    place = shared[0]
    pool = _word(_word(id(made) + place))
    classes = frozenset(_word(_word(id(each) + place)) for each in borrowed)
    same = pool == _word(_word(id(other) + place))
    return _Makers(place, pool, classes) if same and pool not in classes else None


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


class Beside:
    """What is kept beside an object for as long as that lives; by identity, for tables have no hash.

    Example:
        >>> import pyarrow as pa
        >>> kept, table = Beside(), pa.table({"x": [1]})
        >>> kept.keep(table, "a note")
        >>> kept.find(table)
        'a note'
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[object], object]] = {}

    def find(self, obj: object) -> object | None:
        """What is kept beside an object, or None."""
        found = self._kept.get(id(obj))
        return found[1] if found is not None and found[0]() is obj else None

    def keep(self, obj: object, beside: object) -> None:
        """Keep one thing beside an object, in place of what was there; it must not refer to the object."""
        key, kept = id(obj), self._kept

        def gone(ended: weakref.ref[object]) -> None:
            found = kept.get(key)
            if found is not None and found[0] is ended:
                del kept[key]

        kept[key] = (weakref.ref(obj, gone), beside)


beside: Final = Beside()
