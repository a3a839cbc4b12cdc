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

from snakepit_nb.dashboard.packing import ROW
from snakepit_nb.dashboard.protocol import POOL_LANE, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.dashboard.lanes import Lanes, Worker
    from snakepit_nb.dashboard.names import Names
    from snakepit_nb.dashboard.packing import Table

OUTCOMES: Final[Mapping[str, int]] = {each.name.lower(): each.value for each in Outcome if each}

_OPEN: Final = 10_000
_OPEN_TOLD: Final = 2_000
_RECENT: Final = 0xFFF  # a mask
_QUIET_NS: Final = 1_000_000_000
_REQUEST: Final = int(Kind.REQUEST)
_pack: Final = Struct("<dffIHHHBB").pack


class Requests:
    """The requests of one pool.

    Args:
        origin_ns: The monotonic time that rows count from.
        lanes: The pool's lanes.
        names: The dictionary of strings.
        latencies: Where the time of each that ended is put, in microseconds.

    Attributes:
        ended: How many ended, by outcome.
        dropped: How many that ran were lost from sight for want of room.
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
        self.ended = [0] * len(Outcome)
        self.dropped = 0

    # Events

    def queued(self, number: int, measured: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """A request waits."""
        request = facts["request_id"]
        if type(request) is not int:
            raise TypeError(request)
        waiting = self._waiting
        if request not in self._open:
            waiting[request] = None
            # Nothing tells of a request that is cancelled while it waits, but the next one counts them.
            more = len(waiting) - measured["queue_size"] - 1
            if more > 0:
                self._gone(more)

    def _gone(self, count: int) -> None:
        for request in list(islice(self._waiting, count)):
            del self._waiting[request]

    def dispatched(self, number: int, measured: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """A request is sent to a worker, perhaps after another one gave it back."""
        request = facts["request_id"]
        if type(request) is not int:
            raise TypeError(request)
        worker = self._lanes.workers.get(facts["worker_id"])
        if worker is None:
            worker = self._lanes.worker(facts["worker_id"])
        name = self._names.known.get(facts["command"])
        if name is None:
            name = self._names(facts["command"])
        opened = self._open
        if request in opened:
            del opened[request]
        elif len(opened) >= _OPEN:
            del opened[next(iter(opened))]
            self.dropped += 1
        opened[request] = (worker, facts["monotonic_ns"], measured["queue_us"], name, number)
        self._waiting.pop(request, None)

    def executed(self, number: int, measured: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """A request ended."""
        request = facts.get("request_id")
        ended = facts["monotonic_ns"]
        queue_us = measured["queue_us"]
        run_us = measured["duration_us"]
        outcome = OUTCOMES[facts["outcome"]]
        opened = self._open.pop(request, None)  # type: ignore[arg-type]
        if opened is not None and opened[0].worker_id == facts.get("worker_id"):
            worker, began, waited, name, _ = opened
            if began < worker.ended_ns and worker.capacity == 1:
                waited += (worker.ended_ns - began) * 1e-3
                began = worker.ended_ns
            place = worker.place
            life = worker.life
            if worker.ended_ns < ended:
                worker.ended_ns = ended
        else:
            began = int(ended - run_us * 1000)
            waited = queue_us
            name = self._names(facts["command"])
            place, life = self._place(facts.get("worker_id"), ended)
            self._waiting.pop(request, None)  # type: ignore[call-overload]
        if began > ended:
            began = ended
        origin = self._origin_ns
        self._bars.append(
            _pack(
                (began - origin) * 1e-9,
                (ended - began) * 1e-9,
                waited * 1e-6,
                number,
                place,
                name,
                life,
                _REQUEST,
                outcome,
            )
        )
        self._latencies.append(queue_us + run_us)
        self.ended[outcome] += 1
        if request is not None:
            self._recent[request & _RECENT] = request

    def _place(self, worker_id: object, ended: int) -> tuple[int, int]:
        if not worker_id:
            return POOL_LANE, 0
        worker = self._lanes.worker(worker_id)
        worker.ended_ns = max(worker.ended_ns, ended)
        return worker.place, worker.life

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

    def quiet(self, idle: int) -> None:
        """Nothing was heard of requests for a while: where a worker idles, nothing can be waiting.

        What waited has been cancelled meanwhile, which no event tells.
        """
        if idle and not any(worker.alive for worker, *_ in self._open.values()):
            self._waiting.clear()

    def names_in_use(self) -> list[int]:
        """The names of what runs."""
        return [name for _, _, _, name, _ in self._open.values()]

    def rename(self, renumbered: np.ndarray[Any, np.dtype[np.uint16]]) -> None:
        """The names have other numbers now."""
        for request, (worker, sent, wait, name, number) in list(self._open.items()):
            self._open[request] = (worker, sent, wait, int(renumbered[name]), number)

    def take(self) -> Table:
        """The bars that are new."""
        bars = np.frombuffer(b"".join(self._bars), ROW)
        self._bars.clear()
        return bars
