"""A worker's standard output and error: text that reaches the kernel while the code that writes it runs.

*Rule:* text leaves in the order in which it was written, over both streams together, and `flush` returns only
when all of it has left; so the order of text and displays is exact.

*Rule:* a process that the user forks never touches its parent's connection: there, text goes straight to
descriptors 1 and 2.
"""

from __future__ import annotations

import atexit
import codecs
import io
import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

_PIECE: Final = 32 * 1024  # characters
_QUIET: Final = 0.020  # seconds
_LATEST: Final = 0.040  # seconds; ten less than what is promised, for the flusher's own waking up
_JOIN: Final = 1.0  # seconds

_live: LiveStreams | None = None
_fork_hooks_registered = False


class LiveStreams:
    r"""Replaces `sys.stdout` and `sys.stderr` by streams whose text reaches `send(name, text, whose)`.

    The first line after a quiet 20 ms goes at once, whole, and so does a line of stderr; what else follows
    goes within 50 ms or when 32 KiB wait. One `send` gets at most 32768 characters, without surrogates.
    Where a `send` raises, text is dropped: nobody is there to read it. One instance a process: a new one
    takes the place of the one before.

    Args:
        send: Called with "stdout" or "stderr", the text and whose it is, by whichever thread writes or by
            the flusher, never by two at a time.
        whose: Asked in the thread that writes: the request that the text belongs to; 0 unless given.

    Example:
        >>> heard = []
        >>> streams = LiveStreams(lambda name, text, whose: heard.append((name, text, whose)), lambda: 7)
        >>> print("hello")
        >>> streams.restore()
        >>> "".join(text for name, text, whose in heard)
        'hello\n'
    """

    def __init__(self, send: Callable[[str, str, int], None], whose: Callable[[], int] = int) -> None:
        """See the class."""
        global _live  # noqa: PLW0603 - the process has one standard output, and fork hooks cannot be taken back
        if _live is not None:
            _live.restore()
        self._send = send
        self._whose = whose
        # Re-entrant, for a signal handler or a finaliser that prints in the middle of a print.
        self._lock = threading.RLock()
        self._pending: deque[tuple[str, int, str]] = deque()
        self._size = 0
        self._last_write = float("-inf")
        self._first_line = False
        self._sending = False
        self._direct = False
        self._flusher: _Flusher | None = None
        self._before = (sys.stdout, sys.stderr)
        sys.stdout = _Text(self, "stdout", 1)
        sys.stderr = _Text(self, "stderr", 2)
        _live = self
        _register_fork_hooks()
        # A daemon thread that the interpreter freezes in the middle of a send would keep the lock, and the
        # interpreter's own last flush would wait for it for ever.
        atexit.register(self.restore)

    def write(self, name: str, fd: int, text: str) -> None:
        """Takes text for the stream `name`; in a forked child it goes straight to `fd`."""
        if self._direct:
            _write_all(fd, text)
            return
        if not text:
            return
        with self._lock:
            now = time.monotonic()
            quiet = now - self._last_write > _QUIET
            self._last_write = now
            whose = self._whose()
            self._pending.extend((name, whose, text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
            self._size += len(text)
            if self._sending:
                return
            # A line of stderr may be the process's last words: it does not wait for company.
            # A line goes as one: what other workers print for the same cell must not come between its parts.
            self._first_line = self._first_line or quiet
            line = "\n" in text and (self._first_line or name == "stderr")
            if line or self._size >= _PIECE:
                self._drain()
            else:
                self._flush_soon()

    def flush(self) -> None:
        """Sends all that was written until now; returns when it has left."""
        # In this order: what another thread is sending is pending no more.
        if not self._pending and not self._sending:
            return
        with self._lock:
            if not self._sending:
                self._drain()

    def restore(self) -> None:
        """Sends what waits and gives `sys.stdout` and `sys.stderr` back to what they were."""
        global _live  # noqa: PLW0603 - as above
        if _live is not self:
            return
        _live = None
        sys.stdout, sys.stderr = self._before
        atexit.unregister(self.restore)
        self._stop_flusher()
        self.flush()

    def _drain(self) -> None:
        self._sending = True
        self._first_line = False
        try:
            while self._pending:
                self._send(*self._next_piece())
        except Exception:  # noqa: BLE001 - whatever keeps the kernel from listening must not fail the user's print
            self._pending.clear()
            self._size = 0
        finally:
            self._sending = False

    def _next_piece(self) -> tuple[str, str, int]:
        pending = self._pending
        name, whose, text = pending.popleft()
        parts, size = [text], len(text)
        while pending and pending[0][:2] == (name, whose) and size + len(pending[0][2]) <= _PIECE:
            text = pending.popleft()[2]
            parts.append(text)
            size += len(text)
        self._size -= size
        return name, _without_surrogates("".join(parts)), whose

    def _flush_soon(self) -> None:
        try:
            if self._flusher is None:
                self._flusher = _Flusher(self.flush)
            self._flusher.nudge()
        except RuntimeError:  # no new threads while the interpreter ends
            self._flusher = None
            self._drain()

    def _stop_flusher(self) -> None:
        with self._lock:
            flusher, self._flusher = self._flusher, None
            if flusher is None:
                return
            flusher.stop()
        flusher.join()

    def _before_fork(self) -> None:
        # With the flusher gone and nothing pending, the child inherits neither a lock that no thread of its
        # own will release nor text that the parent sends too.
        self._stop_flusher()
        self._lock.acquire()
        if not self._sending:
            self._drain()

    def _after_fork_in_parent(self) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._pending.clear()
        self._direct = True


class _Flusher:
    """A daemon thread that calls `flush` a little after it was nudged."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        # Bare locks instead of events: releasing one cannot be torn by a signal handler that prints.
        self._work = threading.Lock()
        self._halt = threading.Lock()
        self._work.acquire()
        self._halt.acquire()
        self._nudged = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="snakepit-streams", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        if not self._nudged:
            self._nudged = True
            self._work.release()

    def stop(self) -> None:
        self._stopping = True
        self._halt.release()
        self.nudge()

    def join(self) -> None:
        # Bounded, for a fork from within a print: this thread then holds the lock that the flusher waits for.
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=_JOIN)

    def _run(self) -> None:
        while True:
            self._work.acquire()
            if self._stopping or self._halt.acquire(timeout=_LATEST):
                return
            self._nudged = False
            self._flush()


class _Text(io.TextIOBase):
    """One text stream of a `LiveStreams`."""

    encoding = "utf-8"
    errors = "replace"
    mode = "w"

    def __init__(self, streams: LiveStreams, name: str, fd: int) -> None:
        super().__init__()
        self.name = f"<{name}>"
        self.buffer = _Bytes(self)
        self._streams = streams
        self._stream = name
        self._fd = fd

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            message = f"write() argument must be str, not {type(text).__name__}"
            raise TypeError(message)
        self._streams.write(self._stream, self._fd, text)
        return len(text)

    def flush(self) -> None:
        self._streams.flush()

    def close(self) -> None:
        # The next cell of this worker prints here too.
        self._streams.flush()

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def reconfigure(self, **_settings: object) -> None:
        """Takes what `io.TextIOWrapper.reconfigure` takes; the encoding stays UTF-8."""
        self.flush()


class _Bytes(io.BufferedIOBase):
    """The `buffer` of a `_Text`: takes UTF-8, in pieces of any length."""

    mode = "wb"

    def __init__(self, text: _Text) -> None:
        super().__init__()
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def name(self) -> str:
        return self._text.name

    def write(self, data: ReadableBuffer, /) -> int:
        if isinstance(data, str):
            message = "a bytes-like object is required, not 'str'"
            raise TypeError(message)
        view = memoryview(data).cast("B")
        self._text.write(self._decoder.decode(view))
        return view.nbytes

    def flush(self) -> None:
        self._text.flush()

    def close(self) -> None:
        self._text.flush()

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True


def _without_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _write_all(fd: int, text: str) -> None:
    data = memoryview(text.encode("utf-8", "replace"))
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        # As in the parent: nobody is there to read it.
        return


def _register_fork_hooks() -> None:
    global _fork_hooks_registered  # noqa: PLW0603 - hooks are for the life of the process
    if _fork_hooks_registered or not hasattr(os, "register_at_fork"):
        return
    _fork_hooks_registered = True
    forking: list[LiveStreams] = []

    def before() -> None:
        if _live is not None:
            forking.append(_live)
            _live._before_fork()  # noqa: SLF001 - one room

    def in_parent() -> None:
        if forking:
            forking.pop()._after_fork_in_parent()  # noqa: SLF001 - one room

    def in_child() -> None:
        if forking:
            forking.pop()._after_fork_in_child()  # noqa: SLF001 - one room

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
