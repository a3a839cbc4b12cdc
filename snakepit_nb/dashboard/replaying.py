"""A recorded life of a pool, as a timeline's source: all of it at once, and nothing after it.

*Rule:* times are the recording's own: nothing here looks at a clock, so that a recording of another day, or
of another machine, is shown as it was.
*Rule:* no thread: what a view asks is answered where it asks.
*Rule:* it is bounded as what lives is; what is left out is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snakepit_nb.dashboard.history import History
from snakepit_nb.dashboard.packing import COUNTS, packed
from snakepit_nb.dashboard.pulse import EVERY_NS
from snakepit_nb.dashboard.tracks import Tracks
from snakepit_nb.events import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from snakepit_nb.dashboard.history import RawEvent
    from snakepit_nb.telemetry import EventName, Record

ENDS: Final = "the recording ends here"
"""Why a pool that was not stopped does nothing more."""

_STEP_NS: Final = 100_000_000  # as often as what lives is looked at
_STEPS: Final = 100_000  # of a long one, less often
_QUIET_NS: Final = 11_000_000_000  # so long after the last event the charts still change
_EVENTS: Final = 100_000
_SAMPLES: Final = 3  # which of a tick's tables
_SAMPLE: Final = 101
_SAME: Final[Mapping[EventName, EventName]] = {name: name for name in CATALOGUE}


class Replay:
    """What a recording tells of one pool.

    Args:
        pool: The pool's name.
        send: Takes the content and the buffers of each message.
        events: What was recorded, in the order in which it was heard; of other pools, too.

    Example:
        >>> from snakepit_nb import events
        >>> stamps = {"time_ns": 10**18, "monotonic_ns": 5, "pid": 1, "pool": "p"}
        >>> life = [(events.POOL_STARTED, {"count": 1}, {**stamps, "workers": 2, "profile": "process"})]
        >>> replay = Replay("p", lambda content, buffers: None, life)
        >>> content, buffers = replay.frame()
        >>> content["rows"], content["summary"]["reason"], content["origin_ms"]
        (1, 'the recording ends here', 1000000000000.0)
    """

    def __init__(
        self,
        pool: str,
        send: Callable[[dict[str, Any], list[bytes]], None],
        events: Iterable[RawEvent],
    ) -> None:
        self.on_stopped: Callable[[], None] | None = None
        self.pool = pool
        self._send = send
        self._seq = 0
        records = [_record(event) for event in events]
        ours = [record for record in records if record[2].get("pool") == pool]
        stamps = [stamp for record in ours if (stamp := _stamp(record)) is not None]
        origin = min(stamps, default=0)
        self._end = max(stamps, default=0)
        self._origin_ms = (_offset(ours) + origin) / 1e6
        self._tracks = Tracks(origin, pool)
        self._history = History(events=_EVENTS)
        self._play(records, origin)

    def _play(self, records: Sequence[Record], origin: int) -> None:
        """Tell it as it was told then, a tenth of a second at a time: the charts are made of that."""
        step = max(_STEP_NS, (self._end - origin) // _STEPS)
        now = last = origin
        waiting: list[Record] = []
        for record in records:
            stamp = _stamp(record)
            if stamp is not None and record[2].get("pool") == self.pool:
                while stamp > now + step:
                    now += step
                    self._tick(now, waiting)
                    waiting = []
                    if now > last + _QUIET_NS:
                        # Nothing changes until then.
                        now = max(now, stamp - step)
                last = max(last, stamp)
            waiting.append(record)
        self._tick(self._end, waiting)
        # The charts' last half second is told when it is over.
        rest = self._tracks.tick(self._end + EVERY_NS)
        samples = rest.tables[_SAMPLES]
        samples["t"] = np.minimum(samples["t"], (self._end - origin) * 1e-9)
        self._history.keep(rest)

    def _tick(self, now: int, records: list[Record]) -> None:
        self._tracks.extend(records)
        self._history.keep(self._tracks.tick(now))
        renumbered = self._tracks.shorten(self._history.names)
        if renumbered is not None:
            self._history.rename(renumbered)

    # As a timeline asks it

    def start(self) -> None:
        """Nothing is to begin: a view that is there asks."""

    def close(self) -> None:
        """Nothing is held but memory."""

    def keyframe(self) -> None:
        """Send everything."""
        self._send(*self.frame())

    def shown(self) -> None:
        """A view was displayed; it will ask."""

    def visible(self, view: str, on: bool) -> None:  # noqa: FBT001 - as the message has it
        """A view is looked at, or not any more."""

    def heard(self, view: str) -> None:
        """A view says that it is there."""

    def event(self, event_id: int) -> RawEvent | None:
        """An event by its number; None where it is left out."""
        return self._history.event(event_id)

    def events(self) -> list[RawEvent]:
        """The events that are kept, oldest first."""
        return self._history.events(self.pool)

    def frame(self) -> tuple[dict[str, Any], list[bytes]]:
        """Everything, as one batch."""
        self._seq += 1
        tables = self._history.since([0] * len(self._history.rings))
        told = self._tracks.told(self._end)
        summary = told["summary"]
        summary["forgotten"] += self._history.forgotten
        if summary["state"] == "running":
            summary["reason"] = ENDS
        content: dict[str, Any] = {
            "type": "batch",
            "seq": self._seq,
            "key": True,
            "origin_ms": self._origin_ms,
            "now": (self._end - self._tracks.origin_ns) * 1e-9,
            "base": 0,
            "strings": self._tracks.names.texts,
            **{name: len(table) for name, table in zip(COUNTS, tables, strict=True)},
            **told,
        }
        return content, [packed(table) for table in tables]


def _record(event: RawEvent) -> Record:
    name, measured, told = event
    stamp = told.get("monotonic_ns")
    return _SAME.get(name, name), measured, told, 0, stamp if type(stamp) is int else 0, 0, 0


def _stamp(record: Record) -> int | None:
    """When it was; None where it does not say, or where no clock can have said so."""
    stamp = record[2].get("monotonic_ns")
    return stamp if type(stamp) is int and 0 <= stamp < 1 << 62 else None


def _offset(records: Sequence[Record]) -> int:
    """What the wall clock was ahead of the other one, as most of some events tell it, in nanoseconds."""
    some = records[:: max(1, len(records) // _SAMPLE)]
    found = [
        wall - stamp
        for record in some
        if type(wall := record[2].get("time_ns")) is int and (stamp := _stamp(record)) is not None
    ]
    return sorted(found)[len(found) // 2] if found else 0
