"""Jobs among what a cell is given: who waits for which, and what of the cell is kept until they are done.

*Rule:* a cell that needs a job's value is sent when the job is done; where it fails, the cell is not sent.
*Rule:* what the cell is given is what its names stood for when it was run; arrays and tables are shared
and no snapshot, as ever.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import threading
import types
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from snakepit_nb.arrays import doors
from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.display import interrupted
from snakepit_nb.magics.job import Job, JobUnusable
from snakepit_nb.magics.jobfacts import listed
from snakepit_nb.pool.bell import Bell
from snakepit_nb.wire import travel

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

_LOOKS_AGAIN: Final = 0.5
_DATA: Final = (types.ModuleType, Job)
_CODE: Final = (type, types.FunctionType, types.BuiltinFunctionType, types.CodeType)
_kept: Final[ContextVar[Sequence[object]]] = ContextVar("_kept", default=())


class Awaited(NamedTuple):
    """A job that a cell is given and that is not done.

    Attributes:
        name: The name whose value it is, or is a part of.
        job: The job.
        needed: Whether the cell cannot do without that name.
    """

    name: str
    job: Job
    needed: bool


def awaited(values: Mapping[str, object], optional: Container[str]) -> list[Awaited]:
    """The jobs among a cell's values that are not done, in containers and objects too.

    Args:
        values: The values, by name.
        optional: The names that the cell may not need.

    Example:
        >>> awaited({"x": [1, 2]}, ())
        []
    """
    found: dict[int, Awaited] = {}
    for name, value in values.items():
        for job in [value] if isinstance(value, Job) else _met_in(value):
            if not job.done():
                known = found.get(id(job))
                if known is None or not known.needed:
                    found[id(job)] = Awaited(name, job, name not in optional)
    return list(found.values())


def _met_in(value: object) -> list[Job]:
    kept: list[object] = []
    # What cannot travel is found again, and told, when the cell is sent.
    with contextlib.suppress(Exception):
        _pickler()(io.BytesIO(), kept, lambda _: None, looks_into_code=True).dump(value)
    return [each for each in kept if isinstance(each, Job)]


def wait(jobs: Sequence[Awaited]) -> None:
    """Wait until they are done, or until one that is needed has failed.

    Raises:
        KeyboardInterrupt: the stop button; the jobs go on.

    Example:
        >>> wait([])
    """
    bell = Bell()
    for each in jobs:
        each.job.add_done_callback(lambda _: bell.ring())
    try:
        while not _settled(jobs):
            # Not without an end: a signal right before the system call that waits does not end that.
            bell.wait(_LOOKS_AGAIN)
    except KeyboardInterrupt:
        names = listed(each.job.name for each in jobs if not each.job.done())
        text = f"the cell was stopped while it waited for {names}, which goes on; nothing was sent"
        raise interrupted(text) from None


def when_done(jobs: Sequence[Awaited], then: Callable[[], None]) -> None:
    """Call `then` in a thread of its own as soon as they are done, or one that is needed has failed.

    Example:
        >>> when_done([], lambda: None)
    """
    # Emptied when it is called: a future keeps its callbacks, and would keep the cell with what it is given.
    calls, left = [then], list(jobs)

    def over(_: object) -> None:
        if _settled(left):
            with contextlib.suppress(IndexError):  # it was called already
                call = calls.pop()
                left.clear()
                # Not here: this may be the thread that serves the pool, and sending takes its time.
                threading.Thread(target=call, name="snakepit-send", daemon=True).start()

    for each in jobs:
        each.job.add_done_callback(over)


def _settled(jobs: Sequence[Awaited]) -> bool:
    return all(each.job.done() for each in jobs) or any(each.needed and _is_lost(each.job) for each in jobs)


def _is_lost(job: Job) -> bool:
    return job.done() and (job.cancelled() or job.exception() is not None)


def check(jobs: Sequence[Awaited]) -> None:
    """Look whether one that is needed failed or was cancelled.

    Raises:
        CaptureError: it did; its cause is the job's error.

    Example:
        >>> check([])
    """
    for each in jobs:
        if each.needed and _is_lost(each.job):
            raise unusable(each.name, each.job)


def refused(error: BaseException, path: str) -> CaptureError | None:
    """The error for a job that has no value, where that is why something could not be packed.

    Args:
        error: What packing raised.
        path: Where the job was found.

    Example:
        >>> refused(ValueError(), "x") is None
        True
    """
    cause = error.__cause__
    return unusable(path, cause.job) if isinstance(cause, JobUnusable) else None


def unusable(path: str, job: Job) -> CaptureError:
    """The error of a cell that is given a job without a value; its cause is the job's own error."""
    cause = None
    if not job.done():
        why, do = "is not done yet", f"wait for it: {path}.result()"
    elif job.cancelled():
        why, do = "was cancelled", "run its cell again, or leave it out"
    else:
        cause = job.exception()
        why = f"failed: {job.facts().error}"
        do = f"{path}.result() shows where; run its cell again, or leave it out"
    called = "" if path == job.name else f" {job.name!r}"
    made = CaptureError(
        f"the cell was not sent, for {path} is a job{called} that {why}; {do}",
        name=path,
        type_name="Job",
        reason=why,
    )
    made.__cause__ = cause
    return made


def snapshot(values: Mapping[str, object], shared: Sequence[object] = ()) -> dict[str, object]:
    """The values as they are now: containers and objects are copied, arrays, tables and jobs stay the same.

    Args:
        values: The values, by name.
        shared: Further objects that stay the same.

    Raises:
        CaptureError: a part of them cannot travel; `travel.obstacle` says which.

    Example:
        >>> rows = [1]
        >>> kept = snapshot({"rows": rows, "also": rows})
        >>> rows.append(2)
        >>> kept["rows"], kept["rows"] is kept["also"]
        ([1], True)
    """
    out, kept, buffers = io.BytesIO(), list[object](shared), list[pickle.PickleBuffer]()
    try:
        _pickler()(out, kept, buffers.append).dump(dict(values))
    except Exception as error:
        raise CaptureError(name="values", type_name="dict", reason=travel.describe(error)) from error
    token = _kept.set(kept)
    try:
        copied: dict[str, object] = pickle.loads(out.getvalue(), buffers=buffers)  # noqa: S301 - written two lines above
    finally:
        _kept.reset(token)
    return copied


def kept_as_it_is(at: int) -> object:
    """What the pickle of a snapshot calls for an object that is not copied."""
    return _kept.get()[at]


class _Dump(Protocol):
    def dump(self, obj: object) -> None: ...


@functools.cache
def _pickler() -> Callable[..., _Dump]:
    import cloudpickle  # noqa: PLC0415 - only where a job is on its way

    class Snapshot(cloudpickle.Pickler):  # type: ignore[misc]
        """Puts what is not copied into a list; with `looks_into_code`, not the functions and classes."""

        def __init__(
            self,
            out: io.BytesIO,
            kept: list[object],
            buffer: Callable[[pickle.PickleBuffer], None],
            *,
            looks_into_code: bool = False,
        ) -> None:
            super().__init__(out, 5, buffer_callback=buffer)
            self._kept = kept
            self._places = {id(each): at for at, each in enumerate(kept)}
            self._stay = _DATA if looks_into_code else (*_DATA, *_CODE)

        def reducer_override(self, obj: Any) -> object:  # noqa: ANN401 - anything may stand in a value
            at = self._places.get(id(obj))
            if at is None and obj is not kept_as_it_is and self._stays(obj):
                at = self._places[id(obj)] = len(self._kept)
                self._kept.append(obj)
            return super().reducer_override(obj) if at is None else (kept_as_it_is, (at,))

        def _stays(self, obj: Any) -> bool:  # noqa: ANN401 - as above
            kind = type(obj)
            if kind is np.ndarray:
                return not obj.dtype.hasobject
            return isinstance(obj, self._stay) or doors.find(kind) is not None

    return Snapshot
