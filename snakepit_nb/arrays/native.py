"""The arena in C: ordinary arrays are born in memory that other processes can map.

*Rule:* what NumPy or malloc got from an arena stays usable until it is freed, also after `close`; handlers
stay until the process ends.

*Rule:* an arena that cannot be had is no failure: `available` says why, and `arena.Arena` does what is
needed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import uuid
from pathlib import Path
from typing import Final

from snakepit_nb.arrays.arena import ArenaFull, Block
from snakepit_nb.arrays.capsules import numpy_memory
from snakepit_nb.arrays.library import INTERPOSE, Library, RawBlock, RawStats, Stats, available, loaded
from snakepit_nb.arrays.memory import PAGE, memory_file
from snakepit_nb.errors.types import ArrayError

__all__ = [
    "THRESHOLD",
    "NativeArena",
    "Stats",
    "available",
    "install",
    "installed",
    "interpose",
    "preload_environment",
    "uninstall",
    "watch",
]

# Smaller arrays are copied faster than pages are lent.
THRESHOLD: Final = 1 << 20

_SMALLEST: Final = 1 << 24
_LIMITED: Final = 1
_HUGE_PAGES: Final = 2
_NO_RESERVE: Final = 4
# Libraries that replace malloc themselves: two of them in one process do not get along.
_OTHER_ALLOCATORS: Final = ("malloc", "asan", "tsan", "hoard")


class NativeArena:
    """Memory that this process owns and others may map, and that NumPy and malloc can allocate from.

    It does what `arena.Arena` does, and finds the block that an address lies in.

    Args:
        nbytes: Address space to reserve, in bytes; halved until the system agrees. Pages are taken only as
            they are written.
        budget: How many bytes may be in use at once.
        warm_bytes: How many free bytes stay resident for the next block: freed ones, and a reserve that is
            made in the background as large blocks come; the rest is given back.
        reserve: Whether there is such a reserve.

    Raises:
        ArrayError: the library is not available, the platform has no shared memory, or not even a small arena
            could be mapped.

    Example:
        >>> if available() is None:
        ...     arena = NativeArena(1 << 24)
        ...     block = arena.allocate(5000)
        ...     assert block.nbytes == 2 * PAGE
        ...     assert arena.find(arena.address + block.offset + 4000, 1000) == block
        ...     assert arena.holders(block) == 2
        ...     arena.free(block); arena.free(block)
        ...     assert arena.live_bytes == 0
        ...     arena.close()
    """

    def __init__(
        self, nbytes: int, *, budget: int | None = None, warm_bytes: int = 0, reserve: bool = True
    ) -> None:
        self._library = loaded()
        self.id = uuid.uuid4().hex[:12]
        flags = (0 if reserve else _NO_RESERVE) | (_HUGE_PAGES if _huge_pages() else 0)
        self._handle, self.fd, self.nbytes = _opened(self._library, nbytes, budget, warm_bytes, flags)
        self.address = int(self._library.address(self._handle))
        self.budget = min(self.nbytes, self.nbytes if budget is None else budget)
        self._capsules: dict[int, object] = {}

    def allocate(self, nbytes: int) -> Block:
        """Take a block of at least `nbytes` bytes; what it holds is undefined.

        Raises:
            ArenaFull: the budget, or the address space, is used up; or the arena is closed; or this process
                is a child that was forked.
        """
        out = RawBlock()
        if nbytes < 0 or not self._library.allocate(self._handle, nbytes, out):
            message = (
                f"{nbytes} bytes do not fit: {self.live_bytes} of {self.budget} bytes of shared memory are "
                "in use; delete arrays that are no longer needed, or raise the option arena_budget"
            )
            raise ArenaFull(message)
        return Block(out.offset, out.nbytes, out.generation)

    def hold(self, offset: int, generation: int) -> Block | None:
        """Hold the live block at `offset` once more, until one more `free`; None where that life is over."""
        out = RawBlock()
        if not self._library.hold(self._handle, offset, generation, out):
            return None
        return Block(out.offset, out.nbytes, out.generation)

    def find(self, address: int, nbytes: int) -> Block | None:
        """Hold the live block that these bytes lie in, until one more `free`; None where there is none."""
        out = RawBlock()
        if not self._library.find(self._handle, address, nbytes, out):
            return None
        return Block(out.offset, out.nbytes, out.generation)

    def free(self, block: Block) -> None:
        """Let go of a block; with its last holder gone it is free. One that is free already is ignored.

        It may be called in any thread, at any moment, by finalisers too. It never ends the hold of NumPy or
        malloc on what was born here.
        """
        self._library.free(self._handle, block.offset, block.generation)

    def holders(self, block: Block) -> int:
        """How many hold a block: those that have not called `free`, and who allocated it by pointer."""
        return int(self._library.holders(self._handle, block.offset, block.generation))

    def stats(self) -> Stats:
        """What the arena holds and has done."""
        out = RawStats()
        self._library.stats(self._handle, out)
        return Stats(*(getattr(out, name) for name in Stats._fields))

    @property
    def live_bytes(self) -> int:
        """Bytes in blocks that somebody holds."""
        return self.stats().live_bytes

    def trim(self) -> None:
        """Give the pages of all free memory back to the machine."""
        self._library.trim(self._handle)

    def close(self) -> None:
        """Give no more blocks, and end all leases. Idempotent.

        Memory and descriptor go when the last array that was born here is gone.
        """
        self._library.close(self._handle)


def _opened(
    library: Library, nbytes: int, budget: int | None, warm_bytes: int, flags: int
) -> tuple[int, int, int]:
    """An arena, its descriptor and its length, as long as the system lets it be."""
    nbytes = max(PAGE, nbytes // PAGE * PAGE)
    while True:
        try:
            file = memory_file(nbytes)
        except (OSError, ImportError) as error:
            message = f"no shared memory on this machine: {error}"
            raise ArrayError(message) from error
        within = min(nbytes, nbytes if budget is None else max(0, budget))
        all_flags = flags | (_LIMITED if file.limited else 0)
        handle = library.open(file.fd, nbytes, within, max(0, warm_bytes), all_flags)
        if handle:
            return handle, file.fd, nbytes
        reason = os.strerror(ctypes.get_errno())
        os.close(file.fd)
        if nbytes <= _SMALLEST:
            message = f"mapping {nbytes} bytes of shared memory failed: {reason}"
            raise ArrayError(message)
        nbytes = nbytes // 2 // PAGE * PAGE


def _huge_pages() -> bool:
    """Whether the system gives huge pages to shared memory that asks for them."""
    try:
        choice = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled").read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    return any(f"[{word}]" in choice for word in ("always", "within_size", "advise", "force"))


# NumPy

_ours: Final[set[int]] = set()


def install(arena: NativeArena, threshold: int = THRESHOLD) -> bool:
    """Let NumPy allocate arrays of `threshold` bytes and more in this arena, from now on, in this context.

    Cheap where that is so already. A context is a thread's, or an asyncio task's; new ones may start without.

    Returns:
        Whether it is so now: a memory handler of somebody else's is left in its place.

    Example:
        >>> import numpy as np
        >>> if available() is None:
        ...     arena = NativeArena(1 << 28)
        ...     assert install(arena)
        ...     array = np.ones(1 << 20)
        ...     block = arena.find(array.ctypes.data, array.nbytes)
        ...     assert block and arena.holders(block) == 2
        ...     uninstall(); arena.close()
    """
    memory = numpy_memory()
    capsule = arena._capsules.get(threshold)  # noqa: SLF001 - two halves of one thing
    current = memory.get_handler()
    if capsule is not None and current is capsule:
        return True
    usual = memory.address(memory.default)
    if current is not memory.default and memory.address(current) not in {usual, *_ours}:
        return False
    if capsule is None:
        library = loaded()
        handler = library.handler(arena._handle, threshold, usual)  # noqa: SLF001 - as above
        if not handler:
            return False
        capsule = memory.capsule(handler, library.capsule_name, None)
        arena._capsules[threshold] = capsule  # noqa: SLF001 - as above
        _ours.add(handler)
    memory.set_handler(capsule)
    return True


def uninstall() -> None:
    """Let NumPy allocate in its own way again, in this context; arrays that are there are not touched.

    Example:
        >>> uninstall()
    """
    if installed():
        memory = numpy_memory()
        memory.set_handler(memory.default)


def installed() -> bool:
    """Whether NumPy allocates large arrays in an arena, in this context.

    Example:
        >>> installed()
        False
    """
    if not _ours:
        return False
    memory = numpy_memory()
    return memory.address(memory.get_handler()) in _ours


# malloc

ARROW_POOL: Final = "ARROW_DEFAULT_MEMORY_POOL"


def preload_environment() -> dict[str, str]:
    """What the environment of a new process needs so that `interpose` can work there; {} where it cannot.

    Example:
        >>> set(preload_environment()) <= {"LD_PRELOAD", "ARROW_DEFAULT_MEMORY_POOL"}
        True
    """
    if available() is not None or not INTERPOSE.exists() or platform.libc_ver()[0] != "glibc":
        return {}
    # The loader takes blanks and colons for the ends of names.
    if any(character in " :" for character in str(INTERPOSE)):
        return {}
    before = os.environ.get("LD_PRELOAD", "")
    if any(word in before.lower() for word in _OTHER_ALLOCATORS):
        return {}
    # Arrow brings allocators of its own along; its results are born shared where it takes the system's.
    arrow = os.environ.get(ARROW_POOL, "system")
    return {"LD_PRELOAD": f"{INTERPOSE}:{before}" if before else str(INTERPOSE), ARROW_POOL: arrow}


def interpose(arena: NativeArena, threshold: int = THRESHOLD) -> bool:
    """Let malloc of this process allocate `threshold` bytes and more in this arena, from now on.

    Returns:
        Whether it does: the process must have been started with `preload_environment`.

    Example:
        >>> if available() is None:
        ...     arena = NativeArena(1 << 24)
        ...     assert not interpose(arena)
        ...     arena.close()
    """
    try:
        switch = ctypes.PyDLL(None).snakepit_interpose
    except AttributeError:
        return False
    switch.argtypes, switch.restype = (ctypes.c_void_p,), None
    switch(loaded().hooks(arena._handle, threshold))  # noqa: SLF001 - two halves of one thing
    return True


# The watcher


def watch(fd: int, exit_code: int) -> bool:
    """End this process with `exit_code`, whatever it does, as soon as the other end of `fd` is gone.

    A process has one watcher. What it watches stays watched when `fd` is closed here. Where `fd` is a socket,
    what comes by it goes back at once: a sign of life that needs nothing of Python.

    Returns:
        Whether this call started it.

    Raises:
        ArrayError: the library is not available, or the system has no descriptor or thread left.
    """
    started = loaded().watch(fd, exit_code)
    if started < 0:
        message = f"no watcher can be started for descriptor {fd}: it is closed, or there is no thread left"
        raise ArrayError(message)
    return bool(started)
