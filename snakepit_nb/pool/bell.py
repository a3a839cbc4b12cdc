"""A bell that wakes one thread, and that an interrupt leaves whole.

`threading.Condition` does not: an interrupt in the middle of its `wait` leaves it in pieces.
"""

from __future__ import annotations

import contextlib
import threading

from snakepit_nb.pool.interrupts import in_glances


class Bell:
    """Rings once until it is heard.

    Example:
        >>> bell = Bell()
        >>> bell.ring()
        >>> bell.wait(1.0), bell.wait(0.0)
        (True, False)
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it rings; False after `timeout` seconds.

        Example:
            >>> Bell().wait(0.0)
            False
        """
        return in_glances(self._sleep, timeout)

    def _sleep(self, timeout: float | None) -> bool:
        return self._lock.acquire(
            timeout=-1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX))
        )

    def ring(self) -> None:
        """Wake who waits, or who will.

        Example:
            >>> Bell().ring()
        """
        with contextlib.suppress(RuntimeError):  # it rings already
            self._lock.release()

    def reset(self) -> None:
        """Forget that it rang.

        Example:
            >>> Bell().reset()
        """
        self._lock.acquire(blocking=False)
