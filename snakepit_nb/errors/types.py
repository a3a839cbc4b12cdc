"""The classes that this package raises: one base, few families, the facts as attributes.

*Rule:* `str()` of an error is a sentence that says what to do next; every fact in it is an attribute too.
*Rule:* every error survives pickle and copy, so that a pool inside a worker can hand one on.
"""

# ruff: noqa: N818 - named for what happened or for the state that they tell, like queue.Empty

from __future__ import annotations

import signal as signals
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.base import SnakepitError
from snakepit_nb.errors.remote import (
    DeviceMismatch,
    DiskFull,
    DtypeMismatch,
    FailedAssertion,
    FileMissing,
    ImportFailed,
    MissingKey,
    MissingName,
    NotFitted,
    NotPermitted,
    NumericalError,
    OutOfMemory,
    RemoteError,
    ShapeMismatch,
    TooDeep,
    WrongKindOfFile,
)
from snakepit_nb.errors.render import colours, render_notice

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ArrayError",
    "CaptureError",
    "CheckoutTimeout",
    "CircuitOpen",
    "DeviceMismatch",
    "DiskFull",
    "DtypeMismatch",
    "FailedAssertion",
    "FileMissing",
    "ImportFailed",
    "MissingKey",
    "MissingName",
    "NotFitted",
    "NotPermitted",
    "NumericalError",
    "OutOfMemory",
    "PoolBroken",
    "PoolClosed",
    "PoolError",
    "PoolSaturated",
    "ProtocolError",
    "RemoteError",
    "RequestTimeout",
    "SessionLost",
    "ShapeMismatch",
    "SnakepitError",
    "TooDeep",
    "WorkerCrashed",
    "WrongKindOfFile",
]

_CRASHES: Final[dict[str, tuple[str, str]]] = {
    "segfault": (
        "died of a segmentation fault in native code",
        "run it again, and look at the library that it called if it dies again",
    ),
    "abort": (
        "was aborted by native code",
        "the end of its stderr, where there is one, says what gave up",
    ),
    "oom": (
        "was killed because memory ran out",
        "work on smaller pieces, or with fewer workers at a time",
    ),
    "gpu": (
        "died of a failure of its GPU",
        "check the device, or run it on another one",
    ),
    "exit": (
        "ended its own process",
        "raise an exception instead of leaving the process in the code that it runs",
    ),
    "killed": (
        "was killed from outside",
        "run it again; the system's log may say who sent the signal",
    ),
}


def _seconds(value: float) -> str:
    return f"{value:g} s"


def _notice(error: SnakepitError, tail: str = "") -> list[str]:
    said = "\n".join([str(error), *getattr(error, "__notes__", ())])
    return render_notice(type(error).__name__, said, tail, colour=colours()).splitlines()


class PoolError(SnakepitError):
    """A pool could not take or serve a request; `pool` is its name, where it has one.

    Example:
        >>> PoolError("the pool 'a' has no worker", pool="a").pool
        'a'
    """

    def __init__(self, message: str, *, pool: str | None = None) -> None:
        """Say what happened, and in which pool."""
        super().__init__(message)
        self.pool = pool


class PoolClosed(PoolError, RuntimeError):
    """A request came after the pool's shutdown; also a `RuntimeError`, as with every Executor.

    Example:
        >>> str(PoolClosed(pool="default"))
        "cannot schedule new futures after shutdown: pool 'default' is closed, start a new one"
    """

    def __init__(self, *, pool: str, reason: str | None = None) -> None:
        """Name the pool and, where it did not just shut down, why it is closed."""
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"cannot schedule new futures after shutdown: pool {pool!r} is closed{why}, start a new one",
            pool=pool,
        )
        self.reason = reason


class PoolSaturated(PoolError):
    """The pool's queue is full and the request was turned away; nothing of it ran.

    Example:
        >>> PoolSaturated(pool="default", queue_size=8, max_queue_size=8).max_queue_size
        8
    """

    def __init__(self, *, pool: str, queue_size: int, max_queue_size: int) -> None:
        """Give the pool, and how long its queue is and may be."""
        super().__init__(
            f"the queue of pool {pool!r} is full ({queue_size} of {max_queue_size}): wait for a result, "
            f"add workers, or allow a longer queue",
            pool=pool,
        )
        self.queue_size = queue_size
        self.max_queue_size = max_queue_size


class CheckoutTimeout(PoolError, TimeoutError):
    """No worker came free in time; the request did not run. Also a `TimeoutError`.

    Example:
        >>> str(CheckoutTimeout(pool="a", seconds=2.5))
        "no worker of pool 'a' came free within 2.5 s: the request did not run, wait longer or add workers"
    """

    def __init__(self, *, pool: str, seconds: float) -> None:
        """Give the pool and how long the request waited."""
        super().__init__(
            f"no worker of pool {pool!r} came free within {_seconds(seconds)}: the request did not run, "
            f"wait longer or add workers",
            pool=pool,
        )
        self.seconds = seconds


class CircuitOpen(PoolError):
    """The pool's circuit breaker is open: too many workers died in a row, and for a while it takes nothing.

    Example:
        >>> str(CircuitOpen(pool="default", failures=3, seconds=12.0))
        "pool 'default' takes no requests for another 12 s: its last 3 ended with the death of their worker"
    """

    def __init__(self, *, pool: str, failures: int, seconds: float) -> None:
        """Give the pool, how many requests failed in a row, and when it lets one through again."""
        super().__init__(
            f"pool {pool!r} takes no requests for another {_seconds(seconds)}: its last {failures} ended "
            f"with the death of their worker",
            pool=pool,
        )
        self.failures = failures
        self.seconds = seconds


class SessionLost(PoolError):
    """A session's worker is gone, and what it kept with it; said once, the next use begins anew.

    `session` is its name, `names` are what it kept, `worker_id` is the worker that it had and `reason` one of
    crashed, recycled, expired.

    Example:
        >>> str(SessionLost(pool="a", session="s", worker_id="a-0", reason="crashed", names=("model",)))
        "session 's' of pool 'a' was lost when worker a-0 crashed: model is gone, make it again"
    """

    def __init__(
        self, *, pool: str, session: str, worker_id: str, reason: str, names: Sequence[str] = ()
    ) -> None:
        """Take the facts."""
        self.session = session
        self.worker_id = worker_id
        self.reason = reason
        self.names = tuple(names)
        how = {
            "crashed": f"was lost when worker {worker_id} crashed",
            "recycled": f"was lost when worker {worker_id} was recycled",
            "expired": "ended because it was not used for long",
        }.get(reason, f"was lost with worker {worker_id}")
        gone = ", ".join(self.names) or "what it kept"
        verb, those = ("are", "them") if len(self.names) > 1 else ("is", "it")
        super().__init__(
            f"session {session!r} of pool {pool!r} {how}: {gone} {verb} gone, make {those} again", pool=pool
        )

    def _render_traceback_(self) -> list[str]:
        return _notice(self)


class PoolBroken(PoolError, BrokenExecutor):
    """The pool gave up because its workers keep dying; also a `BrokenExecutor`.

    Example:
        >>> PoolBroken(pool="default", reason="5 workers died within 30 s").reason
        '5 workers died within 30 s'
    """

    def __init__(self, *, pool: str, reason: str) -> None:
        """Give the pool and what made it give up."""
        super().__init__(
            f"pool {pool!r} is broken: {reason}; find what kills its workers, then start a new pool",
            pool=pool,
        )
        self.reason = reason


class WorkerCrashed(SnakepitError, BrokenExecutor):
    """A worker died while it ran this request; no other request is touched. Also a `BrokenExecutor`.

    `signal` and `exit_code` are the process's end (one of them is None), `signal_name` is such as
    `"SIGSEGV"`, `classification` one of segfault, abort, oom, gpu, exit, killed; `memory_mb` is the last
    measure of its memory in MB and `stderr_tail` the end of what it wrote to its stderr, with the stack that
    Python wrote where a fatal signal ended it; `place` is the line of the cell where that was, such as
    `"In [3], line 2"`.

    Example:
        >>> crash = WorkerCrashed(worker_id="w1", pool="default", classification="segfault", signal=11)
        >>> crash.signal_name
        'SIGSEGV'
    """

    def __init__(  # noqa: PLR0913 - the facts of a death, all by name
        self,
        *,
        worker_id: str,
        pool: str,
        classification: str,
        signal: int | None = None,
        exit_code: int | None = None,
        device: str = "cpu",
        memory_mb: float | None = None,
        stderr_tail: str = "",
        request_id: int | None = None,
        command: str | None = None,
        place: str = "",
    ) -> None:
        """Take the facts of the death; those that nobody knows are left out."""
        self.worker_id = worker_id
        self.pool = pool
        self.classification = classification
        self.signal = signal
        self.signal_name = None if signal is None else _signal_name(signal)
        self.exit_code = exit_code
        self.device = device
        self.memory_mb = memory_mb
        self.stderr_tail = stderr_tail
        self.request_id = request_id
        self.command = command
        self.place = place
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        what, next_step = _CRASHES.get(self.classification, ("died", "run it again"))
        end = [self.signal_name or "", "" if self.exit_code is None else f"exit code {self.exit_code}"]
        if self.device != "cpu":
            end.append(f"device {self.device}")
        if self.memory_mb is not None:
            end.append(f"last seen with {self.memory_mb:,.0f} MB")
        facts = ", ".join(fact for fact in end if fact)
        running = (
            f" while it ran {_request(self.command, self.request_id)}" if self.request_id is not None else ""
        )
        if self.place:
            running += f", at {self.place}"
        return (
            f"worker {self.worker_id} of pool {self.pool!r} {what}{f' ({facts})' if facts else ''}{running}: "
            f"only this request failed, the pool serves on; {next_step}"
        )

    def _render_traceback_(self) -> list[str]:
        return _notice(self, self.stderr_tail)


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _request(command: str | None, request_id: int | None) -> str:
    name = f"{command!r}" if command else "the request"
    return name if request_id is None else f"{name} (request {request_id})"


class RequestTimeout(SnakepitError, TimeoutError):
    """A request was not done in time and was stopped; also a `TimeoutError`.

    Example:
        >>> str(RequestTimeout(seconds=5, command="cell"))
        "'cell' was not done within 5 s and was stopped: give it more time or less work"
    """

    def __init__(
        self,
        *,
        seconds: float,
        command: str | None = None,
        request_id: int | None = None,
        worker_id: str | None = None,
        pool: str | None = None,
    ) -> None:
        """Give the limit in seconds and what ran into it."""
        super().__init__(
            f"{_request(command, request_id)} was not done within {_seconds(seconds)} and was stopped: "
            f"give it more time or less work"
        )
        self.seconds = seconds
        self.command = command
        self.request_id = request_id
        self.worker_id = worker_id
        self.pool = pool

    def _render_traceback_(self) -> list[str]:
        return _notice(self)


class CaptureError(SnakepitError, TypeError):
    """A value cannot travel between kernel and worker; also a `TypeError`, which is what pickle raises.

    `name` is the variable, `path` leads to the part of it that cannot travel (`"model.log.stream"`),
    `type_name` is that part's type and `reason` says why it stays.

    Example:
        >>> str(CaptureError(name="m", path="m.lock", type_name="lock", reason="it is not plain data"))
        'm cannot travel: m.lock is a lock (it is not plain data); make it where it is used, or leave it out'
    """

    def __init__(
        self, message: str | None = None, *, name: str, path: str = "", type_name: str = "", reason: str = ""
    ) -> None:
        """Take the facts; a `message` replaces the sentence that they would make."""
        where = path or name
        kind = f" is {'an' if type_name[:1] in 'aeiouAEIOU' else 'a'} {type_name}" if type_name else ""
        why = f" ({reason})" if reason else ""
        super().__init__(
            message or f"{name} cannot travel: {where}{kind}{why}; make it where it is used, or leave it out"
        )
        self.name = name
        self.path = where
        self.type_name = type_name
        self.reason = reason

    def _render_traceback_(self) -> list[str]:
        return _notice(self)


class ProtocolError(SnakepitError):
    """Bytes or a message of a peer break the protocol; the channel that brought them is of no more use.

    Example:
        >>> str(ProtocolError("a frame of 3 bytes is shorter than its header"))
        'a frame of 3 bytes is shorter than its header'
    """


class ArrayError(SnakepitError):
    """Memory could not be shared, or a handle does not fit the memory that it names.

    Example:
        >>> str(ArrayError("the handle reaches 8 bytes beyond its arena"))
        'the handle reaches 8 bytes beyond its arena'
    """
