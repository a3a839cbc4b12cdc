"""The loans of one process: arrays it exports to peers, arrays it imports from them, and the events of both.

*Rule:* an exported block lives until its lease ends: the importer released it, or the importer died.

*Rule:* one copy is one `fallback` event and no `export`; memory lent as it lies is one `export` and no
`fallback`; every mapping of a handle is one `import`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from snakepit_nb import events, telemetry
from snakepit_nb.arrays import dtypes
from snakepit_nb.arrays.arena import Arena, ArenaFull
from snakepit_nb.arrays.borrowing import Borrower, Mode
from snakepit_nb.arrays.handle import ArrayHandle
from snakepit_nb.arrays.lending import Lease, Leases
from snakepit_nb.arrays.memory import bytes_at, file_of
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Mode", "Placed", "Stats", "Store"]

Role = Literal["kernel", "worker"]

_OUT: Final[dict[str, str]] = {"kernel": "to_worker", "worker": "to_kernel"}
_IN: Final[dict[str, str]] = {"kernel": "to_kernel", "worker": "to_worker"}


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store has lent and copied so far, in numbers of arrays and in bytes."""

    shared: int
    shared_bytes: int
    copied: int
    copied_bytes: int
    leases: int
    live_bytes: int
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
        arena: Where copies for peers are made; None means that every array travels inside the message.
        inline_bytes: Arrays below this many bytes travel inside the message without an event.
        on_return: Called with the peer when leases begin to wait for it, in whatever thread drops an array.
        on_unknown: Called when a handle names an arena that is not attached, to attach what waits.

    Example:
        >>> store = Store("kernel", Arena(1 << 20), inline_bytes=0)
        >>> handle = store.export(np.arange(3.0))
        >>> handle.shape
        (3,)
        >>> store.import_(handle, peer="self").tolist()
        [0.0, 1.0, 2.0]
        >>> store.close()
    """

    def __init__(
        self,
        role: Role,
        arena: Arena | None,
        *,
        inline_bytes: int = 4096,
        on_return: Callable[[str], None] | None = None,
        on_unknown: Callable[[], None] | None = None,
    ) -> None:
        self._role = role
        self.arena = arena
        self.inline_bytes = inline_bytes
        self._leases = Leases()
        self._borrower = Borrower(arena, on_return, on_unknown)
        self._shared = self._shared_bytes = self._copied = self._copied_bytes = 0

    # Lending out

    def export(
        self, array: np.ndarray, *, kind: str = "dlpack", request_id: int | None = None
    ) -> ArrayHandle | None:
        """Lend an array: as it lies in shared memory already, else as a copy in this process's arena.

        Args:
            array: Any shape, any strides, any dtype.
            kind: `"dlpack"` for an array, `"arrow"` for a plain buffer.
            request_id: The request that it belongs to, for the events.

        Returns:
            The handle, or None where the array has to travel inside the message: it is small (no event), or
            it cannot be shared (one `fallback` event says why).

        Example:
            >>> Store("kernel", None).export(np.zeros(3)) is None
            True
        """
        nbytes = array.nbytes
        if nbytes < self.inline_bytes or nbytes == 0:
            return None
        began = time.perf_counter()
        facts = {"kind": kind, "direction": _OUT[self._role], "request_id": request_id}
        descr = dtypes.describe(array.dtype)
        lent = None if descr is None else self._lend_in_place(array, descr, kind)
        if lent is not None:
            self._shared += 1
            self._shared_bytes += nbytes
            facts |= {"handle_id": _name(lent.lease), "copied": False}
            self._tell(events.ZERO_COPY_EXPORT, began, array, facts)
            return lent
        handle, reason = None, "disabled" if self.arena is None else "dtype"
        if descr is not None and self.arena is not None:
            try:
                handle, reason = self._lend_copy(array, descr, kind, self.arena), "first_share"
            except ArenaFull:
                reason = "capacity"
        self._copied += 1
        self._copied_bytes += nbytes
        facts |= {"handle_id": _name(handle.lease) if handle else None, "copied": True, "reason": reason}
        self._tell(events.ZERO_COPY_FALLBACK, began, array, facts)
        return handle

    def _lend_in_place(self, array: np.ndarray, descr: dtypes.Descr, kind: str) -> ArrayHandle | None:
        """A handle on memory that was lent to this process, or None where the array does not lie in any."""
        found = self._borrower.lent_at(array)
        if found is None:
            return None
        origin, start = found
        lease = self._leases.open(Lease(origin.nbytes, kept=array))
        return origin._replace(
            kind=kind, lease=lease, dtype=descr, shape=array.shape, strides=array.strides, start=start
        )

    def _lend_copy(self, array: np.ndarray, descr: dtypes.Descr, kind: str, arena: Arena) -> ArrayHandle:
        block = arena.allocate(array.nbytes)
        try:
            raw = bytes_at(arena.address + block.offset, array.nbytes)
            order: Literal["C", "F"] = "F" if array.flags.fnc else "C"
            copy: np.ndarray = np.ndarray(array.shape, array.dtype, buffer=raw, order=order)
            np.copyto(copy, array)
        except BaseException:  # an interrupt comes here if anywhere: large copies take long
            arena.free(block)
            raise
        lease = self._leases.open(Lease(block.nbytes, block))
        return ArrayHandle(
            kind, "arena", arena.id, block.generation, block.offset, array.nbytes, lease,
            "cpu", descr, copy.shape, copy.strides, 0, "numpy",
        )  # fmt: skip

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
                block = arena.allocate(nbytes)
            except ArenaFull:
                pass
            else:
                bytes_at(arena.address + block.offset, nbytes)[:] = np.frombuffer(data, np.uint8)
                return Placed(arena.id, block.offset, self._leases.open(Lease(block.nbytes, block)))
        try:
            fd = file_of(data)
        except OSError as error:
            message = f"a message of {nbytes} bytes finds no room in memory: {error.strerror}"
            raise ArrayError(message) from error
        lease = Lease(nbytes)
        number = self._leases.open(lease)
        lease.parcel = _name(number)
        self.attach(lease.parcel, fd, nbytes)
        return Placed(lease.parcel, 0, number)

    def hand(self, leases: Iterable[int], holder: str) -> None:
        """Note that `holder` has these leases from now on, so that its death ends them.

        Example:
            >>> Store("kernel", None).hand([], "default-0")
        """
        self._leases.hand(leases, holder)

    def release(self, leases: Iterable[int]) -> None:
        """End leases: their importers are done with them. Unknown numbers, ended by a death, are ignored.

        Example:
            >>> Store("kernel", None).release([1, 2])
        """
        self._end(leases, events.ZERO_COPY_RELEASE)

    def forget(self, holder: str) -> None:
        """End all leases of a holder that died.

        Example:
            >>> Store("kernel", None).forget("default-0")
        """
        self._end(self._leases.held_by(holder), events.ZERO_COPY_LEAKED)

    def _end(self, leases: Iterable[int], event: tuple[str, ...]) -> None:
        for number, lease in self._leases.end(leases):
            if lease.block is not None and self.arena is not None:
                self.arena.free(lease.block)
            if lease.parcel:
                self.detach(lease.parcel)
            age_ms = (time.monotonic_ns() - lease.since_ns) / 1e6
            telemetry.execute(
                event,
                {"age_ms": age_ms, "bytes": lease.nbytes},
                {"handle_id": _name(number), "device": "cpu"},
            )

    # Borrowing

    def attach(self, arena_id: str, fd: int, nbytes: int) -> None:
        """Learn of a peer's arena; the store owns the descriptor from now on.

        Raises:
            ArrayError: the descriptor holds less than it is said to.

        Example:
            >>> import os
            >>> arena, store = Arena(1 << 20), Store("kernel", None)
            >>> store.attach(arena.id, os.dup(arena.fd), arena.nbytes)
            >>> store.close(); arena.close()
        """
        self._borrower.attach(arena_id, fd, nbytes)

    def detach(self, arena_id: str) -> None:
        """Forget a peer's arena as soon as no array of it is left here.

        Example:
            >>> Store("kernel", None).detach("unknown")
        """
        if self.arena is None or arena_id != self.arena.id:
            self._borrower.detach(arena_id)

    def open_readonly(self, arena_id: str) -> tuple[int, int] | None:
        """A new descriptor of an arena, for reading alone, and its length; None for an arena not known here.

        A peer that maps it privately can still write to its own pages, and never to the owner's.

        Example:
            >>> Store("kernel", None).open_readonly("unknown") is None
            True
        """
        return self._borrower.open_readonly(arena_id)

    def import_(
        self,
        handle: ArrayHandle,
        *,
        peer: str,
        mode: Mode = "copy_on_write",
        request_id: int | None = None,
    ) -> np.ndarray:
        """An array over lent memory; when it and its views are gone, the lease goes back to `peer`.

        Args:
            handle: What `export` gave, here or in a peer whose arena is attached.
            peer: Who exported it and gets the lease back.
            mode: `"copy_on_write"` (writable, the lender sees nothing of it), `"in_place"` (writable, both
                see it), `"readonly"`.
            request_id: The request that it belongs to, for the events.

        Raises:
            ArrayError: the handle does not fit its arena, or names one that is not known here; its lease goes
                back at once.

        Example:
            >>> store = Store("worker", Arena(1 << 20), inline_bytes=0)
            >>> array = store.import_(store.export(np.ones(2)), peer="kernel")
            >>> array[0] = 5.0
            >>> store.close()
        """
        began = time.perf_counter()
        try:
            dtype = dtypes.restore(handle.dtype)
            raw = self._borrower.borrow(handle, dtype.itemsize, peer, mode)
        except BaseException:
            self.give_back(peer, handle.lease)
            raise
        try:
            array: np.ndarray = np.ndarray(
                handle.shape, dtype, buffer=raw, offset=handle.start, strides=handle.strides
            )
        except (ValueError, TypeError) as error:
            message = f"array handle with shape {handle.shape}, strides {handle.strides} and {dtype}: {error}"
            raise ArrayError(message) from error
        facts = {"kind": handle.kind, "direction": _IN[self._role], "request_id": request_id}
        facts |= {"handle_id": _name(handle.lease), "copied": False}
        self._tell(events.ZERO_COPY_IMPORT, began, array, facts)
        return array

    def read(self, arena_id: str, offset: int, nbytes: int) -> bytes:
        """Copy plain bytes out of an arena (what its owner `put` there).

        Raises:
            ArrayError: the arena is not known, or the bytes reach outside it.

        Example:
            >>> store = Store("kernel", Arena(1 << 20))
            >>> placed = store.put(b"abc")
            >>> store.read(placed.arena, placed.offset, 3)
            b'abc'
            >>> store.close()
        """
        return self._borrower.read(arena_id, offset, nbytes)

    def give_back(self, peer: str, lease: int) -> None:
        """Note that a lease of `peer` is no longer used here; `take_returns` hands it out to be sent.

        Example:
            >>> store = Store("worker", None)
            >>> store.give_back("kernel", 7)
            >>> store.take_returns("kernel")
            [7]
        """
        self._borrower.give_back(peer, lease)

    def take_returns(self, peer: str) -> list[int]:
        """The leases of `peer` that ended here since the last call.

        Example:
            >>> Store("worker", None).take_returns("kernel")
            []
        """
        return self._borrower.take_returns(peer)

    def stats(self) -> Stats:
        """What was lent and copied so far, and what is out now.

        Example:
            >>> Store("kernel", None).stats().leases
            0
        """
        arena = self.arena
        return Stats(
            self._shared,
            self._shared_bytes,
            self._copied,
            self._copied_bytes,
            len(self._leases),
            arena.live_bytes if arena else 0,
            arena.budget if arena else 0,
        )

    def close(self) -> None:
        """Give up the arena and every descriptor; arrays over them keep their memory until they die.

        Example:
            >>> Store("kernel", None).close()
        """
        self._leases.drop_all()
        self._borrower.close()

    def _tell(
        self, event: tuple[str, ...], began: float, array: np.ndarray, facts: Mapping[str, object]
    ) -> None:
        metadata = {"device": "cpu", "dtype": str(array.dtype), "shape": list(array.shape), **facts}
        if metadata["request_id"] is None:
            del metadata["request_id"]
        elapsed = (time.perf_counter() - began) * 1e3
        telemetry.execute(event, {"duration_ms": elapsed, "bytes": array.nbytes}, metadata)


def _name(lease: int) -> str:
    """A lease's number as events, and peers, know it."""
    return f"{lease:x}"
