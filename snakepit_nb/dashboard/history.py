"""What the kernel remembers of a pool: rows for the browser, and events as they were emitted.

*Rule:* all of it is bounded, and what was forgotten is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from snakepit_nb.dashboard.packing import DENSITY, ROW, SAMPLE, STAT
from snakepit_nb.dashboard.requests import NAMES
from snakepit_nb.telemetry import heard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snakepit_nb.dashboard.packing import Table
    from snakepit_nb.dashboard.tracks import Numbered, Stretch, Tick
    from snakepit_nb.telemetry import EventName

RawEvent: TypeAlias = "tuple[EventName, dict[str, float], dict[str, object]]"
"""An event as handlers get it: name, measurements, metadata."""

BARS: Final = 100_000
MARKS: Final = 50_000
DENSITIES: Final = 100_000
SAMPLES: Final = 7_200
STATS: Final = 20_000
EVENTS: Final = 20_000

_FEW: Final = 10_000


class Ring:
    """The last rows of one kind.

    Attributes:
        total: How many were ever put in.

    Example:
        >>> ring = Ring(SAMPLE, 3)
        >>> for number in range(5):
        ...     ring.extend(np.full(1, number, SAMPLE))
        >>> ring.since(0)["t"].tolist(), ring.since(4)["t"].tolist(), ring.first
        ([2.0, 3.0, 4.0], [4.0], 2)
    """

    def __init__(self, kind: np.dtype[Any], size: int) -> None:
        self._size = size
        # Twice as long, so that the newest lie in one piece and are moved once in a while.
        self._rows: Table = np.empty(0, kind)
        self._end = 0
        self.total = 0

    @property
    def first(self) -> int:
        """The number of the oldest that is kept."""
        return self.total - min(self._end, self._size)

    def extend(self, rows: Table) -> None:
        """Put rows in; the oldest make room."""
        self.total += len(rows)
        rows = rows[-self._size :]
        if self._end + len(rows) > len(self._rows):
            self._make_room(len(rows))
        self._rows[self._end : self._end + len(rows)] = rows
        self._end += len(rows)

    def _make_room(self, more: int) -> None:
        kept = self._rows[max(0, self._end + more - self._size) : self._end]
        wanted = min(2 * self._size, max(1024, 2 * (len(kept) + more)))
        rows = np.empty(wanted, self._rows.dtype) if wanted != len(self._rows) else self._rows
        rows[: len(kept)] = kept.copy()
        self._rows, self._end = rows, len(kept)

    def since(self, number: int) -> Table:
        """The rows from this number on, as far as they are kept; a view, for use before the next change."""
        count = self.total - max(number, self.first)
        return self._rows[self._end - count : self._end]


class History:
    """Everything that is remembered of one pool.

    Attributes:
        rings: Bars of requests, markers, density, samples and stats.

    Example:
        >>> history = History()
        >>> history.event(1), history.events("p")
        (None, [])
    """

    def __init__(self, bars: int = BARS, marks: int = MARKS, events: int = EVENTS) -> None:
        # Requests come by the ten thousand: what else happened is not to be forgotten because of them.
        self._rows = (Ring(ROW, bars), Ring(ROW, marks))
        self.rings: tuple[Ring, ...] = (
            *self._rows,
            Ring(DENSITY, DENSITIES),
            Ring(SAMPLE, SAMPLES),
            Ring(STAT, STATS),
        )
        self._most = events
        self._events: deque[Stretch] = deque()
        self._count = 0
        self._marks: deque[Numbered] = deque(maxlen=events)

    def keep(self, tick: Tick) -> None:
        """Remember what is new."""
        for ring, table in zip(self.rings, tick.tables, strict=True):
            if len(table):
                ring.extend(table)
        self._marks.extend(tick.marks)
        for stretch in tick.events:
            self._events.append(stretch)
            self._count += len(stretch[1])
        while self._count > self._most:
            first, records = self._events.popleft()
            more = min(len(records), self._count - self._most)
            self._count -= more
            if more < len(records):
                self._events.appendleft((first + more, records[more:]))

    @property
    def forgotten(self) -> int:
        """How many rows are no longer remembered."""
        return sum(ring.first for ring in self._rows)

    def names(self) -> Table:
        """The numbers of the names in the rows, the newest of each ring first."""
        bars, marks = (ring.since(0)["name"][::-1] for ring in self._rows)
        return np.concatenate((marks[:_FEW], bars, marks[_FEW:]))

    def rename(self, renumbered: Table) -> None:
        """The names of the rows have other numbers now."""
        for ring in self._rows:
            rows = ring.since(0)
            rows["name"] = renumbered[rows["name"]]

    def since(self, sent: Sequence[int]) -> tuple[Table, ...]:
        """Rows, density, samples and stats that are new since so many of each ring."""
        bars, marks, *others = (ring.since(count) for ring, count in zip(self.rings, sent, strict=True))
        rows = np.concatenate((bars, marks))
        if len(bars) and len(marks):
            rows = rows[np.argsort(rows["id"], kind="stable")]
        return rows, *others

    def event(self, number: int) -> RawEvent | None:
        """One event as handlers got it; None where it is forgotten."""
        at = bisect_left(self._marks, number, key=itemgetter(0))
        if at < len(self._marks) and self._marks[at][0] == number:
            return heard(self._marks[at][1])
        for first, records in self._events:
            if first <= number < first + len(records):
                return heard(records[number - first])
        return None

    def events(self, pool: str) -> list[RawEvent]:
        """The events of a pool that are remembered, as handlers got them, in their order."""
        requests = (
            (number, record)
            for first, records in self._events
            for number, record in enumerate(records, first)
            if record[0] in NAMES and record[2].get("pool") == pool
        )
        return [heard(record) for _, record in merge(requests, self._marks, key=itemgetter(0))]
