"""A cell in the background: the future of its last value."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.worker.namespace import CellResult


class Job(concurrent.futures.Future):  # type: ignore[type-arg] - the value is whatever the cell's last expression is
    """What a `%%snakepit -b` cell gives back at once.

    When the cell is done, what it assigned is in the notebook and `result()` is its last value. `await job`
    works, `cancel()` ends it.
    """

    def __init__(
        self, future: PoolFuture[CellResult], name: str, take_back: Callable[[CellResult], object]
    ) -> None:
        super().__init__()
        self.name = name
        self._inner = future
        self._take_back = take_back
        self._origin = output.sink().origin()
        future.add_done_callback(self._over)

    def cancel(self) -> bool:
        """End the cell, waiting or running."""
        return self._inner.cancel()

    def running(self) -> bool:
        """Whether a worker runs it."""
        return self._inner.running()

    def __await__(self) -> Generator[object, None, object]:
        """Let `await job` wait without blocking the notebook."""
        import asyncio  # noqa: PLC0415 - only for those who await

        return asyncio.wrap_future(self).__await__()

    def _over(self, future: PoolFuture[CellResult]) -> None:
        if future.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
            return
        error = future.exception()
        if error is None:
            try:
                self.set_result(self._take_back(future.result()))
            except Exception as failed:  # noqa: BLE001 - whatever it is, the one who waits gets it
                error = failed
        if error is not None:
            where = output.sink()
            line = f"snakepit: {self.name} failed: {type(error).__name__}: {error}; its result() shows where\n"
            where.stream(self._origin, "stderr", line)
            where.finish(self._origin)
            self.set_exception(error)

    def __repr__(self) -> str:
        if self.cancelled():
            state = "cancelled"
        elif self.done():
            error = self.exception()
            state = "done" if error is None else f"failed: {type(error).__name__}"
        else:
            state = "running" if self.running() else "waiting"
        return f"<Job {self.name!r} {state}>"
