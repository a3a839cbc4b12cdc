"""Where the output of workers goes: a role that a notebook fills, and the plain one of a script."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

_asked_by: Final[ContextVar[object]] = ContextVar("_asked_by", default=None)


class LastWords:
    r"""The end of what a worker wrote to its stderr since its last answer, for the error of its death.

    What Python printed and what native code wrote come by two ways, and which arrives first says nothing. So
    neither pushes the other out: each has at least half of the room, and what was printed stands first.

    Example:
        >>> words = LastWords(most=8)
        >>> words.written("segfault\n"); words.printed("at 3\n")
        >>> str(words)
        't 3\nult\n'
    """

    __slots__ = ("_most", "_printed", "_written")

    def __init__(self, most: int) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """It answered: what it complained of says nothing about its death."""
        self._printed = self._written = ""

    def printed(self, text: str) -> None:
        """Text from `sys.stderr`."""
        self._printed = (self._printed + text)[-self._most :]

    def written(self, text: str) -> None:
        """Text from descriptor 2."""
        self._written = (self._written + text)[-self._most :]

    def __str__(self) -> str:
        if not self._printed or not self._written:
            return self._printed or self._written
        half = self._most // 2
        room = max(half, self._most - len(self._written))
        printed = self._printed[-room:]
        return printed + self._written[-(self._most - len(printed)) :]


class OutputSink(Protocol):
    """Takes what workers write and show, for the one who asked.

    Attributes:
        redraws: Whether a display can be changed where it stands.
    """

    redraws: bool

    def origin(self) -> object:
        """A token for the one who is asking now; taken inside `submit`, in its thread."""

    def group(self, origin: object) -> Hashable:
        """Who asks, as a key: requests of one key share one turn in a pool's queue."""

    def stream(self, origin: object, name: str, text: str) -> None:
        """Text that a request of `origin` wrote to `name`, which is "stdout" or "stderr"."""

    def display(self, origin: object, message: Mapping[str, object]) -> None:
        """A display message of a request of `origin`: `type`, `data`, `metadata`, `transient`, `wait`."""

    def finish(self, origin: object) -> None:
        """A request of `origin` ended: show what is held back for it."""


class ScriptSink:
    r"""Writes what workers print to this process's own streams, and displays as their plain text.

    Example:
        >>> ScriptSink().stream(None, "stdout", "hello\n")
        hello
    """

    redraws = False

    def origin(self) -> object:
        """Nobody in particular."""
        return None

    def group(self, origin: object) -> Hashable:
        """All are one."""
        return origin is None

    def stream(self, origin: object, name: str, text: str) -> None:
        """Write to the stream of that name."""
        del origin
        out = sys.stderr if name == "stderr" else sys.stdout
        if out is not None:
            out.write(text)
            out.flush()

    def display(self, origin: object, message: Mapping[str, object]) -> None:
        """Write the plain text of what is shown."""
        data = message.get("data")
        if isinstance(data, dict) and "text/plain" in data:
            self.stream(origin, "stdout", f"{data['text/plain']}\n")

    def finish(self, origin: object) -> None:
        """Nothing is held back."""


_sink: OutputSink = ScriptSink()


def sink() -> OutputSink:
    """Where the output of workers goes now.

    Example:
        >>> sink() is sink()
        True
    """
    return _sink


def set_sink(chosen: OutputSink | None) -> None:
    """Send the output of all pools there; None for this process's own streams.

    Example:
        >>> set_sink(None)
    """
    global _sink  # noqa: PLW0603 - one process has one front end
    _sink = ScriptSink() if chosen is None else chosen


def origin() -> object:
    """The sink's token for the one who is asking now.

    Example:
        >>> origin() == sink().origin()
        True
    """
    asked_by = _asked_by.get()
    return sink().origin() if asked_by is None else asked_by


@contextmanager
def asked_by(origin: object) -> Iterator[None]:
    """What is asked for in this block, in whatever thread, is asked for by the one with this token.

    Example:
        >>> with asked_by("somebody"):
        ...     origin()
        'somebody'
    """
    token = _asked_by.set(origin)
    try:
        yield
    finally:
        _asked_by.reset(token)
