"""All that happens to a pool but its requests: markers and spans, lives of workers, and totals.

*Rule:* pure. No marker is left out, however many requests there are.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from snakepit_nb import events
from snakepit_nb.dashboard.names import clean
from snakepit_nb.dashboard.packing import ROW, STAT
from snakepit_nb.dashboard.protocol import POOL_LANE, STAT_COLUMNS, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.dashboard.lanes import Lanes, Worker
    from snakepit_nb.dashboard.names import Names
    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.dashboard.requests import Requests
    from snakepit_nb.telemetry import EventName

Take: TypeAlias = "Callable[[Noted], object]"


class Look(NamedTuple):
    """What the row of an event tells.

    Attributes:
        kind: What it is.
        name: The key of its name.
        extra: The key of its number, among the measurements or else in the metadata.
        unit: What that is multiplied by.
        here: Whether it belongs to the worker that it names or whose request it names.
    """

    kind: Kind
    name: str = ""
    extra: str = ""
    unit: float = 1.0
    here: bool = True


LOOKS: Final[Mapping[EventName, Look]] = MappingProxyType(
    {
        events.WORKER_STARTED: Look(Kind.STARTED, "", "startup_time_ms", 1e-3),
        events.WORKER_RECYCLED: Look(Kind.RECYCLED, "reason", "uptime_seconds"),
        events.WORKER_CRASH: Look(Kind.CRASH, "classification"),
        events.WORKER_RESTARTED: Look(Kind.RESTARTED, "classification"),
        events.WORKER_HEALTH_CHECK_FAILED: Look(Kind.HEALTH_CHECK_FAILED, "reason"),
        events.ZERO_COPY_EXPORT: Look(Kind.EXPORT, "direction", "bytes"),
        events.ZERO_COPY_FALLBACK: Look(Kind.FALLBACK, "reason", "bytes"),
        events.ZERO_COPY_LEAKED: Look(Kind.LEAKED, "", "bytes"),
        events.CELL_COPIED: Look(Kind.COPIED, "name", "bytes"),
        events.POOL_STARTED: Look(Kind.POOL_STARTED, "", "workers", here=False),
        events.POOL_RESIZED: Look(Kind.POOL_RESIZED, "", "workers", here=False),
        events.POOL_STOPPED: Look(Kind.POOL_STOPPED, "reason", here=False),
        events.RETRY_ATTEMPT: Look(Kind.RETRY, "reason", "attempt"),
        events.RETRY_EXHAUSTED: Look(Kind.RETRY_EXHAUSTED, "reason", "attempts"),
        events.SESSION_OPENED: Look(Kind.SESSION_OPENED, "session"),
        events.SESSION_LOST: Look(Kind.SESSION_LOST, "session"),
        events.TELEMETRY_DROPPED: Look(Kind.DROPPED, "queue", "dropped"),
        events.ALERT_FIRED: Look(Kind.ALERT, "alert", "value", here=False),
    }
)
"""The rows that are made alike; those of other events are made each by its own method."""

_pack: Final = Struct("<dffIHHHBB").pack
_OWN: Final = "snakepit"
_GENERIC: Final = "RemoteError"
_ENDS: Final = {"stop": Outcome.OK, "exception": Outcome.ERROR}
_FIGURES: Final = STAT_COLUMNS[2:]
_SECONDS: Final = (("duration_ms", 1e-3), ("duration_us", 1e-6), ("duration", 1e-9))


class Noted(NamedTuple):
    """An event of the pool, and which one it is."""

    number: int
    name: EventName
    measured: Mapping[str, Any]
    facts: Mapping[str, Any]


class Marks:
    """What happened to one pool.

    Args:
        origin_ns: The monotonic time that rows count from.
        lanes: The pool's lanes.
        names: The dictionary of strings.
        requests: Its requests.

    Attributes:
        state: running, stopped or broken, and `reason` why.
        taken: How many events were taken in.
    """

    def __init__(self, origin_ns: int, lanes: Lanes, names: Names, requests: Requests) -> None:
        self._origin_ns = origin_ns
        self._lanes = lanes
        self._names = names
        self._requests = requests
        self._rows: list[bytes] = []
        self._stats: list[tuple[float, ...]] = []
        self.profile = "process"
        self.state = "running"
        self.reason = ""
        self.bytes_shared = self.bytes_copied = 0
        self.recycled = self.crashes = self.exceptions = self.taken = 0
        self.saturated: tuple[int, int] | None = None  # since when, and the number of the event
        self._makes: dict[EventName, Take] = {
            events.REQUEST_PROGRESS: self._progress,
            events.WORKER_TAINTED: self._taint,
            events.WORKER_STATS: self._stat,
            events.PYTHON_EXCEPTION_MAPPED: self._exception,
            events.PYTHON_EXCEPTION_UNMAPPED: self._exception,
            events.POOL_SATURATED: self._saturation,
            events.CIRCUIT_BREAKER_OPENED: self._breaker,
            events.CIRCUIT_BREAKER_HALF_OPEN: self._breaker,
            events.CIRCUIT_BREAKER_CLOSED: self._breaker,
            events.CELL_STOP: self._cell,
            events.CELL_EXCEPTION: self._cell,
        }
        self._changes: dict[EventName, Take] = {
            events.WORKER_STARTED: self._started,
            events.WORKER_RECYCLED: self._recycled,
            events.WORKER_CRASH: self._crashed,
            events.WORKER_TAINTED: self._tainted,
            events.WORKER_RESTARTED: self._restarted,
            events.ZERO_COPY_EXPORT: self._exported,
            events.ZERO_COPY_FALLBACK: self._copied,
            events.PYTHON_EXCEPTION_MAPPED: self._raised,
            events.PYTHON_EXCEPTION_UNMAPPED: self._raised,
            events.POOL_STARTED: self._pool_started,
            events.POOL_RESIZED: self._resized,
            events.POOL_STOPPED: self._stopped,
            events.POOL_SATURATED: self._saturated,
        }

    def add(self, event: Noted) -> None:
        """Take an event in; one that was fired by hand is shown and changes nothing else."""
        self.taken += 1
        name = event.name
        look = LOOKS.get(name)
        if look is not None:
            extra = event.measured.get(look.extra, event.facts.get(look.extra, 0)) * look.unit
            self._row(look.kind, event, name=event.facts.get(look.name) or "", extra=extra, here=look.here)
        elif name in self._makes:
            self._makes[name](event)
        elif name[0] != _OWN:
            self._user(event)
        if name in self._changes and event.facts.get("synthetic") is not True:
            self._changes[name](event)

    def _row(  # noqa: PLR0913 - the columns of a row
        self,
        kind: Kind,
        event: Noted,
        *,
        name: str = "",
        extra: float = 0.0,
        seconds: float = 0.0,
        ahead: bool = False,
        outcome: Outcome = Outcome.NONE,
        here: bool = True,
    ) -> None:
        """Add a row that ends now, or that begins now and lies ahead."""
        place = life = 0
        if here and event.facts.get("worker_id"):
            worker = self._lanes.worker(event.facts["worker_id"])
            place, life = worker.place, worker.life
        elif here:
            runs = self._requests.worker_of(event.facts.get("request_id"))
            place, life = (runs.place, runs.life) if runs is not None else (POOL_LANE, 0)
        t = (event.facts["monotonic_ns"] - self._origin_ns) * 1e-9 - (0.0 if ahead else max(0.0, seconds))
        if not (isfinite(t) and isfinite(seconds) and isfinite(extra)):
            message = f"{kind.name} tells a number that is none"
            raise ValueError(message)
        self._rows.append(
            _pack(t, max(0.0, seconds), extra, event.number, place, self._names(name), life, kind, outcome)
        )

    # Rows of their own making

    def _taint(self, event: Noted) -> None:
        seconds = event.measured["duration_ms"] * 1e-3
        name = event.facts.get("classification") or ""
        self._row(Kind.TAINTED, event, name=name, seconds=seconds, ahead=True)

    def _stat(self, event: Noted) -> None:
        t = (event.facts["monotonic_ns"] - self._origin_ns) * 1e-9
        figures = (event.measured.get(name, np.nan) for name in _FIGURES)
        self._stats.append((t, self._lanes.worker(event.facts["worker_id"]).place, *map(float, figures)))

    def _progress(self, event: Noted) -> None:
        done, total = event.measured["done"], event.measured.get("total")
        name = event.facts.get("command") or ""
        self._row(Kind.PROGRESS, event, name=name, extra=done / total if total else done)

    def _exception(self, event: Noted) -> None:
        became = event.facts.get("error") or _GENERIC
        name = event.facts.get("python_type") if became == _GENERIC else became
        self._row(Kind.EXCEPTION, event, name=name or "")

    def _saturation(self, event: Noted) -> None:
        if event.facts.get("outcome") == "rejected":
            self._row(Kind.REJECTED, event, extra=event.measured.get("queue_size", 0), here=False)

    def _breaker(self, event: Noted) -> None:
        self._row(Kind.BREAKER, event, name=event.name[-1], here=False)

    def _cell(self, event: Noted) -> None:
        outcome = Outcome.OK
        if event.name == events.CELL_EXCEPTION:
            stopped = event.facts.get("kind") == "interrupt"
            outcome = Outcome.CANCELLED if stopped else Outcome.ERROR
        name = event.facts.get("name") or f"In [{event.facts.get('cell')}]"
        seconds = event.measured["duration"] * 1e-9
        self._row(Kind.CELL, event, name=name, seconds=seconds, outcome=outcome, here=False)

    def _user(self, event: Noted) -> None:
        name, measured = event.name, event.measured
        outcome = Outcome.NONE
        if "telemetry_span_context" in event.facts:
            if name[-1] == "start":
                return  # its end tells all of it
            if name[-1] in _ENDS:
                outcome = _ENDS[name[-1]]
                name = name[:-1]
        seconds = next((measured[key] * unit for key, unit in _SECONDS if key in measured), 0.0)
        self._row(Kind.USER, event, name=".".join(name), seconds=seconds, outcome=outcome)

    # What changes

    def _worker(self, event: Noted) -> Worker | None:
        worker_id = event.facts.get("worker_id")
        return self._lanes.worker(worker_id) if worker_id else None

    def _started(self, event: Noted) -> None:
        if event.facts.get("worker_id"):
            worker = self._lanes.born(event.facts["worker_id"])
            worker.capacity = max(1, int(event.facts.get("capacity", 1)))
        self.profile = "thread" if event.facts.get("profile", self.profile) == "thread" else "process"

    def _died(self, event: Noted) -> None:
        worker = self._worker(event)
        if worker is not None:
            self._lanes.died(worker)

    def _recycled(self, event: Noted) -> None:
        self._died(event)
        self.recycled += event.facts.get("reason") != "worker_died"

    def _crashed(self, event: Noted) -> None:
        self._died(event)
        self.crashes += 1

    def _tainted(self, event: Noted) -> None:
        worker = self._worker(event)
        if worker is not None:
            self._lanes.died(worker)
            worker.lane.tainted_ns = event.facts["monotonic_ns"] + int(event.measured["duration_ms"] * 1e6)

    def _restarted(self, event: Noted) -> None:
        worker = self._worker(event)
        if worker is not None:
            worker.lane.tainted_ns = 0

    def _exported(self, event: Noted) -> None:
        self.bytes_shared += int(event.measured.get("bytes", 0))

    def _copied(self, event: Noted) -> None:
        self.bytes_copied += int(event.measured.get("bytes", 0))

    def _raised(self, _: Noted) -> None:
        self.exceptions += 1

    def _pool_started(self, event: Noted) -> None:
        self._lanes.target, self._lanes.ended = int(event.facts.get("workers", 0)), False
        self.profile = "thread" if event.facts.get("profile") == "thread" else "process"
        self.state, self.reason = "running", ""

    def _resized(self, event: Noted) -> None:
        self._lanes.target = int(event.facts.get("workers", 0))

    def _stopped(self, event: Noted) -> None:
        self.reason = clean(event.facts.get("reason") or "")
        self.state = "broken" if self.reason == "broken" else "stopped"
        self._lanes.end()
        self._requests.end()
        self.relieved(event.facts["monotonic_ns"])

    def _saturated(self, event: Noted) -> None:
        if self.saturated is None and event.facts.get("outcome") != "rejected":
            self.saturated = event.facts["monotonic_ns"], event.number

    def relieved(self, now_ns: int) -> None:
        """Nothing waits any more."""
        if self.saturated is not None:
            since, number = self.saturated
            self.saturated = None
            seconds = (now_ns - since) * 1e-9
            self._row(Kind.SATURATED, _here(number, now_ns), seconds=seconds, here=False)

    def forgot(self, count: int, number: int, now_ns: int) -> None:
        """So many events were left out here, for want of time."""
        self._row(Kind.DROPPED, _here(number, now_ns), name="timeline", extra=count, here=False)

    # What is new

    def take(self) -> tuple[Table, Table]:
        """The rows and the stats that are new."""
        rows = np.frombuffer(b"".join(self._rows), ROW)
        stats = np.array(self._stats, STAT)
        self._rows.clear()
        self._stats.clear()
        return rows, stats


def _here(number: int, now_ns: int) -> Noted:
    return Noted(number, (), {}, {"monotonic_ns": now_ns})
