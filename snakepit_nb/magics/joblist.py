"""The jobs of this kernel: those on their way, and of the last ones that are over what there is to tell.

*Rule:* a job that is over is not kept by this list, and so neither is its value.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import events, telemetry
from snakepit_nb.magics import joblines
from snakepit_nb.magics.jobfacts import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.magics.job import Job
    from snakepit_nb.magics.jobfacts import JobFacts
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool
    from snakepit_nb.telemetry import EventName

KEPT: Final = 50
_HANDLER: Final = "snakepit_nb.magics.jobs"


class _List:
    """What is known, in the order in which the cells were run."""

    def __init__(self) -> None:
        # Reentrant: a finaliser may end a job while its thread is in here.
        self.lock = threading.RLock()
        self.numbers = itertools.count()
        self.live: dict[int, Job] = {}
        self.by_request: dict[int, Job] = {}
        self.past: deque[tuple[int, JobFacts]] = deque(maxlen=KEPT)


_list: Final = _List()


def live() -> list[Job]:
    """The jobs on their way, oldest first.

    Example:
        >>> live()
        []
    """
    with _list.lock:
        return [job for job in _list.live.values() if not job.done()]


def told() -> list[JobFacts]:
    """All jobs that are on their way, and the last ones that are over, oldest first.

    Example:
        >>> isinstance(told(), list)
        True
    """
    with _list.lock:
        all_facts = dict(_list.past) | {number: job.facts() for number, job in _list.live.items()}
    gone = [number for number, facts in sorted(all_facts.items()) if facts.over][:-KEPT]
    return [facts for number, facts in sorted(all_facts.items()) if number not in gone]


def add(job: Job) -> None:
    """Keep a job until it is over."""
    with _list.lock:
        if not _list.live:
            with contextlib.suppress(telemetry.AlreadyAttached):
                telemetry.attach(_HANDLER, events.REQUEST_DISPATCHED, _dispatched)
        number = next(_list.numbers)
        _list.live[number] = job
    job.add_done_callback(functools.partial(_over, number))


def follow(job: Job, pool: Pool, future: PoolFuture[Any]) -> None:
    """A job's request is sent: look which worker has it, now and later."""
    with _list.lock:
        _list.by_request[future.request_id] = job
    future.add_done_callback(lambda done: _list.by_request.pop(done.request_id, None))  # type: ignore[attr-defined]
    job.begins(future, pool.worker_of(future))


def changed(job: Job) -> None:
    """A job has another state."""
    joblines.changed(job)


def _dispatched(
    _: EventName, numbers: Mapping[str, float], facts: Mapping[str, object], config: object
) -> None:
    del numbers, config
    job = _list.by_request.get(facts.get("request_id", -1))  # type: ignore[call-overload]
    if job is not None:
        job.runs(str(facts["worker_id"]))


def _over(number: int, job: Job) -> None:
    with _list.lock:
        _list.live.pop(number, None)
        _list.past.append((number, job.facts()))
        if not _list.live:
            telemetry.detach(_HANDLER)


def _kernel_ends() -> None:
    """Say which jobs end with the kernel: below their cells, and where its process writes, for batch runs."""
    jobs = live()
    if not jobs:
        return
    for job in jobs:
        job.ends_with_the_kernel()
    joblines.close()
    names = listed(job.name for job in jobs)
    these = "a job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    line = (
        f"snakepit: the kernel ends before {these}: {names}; to wait for jobs, end the notebook with "
        "%snakepit jobs --wait\n"
    )
    with contextlib.suppress(OSError, ValueError):
        os.write(_own_stderr(), line.encode("utf-8", "backslashreplace"))


def _own_stderr() -> int:
    """Where the process itself writes: ipykernel has taken descriptor 2 and kept the old one."""
    kept = getattr(sys.stderr, "_original_stdstream_copy", None)
    return kept if isinstance(kept, int) else 2


def _forget() -> None:
    """In a child that the user forked: the jobs are the parent's."""
    _list.lock = threading.RLock()
    _list.live.clear()
    _list.by_request.clear()


# Before the pools' own hook, which was registered earlier and ends them.
atexit.register(_kernel_ends)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
