"""The requests of a pool, from the queue to their end: what waits, what runs, and a bar for each that ended.

*Rule:* pure, and as quick as can be: requests come by the hundred thousand.
*Rule:* a worker that runs one request at a time runs those that it was sent one after the other: a request
begins when it was sent, or when the one before it in its worker ended.
"""

from __future__ import annotations

from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snakepit_nb import events
from snakepit_nb.dashboard.density import Density
from snakepit_nb.dashboard.packing import DENSITY, ROW
from snakepit_nb.dashboard.protocol import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from snakepit_nb.dashboard.lanes import Lanes, Worker
    from snakepit_nb.dashboard.names import Names
    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.telemetry import EventName, Record

OUTCOMES: Final[Mapping[str, int]] = {each.name.lower(): each.value for each in Outcome if each}

BUDGET: Final = 2_000
"""Up to so many requests that end in one tick have a bar each."""

_LONG_NS: Final = 100_000_000  # from here on they have one in any case
_OPEN: Final = 10_000
_OPEN_TOLD: Final = 2_000
_RECENT: Final = 0xFFF  # a mask
_END_OF_TIME: Final = 1 << 63
_AGES: Final = 1e15  # thirty years, in microseconds
_REQUEST: Final = int(Kind.REQUEST)
_pack: Final = Struct("<dffIHHHBB").pack
_QUEUED: Final = events.REQUEST_QUEUED
_DISPATCHED: Final = events.REQUEST_DISPATCHED
_EXECUTED: Final = events.REQUEST_EXECUTED
_WITHDRAWN: Final = events.REQUEST_WITHDRAWN
_SAME: Final[Mapping[EventName, EventName]] = {
    name: name for name in (_QUEUED, _DISPATCHED, _EXECUTED, _WITHDRAWN)
}
NAMES: Final = frozenset(_SAME)
"""The events that it takes in."""


class Requests:
    """The requests of one pool.

    Args:
        origin_ns: The monotonic time that rows count from.
        lanes: The pool's lanes.
        names: The dictionary of strings.
        latencies: Where the time of each that ended is put, in microseconds.

    Attributes:
        ended: How many ended, by outcome.
        held: Requests that something was told of before they were known here; `adopt` is called with each
            once it is.
        taken: How many events were taken in.
        skipped: How many events were not as they should be.
        dropped: How many that ran were lost from sight for want of room.
        drained_ns: When the last one that waited was sent to a worker.
    """

    def __init__(self, origin_ns: int, lanes: Lanes, names: Names, latencies: list[float]) -> None:
        self._origin_ns = origin_ns
        self._lanes = lanes
        self._names = names
        self._latencies = latencies
        # By request: its worker, when it was sent there, how long it had waited (µs), its name, the event.
        self._open: dict[int, tuple[Worker, int, float, int, int]] = {}
        self._waiting: dict[int, None] = {}
        self._recent = [0] * (_RECENT + 1)
        self._bars: list[bytes] = []
        self._density: Density | None = None  # where there are too many for a bar each
        self._ended_told = 0
        self._since_ns = origin_ns
        self.ended = [0] * len(Outcome)
        self.held: dict[int, list[tuple[int, Record]]] = {}
        self.adopt: Callable[[int], object] = self.held.pop
        self.taken = self.skipped = self.dropped = self.drained_ns = 0

    # Events

    def extend(  # noqa: C901, PLR0912, PLR0915 - unrolled: a call for each event would double what it costs
        self, records: Iterable[Any], first: int, pool: str, other: Callable[[int, Record], object]
    ) -> None:
        """Take in what is told of requests, in order.

        Args:
            records: Events of all kinds.
            first: The number of the first of them.
            pool: Whose requests these are.
            other: Takes each event that is not about the course of a request, and its number.
        """
        opened, waiting, recent, held = self._open, self._waiting, self._recent, self.held
        workers, names = self._lanes.workers, self._names.known
        bar, latency, ended_by, origin = (
            self._bars.append,
            self._latencies.append,
            self.ended,
            self._origin_ns,
        )
        dense = None if self._density is None else self._density.add
        taken = 0
        for number, record in enumerate(records, first):
            name, measured, facts, _, now, _, _ = record
            try:
                if name is _EXECUTED:
                    if facts["pool"] != pool:
                        continue
                    request = facts.get("request_id")
                    if "monotonic_ns" in facts:
                        now = moment_of(facts)
                    queue_us = measured["queue_us"]
                    run_us = measured["duration_us"]
                    if not 0 <= queue_us + run_us < _AGES:
                        raise ValueError  # noqa: TRY301 - as below
                    outcome = OUTCOMES[facts["outcome"]]
                    run = opened.pop(request, None)
                    if run is not None and run[0].worker_id == facts.get("worker_id"):
                        worker, began, waited, text, _ = run
                        ended = worker.ended_ns
                        if began < ended and worker.capacity == 1:
                            waited += (ended - began) * 1e-3
                            began = ended
                        if ended < now:
                            worker.ended_ns = now
                        place, life = worker.place, worker.life
                        recent[request & _RECENT] = request
                    else:
                        began, waited = now - int(run_us * 1000), queue_us
                        text, place, life = self._unsent(request, facts, now)
                    if began > now:  # noqa: PLR1730 - `min` takes four times as long
                        began = now
                    if dense is None or now - began >= _LONG_NS:
                        bar(
                            _pack(
                                (began - origin) * 1e-9, (now - began) * 1e-9, waited * 1e-6,
                                number, place, text, life, _REQUEST, outcome,
                            )
                        )  # fmt: skip
                    else:
                        dense(place, (began - origin) * 1e-9, (now - origin) * 1e-9, outcome)
                    latency(queue_us + run_us)
                    ended_by[outcome] += 1
                    taken += 1
                elif name is _DISPATCHED:
                    if facts["pool"] != pool:
                        continue
                    request = facts["request_id"]
                    command = facts["command"]
                    if command not in names:
                        self._names(command)
                    worker_id = facts["worker_id"]
                    worker = workers[worker_id] if worker_id in workers else self._lanes.worker(worker_id)
                    if request in opened or type(request) is not int or len(opened) >= _OPEN:
                        self._make_way(request)
                    if "monotonic_ns" in facts:
                        now = moment_of(facts)
                    queue_us = measured["queue_us"]
                    if not 0 <= queue_us < _AGES:
                        raise ValueError  # noqa: TRY301 - it is skipped like all that raises
                    opened[request] = (worker, now, queue_us, names[command], number)
                    waiting.pop(request, None)
                    if not waiting:
                        self.drained_ns = now
                    taken += 1
                elif name is _QUEUED:
                    if facts["pool"] != pool:
                        continue
                    request = facts["request_id"]
                    if request not in opened:
                        waiting[request] = None
                        # Where an event was lost, the next one says how many there are.
                        if len(waiting) > measured["queue_size"] + 1:
                            self._gone(len(waiting) - measured["queue_size"] - 1)
                    taken += 1
                elif name is _WITHDRAWN:
                    if facts["pool"] != pool:
                        continue
                    request = facts["request_id"]
                    opened.pop(request, None)
                    if request in waiting:
                        del waiting[request]
                        if not waiting:
                            self.drained_ns = moment_of(facts) if "monotonic_ns" in facts else now
                    taken += 1
                else:
                    same = _SAME.get(name)
                    if same is None:
                        other(number, record)
                    else:  # equal, but not the one: emitted by hand
                        self.extend(((same, *record[1:]),), number, pool, other)
                    continue
                if held and request in held:
                    self.adopt(request)
            except Exception:  # noqa: BLE001 - anybody may emit anything
                self.skipped += 1
        self.taken += taken

    def _make_way(self, request: object) -> None:
        """Before a request is open that was so before, or one too many."""
        if type(request) is not int:
            message = f"a request's number is a whole one, got {type(request).__name__}"
            raise TypeError(message)
        if self._open.pop(request, None) is None:
            del self._open[next(iter(self._open))]
            self.dropped += 1

    def _unsent(self, request: object, facts: Mapping[str, Any], now: int) -> tuple[int, int, int]:
        """Name, lane and life of a request that ended and was not seen to be sent there."""
        worker_id = facts.get("worker_id")
        place = life = 0
        text = self._names(facts["command"])
        if worker_id:
            worker = self._lanes.worker(worker_id)
            worker.ended_ns = max(worker.ended_ns, now)
            place, life = worker.place, worker.life
        if type(request) is int:
            self._waiting.pop(request, None)
            self._recent[request & _RECENT] = request
        return text, place, life

    def _gone(self, count: int) -> None:
        for request in list(islice(self._waiting, count)):
            del self._waiting[request]

    def forget(self, request: object, outcome: object | None) -> None:
        """Count a request without a look at it; the outcome is None where it goes on."""
        self._waiting.pop(request, None)  # type: ignore[call-overload]
        self._open.pop(request, None)  # type: ignore[call-overload]
        if outcome in OUTCOMES:
            self.ended[OUTCOMES[str(outcome)]] += 1

    def end(self) -> None:
        """The pool is over, and nothing of it waits or runs."""
        self._open.clear()
        self._waiting.clear()

    # What is known

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def knows(self, request: int) -> bool:
        """Whether a request waits, runs, or ended a little while ago."""
        return request in self._open or request in self._waiting or self._recent[request & _RECENT] == request

    def worker_of(self, request: object) -> Worker | None:
        """Who runs a request; None where nobody is known to."""
        opened = self._open.get(request)  # type: ignore[call-overload]
        return None if opened is None else opened[0]

    def running(self) -> list[list[float]]:
        """What runs now, as a batch tells it; at the ends of a pipe to a worker only the first does."""
        told: list[list[float]] = []
        seen: set[int] = set()
        for request, (worker, sent, wait, name, number) in self._open.items():
            if not worker.alive:
                continue
            began, waited = sent, wait
            if worker.capacity == 1:
                if id(worker) in seen:
                    continue
                seen.add(id(worker))
                if began < worker.ended_ns:
                    waited += (worker.ended_ns - began) * 1e-3
                    began = worker.ended_ns
            t = (began - self._origin_ns) * 1e-9
            told.append([number, worker.place, name, worker.life, t, waited * 1e-6, request])
            if len(told) >= _OPEN_TOLD:
                break
        return told

    def names_in_use(self) -> list[int]:
        """The names of what runs."""
        return [name for _, _, _, name, _ in self._open.values()]

    def rename(self, renumbered: Table) -> None:
        """The names have other numbers now."""
        for request, (worker, sent, wait, name, number) in list(self._open.items()):
            self._open[request] = (worker, sent, wait, int(renumbered[name]), number)

    def take(self, now_ns: int) -> tuple[Table, Table]:
        """The bars that are new, and the density that stands for others, since the last time.

        Where more than the budget ended, only those that ran long have a bar, until it is fewer again.
        """
        many = sum(self.ended) - self._ended_told > BUDGET
        bars = np.frombuffer(b"".join(self._bars), ROW)
        self._bars.clear()
        density = self._density
        since = (self._since_ns - self._origin_ns) * 1e-9
        if density is None and many:
            density = Density(since)
            long = bars["dur"] >= _LONG_NS * 1e-9
            for began, lasted, _, _, lane, _, _, _, outcome in bars[~long].tolist():
                density.add(lane, began, began + lasted, outcome)
            bars = bars[long]
        dense = np.empty(0, DENSITY)
        until = (now_ns - self._origin_ns) * 1e-9
        if density is not None:
            running = ((int(each[1]), each[4]) for each in self.running())
            dense = density.table(until, running, [lane.capacity for lane in self._lanes.all])
        self._density = Density(until) if many else None
        self._ended_told = sum(self.ended)
        self._since_ns = now_ns
        return bars, dense


def moment_of(facts: Mapping[str, Any]) -> int:
    """When an event was that brings the time along, in nanoseconds.

    Raises:
        TypeError, ValueError: that is no time.

    Example:
        >>> moment_of({"monotonic_ns": 7})
        7
    """
    moment = facts["monotonic_ns"]
    if type(moment) is not int:
        message = f"a time is a whole number of nanoseconds, got {type(moment).__name__}"
        raise TypeError(message)
    if not 0 <= moment < _END_OF_TIME:
        message = f"{moment} is not a time"
        raise ValueError(message)
    return moment
