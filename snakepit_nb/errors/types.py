"""The classes that this package raises: one base, few families, the facts as attributes.

*Rule:* `str()` of an error is a sentence that says what to do next; every fact in it is an attribute too.
*Rule:* every error survives pickle and copy, so that a pool inside a worker can hand one on.
"""

from __future__ import annotations

import signal as signals
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.errors.record import ErrorRecord

Classification = Literal["segfault", "abort", "oom", "gpu", "exit", "killed"]

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


def _revive(cls: type[SnakepitError], args: tuple[object, ...], state: dict[str, object]) -> SnakepitError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _seconds(value: float) -> str:
    return f"{value:g} s"


class SnakepitError(Exception):
    """The base of every error of this package.

    Example:
        >>> issubclass(PoolClosed, SnakepitError) and issubclass(RemoteError, SnakepitError)
        True
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the facts and not a call of `__init__`, whose arguments have names of their own."""
        return _revive, (type(self), self.args, dict(self.__dict__))


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


class PoolClosed(PoolError, RuntimeError):  # noqa: N818 - named for the state that it tells, like queue.Empty
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


class PoolSaturated(PoolError):  # noqa: N818 - named for the state that it tells, like queue.Full
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


class CheckoutTimeout(PoolError, TimeoutError):  # noqa: N818 - named for what happened, like TimeoutExpired
    """No worker came free in time; the request did not run. Also a `TimeoutError`.

    Example:
        >>> str(CheckoutTimeout(pool="default", seconds=2.5))
        "no worker of pool 'default' came free within 2.5 s: the request did not run, wait longer or add workers"
    """

    def __init__(self, *, pool: str, seconds: float) -> None:
        """Give the pool and how long the request waited."""
        super().__init__(
            f"no worker of pool {pool!r} came free within {_seconds(seconds)}: the request did not run, "
            f"wait longer or add workers",
            pool=pool,
        )
        self.seconds = seconds


class PoolBroken(PoolError, BrokenExecutor):  # noqa: N818 - named like concurrent.futures' BrokenExecutor
    """The pool gave up because its workers keep dying; also a `BrokenExecutor`.

    Example:
        >>> PoolBroken(pool="default", reason="5 workers died within 30 s").reason
        '5 workers died within 30 s'
    """

    def __init__(self, *, pool: str, reason: str) -> None:
        """Give the pool and what made it give up."""
        super().__init__(
            f"pool {pool!r} is broken: {reason}; find what kills its workers, then start a new pool", pool=pool
        )
        self.reason = reason


class WorkerCrashed(SnakepitError, BrokenExecutor):  # noqa: N818 - named for what happened
    """A worker died while it ran this request; no other request is touched. Also a `BrokenExecutor`.

    `signal` and `exit_code` are the process's end (one of them is None), `signal_name` is such as `"SIGSEGV"`,
    `classification` one of segfault, abort, oom, gpu, exit, killed; `memory_mb` is the last measure of its
    memory in MB and `stderr_tail` the end of what it wrote to its stderr.

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
        classification: Classification,
        signal: int | None = None,
        exit_code: int | None = None,
        device: str = "cpu",
        memory_mb: float | None = None,
        stderr_tail: str = "",
        request_id: int | None = None,
        command: str | None = None,
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
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        what, next_step = _CRASHES.get(self.classification, ("died", "run it again"))
        end = [self.signal_name or "", "" if self.exit_code is None else f"exit code {self.exit_code}"]
        if self.device != "cpu":
            end.append(f"device {self.device}")
        if self.memory_mb is not None:
            end.append(f"last seen with {self.memory_mb:,.0f} MB")
        facts = ", ".join(fact for fact in end if fact)
        running = f" while it ran {_request(self.command, self.request_id)}" if self.request_id is not None else ""
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


class RequestTimeout(SnakepitError, TimeoutError):  # noqa: N818 - named for what happened, like TimeoutExpired
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
        >>> str(CaptureError(name="m", path="m.lock", type_name="lock", reason="cannot pickle '_thread.lock'"))
        "m cannot travel: m.lock is a lock (cannot pickle '_thread.lock'); make it where it is used, or leave it out"
    """

    def __init__(
        self, message: str | None = None, *, name: str, path: str = "", type_name: str = "", reason: str = ""
    ) -> None:
        """Take the facts; a `message` replaces the sentence that they would make."""
        where = path or name
        kind = f" is {'an' if type_name[:1] in 'aeiouAEIOU' else 'a'} {type_name}" if type_name else ""
        why = f" ({reason})" if reason else ""
        super().__init__(
            message
            or f"{name} cannot travel: {where}{kind}{why}; make it where it is used, or leave it out"
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


class RemoteError(SnakepitError):
    """What the user's code raised in a worker; the class raised also derives from the original type.

    `record` is everything that is known, as plain data; `facts` and `suggestion` are what the table of
    rules found (empty and None where no rule fits); `left_behind` names the attributes that could not travel.
    `worker_id`, `pool`, `request_id` and `command` say where it ran, except where the original type has an
    attribute of that name: then they are in the record alone.

    Example:
        >>> from snakepit_nb.errors import pack_exception, unpack_exception
        >>> data = pack_exception(ValueError("no"))
        >>> error = unpack_exception(data, worker_id="w1", pool="default", request_id=1, command="f")
        >>> isinstance(error, RemoteError), isinstance(error, ValueError), str(error)
        (True, True, 'no')
    """

    # An original type may bring its own ways of reading and writing attributes; none of them may stand between
    # a caller and the facts. Its __getattr__ still serves what is not found otherwise.
    __getattribute__ = object.__getattribute__
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(
        self,
        record: ErrorRecord,
        *,
        facts: Mapping[str, object] | None = None,
        suggestion: str | None = None,
    ) -> None:
        """Stand for a record alone, where there is no original type to derive from."""
        Exception.__init__(self, record.message)
        self._settle(record, facts or {}, suggestion, ())

    def _settle(
        self,
        record: ErrorRecord,
        facts: Mapping[str, object],
        suggestion: str | None,
        left_behind: tuple[str, ...],
    ) -> None:
        # Straight into __dict__: the original's attributes, there already, keep their names, and its
        # properties of the same name are not set off.
        state = self.__dict__
        for name in ("worker_id", "pool", "request_id", "command"):
            state.setdefault(name, getattr(record, name))
        for name, value in facts.items():
            state.setdefault(name, value)
        state["_remote"] = (record, dict(facts), suggestion, left_behind)

    def __init_subclass__(cls, **_options: object) -> None:
        """Keep the hooks of original types out: a registry or a veto there is not for stand-ins."""

    @property
    def record(self) -> ErrorRecord:
        """What is known of the exception and where it was raised, as plain data."""
        return self._facts_of_house()[0]

    @property
    def facts(self) -> Mapping[str, object]:
        """What the rule that fits read from the message; each one is an attribute too."""
        return self._facts_of_house()[1]

    @property
    def suggestion(self) -> str | None:
        """What to try, where a rule knows."""
        return self._facts_of_house()[2]

    @property
    def left_behind(self) -> tuple[str, ...]:
        """The names of attributes and arguments of the original that could not travel."""
        return self._facts_of_house()[3]

    @property
    def mapped(self) -> bool:
        """Whether a rule gave it one of the structured classes."""
        return any(cls is not RemoteError and cls in STRUCTURED for cls in type(self).__mro__)

    def _facts_of_house(self) -> tuple[ErrorRecord, Mapping[str, object], str | None, tuple[str, ...]]:
        return self.__dict__["_remote"]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        """Give the text that the original had in the worker."""
        return self.record.message

    def __repr__(self) -> str:
        """Show the type and the arguments, as Python does."""
        try:
            return BaseException.__repr__(self)
        except Exception:  # noqa: BLE001 - an argument's own __repr__
            return f"{type(self).__name__}({self.record.message!r})"

    def __reduce_ex__(self, _protocol: object) -> tuple[object, ...]:
        """Pickle as the worker did, since the class exists in this process alone."""
        from snakepit_nb.errors.rebuild import reduced  # noqa: PLC0415 - rebuild makes these classes

        return reduced(self)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the worker did."""
        return self.__reduce_ex__(5)

    def __copy__(self) -> RemoteError:
        """Make another instance of the same class with the same facts."""
        from snakepit_nb.errors.rebuild import duplicate  # noqa: PLC0415 - rebuild makes these classes

        return duplicate(self)

    def __deepcopy__(self, _memo: dict[int, object]) -> RemoteError:
        """Make another instance; the facts are values, and what travelled once is copied by packing it again."""
        function, arguments = self.__reduce_ex__(5)[:2]
        return function(*arguments)  # type: ignore[operator, no-any-return, misc]

    def _render_traceback_(self) -> list[str]:
        from snakepit_nb.errors.render import colours, render_text  # noqa: PLC0415 - only where one is shown

        return render_text(self.record, colour=colours(), suggestion=self.suggestion).splitlines()


class ShapeMismatch(RemoteError):
    """Arrays whose shapes do not go together; `shapes` are theirs, as far as the message tells.

    Example:
        >>> ShapeMismatch.shapes
        ()
    """

    shapes: tuple[tuple[int, ...], ...] = ()


class DtypeMismatch(RemoteError):
    """An operation that is not defined for these dtypes; `dtypes` are their names.

    Example:
        >>> DtypeMismatch.dtypes
        ()
    """

    dtypes: tuple[str, ...] = ()


class DeviceMismatch(RemoteError):
    """Arrays that live on different devices; `devices` are their names.

    Example:
        >>> DeviceMismatch.devices
        ()
    """

    devices: tuple[str, ...] = ()


class OutOfMemory(RemoteError):
    """No memory for an array; `asked_bytes` and `free_bytes` where known, `device` is `"cpu"` or `"cuda:0"`.

    Example:
        >>> OutOfMemory.device, OutOfMemory.asked_bytes
        ('cpu', None)
    """

    asked_bytes: int | None = None
    free_bytes: int | None = None
    device: str = "cpu"


class NumericalError(RemoteError):
    """A computation that has no answer for these numbers, such as the inverse of a singular matrix.

    Example:
        >>> issubclass(NumericalError, RemoteError)
        True
    """


class ImportFailed(RemoteError):
    """A module is missing in the worker; `module` is its name and `package` what to install, where known.

    Example:
        >>> ImportFailed.module
        ''
    """

    module: str = ""
    package: str | None = None


class MissingKey(RemoteError):
    """A key or an index that is not there; `key` is its text, `axis` and `size` where an array said them.

    Example:
        >>> MissingKey.key is None
        True
    """

    key: str | None = None
    axis: int | None = None
    size: int | None = None


STRUCTURED: Final[frozenset[type[RemoteError]]] = frozenset(
    {ShapeMismatch, DtypeMismatch, DeviceMismatch, OutOfMemory, NumericalError, ImportFailed, MissingKey}
)


def _notice(error: SnakepitError, tail: str = "") -> list[str]:
    from snakepit_nb.errors.render import colours, render_notice  # noqa: PLC0415 - only where one is shown

    return render_notice(type(error).__name__, str(error), tail, colour=colours()).splitlines()
