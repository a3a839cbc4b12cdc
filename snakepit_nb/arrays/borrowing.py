"""What this process has borrowed: the arenas of its peers, and arrays over memory that is theirs.

*Rule:* an arena stays within reach until its owner is gone and no array over it is left here. What is left of
a dead owner's arena takes no more memory than the arrays that are still over it.

*Rule:* the end of the last array over a loan is the end of the loan. It may come in any thread, under any
lock, so the finaliser waits for nothing (see `books`).

*Rule:* memory that is here already, to be shared, is not borrowed twice: the second loan of it ends at once.
"""

from __future__ import annotations

import math
import os
import weakref
from bisect import bisect_left, bisect_right, insort
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from snakepit_nb.arrays.attached import Attached, Mapped
from snakepit_nb.arrays.books import Books
from snakepit_nb.arrays.handle import ArrayHandle, Mode, plain
from snakepit_nb.arrays.memory import unmap_memory
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.arena import Allocator, Block

__all__ = ["Borrower", "Lent", "Mode"]

_Key: TypeAlias = tuple[str, int, int, Mode]


class _Ended(NamedTuple):
    """The end of a loan as its finaliser tells it; `lease` is None where there is nothing to give back."""

    peer: str
    lease: int | None
    arena: Attached | None = None
    block: Block | None = None
    place: tuple[int, int] | None = None
    key: _Key | None = None
    window: tuple[tuple[int, int], int] | None = None


class Lent:
    """The base object of imported arrays: its end is the end of the loan.

    Attributes:
        handle: What was borrowed; its arena has the name by which its owner goes.
        mode: How it is mapped.
        address: Where its extent begins in this process.
    """

    __slots__ = (
        "__array_interface__",
        "__weakref__",
        "_ending",
        "_mapped",
        "_tell",
        "address",
        "handle",
        "mode",
    )

    def __init__(
        self, handle: ArrayHandle, mapped: Mapped, ending: _Ended, tell: Callable[[_Ended], None], mode: Mode
    ) -> None:
        self.handle = handle
        self.mode = mode
        self.address = mapped.address
        self._mapped = mapped
        self._ending: _Ended | None = ending
        self._tell = tell
        self.__array_interface__ = {
            "version": 3,
            "data": (self.address, mode == "readonly"),
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
            _, mapping, length, part = self._mapped
            arena = ending.arena
            if part and arena and arena.windows.worth_keeping(mapping, length):
                ending = ending._replace(window=(part, mapping))
            else:
                unmap_memory(mapping, length)
            self._tell(ending)


class Borrower:
    """The arenas that this process knows and what it has borrowed from them.

    Args:
        own: This process's own arena: what came back home is borrowed like the rest.
        on_return: Called with the peer when leases begin to wait for it, in whatever thread drops an array.
        on_unknown: Called when a handle names an arena that is not attached, to attach what waits.
        heir: Whether the memory of an owner that is gone is this process's to give back.

    Attributes:
        is_kept: Says of a block of the own arena, by offset and generation, whether it is a copy for several
            borrowers, which must not be written to by who gets it back.

    Example:
        >>> borrower = Borrower(None)
        >>> borrower.give_back("kernel", 7)
        >>> borrower.take_returns("kernel")
        [7]
    """

    def __init__(
        self,
        own: Allocator | None,
        on_return: Callable[[str], None] | None = None,
        on_unknown: Callable[[], None] | None = None,
        *,
        heir: bool = False,
    ) -> None:
        self._on_return = on_return
        self._on_unknown = on_unknown
        self._heir = heir
        self._books: Books[_Ended] = Books(self._book)
        self._returns: dict[str, list[int]] = {}
        self._announced: set[str] = set()
        self._attached: dict[str, Attached] = {}
        # What is here, by its address and, where borrowers share it, by what it is.
        self._places: list[tuple[int, int, weakref.ref[Lent]]] = []
        self._shared: dict[_Key, weakref.ref[Lent]] = {}
        self._serial = count()
        self.is_kept: Callable[[int, int], bool] = lambda *_: False
        self._own = None if own is None else own.id
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
                if self._heir and attached.extents:
                    attached.punch_out([(0, attached.nbytes)])
        self._books.settle()

    def owners_bytes(self, arena_id: str) -> int:
        """How many bytes of memory a peer's arena takes, less those of arrays that are looked at here."""
        with self._books.lock:
            attached = self._attached.get(arena_id)
            return 0 if attached is None else attached.owners_bytes()

    def _close_unused(self, attached: Attached) -> None:
        if attached.gone and not attached.extents and self._attached.pop(attached.id, None) is not None:
            attached.close()

    def open_readonly(self, arena_id: str) -> tuple[int, int] | None:
        """A new descriptor of an arena, for reading alone, and its length; None for an unknown one."""
        with self._books.lock:
            attached = self._attached.get(arena_id)
            if attached is None:
                return None
            try:
                fd = os.open(f"/proc/self/fd/{attached.fd}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # no /proc here
                fd = os.dup(attached.fd)
            return fd, attached.nbytes

    def open_writable(self, arena_id: str) -> tuple[int, int] | None:
        """The same with the right to write to it, as far as this process has that."""
        with self._books.lock:
            attached = self._attached.get(arena_id)
            return None if attached is None else (os.dup(attached.fd), attached.nbytes)

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

    # Memory

    def borrow(self, handle: ArrayHandle, peer: str, mode: Mode) -> Lent:
        """The extent that a handle names; the end of what is returned gives the lease back to `peer`.

        Raises:
            ArrayError: the handle reaches outside its arena, names one that is not known here, or a block of
                this process that was freed since; or the system refused to map it.
        """
        name = handle.arena if plain(handle.arena) != self._own else self._own
        self._look_for(name)
        with self._books.lock:
            attached = self._attached.get(name)
            if attached is None:
                message = f"array handle names the arena {handle.arena!r}, which this process does not know"
                raise ArrayError(message)
            if handle.offset < 0 or handle.nbytes < 0 or handle.offset + handle.nbytes > attached.nbytes:
                reach = f"{handle.offset}+{handle.nbytes} of {attached.nbytes} bytes"
                message = f"array handle reaches outside its arena: {reach}"
                raise ArrayError(message)
            if mode == "in_place" and attached.owned is not None and self.is_kept(*_life(handle)):
                mode = "copy_on_write"
            lent, lease = self._shared_here(handle, mode), handle.lease
            if lent is None:
                lent = self._reach(attached, handle, peer, mode)
            if lent.handle is not handle or attached.owned is not None:
                self._returns.setdefault(peer, []).append(lease)
        if lent.handle is not handle or attached.owned is not None:
            self._announce(peer)
        self._books.settle()
        return lent

    def _shared_here(self, handle: ArrayHandle, mode: Mode) -> Lent | None:
        if mode == "copy_on_write":
            return None
        found = self._shared.get((plain(handle.arena), handle.offset, handle.generation, mode))
        lent = found() if found is not None else None
        return lent if lent is not None and lent.alive and lent.handle.nbytes >= handle.nbytes else None

    def _reach(self, attached: Attached, handle: ArrayHandle, peer: str, mode: Mode) -> Lent:
        owned, block = attached.owned, None
        if owned is not None:
            block = owned.hold(handle.offset, handle.generation)
            if block is None or handle.nbytes > block.nbytes:
                if block is not None:
                    owned.free(block)
                message = "array handle names a block of this process's arena that was freed since"
                raise ArrayError(message)
        try:
            mapped = attached.reach(handle, mode)
        except ArrayError:
            if owned is not None and block is not None:
                owned.free(block)
            raise
        serial = next(self._serial)
        key = None
        if mode != "copy_on_write":
            key = (plain(handle.arena), handle.offset, handle.generation, mode)
        place = (mapped.address, serial)
        # Who holds the block of its own arena needs no lease on it.
        ending = _Ended(peer, None if owned is not None else handle.lease, attached, block, place, key)
        attached.extents[serial] = (handle.offset, handle.nbytes)
        lent = Lent(handle, mapped, ending, self._ended, mode)
        seen = weakref.ref(lent)
        insort(self._places, (*place, seen))
        if key is not None:
            self._shared[key] = seen
        return lent

    def has_in_place(self, block: Block) -> bool:
        """Whether a block of this process's arena came back, and is shared in place with who has it."""
        found = self._shared.get((str(self._own), block.offset, block.generation, "in_place"))
        lent = found() if found is not None else None
        return lent is not None and lent.alive

    def lent_at(self, address: int, nbytes: int) -> Lent | None:
        """The loan that these bytes of this process's memory lie in; None where there is none."""
        if not self._places:
            return None
        with self._books.lock:
            index = bisect_right(self._places, (address, math.inf))
            start = self._places[index - 1][0] if index else 0
            while index and self._places[index - 1][0] == start:
                index -= 1
                lent = self._places[index][2]()
                if lent is not None and lent.alive and address + nbytes <= start + lent.handle.nbytes:
                    return lent
        return None

    # Ends of loans

    def give_back(self, peer: str, lease: int) -> None:
        """Note that a lease of `peer` is no longer used here."""
        self._ended(_Ended(peer, lease))

    def _ended(self, ended: _Ended) -> None:
        self._books.drop(ended)
        if ended.lease is not None:
            self._announce(ended.peer)

    def _announce(self, peer: str) -> None:
        # Not under the lock; and who takes the returns strikes the peer off before it looks at them.
        if peer not in self._announced:
            self._announced.add(peer)
            if self._on_return is not None:
                self._on_return(peer)

    def _book(self, ended: _Ended) -> None:
        if ended.lease is not None:
            self._returns.setdefault(ended.peer, []).append(ended.lease)
        attached = ended.arena
        if attached is None or ended.place is None:
            return
        del self._places[bisect_left(self._places, ended.place)]
        if ended.key is not None:
            newest = self._shared.get(ended.key)
            lent = newest() if newest is not None else None
            if lent is None or not lent.alive:
                self._shared.pop(ended.key, None)
        if ended.block is not None and attached.owned is not None:
            attached.owned.free(ended.block)
        if ended.window is not None:
            attached.windows.put_away(*ended.window)
        offset, nbytes = attached.extents.pop(ended.place[1])
        self._close_unused(attached)
        if self._heir and attached.gone and attached.extents:
            attached.punch_out([(offset, offset + nbytes)])

    def take_returns(self, peer: str) -> list[int]:
        """The leases of `peer` that ended here since the last call."""
        self._announced.discard(peer)
        if not self._books.waiting and peer not in self._returns:
            return []
        self._books.settle()
        with self._books.lock:
            return self._returns.pop(peer, [])

    def owed(self) -> list[str]:
        """The peers whose leases wait to be taken."""
        with self._books.lock:
            return list(self._returns)

    def close(self) -> None:
        """Forget every arena; arrays over one keep it until they end."""
        for arena_id in list(self._attached):
            self.detach(arena_id)


def raw(lent: Lent) -> np.ndarray:
    """The bytes of a loan as an array that keeps it."""
    return np.asarray(lent)


def _life(handle: ArrayHandle) -> tuple[int, int]:
    return handle.offset, handle.generation
