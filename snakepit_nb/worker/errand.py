"""One call on its way through a thread, and the door by which an interrupt gets to it.

*Rule:* an interrupt is raised in the thread that runs the call, between its begin and its end, and never in
a thread that it starts.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from snakepit_nb.wire.messages import Call
    from snakepit_nb.worker.functions import Function

_raise_in: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)


class Errand:
    """One call.

    Attributes:
        call: The call; None once it has begun, for its arguments are only lent.
        function: Its function, likewise.

    Example:
        >>> errand = Errand(None, None)
        >>> errand.begin()
        >>> errand.settle()
    """

    __slots__ = ("_asked", "_held", "_lock", "_owed", "_thread", "call", "function")

    def __init__(self, call: Call | None, function: Function | None) -> None:
        self.call = call
        self.function = function
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._asked = False
        self._held = False
        self._owed = False

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the call, as soon as its thread runs Python's code (again)."""
        with self._lock:
            self._asked = True
            if self._held:
                self._owed = True
            elif self._thread is not None:
                _raise_in(self._thread, KeyboardInterrupt)

    def begin(self) -> None:
        """From now on this thread can be interrupted.

        Raises:
            KeyboardInterrupt: it was, before it began.
        """
        with self._lock:
            if self._asked:
                raise KeyboardInterrupt
            self._thread = threading.get_ident()

    def settle(self) -> None:
        """From now on it cannot; an interrupt that is on its way comes to nothing. Any number of times."""
        while True:
            try:
                with self._lock:
                    thread, self._thread = self._thread, None
                if thread is not None and self._asked:
                    # Instead of taking back what may be on its way, which would leave the interpreter looking
                    # for it at every step from then on: in its place comes one that is met here.
                    _raise_in(thread, KeyboardInterrupt)
                    while True:
                        pass
            except KeyboardInterrupt:
                continue
            return

    def start_undisturbed(self, thread: threading.Thread) -> None:
        """Start a thread; an interrupt that comes meanwhile comes afterwards.

        Raises:
            KeyboardInterrupt: one did.
            RuntimeError: the thread cannot be started.
        """
        with self._lock:
            self._held = True
        try:
            _start(thread)
        finally:
            with self._lock:
                self._held = False
                owed, self._owed = self._owed, False
        if owed:
            raise KeyboardInterrupt


class _Mine(threading.local):
    """What this thread is at."""

    errand: Errand | None = None


mine: Final = _Mine()
_start: Final = threading.Thread.start


def start_threads_undisturbed() -> None:
    """See to it that interrupts never end a thread that is being started; for the life of the process.

    Until Python 3.12 a thread that is not up yet is known by the number of the one that starts it: what is
    raised in that by number would meet the new one, and whoever waits for its start would wait for ever.
    """
    if sys.version_info >= (3, 12):
        return

    def start(self: threading.Thread) -> None:
        errand = mine.errand
        if errand is None:
            _start(self)
        else:
            errand.start_undisturbed(self)

    start.__doc__ = _start.__doc__
    threading.Thread.start = start  # type: ignore[method-assign]
