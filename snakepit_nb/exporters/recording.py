"""Records events: the last ones in memory, and all of them in a file, if asked.

*Rule:* what is handed to the file is whole: a batch is one write, so that a process that is killed leaves
batches and no pieces of them, but for the last.
*Rule:* a file that cannot be written any more ends; the program and the memory's part go on, and it is told.
*Rule:* nothing that was recorded before is overwritten: it is set aside under another name.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import threading
import uuid
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from snakepit_nb.exporters import recorded
from snakepit_nb.exporters.buffered import Attachment
from snakepit_nb.telemetry import heard

try:
    import fcntl
except ImportError:  # not on Windows, where an open file cannot be renamed either
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from snakepit_nb.exporters.recorded import Heard
    from snakepit_nb.telemetry import Name, Record

_LOG: Final = logging.getLogger(__name__)
_RING: Final = 10_000
_LARGEST: Final = 64 << 20
_FILES: Final = 5
_LEAST: Final = 64 << 10
# Events at a time: Python lets other threads wait for five milliseconds, so that no piece is to take longer.
_PIECES: Final = {".arrows": 2_000, ".jsonl": 400}

_PATIENCE: Final = 1.0

_open: Final[weakref.WeakSet[Rotating]] = weakref.WeakSet()


class _Form(Protocol):
    """How events become bytes."""

    def begin(self, recording: str, part: int) -> bytes: ...

    def rows(self, records: list[Record]) -> bytes: ...

    def end(self) -> bytes: ...


class _Arrows:
    """Arrow's stream format: a schema, then a message for each batch, whole without those after it."""

    def begin(self, recording: str, part: int) -> bytes:
        import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

        self._schema = recorded.as_schema(recorded.header(recording, part))
        self._sink = io.BytesIO()
        codec = "lz4" if pa.Codec.is_available("lz4") else None
        options = pa.ipc.IpcWriteOptions(compression=codec)
        self._writer = pa.ipc.new_stream(self._sink, self._schema, options=options)
        # The writer itself writes it before the first batch: until then there would be an empty file.
        begun: bytes = self._schema.serialize().to_pybytes()
        self._begun = begun
        return begun

    def rows(self, records: list[Record]) -> bytes:
        self._writer.write_batch(recorded.as_batch(records, self._schema))
        return self._written()

    def end(self) -> bytes:
        self._writer.close()
        return self._written()

    def _written(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        begun, self._begun = self._begun, b""
        return data.removeprefix(begun)


class _Lines:
    """One JSON object a line."""

    def begin(self, recording: str, part: int) -> bytes:
        told = {"recording": recording, "part": part, "version": recorded.VERSION}
        return f"{recorded.as_json(told)}\n".encode("ascii")

    def rows(self, records: list[Record]) -> bytes:
        return "".join([f"{recorded.as_line(record)}\n" for record in records]).encode("ascii")

    def end(self) -> bytes:
        return b""


_FORMS: Final[Mapping[str, Callable[[], _Form]]] = {".arrows": _Arrows, ".jsonl": _Lines}
ENDINGS: Final = tuple(_FORMS)
"""What a recording can be written as."""


class Rotating:
    """A file that begins anew when it is full; the older ones are beside it as `.1`, `.2` and so on.

    Args:
        path: The file's; its ending says how events are written.
        max_bytes: How large it may become.
        files: How many there may be, the one that is written included.
    """

    def __init__(self, path: Path, *, max_bytes: int, files: int) -> None:
        self.path = path
        self._max_bytes, self._files = max_bytes, files
        self._form: _Form = _FORMS[path.suffix.lower()]()
        self._recording = uuid.uuid4().hex
        self._part = 0
        self._fd = -1
        self._size = self._empty = 0

    def open(self) -> None:
        """Begin.

        Raises:
            OSError: that cannot be written; nothing was done.
        """
        try:
            if self._set_aside_before():
                self._shift()
            self._begin()
        except OSError as error:
            raise _explained(error, self.path) from None
        _open.add(self)

    def _set_aside_before(self) -> bool:
        """Whether there is something under this name that is to be kept."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file")
        fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _lock(fd)
        finally:
            os.close(fd)
        if found.st_size and self._files == 1:
            text = (
                "there is a file already; with files=1 it would be lost: move it away, or choose another name"
            )
            raise FileExistsError(errno.EEXIST, text)
        return found.st_size > 0

    def _name(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _shift(self) -> None:
        for number in range(self._files - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._name(number - 1).replace(self._name(number))

    def _begin(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            _lock(self._fd)
            self._size = 0
            self._append(self._form.begin(self._recording, self._part))
        except BaseException:
            self.forget()
            raise
        self._empty = self._size

    def write(self, records: list[Record]) -> None:
        """Write events; they are in the operating system's hands when it returns.

        Raises:
            OSError: they could not be written; what was before is as it was.
        """
        data = self._form.rows(records)
        if self._size > self._empty and self._size + len(data) > self._max_bytes:
            self.close()
            self._shift()
            self._part += 1
            self._begin()
            data = self._form.rows(records)
        self._append(data)

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """End the file. Idempotent."""
        if self._fd >= 0:
            try:
                self._append(self._form.end())
            finally:
                self.forget()

    def forget(self) -> None:
        """Let go of the file as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Recording(Attachment):
    """Records every event: the last ones in memory, and, where a path is given, all of them in a file.

    Args:
        path: Where to; None for memory alone. The ending says as what: `.arrows` is Arrow's stream format,
            `.jsonl` one JSON object a line. What is there already is set aside as `.1`.
        prefix: What the names of the events begin with; by default, all.
        ring: How many events are kept in memory.
        max_bytes: How large the file may become before another one is begun.
        files: How many files there may be: the one that is written, and older ones as `.1`, `.2` and so on.
        size: How many events may wait to be recorded; more are dropped, counted and told.
        interval: Seconds between two writes. What comes in between is lost where the process is killed.

    Attributes:
        path: Where to.
        failed: Why the file could not be written any more; None while it can.

    Raises:
        TypeError, ValueError: an argument that cannot be used.

    Example:
        >>> from snakepit_nb import telemetry
        >>> with Recording(prefix="app") as recording:
        ...     telemetry.execute("app.hello", {}, {"who": "world"})
        ...     [(name, told["who"]) for name, measured, told in recording.events()]
        [(('app', 'hello'), 'world')]
    """

    def __init__(  # noqa: PLR0913 - all by name but the first
        self,
        path: str | PathLike[str] | None = None,
        *,
        prefix: Name = (),
        ring: int = _RING,
        max_bytes: int = _LARGEST,
        files: int = _FILES,
        size: int = 100_000,
        interval: float = 0.25,
    ) -> None:
        _check("ring", ring, 0, "how many events are kept in memory")
        _check("max_bytes", max_bytes, _LEAST, "how many bytes a file may have")
        _check("files", files, 1, "how many files there may be")
        self.path = None if path is None else _path_of(path)
        self._piece = size if self.path is None else _PIECES[self.path.suffix.lower()]
        super().__init__(prefix=prefix, name="recording", size=size, interval=interval)
        self.failed: OSError | None = None
        self._ring: deque[Record] = deque(maxlen=ring)
        self._recorded = 0
        # Between the thread that writes and those who ask or close.
        self._guard = threading.Lock()
        self._file = None if self.path is None else Rotating(self.path, max_bytes=max_bytes, files=files)
        self._begun = False

    def __repr__(self) -> str:
        """Where to, how much so far, and whether the file failed."""
        where = "memory" if self.path is None else repr(str(self.path))
        state = ", closed" if self._ended else ""
        failed = "" if self.failed is None else f", the file failed: {self.failed}"
        return f"<Recording to {where}: {self._recorded:,} events{failed}{state}>"

    def attach(self, *, replay: bool = False) -> Self:
        """Begin to record; with `replay` the recent events from before as well.

        Raises:
            OSError: the file cannot be written; nothing is attached.
            RuntimeError: it was closed.
            telemetry.AlreadyAttached: it is attached.
        """
        if self._file is not None and not self._begun and not self._ended:
            self._file.open()
            self._begun = True
        super().attach(replay=replay)
        return self

    def take(self, batch: list[Record]) -> None:
        """Record events; in the queue's thread."""
        with self._guard:
            self._recorded += len(batch)
            self._ring.extend(batch)
        for start in range(0, len(batch), self._piece):
            if start:
                self._batches.breathe()
            with self._guard:
                self._write(batch[start : start + self._piece])

    def _write(self, piece: list[Record]) -> None:
        if self._file is None or self.failed is not None:
            return
        try:
            self._file.write(piece)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failed = error
        if self._file is not None:
            self._file.forget()
        _LOG.error(
            "the recording %s cannot be written any more (%s); what was written stays, and the last %s "
            "events are in memory",
            self.path,
            error.strerror or error,
            f"{self._ring.maxlen:,}",
        )

    def events(self) -> list[Heard]:
        """The last events, oldest first, as handlers get them: name, measurements, metadata."""
        self.flush()
        with self._guard:
            kept = list(self._ring)
        return [heard(record) for record in kept]

    def close(self) -> None:
        """Record no more, write what came, and close the file. Idempotent; `events` goes on."""
        super().close()
        # A disk that answers no more holds up nobody's end; nor does a lock that a fork left locked.
        if not self._guard.acquire(timeout=_PATIENCE):
            return
        try:
            if self._file is not None and self.failed is None:
                self._file.close()
        except OSError as error:
            self._give_up(error)
        finally:
            self._guard.release()


def _check(name: str, value: object, least: int, what: str) -> None:
    if type(value) is not int or value < least:
        message = f"{name}: expected {what}, a whole number from {least:,} on, got {value!r}"
        raise ValueError(message)


def _path_of(path: str | PathLike[str]) -> Path:
    given: object = path
    if not isinstance(given, (str, os.PathLike)):
        message = f"path: expected where to record to, got {given!r}"
        raise TypeError(message)
    target = Path(path).expanduser().absolute()
    if target.suffix.lower() not in ENDINGS:
        message = (
            f"path: {target.name!r} does not say what to write: its ending is none of {', '.join(ENDINGS)}"
        )
        raise ValueError(message)
    return target


def _lock(fd: int) -> None:
    """Have the file for this recording alone, as far as the file system knows locks."""
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            text = "another recording writes it; close that one, or choose another name"
            raise OSError(errno.EBUSY, text) from None


def _explained(error: OSError, path: Path) -> OSError:
    """The same error, with what was to be done and where."""
    reasons = {
        errno.ENOENT: f"there is no folder {str(path.parent)!r}; make it first",
        errno.ENOTDIR: f"{str(path.parent)!r} is not a folder",
        errno.EISDIR: "this is a folder; name a file in it",
        errno.EACCES: "it may not be written; choose another folder, or change its rights",
        errno.EPERM: "it may not be written; choose another folder, or change its rights",
        errno.EROFS: "the file system is read-only; choose another folder",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return type(error)(error.errno, f"cannot record: {reason}", str(path))


def _after_fork() -> None:
    # The file is the parent's. Its lock goes with the last descriptor, so that this one is not to keep it.
    for file in list(_open):
        file.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
