"""Processes as the kernel holds them: the nursery, and the descriptors and the end of each worker."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from codecs import IncrementalDecoder, getincrementaldecoder
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from snakepit_nb import options
from snakepit_nb.arrays import native
from snakepit_nb.arrays.handle import plain, writable_view
from snakepit_nb.errors.types import ArrayError, PoolError
from snakepit_nb.pool import blackbox
from snakepit_nb.pool.devices import alone
from snakepit_nb.pool.output import LastWords
from snakepit_nb.wire import channel
from snakepit_nb.wire.channel import Channel
from snakepit_nb.wire.kept import Kept
from snakepit_nb.wire.lane import DescriptorLane
from snakepit_nb.wire.messages import Phase
from snakepit_nb.wire.sampling import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snakepit_nb.arrays.store import Store
    from snakepit_nb.pool.crash import Crash

_ROOM: Final = 1 << 16
_PROBE: Final = b"."
_NESTING: Final = "SNAKEPIT_NB_DEPTH"
_TRIES: Final = 2
_START: Final = "import sys; sys.path[:] = {path!r}; from snakepit_nb.worker.nursery import main; main({fd})"


class NurseryGone(PoolError):  # noqa: N818 - named for what happened, like PoolBroken
    """The process that workers are forked from died meanwhile; another one may be started.

    Example:
        >>> str(NurseryGone("it is gone"))
        'it is gone'
    """


class Nursery:
    """The warm process that workers are forked from; one for all pools with the same preload.

    Raises:
        PoolError: it cannot be started here; the message says why and what to do.

    Example:
        >>> warm = Nursery(())
        >>> warm.alive
        True
        >>> warm.close()
    """

    def __init__(self, preload: tuple[str, ...]) -> None:
        self.preload = preload
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._sock = ours
        # Its own words are wanted only if it fails to start; a file, because a pipe would have to be read.
        with tempfile.TemporaryFile() as words, theirs:
            code = _START.format(path=_search_path(), fd=theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own code
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, **native.preload_environment()},
            )
            theirs.close()
            reply = self._reply(options.current().start_timeout)
            if reply is None or "error" in reply:
                words.seek(0)
                said = words.read().decode("utf-8", "replace").strip()[-2000:]
                self.close()
                why = (reply or {}).get("error") or said
                text = f"the process that workers start from did not come up: {why}"
                raise PoolError(text)

    @property
    def alive(self) -> bool:
        """Whether it can still fork."""
        return self._process.poll() is None

    def _reply(self, timeout: float) -> dict[str, object] | None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return None
        data, fds, _, _ = socket.recv_fds(self._sock, _ROOM, 1)
        reply: dict[str, object] = json.loads(data) if data else {}
        if fds:
            reply["pidfd"] = fds[0]
        return reply or None

    def fork(self, spec: Mapping[str, object], fds: Sequence[int]) -> tuple[int, int]:
        """Fork a worker with these descriptors; its process id and a descriptor of the process.

        Raises:
            PoolError: the nursery is gone, or a module of `preload` fails to import.
        """
        packet = json.dumps({**spec, "preload": list(self.preload)}).encode()
        with self._lock:
            try:
                socket.send_fds(self._sock, [packet], list(fds))
                reply = self._reply(options.current().start_timeout)
            except OSError as error:
                text = f"the process that workers start from is gone: {error}"
                raise NurseryGone(text) from error
            if not reply:
                # Dead, or too late: an answer that still came would be taken for that of the next request.
                self._process.kill()
                text = "the process that workers start from does not answer"
                raise NurseryGone(text)
        if "pidfd" not in reply:
            raise PoolError(str(reply.get("error")))
        return int(str(reply["pid"])), int(str(reply["pidfd"]))

    def kill(self) -> None:
        """End it at once, and with it every worker that is left."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End it, and with it every worker that is left. Idempotent."""
        self._sock.close()
        try:
            self._process.wait(options.current().stop_grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def abandon(self) -> None:
        """In a child that the user forked: let go of the parent's."""
        self._sock.close()
        self._process.returncode = 0  # or the end of this object would say that a process is still running


_nurseries: dict[tuple[str, ...], Nursery] = {}
_nurseries_lock = threading.Lock()


def nursery(preload: tuple[str, ...]) -> Nursery:
    """The nursery of this kernel for a preload, started at the first call and again if it died."""
    with _nurseries_lock:
        found = _nurseries.get(preload)
        if found is None or not found.alive:
            if found is not None:
                found.close()
            found = _nurseries[preload] = Nursery(preload)
        return found


def fork_worker(preload: tuple[str, ...], spec: Mapping[str, object], fds: Sequence[int]) -> tuple[int, int]:
    """Fork a worker from this kernel's nursery, or from a new one where that died just now.

    Raises:
        PoolError: no worker can be started here; the message says why.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(NurseryGone):
            return nursery(preload).fork(spec, fds)
        _discard(preload)
    return nursery(preload).fork(spec, fds)


def _discard(preload: tuple[str, ...]) -> None:
    with _nurseries_lock:
        found = _nurseries.pop(preload, None)
    if found is not None:
        found.close()


def _end_silent(preload: tuple[str, ...]) -> None:
    with _nurseries_lock:
        found = _nurseries.pop(preload, None)
    if found is not None:
        found.kill()


def close_nurseries() -> None:
    """End all nurseries; the next pool starts a new one."""
    with _nurseries_lock:
        while _nurseries:
            _nurseries.popitem()[1].close()


atexit.register(close_nurseries)


def _forget() -> None:
    """In a child that the user forked: the nursery is the parent's, and must see it end."""
    global _nurseries_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _nurseries_lock = threading.Lock()
    for found in _nurseries.values():
        found.abandon()
    _nurseries.clear()


os.register_at_fork(after_in_child=_forget)


class Ended:
    """How a worker ended: `exit_code` (negative: the signal), or None where nobody could tell."""

    __slots__ = ("exit_code", "memory_mb")

    def __init__(self, exit_code: int | None, memory_mb: float | None) -> None:
        self.exit_code = exit_code
        self.memory_mb = memory_mb


class WorkerProcess:
    """One worker's process and all the kernel holds of it.

    The kernel keeps the worker's end of the channel open too: what the worker has not claimed yet can be
    received there, and a nudge sent there wakes whoever waits at the kernel's end.
    """

    over_limit = False
    crash: Crash | None = None
    stack: blackbox.Stack = blackbox.Stack()
    memory_mb = 0.0
    threshold_mb = 0.0
    spoke = False
    beats = True
    misses = 0

    def __init__(  # noqa: PLR0913, PLR0917 - what a worker is made of
        self,
        worker_id: str,
        pool: str,
        store: Store,
        preload: tuple[str, ...],
        chosen: options.Options,
        threads: int = 0,
        gpu: int | None = None,
    ) -> None:
        self.worker_id = worker_id
        self.peer = f"{worker_id}/{id(self):x}"
        self._preload = preload
        self.began = time.monotonic()
        self.ready_at = self.began
        self.attending = threading.Lock()
        self.phase = Phase.GREETING
        self.known = Kept()
        self.greeted = False
        self.rules = ALL
        self.arena = ""
        self.started = False
        self.initializing = 0
        self.ended: Ended | None = None
        self.request_count = 0
        self.asked_to_end = False
        self.last_origin: object = None
        self.last_words = LastWords(options.current().stderr_tail)
        self._decoders = {"stdout": _decoder(), "stderr": _decoder()}
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            ours, self.far = channel.pair()
            undo.callback(ours.close)
            undo.callback(self.far.close)
            lane, far_lane = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(lane.close)
            theirs.callback(far_lane.close)
            self.heart, far_heart = socket.socketpair()
            undo.callback(self.heart.close)
            theirs.callback(far_heart.close)
            self.heart.settimeout(0)
            pipes = [os.pipe() for _ in range(3)]
            for read, write in pipes:
                undo.callback(os.close, read)
                theirs.callback(os.close, write)
                os.set_blocking(read, False)
            (self.stdout, out), (self.stderr, err), (self.obituary, note) = pipes
            self.box = blackbox.opened()
            undo.callback(os.close, self.box)
            spec = {
                "worker_id": worker_id,
                "pool": pool,
                "cwd": _cwd(),
                "environ": _environment(gpu),
                "sys_path": _search_path(),
                "arena": store.arena.id if store.arena else "",
                "options": asdict(chosen),
                "profile": "thread" if threads else "process",
                "capacity": max(1, threads),
                "blas_threads": chosen.blas_threads,
            }
            fds = (self.far.fileno(), far_lane.fileno(), out, err, far_heart.fileno(), self.box, note)
            self.pid, self.pidfd = fork_worker(preload, spec, fds)
            undo.pop_all()
        self.lane = DescriptorLane(lane)
        self.channel = Channel(ours, store, self.peer, self.lane)
        self.channel_fd = ours.fileno()
        self.closed = False
        if store.arena is not None:
            self.introduce(store, store.arena.id)

    def introduce(self, store: Store, arena: str) -> None:
        """See that the worker can map an arena: for reading, as what it writes stays its own, or in place.

        Raises:
            ArrayError: no descriptor is left to hand it over by.
            OSError: the worker is gone, or does not read its lane.
        """
        if self.lane.knows(arena) or plain(arena) == self.arena:
            return
        in_place = arena != plain(arena)
        try:
            found = store.open_writable(plain(arena)) if in_place else store.open_readonly(arena)
        except OSError as error:
            text = f"an array cannot be shared with a worker, no descriptor is left: {error.strerror}"
            raise ArrayError(text) from error
        if found is not None:
            fd, nbytes = found
            try:
                self.lane.introduce(arena, fd, nbytes)
            finally:
                os.close(fd)

    def dismiss(self, arena: str) -> None:
        """Tell the worker that an arena is gone, if it can be told."""
        with contextlib.suppress(OSError):
            self.lane.dismiss(arena)
            self.lane.dismiss(writable_view(arena))

    def nudge(self, packet: bytes) -> None:
        """Wake whoever waits for this worker's packets."""
        with contextlib.suppress(OSError):
            self.far.send(packet, socket.MSG_DONTWAIT)

    def unclaimed(self) -> bytes | None:
        """Take back the oldest packet that the worker has not received; None where there is none."""
        try:
            return self.far.recv(_ROOM, socket.MSG_DONTWAIT) or None
        except OSError:
            return None

    def read(self, stream: str) -> str | None:
        """Text that waits in the worker's stdout or stderr pipe: "" for none now, None at its end."""
        fd = self.stdout if stream == "stdout" else self.stderr
        try:
            data = os.read(fd, _ROOM)
        except BlockingIOError:
            return ""
        except OSError:
            return None
        text = self._decoders[stream].decode(data, not data)
        return text if data else (text or None)

    def probe(self) -> bool:
        """Ask for a sign of life; whether that could be done."""
        self.beats = False
        try:
            self.heart.send(_PROBE)
        except BlockingIOError:
            pass  # it has not taken the ones before, and can answer those
        except OSError:
            return False
        return True

    def feel(self) -> bool | None:
        """Take in signs of life that wait: whether there were any; None where there will be no more."""
        try:
            told = bool(self.heart.recv(_ROOM))
        except BlockingIOError:
            return False
        except OSError:
            return None
        self.beats = self.beats or told
        return told or None

    @property
    def dead(self) -> bool:
        """Whether the process has ended, though nobody may have heard of it."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def can_answer(self) -> bool:
        """Whether the worker still has its end of the channel open; True where the system does not tell."""
        wanted = f"socket:[{os.fstat(self.far.fileno()).st_ino}]"
        folder = f"/proc/{self.pid}/fd"
        try:
            with os.scandir(folder) as listed:
                return any(_link(each.path) == wanted for each in listed)
        except OSError:
            return True

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the worker, and only to it; nothing where it is gone."""
        if self.closed:
            return  # the descriptor's number may be another process's by now
        with contextlib.suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(self.pidfd, number)

    def end_nursery(self) -> None:
        """Whoever is to say how this worker ended does not: end them too, and all of their workers."""
        _end_silent(self._preload)

    def read_obituary(self) -> Ended:
        """How the worker ended, once its obituary pipe is readable."""
        note: dict[str, object] = {}
        with contextlib.suppress(OSError, ValueError):
            data = os.read(self.obituary, _ROOM)
            note = json.loads(data) if data else {}
        self.stack = blackbox.read(self.box)
        code, memory = note.get("exit_code"), note.get("memory_kb")
        return Ended(
            code if isinstance(code, int) else None,
            memory / 1024 if isinstance(memory, (int, float)) else None,
        )

    def close(self) -> None:
        """Close every descriptor. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.channel.close()
        self.lane.close()
        self.far.close()
        self.heart.close()
        for fd in (self.stdout, self.stderr, self.obituary, self.box, self.pidfd):
            os.close(fd)


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - it names no path
    except OSError:  # closed meanwhile
        return ""


def _decoder() -> IncrementalDecoder:
    return getincrementaldecoder("utf-8")("replace")


def _search_path() -> list[str]:
    return [
        each for each in sys.path if isinstance(each, str)
    ]  # other things on it are passed over by import too


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is what travels
    except OSError:
        return "/"


def nesting() -> int:
    """How deep this process is in pools: 0 in a kernel, 1 in a worker of its pool.

    Example:
        >>> nesting() >= 0
        True
    """
    text = os.environ.get(_NESTING, "0")
    return int(text) if text.isdigit() else 0


def _environment(gpu: int | None) -> dict[str, str]:
    card = {} if gpu is None else alone(gpu, os.environ)
    return {**os.environ, _NESTING: str(nesting() + 1), **card}
