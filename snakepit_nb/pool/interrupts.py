"""Steps that an interrupt must not cut in two.

In the main thread the stop button raises KeyboardInterrupt between any two steps. Where a step has changed
a pool's state and the next has not yet, or a packet is received and not yet looked at, that would lose a
request.
"""

from __future__ import annotations

import os
import threading
import time

# The module behind `signal`: its functions without conversions that cost more than the rest of a dispatch.
from _signal import SIGINT, getsignal, signal
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

# An interrupt that is handled just as the main thread goes to sleep does not wake it (Python looks for one
# before it calls the system, which wakes only who sleeps already): it looks again, this often, in seconds.
_GLANCE: Final = 0.25

_ident = threading.get_ident
_main_ident: int | None = threading.main_thread().ident


def _after_fork() -> None:
    """In a child that the user forked from another thread, that thread is the main one."""
    global _main_ident  # noqa: PLW0603 - one main thread to a process
    _main_ident = threading.get_ident()


os.register_at_fork(after_in_child=_after_fork)


def in_glances(wait: Callable[[float | None], bool], timeout: float | None) -> bool:
    """Sleep by `wait(seconds)` until it says True, at most `timeout` seconds; whether it did.

    In the main thread in short turns, so that no interrupt is slept through.

    Example:
        >>> in_glances(threading.Event().wait, 0.01)
        False
    """
    if _ident() != _main_ident:
        return wait(timeout)
    if timeout is None:
        while not wait(_GLANCE):
            pass
        return True
    until = time.monotonic() + timeout
    while not wait(min(_GLANCE, max(0.0, timeout))):
        timeout = until - time.monotonic()
        if timeout <= 0:
            return False
    return True


class Uninterrupted:
    """Hold an interrupt back until the block ends; `waiting` lets it through while the block only waits.

    `seen` is whether one is held back: a block that is about to wait, or that goes on and on, ends then.

    In another thread than the main one, where no interrupt arrives, it does nothing.

    Example:
        >>> with Uninterrupted() as guard:
        ...     guard.waiting
        False
    """

    __slots__ = ("_previous", "seen", "waiting")

    def __init__(self) -> None:
        self._previous: object = None
        self.seen = False
        self.waiting = False

    def __enter__(self) -> Self:
        if _ident() == _main_ident:
            previous = getsignal(SIGINT)
            if callable(previous):
                self._previous = previous
                signal(SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.waiting:
            self.waiting = False
            self._previous(number, frame)  # type: ignore[operator]
        else:
            self.seen = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        previous = self._previous
        if previous is not None:
            signal(SIGINT, previous)
            self._previous = None
            if self.seen:
                self.seen = False
                previous(SIGINT, None)  # type: ignore[operator]
