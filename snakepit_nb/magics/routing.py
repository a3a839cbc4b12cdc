"""Output of a worker to the cell that asked for it: text, displays and progress bars, live and never a flood.

*Rule:* a message names its cell; "the cell that runs now" is another by the time a background job prints.
*Rule:* within one cell the order of text and displays is the worker's.
*Rule:* what the Jupyter server would drop for its rate is held back; what is left out is counted and said.
*Rule:* output never fails a request, whether no encoding can carry it or a stream is closed.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TextIO, cast

from snakepit_nb.magics.flow import Bucket, Cell, Display, sendable

_LOG = logging.getLogger(__name__)

_KIB = 1 << 10
INTERVAL: Final = 0.15
"""Seconds between two messages of one stream of one cell."""

# jupyter_server cuts a kernel off above 1,000 messages or 1,000,000 stream bytes a second, averaged over 3 s:
# https://jupyter-server.readthedocs.io/en/latest/other/full-config.html. These stay below half of both.
_MESSAGES: Final = (200, 100)
_BYTES: Final = (768 * _KIB, 192 * _KIB)
_LINGER: Final = 2.0

Shown = Mapping[str, object]


class _Events(Protocol):
    def register(self, event: str, function: Callable[[], None]) -> None: ...
    def unregister(self, event: str, function: Callable[[], None]) -> None: ...


class _Session(Protocol):
    def send(
        self, stream: object, msg_or_type: str, content: object, parent: object, ident: bytes
    ) -> object: ...


class _Kernel(Protocol):
    @property
    def session(self) -> _Session: ...
    @property
    def iopub_socket(self) -> object: ...


class _Publisher(Protocol):
    def publish(
        self, data: object, metadata: object = None, *, transient: object = None, update: bool = False
    ) -> object: ...
    def clear_output(self, wait: bool = False) -> object: ...  # noqa: FBT001, FBT002 - IPython's signature


class KernelShell(Protocol):
    """The part of IPython's shell in a kernel that is used here."""

    @property
    def kernel(self) -> _Kernel: ...  # noqa: D102 - IPython's own attribute
    @property
    def display_pub(self) -> _Publisher: ...  # noqa: D102 - IPython's own attribute
    @property
    def events(self) -> _Events: ...  # noqa: D102 - IPython's own attribute
    def get_parent(self) -> Mapping[str, object]: ...  # noqa: D102 - IPython's own method


def sink_for(shell: object) -> NotebookSink | TerminalSink:
    """The sink that fits a shell: a notebook's cells, or a terminal.

    Args:
        shell: what `get_ipython()` gives, or None in a plain script.

    Example:
        >>> sink_for(None)
        TerminalSink(None)
    """
    kernel = getattr(shell, "kernel", None)
    if hasattr(kernel, "iopub_socket") and hasattr(kernel, "session") and hasattr(shell, "get_parent"):
        return NotebookSink(cast("KernelShell", shell))
    return TerminalSink(shell)


@dataclass(eq=False, slots=True)
class _Origin:
    """The cell that asked: its header, and what stood in for its streams then, as under `%%capture`."""

    key: str
    header: Mapping[str, object]
    streams: Mapping[str, io.TextIOBase]
    publisher: _Publisher | None
    heard: bool = False


class NotebookSink:
    """Sends output to the notebook cells that it belongs to, from any thread, on ipykernel 6 and 7.

    A first line is shown at once, what follows is gathered: about seven messages a second for one stream of
    one cell. Redraws of a progress bar that the next redraw covers are left out. Of a flood the head and the
    tail are shown, and one line between them that says how many bytes are missing.

    Args:
        shell: IPython's shell in a kernel, `get_ipython()`.
        clock: seconds, monotonic; from it comes how much may be shown.
        kernel_stream: the class of the kernel's own `sys.stdout`; another one means a redirection.

    In a notebook, where `job` runs in a thread and prints under this cell whatever cell runs by then::

        sink = NotebookSink(get_ipython())
        here = sink.origin()
        job(print=lambda text: sink.stream(here, "stdout", text))
    """

    redraws = True

    def __init__(
        self,
        shell: KernelShell,
        *,
        clock: Callable[[], float] = time.monotonic,
        kernel_stream: type | None = None,
    ) -> None:
        from IPython.core.displaypub import CapturingDisplayPublisher  # noqa: PLC0415 - only in IPython

        self._shell = shell
        self._clock = clock
        if kernel_stream is None:
            from ipykernel.iostream import OutStream  # noqa: PLC0415 - only in a kernel

            kernel_stream = OutStream
        self._kernel_stream: type = kernel_stream
        self._captured_display: type = CapturingDisplayPublisher
        # Reentrant: a finaliser may end a request while its thread is in here.
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._cells: dict[str, Cell] = {}
        self._messages = Bucket(*_MESSAGES, clock)
        self._bytes = Bucket(*_BYTES, clock)
        self._thread: threading.Thread | None = None
        self._closed = False
        # nbconvert takes no more output of a cell once that is idle: nothing may wait for the timer then.
        shell.events.register("post_execute", self.flush)

    def __repr__(self) -> str:
        """Says how many cells have something held back."""
        waiting = sum(cell.restless for cell in self._cells.values())
        return f"<NotebookSink {'closed' if self._closed else 'open'}, {waiting} cells waiting>"

    def origin(self) -> object:
        """A token for the cell that runs in this thread; in a thread without one, the latest cell."""
        header = self._parent()
        # As `%%capture` and `redirect_stdout` do.
        standins = {
            name: stream
            for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr))
            if isinstance(stream, io.TextIOBase) and not isinstance(stream, self._kernel_stream)
        }
        publisher = self._shell.display_pub
        captured = publisher if isinstance(publisher, self._captured_display) else None
        return _Origin(str(header.get("msg_id", "")), header, standins, captured)

    def group(self, origin: object) -> Hashable:
        """The cell that asks."""
        return origin.key if isinstance(origin, _Origin) else None

    def stream(self, origin: object, name: str, text: str) -> None:
        """Shows text of "stdout" or "stderr" under the cell of `origin`, now or within a moment."""
        if not text:
            return
        text = sendable(text)
        asked = self._heard(origin)
        standin = asked.streams.get(name)
        if standin is not None and _wrote(standin, text):
            return
        with self._lock:
            cell = self._cell(asked)
            cell.add_text(name, text)
            # The rest of a line is about to come: `print` writes the end of its line by itself.
            whole = text.endswith(("\n", "\r")) or "\r" in text
            if (cell.fresh and whole and self._messages.level() >= 1) or self._closed:
                self._drain(cell)
            self._see_to_timer()

    def display(self, origin: object, message: Shown) -> None:
        """Shows, updates or clears a display under the cell of `origin`, after the text that came before it.

        Args:
            origin: the token.
            message: "type" is display_data, update_display_data or clear_output; "data", "metadata",
                "transient" or "wait" as Jupyter's messages have them.
        """
        shown = Display.of(message)
        asked = self._heard(origin)
        if asked.publisher is not None:
            _publish(asked.publisher, shown)
            return
        with self._lock:
            cell = self._cell(asked)
            cell.add_display(shown)
            if self._messages.level() >= 1 or self._closed:
                self._drain(cell)
            self._see_to_timer()

    def update(self, message: Shown) -> None:
        """Updates a display now, whatever cell it stands under.

        The message names the cell that runs now: nbclient, and so nbconvert and papermill, hears no other.

        Args:
            message: "data" and "transient", with its "display_id", as Jupyter's messages have them.
        """
        shown = Display.of({**message, "type": "update_display_data"})
        try:
            kernel = self._shell.kernel
            kernel.session.send(
                kernel.iopub_socket, shown.kind, shown.content, self._parent(), b"display_data"
            )
        except Exception:  # noqa: BLE001 - whatever the front end's side raises
            _LOG.debug("a display could not be updated", exc_info=True)

    def finish(self, origin: object) -> None:
        """The request of `origin` ended: what is held back goes out, unless others of its cell go on."""
        if not isinstance(origin, _Origin) or not origin.heard:
            return
        with self._lock:
            cell = self._cells.get(origin.key)
            if cell is None:
                return
            cell.talkers.discard(origin)
            if not cell.talkers and self._messages.level() >= 1:
                cell.release_all()
                self._drain(cell)

    def flush(self) -> None:
        """Sends everything that is held back, and the tail of every flood whose requests ended."""
        with self._lock:
            for cell in list(self._cells.values()):
                if not cell.talkers:
                    cell.release_all()
                self._drain(cell)

    def close(self) -> None:
        """Sends everything that is held back and ends the thread; later output is sent as it comes."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for cell in list(self._cells.values()):
                cell.release_all()
                self._drain(cell)
            self._wake.notify_all()
            thread = self._thread
        try:
            self._shell.events.unregister("post_execute", self.flush)
        except ValueError:
            _LOG.debug("the shell had forgotten the hook already")
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=_LINGER)

    def _parent(self) -> Mapping[str, object]:
        """The header of the cell that runs now."""
        parent = self._shell.get_parent() or {}
        return cast("Mapping[str, object]", parent.get("header", parent))

    def _heard(self, origin: object) -> _Origin:
        if not isinstance(origin, _Origin):
            return cast("_Origin", self.origin())
        asked = origin
        if not asked.heard:
            asked.heard = True
            # What the cell printed before it asked is still in the kernel's own buffer and belongs above.
            # Outside of the lock: flush waits for the thread of iopub.
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, self._kernel_stream):
                    cast("io.TextIOBase", stream).flush()
            with self._lock:
                self._cell(asked).talkers.add(asked)
        return asked

    def _cell(self, origin: _Origin) -> Cell:
        cell = self._cells.get(origin.key)
        if cell is None:
            self._forget()
            cell = self._cells[origin.key] = Cell(origin.header, self._clock, self._bytes)
        return cell

    def _forget(self) -> None:
        for key, cell in list(self._cells.items()):
            if not cell.restless and not cell.talkers and cell.rested:
                del self._cells[key]

    def _drain(self, cell: Cell) -> None:
        for kind, content, ident in cell.take():
            cell.fresh = False
            self._messages.take(1)
            try:
                kernel = self._shell.kernel
                kernel.session.send(kernel.iopub_socket, kind, content, cell.header, ident)
            except Exception:  # noqa: BLE001 - whatever the front end's side raises
                # A socket that closes under a kernel's shutdown, most of all; the request goes on.
                _LOG.debug("output for a cell could not be sent", exc_info=True)

    def _see_to_timer(self) -> None:
        if self._closed or not self._restless():
            return
        if self._thread is not None and self._thread.is_alive():
            self._wake.notify_all()
            return
        self._thread = threading.Thread(target=self._run, name="snakepit-output", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # The interpreter is ending and starts no more threads.
            self._thread = None
            self.flush()

    def _restless(self) -> bool:
        return any(cell.restless for cell in self._cells.values())

    def _run(self) -> None:
        with self._lock:
            while not self._closed:
                if not self._wake.wait_for(lambda: self._closed or self._restless(), timeout=_LINGER):
                    break
                if not self._wake.wait_for(lambda: self._closed, timeout=INTERVAL):
                    self._tick()
            self._thread = None

    def _tick(self) -> None:
        for key, cell in list(self._cells.items()):
            if not cell.restless:
                continue
            cell.release_calm()
            if not cell.held:
                cell.fresh = not cell.flooded
            elif self._messages.level() >= 1:
                # To the end of the row: where messages are short, each cell has its turn.
                self._cells[key] = self._cells.pop(key)
                self._drain(cell)
        self._forget()


class TerminalSink:
    r"""Writes output to the streams of the process: terminal IPython, a plain script, a test.

    Example:
        >>> sink = TerminalSink(None)
        >>> sink.stream(sink.origin(), "stdout", "from a worker\n")
        from a worker
        >>> sink.display(sink.origin(), {"type": "display_data", "data": {"text/plain": "<Figure>"}})
        <Figure>
    """

    redraws = False

    def __init__(self, shell: object = None) -> None:
        """Shows displays through IPython's own publisher, where there is one."""
        self._shell = shell
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        """Names the shell."""
        return f"TerminalSink({self._shell!r})"

    def origin(self) -> object:
        """The streams as they are now: `contextlib.redirect_stdout` holds for the requests made inside it."""
        return {"stdout": sys.stdout, "stderr": sys.stderr}

    def group(self, origin: object) -> Hashable:
        """All are one."""
        return origin is None

    def stream(self, origin: object, name: str, text: str) -> None:
        """Writes text of "stdout" or "stderr" at once."""
        text = sendable(text)
        asked = cast("Mapping[str, TextIO | None]", origin) if isinstance(origin, Mapping) else {}
        with self._lock:
            for stream in (asked.get(name), getattr(sys, name, None), getattr(sys, f"__{name}__", None)):
                if stream is not None and _wrote(stream, text):
                    return

    def display(self, origin: object, message: Shown) -> None:
        """Shows a display's plain text."""
        shown = Display.of(message)
        publisher = cast("_Publisher | None", getattr(self._shell, "display_pub", None))
        if publisher is not None:
            with self._lock:
                _publish(publisher, shown)
            return
        data = shown.content.get("data")
        text = data.get("text/plain") if isinstance(data, Mapping) else None
        if text is not None:
            self.stream(origin, "stdout", f"{text}\n")

    def finish(self, origin: object) -> None:
        """Nothing is held back here."""

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """Nothing runs here."""


def _wrote(stream: TextIO | io.TextIOBase, text: str) -> bool:
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _publish(publisher: _Publisher, shown: Display) -> None:
    try:
        if shown.kind == "clear_output":
            publisher.clear_output(wait=bool(shown.content["wait"]))
        else:
            publisher.publish(
                shown.content["data"],
                shown.content["metadata"],
                transient=shown.content["transient"],
                update=shown.kind == "update_display_data",
            )
    except Exception:  # noqa: BLE001 - a publisher of the user's may raise anything
        _LOG.debug("a display could not be published", exc_info=True)
