"""What a pool decides: something happened, so these things are to be done.

*Rule:* pure. No clock, no thread, no descriptor: times come in as numbers, and every method gives back the
actions that are to be done, in order.

*Rule:* a request is in exactly one place: the queue, the hands of one worker, or done with.

*Rule:* of the workers of one slot at most one is given requests. One that is to be recycled serves on until
its successor is ready; that one waits until the first has answered what it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.pool.actions import (
    Action,
    Broken,
    Finished,
    Interrupt,
    Kill,
    Reclaim,
    Saturated,
    Send,
    Settle,
    Start,
    Stop,
)
from snakepit_nb.pool.member import Phase
from snakepit_nb.pool.slots import LEAVING, Slots
from snakepit_nb.pool.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from snakepit_nb.pool.member import Worker
    from snakepit_nb.pool.restart import Intensity


_NOTHING: Final[tuple[Action, ...]] = ()
_INTERRUPTED: Final = "interrupted"
_SERVING: Final = Phase.SERVING  # looking it up in its class costs more than all else that a test of it takes


class PoolState:
    """The state of one pool.

    Args:
        name: The pool's name; workers are named after it.
        max_workers: How many workers it may have.
        ahead: How many tiny requests one worker may be sent at once.
        tiny_ns: A worker's requests are tiny while their running mean is below this, in nanoseconds.
        max_requests: How many requests one worker is given in its life; None for any number.
        group_of: Tells of a request with which others it shares one turn in the queue.
        intensity: Decides whether deaths end the pool.

    Example:
        >>> from snakepit_nb.pool.restart import Intensity
        >>> state = PoolState("p", 1, ahead=4, tiny_ns=1e6, intensity=Intensity(5, 30.0))
        >>> state.submitted(1, alone=False)
        [Start(worker_id='p-0', slot=0, life=1)]
        >>> state.ready("p-0")
        [Send(worker_id='p-0', request_id=1)]
        >>> state.answered("p-0", 1, 500)
        ()
    """

    def __init__(  # noqa: PLR0913 - all by name but two
        self,
        name: str,
        max_workers: int,
        *,
        ahead: int,
        tiny_ns: float,
        intensity: Intensity,
        max_requests: int | None = None,
        group_of: Callable[[int], Hashable] = lambda _: None,
    ) -> None:
        self.name = name
        self.max_workers = max_workers
        self._slots = Slots(name, max_workers)
        self.workers = self._slots.workers
        self.queue = Waiting()
        self.closing = False
        self.broken: str | None = None
        self._ahead = ahead
        self._tiny_ns = tiny_ns
        self._intensity = intensity
        self._most = max_requests
        self._group_of = group_of
        self._idle: list[Worker] = []
        self._ending: dict[int, str] = {}  # requests that are being ended -> outcome
        self._saturated = False
        self._deaths_before_service = 0

    # What happened to requests

    def submitted(self, request_id: int, *, alone: bool) -> list[Action]:
        """A request came in; `alone` keeps others from waiting behind it in its worker's socket."""
        if self._idle:
            worker = self._idle.pop()
            worker.alone = alone
            return self._give(worker, request_id)
        # While workers are missing, one that is started is better than a place behind others.
        if not self.queue and not alone and not self._slots.free:
            for worker in self.workers.values():
                if self._has_room(worker):
                    return self._give(worker, request_id)
        self.queue.add(request_id, alone=alone, group=self._group_of(request_id))
        actions = self._grow()
        if not actions and not self._saturated and not self._slots.free:
            self._saturated = True
            actions.append(Saturated())
        return actions

    def answered(self, worker_id: str, request_id: int, run_ns: int) -> Iterable[Action]:
        """A worker answered a request, after it ran for `run_ns` nanoseconds. Unknown pairs are ignored."""
        worker = self.workers.get(worker_id)
        if worker is None or not worker.hands or worker.hands[0] != request_id:
            return _NOTHING
        hands = worker.hands
        hands.popleft()
        worker.alone = False
        worker.served += 1
        worker.mean_ns = run_ns if worker.served == 1 else worker.mean_ns * 0.75 + run_ns * 0.25
        if self._ending:
            self._ending.pop(request_id, None)
        if worker.phase is not _SERVING:
            return self._retired(worker)
        if self.queue:
            # Refill by halves: one long look at the queue instead of one for each tiny answer.
            if len(hands) * 2 <= self._ahead:
                return self._fill(worker)
            return _NOTHING
        if hands:
            return _NOTHING
        return self._rest(worker)

    def cancelled(self, request_id: int, outcome: str) -> list[Action]:
        """Somebody wants a request ended as `outcome` (cancelled or timeout), wherever it is."""
        if self.queue.drop(request_id):
            self._drained()
            return [Settle(request_id, outcome, None), *self._after_closing()]
        return self._found_out(request_id, outcome)

    def interrupted(self, request_id: int) -> list[Action]:
        """Somebody wants a request interrupted; one that does not run is left as it is."""
        return self._found_out(request_id, _INTERRUPTED)

    def _found_out(self, request_id: int, outcome: str) -> list[Action]:
        """Only what a worker has not claimed can be taken back, so what cannot is running or answered."""
        for worker in self.workers.values():
            if request_id in worker.hands:
                self._ending[request_id] = outcome
                return [Reclaim(worker.worker_id, len(worker.hands))]
        return []

    def reclaimed(self, worker_id: str, request_ids: list[int]) -> list[Action]:
        """What `Reclaim` brought back, in the order of sending."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return []
        actions: list[Action] = []
        for request_id in reversed(request_ids):
            if request_id not in worker.hands:
                continue
            worker.hands.remove(request_id)
            outcome = self._ending.pop(request_id, None)
            if outcome is None or outcome == _INTERRUPTED:
                self._put_back(worker, request_id)
            else:
                actions.append(Settle(request_id, outcome, None))
        if self._ending:
            actions.extend(self._end_running(worker))
        if worker.phase is _SERVING and not worker.hands and worker not in self._idle:
            actions.extend(self._fill(worker) if self.queue else self._rest(worker))
        actions.extend(self._retired(worker))
        actions.extend(self._feed_idle())
        actions.extend(self._after_closing())
        return actions

    def _end_running(self, worker: Worker) -> list[Action]:
        """End the request that a worker runs, where that is wanted.

        A worker claims one request after it answered the one before: so of those that could not be taken back
        only the last is running, and the answers of the others are on their way.
        """
        actions: list[Action] = []
        last = worker.hands[-1] if worker.hands else None
        for request_id in list(worker.hands):
            outcome = self._ending.pop(request_id, None)
            if outcome is None or request_id != last:
                continue
            if outcome == _INTERRUPTED:
                actions.append(Interrupt(worker.worker_id))
                continue
            worker.hands.remove(request_id)
            actions.append(Settle(request_id, outcome, worker.worker_id))
            if worker.phase is not Phase.KILLED:
                worker.phase = Phase.KILLED
                actions.append(Kill(worker.worker_id))
        return actions

    def bounced(self, worker_id: str, request_id: int) -> None:
        """A worker's socket had no room for a request after all: it goes back to the head of the queue."""
        worker = self.workers[worker_id]
        worker.hands.remove(request_id)
        worker.mean_ns = self._tiny_ns
        self._put_back(worker, request_id)

    def refused(self, worker_id: str, request_id: int) -> None:
        """A request cannot be sent to any worker and is done with; `resumed` gives its worker the next."""
        self.workers[worker_id].hands.remove(request_id)

    def resumed(self, worker_id: str) -> list[Action]:
        """A worker whose last request was refused or bounced can be sent others."""
        worker = self.workers.get(worker_id)
        if worker is None or worker.phase is not _SERVING or worker.hands or worker in self._idle:
            return [*(self._retired(worker) if worker is not None else ()), *self._feed_idle()]
        return [*(self._fill(worker) if self.queue else self._rest(worker)), *self._feed_idle()]

    # What happened to workers

    def ready(self, worker_id: str) -> list[Action]:
        """A worker said hello (and its initializer, if any, went well)."""
        worker = self.workers.get(worker_id)
        if worker is None or worker.phase is not Phase.STARTING:
            return []
        self._deaths_before_service = 0
        other = self._slots.beside(worker)
        if other is None:
            return self._serving(worker)
        worker.phase = Phase.STANDBY
        return self._drain(other) if other.phase is _SERVING else []

    def _serving(self, worker: Worker) -> list[Action]:
        worker.phase = _SERVING
        return list(self._fill(worker)) if self.queue else list(self._rest(worker))

    def recycled(self, worker_id: str, reason: str) -> list[Action]:
        """A worker is to be replaced, for this reason; nothing where it is on its way out or in already."""
        worker = self.workers.get(worker_id)
        if worker is None or worker.phase is not _SERVING or worker.retiring or self.closing:
            return []
        worker.retiring = reason
        return [self._start(worker.slot)]

    def _drain(self, worker: Worker) -> list[Action]:
        """A worker is given nothing more; what it has not begun goes elsewhere."""
        worker.phase = Phase.DRAINING
        self._leave_idle(worker)
        if len(worker.hands) > 1:
            return [Reclaim(worker.worker_id, len(worker.hands))]
        return list(self._retired(worker))

    def _retired(self, worker: Worker) -> Iterable[Action]:
        """A worker that drains and has answered all makes room for its successor."""
        if worker.phase is not Phase.DRAINING or worker.hands:
            return _NOTHING
        worker.phase = Phase.STOPPING
        return [Stop(worker.worker_id), *self._promoted(worker)]

    def _promoted(self, worker: Worker) -> list[Action]:
        """The successor of a worker that is given nothing more serves in its place."""
        other = self._slots.beside(worker)
        return self._serving(other) if other is not None and other.phase is Phase.STANDBY else []

    def died(self, worker_id: str, unclaimed: list[int], now: float, *, taint: bool = False) -> list[Action]:
        """A worker is gone; `unclaimed` are the requests that it had been sent but never took.

        Where it leaves a `taint`, its slot stays empty until `cleared`.
        """
        worker = self._slots.end(worker_id, taint=taint)
        if worker is None:
            return []
        self._leave_idle(worker)
        actions: list[Action] = []
        for request_id in reversed(worker.hands):
            outcome = self._ending.pop(request_id, None)
            if outcome is not None:
                actions.append(Settle(request_id, outcome, worker_id))
            elif request_id in unclaimed:
                self._put_back(worker, request_id)
            else:
                actions.append(Settle(request_id, "crashed", worker_id))
        if worker.phase not in LEAVING and self.broken is None:
            actions.extend(self._counted(worker, now))
        if self.broken is None:
            actions.extend(self._promoted(worker))
            actions.extend(self._feed_idle())
            if not self.closing:
                actions.extend(self._replace(worker.slot))
            elif self.queue:
                actions.extend(self._grow())
        actions.extend(self._after_closing())
        return actions

    def _counted(self, worker: Worker, now: float) -> list[Action]:
        reason = self._intensity.died(now)
        if worker.phase is Phase.STARTING:
            self._deaths_before_service += 1
            if self._deaths_before_service > self.max_workers + 1:
                reason = f"{self._deaths_before_service} workers in a row died before they could serve"
        return self.broke(reason) if reason else []

    def _replace(self, slot: int) -> list[Action]:
        """A new worker for the slot of a dead one, at once: the next request should not wait for it."""
        return [self._start(slot)] if self._slots.wants(slot) else []

    def cleared(self, slot: int) -> list[Action]:
        """The taint of a slot is over: it gets a worker again."""
        if not self._slots.clear(slot) or self.broken is not None:
            return []
        return self._grow() if self.closing else [self._start(slot)]

    def broke(self, reason: str) -> list[Action]:
        """The pool cannot go on: everything that waits or runs ends with `reason`."""
        if self.broken is not None:
            return []
        self.broken = reason
        actions: list[Action] = [Broken(reason)]
        actions.extend(Settle(request_id, "broken", None) for request_id in self.queue)
        self.queue.clear()
        for worker in self.workers.values():
            actions.extend(Settle(request_id, "broken", worker.worker_id) for request_id in worker.hands)
            worker.hands.clear()
            worker.phase = Phase.KILLED
            actions.append(Kill(worker.worker_id))
        self._idle.clear()
        self._ending.clear()
        return actions

    # What the owner wants

    def started(self) -> list[Action]:
        """The owner wants all workers now, and not at the first request."""
        actions: list[Action] = []
        while self._slots.free and not self.closing and self.broken is None:
            actions.append(self._start(None))
        return actions

    def grown(self) -> list[Action]:
        """The pool may have one worker more, and gets it."""
        self.max_workers += 1
        self._slots.add()
        return [self._start(None)]

    def closed(self, *, cancel_futures: bool) -> list[Action]:
        """No request comes in any more; the queued ones are cancelled or still served."""
        self.closing = True
        actions: list[Action] = []
        if cancel_futures:
            actions.extend(Settle(request_id, "cancelled", None) for request_id in self.queue)
            self.queue.clear()
        actions.extend(self._after_closing())
        return actions

    def aborted(self) -> list[Action]:
        """Everything ends now: all requests cancelled, all workers killed."""
        actions = self.closed(cancel_futures=True)
        for worker in self.workers.values():
            actions.extend(Settle(request_id, "cancelled", worker.worker_id) for request_id in worker.hands)
            worker.hands.clear()
            worker.phase = Phase.KILLED
            actions.append(Kill(worker.worker_id))
        self._idle.clear()
        return actions

    # The decisions behind

    def _put_back(self, worker: Worker, request_id: int) -> None:
        self.queue.put_back(request_id, alone=worker.alone, group=self._group_of(request_id))

    def _has_room(self, worker: Worker) -> bool:
        return (
            worker.phase is _SERVING
            and not worker.alone
            and worker.mean_ns < self._tiny_ns
            and len(worker.hands) < self._ahead
        )

    def _give(self, worker: Worker, request_id: int) -> list[Action]:
        """Send a request to a worker; with the last that it may have in its life its successor starts."""
        worker.hands.append(request_id)
        actions: list[Action] = [Send(worker.worker_id, request_id)]
        if self._most is not None and worker.served + len(worker.hands) >= self._most:
            actions.extend(self.recycled(worker.worker_id, "max_requests"))
            worker.phase = Phase.DRAINING
        return actions

    def _fill(self, worker: Worker) -> list[Action]:
        actions: list[Action] = []
        queue, hands = self.queue, worker.hands
        while queue and (not hands or self._has_room(worker)):
            request_id, alone = queue.take()
            if alone and hands:
                queue.put_back(request_id, alone=True, group=self._group_of(request_id))
                break
            worker.alone = alone
            actions.extend(self._give(worker, request_id))
            if alone or worker.phase is not _SERVING:
                break
        self._drained()
        return actions

    def _feed_idle(self) -> list[Action]:
        actions: list[Action] = []
        while self.queue and self._idle:
            actions.extend(self._fill(self._idle.pop()))
        return actions

    def _rest(self, worker: Worker) -> Iterable[Action]:
        """A worker has nothing left and nothing waits: it helps another, or stops, or is idle."""
        self._idle.append(worker)
        for other in self.workers.values():
            if len(other.hands) > 1:
                return (Reclaim(other.worker_id, len(other.hands) // 2),)
        return self._after_closing() if self.closing else _NOTHING

    def _grow(self) -> list[Action]:
        if not self._slots.free:
            return []
        return [self._start(None)] if len(self.queue) > self._starting() else []

    def _starting(self) -> int:
        """How many workers will serve soon that take over from nobody."""
        return sum(
            worker.phase is Phase.STARTING and self._slots.beside(worker) is None
            for worker in self.workers.values()
        )

    def _start(self, slot: int | None) -> Start:
        worker = self._slots.begin(slot)
        return Start(worker.worker_id, worker.slot, worker.life)

    def _after_closing(self) -> list[Action]:
        """Stop each worker that has nothing to do, once the pool is closing and nothing waits."""
        if not self.closing or self.queue:
            return []
        actions: list[Action] = []
        for worker in self.workers.values():
            if not worker.hands and worker.phase not in LEAVING:
                self._leave_idle(worker)
                # One that is only starting cannot be asked.
                starting = worker.phase is Phase.STARTING
                worker.phase = Phase.KILLED if starting else Phase.STOPPING
                actions.append(Kill(worker.worker_id) if starting else Stop(worker.worker_id))
        if not self.workers:
            actions.append(Finished())
        return actions

    def _leave_idle(self, worker: Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)

    def _drained(self) -> None:
        if self._saturated and not self.queue:
            self._saturated = False

    # What may be asked

    def supplied(self) -> bool:
        """Whether every worker has more in its socket than the request that it runs.

        Example:
            >>> from snakepit_nb.pool.restart import Intensity
            >>> PoolState("p", 1, ahead=1, tiny_ns=0, intensity=Intensity(5, 30.0)).supplied()
            True
        """
        return all(len(worker.hands) > 1 for worker in self.workers.values() if worker.phase is _SERVING)

    def waiting(self) -> int:
        """How many requests wait, in the queue or in a socket behind the one that runs.

        Those do not count for which a worker starts, or could.

        Example:
            >>> from snakepit_nb.pool.restart import Intensity
            >>> PoolState("p", 1, ahead=1, tiny_ns=0, intensity=Intensity(5, 30.0)).waiting()
            0
        """
        behind = sum(len(worker.hands) - 1 for worker in self.workers.values() if worker.hands)
        return max(0, len(self.queue) + behind - self._slots.vacant - self._starting())

    def has_room(self, limit: int) -> bool:
        """Whether one request more can come in where `limit` may wait.

        Example:
            >>> from snakepit_nb.pool.restart import Intensity
            >>> PoolState("p", 1, ahead=1, tiny_ns=0, intensity=Intensity(5, 30.0)).has_room(1)
            True
        """
        return bool(self._idle) or self.waiting() < limit

    def has_successor(self, worker_id: str) -> bool:
        """Whether another worker was started to take over from this one, and is there.

        Example:
            >>> from snakepit_nb.pool.restart import Intensity
            >>> PoolState("p", 1, ahead=1, tiny_ns=0, intensity=Intensity(5, 30.0)).has_successor("p-0")
            False
        """
        worker = self.workers.get(worker_id)
        return worker is not None and self._slots.beside(worker) is not None

    def counts(self) -> dict[str, int]:
        """How many workers start, are busy and idle, and how many requests wait.

        Example:
            >>> from snakepit_nb.pool.restart import Intensity
            >>> PoolState("p", 1, ahead=1, tiny_ns=0, intensity=Intensity(5, 30.0)).counts()
            {'workers': 0, 'starting': 0, 'busy': 0, 'idle': 0, 'queued': 0}
        """
        phases = [worker.phase for worker in self.workers.values()]
        busy = sum(bool(worker.hands) for worker in self.workers.values())
        return {
            "workers": self._slots.taken,
            "starting": phases.count(Phase.STARTING),
            "busy": busy,
            "idle": len(self._idle),
            "queued": len(self.queue),
        }
