"""All that happens to a pool but its requests: markers and spans, lives of workers, and totals.

*Rule:* pure. No marker is left out, however many requests there are.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from snakepit_nb import events
from snakepit_nb.dashboard.packing import ROW, STAT
from snakepit_nb.dashboard.protocol import POOL_LANE, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.dashboard.lanes import Lanes
    from snakepit_nb.dashboard.names import Names
    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.dashboard.requests import Requests
    from snakepit_nb.telemetry import EventName

Measured: TypeAlias = "Mapping[str, Any]"
Facts: TypeAlias = "Mapping[str, Any]"
Take: TypeAlias = "Callable[[int, Measured, Facts], object]"

_pack: Final = Struct("<dffIHHHBB").pack
_ALERT: Final = ("snakepit", "alert")
_OWN: Final = "snakepit"
_SECONDS: Final = (("duration_ms", 1e-3), ("duration_us", 1e-6), ("duration", 1e-9))


class Marks:
    """What happened to one pool.

    Args:
        origin_ns: The monotonic time that rows count from.
        lanes: The pool's lanes.
        names: The dictionary of strings.
        requests: Its requests.

    Attributes:
        state: running, stopped or broken, and `reason` why.
        takes: What takes each event in, by name.
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
        self.recycled = self.crashes = self.exceptions = 0
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
            events.CIRCUIT_BREAKER_OPENED: lambda *event: self._breaker("opened", *event),
            events.CIRCUIT_BREAKER_HALF_OPEN: lambda *event: self._breaker("half_open", *event),
            events.CIRCUIT_BREAKER_CLOSED: lambda *event: self._breaker("closed", *event),
            events.SESSION_OPENED: self._session_opened,
            events.SESSION_LOST: self._session_lost,
            events.CELL_START: self._nothing,
            events.CELL_STOP: self._cell,
            events.CELL_EXCEPTION: self._cell,
            events.CELL_COPIED: self._copied,
            events.TELEMETRY_DROPPED: self._dropped,
        }

    def add(self, name: EventName, number: int, measured: Measured, facts: Facts) -> None:
        """Take an event in, whoever emitted it."""
        take = self.takes.get(name)
        if take is not None:
            take(number, measured, facts)
        elif name[:2] == _ALERT:
            self._row(Kind.ALERT, number, facts, name=str(facts.get("rule") or ".".join(name[2:])))
        elif name[0] != _OWN:
            self._user(name, number, measured, facts)

    def _row(  # noqa: PLR0913 - the columns of a row
        self,
        kind: Kind,
        number: int,
        facts: Facts,
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
        if here and facts.get("worker_id"):
            worker = self._lanes.worker(facts["worker_id"])
            place, life = worker.place, worker.life
        elif here:
            runs = self._requests.worker_of(facts.get("request_id"))
            place, life = (runs.place, runs.life) if runs is not None else (POOL_LANE, 0)
        seconds = max(0.0, float(seconds))
        t = (facts["monotonic_ns"] - self._origin_ns) * 1e-9 - (0.0 if ahead else seconds)
        self._rows.append(
            _pack(t, seconds, float(extra), number, place, self._names(name), life, kind, outcome)
        )

    def _nothing(self, number: int, measured: Measured, facts: Facts) -> None:
        """An event that shows elsewhere, or nowhere."""

    # Workers

    def _started(self, number: int, measured: Measured, facts: Facts) -> None:
        worker = self._lanes.born(facts["worker_id"])
        worker.capacity = max(1, int(facts.get("capacity", 1)))
        self.profile = "thread" if facts.get("profile", self.profile) == "thread" else "process"
        self._row(Kind.STARTED, number, facts, extra=measured.get("startup_time_ms", 0) * 1e-3)

    def _recycled(self, number: int, measured: Measured, facts: Facts) -> None:
        self._lanes.died(self._lanes.worker(facts["worker_id"]))
        self._row(Kind.RECYCLED, number, facts, name=facts["reason"], extra=facts.get("uptime_seconds", 0.0))
        self.recycled += facts["reason"] != "worker_died"

    def _crash(self, number: int, measured: Measured, facts: Facts) -> None:
        self._lanes.died(self._lanes.worker(facts["worker_id"]))
        self._row(Kind.CRASH, number, facts, name=facts["classification"])
        self.crashes += 1

    def _tainted(self, number: int, measured: Measured, facts: Facts) -> None:
        seconds = measured["duration_ms"] * 1e-3
        worker = self._lanes.worker(facts["worker_id"])
        self._row(
            Kind.TAINTED, number, facts, name=facts.get("classification") or "", seconds=seconds, ahead=True
        )
        self._lanes.died(worker)
        worker.lane.tainted_ns = facts["monotonic_ns"] + int(seconds * 1e9)

    def _restarted(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.RESTARTED, number, facts, name=facts.get("classification") or "")
        self._lanes.worker(facts["worker_id"]).lane.tainted_ns = 0

    def _health_check_failed(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.HEALTH_CHECK_FAILED, number, facts, name=facts["reason"])

    def _stat(self, number: int, measured: Measured, facts: Facts) -> None:
        t = (facts["monotonic_ns"] - self._origin_ns) * 1e-9
        figures = (measured.get(name, np.nan) for name in STAT.names[2:])
        self._stats.append((t, self._lanes.worker(facts["worker_id"]).place, *map(float, figures)))

    # Memory

    def _export(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.EXPORT, number, facts, name=facts.get("direction", ""), extra=measured["bytes"])
        self.bytes_shared += int(measured["bytes"])

    def _fallback(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.FALLBACK, number, facts, name=facts["reason"], extra=measured["bytes"])
        self.bytes_copied += int(measured["bytes"])

    def _leaked(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.LEAKED, number, facts, extra=measured["bytes"])

    def _copied(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.COPIED, number, facts, name=facts["name"], extra=measured["bytes"])

    # Requests and exceptions

    def _progress(self, number: int, measured: Measured, facts: Facts) -> None:
        done, total = measured["done"], measured.get("total")
        self._row(Kind.PROGRESS, number, facts, name=facts["command"], extra=done / total if total else done)

    def _exception(self, number: int, measured: Measured, facts: Facts) -> None:
        became, raised = facts["error"], facts["python_type"]
        self._row(Kind.EXCEPTION, number, facts, name=raised if became == "RemoteError" else became)
        self.exceptions += 1

    def _retry(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.RETRY, number, facts, name=facts["reason"], extra=measured["attempt"])

    def _retry_exhausted(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(
            Kind.RETRY_EXHAUSTED, number, facts, name=facts["reason"], extra=measured.get("attempts", 0)
        )

    # The pool

    def _pool_started(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.POOL_STARTED, number, facts, extra=facts["workers"], here=False)
        self._lanes.target, self._lanes.ended = int(facts["workers"]), False
        self.profile = "thread" if facts.get("profile") == "thread" else "process"
        self.state, self.reason = "running", ""

    def _resized(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.POOL_RESIZED, number, facts, extra=facts["workers"], here=False)
        self._lanes.target = int(facts["workers"])

    def _stopped(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.POOL_STOPPED, number, facts, name=facts["reason"], here=False)
        self.state = "broken" if facts["reason"] == "broken" else "stopped"
        self.reason = facts["reason"]
        self._lanes.end()
        self._requests.end()
        self.relieved(facts["monotonic_ns"])

    def _saturated(self, number: int, measured: Measured, facts: Facts) -> None:
        if facts["outcome"] == "rejected":
            self._row(Kind.REJECTED, number, facts, extra=measured["queue_size"], here=False)
        elif self.saturated is None:
            self.saturated = facts["monotonic_ns"], number

    def relieved(self, now_ns: int) -> None:
        """Nothing waits any more."""
        if self.saturated is not None:
            since, number = self.saturated
            self.saturated = None
            seconds = (now_ns - since) * 1e-9
            self._row(Kind.SATURATED, number, {"monotonic_ns": now_ns}, seconds=seconds, here=False)

    def _breaker(self, name: str, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.BREAKER, number, facts, name=name, here=False)

    def _session_opened(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.SESSION_OPENED, number, facts, name=facts["session"])

    def _session_lost(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.SESSION_LOST, number, facts, name=facts["session"])

    def _dropped(self, number: int, measured: Measured, facts: Facts) -> None:
        self._row(Kind.DROPPED, number, facts, name=facts.get("queue", ""), extra=measured["dropped"])

    def forgot(self, count: int, number: int, now_ns: int) -> None:
        """So many events were left out here, for want of time."""
        self._row(Kind.DROPPED, number, {"monotonic_ns": now_ns}, name="timeline", extra=count, here=False)

    # Cells, and what users emit

    def _cell(self, number: int, measured: Measured, facts: Facts) -> None:
        failed = facts.get("kind")
        outcome = (
            Outcome.OK if failed is None else Outcome.CANCELLED if failed == "interrupt" else Outcome.ERROR
        )
        name = facts.get("name") or f"In [{facts.get('cell')}]"
        seconds = measured["duration"] * 1e-9
        self._row(Kind.CELL, number, facts, name=name, seconds=seconds, outcome=outcome, here=False)

    def _user(self, name: EventName, number: int, measured: Measured, facts: Facts) -> None:
        spans = "telemetry_span_context" in facts
        if spans and name[-1] == "start":
            return  # its end tells all of it
        outcome = Outcome.NONE
        if spans and name[-1] in {"stop", "exception"}:
            outcome = Outcome.OK if name[-1] == "stop" else Outcome.ERROR
            name = name[:-1]
        seconds = next((measured[key] * unit for key, unit in _SECONDS if key in measured), 0.0)
        self._row(Kind.USER, number, facts, name=".".join(name), seconds=seconds, outcome=outcome)

    # What is new

    def take(self) -> tuple[Table, Table]:
        """The rows and the stats that are new."""
        rows = np.frombuffer(b"".join(self._rows), ROW)
        stats = np.array(self._stats, STAT)
        self._rows.clear()
        self._stats.clear()
        return rows, stats
