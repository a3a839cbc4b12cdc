"""A cell in the background: the future of its last value."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING

from snakepit_nb.pool import output
from snakepit_nb.wire.travel import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.worker.namespace import CellResult


class Job(concurrent.futures.Future[object]):
    """What a `%%snakepit -b` cell gives back at once.

    When the cell is done, what it assigned is in the notebook and `result()` is its last value. `await job`
    works, `cancel()` ends it. Where it fails, one line below its cell says so.

    Args:
        future: The request.
        name: What the job is called.
        take_back: Puts what the cell made into the notebook, and gives its last value; called with the result
            and the sink's token for the cell, in the thread that learns of the end.
        span: Entered already, left when the job is over.
    """

    def __init__(
        self,
        future: PoolFuture[CellResult],
        name: str,
        take_back: Callable[[CellResult, object], object],
        span: AbstractContextManager[object],
    ) -> None:
        super().__init__()
        self.name = name
        self._inner = future
        self._take_back = take_back
        self._span = span
        self._origin = output.sink().origin()
        self._ending = threading.Lock()
        future.add_done_callback(self._over)

    def cancel(self) -> bool:
        """End the cell, waiting or running."""
        if not self._inner.cancel():
            return False
        # The callback runs in another thread; who cancels finds the job cancelled.
        self._over(self._inner)
        return True

    def running(self) -> bool:
        """Whether a worker runs it."""
        return not self.done() and self._inner.running()

    def __await__(self) -> Generator[object, None, object]:
        """Let `await job` wait without blocking the notebook."""
        import asyncio  # noqa: PLC0415 - only for those who await

        return asyncio.wrap_future(self).__await__()

    def _over(self, future: concurrent.futures.Future[CellResult]) -> None:
        if not self._ending.acquire(blocking=False):
            return
        try:
            with self._span:
                value = self._take_back(future.result(), self._origin)
        except BaseException as error:  # noqa: BLE001 - whatever it is, SystemExit too, the one who waits gets it
            if future.cancelled():
                super().cancel()
                self.set_running_or_notify_cancel()
            else:
                self._tell(error)
                self.set_exception(error)
        else:
            self.set_result(value)

    def _tell(self, error: BaseException) -> None:
        where = output.sink()
        why = f"{type(error).__name__}: {describe(error)}"
        line = f"snakepit: {self.name} failed: {why}; its result() shows where\n"
        where.stream(self._origin, "stderr", line)
        where.finish(self._origin)

    def __repr__(self) -> str:
        """Say how it is doing."""
        if self.cancelled():
            state = "cancelled"
        elif self.done():
            error = self.exception()
            state = "done" if error is None else f"failed: {type(error).__name__}"
        else:
            state = "running" if self.running() else "waiting"
        return f"<Job {self.name!r} {state}>"
