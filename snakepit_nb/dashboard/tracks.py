"""What a pool's events are in the timeline: rows, lanes, what runs now, and totals.

*Rule:* pure. No clock, thread or widget: events and times come in, and `tick` gives back what is new.
*Rule:* an event that is not as it should be is skipped and counted, and harms no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from snakepit_nb import events
from snakepit_nb.dashboard.density import density
from snakepit_nb.dashboard.lanes import Lanes
from snakepit_nb.dashboard.marks import Marks
from snakepit_nb.dashboard.names import MANY, Names
from snakepit_nb.dashboard.packing import DENSITY
from snakepit_nb.dashboard.pulse import Pulse
from snakepit_nb.dashboard.requests import OUTCOMES, Requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.telemetry import EventName

RawEvent: TypeAlias = "tuple[EventName, Mapping[str, Any], Mapping[str, Any]]"
"""An event as handlers get it: name, measurements, metadata."""

Numbered: TypeAlias = "tuple[int, RawEvent]"

BUDGET: Final = 2_000
"""Up to so many requests that end in one tick have rows of their own."""

_HELD: Final = 4_096
_ID: Final = 0xFFFF_FFFF
_QUIET_NS: Final = 1_000_000_000
_LONG: Final = 0.1  # seconds from which on a request has a row also where there are too many


class Tick(NamedTuple):
    """What is new since the tick before.

    Attributes:
        tables: Rows, density, samples and stats, for the browser.
        requests: The events of requests that were taken, numbered.
        others: All other events that were taken, numbered.
    """

    tables: tuple[Table, Table, Table, Table]
    requests: list[Numbered]
    others: list[Numbered]


class Tracks:
    """The state of one pool, as far as its events tell it.

    Args:
        origin_ns: The monotonic time that rows count from.
        pool: The pool's name: events of others are left alone.

    Attributes:
        names: The dictionary of strings.
        marks: What happened but requests; knows the pool's state.
        taken: How many events of this pool were taken; the last one's number.
        dropped: How many events were left out for want of time.
        skipped: How many events were not as they should be.

    Example:
        >>> tracks = Tracks(0, "p")
        >>> facts = {"pool": "p", "worker_id": "p-0", "request_id": 1, "command": "fit"}
        >>> tracks.add((events.REQUEST_DISPATCHED, {"queue_us": 5}, {**facts, "monotonic_ns": 10**9}))
        >>> done = {**facts, "monotonic_ns": 3 * 10**9, "outcome": "ok"}
        >>> tracks.add((events.REQUEST_EXECUTED, {"duration_us": 100, "queue_us": 5}, done))
        >>> row = tracks.tick(4 * 10**9).tables[0][0]
        >>> float(row["t"]), float(row["dur"]), tracks.names.texts[row["name"]]
        (1.0, 2.0, 'fit')
    """

    def __init__(self, origin_ns: int, pool: str) -> None:
        self.origin_ns = origin_ns
        self.pool = pool
        self.names = Names()
        self.lanes = Lanes(pool)
        self._pulse = Pulse(origin_ns)
        self.requests = Requests(origin_ns, self.lanes, self.names, self._pulse.latencies)
        self.marks = Marks(origin_ns, self.lanes, self.names, self.requests)
        self.taken = self.dropped = self.skipped = 0
        self._held: dict[int, list[RawEvent]] = {}
        self._ticked_ns = self._requested_ns = origin_ns
        self._kept_requests: list[Numbered] = []
        self._kept_others: list[Numbered] = []
        self._takes = {
            events.REQUEST_QUEUED: self.requests.queued,
            events.REQUEST_DISPATCHED: self.requests.dispatched,
            events.REQUEST_EXECUTED: self.requests.executed,
        }

    # Events

    def add(self, event: RawEvent) -> None:
        """Take an event in, where it is one of this pool."""
        self.extend((event,))

    def extend(self, raw: Iterable[RawEvent]) -> None:
        """Take events in, of whatever pool, in the order in which they came."""
        pool = self.pool
        take_of = self._takes.get
        keep = self._kept_requests.append
        held = self._held
        for event in raw:
            facts = event[2]
            try:
                take = take_of(event[0])
                if take is None:
                    self._other(event)
                elif facts["pool"] == pool:
                    number = self.taken = self.taken + 1
                    take(number & _ID, event[1], facts)
                    keep((number & _ID, event))
                    if held and facts.get("request_id") in held:
                        self._adopt(facts["request_id"])
            except Exception:  # noqa: BLE001 - anybody may emit anything
                self.skipped += 1

    def _other(self, event: RawEvent) -> None:
        facts = event[2]
        if facts["pool"] != self.pool if "pool" in facts else not self._is_ours(event):
            return
        number = self.taken = self.taken + 1
        self.marks.add(event[0], number & _ID, event[1], facts)
        self._kept_others.append((number & _ID, event))

    def _is_ours(self, event: RawEvent) -> bool:
        """Whether an event that names no pool belongs to a request of this one; that may be known later."""
        request = event[2].get("request_id")
        if type(request) is not int:
            return False
        if self.requests.knows(request):
            return True
        held = self._held
        if request not in held and len(held) >= _HELD:
            del held[next(iter(held))]
        held.setdefault(request, []).append(event)
        return False

    def _adopt(self, request: int) -> None:
        """Take in what came before its request did: memory is lent for one before it is queued."""
        for event in self._held.pop(request):
            self.extend(((*event[:2], {"pool": self.pool, **event[2]}),))

    def forget(self, raw: Iterable[RawEvent], now_ns: int) -> None:
        """Count events of requests for which there is no time, and leave it at that."""
        before = self.dropped
        for name, _, facts, *_ in raw:
            if name in self._takes and facts.get("pool") == self.pool:
                self.dropped += 1
                ended = name == events.REQUEST_EXECUTED
                self.requests.forget(facts.get("request_id"), facts.get("outcome") if ended else None)
        if self.dropped > before:
            self.taken += 1
            self.marks.forgot(self.dropped - before, self.taken & _ID, now_ns)

    # Ticks

    def tick(self, now_ns: int) -> Tick:
        """What is new since the tick before."""
        if self._kept_requests:
            self._requested_ns = now_ns
        elif self.requests.waiting and now_ns - self._requested_ns > _QUIET_NS:
            self.requests.quiet(self.lanes.idle())
        if self.marks.saturated is not None and not self.requests.waiting:
            self.marks.relieved(now_ns)
        bars = self.requests.take()
        marks, stats = self.marks.take()
        dense = np.empty(0, DENSITY)
        if len(bars) > BUDGET:
            long = bars["dur"] >= _LONG
            dense = self._density(bars[~long], now_ns)
            bars = bars[long]
        self._ticked_ns = now_ns
        rows = np.concatenate((marks, bars)) if len(marks) else bars
        if len(marks):
            rows = rows[np.argsort(rows["id"], kind="stable")]
        samples = self._pulse.beat(now_ns, self.requests.waiting)
        requests, others = self._kept_requests[:], self._kept_others[:]
        self._kept_requests.clear()
        self._kept_others.clear()
        return Tick((rows, dense, samples, stats), requests, others)

    def _density(self, bars: Table, now_ns: int) -> Table:
        running = [(int(each[1]), each[4]) for each in self.requests.running()]
        since, until = ((each - self.origin_ns) * 1e-9 for each in (self._ticked_ns, now_ns))
        return density(bars, running, since, until, [lane.capacity for lane in self.lanes.all])

    def shorten(self, newest_first: Any) -> Any:  # noqa: ANN401 - an array of numbers
        """Where there are too many names, number anew those that are in use.

        Args:
            newest_first: The numbers in rows that are remembered.

        Returns:
            The new number of each old one; None where they stay as they are.
        """
        if len(self.names.texts) < MANY:
            return None
        renumbered = self.names.shorten(newest_first, self.requests.names_in_use())
        self.requests.rename(renumbered)
        return renumbered

    def told(self, now_ns: int) -> dict[str, Any]:
        """What a batch tells whole each time: lanes, what runs, and the summary but for what is forgotten."""
        running = self.requests.running()
        busy = {int(each[1]) for each in running}
        lanes, workers = self.lanes.told(busy, now_ns, self.origin_ns, self.requests.waiting)
        marks = self.marks
        saturated = marks.saturated
        summary = {
            "pool": self.lanes.all[0].label,
            "profile": marks.profile,
            "state": marks.state,
            "reason": marks.reason,
            "workers": workers,
            "queued": self.requests.waiting,
            "requests": {name: self.requests.ended[number] for name, number in OUTCOMES.items()},
            "bytes_shared": marks.bytes_shared,
            "bytes_copied": marks.bytes_copied,
            "recycled": marks.recycled,
            "crashes": marks.crashes,
            "exceptions": marks.exceptions,
            "saturated_since": None if saturated is None else (saturated[0] - self.origin_ns) * 1e-9,
            "events": self.taken,
            "forgotten": self.dropped + self.requests.dropped,
        }
        return {"lanes": lanes, "open": running, "summary": summary}
