"""What this process has borrowed: the arenas of its peers, and arrays over memory that is theirs.

*Rule:* an arena stays within reach until its owner is gone and no array over it is left here.

*Rule:* the end of the last array over a loan is the end of the loan. It may come in any thread, under any
lock, so the finaliser waits for nothing (see `books`).
"""

from __future__ import annotations

import math
import os
import weakref
from bisect import bisect_left, bisect_right, insort
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from snakepit_nb.arrays.books import Books
from snakepit_nb.arrays.handle import check_extent, span
from snakepit_nb.arrays.memory import PAGE, bytes_at, map_memory, read_at, unmap_memory
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.arena import Arena, Block
    from snakepit_nb.arrays.handle import ArrayHandle

Mode = Literal["copy_on_write", "in_place", "readonly"]


class _Mapped(NamedTuple):
    """Where lent bytes are, and the mapping that was made for them alone (of length 0: none was)."""

    address: int
    mapping: int = 0
    length: int = 0


class Attached:
    """An arena as this process can reach it: its descriptor and, once needed, a map of all of it."""

    __slots__ = ("_address", "fd", "gone", "id", "nbytes", "owned", "users")

    def __init__(self, arena_id: str, fd: int, nbytes: int, owned: Arena | None = None) -> None:
        self.id = arena_id
        self.fd = fd
        self.nbytes = nbytes
        self.users = 0
        self.gone = False
        self.owned = owned
        self._address = owned.address if owned else 0

    def reach(self, handle: ArrayHandle, mode: Mode) -> _Mapped:
        """Map what a handle names.

        Raises:
            ArrayError: the system refused.
        """
        if mode == "in_place" and self._whole():
            return _Mapped(self._address + handle.offset)
        low = handle.offset // PAGE * PAGE
        length = handle.offset + handle.nbytes - low
        private = mode == "copy_on_write"
        mapping = map_memory(self.fd, low, length, writable=mode != "readonly", private=private)
        return _Mapped(mapping + handle.offset - low, mapping, length)

    def _whole(self) -> bool:
        """Whether all of it is mapped, so that one array more costs nothing; address space may be short."""
        if not self._address:
            try:
                self._address = map_memory(self.fd, 0, self.nbytes, writable=True, private=False)
            except ArrayError:
                return False
        return True

    def read(self, offset: int, nbytes: int) -> bytes:
        """Copy plain bytes out of it."""
        if self.owned is not None:
            return bytes_at(self._address + offset, nbytes).tobytes()
        return read_at(self.fd, offset, nbytes)

    def close(self) -> None:
        """Unmap it; no array over it may be left."""
        if self.owned is not None:
            self.owned.close()
            return
        if self._address:
            unmap_memory(self._address, self.nbytes)
        os.close(self.fd)


class _Ended(NamedTuple):
    """The end of a loan as its finaliser tells it."""

    peer: str
    lease: int
    arena: Attached | None = None
    block: Block | None = None
    place: tuple[int, int] | None = None


class Lent:
    """The base object of an imported array: its end is the end of the loan."""

    __slots__ = ("__array_interface__", "__weakref__", "_ending", "_length", "_mapping", "_tell", "handle")

    def __init__(
        self, handle: ArrayHandle, mapped: _Mapped, ending: _Ended, tell: Callable[[_Ended], None], mode: Mode
    ) -> None:
        self.handle = handle
        self._mapping = mapped.mapping
        self._length = mapped.length
        self._ending: _Ended | None = ending
        self._tell = tell
        self.__array_interface__ = {
            "version": 3,
            "data": (mapped.address, mode == "readonly"),
            "typestr": "|u1",
            "shape": (handle.nbytes,),
        }

    @property
    def alive(self) -> bool:
        """Whether its memory is still mapped: a finaliser on its way has taken it off already."""
        return self._ending is not None

    def __del__(self) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            unmap_memory(self._mapping, self._length)
            self._tell(ending)


class Borrower:
    """The arenas that this process knows and what it has borrowed from them.

    Args:
        own: This process's own arena: what came back home is borrowed like the rest.
        on_return: Called with the peer when leases begin to wait for it, in whatever thread drops an array.
        on_unknown: Called when a handle names an arena that is not attached, to attach what waits.

    Example:
        >>> borrower = Borrower(None)
        >>> borrower.give_back("kernel", 7)
        >>> borrower.take_returns("kernel")
        [7]
    """

    def __init__(
        self,
        own: Arena | None,
        on_return: Callable[[str], None] | None = None,
        on_unknown: Callable[[], None] | None = None,
    ) -> None:
        self._on_return = on_return
        self._on_unknown = on_unknown
        self._books: Books[_Ended] = Books(self._book)
        self._returns: dict[str, list[int]] = {}
        self._announced: set[str] = set()
        self._attached: dict[str, Attached] = {}
        # What may be lent on as it lies, by its address: copy-on-write pages may hold this side's changes.
        self._places: list[tuple[int, int, weakref.ref[Lent]]] = []
        self._serial = count()
        if own is not None:
            self._attached[own.id] = Attached(own.id, own.fd, own.nbytes, own)

    # Arenas

    def attach(self, arena_id: str, fd: int, nbytes: int) -> None:
        """Learn of an arena, or that one is back; the descriptor is this room's from now on.

        Raises:
            ArrayError: the descriptor holds less than it is said to.
        """
        with self._books.lock:
            known = self._attached.get(arena_id)
            if known is not None:
                known.gone = False
                os.close(fd)
                return
            if nbytes < 0 or os.fstat(fd).st_size < nbytes:
                os.close(fd)
                message = (
                    f"the memory {arena_id!r} is shorter than the {nbytes} bytes that it is said to have"
                )
                raise ArrayError(message)
            self._attached[arena_id] = Attached(arena_id, fd, nbytes)
        self._books.settle()

    def detach(self, arena_id: str) -> None:
        """Forget an arena as soon as no array over it is left; nothing where it is not known."""
        with self._books.lock:
            attached = self._attached.get(arena_id)
            if attached is not None:
                attached.gone = True
                self._close_unused(attached)
        self._books.settle()

    def _close_unused(self, attached: Attached) -> None:
        if attached.gone and not attached.users and self._attached.pop(attached.id, None) is not None:
            attached.close()

    def open_readonly(self, arena_id: str) -> tuple[int, int] | None:
        """A new descriptor of an arena, for reading alone, and its length; None for an unknown one."""
        with self._books.lock:
            attached = self._attached.get(arena_id)
            if attached is None:
                return None
            try:
                fd = os.open(f"/proc/self/fd/{attached.fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # no /proc here
                fd = os.dup(attached.fd)
            return fd, attached.nbytes

    def read(self, arena_id: str, offset: int, nbytes: int) -> bytes:
        """Copy plain bytes out of an arena.

        Raises:
            ArrayError: the arena is not known, or the bytes reach outside it.
        """
        self._look_for(arena_id)
        with self._books.lock:
            attached = self._attached.get(arena_id)
            if attached is None or min(offset, nbytes) < 0 or offset + nbytes > attached.nbytes:
                message = f"{nbytes} bytes at {offset} of the arena {arena_id!r} cannot be read here"
                raise ArrayError(message)
            return attached.read(offset, nbytes)

    def _look_for(self, arena_id: str) -> None:
        if arena_id not in self._attached and self._on_unknown is not None:
            self._on_unknown()

    # Arrays

    def borrow(self, handle: ArrayHandle, itemsize: int, peer: str, mode: Mode) -> np.ndarray:
        """The bytes that a handle names, as an array whose end gives the lease back to `peer`.

        Raises:
            ArrayError: the handle does not fit its arena, names one that is not known here, or a block of
                this process that was freed since; or the system refused to map it.
        """
        self._look_for(handle.arena)
        with self._books.lock:
            attached = self._attached.get(handle.arena)
            if attached is None:
                message = f"array handle names the arena {handle.arena!r}, which this process does not know"
                raise ArrayError(message)
            check_extent(handle, itemsize, attached.nbytes)
            block = None
            if attached.owned is not None:
                block = attached.owned.hold(handle.offset, handle.generation)
                if block is None or handle.nbytes > block.nbytes:
                    message = "array handle names a block of this process's arena that was freed since"
                    raise ArrayError(message)
            try:
                mapped = attached.reach(handle, mode)
            except ArrayError:
                if block is not None and attached.owned is not None:
                    attached.owned.free(block)
                raise
            place = (mapped.address, next(self._serial)) if mode != "copy_on_write" else None
            ending = _Ended(peer, handle.lease, attached, block, place)
            attached.users += 1
            lent = Lent(handle, mapped, ending, self._ended, mode)
            if place is not None:
                insort(self._places, (*place, weakref.ref(lent)))
        self._books.settle()
        return np.asarray(lent)

    def lent_at(self, array: np.ndarray) -> tuple[ArrayHandle, int] | None:
        """The handle of the loan that an array lies in, and where in it; None where there is none."""
        if not self._places:
            return None
        address = int(array.__array_interface__["data"][0])
        low, high = span(array.shape, array.strides, array.itemsize)
        with self._books.lock:
            index = bisect_right(self._places, (address + low, math.inf))
            start = self._places[index - 1][0] if index else 0
            while index and self._places[index - 1][0] == start:
                index -= 1
                lent = self._places[index][2]()
                if lent is not None and lent.alive and address + high <= start + lent.handle.nbytes:
                    return lent.handle, address - start
        return None

    # Ends of loans

    def give_back(self, peer: str, lease: int) -> None:
        """Note that a lease of `peer` is no longer used here."""
        self._ended(_Ended(peer, lease))

    def _ended(self, ended: _Ended) -> None:
        self._books.drop(ended)
        # Not under the lock; and who takes the returns strikes the peer off before it looks at them.
        if ended.peer not in self._announced:
            self._announced.add(ended.peer)
            if self._on_return is not None:
                self._on_return(ended.peer)

    def _book(self, ended: _Ended) -> None:
        self._returns.setdefault(ended.peer, []).append(ended.lease)
        attached = ended.arena
        if attached is None:
            return
        if ended.place is not None:
            del self._places[bisect_left(self._places, ended.place)]
        if ended.block is not None and attached.owned is not None:
            attached.owned.free(ended.block)
        attached.users -= 1
        self._close_unused(attached)

    def take_returns(self, peer: str) -> list[int]:
        """The leases of `peer` that ended here since the last call."""
        self._announced.discard(peer)
        if not self._books.waiting and peer not in self._returns:
            return []
        self._books.settle()
        with self._books.lock:
            return self._returns.pop(peer, [])

    def close(self) -> None:
        """Forget every arena; arrays over one keep it until they end."""
        for arena_id in list(self._attached):
            self.detach(arena_id)
