"""Arrivals: the arrays of one message, made from its handles.

*Rule:* what came by one lease is views of one mapping. What cannot be made gives its lease back at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb.arrays import dtypes
from snakepit_nb.arrays.borrowing import raw
from snakepit_nb.arrays.handle import check_extent, strongest
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snakepit_nb.arrays.borrowing import Borrower
    from snakepit_nb.arrays.handle import ArrayHandle, Mode
    from snakepit_nb.arrays.ledger import Ledger


def arrive(  # noqa: PLR0913 - the facts of one message, by name
    borrower: Borrower,
    ledger: Ledger,
    handles: Sequence[ArrayHandle],
    *,
    peer: str,
    mode: Mode | None,
    request_id: int | None,
) -> list[np.ndarray]:
    """The arrays that these handles stand for, in order.

    Raises:
        ArrayError: a handle does not fit its arena, or names one that is not known here.

    Example:
        >>> from snakepit_nb.arrays.borrowing import Borrower
        >>> from snakepit_nb.arrays.ledger import Ledger
        >>> arrive(Borrower(None), Ledger("worker"), [], peer="kernel", mode=None, request_id=None)
        []
    """
    extents: dict[int, np.ndarray] = {}
    waiting = {handle.lease: None for handle in handles if handle.memory == "arena"}
    arrays: list[np.ndarray] = []
    try:
        for handle in handles:
            began = time.perf_counter()
            if handle.memory == "again":
                arrays.append(_earlier(arrays, handle.start))
                continue
            if handle.memory == "inline":
                arrays.append(_array(handle, np.frombuffer(bytearray(handle.content), np.uint8)))
                continue
            extent = extents.get(handle.lease)
            if extent is None:
                how = mode or strongest({each.mode for each in handles if each.lease == handle.lease})
                lent = borrower.borrow(handle, peer, how)
                del waiting[handle.lease]
                extent = extents[handle.lease] = raw(lent)
            array = _array(handle, extent)
            arrays.append(array)
            ledger.tell_import(handle, array, request_id, (time.perf_counter() - began) * 1e3)
    finally:
        for lease in waiting:
            borrower.give_back(peer, lease)
    return arrays


def _earlier(arrays: Sequence[np.ndarray], number: int) -> np.ndarray:
    if not 0 <= number < len(arrays):
        message = f"array handle stands for array {number} of its message, after {len(arrays)} of them"
        raise ArrayError(message)
    return arrays[number]


def _array(handle: ArrayHandle, extent: np.ndarray) -> np.ndarray:
    """The array that a handle describes, over the bytes of its extent.

    Raises:
        ArrayError: it does not fit them.
    """
    dtype = dtypes.restore(handle.dtype)
    check_extent(handle, dtype.itemsize, handle.offset + min(handle.nbytes, extent.nbytes))
    try:
        array: np.ndarray = np.ndarray(
            handle.shape, dtype, buffer=extent, offset=handle.start, strides=handle.strides
        )
    except (ValueError, TypeError) as error:
        message = f"array handle with shape {handle.shape}, strides {handle.strides} and {dtype}: {error}"
        raise ArrayError(message) from error
    if not handle.writable:
        array.flags.writeable = False
    return array
