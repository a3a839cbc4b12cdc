"""Who may join a pool's queue where that is bounded: at once, after a wait, or not at all.

*Rule:* those who wait are let in in the order in which they came, and each wait ends: by room, by the
request's own deadline, by an interrupt, or by the end of the pool.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb import events
from snakepit_nb.errors.types import CheckoutTimeout, PoolSaturated
from snakepit_nb.pool.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.pool import actions
    from snakepit_nb.pool.interrupts import Uninterrupted
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.request import Request

WHEN_FULL: Final = ("block", "reject", "grow")
_SECOND: Final = 1_000_000_000


class Bounds(NamedTuple):
    """How long a pool's queue may be, and what happens to a request that finds it full.

    Attributes:
        max_queue: How many requests may wait; None for any number.
        when_full: `"block"`, `"reject"`, or `"grow"`: start another worker, up to `most_workers`.
        most_workers: How many workers `"grow"` may lead to.

    Example:
        >>> Bounds().max_queue is None
        True
    """

    max_queue: int | None = None
    when_full: str = "block"
    most_workers: int = 0


class Admission:
    """Lets requests into the queue of one pool; the pool's lock is held but in `wait`."""

    def __init__(self, office: Office, bounds: Bounds) -> None:
        self._office = office
        self._bounds = bounds
        self._line: deque[Bell] = deque()
        self.grown = 0  # by how many workers, because the queue was full

    def admit(self, came_back: Bell | None) -> Bell | None:
        """Let a request in, or give the bell to wait for; who comes back from a wait says which it was.

        Raises:
            PoolSaturated: there is no room, and nobody waits for it here.
        """
        office, (limit, when_full, most) = self._office, self._bounds
        others = len(self._line) - (came_back is not None and came_back in self._line)
        has_room = limit is not None and office.state.census.has_room(limit)
        if limit is None or office.reactor.here or (has_room and (came_back is not None or not others)):
            self.leave(came_back)
            return None
        if when_full == "grow" and office.state.max_workers < most:
            self._resize(office.state.grown, 1)
            return None
        if when_full != "block":
            self._reject(limit)
        bell = came_back or Bell()
        bell.reset()
        if bell not in self._line:
            self._line.append(bell)
        return bell

    def _resize(self, decide: Callable[[], list[actions.Action]], difference: int) -> None:
        office = self._office
        before = office.state.max_workers
        office.act(decide())
        workers: dict[str, object] = {"pool": office.name, "workers": before + difference, "previous": before}
        office.tell(events.POOL_RESIZED, {}, workers)
        self.grown += difference
        self._look_later()

    def _look_later(self) -> None:
        office = self._office
        due = time.monotonic_ns() + int(office.options.shrink_after * _SECOND)
        if self.grown:
            office.reactor.at(due, self._look, lambda: bool(self.grown))

    def _look(self) -> None:
        """Let a worker go that a full queue called for, where one has nothing to do."""
        office = self._office
        with office.lock:
            if not self.grown or office.state.closing or office.state.broken is not None:
                return
            if office.state.census.counts()["idle"]:
                self._resize(office.state.shrunk, -1)
            else:
                self._look_later()
        office.flush()

    def _reject(self, limit: int) -> None:
        office = self._office
        counts = office.state.census.counts()
        size = office.state.census.waiting()
        facts: dict[str, object] = {
            "pool": office.name,
            "available_workers": counts["idle"],
            "busy_workers": counts["busy"],
            "queue_size": size,
            "outcome": "rejected",
            "max_queue_size": limit,
        }
        office.tell(events.POOL_SATURATED, {"queue_size": size}, facts)
        raise PoolSaturated(pool=office.name, queue_size=size, max_queue_size=limit)

    def wait(self, bell: Bell, request: Request, guard: Uninterrupted) -> None:
        """Wait until there may be room; the pool's lock is not held.

        Raises:
            CheckoutTimeout: the request's deadline passed.
            KeyboardInterrupt: the stop button.
        """
        left = None if request.deadline_ns is None else (request.deadline_ns - time.monotonic_ns()) / _SECOND
        try:
            guard.waiting = True
            rung = not guard.seen and bell.wait(left)
        except BaseException:
            guard.waiting = False
            self._give_up(bell)
            raise
        guard.waiting = False
        if not rung:
            self._give_up(bell)
            if not guard.seen:
                raise CheckoutTimeout(pool=self._office.name, seconds=request.timeout or 0.0)

    def _give_up(self, bell: Bell) -> None:
        with self._office.lock:
            self.leave(bell)
            self.let_in()

    def leave(self, bell: Bell | None) -> None:
        """Who had this bell waits no more."""
        if bell is not None and bell in self._line:
            self._line.remove(bell)

    def let_in(self) -> None:
        """Ring for the first in line where there is room now, or for all where the pool ends."""
        if not self._line:
            return
        state = self._office.state
        if state.closing or state.broken is not None:
            for bell in self._line:
                bell.ring()
        elif state.census.has_room(self._bounds.max_queue or 0):
            self._line[0].ring()
