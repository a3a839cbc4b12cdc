"""A job of the notebook as a worker's cell has it: a future that is done, for code to mean the same there."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class FinishedJob(concurrent.futures.Future[object]):
    """What a job's name stands for in a worker: `result()` is its value, at once.

    Args:
        name: What the job is called.
        value: Its value.

    Example:
        >>> job = FinishedJob("job", 20)
        >>> job, job.result(), job.done()
        (<Job 'job' done>, 20, True)
    """

    def __init__(self, name: str, value: object) -> None:
        super().__init__()
        self.name = name
        self.set_result(value)

    def __await__(self) -> Generator[object, None, object]:
        """Let `await job` work as in the notebook."""
        import asyncio  # noqa: PLC0415 - only for those who await

        return asyncio.wrap_future(self).__await__()

    def __reduce__(self) -> tuple[Callable[[str, object], FinishedJob], tuple[str, object]]:
        """Travel by name and value: the lock inside does not."""
        return FinishedJob, (self.name, self.result())

    def __repr__(self) -> str:
        """Say the same as the job."""
        return f"<Job {self.name!r} done>"
