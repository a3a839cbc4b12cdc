"""The one store of the kernel, for all pools: an array that one pool gave back goes to another as it is."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb import options
from snakepit_nb.arrays import founding
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.room import room_in
from snakepit_nb.arrays.store import Store
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable

_lock: Final = threading.Lock()
_store: Store | None = None
_on_return: Final[dict[str, Callable[[], None]]] = {}


def kernel_store() -> Store:
    """The kernel's store, made at the first call.

    Example:
        >>> kernel_store() is kernel_store()
        True
    """
    global _store  # noqa: PLW0603 - one for the process is what this room is for
    if _store is not None:
        return _store
    with _lock:
        if _store is None:
            found, lacking = founding.from_options()
            inline = options.current().inline_bytes
            _store = Store("kernel", found, inline_bytes=inline, on_return=_returned, lacking=lacking)
            founding.bear_here(found)
        return _store


def bear_here() -> None:
    """Let NumPy make large arrays in the kernel's arena, in this context; nothing where there is none yet.

    A context is a thread's, an asyncio task's, or with some kernels a cell's; so this is called again.

    Example:
        >>> bear_here()
    """
    if _store is not None:
        founding.bear_here(_store.arena)


def tidy() -> None:
    """Let go of copies that were kept of what is gone since.

    Example:
        >>> tidy()
    """
    if _store is not None and _store.shares is not None:
        _store.shares.tidy()


def bear_no_more() -> None:
    """Let NumPy make its arrays in its own way again, in this context; those that are there stay.

    Example:
        >>> bear_no_more()
    """
    founding.bear_no_more()


def watch(peer: str, call: Callable[[], None]) -> None:
    """Call this when leases begin to wait for `peer`, in whatever thread dropped the array."""
    _on_return[peer] = call


def unwatch(peer: str) -> None:
    """The peer is gone: nothing can be given back to it."""
    _on_return.pop(peer, None)
    if _store is not None:
        _store.take_returns(peer)
        # What ended while another thread had the books open may be booked after its peer was struck off.
        for late in _store.owed():
            if late not in _on_return:
                _store.take_returns(late)


def shared_twin(array: np.ndarray) -> np.ndarray | None:
    """A copy of an array that lies in shared memory, however small it is; None where there is none to have.

    Raises:
        ArrayError: shared memory is used up.

    Example:
        >>> import numpy as np
        >>> twin = shared_twin(np.arange(3))
        >>> twin is None or twin.tolist()
        [0, 1, 2]
    """
    store = kernel_store()
    if store.arena is None or array.dtype.hasobject:
        return None
    try:
        room = room_in(store.arena, array.nbytes, store.allocate(max(array.nbytes, 1)))
    except ArenaFull as error:
        text = f"no room in shared memory for {array.nbytes:,} bytes: {error}"
        raise ArrayError(text) from error
    twin = room.view(array.dtype).reshape(array.shape)
    np.copyto(twin, array)
    return twin


def _returned(peer: str) -> None:
    call = _on_return.get(peer)
    if call is not None:
        call()
    elif _store is not None:
        _store.take_returns(peer)


def _forget() -> None:
    """In a child that the user forked: the store and its arena are the parent's."""
    global _store  # noqa: PLW0603 - as above
    _store = None
    _on_return.clear()


os.register_at_fork(after_in_child=_forget)
