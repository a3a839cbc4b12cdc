"""The way from a worker to what is seen below the cell: displays, and quiet lines of our own.

*Rule:* a process that a cell forked has no such way; the connection is its parent's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.wire.notes import quiet_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class _Link(NamedTuple):
    send: Callable[[Mapping[str, object]], None]
    flush: Callable[[], None]
    pid: int


class _Mine(threading.local):
    """What is shown by this thread and waits."""

    held: list[Mapping[str, object]] | None = None


_mine: Final = _Mine()
_link: _Link | None = None
_told: Final[set[str]] = set()


def connect(send: Callable[[Mapping[str, object]], None], flush: Callable[[], None]) -> None:
    """From now on displays go to `send`; `flush` is called before each."""
    global _link  # noqa: PLW0603 - a process has one front end
    _link = _Link(send, flush, os.getpid())


def show(message: Mapping[str, object]) -> bool:
    """Sends one display message, after the text that was written until now; False where there is no way.

    Example:
        >>> show({"type": "clear_output", "wait": False})
        False
    """
    if _link is None or _link.pid != os.getpid():
        return False
    if _mine.held is not None:
        _mine.held.append(message)
        return True
    _link.flush()
    _link.send(message)
    return True


@contextlib.contextmanager
def held() -> Iterator[list[Mapping[str, object]]]:
    """Collects what this thread shows, instead of sending it.

    Example:
        >>> with held() as messages:
        ...     _ = show({"type": "clear_output", "wait": False})
        >>> messages
        []
    """
    messages: list[Mapping[str, object]] = []
    before, _mine.held = _mine.held, messages
    try:
        yield messages
    finally:
        _mine.held = before


def tell(text: str) -> None:
    """Says something in one line below the cell, once for each cell.

    Example:
        >>> tell("nobody is there to read it")
    """
    if text not in _told:
        _told.add(text)
        show(quiet_line(text))


def begin() -> None:
    """Another cell begins: what was told of the one before may be told again."""
    _told.clear()
