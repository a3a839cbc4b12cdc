"""The loans of one process: arrays it exports to peers, arrays it imports from them, and the events of both.

*Rule:* an exported block lives until its lease ends: the importer released it, or the importer died.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snakepit_nb import events
from snakepit_nb.arrays import founding
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.arriving import arrive
from snakepit_nb.arrays.borrowing import Borrower
from snakepit_nb.arrays.handle import Mode, from_bytes
from snakepit_nb.arrays.ledger import Ledger, name
from snakepit_nb.arrays.lending import Lease, Leases
from snakepit_nb.arrays.memory import bytes_at, file_of
from snakepit_nb.arrays.shares import Shares
from snakepit_nb.arrays.shipping import Shipment
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snakepit_nb.arrays.arena import Allocator, Block
    from snakepit_nb.arrays.handle import ArrayHandle
    from snakepit_nb.arrays.ledger import Role

__all__ = ["Mode", "Placed", "Stats", "Store"]


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store has lent and copied so far, in numbers of arrays and in bytes, and what is in use now.

    Attributes:
        shared: Arrays lent as they lay.
        shared_bytes: Their bytes.
        copied: Copies made.
        copied_bytes: Their bytes.
        leases: Loans that have not ended.
        leased_bytes: Their bytes, those lent twice counted twice.
        cached_bytes: Bytes of copies that are kept for the next loan.
        live_bytes: Bytes of the arena that are in use.
        warm_bytes: Bytes of the arena that are free and stay resident.
        budget: How many bytes of the arena may be in use.
    """

    shared: int
    shared_bytes: int
    copied: int
    copied_bytes: int
    leases: int
    leased_bytes: int
    cached_bytes: int
    live_bytes: int
    warm_bytes: int
    budget: int


class Placed(NamedTuple):
    """Where bytes were put for one reader: in this process's arena, or in memory made for them alone."""

    arena: str
    offset: int
    lease: int


class Store:
    """Exports and imports arrays for one process.

    Args:
        role: Which side this process is on; it decides the `direction` of the events.
        arena: Where copies for peers are made, and where arrays may be born; None means that every array
            travels inside the message.
        inline_bytes: Arrays below this many bytes travel inside the message without an event.
        on_return: Called with the peer when leases begin to wait for it, in whatever thread drops an array.
        on_unknown: Called when a handle names an arena that is not attached, to attach what waits.
        lacking: The reason that fallbacks tell where there is no arena.

    Example:
        >>> from snakepit_nb.arrays.arena import Arena
        >>> store = Store("kernel", Arena(1 << 20), inline_bytes=0)
        >>> handle = store.export(np.arange(3.0))
        >>> handle.shape
        (3,)
        >>> store.import_(handle, peer="self").tolist()
        [0.0, 1.0, 2.0]
        >>> store.close()
    """

    def __init__(  # noqa: PLR0913 - all but two are for some processes only, and named
        self,
        role: Role,
        arena: Allocator | None,
        *,
        inline_bytes: int = 4096,
        on_return: Callable[[str], None] | None = None,
        on_unknown: Callable[[], None] | None = None,
        lacking: str = "disabled",
    ) -> None:
        self.arena = arena
        self.inline_bytes = inline_bytes
        self.lacking = lacking
        self.ledger = Ledger(role)
        self.leases = Leases()
        self.borrower = Borrower(arena, on_return, on_unknown, heir=role == "kernel")
        self.shares = Shares(arena) if arena is not None else None
        if self.shares is not None:
            self.borrower.is_kept = self.shares.was_kept

    # Lending out

    def export(
        self,
        array: np.ndarray,
        *,
        kind: str = "dlpack",
        mode: Mode = "copy_on_write",
        request_id: int | None = None,
    ) -> ArrayHandle | None:
        """Lend one array: as it lies in shared memory already, else as a copy in this process's arena.

        What belongs to one message is lent by one `Shipment`.

        Args:
            array: Any shape, any strides, any dtype.
            kind: `"dlpack"` for an array, `"arrow"` for a plain buffer.
            mode: How the other side is to map it.
            request_id: The request that it belongs to, for the events.

        Returns:
            The handle, or None where the array has to travel inside the message: it is small (no event), or
            it cannot be shared (one `fallback` event says why).

        Example:
            >>> Store("kernel", None).export(np.zeros(3)) is None
            True
        """
        shipment = Shipment(self, request_id=request_id, mode=mode)
        item = shipment.add(array, kind=kind)
        if item is None:
            return None
        sealed = shipment.seal([item])
        return from_bytes(sealed.buffers)[0]

    def allocate(self, nbytes: int) -> Block:
        """A block of this process's arena; first shares that are kept make room where there is none.

        Raises:
            ArenaFull: the budget, or the address space, is used up by what is in use.

        Example:
            >>> from snakepit_nb.arrays.arena import Arena
            >>> store = Store("kernel", Arena(1 << 20))
            >>> store.allocate(10).offset
            0
            >>> store.close()
        """
        if self.arena is None:
            message = "there is no arena here"
            raise ArenaFull(message)
        while True:
            try:
                return self.arena.allocate(nbytes)
            except ArenaFull:
                if self.shares is None or not self.shares.drop_oldest():
                    raise

    def put(self, data: bytes | memoryview) -> Placed:
        """Copy plain bytes for one reader: into the arena, or where that is full, into memory of their own.

        That memory is known by its id like an arena, here and to a peer that was introduced to it, until
        the lease ends.

        Raises:
            ArrayError: the system has no room either.

        Example:
            >>> store = Store("kernel", None)
            >>> placed = store.put(b"abc")
            >>> store.read(placed.arena, placed.offset, 3)
            b'abc'
            >>> store.release([placed.lease])
        """
        arena, nbytes = self.arena, len(data)
        if arena is not None:
            try:
                block = self.allocate(nbytes)
            except ArenaFull:
                pass
            else:
                bytes_at(arena.address + block.offset, nbytes)[:] = np.frombuffer(data, np.uint8)
                return Placed(
                    arena.id, block.offset, self.leases.open(Lease(block.nbytes, block, told=False))
                )
        try:
            fd = file_of(data)
        except OSError as error:
            message = f"a message of {nbytes} bytes finds no room in memory: {error.strerror}"
            raise ArrayError(message) from error
        lease = Lease(nbytes, told=False)
        number = self.leases.open(lease)
        lease.parcel = name(number)
        self.attach(lease.parcel, fd, nbytes)
        return Placed(lease.parcel, 0, number)

    def hand(self, leases: Iterable[int], holder: str) -> None:
        """Note that `holder` has these leases from now on, so that its death ends them.

        Example:
            >>> Store("kernel", None).hand([], "default-0")
        """
        self.leases.hand(leases, holder)

    def release(self, leases: Iterable[int]) -> None:
        """End leases: their importers are done with them. Unknown numbers, ended by a death, are ignored.

        Example:
            >>> Store("kernel", None).release([1, 2])
        """
        self._end(self.leases.end(leases), events.ZERO_COPY_RELEASE)

    def forget(self, holder: str) -> None:
        """End all leases of a holder that died.

        Example:
            >>> Store("kernel", None).forget("default-0")
        """
        held = self.leases.held_by(holder)
        self._end(self.leases.end(held, for_good=True), events.ZERO_COPY_LEAKED)

    def _end(self, ended: list[tuple[int, Lease]], event: tuple[str, ...]) -> None:
        for number, lease in ended:
            if lease.block is not None and self.arena is not None:
                self.arena.free(lease.block)
            if lease.parcel:
                self.detach(lease.parcel)
            if lease.told:
                self.ledger.tell_end(event, number, lease)

    # Borrowing

    def attach(self, arena_id: str, fd: int, nbytes: int) -> None:
        """Learn of a peer's arena; the store owns the descriptor from now on.

        Raises:
            ArrayError: the descriptor holds less than it is said to.

        Example:
            >>> import os
            >>> from snakepit_nb.arrays.arena import Arena
            >>> arena, store = Arena(1 << 20), Store("kernel", None)
            >>> store.attach(arena.id, os.dup(arena.fd), arena.nbytes)
            >>> store.close(); arena.close()
        """
        self.borrower.attach(arena_id, fd, nbytes)

    def detach(self, arena_id: str) -> None:
        """Forget a peer's arena as soon as no array of it is left here.

        Example:
            >>> Store("kernel", None).detach("unknown")
        """
        if self.arena is None or arena_id != self.arena.id:
            self.borrower.detach(arena_id)

    def open_readonly(self, arena_id: str) -> tuple[int, int] | None:
        """A new descriptor of an arena, for reading alone, and its length; None for an arena not known here.

        A peer that maps it privately can still write to its own pages, and never to the owner's.

        Raises:
            OSError: this process has no descriptor left.

        Example:
            >>> Store("kernel", None).open_readonly("unknown") is None
            True
        """
        return self.borrower.open_readonly(arena_id)

    def open_writable(self, arena_id: str) -> tuple[int, int] | None:
        """The same for a peer that is to write to it in place.

        Raises:
            OSError: this process has no descriptor left.

        Example:
            >>> Store("kernel", None).open_writable("unknown") is None
            True
        """
        return self.borrower.open_writable(arena_id)

    def import_(
        self,
        handle: ArrayHandle,
        *,
        peer: str,
        mode: Mode | None = None,
        request_id: int | None = None,
    ) -> np.ndarray:
        """An array over lent memory; when it and its views are gone, the lease goes back to `peer`.

        Args:
            handle: What `export` gave, here or in a peer whose arena is attached.
            peer: Who exported it and gets the lease back.
            mode: `"copy_on_write"` (writable, the lender sees nothing of it), `"in_place"` (writable, both
                see it), `"readonly"`; by default what the handle says.
            request_id: The request that it belongs to, for the events.

        Raises:
            ArrayError: the handle does not fit its arena, or names one that is not known here; its lease goes
                back at once.

        Example:
            >>> from snakepit_nb.arrays.arena import Arena
            >>> store = Store("worker", Arena(1 << 20), inline_bytes=0)
            >>> array = store.import_(store.export(np.ones(2)), peer="kernel")
            >>> array[0] = 5.0
            >>> store.close()
        """
        return self.import_all([handle], peer=peer, mode=mode, request_id=request_id)[0]

    def import_all(
        self,
        handles: Sequence[ArrayHandle],
        *,
        peer: str,
        mode: Mode | None = None,
        request_id: int | None = None,
    ) -> list[np.ndarray]:
        """The arrays of one message; those of one lease are views of one mapping.

        Raises:
            ArrayError: as for `import_`; all leases go back then.

        Example:
            >>> Store("worker", None).import_all([], peer="kernel")
            []
        """
        return arrive(self.borrower, self.ledger, handles, peer=peer, mode=mode, request_id=request_id)

    def read(self, arena_id: str, offset: int, nbytes: int) -> bytes:
        """Copy plain bytes out of an arena (what its owner `put` there).

        Raises:
            ArrayError: the arena is not known, or the bytes reach outside it.

        Example:
            >>> from snakepit_nb.arrays.arena import Arena
            >>> store = Store("kernel", Arena(1 << 20))
            >>> placed = store.put(b"abc")
            >>> store.read(placed.arena, placed.offset, 3)
            b'abc'
            >>> store.close()
        """
        return self.borrower.read(arena_id, offset, nbytes)

    def give_back(self, peer: str, lease: int) -> None:
        """Note that a lease of `peer` is no longer used here; `take_returns` hands it out to be sent.

        Example:
            >>> store = Store("worker", None)
            >>> store.give_back("kernel", 7)
            >>> store.take_returns("kernel")
            [7]
        """
        self.borrower.give_back(peer, lease)

    def take_returns(self, peer: str) -> list[int]:
        """The leases of `peer` that ended here since the last call.

        Example:
            >>> Store("worker", None).take_returns("kernel")
            []
        """
        return self.borrower.take_returns(peer)

    def owed(self) -> list[str]:
        """The peers that `take_returns` has something for.

        Example:
            >>> store = Store("worker", None)
            >>> store.give_back("kernel", 7)
            >>> store.owed()
            ['kernel']
        """
        return self.borrower.owed()

    def stats(self) -> Stats:
        """What was lent and copied so far, and what is out now.

        Example:
            >>> Store("kernel", None).stats().leases
            0
        """
        arena, shares, ledger = self.arena, self.shares, self.ledger
        return Stats(
            ledger.shared,
            ledger.shared_bytes,
            ledger.copied,
            ledger.copied_bytes,
            len(self.leases),
            self.leases.nbytes,
            shares.nbytes if shares else 0,
            arena.live_bytes if arena else 0,
            founding.warm_bytes(arena),
            arena.budget if arena else 0,
        )

    def close(self) -> None:
        """Give up the arena and every descriptor; arrays over them keep their memory until they die.

        Example:
            >>> Store("kernel", None).close()
        """
        self.leases.drop_all()
        self.borrower.close()
