"""A cell in the background: the future of its last value."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

from snakepit_nb.errors.render import visible
from snakepit_nb.errors.types import RemoteError
from snakepit_nb.magics import joblines
from snakepit_nb.magics.display import interrupted
from snakepit_nb.magics.jobfacts import JobFacts
from snakepit_nb.pool import output
from snakepit_nb.pool.future import PoolFuture
from snakepit_nb.wire.travel import describe
from snakepit_nb.worker.finished import FinishedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from snakepit_nb.magics.jobfacts import State

T = TypeVar("T")
_met: Final[ContextVar[list[Job] | None]] = ContextVar("_met", default=None)


class JobUnusable(TypeError):  # noqa: N818 - named for what is the case
    """A job that was to travel has no value: it is not done, failed, or was cancelled.

    Attributes:
        job: The job.
    """

    def __init__(self, job: Job, why: str) -> None:
        super().__init__(f"the job {why}")
        self.job = job


class Job(PoolFuture[object]):
    """What a `%%snakepit -b` cell gives back at once.

    When the cell is done, what it assigned is in the notebook and `result()` is its last value. `await job`
    works, `cancel()` ends it. Where it fails, one line below its cell says so. In a notebook it is shown as a
    line that follows it, wherever it is shown. An interrupt of who waits for it leaves it running.

    A later `%%snakepit` cell may use it: there it is a future that is done.

    Args:
        name: What the job is called.
        pool: The pool's name.
        cell: The number of its cell.
        take_back: Puts what the cell made into the notebook, and gives its last value; called with the result
            and the sink's token for the cell, in the thread that learns of the end.
        span: Entered already, left when the job is over.
        watch: Called with the job at each change of its state, in whatever thread.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        name: str,
        pool: str,
        cell: int,
        take_back: Callable[[T, object], object],
        span: AbstractContextManager[object],
        watch: Callable[[Job], None] = lambda _: None,
    ) -> None:
        super().__init__(_Apart(), 0, name)
        self.name = name
        self.origin = output.origin()
        self._cell, self._pool = cell, pool
        self._inner: concurrent.futures.Future[Any] | None = None
        self._take_back: Callable[[Any, object], object] = take_back
        self._span = span
        self._watch = watch
        self._finishing = threading.Lock()
        self._created, self._worker, self._error = time.time(), "", ""
        self._began: float | None = None
        self._ended: float | None = None
        self._waits_for: tuple[Job, ...] = ()
        self._with_the_kernel = False

    # What becomes of it

    def waits(self, jobs: tuple[Job, ...]) -> None:
        """It is sent when these are done."""
        self._waits_for = jobs
        self._watch(self)

    def begins(self, future: concurrent.futures.Future[Any], worker: str) -> None:
        """Its request is sent; to this worker, or to the pool's queue where that is empty."""
        # Set before the look at who ends it, and `cancel` does it the other way round: one sees the other.
        self._inner = future
        self._waits_for = ()
        if self._finishing.locked():
            future.cancel()
            return
        if worker:
            self.runs(worker)
        else:
            self._watch(self)
        future.add_done_callback(self._over)

    def runs(self, worker: str) -> None:
        """A worker has it."""
        if not self.done():
            self._worker, self._began = worker, time.monotonic()
            self._watch(self)

    def fails(self, error: BaseException) -> None:
        """It cannot be sent."""

        def outcome() -> object:
            raise error

        if self._finishing.acquire(blocking=False):
            self._finish(outcome)

    def ends_with_the_kernel(self) -> None:
        """The kernel ends, and the job with it."""
        self._with_the_kernel = True

    def cancel(self) -> bool:
        """End the cell, waiting or running; False where it is over already, with a result or an error."""
        if self._inner is None and self._finishing.acquire(blocking=False):
            self._finish(_cancelled)
        inner = self._inner
        if inner is not None and inner.cancel():
            # The callback runs in another thread; who cancels finds the job cancelled.
            self._over(inner)
        if self._finishing.locked():
            self.wait_settled()
        return self.cancelled()

    def running(self) -> bool:
        """Whether a worker runs it."""
        inner = self._inner
        return inner is not None and not self.done() and inner.running()

    def _over(self, future: concurrent.futures.Future[Any]) -> None:
        if self._finishing.acquire(blocking=False):
            self._finish(lambda: self._take_back(future.result(), self.origin))

    def _finish(self, outcome: Callable[[], object]) -> None:
        """End with an outcome; called once."""
        value, failure = self._outcome(outcome)
        # Both hold each other, and what the cell made would stay for the garbage collector.
        inner, self._inner = self._inner, None
        self._ended = time.monotonic()
        self._take_back, self._waits_for = _let_go, ()
        is_cancelled = isinstance(failure, concurrent.futures.CancelledError)
        if is_cancelled and (inner is None or inner.cancelled()):
            self._end_with(self.settle_cancelled())
            return
        try:
            if failure is not None:
                self._error = visible(f"{type(failure).__name__}: {describe(failure)}")
                self._tell()
        finally:
            self._end_with(self.settle(value, failure))

    def _outcome(self, outcome: Callable[[], object]) -> tuple[object, BaseException | None]:
        # By itself: an error holds the frames that it went through, and this one does not hold the error.
        try:
            with self._span:
                return outcome(), None
        except BaseException as error:  # noqa: BLE001 - whatever it is, SystemExit too, the one who waits gets it
            return None, error

    def _end_with(self, has_callbacks: bool) -> None:  # noqa: FBT001 - what `settle` gives
        self._watch(self)
        if has_callbacks:
            self.run_callbacks()

    def _tell(self) -> None:
        where = output.sink()
        line = f"snakepit: {self.name} failed: {self._error}; its result() shows where\n"
        where.stream(self.origin, "stderr", line)
        where.finish(self.origin)

    # Those who wait

    def result(self, timeout: float | None = None) -> object:
        """The last value of its cell, or what that raised.

        Raises:
            TimeoutError: it is not done after `timeout` seconds; it goes on.
            CancelledError: it was cancelled.
            KeyboardInterrupt: the stop button; it goes on.
        """
        with self._goes_on():
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What its cell raised, or None where it went well; raises as `result` does."""
        with self._goes_on():
            return super().exception(timeout)

    @contextlib.contextmanager
    def _goes_on(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt as pressed:
            if self.done() or isinstance(pressed, RemoteError):
                raise
            text = f"only the waiting was stopped: {self.name} goes on, and {self.name_to_cancel} ends it"
            raise interrupted(visible(text)) from None

    @property
    def name_to_cancel(self) -> str:
        """The line that ends it."""
        return f"%snakepit cancel {self.name if self.name.isidentifier() else self._cell}"

    def add_done_callback(self, fn: Callable[..., object]) -> None:
        """Have `fn(job)` called when it is over, in whatever thread, or at once where it is over."""
        if getattr(fn, "__module__", "") == "asyncio.tasks":
            # `asyncio.wait` takes it for one of asyncio's futures, which call back in their loop alone.
            import asyncio  # noqa: PLC0415 - it is there

            with contextlib.suppress(RuntimeError):
                fn = _InLoop(fn, asyncio.get_running_loop())
        super().add_done_callback(fn)

    def remove_done_callback(self, fn: Callable[..., object]) -> int:
        """Have it not called, as `asyncio.wait` asks for; how many there were."""
        with self._condition:
            kept = [each for each in self._done_callbacks if each != fn]
            removed = len(self._done_callbacks) - len(kept)
            self._done_callbacks[:] = kept
        return removed

    def __await__(self) -> Generator[object, None, object]:
        """Let `await job` wait without blocking the notebook; who stops waiting does not stop the job."""
        import asyncio  # noqa: PLC0415 - only for those who await

        return asyncio.shield(asyncio.wrap_future(self)).__await__()

    # What is seen of it

    def facts(self) -> JobFacts:
        """How it is doing."""
        state: State
        if not self.done():
            waits = bool(self._waits_for) and self._inner is None
            state = "running" if self._worker else "waiting" if waits else "queued"
            state = "ended" if self._with_the_kernel else state
        elif self.cancelled():
            state = "ended" if self._with_the_kernel else "cancelled"
        else:
            state = "failed" if self._exception is not None else "done"
        began, ended = self._began, self._ended
        until = time.monotonic() if ended is None else ended
        return JobFacts(
            self.name,
            state,
            self._pool,
            self._cell,
            worker=self._worker,
            waits_for=tuple(each.name for each in self._waits_for if not each.done()),
            created=self._created,
            seconds=None if began is None else max(0.0, until - began),
            error=self._error,
        )

    def __repr__(self) -> str:
        """Say how it is doing."""
        return self.facts().short()

    def _ipython_display_(self) -> None:
        joblines.show(self)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Travel as a future that is done.

        Raises:
            JobUnusable: it has no value.
        """
        met = _met.get()
        if met is not None:
            met.append(self)
            return str, ()
        if not self.done():
            raise JobUnusable(self, "is not done yet; its result() waits for it")
        if self.cancelled():
            raise JobUnusable(self, "was cancelled")
        if self._exception is not None:
            raise JobUnusable(self, f"failed ({self._error})")
        return FinishedJob, (self.name, self._result)


@contextlib.contextmanager
def meeting() -> Iterator[list[Job]]:
    """While this is entered a job that is pickled is only noted down, whatever its state.

    Example:
        >>> with meeting() as jobs:
        ...     pass
        >>> jobs
        []
    """
    jobs: list[Job] = []
    token = _met.set(jobs)
    try:
        yield jobs
    finally:
        _met.reset(token)


def _cancelled() -> object:
    raise concurrent.futures.CancelledError


def _let_go(result: object, origin: object) -> object:
    """What stands for `take_back` when that was called: it holds the cell."""
    del result, origin
    return None


class _InLoop:
    """A callback that is called in its loop."""

    def __init__(self, fn: Callable[..., object], loop: Any) -> None:  # noqa: ANN401 - asyncio is not imported here
        self._fn, self._loop = fn, loop

    def __call__(self, job: Job) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._fn, job)

    def __eq__(self, other: object) -> bool:
        return other is self or other == self._fn

    def __hash__(self) -> int:
        return hash(self._fn)


class _Apart:
    """Whoever waits for a job waits for its thread: that takes back what the cell made."""

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        del future, timeout

    def cancel(self, future: PoolFuture[Any]) -> bool:
        return future.cancelled()

    def running(self, future: PoolFuture[Any]) -> bool:
        del future
        return False
