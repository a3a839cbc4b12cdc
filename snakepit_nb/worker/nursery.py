"""The nursery: a warm process that imports and never computes, and that workers are forked from.

*Rule:* it has one thread, always: a lock held by another thread at the fork is held in the child for ever.

*Rule:* it ends with its kernel (end of file on its socket), and takes every worker along, and whatever these
started (see `kin`).

Spoken with it over one inherited socket: a JSON request with descriptors, a JSON answer with a pidfd. What
became of a worker goes to that worker's own pipe, its obituary, so that only those who wait for it hear.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from snakepit_nb.worker import kin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOM: Final = 1 << 20
_DESCRIPTORS: Final = 7
_PR_SET_PDEATHSIG: Final = 1
# How much likelier than others, out of a thousand parts of all memory.
_FIRST: Final = 500
# How many threads numeric libraries take: one where nothing else is said, for N workers with N threads each
# would fight for N cores.
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Which allocator Arrow takes, as whoever started the nursery wants it.
_ARROW: Final = ("ARROW_DEFAULT_MEMORY_POOL",)
_PRELOAD: Final = ("numpy", "cloudpickle", "snakepit_nb.worker.loop", "snakepit_nb.worker.namespace")


class Nursery:
    """Forks workers on request and tells how each ended."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pid = os.getpid()
        self._obituaries: dict[int, int] = {}
        self._wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake_write = wake_write
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Answer requests until the kernel is gone, then end every worker."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._sock.fileno() in ready and not self._answer():
                break
        for pid in self._obituaries:
            _kill_group(pid)
        # The workers themselves, too: one that was forked just now may lead no group yet.
        kin.end_orphans(())

    def _answer(self) -> bool:
        request, fds, _, _ = socket.recv_fds(self._sock, _ROOM, _DESCRIPTORS)
        if not request:
            return False
        spec = json.loads(request)
        try:
            missing = _preload(spec["preload"])
            if missing:
                self._refuse(missing)
            else:
                self._fork(spec, fds)
        except (OSError, IndexError) as error:
            # No process or descriptor is left for one more worker; the others live on.
            self._refuse(f"no worker can be forked: {error}")
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, spec: Mapping[str, object], fds: Sequence[int]) -> None:
        obituary = os.dup(fds[6])
        # The child must not run a handler of ours between the fork and its own set-up.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(spec, [*fds, obituary])
        except OSError:
            os.close(obituary)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        self._obituaries[pid] = obituary
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            _kill_group(pid)
            raise
        try:
            socket.send_fds(self._sock, [json.dumps({"pid": pid}).encode()], [pidfd])
        finally:
            os.close(pidfd)

    def _refuse(self, reason: str) -> None:
        self._sock.send(json.dumps({"error": reason}).encode())

    def _become_worker(self, spec: Mapping[str, object], fds: Sequence[int]) -> NoReturn:
        status = 1
        try:
            os.setsid()
            _die_with(self._pid)
            _die_first()
            kin.adopt_orphans()
            signal.set_wakeup_fd(-1)
            inherited = (self._sock.fileno(), self._wake, self._wake_write, *fds[6:])
            for fd in (*inherited, *self._obituaries.values()):
                os.close(fd)
            self._sock.detach()
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
            os.dup2(fds[2], 1)
            os.dup2(fds[3], 2)
            os.close(fds[2])
            os.close(fds[3])
            status = _live(spec, fds)
        except BaseException:  # noqa: BLE001 - the last frame of a process; whatever it is, it is told and ends here
            with contextlib.suppress(BaseException):
                import traceback  # noqa: PLC0415 - only for a death

                traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for pid in list(self._obituaries):
            try:
                # WNOWAIT keeps the number taken, so that the group is still that worker's when we kill it.
                seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                seen, status = None, None
            else:
                if seen is None:
                    continue
                _kill_group(pid)
                _, status, usage = os.wait4(pid, 0)
                # Before anybody hears of the death: what the worker started is gone then, too.
                kin.end_orphans(self._obituaries)
            fd = self._obituaries.pop(pid)
            note: dict[str, object] = {"pid": pid}
            if status is not None:
                note["exit_code"] = os.waitstatus_to_exitcode(status)
                note["memory_kb"] = usage.ru_maxrss
            with contextlib.suppress(OSError):
                os.write(fd, json.dumps(note).encode())
            os.close(fd)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _die_with(parent: int) -> None:
    """Ask the system to kill this process when the nursery dies, however it does."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _die_first() -> None:
    """Where memory runs out, let the system end this process before others: before the kernel, above all."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST), encoding="ascii")


def _preload(names: object) -> str | None:
    """Import modules before the fork; what went wrong, in one sentence, or None."""
    for name in names if isinstance(names, list) else ():
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a module may fail with anything
            return f"preload={name!r} cannot be imported: {type(error).__name__}: {error}"
    return None


def _live(spec: Mapping[str, object], fds: Sequence[int]) -> int:
    environ = spec["environ"]
    if isinstance(environ, dict):
        arrow = {name: os.environ[name] for name in _ARROW if name in os.environ}
        os.environ.clear()
        os.environ.update({**arrow, **environ})
    blas_threads = spec.get("blas_threads", 1)
    for name in _THREADS:
        os.environ.setdefault(name, str(blas_threads))
    if blas_threads != 1:
        from threadpoolctl import threadpool_limits  # noqa: PLC0415 - for those that are loaded already

        threadpool_limits(blas_threads)
    with contextlib.suppress(OSError):
        os.chdir(str(spec["cwd"]))
    path = spec["sys_path"]
    if isinstance(path, list):
        sys.path[:] = path
    _reseed()
    from snakepit_nb.worker import loop  # noqa: PLC0415 - imported by _preload, before the fork

    # Where a fatal signal ends this process, the kernel reads there where it was.
    os.set_inheritable(fds[5], False)  # noqa: FBT003 - the standard library's signature
    faulthandler.enable(file=fds[5], all_threads=False)
    channel = socket.socket(fileno=fds[0])
    lane = socket.socket(fileno=fds[1])
    heart = socket.socket(fileno=fds[4])
    return loop.main(spec, channel, lane, heart)


def _reseed() -> None:
    """Python reseeds its own generator after a fork; others would give every worker the same numbers."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()


def main(fd: int) -> None:
    """Run as the nursery of the kernel that holds the other end of descriptor `fd`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    sock = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's signature
    kin.adopt_orphans()
    missing = _preload(list(_PRELOAD))
    gc.collect()
    gc.freeze()
    sock.send(json.dumps({"error": missing} if missing else {"pid": os.getpid()}).encode())
    if missing is None:
        Nursery(sock).serve()
