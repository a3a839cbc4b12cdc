"""Listens to the bus for one pool, and sends what is new to the browser ten times a second.

*Rule:* the handler keeps an event and does nothing else, for it runs in whichever thread emits; all work is
done in the feed's own thread.
*Rule:* whatever an event holds, and whatever becomes of the browser, the thread goes on until it is closed.
*Rule:* nothing grows without end: of what is too much, requests are left out before markers, and counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import events, telemetry
from snakepit_nb.dashboard.audience import Audience
from snakepit_nb.dashboard.history import History
from snakepit_nb.dashboard.packing import COUNTS, packed
from snakepit_nb.dashboard.requests import NAMES
from snakepit_nb.dashboard.tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.dashboard.history import RawEvent
    from snakepit_nb.telemetry import Record

_LOG: Final = logging.getLogger(__name__)
_PENDING: Final = 200_000
_HEARTBEAT: Final = 1.0
_JOIN: Final = 1.0  # within the time that a kernel is given to shut down

_alive: weakref.WeakSet[Feed] = weakref.WeakSet()


class Feed:
    """What the browser is told of one pool.

    Args:
        pool: The pool's name.
        send: Takes the content and the buffers of each message; called from the feed's own thread.
        interval: Seconds between two messages.
        since_ns: What came before, on the monotonic clock, is of an earlier pool of the same name.

    Attributes:
        on_stopped: Called once, from the feed's thread, when the end of the pool has been sent. An end from
            before the feed was started is told by the state in the summary, and not by this.

    Example:
        >>> feed = Feed("shown", lambda content, buffers: None, since_ns=time.monotonic_ns())
        >>> feed.start()
        >>> facts = {"pool": "shown", "worker_id": "shown-0", "reason": "timeout"}
        >>> telemetry.execute(events.WORKER_HEALTH_CHECK_FAILED, {}, facts)
        >>> content, buffers = feed.frame()
        >>> content["rows"], content["lanes"][1]["label"], len(buffers)
        (1, 'shown-0', 4)
        >>> feed.close()
    """

    def __init__(
        self,
        pool: str,
        send: Callable[[dict[str, Any], list[bytes]], None],
        *,
        interval: float = 0.1,
        since_ns: int = 0,
    ) -> None:
        self.on_stopped: Callable[[], None] | None = None
        self.pool = pool
        self._send = send
        self._interval = interval
        self._since_ns = since_ns
        self._handler_id = f"snakepit_nb.dashboard.feed:{id(self):x}"
        self._pending: deque[Record] = deque()
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = self._failed = False
        self._begin(time.monotonic_ns())

    def _begin(self, origin_ns: int) -> None:
        self._origin_ms = (time.time_ns() - time.monotonic_ns() + origin_ns) / 1e6
        self._tracks = Tracks(origin_ns, self.pool)
        self._history = History()
        self._audience = Audience(time.monotonic())
        self._sent = [0] * len(self._history.rings)
        self._texts_sent = 0
        self._seq = 0
        self._key = self._urgent = True
        self._answer = False
        self._last_sent = 0.0
        self._requests_told = 0
        self._over = False

    # Life

    def start(self) -> None:
        """Attach to the bus and begin to send; what the bus still knows of the pool comes first."""
        telemetry.attach_records(self._handler_id, (), self._pending.append)
        telemetry.replay(self._handler_id)
        since = [event for event in self._drained() if not _is_older(event, self._since_ns)]
        before = _of_this_life(since, self.pool)
        stamps = [stamp for event in before if (stamp := _stamp(event, self.pool))]
        with self._lock:
            self._begin(min((time.monotonic_ns(), *stamps)))
            self._tracks.extend(before)
            self._over = self._tracks.marks.state != "running"
        _alive.add(self)
        self._thread = threading.Thread(
            target=self._run, name=f"snakepit_nb timeline {self.pool}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Send what is left, and end; from the feed's own thread the end follows when the caller returns."""
        telemetry.detach(self._handler_id)
        self._closing = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN)
        _alive.discard(self)

    def after_fork(self) -> None:
        """This is another process now: the thread is not here, and its lock may be held for ever."""
        telemetry.detach(self._handler_id)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread = None
        self._closing = True
        self._pending.clear()

    # What views say

    def shown(self) -> None:
        """A view was displayed; it gets the whole picture, heard or not."""
        with self._lock:
            self._audience.shown(time.monotonic())
            self._key = True

    def heard(self, view: str) -> None:
        """A view said something; the next message, which comes with the next tick, answers it."""
        with self._lock:
            self._audience.heard(view, time.monotonic())
            self._answer = True

    def visible(self, view: str, on: bool) -> None:  # noqa: FBT001 - what the browser says
        """A view is looked at, or not any more."""
        with self._lock:
            self._audience.visible(view, on, time.monotonic())

    def keyframe(self) -> None:
        """Let the next message be a keyframe."""
        with self._lock:
            self._key = True

    # What is known

    def event(self, event_id: int) -> RawEvent | None:
        """An event as it was emitted, by the `id` of its row; None where it is forgotten."""
        with self._lock:
            return self._history.event(event_id)

    def events(self) -> list[RawEvent]:
        """The events that are remembered, the oldest first."""
        with self._lock:
            self._catch_up(time.monotonic_ns())
            return self._history.events(self.pool)

    def frame(self) -> tuple[dict[str, Any], list[bytes]]:
        """All that is known, as a keyframe; it is not sent and counts as none."""
        with self._lock:
            now = time.monotonic_ns()
            self._catch_up(now)
            return self._batch(now, key=True)

    # The thread

    def _run(self) -> None:
        left = self._interval
        while not self._closing:
            self._wake.wait(left)
            began = time.monotonic()
            self._turn()
            left = max(0.0, began + self._interval - time.monotonic())
        self._turn()

    def _turn(self) -> None:
        message = None
        ends = False
        try:
            with self._lock:
                now = time.monotonic_ns()
                self._catch_up(now)
                over = self._tracks.marks.state != "running"
                ends = over and not self._over
                self._over = over
                message = self._message(now, ends=ends)
        except Exception:  # noqa: BLE001 - it is told, and what comes next may be better
            if not self._failed:  # once, not ten times a second
                _LOG.exception("the timeline of the pool %r does not know what to make of it", self.pool)
            self._failed = True
        try:
            if message is not None:
                self._send(*message)
        except BaseException:  # noqa: BLE001 - a comm that is closed, say; there may be another view soon
            _LOG.debug("the timeline of the pool %r was not heard", self.pool, exc_info=True)
        if ends and self.on_stopped is not None:
            tell, self.on_stopped = self.on_stopped, None
            try:
                tell()
            except Exception:  # noqa: BLE001 - whoever is told
                _LOG.exception("the end of the pool %r", self.pool)

    def _drained(self) -> list[Record]:
        take = self._pending.popleft
        return [take() for _ in repeat(None, len(self._pending))]

    def _catch_up(self, now_ns: int) -> None:
        """Take in what is pending, and remember it; the lock is held."""
        pending = self._drained()
        tracks = self._tracks
        if len(pending) > _PENDING:
            pending = self._relieved(pending, now_ns)
        tracks.extend(pending)
        tick = tracks.tick(now_ns)
        self._history.keep(tick)
        if any(len(table) for table in tick.tables[:3]) or tracks.requests.taken > self._requests_told:
            self._requests_told = tracks.requests.taken
            self._urgent = True
        renumbered = tracks.shorten(self._history.names)
        if renumbered is not None:
            self._history.rename(renumbered)
            self._key = True

    def _relieved(self, pending: list[Record], now_ns: int) -> list[Record]:
        """The same without the oldest events of requests, as many as there are too many in all."""
        late = pending[: len(pending) - _PENDING]
        self._tracks.forget([event for event in late if event[0] in NAMES], now_ns)
        return [event for event in late if event[0] not in NAMES] + pending[len(late) :]

    # Messages; the lock is held

    def _message(self, now_ns: int, *, ends: bool) -> tuple[dict[str, Any], list[bytes]] | None:
        """What is to be sent now; None where that is nothing."""
        now = now_ns * 1e-9
        if self._audience.wants_keyframe(now):
            self._key = True
        late = now - self._last_sent >= _HEARTBEAT
        message = None
        if self._closing or ends:
            message = self._news(now_ns) if self._key or self._urgent or self._has_new() else None
        elif self._audience.looks() and (self._key or self._urgent or (late and self._has_new())):
            # What only draws the charts on can wait for the second to be over.
            message = self._news(now_ns)
        if message is None and (late or self._answer):
            content = {"type": "summary", "seq": self._seq, "now": self._seconds(now_ns)}
            message = {**content, "summary": self._told(now_ns)["summary"]}, []
        if message is not None:
            self._last_sent = now
            self._answer = False
        return message

    def _has_new(self) -> bool:
        return any(ring.total > sent for ring, sent in zip(self._history.rings, self._sent, strict=True))

    def _news(self, now_ns: int) -> tuple[dict[str, Any], list[bytes]]:
        """The next batch, which is sent."""
        forgot = any(ring.first > sent for ring, sent in zip(self._history.rings, self._sent, strict=True))
        self._seq += 1
        batch = self._batch(now_ns, key=self._key or forgot)
        self._sent = [ring.total for ring in self._history.rings]
        self._texts_sent = len(self._tracks.names.texts)
        self._key = self._urgent = False
        return batch

    def _batch(self, now_ns: int, *, key: bool) -> tuple[dict[str, Any], list[bytes]]:
        sent = [0] * len(self._sent) if key else self._sent
        base = 0 if key else self._texts_sent
        found = self._history.since(sent)
        content: dict[str, Any] = {
            "type": "batch",
            "seq": self._seq,
            "key": key,
            "origin_ms": self._origin_ms,
            "now": self._seconds(now_ns),
            "base": base,
            "strings": self._tracks.names.texts[base:],
            **{name: len(table) for name, table in zip(COUNTS, found, strict=True)},
            **self._told(now_ns),
        }
        return content, [packed(table) for table in found]

    def _told(self, now_ns: int) -> dict[str, Any]:
        told = self._tracks.told(now_ns)
        told["summary"]["forgotten"] += self._history.forgotten
        return told

    def _seconds(self, now_ns: int) -> float:
        return (now_ns - self._tracks.origin_ns) * 1e-9


def _is_older(event: Record, since_ns: int) -> bool:
    stamp = event[2].get("monotonic_ns", event[4])
    return type(stamp) is int and 0 < stamp < since_ns


def _of_this_life(before: list[Record], pool: str) -> list[Record]:
    """Without the life of an earlier pool of the same name, where a later one has begun."""
    ours = [at for at, event in enumerate(before) if event[2].get("pool") == pool]
    begun = next((at for at in reversed(ours) if before[at][0] == events.POOL_STARTED), -1)
    over = next((at for at in reversed(ours) if at < begun and before[at][0] == events.POOL_STOPPED), -1)
    return before[over + 1 :]


def _stamp(event: Record, pool: str) -> int | None:
    stamp = event[2].get("monotonic_ns", event[4])
    return stamp if event[2].get("pool") == pool and type(stamp) is int and stamp > 0 else None


def _after_fork() -> None:
    for feed in list(_alive):
        feed.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
