"""What memory there is, for `%snakepit doctor`: of the machine, of a container, and to be shared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from snakepit_nb import options
from snakepit_nb.arrays import founding, native
from snakepit_nb.arrays.memory import SHARED_MEMORY, room_of_named
from snakepit_nb.magics import containers
from snakepit_nb.magics.display import in_bytes
from snakepit_nb.magics.finding import Finding

_HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_SMALL: Final = 1 << 30


def memory() -> Finding:
    """The machine's memory, and what a container allows of it."""
    import psutil  # noqa: PLC0415 - only who asks needs it

    there = psutil.virtual_memory()
    budget = in_bytes(founding.most() * options.current().arena_budget)
    found = f"{in_bytes(there.total)}, {in_bytes(there.available)} free"
    limit = containers.memory_limit()
    if limit is not None and limit < there.total:
        found += f"; the container may use {in_bytes(limit)}"
    return Finding("memory", f"{found}; arrays may take {budget}")


def swap() -> Finding:
    """Whether memory can be moved out."""
    import psutil  # noqa: PLC0415 - only who asks needs it

    there = psutil.swap_memory()
    if there.total:
        return Finding("swap", f"{in_bytes(there.total)}, {in_bytes(there.used)} used")
    return Finding("swap", "none: where memory runs out a worker is ended, never the kernel first")


def memfd() -> Finding:
    """Whether memory that processes share can do without a file."""
    try:
        os.close(os.memfd_create("snakepit_nb-doctor"))
    except (AttributeError, OSError) as error:
        found = f"not here ({error}): arrays are shared through {SHARED_MEMORY}"
        return Finding("memfd", found, "allow the system call memfd_create in the container")
    return Finding("memfd", "works: shared memory is bounded by the machine's memory alone")


def named_memory() -> Finding:
    """How much named shared memory there may be."""
    what = str(SHARED_MEMORY)
    needed = room_of_named() is not None
    if not SHARED_MEMORY.is_dir():
        return Finding(
            what, "is not there", "arrays are copied: mount it, or use a system with memfd" * needed
        )
    there = shutil.disk_usage(SHARED_MEMORY)
    found = f"{in_bytes(there.total)}, {in_bytes(there.free)} free"
    if not needed:
        return Finding(what, f"{found}; not needed, other libraries may")
    low = there.total < _SMALL
    return Finding(what, found, "in a container: --shm-size=8g; arrays that do not fit are copied" * low, low)


def huge_pages() -> Finding:
    """Whether shared memory comes in large pages."""
    try:
        text = _HUGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return Finding("huge pages", "not for shared memory")
    chosen = text[text.find("[") + 1 : text.find("]")]
    if chosen in {"always", "within_size", "advise", "force"}:
        return Finding("huge pages", f"for shared memory: {chosen}")
    return Finding(
        "huge pages",
        f"for shared memory: {chosen}",
        f"the first touch of a large array is slow; as root: echo advise > {_HUGE_PAGES}",
    )


def arrays() -> Finding:
    """How arrays go to workers."""
    if not options.current().arena:
        return Finding(
            "arrays",
            "copied: shared memory is switched off",
            "unset SNAKEPIT_NB_ARENA, or set it to 1, and restart the kernel",
        )
    missing = native.available()
    if missing is not None:
        return Finding(
            "arrays",
            f"one copy on their way to a worker: {missing}",
            "install a C compiler (on Debian: apt-get install gcc) and snakepit_nb again",
        )
    return Finding("arrays", f"shared without a copy from {in_bytes(native.THRESHOLD)} on, by a C library")


def results() -> Finding:
    """How arrays come back."""
    if not options.current().arena or native.available() is not None:
        return Finding("results", "one copy on their way back")
    if native.preload_environment():
        return Finding("results", "born in shared memory, whatever library makes them")
    return Finding(
        "results",
        "NumPy's are born in shared memory, those of other libraries are copied once",
        "malloc cannot be replaced in workers: the C library is not glibc, or another allocator is preloaded",
    )
