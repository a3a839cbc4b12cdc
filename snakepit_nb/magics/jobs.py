"""`%snakepit jobs` and `%snakepit cancel`: what runs in the background, the waiting for it, and its end."""

from __future__ import annotations

import difflib
import re
import time
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from snakepit_nb.magics import joblist
from snakepit_nb.magics.display import interrupted, note
from snakepit_nb.magics.jobfacts import clipped, listed
from snakepit_nb.magics.status import in_time
from snakepit_nb.magics.tables import Column, Marked, as_html, as_text, block, paragraph
from snakepit_nb.pool.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snakepit_nb.magics.job import Job
    from snakepit_nb.magics.jobfacts import JobFacts
    from snakepit_nb.magics.tables import Cell

_NONE: Final = "no job yet; %%snakepit -b -n NAME runs a cell in the background"
_COLUMNS: Final = (
    Column("job"),
    Column("cell"),
    Column("state"),
    Column("pool"),
    Column("worker"),
    Column("started"),
    Column("took", number=True),
    Column("about", long=True),
)
_NOTHING: Final = "-"
_CELL: Final = re.compile(r"(?:In\s*)?\[?(\d+)\]?")
_LOOKS_AGAIN: Final = 0.5


class JobTable:
    """The jobs: text in a terminal, HTML in a notebook.

    Args:
        jobs: What there is to tell of each, the newest last.

    Example:
        >>> JobTable([])
        no job yet; %%snakepit -b -n NAME runs a cell in the background
    """

    def __init__(self, jobs: Sequence[JobFacts]) -> None:
        self._rows = [_row(each) for each in jobs]

    def __repr__(self) -> str:
        return as_text(_COLUMNS, self._rows) if self._rows else _NONE

    def _repr_html_(self) -> str:
        return block(as_html(_COLUMNS, self._rows)) if self._rows else paragraph(_NONE)


def _row(facts: JobFacts) -> tuple[Cell, ...]:
    about = f"waits for {listed(facts.waits_for)}" if facts.waits_for else facts.error
    return (
        clipped(facts.name),
        f"In [{facts.cell}]",
        Marked(*facts.look(), "ended with the kernel" if facts.state == "ended" else facts.state),
        facts.pool,
        facts.worker or _NOTHING,
        time.strftime("%H:%M:%S", time.localtime(facts.created)),
        _NOTHING if facts.seconds is None else in_time(facts.seconds),
        about,
    )


def jobs(wait: float | None = None) -> JobTable:
    """The jobs there are; with `wait`, when all of them are over.

    Args:
        wait: At most so many seconds; `math.inf` for as long as it takes.

    Raises:
        TimeoutError: some are not over by then; they go on.
        KeyboardInterrupt: the stop button; they go on.

    Example:
        >>> isinstance(jobs(wait=1.0), JobTable)
        True
    """
    if wait is not None:
        _wait(wait)
    return JobTable(joblist.told())


def _wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    bell = Bell()
    heard: set[int] = set()
    while waiting := joblist.live():
        new = [job for job in waiting if id(job) not in heard]
        if new:
            note(f"waiting for {_counted(new)}; the stop button ends the waiting, not the jobs")
        for job in new:
            heard.add(id(job))
            job.add_done_callback(lambda _: bell.ring())
        left = until - time.monotonic()
        if left <= 0:
            text = f"after {seconds:g} s {_go_on(waiting)}; wait longer, or %snakepit cancel --all"
            raise TimeoutError(text)
        try:
            bell.wait(min(left, _LOOKS_AGAIN))
        except KeyboardInterrupt:
            text = f"only the waiting was stopped; {_go_on(waiting)}; %snakepit cancel ends jobs"
            raise interrupted(text) from None


def _go_on(some: Sequence[Job]) -> str:
    names = listed(job.name for job in some)
    return f"job {names} goes on" if len(some) == 1 else f"{len(some)} jobs go on ({names})"


def _counted(some: Sequence[Job]) -> str:
    names = listed(job.name for job in some)
    return f"job {names}" if len(some) == 1 else f"{len(some)} jobs: {names}"


def cancel(name: str, *, every: bool = False) -> None:
    """End the jobs of a name, or of a cell, and say what became of each.

    Args:
        name: What they are called, or the number of their cell, as `3` or `In [3]`.
        every: All jobs, whatever they are called.

    Raises:
        UsageError: there is none.

    Example:
        >>> cancel("", every=True)
        no job is on its way
    """
    chosen = joblist.live() if every else _called(name)
    for line in [_ended(job) for job in reversed(chosen)] or [_missing(name, every=every)]:
        print(line)  # noqa: T201 - the answer to the line


def _called(name: str) -> list[Job]:
    living = joblist.live()
    found = [job for job in living if job.name == name]
    cell = _CELL.fullmatch(name)
    if not found and cell:
        found = [job for job in living if job.facts().cell == int(cell[1])]
    return found


def _ended(job: Job) -> str:
    before = job.facts()
    said = f"{clipped(before.name)} (In [{before.cell}])"
    if not job.cancel():
        return f"{said} was over: {job.facts().state}"
    how = {
        "running": f"it ran on {before.worker}",
        "waiting": "it was not sent yet",
        "queued": "it was queued",
    }
    return f"{said} is cancelled: {how.get(before.state, before.state)}"


def _missing(name: str, *, every: bool) -> str:
    """What to say where there is no such job on its way."""
    if every:
        return "no job is on its way"
    cell = _CELL.fullmatch(name)
    past = [each for each in joblist.told() if each.name == name or (cell and each.cell == int(cell[1]))]
    if past:
        return f"{clipped(past[-1].name)} (In [{past[-1].cell}]) is over already: {past[-1].state}"
    known = [job.name for job in joblist.live()]
    close = difflib.get_close_matches(name, known, n=1)
    meant = (
        f"did you mean {close[0]}?"
        if close
        else (f"on their way are {listed(known)}" if known else "no job is on its way")
    )
    message = f"%snakepit cancel {name}: there is no such job; {meant}"
    raise UsageError(message)
