"""What happens to a pool, written by hand: events as the bus records them, and what is shown of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snakepit_nb import events
from snakepit_nb.dashboard.packing import tables
from snakepit_nb.dashboard.protocol import Kind, Outcome
from snakepit_nb.dashboard.tracks import Tracks

if TYPE_CHECKING:
    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.dashboard.tracks import Tick
    from snakepit_nb.telemetry import EventName, Record

SECOND = 1_000_000_000
POOL = "p"


class Seen(NamedTuple):
    """A row, for people."""

    kind: Kind
    t: float
    dur: float
    extra: float
    lane: int
    life: int
    name: str
    outcome: Outcome
    id: int


def seen(rows: Table, texts: list[str]) -> list[Seen]:
    """Rows with their names."""
    return [
        Seen(
            Kind(row["kind"]),
            round(float(row["t"]), 6),
            round(float(row["dur"]), 6),
            round(float(row["extra"]), 6),
            int(row["lane"]),
            int(row["life"]),
            texts[row["name"]],
            Outcome(row["outcome"]),
            int(row["id"]),
        )
        for row in rows
    ]


def seen_in(frame: tuple[dict[str, Any], list[bytes]]) -> list[Seen]:
    """The rows of a keyframe."""
    return seen(tables(*frame)[0], frame[0]["strings"])


class Story:
    """One pool, told event by event; times are seconds since the origin."""

    def __init__(self, pool: str = POOL) -> None:
        self.pool = pool
        self.tracks = Tracks(0, pool)

    def tell(self, event: EventName, at: float, measured: dict[str, Any] | None = None, **facts: Any) -> None:
        """Something happened; `pool=None` where the event does not say in which."""
        self.tracks.add(record(event, at, measured, **{"pool": self.pool, **facts}))

    def started(self, worker: str = "p-0", at: float = 0.0, capacity: int = 1) -> None:
        profile = "process" if capacity == 1 else "thread"
        facts = {"worker_id": worker, "profile": profile, "capacity": capacity}
        self.tell(events.WORKER_STARTED, at, {"startup_time_ms": 30}, **facts)

    def queued(self, request: int, at: float, size: int = 0, command: str = "fit") -> None:
        self.tell(events.REQUEST_QUEUED, at, {"queue_size": size}, request_id=request, command=command)

    def sent(self, request: int, at: float, worker: str = "p-0", waited: float = 0.0, **facts: Any) -> None:
        told = {"request_id": request, "worker_id": worker, "command": "fit", **facts}
        self.tell(events.REQUEST_DISPATCHED, at, {"queue_us": round(waited * 1e6)}, **told)

    def ended(
        self, request: int | None, at: float, worker: str | None = "p-0", outcome: str = "ok", **facts: Any
    ) -> None:
        measured = {"duration_us": facts.pop("ran", 0.1) * 1e6, "queue_us": facts.pop("waited", 0.0) * 1e6}
        told = {"request_id": request, "command": "fit", "success": outcome == "ok", "outcome": outcome}
        if worker is not None:
            told["worker_id"] = worker
        self.tell(events.REQUEST_EXECUTED, at, measured, **{**told, **facts})

    def withdrawn(self, request: int, at: float, outcome: str) -> None:
        told = {"request_id": request, "command": "fit", "outcome": outcome}
        self.tell(events.REQUEST_WITHDRAWN, at, {"queue_us": 5}, **told)

    def tick(self, at: float) -> Tick:
        """What is new."""
        return self.tracks.tick(round(at * SECOND))

    def rows(self, at: float = 1000.0) -> list[Seen]:
        """The rows that are new."""
        bars, marks, *_ = self.tick(at).tables
        rows = np.concatenate((bars, marks))
        return seen(rows[np.argsort(rows["id"], kind="stable")], self.tracks.names.texts)

    def told(self, at: float = 1000.0) -> dict[str, Any]:
        """Lanes, what runs, and the summary."""
        return self.tracks.told(round(at * SECOND))

    def summary(self, at: float = 1000.0) -> dict[str, Any]:
        """The summary."""
        summary: dict[str, Any] = self.told(at)["summary"]
        return summary


def record(event: EventName, at: float, measured: dict[str, Any] | None = None, **facts: Any) -> Record:
    """An event as the bus records it."""
    told = {key: value for key, value in facts.items() if not (key == "pool" and value is None)}
    return event, measured or {}, told, 0, round(at * SECOND), 1, 0
