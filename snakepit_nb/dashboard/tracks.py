"""What a pool's events are in the timeline: rows, lanes, what runs now, and totals.

*Rule:* pure. No clock, thread or widget: events and times come in, and `tick` gives back what is new.
*Rule:* an event that is not as it should be is skipped and counted, and harms no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from snakepit_nb import events, telemetry
from snakepit_nb.dashboard.lanes import Lanes
from snakepit_nb.dashboard.marks import Marks, Noted
from snakepit_nb.dashboard.names import MANY, Names
from snakepit_nb.dashboard.pulse import Pulse
from snakepit_nb.dashboard.requests import NAMES, OUTCOMES, Requests, moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.telemetry import Record

Numbered: TypeAlias = "tuple[int, Record]"
Stretch: TypeAlias = "tuple[int, list[Record]]"

_HELD: Final = 4_096
_MOST: Final = 0xFFFF_FFFF


class Tick(NamedTuple):
    """What is new since the tick before.

    Attributes:
        tables: Bars of requests, markers, density, samples and stats, for the browser.
        events: Whatever came, each stretch after the number of its first.
        marks: What was taken of it that is not about the course of a request, numbered.
    """

    tables: tuple[Table, ...]
    events: list[Stretch]
    marks: list[Numbered]


class Tracks:
    """The state of one pool, as far as its events tell it.

    Args:
        origin_ns: The monotonic time that rows count from.
        pool: The pool's name: events of others are left alone.

    Attributes:
        names: The dictionary of strings.
        marks: What happened but requests; knows the pool's state.
        requests: Its requests.
        dropped: How many events were left out for want of time.

    Example:
        >>> tracks = Tracks(0, "p")
        >>> facts = {"pool": "p", "worker_id": "p-0", "request_id": 1, "command": "fit", "outcome": "ok"}
        >>> done = events.REQUEST_EXECUTED
        >>> tracks.add((events.REQUEST_DISPATCHED, {"queue_us": 5}, facts, 0, 1 * 10**9, 0, 0))
        >>> tracks.add((done, {"duration_us": 9, "queue_us": 5}, facts, 0, 3 * 10**9, 0, 0))
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
        self.requests.adopt = self._adopt
        self.dropped = 0
        self._next = 1
        self._kept: list[Stretch] = []
        self._kept_marks: list[Numbered] = []

    @property
    def taken(self) -> int:
        """How many events of this pool were taken in."""
        return self.requests.taken + self.marks.taken

    @property
    def skipped(self) -> int:
        """How many events were not as they should be."""
        return self.requests.skipped

    # Events

    def add(self, record: Record) -> None:
        """Take an event in, where it is one of this pool."""
        self.extend([record])

    def extend(self, records: list[Record]) -> None:
        """Take events in, of whatever pool, in the order in which they came."""
        first = self._next
        if first + len(records) > _MOST:
            first = 1
        self._next = first + len(records)
        if records:
            self._kept.append((first, records))
        self.requests.extend(records, first, self.pool, self._other)

    def _other(self, number: int, record: Record) -> None:
        facts = record[2]
        # An alert about no pool in particular is every pool's.
        everyones = record[0] == events.ALERT_FIRED
        ours = facts["pool"] == self.pool if "pool" in facts else everyones or self._is_ours(number, record)
        if ours:
            self._take(number, record)

    def _take(self, number: int, record: Record) -> None:
        name, measured, facts = telemetry.heard(record)
        moment_of(facts)
        self._relieve()
        self.marks.add(Noted(number, name, measured, facts))
        self._kept_marks.append((number, record))

    def _relieve(self) -> None:
        """End a saturation that ended: in one tick there may be many, in what the bus remembers above all."""
        saturated, drained_ns = self.marks.saturated, self.requests.drained_ns
        if saturated is not None and drained_ns > saturated[0]:
            self.marks.relieved(drained_ns)

    def _is_ours(self, number: int, record: Record) -> bool:
        """Whether an event that names no pool belongs to a request of this one; that may be known later."""
        request = record[2].get("request_id")
        if type(request) is not int:
            return False
        if self.requests.knows(request):
            return True
        held = self.requests.held
        if request not in held and len(held) >= _HELD:
            del held[next(iter(held))]
        held.setdefault(request, []).append((number, record))
        return False

    def _adopt(self, request: int) -> None:
        """Take in what came before its request did: memory is lent for one before it is queued."""
        for number, record in self.requests.held.pop(request):
            self._take(number, record)

    def forget(self, records: Iterable[Record], now_ns: int) -> None:
        """Count events of requests for which there is no time, and leave it at that."""
        before = self.dropped
        for name, _, facts, *_ in records:
            if name in NAMES and facts.get("pool") == self.pool:
                self.dropped += 1
                ended = name == events.REQUEST_EXECUTED
                self.requests.forget(facts.get("request_id"), facts.get("outcome") if ended else None)
        if self.dropped > before:
            self.marks.forgot(self.dropped - before, self._next, now_ns)
            self._next += 1

    # Ticks

    def tick(self, now_ns: int) -> Tick:
        """What is new since the tick before."""
        self._relieve()
        if self.marks.saturated is not None and not self.requests.waiting:
            self.marks.relieved(now_ns)
        bars, dense = self.requests.take(now_ns)
        marks, stats = self.marks.take()
        samples = self._pulse.beat(now_ns, self.requests.waiting)
        kept, kept_marks = self._kept, self._kept_marks
        self._kept, self._kept_marks = [], []
        return Tick((bars, marks, dense, samples, stats), kept, kept_marks)

    def shorten(self, remembered: Callable[[], Table]) -> Table | None:
        """Where there are too many names, number anew those that are in use.

        Args:
            remembered: Tells the numbers in rows that are remembered, the newest first.

        Returns:
            The new number of each old one; None where they stay as they are.
        """
        if len(self.names.texts) < MANY:
            return None
        renumbered = self.names.shorten(remembered(), self.requests.names_in_use())
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
