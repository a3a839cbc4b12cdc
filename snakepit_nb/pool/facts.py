"""What a pool is doing right now, for people: its workers, what they run and for how long, and what waits.

*Rule:* asking waits for no worker: one that is stopped or busy is told of like any other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.pool.devices import device
from snakepit_nb.pool.member import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.pool.member import Worker
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.request import Request

_SECOND: Final = 1_000_000_000


class RequestFacts(NamedTuple):
    """One request in a worker's hands.

    Attributes:
        request_id: Its number.
        command: What it is called.
        queued_seconds: How long it waited, until its worker had it or until now.
        running_seconds: How long that has run it; None where it waits behind another there.
        seconds_left: Until its time is over; None where it has as much as it wants.
    """

    request_id: int
    command: str
    queued_seconds: float
    running_seconds: float | None
    seconds_left: float | None


class WorkerFacts(NamedTuple):
    """One worker, or the place of one that is to come.

    Attributes:
        worker_id: Its name.
        pid: Its process; 0 for a place that is empty after a crash, so look at it before you send a signal.
        state: starting, standby, idle, busy, draining, stopping, killed or tainted.
        request_count: How many requests it has answered.
        uptime_seconds: How long it has lived; where it is tainted, how long its place stays empty.
        requests: What it was sent and has not answered.
        memory: Bytes that it holds for itself; None where that is not known.
        device: What it computes on.
        sessions: The sessions that it keeps.
        retiring: Why another is to take its place, as in `snakepit.worker.recycled`; empty where none is.
        missed: How many health checks in a row it has not answered.
    """

    worker_id: str
    pid: int
    state: str
    request_count: int
    uptime_seconds: float
    requests: tuple[RequestFacts, ...] = ()
    memory: int | None = None
    device: str = "cpu"
    sessions: tuple[str, ...] = ()
    retiring: str = ""
    missed: int = 0


class QueueFacts(NamedTuple):
    """What waits in a pool.

    Attributes:
        queued: How many requests no worker has been sent.
        longest_seconds: How long the first of them has waited.
        circuit: What the circuit breaker says: closed, open, half open while one request is tried, or off.
        limited: How many requests have a time limit, those that run too.
        soonest_seconds: Until the first of those limits is over; None where there is none.
    """

    queued: int
    longest_seconds: float
    circuit: str
    limited: int = 0
    soonest_seconds: float | None = None


class Totals(NamedTuple):
    """What a pool has been through since it was made.

    Attributes:
        answered: How many requests its workers answered, whatever they said.
        started: How many workers have served.
        crashed: How many died that nobody asked to.
        recycled: How many were replaced by policy or by hand.
    """

    answered: int = 0
    started: int = 0
    crashed: int = 0
    recycled: int = 0


def workers_now(
    office: Office,
    memory_of: Callable[[WorkerProcess], int],
    tainted: Mapping[int, tuple[WorkerProcess, int]],
) -> list[WorkerFacts]:
    """The workers that there are, in the order of their slots, and the places that a crash left empty.

    Args:
        office: The pool's desk.
        memory_of: Tells how many bytes a worker holds for itself.
        tainted: By slot, who crashed there and until when (monotonic, ns) the place stays empty.
    """
    found: list[tuple[int, WorkerFacts]] = []
    now = time.monotonic_ns()
    with office.lock:
        there = [(seen, office.workers.get(seen.worker_id)) for seen in office.state.workers.values()]
        for seen, process in there:
            if process is not None:
                found.append((seen.slot, _facts(office, seen, process, now)))
        busy = {slot for slot, _ in found}
        for slot, (dead, until) in tainted.items():
            if slot not in busy and until > now:
                left = (until - now) / _SECOND
                found.append((slot, WorkerFacts(dead.worker_id, 0, "tainted", dead.request_count, left)))
        processes = {process.worker_id: process for _, process in there if process is not None}
    return [_weighed(facts, processes, memory_of) for _, facts in sorted(found, key=lambda each: each[0])]


def _weighed(
    facts: WorkerFacts, processes: Mapping[str, WorkerProcess], memory_of: Callable[[WorkerProcess], int]
) -> WorkerFacts:
    """The same with its memory; not under the pool's lock, for the system may take its time."""
    process = processes.get(facts.worker_id)
    return facts if process is None or not facts.pid else facts._replace(memory=memory_of(process) or None)


def _facts(office: Office, seen: Worker, process: WorkerProcess, now: int) -> WorkerFacts:
    state = ("busy" if seen.hands else "idle") if seen.phase is Phase.SERVING else seen.phase.value
    requests = [office.requests.get(number) for number in seen.hands]
    return WorkerFacts(
        seen.worker_id,
        process.pid,
        state,
        process.request_count,
        now / _SECOND - process.began,
        device=device(office.gpu),
        requests=tuple(
            _of_request(each, now, runs=bool(office.threads) or at == 0)
            for at, each in enumerate(requests)
            if each is not None
        ),
        sessions=tuple(sorted(seen.sessions)),
        retiring=seen.retiring,
        missed=process.misses,
    )


def _of_request(request: Request, now: int, *, runs: bool) -> RequestFacts:
    sent = (request.sent_ns or now) if runs else now
    left = None if request.deadline_ns is None else max(0.0, (request.deadline_ns - now) / _SECOND)
    return RequestFacts(
        request.number,
        request.command,
        (sent - request.submitted_ns) / _SECOND,
        (now - sent) / _SECOND if runs else None,
        left,
    )


def queue_now(office: Office) -> QueueFacts:
    """What waits in a pool."""
    now = time.monotonic_ns()
    with office.lock:
        waiting = [each.submitted_ns for each in office.requests.values() if not each.worker_id]
        ends = [each.deadline_ns for each in office.requests.values() if each.deadline_ns is not None]
        return QueueFacts(
            office.state.census.queued(),
            max(0.0, (now - min(waiting, default=now)) / _SECOND),
            office.breaker.state(),
            len(ends),
            max(0.0, (min(ends) - now) / _SECOND) if ends else None,
        )
