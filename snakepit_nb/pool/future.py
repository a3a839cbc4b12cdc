"""The promise of a result: a `concurrent.futures.Future` whose waiter may fetch the answer itself."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
import time
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from snakepit_nb.pool.bell import Bell
from snakepit_nb.pool.interrupts import Uninterrupted

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)
# Held while a condition is made, or a future that has none ends. By its holder again: what the garbage
# collector runs in the middle may end another future.
_making = threading.RLock()
_SOON: Final = 5.0
_DONE: Final = frozenset({CANCELLED_AND_NOTIFIED, FINISHED})


def _make_anew() -> None:
    """In a child that was forked: its parent's thread that held the lock is not there."""
    global _making  # noqa: PLW0603 - a lock cannot be unlocked by another thread
    _making = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_anew)


class Keeper(Protocol):
    """What a future asks of its pool."""

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        """Fetch answers in this thread until the future is done; at most `timeout` seconds."""

    def cancel(self, future: PoolFuture[Any]) -> bool:
        """End the request of this future."""

    def running(self, future: PoolFuture[Any]) -> bool:
        """Whether a worker has the request."""


class _Waiter(Bell):
    """Wakes one thread that waits for a future, in the language of `concurrent.futures`' own waiters."""

    __slots__ = ()

    def add_result(self, _: object) -> None:
        self.ring()

    add_exception = add_cancelled = add_result


class PoolFuture(concurrent.futures.Future[T]):
    """A request's future.

    It is a `concurrent.futures.Future` in every way, and more: `cancel()` also ends a request that runs (its
    worker is killed and replaced), and a cell may `await` it.

    Example:
        >>> from snakepit_nb import Pool
        >>> with Pool(1) as pool:
        ...     pool.submit(abs, -3).result()
        3
    """

    def __init__(self, keeper: Keeper, request_id: int, command: str) -> None:
        # What the base class sets up, except that its condition is made only when somebody waits: most
        # futures of a batch are done by the time they are asked, and the condition is half of their cost.
        self._state = PENDING
        self._result: T | None = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []
        self._made: threading.Condition | None = None
        self._keeper: Keeper | None = keeper
        self.request_id = request_id
        self.command = command

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]  # nobody sets it
        made = self._made
        if made is None:
            with _making:
                made = self._made
                if made is None:
                    made = self._made = threading.Condition()
        return made

    def cancel(self) -> bool:
        """Cancel the request, queued or running; False where it is done already."""
        keeper = self._keeper
        return keeper.cancel(self) if keeper is not None else self.cancelled()

    def running(self) -> bool:
        """Whether the request was handed to a worker and is not done yet."""
        keeper = self._keeper
        return keeper is not None and not self.done() and keeper.running(self)

    def result(self, timeout: float | None = None) -> T:
        """The result, or the request's exception raised here.

        Raises:
            TimeoutError: it is not done after `timeout` seconds; it goes on.
            CancelledError: it was cancelled.
        """
        if self._state not in _DONE:
            self._wait(timeout)
        if self._state == FINISHED and self._exception is None:
            return cast("T", self._result)
        error = self._ending()
        try:
            raise error
        finally:
            # The traceback of the error holds this frame, and would hold the error by it.
            del self, error

    def done(self) -> bool:
        """Whether it ended, however it did."""
        return self._state in _DONE

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._state == CANCELLED_AND_NOTIFIED

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The request's exception, or None where it went well; raises as `result` does."""
        if self._state not in _DONE:
            self._wait(timeout)
        if self._state == FINISHED:
            return self._exception
        raise self._ending()

    def _ending(self) -> BaseException:
        if self._state == CANCELLED_AND_NOTIFIED:
            return concurrent.futures.CancelledError()
        return TimeoutError() if self._exception is None else self._exception

    def _wait(self, timeout: float | None) -> None:
        """Fetch the answer, or wait until somebody else has."""
        keeper = self._keeper
        if timeout is None:
            if keeper is not None:
                keeper.attend(self, None)
            if self._state not in _DONE:
                self._sleep(None)
            return
        until = time.monotonic() + max(0.0, timeout)
        if keeper is not None:
            keeper.attend(self, max(0.0, timeout))
        if self._state not in _DONE:
            self._sleep(max(0.0, until - time.monotonic()))

    def _sleep(self, timeout: float | None) -> None:
        # Not `Condition.wait`: an interrupt in the middle of it leaves the condition in pieces.
        bell = _Waiter()
        with Uninterrupted() as guard:
            with self._condition:
                if self._state in _DONE:
                    return
                self._waiters.append(bell)
            try:
                guard.waiting = True
                if not guard.seen:
                    bell.wait(timeout)
            finally:
                guard.waiting = False
                with self._condition:
                    self._waiters.remove(bell)

    def __await__(self) -> Generator[object, None, T]:
        """Let `await future` work in a cell or any asyncio program."""
        import asyncio  # noqa: PLC0415 - only for those who await

        return asyncio.wrap_future(self).__await__()

    def settle(self, value: T | None, error: BaseException | None) -> bool:
        """Set the result or the exception; whether callbacks now wait to be run by `run_callbacks`.

        Callbacks are not run here: the thread that settles may be one that waits in `result()` while it holds
        a lock that a callback wants.
        """
        made = self._made
        if made is None:
            with _making:
                made = self._made
                if made is None:
                    # Whoever makes the condition after this finds the state set: nobody waits, no callbacks.
                    self._end(value, error)
                    return False
        # Under the condition: those who hold it count what is not done, and must not count it twice.
        with made:
            if not self._end(value, error):
                return False
            for waiter in self._waiters:
                if error is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            made.notify_all()
            return bool(self._done_callbacks)

    def _end(self, value: T | None, error: BaseException | None) -> bool:
        if self._state in _DONE:
            return False
        self._result = value
        self._exception = error
        self._keeper = None
        self._state = FINISHED
        return True

    def settle_cancelled(self) -> bool:
        """Become cancelled, also from running; whether callbacks now wait to be run by `run_callbacks`."""
        with self._condition:
            if self._state != PENDING:
                return False
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
            self._keeper = None
            return bool(self._done_callbacks)

    def wait_settled(self) -> None:
        """Wait until another thread, which is about to settle this future, has done so."""
        if self._state not in _DONE:
            self._sleep(_SOON)

    def abandon(self, error: BaseException) -> None:
        """In a child that the user forked: end with `error`, whoever held the condition in the parent."""
        self._made = None
        self.settle(None, error)

    def run_callbacks(self) -> None:
        """Run the callbacks that were there when it settled; one that raises, `sys.exit()` too, is logged."""
        for callback in self._done_callbacks:
            try:
                callback(self)
            except BaseException:  # noqa: BLE001 - logged; it must not end the thread that serves the pool
                _LOG.exception("exception calling callback for %r", self)
