"""What the state of a pool asks its supervisor to do, as values."""

from __future__ import annotations

from typing import NamedTuple


class Start(NamedTuple):
    """Start a worker in this slot; `life` counts the workers that the slot has had."""

    worker_id: str
    slot: int
    life: int


class Send(NamedTuple):
    """Send a request to a worker's socket."""

    worker_id: str
    request_id: int


class Reclaim(NamedTuple):
    """Take back up to `most` unclaimed requests of a worker, oldest first; report with `reclaimed`."""

    worker_id: str
    most: int


class Kill(NamedTuple):
    """Kill a worker; its end is reported with `died`."""

    worker_id: str


class Stop(NamedTuple):
    """Ask a worker to end by itself; its end is reported with `died`."""

    worker_id: str


class Interrupt(NamedTuple):
    """Raise KeyboardInterrupt in what a worker runs; where that is several, in this request."""

    worker_id: str
    request_id: int | None = None


class Opened(NamedTuple):
    """A session is given its worker."""

    session: str
    worker_id: str


class Lost(NamedTuple):
    """A session's worker keeps it no longer: `reason` is crashed, recycled or stopped."""

    session: str
    worker_id: str
    reason: str


class Settle(NamedTuple):
    """A request is done with.

    `outcome` is cancelled, timeout, crashed, broken, session_lost or worker_gone.
    """

    request_id: int
    outcome: str
    worker_id: str | None


class Saturated(NamedTuple):
    """No worker is free and something waits, and that was not so before."""


class Broken(NamedTuple):
    """The pool is over; `reason` says why."""

    reason: str


class Finished(NamedTuple):
    """A closing pool has ended its last worker."""


Action = (
    Start | Send | Reclaim | Kill | Stop | Interrupt | Opened | Lost | Settle | Saturated | Broken | Finished
)
