"""The processes that a worker starts, and theirs: they end when it does.

A process whose parent ends becomes a child of the nearest ancestor that adopts. A worker does, so that what
it started stays below it, daemons with a session of their own too; and the nursery does, so that all of this
is its own when the worker is gone.

*Rule:* only children are ended: nobody else's process can have their number before they were waited for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

_PR_SET_CHILD_SUBREAPER: Final = 36
_ROUNDS: Final = 1000  # so that who starts processes faster than they end keeps nobody for ever
_PATIENCE_MS: Final = 200


def adopt_orphans() -> None:
    """Make this process the parent of those below it whose own parent ends. Linux only; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans(others: Container[int]) -> None:
    """Kill the children of this process that are none of these `others`, with all that is below them.

    Example:
        >>> end_orphans(children())
    """
    for _ in range(_ROUNDS):
        orphans = [pid for pid in children() if pid not in others]
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        held = sum(not _gone(pid) for pid in orphans)
        if held:
            return  # the system holds one fast; it is killed, and ends when it is let go of


def children() -> list[int]:
    """The children of this process's main thread.

    Example:
        >>> isinstance(children(), list)
        True
    """
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def _gone(pid: int) -> bool:
    """Wait for a killed child, a moment; whether it is no more."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_PATIENCE_MS):
            return False
    finally:
        os.close(pidfd)
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED)
    return True
