"""The libraries in C, as Python calls them.

*Rule:* they know nothing of Python, so that one build serves every version of it; and they are optional:
`available` says in one sentence why they cannot be had.

*Rule:* calls that only touch the books keep Python's lock, since letting go of it costs more than they do;
calls that may wait let go of it.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from pathlib import Path
from typing import Final, NamedTuple

from snakepit_nb import options
from snakepit_nb.errors.types import ArrayError

_HERE: Final = Path(__file__).parent
_ARENA: Final = _HERE / "_arena.so"
INTERPOSE: Final = _HERE / "_interpose.so"


class Stats(NamedTuple):
    """What an arena holds, in bytes, and what it has done, in numbers of blocks.

    Attributes:
        live_bytes: In blocks that somebody holds.
        warm_bytes: Free, and still resident from earlier use.
        reserve_bytes: Free, and made resident in advance.
        kept_bytes: Freed, but still readable by a child of a fork.
        blocks: Blocks that somebody holds.
        allocations: Blocks given so far.
        warm_hits: Of these, out of warm memory alone.
        reserve_hits: Of these, out of the reserve alone.
        cold_hits: Of these, with pages that had yet to be found.
        fallbacks: Large requests that went on to the usual allocator, since the arena had no room.
    """

    live_bytes: int
    warm_bytes: int
    reserve_bytes: int
    kept_bytes: int
    blocks: int
    allocations: int
    warm_hits: int
    reserve_hits: int
    cold_hits: int
    fallbacks: int


class RawBlock(ctypes.Structure):
    """`struct block` of arena.h."""

    _fields_ = (("offset", ctypes.c_uint64), ("nbytes", ctypes.c_uint64), ("generation", ctypes.c_uint64))


class RawStats(ctypes.Structure):
    """`struct stats` of arena.h."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in Stats._fields)


class Library:
    """The functions of `_arena.so`, with their types."""

    def __init__(self) -> None:
        number, pointer, integer = ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int
        out = ctypes.POINTER(RawBlock)
        waits = ctypes.CDLL(str(_ARENA), use_errno=True)
        quick = ctypes.PyDLL(str(_ARENA))
        self.open = waits.snakepit_open
        self.open.argtypes, self.open.restype = (integer, number, number, number, integer), pointer
        self.close = waits.snakepit_close
        self.close.argtypes, self.close.restype = (pointer,), None
        self.trim = waits.snakepit_trim
        self.trim.argtypes, self.trim.restype = (pointer,), None
        self.address = quick.snakepit_address
        self.address.argtypes, self.address.restype = (pointer,), pointer
        self.allocate = quick.snakepit_allocate
        self.allocate.argtypes, self.allocate.restype = (pointer, number, out), integer
        self.hold = quick.snakepit_hold
        self.hold.argtypes, self.hold.restype = (pointer, number, number, out), integer
        self.find = quick.snakepit_find
        self.find.argtypes, self.find.restype = (pointer, number, number, out), integer
        self.free = quick.snakepit_free
        self.free.argtypes, self.free.restype = (pointer, number, number), integer
        self.holders = quick.snakepit_holders
        self.holders.argtypes, self.holders.restype = (pointer, number, number), number
        self.stats = quick.snakepit_stats
        self.stats.argtypes, self.stats.restype = (pointer, ctypes.POINTER(RawStats)), None
        self.handler = quick.snakepit_handler
        self.handler.argtypes, self.handler.restype = (pointer, ctypes.c_size_t, pointer), pointer
        self.capsule_name = ctypes.addressof(ctypes.c_char.in_dll(quick, "snakepit_capsule_name"))
        self.hooks = quick.snakepit_hooks
        self.hooks.argtypes, self.hooks.restype = (pointer, ctypes.c_size_t), pointer
        self.watch = quick.snakepit_watch
        self.watch.argtypes, self.watch.restype = (integer, integer), integer


@functools.cache
def _library() -> Library | str:
    """The library, or the sentence why it cannot be had."""
    if sys.platform != "linux":
        return f"the arena library is made for Linux, and this is {platform.system() or sys.platform}"
    if not _ARENA.exists():
        return (
            "the arena library was not built: no C compiler was found when snakepit_nb was installed; "
            "install one (on Debian and Ubuntu: apt-get install gcc libc6-dev) and reinstall snakepit_nb"
        )
    try:
        return Library()
    except (OSError, AttributeError, ValueError) as error:
        return f"the arena library does not load ({error}); reinstall snakepit_nb"


def available() -> str | None:
    """None where arrays can be born in an arena; else the sentence that says why not.

    Example:
        >>> with options.override(arena=False):
        ...     available()
        'arenas are switched off by the option arena'
    """
    if not options.current().arena:
        return "arenas are switched off by the option arena"
    library = _library()
    return library if isinstance(library, str) else None


def loaded() -> Library:
    """The library.

    Raises:
        ArrayError: it cannot be had.
    """
    library = _library()
    if isinstance(library, str):
        raise ArrayError(library)
    return library
