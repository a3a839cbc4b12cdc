"""An arena: one stretch of memory without a name that a process owns and lends to its peers.

*Rule:* only the owner allocates and frees; a peer maps what it is handed. Nothing here has a name in any
file system, so nothing can be left behind: the memory ends with the last descriptor and mapping of it.

The mappings are made with `mmap(2)` through ctypes, because Python's `mmap` duplicates the descriptor for
every map and an array must not cost a descriptor.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
import os
import sys
import threading
import uuid
from typing import Final, NamedTuple

from snakepit_nb import options
from snakepit_nb.errors.types import ArrayError

PAGE: Final = mmap.PAGESIZE
_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
_MADV_REMOVE: Final = 9
_FAILED: Final = ctypes.c_void_p(-1).value
_SEAL_SHRINK_GROW: Final = 0x0002 | 0x0004
_ADD_SEALS: Final = 1033

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = _libc.madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Block(NamedTuple):
    """A piece of an arena: `offset` and `nbytes` in whole pages, and the `generation` of this use of it."""

    offset: int
    nbytes: int
    generation: int


class _Pieces:
    """Free pieces of one temperature, sorted by offset, neighbours joined; taken first fit."""

    __slots__ = ("_pieces", "nbytes")

    def __init__(self, pieces: list[tuple[int, int]] | None = None) -> None:
        self._pieces = pieces or []
        self.nbytes = sum(length for _, length in self._pieces)

    def take(self, need: int) -> int | None:
        for index, (offset, length) in enumerate(self._pieces):
            if length >= need:
                if length == need:
                    del self._pieces[index]
                else:
                    self._pieces[index] = (offset + need, length - need)
                self.nbytes -= need
                return offset
        return None

    def give(self, offset: int, length: int) -> None:
        self.nbytes += length
        pieces = self._pieces
        index = bisect.bisect_left(pieces, (offset, 0))
        if index < len(pieces) and pieces[index][0] == offset + length:
            length += pieces.pop(index)[1]
        if index and sum(pieces[index - 1]) == offset:
            before, its_length = pieces[index - 1]
            pieces[index - 1] = (before, its_length + length)
        else:
            pieces.insert(index, (offset, length))

    def drain(self) -> list[tuple[int, int]]:
        pieces, self._pieces, self.nbytes = self._pieces, [], 0
        return pieces


class ArenaFull(ArrayError):  # noqa: N818 - named for the state that it tells, like queue.Full
    """The arena's budget is used up by blocks that are still in use."""


def map_memory(fd: int, offset: int, nbytes: int, *, writable: bool, private: bool) -> int:
    """Map `nbytes` bytes of `fd` at `offset` (a multiple of the page) and return the address.

    Raises:
        ArrayError: the system refused; the message carries its reason.

    Example:
        >>> arena = Arena(1 << 20)
        >>> address = map_memory(arena.fd, 0, PAGE, writable=True, private=True)
        >>> unmap_memory(address, PAGE)
        >>> arena.close()
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    flags = (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED) | _NORESERVE
    address = _mmap(None, nbytes, protection, flags, fd, offset)
    if address is None or address == _FAILED:
        message = f"mapping {nbytes} bytes of shared memory failed: {os.strerror(ctypes.get_errno())}"
        raise ArrayError(message)
    return int(address)


def unmap_memory(address: int, nbytes: int) -> None:
    """Undo `map_memory`.

    Example:
        >>> unmap_memory(0, 0)
    """
    if nbytes:
        _munmap(address, nbytes)


def _anonymous_file(nbytes: int) -> int:
    """A descriptor of nameless shared memory: a memfd, or where there is none a segment unlinked at once."""
    if hasattr(os, "memfd_create") and os.environ.get("SNAKEPIT_NB_MEMFD", "1") != "0":
        fd = os.memfd_create("snakepit_nb", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, nbytes)
        # Without these a peer could shrink the file under a mapping, and the next touch would be a SIGBUS.
        import fcntl  # noqa: PLC0415 - not on every platform

        fcntl.fcntl(fd, _ADD_SEALS, _SEAL_SHRINK_GROW)
        return fd
    import _posixshmem  # noqa: PLC0415 - not on every platform

    name = f"/snk_{uuid.uuid4().hex[:20]}"
    fd = int(_posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600))
    _posixshmem.shm_unlink(name)
    os.ftruncate(fd, nbytes)
    return fd


class Arena:
    """Memory that this process owns and others may map.

    Args:
        nbytes: Address space to reserve, in bytes; halved until the system agrees. Pages are taken only as
            they are written.
        budget: How many bytes may be in use at once.
        warm_bytes: How many freed bytes stay resident for the next block; the rest is given back.

    Raises:
        ArrayError: the platform has no shared memory, or not even a small arena could be mapped.

    Example:
        >>> arena = Arena(1 << 20)
        >>> block = arena.allocate(5000)
        >>> block.nbytes == 2 * PAGE
        True
        >>> arena.free(block)
        >>> arena.live_bytes
        0
        >>> arena.close()
    """

    def __init__(self, nbytes: int, *, budget: int | None = None, warm_bytes: int = 0) -> None:
        nbytes = max(PAGE, nbytes // PAGE * PAGE)
        self.id = uuid.uuid4().hex[:12]
        while True:
            try:
                self.fd = _anonymous_file(nbytes)
            except (OSError, ImportError) as error:
                message = f"no shared memory on this machine: {error}"
                raise ArrayError(message) from error
            try:
                self.address = map_memory(self.fd, 0, nbytes, writable=True, private=False)
                break
            except ArrayError:
                os.close(self.fd)
                if nbytes <= 1 << 24:
                    raise
                nbytes = nbytes // 2 // PAGE * PAGE
        self.nbytes = nbytes
        self.budget = min(nbytes, budget or nbytes)
        self._warm_limit = warm_bytes
        self._lock = threading.Lock()
        # Free pieces by offset: warm ones hold pages already, cold ones take them at the first touch.
        self._warm = _Pieces()
        self._cold = _Pieces([(0, nbytes)])
        self._live: dict[int, Block] = {}
        self._generation = 0
        self.live_bytes = 0
        self._closed = False

    def allocate(self, nbytes: int) -> Block:
        """Take a block of at least `nbytes` bytes; what it holds is undefined.

        Raises:
            ArenaFull: the budget, or the address space, is used up.

        Example:
            >>> arena = Arena(1 << 20)
            >>> arena.allocate(1).offset
            0
            >>> arena.close()
        """
        need = max(PAGE, -(-nbytes // PAGE) * PAGE)
        with self._lock:
            if self._closed or self.live_bytes + need > self.budget:
                raise ArenaFull(self._full_message(need))
            offset = self._warm.take(need)
            if offset is None:
                offset = self._cold.take(need)
            if offset is None:
                self._cool_down()
                offset = self._cold.take(need)
            if offset is None:
                raise ArenaFull(self._full_message(need))
            self._generation += 1
            block = Block(offset, need, self._generation)
            self._live[offset] = block
            self.live_bytes += need
            return block

    def _full_message(self, need: int) -> str:
        return (
            f"{need} bytes do not fit: {self.live_bytes} of {self.budget} bytes of shared memory are in use; "
            "delete arrays that are no longer needed, or raise the option arena_budget"
        )

    def free(self, block: Block) -> None:
        """Give a block back. A block that was freed already is ignored.

        Example:
            >>> arena = Arena(1 << 20)
            >>> block = arena.allocate(10)
            >>> arena.free(block); arena.free(block)
            >>> arena.close()
        """
        with self._lock:
            if self._live.get(block.offset) != block:
                return
            del self._live[block.offset]
            self.live_bytes -= block.nbytes
            if self._closed:
                return
            if self._warm.nbytes + block.nbytes <= self._warm_limit:
                self._warm.give(block.offset, block.nbytes)
            else:
                _madvise(self.address + block.offset, block.nbytes, _MADV_REMOVE)
                self._cold.give(block.offset, block.nbytes)

    def _cool_down(self) -> None:
        """Give all warm pages back, so that pieces of both kinds can join into one that is long enough."""
        for offset, length in self._warm.drain():
            _madvise(self.address + offset, length, _MADV_REMOVE)
            self._cold.give(offset, length)

    def block_at(self, offset: int) -> Block | None:
        """The live block that starts at `offset`, if there is one.

        Example:
            >>> arena = Arena(1 << 20)
            >>> arena.block_at(0) is None
            True
            >>> arena.close()
        """
        return self._live.get(offset)

    def close(self) -> None:
        """Give up the arena; its memory ends when the last peer has unmapped it. Idempotent.

        Example:
            >>> arena = Arena(1 << 20)
            >>> arena.close(); arena.close()
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        unmap_memory(self.address, self.nbytes)
        os.close(self.fd)


def from_options() -> Arena | None:
    """An arena as the options in force want it; None where they switch it off or the platform has none.

    Example:
        >>> arena = from_options()
        >>> if arena: arena.close()
    """
    chosen = options.current()
    if not chosen.arena:
        return None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return Arena(chosen.arena_bytes, budget=int(memory * chosen.arena_budget), warm_bytes=chosen.arena_warm_bytes)
    except ArrayError:
        return None
