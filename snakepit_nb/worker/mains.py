"""Which module `__main__` is: the cell that runs, and where several do, the one of the thread that asks.

*Rule:* after a cell, `__main__` and the standard streams are what they were before it, whatever it did; where
several cells run, the streams are put back after the last of them, for nobody knows whose doing they are.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import types
from typing import Final, NamedTuple


class Before(NamedTuple):
    """What `leave` puts back."""

    main: types.ModuleType | None
    stdout: object
    stderr: object


class _Mine(threading.local):
    main: types.ModuleType | None = None


_mine: Final = _Mine()
_running: Final[list[types.ModuleType]] = []
_change: Final = threading.Lock()
# Of a process whose cells run in several threads: what was before the first of those that run.
_shared: Final[list[Before]] = []


class _Main(types.ModuleType):
    """Is the `__main__` of the thread that asks; a thread that a cell started gets the latest cell's."""

    def __getattribute__(self, name: str) -> object:
        main = _current()
        return super().__getattribute__(name) if main is None else getattr(main, name)

    def __setattr__(self, name: str, value: object) -> None:
        main = _current()
        if main is None:
            super().__setattr__(name, value)
        else:
            setattr(main, name, value)

    def __delattr__(self, name: str) -> None:
        main = _current()
        if main is None:
            super().__delattr__(name)
        else:
            delattr(main, name)


def one_for_each_thread() -> None:
    """From now on, cells run in several threads at once; for the life of the process.

    Example:
        >>> one_for_each_thread()  # doctest: +SKIP
    """
    if not _shared:
        sys.modules["__main__"] = main = _Main("__main__")
        _shared.append(Before(main, sys.stdout, sys.stderr))


def enter(main: types.ModuleType) -> Before:
    """Make this module the `__main__` of a cell that begins; what `leave` must be given.

    Example:
        >>> before = enter(types.ModuleType("__main__"))
        >>> leave(before)
    """
    if not _shared:
        before = Before(sys.modules.get("__main__"), sys.stdout, sys.stderr)
        sys.modules["__main__"] = main
        return before
    before = Before(_mine.main, None, None)
    with _change:
        if not _running:
            _shared[0] = Before(None, sys.stdout, sys.stderr)
        _running.append(main)
    _mine.main = main
    return before


def leave(before: Before) -> None:
    """Undo `enter`, and whatever the cell made of the standard streams.

    Example:
        >>> before = enter(types.ModuleType("__main__"))
        >>> leave(before)
        >>> sys.modules["__main__"] is before.main
        True
    """
    if not _shared:
        if before.main is None:
            sys.modules.pop("__main__", None)
        else:
            sys.modules["__main__"] = before.main
    else:
        main, _mine.main = _mine.main, before.main
        with _change:
            _running[:] = [each for each in _running if each is not main]
            if _running:
                return
            before = _shared[0]
    for name, stream in (("stdout", before.stdout), ("stderr", before.stderr)):
        replaced = getattr(sys, name, None)
        if replaced is not stream:
            with contextlib.suppress(Exception):
                replaced.flush()  # type: ignore[union-attr]
            setattr(sys, name, stream)


def _current() -> types.ModuleType | None:
    if _mine.main is not None:
        return _mine.main
    return _running[-1] if _running else None
