"""All that happens to a pool but its requests: markers and spans, lives of workers, and totals.

*Rule:* pure. No marker is left out, however many requests there are.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from snakepit_nb import events
from snakepit_nb.dashboard.names import clean
from snakepit_nb.dashboard.packing import ROW, STAT
from snakepit_nb.dashboard.protocol import POOL_LANE, STAT_COLUMNS, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.dashboard.lanes import Lanes
    from snakepit_nb.dashboard.names import Names
    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.dashboard.requests import Requests
    from snakepit_nb.telemetry import EventName

Take: TypeAlias = "Callable[[Noted], object]"

_pack: Final = Struct("<dffIHHHBB").pack
_ALERT: Final = ("snakepit", "alert")
_OWN: Final = "snakepit"
_FIGURES: Final = STAT_COLUMNS[2:]
_SECONDS: Final = (("duration_ms", 1e-3), ("duration_us", 1e-6), ("duration", 1e-9))


class Noted(NamedTuple):
    """An event of the pool, and which one it is."""

    number: int
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
        takes: What takes each of them in, by name.
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
        self.takes: dict[EventName, Take] = {
            events.REQUEST_PROGRESS: self._progress,
            events.WORKER_STARTED: self._started,
            events.WORKER_RECYCLED: self._recycled,
            events.WORKER_CRASH: self._crash,
            events.WORKER_TAINTED: self._tainted,
            events.WORKER_RESTARTED: self._restarted,
            events.WORKER_HEALTH_CHECK_FAILED: self._health_check_failed,
            events.WORKER_STATS: self._stat,
            events.ZERO_COPY_EXPORT: self._export,
            events.ZERO_COPY_FALLBACK: self._fallback,
            events.ZERO_COPY_LEAKED: self._leaked,
            events.ZERO_COPY_IMPORT: self._nothing,
            events.ZERO_COPY_RELEASE: self._nothing,
            events.PYTHON_EXCEPTION_MAPPED: self._exception,
            events.PYTHON_EXCEPTION_UNMAPPED: self._exception,
            events.POOL_STARTED: self._pool_started,
            events.POOL_RESIZED: self._resized,
            events.POOL_STOPPED: self._stopped,
            events.POOL_SATURATED: self._saturated,
            events.RETRY_ATTEMPT: self._retry,
            events.RETRY_EXHAUSTED: self._retry_exhausted,
            events.CIRCUIT_BREAKER_OPENED: lambda event: self._breaker(event, "opened"),
            events.CIRCUIT_BREAKER_HALF_OPEN: lambda event: self._breaker(event, "half_open"),
            events.CIRCUIT_BREAKER_CLOSED: lambda event: self._breaker(event, "closed"),
            events.SESSION_OPENED: self._session_opened,
            events.SESSION_LOST: self._session_lost,
            events.CELL_START: self._nothing,
            events.CELL_STOP: self._cell,
            events.CELL_EXCEPTION: self._cell,
            events.CELL_COPIED: self._copied,
            events.TELEMETRY_DROPPED: self._dropped,
        }

    def add(self, name: EventName, event: Noted) -> None:
        """Take an event in, whoever emitted it."""
        take = self.takes.get(name)
        self.taken += 1
        if take is not None:
            take(event)
        elif name[:2] == _ALERT:
            self._row(Kind.ALERT, event, name=str(event.facts.get("rule") or ".".join(name[2:])))
        elif name[0] != _OWN:
            self._user(name, event)

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
        seconds = max(0.0, seconds)
        t = (event.facts["monotonic_ns"] - self._origin_ns) * 1e-9 - (0.0 if ahead else seconds)
        if not (isfinite(t) and isfinite(seconds) and isfinite(extra)):
            message = f"{kind.name} tells a number that is none"
            raise ValueError(message)
        self._rows.append(
            _pack(t, seconds, extra, event.number, place, self._names(name), life, kind, outcome)
        )

    def _nothing(self, event: Noted) -> None:
        """An event that shows elsewhere, or nowhere."""

    # Workers

    def _started(self, event: Noted) -> None:
        worker = self._lanes.born(event.facts["worker_id"])
        worker.capacity = max(1, int(event.facts.get("capacity", 1)))
        self.profile = "thread" if event.facts.get("profile", self.profile) == "thread" else "process"
        self._row(Kind.STARTED, event, extra=event.measured.get("startup_time_ms", 0) * 1e-3)

    def _recycled(self, event: Noted) -> None:
        self._lanes.died(self._lanes.worker(event.facts["worker_id"]))
        self._row(
            Kind.RECYCLED, event, name=event.facts["reason"], extra=event.facts.get("uptime_seconds", 0.0)
        )
        self.recycled += event.facts["reason"] != "worker_died"

    def _crash(self, event: Noted) -> None:
        self._lanes.died(self._lanes.worker(event.facts["worker_id"]))
        self._row(Kind.CRASH, event, name=event.facts["classification"])
        self.crashes += 1

    def _tainted(self, event: Noted) -> None:
        seconds = event.measured["duration_ms"] * 1e-3
        worker = self._lanes.worker(event.facts["worker_id"])
        self._row(
            Kind.TAINTED, event, name=event.facts.get("classification") or "", seconds=seconds, ahead=True
        )
        self._lanes.died(worker)
        worker.lane.tainted_ns = event.facts["monotonic_ns"] + int(seconds * 1e9)

    def _restarted(self, event: Noted) -> None:
        self._row(Kind.RESTARTED, event, name=event.facts.get("classification") or "")
        self._lanes.worker(event.facts["worker_id"]).lane.tainted_ns = 0

    def _health_check_failed(self, event: Noted) -> None:
        self._row(Kind.HEALTH_CHECK_FAILED, event, name=event.facts["reason"])

    def _stat(self, event: Noted) -> None:
        t = (event.facts["monotonic_ns"] - self._origin_ns) * 1e-9
        figures = (event.measured.get(name, np.nan) for name in _FIGURES)
        self._stats.append((t, self._lanes.worker(event.facts["worker_id"]).place, *map(float, figures)))

    # Memory

    def _export(self, event: Noted) -> None:
        self._row(Kind.EXPORT, event, name=event.facts.get("direction", ""), extra=event.measured["bytes"])
        self.bytes_shared += int(event.measured["bytes"])

    def _fallback(self, event: Noted) -> None:
        self._row(Kind.FALLBACK, event, name=event.facts["reason"], extra=event.measured["bytes"])
        self.bytes_copied += int(event.measured["bytes"])

    def _leaked(self, event: Noted) -> None:
        self._row(Kind.LEAKED, event, extra=event.measured["bytes"])

    def _copied(self, event: Noted) -> None:
        self._row(Kind.COPIED, event, name=event.facts["name"], extra=event.measured["bytes"])

    # Requests and exceptions

    def _progress(self, event: Noted) -> None:
        done, total = event.measured["done"], event.measured.get("total")
        self._row(Kind.PROGRESS, event, name=event.facts["command"], extra=done / total if total else done)

    def _exception(self, event: Noted) -> None:
        became, raised = event.facts["error"], event.facts["python_type"]
        self._row(Kind.EXCEPTION, event, name=raised if became == "RemoteError" else became)
        self.exceptions += 1

    def _retry(self, event: Noted) -> None:
        self._row(Kind.RETRY, event, name=event.facts["reason"], extra=event.measured["attempt"])

    def _retry_exhausted(self, event: Noted) -> None:
        self._row(
            Kind.RETRY_EXHAUSTED, event, name=event.facts["reason"], extra=event.measured.get("attempts", 0)
        )

    # The pool

    def _pool_started(self, event: Noted) -> None:
        self._row(Kind.POOL_STARTED, event, extra=event.facts["workers"], here=False)
        self._lanes.target, self._lanes.ended = int(event.facts["workers"]), False
        self.profile = "thread" if event.facts.get("profile") == "thread" else "process"
        self.state, self.reason = "running", ""

    def _resized(self, event: Noted) -> None:
        self._row(Kind.POOL_RESIZED, event, extra=event.facts["workers"], here=False)
        self._lanes.target = int(event.facts["workers"])

    def _stopped(self, event: Noted) -> None:
        self._row(Kind.POOL_STOPPED, event, name=event.facts["reason"], here=False)
        self.state = "broken" if event.facts["reason"] == "broken" else "stopped"
        self.reason = clean(event.facts["reason"])
        self._lanes.end()
        self._requests.end()
        self.relieved(event.facts["monotonic_ns"])

    def _saturated(self, event: Noted) -> None:
        if event.facts["outcome"] == "rejected":
            self._row(Kind.REJECTED, event, extra=event.measured["queue_size"], here=False)
        elif self.saturated is None:
            self.saturated = event.facts["monotonic_ns"], event.number

    def relieved(self, now_ns: int) -> None:
        """Nothing waits any more."""
        if self.saturated is not None:
            since, number = self.saturated
            self.saturated = None
            seconds = (now_ns - since) * 1e-9
            self._row(Kind.SATURATED, _here(number, now_ns), seconds=seconds, here=False)

    def _breaker(self, event: Noted, name: str) -> None:
        self._row(Kind.BREAKER, event, name=name, here=False)

    def _session_opened(self, event: Noted) -> None:
        self._row(Kind.SESSION_OPENED, event, name=event.facts["session"])

    def _session_lost(self, event: Noted) -> None:
        self._row(Kind.SESSION_LOST, event, name=event.facts["session"])

    def _dropped(self, event: Noted) -> None:
        self._row(Kind.DROPPED, event, name=event.facts.get("queue", ""), extra=event.measured["dropped"])

    def forgot(self, count: int, number: int, now_ns: int) -> None:
        """So many events were left out here, for want of time."""
        self._row(Kind.DROPPED, _here(number, now_ns), name="timeline", extra=count, here=False)

    # Cells, and what users emit

    def _cell(self, event: Noted) -> None:
        failed = event.facts.get("kind")
        outcome = (
            Outcome.OK if failed is None else Outcome.CANCELLED if failed == "interrupt" else Outcome.ERROR
        )
        name = event.facts.get("name") or f"In [{event.facts.get('cell')}]"
        seconds = event.measured["duration"] * 1e-9
        self._row(Kind.CELL, event, name=name, seconds=seconds, outcome=outcome, here=False)

    def _user(self, name: EventName, event: Noted) -> None:
        spans = "telemetry_span_context" in event.facts
        if spans and name[-1] == "start":
            return  # its end tells all of it
        outcome = Outcome.NONE
        if spans and name[-1] in {"stop", "exception"}:
            outcome = Outcome.OK if name[-1] == "stop" else Outcome.ERROR
            name = name[:-1]
        seconds = next((event.measured[key] * unit for key, unit in _SECONDS if key in event.measured), 0.0)
        self._row(Kind.USER, event, name=".".join(name), seconds=seconds, outcome=outcome)

    # What is new

    def take(self) -> tuple[Table, Table]:
        """The rows and the stats that are new."""
        rows = np.frombuffer(b"".join(self._rows), ROW)
        stats = np.array(self._stats, STAT)
        self._rows.clear()
        self._stats.clear()
        return rows, stats


def _here(number: int, now_ns: int) -> Noted:
    return Noted(number, {}, {"monotonic_ns": now_ns})
