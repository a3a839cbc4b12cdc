"""Pages of this process: whether memory that is mapped copy-on-write still is the lender's.

*Rule:* where the system does not tell, the answer is that it was written to.

Source: Linux, Documentation/admin-guide/mm/pagemap.rst. A page that was written to in a private mapping of a
file is anonymous: it is present or swapped out, and not a page of the file. Since Linux 6.7 the system looks
for such pages itself (PAGEMAP_SCAN), and passes over what was never touched.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from snakepit_nb.arrays.memory import PAGE

_FILE: Final = 1
_PRESENT_OR_SWAPPED: Final = 2 | 4
_FLAGS_FROM: Final = np.uint64(61)
_ENTRY: Final = 8
_AT_ONCE: Final = 1 << 20


# _IOWR('f', 16, struct pm_scan_arg), and that structure: its size, flags, from, to, where the walk ended, the
# regions and how many there is room for, pages to look for at most; which categories are inverted, which are
# asked for all together, which one at least, and which are told.
_SCAN: Final = 0xC0606610
_SCAN_ARGUMENT: Final = struct.Struct("<12Q")
_IS_FILE: Final = 1 << 2
_IS_PRESENT_OR_SWAPPED: Final = 1 << 3 | 1 << 4
_region: Final = ctypes.create_string_buffer(24)


@cache
def quick() -> bool:
    """Whether `written` takes microseconds for memory of any length that was not touched.

    Example:
        >>> quick() in (True, False)
        True
    """
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as file:
            return _scan(file.fileno(), 0, PAGE) is not None
    except OSError:
        return False


class PageMap:
    """What the system tells of this process's pages, kept open for the next question.

    Example:
        >>> pages = PageMap()
        >>> pages.written(0, 0)
        False
        >>> pages.close()
    """

    __slots__ = ("_fd", "_pid")

    def __init__(self) -> None:
        self._fd = -1
        self._pid = 0

    def written(self, address: int, nbytes: int) -> bool:
        """Whether one of these bytes' pages, in a private mapping, is this process's own by now.

        Example:
            >>> PageMap().written(0, 0)
            False
        """
        if nbytes <= 0:
            return False
        low = address // PAGE * PAGE
        high = ((address + nbytes - 1) // PAGE + 1) * PAGE
        try:
            if self._pid != os.getpid():  # in a forked process it would go on telling of the parent
                self.close()
                self._fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
                self._pid = os.getpid()
            found = _scan(self._fd, low, high) if quick() else None
            return _read(self._fd, low, high) if found is None else found
        except OSError:
            return True

    def close(self) -> None:
        """Close it until it is asked again. Idempotent."""
        fd, self._fd, self._pid = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)


def written(address: int, nbytes: int) -> bool:
    """The same, asked once.

    Example:
        >>> written(0, 0)
        False
    """
    pages = PageMap()
    try:
        return pages.written(address, nbytes)
    finally:
        pages.close()


def _scan(fd: int, low: int, high: int) -> bool | None:
    """Ask the system; None where it knows no such question."""
    argument = _SCAN_ARGUMENT.pack(
        _SCAN_ARGUMENT.size, 0, low, high, 0, ctypes.addressof(_region), 1, 1,
        _IS_FILE, _IS_FILE, _IS_PRESENT_OR_SWAPPED, _IS_PRESENT_OR_SWAPPED,
    )  # fmt: skip
    import fcntl  # noqa: PLC0415 - not on every platform

    try:
        return int(fcntl.ioctl(fd, _SCAN, bytearray(argument))) > 0
    except OSError as refused:
        if refused.errno in {errno.ENOTTY, errno.EINVAL}:
            return None
        raise


def _read(fd: int, low: int, high: int) -> bool:
    """Look at each page's entry."""
    position, end = low // PAGE * _ENTRY, high // PAGE * _ENTRY
    while position < end:
        entries = os.pread(fd, min(end - position, _AT_ONCE), position)
        if not entries or len(entries) % _ENTRY:
            return True
        flags = np.frombuffer(entries, np.uint64) >> _FLAGS_FROM
        if np.any(((flags & _FILE) == 0) & ((flags & _PRESENT_OR_SWAPPED) != 0)):
            return True
        position += len(entries)
    return False
