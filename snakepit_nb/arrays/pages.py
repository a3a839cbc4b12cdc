"""Pages of this process: whether memory that is mapped copy-on-write still is the lender's.

*Rule:* where the system does not tell, the answer is that it was written to.

Source: Linux, Documentation/admin-guide/mm/pagemap.rst. A page that was written to in a private mapping of a
file is anonymous: it is present or swapped out, and not a page of the file.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np

from snakepit_nb.arrays.memory import PAGE

_FILE: Final = 1
_PRESENT_OR_SWAPPED: Final = 2 | 4
_FLAGS_FROM: Final = np.uint64(61)
_ENTRY: Final = 8
_AT_ONCE: Final = 1 << 20


def written(address: int, nbytes: int) -> bool:
    """Whether one of these bytes' pages, in a private mapping, is this process's own by now.

    Example:
        >>> written(0, 0)
        False
    """
    if nbytes <= 0:
        return False
    position = address // PAGE * _ENTRY
    end = ((address + nbytes - 1) // PAGE + 1) * _ENTRY
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        while position < end:
            entries = os.pread(fd, min(end - position, _AT_ONCE), position)
            if not entries or len(entries) % _ENTRY:
                return True
            flags = np.frombuffer(entries, np.uint64) >> _FLAGS_FROM
            if np.any(((flags & _FILE) == 0) & ((flags & _PRESENT_OR_SWAPPED) != 0)):
                return True
            position += len(entries)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
