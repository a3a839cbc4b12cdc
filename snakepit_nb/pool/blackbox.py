"""Where Python writes the stack of a worker that a fatal signal ends, and what is read of it afterwards.

*Rule:* a file without a name, and not the worker's stderr: what stands in it belongs to the error, and is not
shown below the cell as well.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import Final, NamedTuple

_MOST: Final = 1 << 16
_OURS: Final = "snakepit_nb/worker/"
_IN_CELL: Final = re.compile(r'File "<In \[(\d+|\*)\]>", line (\d+)')


class Stack(NamedTuple):
    """The stack at a death as text, and the line of the cell where it was; empty where there is none."""

    text: str = ""
    place: str = ""


def opened() -> int:
    """A descriptor of an empty file that is gone with its last user.

    Example:
        >>> fd = opened()
        >>> os.read(fd, 1)
        b''
        >>> os.close(fd)
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("faulthandler")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def read(fd: int) -> Stack:
    """What stands in the file; never raises.

    Example:
        >>> fd = opened()
        >>> read(fd)
        Stack(text='', place='')
        >>> os.close(fd)
    """
    try:
        return stack_of(os.pread(fd, _MOST, 0).decode("utf-8", "replace"))
    except OSError:
        return Stack()


def stack_of(dump: str) -> Stack:
    r"""What Python's `faulthandler` wrote, without what is the worker's own and the list of native modules.

    Example:
        >>> stack_of('Fatal Python error: Aborted\n\n  File "<In [3]>", line 2 in <module>\n').place
        'In [3], line 2'
    """
    lines: list[str] = []
    for line in dump.splitlines():
        if _OURS in line or line.startswith("Extension modules:"):
            break
        if line.strip():
            lines.append(line)
    found = _IN_CELL.search("\n".join(lines))
    return Stack("\n".join(lines), f"In [{found[1]}], line {found[2]}" if found else "")
