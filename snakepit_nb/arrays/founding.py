"""Which arena a process gets: the native one, in which arrays are born, one in pure Python, or none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb import options
from snakepit_nb.arrays import native
from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.memory import room_of_named
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from snakepit_nb.arrays.arena import Allocator


_MOST_UNSEEN: Final = 256 << 20
# The limit of the container that this runs in, with either version of control groups.
_GROUPS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class Founded(NamedTuple):
    """An arena, or None and the reason that fallbacks tell then: `"disabled"` or `"platform"`."""

    arena: Allocator | None
    lacking: str


def from_options() -> Founded:
    """An arena as the options in force want it; None where they switch it off or the platform has none.

    Example:
        >>> founded = from_options()
        >>> if founded.arena: founded.arena.close()
    """
    chosen = options.current()
    if not chosen.arena:
        return Founded(None, "disabled")
    budget = int(most() * chosen.arena_budget)
    try:
        return Founded(_found(chosen.arena_bytes, budget, warm_limit(chosen.arena_warm_bytes)), "platform")
    except ArrayError:
        return Founded(None, "platform")


def warm_limit(wished: int) -> int:
    """How many free bytes may stay resident on this machine, of so many that are wished.

    Example:
        >>> warm_limit(1000)
        1000
    """
    return min(wished, most() // 4)


def most() -> int:
    """How many bytes there can be of shared memory: the machine's, or less in a container that is limited.

    Example:
        >>> most() > 0
        True
    """
    bounds = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), room_of_named()]
    for group in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such file; or it says "max"
            bounds.append(int(group.read_text(encoding="ascii")))
    return min(bound for bound in bounds if bound is not None)


def _found(nbytes: int, budget: int, warm_bytes: int) -> Allocator:
    if native.available() is None:
        return native.NativeArena(nbytes, budget=budget, warm_bytes=warm_bytes)
    # That one does not know what the machine has left.
    return Arena(nbytes, budget=budget, warm_bytes=min(warm_bytes, _MOST_UNSEEN))


def bear_here(arena: Allocator | None) -> bool:
    """Let NumPy make its large arrays in this arena from now on, in this context; cheap where it does so.

    A context is a thread's or an asyncio task's. Whether it is so now: not where the arena is none of C's.

    Example:
        >>> bear_here(None)
        False
    """
    return isinstance(arena, native.NativeArena) and native.install(arena)


def bear_no_more() -> None:
    """Undo `bear_here` in this context.

    Example:
        >>> bear_no_more()
    """
    native.uninstall()


def bear_everywhere(arena: Allocator | None) -> bool:
    """Let malloc of this process make its large blocks in this arena from now on.

    Whether it is so now: not where the process was started without `native.preload_environment`.

    Example:
        >>> bear_everywhere(None)
        False
    """
    return isinstance(arena, native.NativeArena) and native.interpose(arena)


def watch(fd: int, exit_code: int) -> bool:
    """End this process when the other end of `fd` is gone, even where its code holds on to everything.

    Until then what comes by `fd` is sent back, as a sign of life.

    Whether that is so now: not where the library in C cannot be had.

    Example:
        >>> with options.override(arena=False):
        ...     watch(-1, 75)
        False
    """
    if native.available() is not None:
        return False
    try:
        native.watch(fd, exit_code)
    except ArrayError:
        return False
    return True


def warm_bytes(arena: Allocator | None) -> int:
    """How many bytes of an arena are free and stay resident.

    Example:
        >>> warm_bytes(Arena(1 << 20))
        0
    """
    if isinstance(arena, native.NativeArena):
        return arena.stats().warm_bytes
    return arena.warm_bytes if isinstance(arena, Arena) else 0
