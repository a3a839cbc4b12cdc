"""A cell in the background is sent: at once, or when the jobs are done whose values it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from snakepit_nb.magics import copies, inputs, joblist
from snakepit_nb.magics.job import Job
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from snakepit_nb.magics.many import Many
    from snakepit_nb.magics.prepared import Prepared
    from snakepit_nb.pool.pool import Pool

Following: TypeAlias = "Callable[[Job], None]"

_ALL: Final = "all workers"


@dataclass(frozen=True, slots=True)
class Background:
    """A cell that is to run in the background.

    Attributes:
        pool: Where it is to run.
        prepared: The cell.
        many: Its runs, where there are many.
        name: What the job is called.
        number: The number of the cell.
    """

    pool: Pool
    prepared: Prepared
    many: Many | None
    name: str
    number: int

    def launch(self, work: ExitStack) -> Job:
        """Send it, now or later; `work` is left when the job is over: the cell's span.

        Raises:
            CaptureError: a value that the cell needs cannot travel, or is a job that failed.
        """
        prepared, jobs = self.prepared, self.prepared.awaited()
        if jobs:
            left = prepared.hold()
            prepared.tell_notes(left) if self.many is None else prepared.tell_left(left)
            job = self._job(work)
            job.waits(tuple(each.job for each in jobs))
            inputs.when_done(jobs, lambda: self._send_later(job, jobs))
            return job
        follow = self._send(prepared.tell_notes)
        job = self._job(work)
        follow(job)
        return job

    def _job(self, work: ExitStack) -> Job:
        # The span goes on until the job is over.
        job = Job(
            name=self.name,
            pool=self.pool.name,
            cell=self.number,
            take_back=self.prepared.take_back_later if self.many is None else self.many.take_back_later,
            span=work.pop_all(),
            watch=joblist.changed,
        )
        joblist.add(job)
        return job

    def _send(self, tell: Callable[[list[str]], None]) -> Following:
        """Send it, or let its runs begin; gives what has a job follow that."""
        pool, many = self.pool, self.many
        if many is not None:
            return lambda job: job.begins(many.begin(), _ALL)
        future, left = self.prepared.submit(pool)
        tell(left)
        copies.tell_of_job(future, quiet=self.prepared.chosen.quiet)
        return lambda job: joblist.follow(job, pool, future)

    def _send_later(self, job: Job, jobs: list[inputs.Awaited]) -> None:
        """In a thread of its own: what is said belongs under the job's cell, what goes wrong to the job."""
        if job.done():
            return
        try:
            inputs.check(jobs)
            with output.asked_by(job.origin):
                follow = self._send(self.prepared.tell_left)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits gets it
            job.fails(error)
        else:
            follow(job)
