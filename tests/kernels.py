"""A notebook's kernel for tests: the real one, as a front end sees it, each message under its cell.

*Rule:* a test waits for a message, never for a time; what does not come fails with everything that did.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import IO, TYPE_CHECKING, Any, Self

import psutil
import zmq
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from jupyter_client.blocking.client import BlockingKernelClient

START_TIMEOUT = 60.0
_HEARD = {"comm_open", "comm_msg", "comm_close", "update_display_data"}
_KINDS = {"stream", "display_data", "update_display_data", "clear_output", "execute_result", "error"}


class CellTimeout(AssertionError):
    """Something awaited did not come; the message holds all that did."""


class KernelDied(AssertionError):
    """The kernel ended while something of it was awaited."""


@dataclass(frozen=True, slots=True)
class CellError:
    """The error message of a cell, as the front end shows it."""

    ename: str
    evalue: str
    traceback: tuple[str, ...]

    @property
    def text(self) -> str:
        """The traceback in one piece, colours included."""
        return "\n".join(self.traceback)


@dataclass(frozen=True, slots=True)
class Message:
    """One message under a cell: `seen` counts those of all cells, `at` is when the kernel made it."""

    kind: str
    content: Mapping[str, Any]
    seen: int
    at: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of a widget, or the update of a display, whatever cell it came with.

    `parent` is the message that the kernel was at, and `size` counts the bytes of content and buffers.
    """

    kind: str
    content: Mapping[str, Any]
    parent: str
    size: int
    at: float
    buffers: tuple[bytes, ...] = ()

    @property
    def told(self) -> Mapping[str, Any]:
        """What a custom message of a widget says; empty for all other messages."""
        data = self.content.get("data", {})
        found: Mapping[str, Any] = data.get("content", {}) if data.get("method") == "custom" else {}
        return found


@dataclass(eq=False, slots=True)
class CellOutcome:
    """A cell that was run, and all that has come under it; late output goes on arriving."""

    code: str
    msg_id: str
    messages: list[Message] = field(default_factory=list)
    status: str | None = None
    execution_count: int | None = None
    idle: bool = False

    def of(self, *kinds: str) -> list[Message]:
        """The messages of these kinds, in order."""
        return [each for each in list(self.messages) if each.kind in kinds]

    def texts(self, name: str) -> list[str]:
        """The messages of one stream, one string each."""
        return [each.content["text"] for each in self.of("stream") if each.content["name"] == name]

    @property
    def stdout(self) -> str:
        """All of stdout so far."""
        return "".join(self.texts("stdout"))

    @property
    def stderr(self) -> str:
        """All of stderr so far."""
        return "".join(self.texts("stderr"))

    @property
    def displays(self) -> list[Mapping[str, Any]]:
        """The contents of `display_data`: data, metadata, transient."""
        return [each.content for each in self.of("display_data")]

    @property
    def updates(self) -> list[Mapping[str, Any]]:
        """The contents of `update_display_data`."""
        return [each.content for each in self.of("update_display_data")]

    @property
    def result(self) -> Mapping[str, Any] | None:
        """The mime bundle of the cell's `Out`."""
        found = self.of("execute_result")
        return found[-1].content["data"] if found else None

    @property
    def value(self) -> str | None:
        """The plain text of the cell's `Out`."""
        result = self.result
        return None if result is None else str(result.get("text/plain"))

    @property
    def error(self) -> CellError | None:
        """The cell's error."""
        found = self.of("error")
        if not found:
            return None
        content = found[-1].content
        return CellError(content["ename"], content["evalue"], tuple(content["traceback"]))

    def ok(self) -> Self:
        """Itself, if the cell ran without an error; else a failure that shows the cell."""
        if self.status != "ok":
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        """Everything so far, for a failure."""
        lines = [f"cell {self.code!r}", f"  status {self.status}, {'idle' if self.idle else 'busy'}"]
        for each in list(self.messages):
            text = each.content.get("text") or each.content.get("data") or dict(each.content)
            lines.append(f"  {each.kind} {each.content.get('name', '')}: {str(text)[-2000:]}")
        return "\n".join(lines)


class _ThisInterpreter(KernelSpecManager):
    def __init__(self, within: Sequence[str] = ()) -> None:
        super().__init__()
        self._within = within

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        del kernel_name
        argv = [*self._within, sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python of the tests", language="python")


class Notebook:
    """A kernel of this interpreter in a folder and a home of its own.

    Example:
        with Notebook() as notebook:
            assert notebook.run("1 + 1").value == "2"
    """

    def __init__(
        self, *, env: Mapping[str, str] | None = None, cwd: Path | None = None, within: Sequence[str] = ()
    ) -> None:
        """Starts nothing yet.

        `env` is added to the environment, `cwd` replaces the temporary folder, and `within` is a command that
        starts the one that follows it, in its own process.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="notebook-"))
        self.cwd = cwd or self.folder / "work"
        self._env = dict(env or {})
        self._within = within
        self._cells: dict[str, CellOutcome] = {}
        self._replies: dict[str, Mapping[str, Any]] = {}
        self._seen = 0
        self.heard: list[Heard] = []
        self._arrival = threading.Condition()
        self._manager: KernelManager | None = None
        self._client: BlockingKernelClient | None = None
        self._reader: threading.Thread | None = None
        self._ending = threading.Event()
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Starts the kernel and waits until it answers."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Ends the kernel as a front end would, then by force."""
        self.close()

    @property
    def pid(self) -> int:
        """The kernel's process."""
        return int(self._process.pid)

    @property
    def connection_file(self) -> Path:
        """How another front end finds this kernel."""
        return self.folder / "kernel.json"

    def descendants(self) -> list[int]:
        """The processes below the kernel, workers in their own sessions included."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each.pid for each in psutil.Process(self.pid).children(recursive=True)]
        return []

    def start(self, code: str) -> CellOutcome:
        """Sends a cell and does not wait for it."""
        assert self._client is not None, "the notebook is not started"
        with self._arrival:
            msg_id = self._client.execute(code, store_history=True, allow_stdin=False)
            outcome = self._cells[msg_id] = CellOutcome(code, msg_id)
        return outcome

    def finish(self, outcome: CellOutcome, timeout: float = 60.0) -> CellOutcome:
        """Waits until a started cell has ended."""
        deadline = time.monotonic() + timeout
        reply = self._reply(outcome.msg_id, deadline, f"the end of {outcome.code!r}")
        outcome.status = reply["status"]
        outcome.execution_count = reply.get("execution_count")
        self.wait_until(
            lambda: outcome.idle, timeout=max(0.0, deadline - time.monotonic()), what="the cell to be idle"
        )
        return outcome

    def run(self, code: str, timeout: float = 60.0) -> CellOutcome:
        """Runs a cell to its end, whether it succeeds or not."""
        return self.finish(self.start(code), timeout)

    def wait_until(
        self, predicate: Callable[[], object], timeout: float = 30.0, what: str = "the condition"
    ) -> None:
        """Blocks until the predicate holds; it is asked again whenever a message arrives.

        Raises:
            CellTimeout: it did not hold in time.
            KernelDied: the kernel ended first.
        """
        deadline = time.monotonic() + timeout
        with self._arrival:
            while not predicate():
                left = deadline - time.monotonic()
                if left <= 0:
                    message = f"waited {timeout:g} s for {what}\n{self.seen()}"
                    raise CellTimeout(message)
                if not self._arrival.wait(min(left, 0.5)) and not self.alive:
                    message = f"the kernel ended while the test waited for {what}\n{self.seen()}"
                    raise KernelDied(message)

    def cells(self) -> list[CellOutcome]:
        """All cells that were started, oldest first."""
        return list(self._cells.values())

    def seen(self) -> str:
        """Everything that has come so far, for a failure."""
        cells = "\n".join(str(each) for each in list(self._cells.values())) or "no cell was run"
        return f"{cells}\nwhat the kernel's process wrote itself:\n{self.log()[-4000:]}"

    def log(self) -> str:
        """What the process wrote to its own stdout and stderr: ipykernel's log, a fault's last words."""
        path = self.folder / "kernel.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether the kernel's process runs."""
        return self._process.poll() is None

    def say(self, comm_id: str, content: object) -> str:
        """Sends a custom message to a widget, as its view in a page does; the message's id."""
        assert self._client is not None
        said = {"comm_id": comm_id, "data": {"method": "custom", "content": content}}
        message = self._client.session.msg("comm_msg", said)
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def shut_down(self, timeout: float = 30.0) -> None:
        """Shut Down Kernel, in its orderly way; what the kernel says to its very end is heard."""
        assert self._manager is not None
        process = self._process
        self._manager.shutdown_kernel(now=False)
        process.wait(timeout)

    def interrupt(self) -> None:
        """The stop button."""
        assert self._manager is not None
        self._manager.interrupt_kernel()

    def restart(self) -> None:
        """Restart Kernel: an orderly shutdown, then a new process; earlier cells keep what they have."""
        assert self._manager is not None
        self._stop_reading()
        self._manager.restart_kernel(now=False)
        self._connect()

    def kill(self) -> None:
        """SIGKILL, and waits for the kernel's own process to be gone; nothing is started again."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals, timeout: float = 30.0) -> None:
        """Sends a signal that ends the kernel and waits until it has."""
        process = self._process
        os.kill(process.pid, number)
        process.wait(timeout)

    def completions(self, code: str, pos: int | None = None) -> list[str]:
        """What the Tab key offers."""
        assert self._client is not None
        msg_id = self._client.complete(code, len(code) if pos is None else pos)
        return list(self._reply(msg_id, time.monotonic() + 30, "completions")["matches"])

    def close(self) -> None:
        """Ends the kernel and everything in its process group, and removes the folder."""
        self._stop_reading()
        manager, self._manager = self._manager, None
        if manager is not None:
            if manager.has_kernel:
                group = self._process_of(manager).pid
                with contextlib.suppress(RuntimeError, OSError):
                    manager.shutdown_kernel(now=self._process_of(manager).poll() is not None)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
            manager.cleanup_resources()
            manager.context.destroy(linger=0)
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _process(self) -> Any:
        assert self._manager is not None, "the notebook is not started"
        return self._process_of(self._manager)

    @staticmethod
    def _process_of(manager: KernelManager) -> Any:
        return getattr(manager.provisioner, "process")  # noqa: B009 - only the local provisioner has one

    def _start(self) -> None:
        self.cwd.mkdir(parents=True, exist_ok=True)
        home = self.folder / "home"
        home.mkdir()
        self._manager = KernelManager(
            kernel_spec_manager=_ThisInterpreter(self._within),
            connection_file=str(self.connection_file),
            context=zmq.Context(),
            shutdown_wait_time=10.0,
        )
        env = os.environ | private_home(home) | self._env
        self._log = (self.folder / "kernel.log").open("ab")
        self._manager.start_kernel(env=env, cwd=str(self.cwd), stdout=self._log, stderr=self._log)
        self._connect()

    def _connect(self) -> None:
        assert self._manager is not None
        client = self._client = self._manager.blocking_client()
        client.start_channels(shell=True, iopub=False, stdin=False, hb=False, control=True)  # noqa: S604 - a channel's name
        self._ending = threading.Event()
        subscribed = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(subscribed, self._ending), name="iopub")
        self._reader.start()
        client.kernel_info()
        deadline = time.monotonic() + START_TIMEOUT
        while not subscribed.is_set():
            if not self.alive:
                message = (
                    f"the kernel ended with {self._process.poll()} before it answered\n{self.log()[-4000:]}"
                )
                raise KernelDied(message)
            if time.monotonic() > deadline:
                message = f"the kernel did not answer within {START_TIMEOUT:g} s"
                raise CellTimeout(message)
            # A subscription takes effect some time after connect: the kernel is asked until it is heard.
            if not subscribed.wait(0.2):
                client.kernel_info()

    def _stop_reading(self) -> None:
        self._ending.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        if self._client is not None:
            self._client.stop_channels()
            self._client = None

    def _reply(self, msg_id: str, deadline: float, what: str) -> Mapping[str, Any]:
        assert self._client is not None
        while msg_id not in self._replies:
            try:
                reply = self._client.get_shell_msg(timeout=0.5)
            except Empty:
                if not self.alive:
                    message = f"the kernel ended before {what}\n{self.seen()}"
                    raise KernelDied(message) from None
                if time.monotonic() > deadline:
                    message = f"no sign of {what} in time\n{self.seen()}"
                    raise CellTimeout(message) from None
                continue
            self._replies[reply["parent_header"].get("msg_id", "")] = reply["content"]
        return self._replies.pop(msg_id)

    def _read(self, subscribed: threading.Event, ending: threading.Event) -> None:
        assert self._manager is not None
        session = self._manager.session.clone()
        with self._manager.context.socket(zmq.SUB) as socket:
            # A front end that drops messages would hide a flood from the tests that are about floods.
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(f"tcp://{self._manager.ip}:{self._manager.iopub_port}")
            while not ending.is_set():
                if not socket.poll(50):
                    continue
                parts = socket.recv_multipart(zmq.NOBLOCK)
                _, signed = session.feed_identities(parts)
                subscribed.set()
                self._take(session.deserialize(signed), sum(map(len, signed)))

    def _take(self, message: Mapping[str, Any], size: int) -> None:
        kind, content = message["msg_type"], message["content"]
        with self._arrival:
            if kind in _HEARD:
                parent, at = message["parent_header"].get("msg_id", ""), message["header"]["date"].timestamp()
                buffers = tuple(bytes(each) for each in message.get("buffers", ()))
                self.heard.append(Heard(kind, content, parent, size, at, buffers))
            outcome = self._cells.get(message["parent_header"].get("msg_id", ""))
            if outcome is not None and kind in _KINDS:
                self._seen += 1
                outcome.messages.append(
                    Message(kind, content, self._seen, message["header"]["date"].timestamp())
                )
            elif outcome is not None and kind == "status" and content["execution_state"] == "idle":
                outcome.idle = True
            self._arrival.notify_all()


def private_home(home: Path) -> dict[str, str]:
    """Environment variables that keep a Jupyter process out of the user's own files."""
    spec = importlib.util.find_spec("snakepit_nb")
    places = [str(Path(each).parent) for each in (spec.submodule_search_locations or ())] if spec else []
    inherited = os.environ.get("PYTHONPATH")
    return {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter" / "config"),
        "JUPYTER_DATA_DIR": str(home / "jupyter" / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter" / "runtime"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "PYTHONPATH": os.pathsep.join([*places[:1], *([inherited] if inherited else [])]),
    }


@contextlib.contextmanager
def notebook(**options: Any) -> Iterator[Notebook]:
    """`Notebook` for a fixture that yields it."""
    with Notebook(**options) as opened:
        yield opened
