"""The lanes of the timeline: one for the pool, one for each slot of a worker, and who lives in it.

*Rule:* pure. A lane is made when a worker of it is first mentioned, and stays where it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb.dashboard.names import clean
from snakepit_nb.dashboard.protocol import POOL_LANE

if TYPE_CHECKING:
    from collections.abc import Collection

MOST: Final = 4_096
_WORKERS: Final = 4_096
_PLACE: Final = re.compile(r"-(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)
_HIGHEST_LIFE: Final = 0xFFFF


class Worker:
    """One life in a lane.

    Attributes:
        worker_id: Its name; `shown` is what people see of it.
        lane: Where it lives; `place` is its number.
        life: The how-manieth there it is, from 1; 0 where its name does not say.
        capacity: How many requests it runs at once.
        alive: Whether it may run something.
        ended_ns: When it last ended a request.
    """

    __slots__ = ("alive", "capacity", "ended_ns", "lane", "life", "place", "shown", "worker_id")

    def __init__(self, worker_id: str, lane: Lane, life: int) -> None:
        self.worker_id = worker_id
        self.shown = clean(worker_id)
        self.lane = lane
        self.place = lane.number
        self.life = life
        self.capacity = 1
        self.alive = True
        self.ended_ns = 0


class Lane:
    """One lane.

    Attributes:
        number: Its place.
        label: What people call it.
        kind: pool, worker or user.
        workers: The lives in it that have not ended, the oldest first.
        tainted_ns: Until when it takes no work; 0 where it does.
    """

    __slots__ = ("kind", "label", "number", "tainted_ns", "workers")

    def __init__(self, number: int, label: str, kind: str) -> None:
        self.number = number
        self.label = label
        self.kind = kind
        self.workers: list[Worker] = []
        self.tainted_ns = 0

    @property
    def capacity(self) -> int:
        """How many requests run in it at once."""
        return self.workers[-1].capacity if self.workers else 1


class Lanes:
    """The lanes of one pool.

    Args:
        pool: Its name, which the names of its workers begin with.

    Attributes:
        all: The lanes, each at its number.
        workers: The workers that are known, by name.
        target: How many workers the pool aims at; 0 where that is not known.
        ended: Whether the pool is over.

    Example:
        >>> lanes = Lanes("a-1.b")
        >>> worker = lanes.worker("a-1.b-3.12")
        >>> worker.lane.label, worker.life, lanes.worker("a-1.b-3").lane is worker.lane
        ('a-1.b-3', 12, True)
    """

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self.all = [Lane(POOL_LANE, clean(pool), "pool")]
        self.workers: dict[str, Worker] = {}
        self._places: dict[str, Lane] = {}
        self.target = 0
        self.ended = False

    def worker(self, worker_id: object) -> Worker:
        """A worker by its name, which may be mentioned here for the first time.

        Raises:
            TypeError: that is no name.
        """
        if type(worker_id) is not str:
            message = f"a worker's id is a string, got {type(worker_id).__name__}"
            raise TypeError(message)
        worker = self.workers.get(worker_id)
        return worker if worker is not None else self.born(worker_id)

    def born(self, worker_id: str) -> Worker:
        """A worker whose life begins, whoever had its name before."""
        before = self.workers.pop(worker_id, None)
        if before is not None:
            self.died(before)
        place = _PLACE.fullmatch(worker_id, len(self._pool)) if worker_id.startswith(self._pool) else None
        if place is None:
            lane, life = self._lane(clean(worker_id), "user"), 0
        else:
            life = min(int(place[2] or 1), _HIGHEST_LIFE)
            lane = self._lane(clean(f"{self._pool}-{int(place[1])}"), "worker")
        worker = Worker(worker_id, lane, life)
        if lane.number != POOL_LANE:
            lane.workers.append(worker)
        if len(self.workers) >= _WORKERS:
            self._forget()
        self.workers[worker_id] = worker
        return worker

    def _lane(self, label: str, kind: str) -> Lane:
        lane = self._places.get(label)
        if lane is None:
            if len(self.all) >= MOST:
                return self.all[POOL_LANE]
            lane = self._places[label] = Lane(len(self.all), label, kind)
            self.all.append(lane)
        return lane

    def _forget(self) -> None:
        dead = [worker_id for worker_id, worker in self.workers.items() if not worker.alive]
        for worker_id in dead or list(self.workers)[: _WORKERS // 2]:
            del self.workers[worker_id]

    @staticmethod
    def died(worker: Worker) -> None:
        """A worker's life is over."""
        worker.alive = False
        if worker in worker.lane.workers:
            worker.lane.workers.remove(worker)

    def end(self) -> None:
        """The pool is over."""
        self.ended = True
        for lane in self.all:
            for worker in lane.workers:
                worker.alive = False
            lane.workers.clear()
            lane.tainted_ns = 0

    def told(
        self, busy: Collection[int], now_ns: int, origin_ns: int, queued: int
    ) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """The lanes as a batch tells them, and how many of the workers are in which state.

        Args:
            busy: The numbers of the lanes in which something runs.
            now_ns: The time.
            origin_ns: The time that the browser counts from.
            queued: How many requests wait.
        """
        counts = {"busy": 0, "idle": 0, "tainted": 0, "starting": 0, "target": self.target}
        places = self.all[1:]
        tainted = {lane.number for lane in places if not lane.workers and lane.tainted_ns > now_ns}
        missing = self.target - sum(bool(lane.workers) for lane in places) - len(tainted)
        ended = "gone" if self.ended else "busy" if busy else "idle"
        lanes = [_told(self.all[POOL_LANE], ended, None)]
        for lane in places:
            if lane.number in tainted:
                state = "tainted"
            elif lane.workers:
                state = "busy" if lane.number in busy else "idle"
            elif missing > 0 and not self.ended:
                missing -= 1
                state = "starting"
            else:
                state = "gone"
            if state in counts:
                counts[state] += 1
            until = (lane.tainted_ns - origin_ns) * 1e-9 if state == "tainted" else None
            lanes.append(_told(lane, state, until))
        if not self.ended:  # the first of a slot, which no event has named yet
            counts["starting"] += max(0, min(missing, queued))
        counts["target"] = max(self.target, counts["busy"] + counts["idle"] + counts["tainted"])
        return lanes, counts


def _told(lane: Lane, state: str, until: float | None) -> dict[str, Any]:
    return {
        "lane": lane.number,
        "label": lane.label,
        "kind": lane.kind,
        "worker": lane.workers[-1].shown if lane.workers else None,
        "tainted_until": until,
        "state": state,
    }
