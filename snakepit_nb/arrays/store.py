"""The loans of one process: arrays it exports to peers, arrays it imported from them, and who holds what.

*Rule:* an exported block lives until its lease ends: the importer released it, or the importer died.

*Rule:* one copy is one `fallback` event and no `export`; memory lent as it lies is one `export` and no
`fallback`; every mapping of a handle is one `import`.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr

from snakepit_nb import events, telemetry
from snakepit_nb.arrays.arena import PAGE, Arena, ArenaFull, Block, map_memory, unmap_memory
from snakepit_nb.arrays.handle import ArrayHandle, check_extent
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Role = Literal["kernel", "worker"]
Mode = Literal["copy_on_write", "in_place", "readonly"]

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


@dataclass(slots=True)
class _Lease:
    """One loan: the block that it keeps, or the array that was lent as it lay; and who holds it."""

    block: Block | None
    kept: object
    nbytes: int
    since_ns: int
    holder: str | None = None


class _Lent:
    """The base object of an imported array: its end is the end of the loan."""

    __slots__ = ("__array_interface__", "arena", "handle", "length", "mapped", "mode", "peer", "store")

    def __init__(self, store: Store, peer: str, handle: ArrayHandle, arena: _Attached, mode: Mode) -> None:
        self.store: Store | None = None
        low = handle.offset // PAGE * PAGE
        self.length = 0
        if mode == "in_place":
            self.mapped = 0
            address = arena.whole() + handle.offset
        else:
            self.length = handle.offset + handle.nbytes - low
            self.mapped = map_memory(
                arena.fd, low, self.length, writable=mode == "copy_on_write", private=mode == "copy_on_write"
            )
            address = self.mapped + handle.offset - low
        self.peer = peer
        self.handle = handle
        self.mode = mode
        self.arena = arena
        arena.users += 1
        self.store = store
        self.__array_interface__ = {
            "version": 3,
            "data": (address, mode == "readonly"),
            "typestr": "|u1",
            "shape": (handle.nbytes,),
        }

    def __del__(self) -> None:
        store = self.store
        if store is not None:
            unmap_memory(self.mapped, self.length)
            store._returned(self)  # noqa: SLF001 - the other half of this class


class _Attached:
    """An arena as this process can reach it: its descriptor and, once needed, a map of all of it."""

    __slots__ = ("_address", "_lock", "fd", "gone", "id", "nbytes", "owned", "users")

    def __init__(self, arena_id: str, fd: int, nbytes: int, *, owned: Arena | None = None) -> None:
        self.id = arena_id
        self.fd = fd
        self.nbytes = nbytes
        self.users = 0
        self.gone = False
        self.owned = owned
        self._address = owned.address if owned else 0
        self._lock = threading.Lock()

    def whole(self) -> int:
        with self._lock:
            if not self._address:
                self._address = map_memory(self.fd, 0, self.nbytes, writable=True, private=False)
            return self._address

    def close(self) -> None:
        if self.owned is None:
            if self._address:
                unmap_memory(self._address, self.nbytes)
            os.close(self.fd)


class Store:
    """Exports and imports arrays for one process.

    Args:
        role: Which side this process is on; it decides the `direction` of the events.
        arena: Where copies for peers are made; None means that every array travels inside the message.
        inline_bytes: Arrays below this many bytes travel inside the message without an event.
        on_return: Called with the peer, in whatever thread dropped the array, when leases begin to wait for it.
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
        self._on_return = on_return
        self._on_unknown = on_unknown
        # Reentrant: a collection of garbage inside these few lines may end a loan of this very store.
        self._lock = threading.RLock()
        self._leases: dict[int, _Lease] = {}
        # Numbers that no other process hands out either, so that a lease's number names it in events.
        self._next_lease = secrets.randbits(31) << 32
        self._returns: dict[str, list[int]] = {}
        self._attached: dict[str, _Attached] = {}
        if arena is not None:
            self._attached[arena.id] = _Attached(arena.id, arena.fd, arena.nbytes, owned=arena)
        self._shared = self._shared_bytes = self._copied = self._copied_bytes = 0

    # Lending out

    def export(self, array: np.ndarray, *, kind: str = "dlpack", request_id: int | None = None) -> ArrayHandle | None:
        """Lend an array: as it lies where it is in shared memory already, else as a copy in this process's arena.

        Args:
            array: Any shape, any strides, any dtype without Python objects in it.
            kind: `"dlpack"` for an array, `"arrow"` for a plain buffer.
            request_id: The request that it belongs to, for the events.

        Returns:
            The handle, or None where the array has to travel inside the message: it is small (no event), or it
            cannot be shared (one `fallback` event says why).

        Raises:
            ArrayError: the system refused memory in a way that no fallback can mend.

        Example:
            >>> Store("kernel", None).export(np.zeros(3)) is None
            True
        """
        nbytes = array.nbytes
        if nbytes < self.inline_bytes or nbytes == 0 or array.dtype.hasobject:
            return None
        began = time.perf_counter()
        descr = _descr(array.dtype)
        reason = "disabled" if self.arena is None else "dtype" if descr is None else None
        if reason is None and descr is not None:
            lent = _lent_base(array)
            handle = self._lend_in_place(array, lent, descr, kind) if lent else None
            if handle is not None:
                self._shared += 1
                self._shared_bytes += nbytes
                self._tell(events.ZERO_COPY_EXPORT, began, handle.lease, array, kind, request_id, _OUT[self._role])
                return handle
            try:
                handle = self._lend_copy(array, descr, kind)
            except ArenaFull:
                reason = "capacity"
            else:
                reason = "first_share"
        else:
            handle = None
        self._copied += 1
        self._copied_bytes += nbytes
        lease = handle.lease if handle else None
        direction = _OUT[self._role]
        self._tell(events.ZERO_COPY_FALLBACK, began, lease, array, kind, request_id, direction, reason=reason)
        return handle

    def _lend_in_place(self, array: np.ndarray, lent: _Lent, descr: str | list[object], kind: str) -> ArrayHandle | None:
        """A handle on memory that came from a peer, or None where the array no longer is that memory."""
        if lent.mode == "copy_on_write":
            return None  # this process may have written to its private pages
        base = lent.__array_interface__["data"][0]
        start = array.__array_interface__["data"][0] - base
        lease = self._open(_Lease(None, array, lent.handle.nbytes, time.monotonic_ns()))
        origin = lent.handle
        return ArrayHandle(
            kind, "arena", origin.arena, origin.generation, origin.offset, origin.nbytes, lease,
            "cpu", descr, array.shape, array.strides, start, "numpy",
        )  # fmt: skip

    def _lend_copy(self, array: np.ndarray, descr: str | list[object], kind: str) -> ArrayHandle:
        arena = self.arena
        assert arena is not None  # noqa: S101 - export() asked
        block = arena.allocate(array.nbytes)
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        raw = _bytes_at(arena.address + block.offset, array.nbytes)
        copy: np.ndarray = np.ndarray(array.shape, array.dtype, buffer=raw, order=order)
        np.copyto(copy, array)
        lease = self._open(_Lease(block, None, block.nbytes, time.monotonic_ns()))
        return ArrayHandle(
            kind, "arena", arena.id, block.generation, block.offset, array.nbytes, lease,
            "cpu", descr, copy.shape, copy.strides, 0, "numpy",
        )  # fmt: skip

    def put(self, data: bytes | memoryview) -> tuple[int, int]:
        """Copy plain bytes into the arena for one reader; gives their offset and the lease.

        Raises:
            ArenaFull: they do not fit.
            ArrayError: there is no arena.

        Example:
            >>> Store("kernel", Arena(1 << 20)).put(b"abc")[0]
            0
        """
        arena = self.arena
        if arena is None:
            message = f"a message of {len(data)} bytes needs shared memory, and this process has none"
            raise ArrayError(message)
        block = arena.allocate(len(data))
        _bytes_at(arena.address + block.offset, len(data))[:] = np.frombuffer(data, np.uint8)
        return block.offset, self._open(_Lease(block, None, block.nbytes, time.monotonic_ns()))

    def _open(self, lease: _Lease) -> int:
        with self._lock:
            self._next_lease += 1
            self._leases[self._next_lease] = lease
            return self._next_lease

    def hand(self, leases: Iterable[int], holder: str) -> None:
        """Note that `holder` has these leases from now on, so that its death ends them.

        Example:
            >>> Store("kernel", None).hand([], "default-0")
        """
        for number in leases:
            lease = self._leases.get(number)
            if lease is not None:
                lease.holder = holder

    def release(self, leases: Iterable[int]) -> None:
        """End leases: their importers are done with them. Unknown numbers are ignored (they ended by a death).

        Example:
            >>> Store("kernel", None).release([1, 2])
        """
        self._end(leases, events.ZERO_COPY_RELEASE)

    def forget(self, holder: str) -> None:
        """End all leases of a holder that died.

        Example:
            >>> Store("kernel", None).forget("default-0")
        """
        held = [number for number, lease in list(self._leases.items()) if lease.holder == holder]
        self._end(held, events.ZERO_COPY_LEAKED)

    def _end(self, leases: Iterable[int], event: tuple[str, ...]) -> None:
        for number in leases:
            with self._lock:
                lease = self._leases.pop(number, None)
            if lease is None:
                continue
            if lease.block is not None and self.arena is not None:
                self.arena.free(lease.block)
            age_ms = (time.monotonic_ns() - lease.since_ns) / 1e6
            telemetry.execute(
                event,
                {"age_ms": age_ms, "bytes": lease.nbytes},
                {"handle_id": f"{number:x}", "device": "cpu"},
            )

    # Borrowing

    def attach(self, arena_id: str, fd: int, nbytes: int) -> None:
        """Learn of a peer's arena; the store owns the descriptor from now on.

        Example:
            >>> arena = Arena(1 << 20)
            >>> Store("kernel", None).attach(arena.id, os.dup(arena.fd), arena.nbytes)
        """
        with self._lock:
            if arena_id in self._attached:
                os.close(fd)
            else:
                self._attached[arena_id] = _Attached(arena_id, fd, nbytes)

    def detach(self, arena_id: str) -> None:
        """Forget a peer's arena as soon as no array of it is left here.

        Example:
            >>> Store("kernel", None).detach("unknown")
        """
        with self._lock:
            attached = self._attached.get(arena_id)
            if attached is None or attached.owned is not None:
                return
            attached.gone = True
            if attached.users:
                return
            del self._attached[arena_id]
        attached.close()

    def open_readonly(self, arena_id: str) -> tuple[int, int] | None:
        """A new descriptor of an arena, for reading alone, and its length; None for an arena not known here.

        A peer that maps it privately can still write to its own pages, and never to the owner's.

        Example:
            >>> Store("kernel", None).open_readonly("unknown") is None
            True
        """
        attached = self._attached.get(arena_id)
        if attached is None:
            return None
        try:
            return os.open(f"/proc/self/fd/{attached.fd}", os.O_RDONLY | os.O_CLOEXEC), attached.nbytes
        except OSError:  # no /proc here
            return os.dup(attached.fd), attached.nbytes

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
            mode: `"copy_on_write"` (writable, the lender sees nothing of it), `"in_place"` (writable, both see
                it), `"readonly"`.
            request_id: The request that it belongs to, for the events.

        Raises:
            ArrayError: the handle does not fit its arena, or names one that is not known here.

        Example:
            >>> store = Store("worker", Arena(1 << 20), inline_bytes=0)
            >>> array = store.import_(store.export(np.ones(2)), peer="kernel")
            >>> array[0] = 5.0
            >>> store.close()
        """
        began = time.perf_counter()
        dtype = _dtype(handle.dtype)
        if handle.arena not in self._attached and self._on_unknown is not None:
            self._on_unknown()
        with self._lock:
            attached = self._attached.get(handle.arena)
            if attached is None:
                message = f"array handle names the arena {handle.arena!r}, which this process does not know"
                raise ArrayError(message)
            check_extent(handle, dtype.itemsize, attached.nbytes)
            if attached.owned is not None:
                block = attached.owned.block_at(handle.offset)
                if block is None or block.generation != handle.generation:
                    message = "array handle names a block of this process's arena that was freed since"
                    raise ArrayError(message)
            lent = _Lent(self, peer, handle, attached, mode)
        raw = np.asarray(lent)
        array: np.ndarray = np.ndarray(handle.shape, dtype, buffer=raw, offset=handle.start, strides=handle.strides)
        self._tell(events.ZERO_COPY_IMPORT, began, handle.lease, array, handle.kind, request_id, _IN[self._role])
        return array

    def read(self, arena_id: str, offset: int, nbytes: int) -> bytes:
        """Copy plain bytes out of a peer's arena (what it `put` there).

        Raises:
            ArrayError: the arena is not known, or the bytes reach outside it.

        Example:
            >>> arena = Arena(1 << 20)
            >>> store = Store("kernel", arena)
            >>> store.read(arena.id, *(store.put(b"abc")[0], 3))
            b'abc'
        """
        if arena_id not in self._attached and self._on_unknown is not None:
            self._on_unknown()
        with self._lock:
            attached = self._attached.get(arena_id)
        if attached is None or offset < 0 or offset + nbytes > attached.nbytes:
            message = f"{nbytes} bytes at {offset} of the arena {arena_id!r} cannot be read here"
            raise ArrayError(message)
        if attached.owned is not None:
            return _bytes_at(attached.whole() + offset, nbytes).tobytes()
        return os.pread(attached.fd, nbytes, offset) if nbytes < 1 << 30 else _pread_all(attached.fd, nbytes, offset)

    def _returned(self, lent: _Lent) -> None:
        arena = lent.arena
        arena.users -= 1
        if arena.gone and not arena.users:
            self.detach(arena.id)
        self.give_back(lent.peer, lent.handle.lease)

    def give_back(self, peer: str, lease: int) -> None:
        """Note that a lease of `peer` is no longer used here; `take_returns` hands it out to be sent.

        Example:
            >>> store = Store("worker", None)
            >>> store.give_back("kernel", 7)
            >>> store.take_returns("kernel")
            [7]
        """
        with self._lock:
            waiting = self._returns.setdefault(peer, [])
            waiting.append(lease)
        if len(waiting) == 1 and self._on_return is not None:
            self._on_return(peer)

    def take_returns(self, peer: str) -> list[int]:
        """The leases of `peer` that ended here since the last call.

        Example:
            >>> Store("worker", None).take_returns("kernel")
            []
        """
        if peer not in self._returns:
            return []
        with self._lock:
            return self._returns.pop(peer, [])

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
        """Give up the arena and every descriptor; arrays imported in place keep their memory until they die.

        Example:
            >>> Store("kernel", None).close()
        """
        for arena_id in list(self._attached):
            self.detach(arena_id)
        with self._lock:
            self._leases.clear()
        if self.arena is not None:
            self.arena.close()

    def _tell(
        self,
        event: tuple[str, ...],
        began: float,
        lease: int | None,
        array: np.ndarray,
        kind: str,
        request_id: int | None,
        direction: str,
        *,
        reason: str | None = None,
    ) -> None:
        metadata: dict[str, object] = {
            "kind": kind,
            "device": "cpu",
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "handle_id": None if lease is None else f"{lease:x}",
            "direction": direction,
            "copied": reason is not None,
        }
        if reason is not None:
            metadata["reason"] = reason
        if request_id is not None:
            metadata["request_id"] = request_id
        elapsed = (time.perf_counter() - began) * 1e3
        telemetry.execute(event, {"duration_ms": elapsed, "bytes": array.nbytes}, metadata)


def _bytes_at(address: int, nbytes: int) -> np.ndarray:
    """`nbytes` bytes at an address as a writable array; the caller keeps the memory alive."""

    return np.frombuffer((ctypes.c_ubyte * nbytes).from_address(address), np.uint8)


def _pread_all(fd: int, nbytes: int, offset: int) -> bytes:
    parts = []
    while nbytes:
        part = os.pread(fd, min(nbytes, 1 << 30), offset)
        parts.append(part)
        nbytes -= len(part)
        offset += len(part)
    return b"".join(parts)


def _lent_base(array: np.ndarray) -> _Lent | None:
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, _Lent) else None


def _descr(dtype: np.dtype) -> str | list[object] | None:
    """NumPy's own description of a dtype, or None where it does not give the same dtype back."""
    if dtype.names is None:
        return dtype.str if np.dtype(dtype.str) == dtype else None
    try:
        descr = dtype_to_descr(dtype)
        return descr if isinstance(descr, list) and descr_to_dtype(descr) == dtype else None
    except (ValueError, TypeError):
        return None


def _dtype(descr: str | list[object]) -> np.dtype:
    try:
        return np.dtype(descr) if isinstance(descr, str) else descr_to_dtype(_tuples(descr))
    except (TypeError, ValueError) as error:
        message = f"array handle with an unknown dtype {descr!r}: {error}"
        raise ArrayError(message) from error


def _tuples(descr: list[object]) -> list[object]:
    """A descr as NumPy wants it: JSON knows no tuples, NumPy wants one for each field and each shape."""
    fields: list[object] = []
    for entry in descr:
        if not isinstance(entry, (list, tuple)):
            message = f"array handle with an unknown dtype {descr!r}"
            raise ArrayError(message)
        name, kind, *shape = entry
        fields.append((
            tuple(name) if isinstance(name, list) else name,
            _tuples(kind) if isinstance(kind, list) else kind,
            *(tuple(axes) for axes in shape),
        ))
    return fields
