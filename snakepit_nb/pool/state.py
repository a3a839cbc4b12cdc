"""What a pool decides: something happened, so these things are to be done.

*Rule:* pure. No clock, no thread, no descriptor: times come in as numbers, and every method gives back the
actions that are to be done, in order.

*Rule:* a request is in exactly one place: the queue, the hands of one worker, the line of the worker that
keeps its session, at rest until it is tried again, or done with.

*Rule:* of the workers of one slot at most one is given requests. One that is to be recycled serves on until
its successor is ready; that one waits until the first has answered what it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.pool.actions import Action, Broken, Finished, Interrupt, Kill, Reclaim, Settle, Stop
from snakepit_nb.pool.dealing import Dealer
from snakepit_nb.pool.member import Phase
from snakepit_nb.pool.slots import LEAVING, Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from snakepit_nb.pool.dealing import Manner
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
        manner: How they are given requests.
        intensity: Decides whether deaths end the pool.
        group_of: Tells of a request with which others it shares one turn in the queue.
        session_of: Tells of a request to which session it belongs.
        target_of: Tells of a request which worker alone is to run it.
        revives: Tells of a request whether it may be tried again after the death of its worker.

    Example:
        >>> from snakepit_nb.pool.dealing import Manner
        >>> from snakepit_nb.pool.restart import Intensity
        >>> state = PoolState("p", 1, Manner(ahead=4, tiny_ns=1e6), Intensity(5, 30.0))
        >>> state.submitted(1, alone=False)
        [Start(worker_id='p-0', slot=0, life=1)]
        >>> state.ready("p-0")
        [Send(worker_id='p-0', request_id=1)]
        >>> state.answered("p-0", 1, 500)
        ()
    """

    def __init__(  # noqa: PLR0913 - what a pool is made of
        self,
        name: str,
        max_workers: int,
        manner: Manner,
        intensity: Intensity,
        *,
        group_of: Callable[[int], Hashable] = lambda _: None,
        session_of: Callable[[int], str | None] = lambda _: None,
        target_of: Callable[[int], str | None] = lambda _: None,
        revives: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self.name = name
        self.max_workers = max_workers
        self._slots = Slots(name, max_workers)
        self._dealer = Dealer(self._slots, manner, group_of, session_of, target_of)
        self.workers = self._slots.workers
        self.queue = self._dealer.queue
        self.census = self._dealer.census
        self.closing = False
        self.broken: str | None = None
        self._ahead = manner.ahead
        self._tiny_ns = manner.tiny_ns
        self._threads = manner.threads
        self._intensity = intensity
        self._revives = revives
        self._ending: dict[int, str] = {}  # requests that are being ended -> outcome
        self._resting: set[int] = set()  # requests that are tried again after a while
        self._deaths_before_service = 0

    # What happened to requests

    def submitted(
        self,
        request_id: int,
        *,
        alone: bool,
        session: str | None = None,
        near: Hashable = None,
        worker: str | None = None,
    ) -> list[Action]:
        """A request came in.

        `alone` keeps others from waiting behind it in its worker's socket; `session` has it wait for the
        worker that keeps that; `near` is a wish for the worker of the last that was near the same; `worker`
        is the id of the one that is to run it.
        """
        if worker is not None:
            return self._dealer.take_there(request_id, worker)
        if session is not None:
            return self._dealer.take_home(request_id, session)
        return self._dealer.take_in(request_id, alone=alone, near=near)

    def rested(self, request_id: int) -> None:
        """A request fails and may be tried again later, with `submitted`, after `woken` said so.

        Said before what it ends with (`answered`), so that a pool that closes does not end meanwhile.
        """
        self._resting.add(request_id)

    def woken(self, request_id: int) -> bool:
        """The time of a request that rested has come; whether it still did."""
        there = request_id in self._resting
        self._resting.discard(request_id)
        return there

    def settled(self, request_id: int) -> list[Action]:
        """A request that rested is not tried again after all."""
        return self._after_closing() if self.woken(request_id) else []

    def answered(self, worker_id: str, request_id: int, run_ns: int) -> Iterable[Action]:
        """A worker answered a request, after it ran for `run_ns` nanoseconds. Unknown pairs are ignored."""
        worker = self.workers.get(worker_id)
        if worker is None or not worker.hands:
            return _NOTHING
        hands = worker.hands
        if hands[0] == request_id:
            hands.popleft()
        elif self._threads and request_id in hands:
            hands.remove(request_id)
        else:
            return _NOTHING
        worker.alone = False
        worker.served += 1
        worker.mean_ns = run_ns if worker.served == 1 else worker.mean_ns * 0.75 + run_ns * 0.25
        if self._ending:
            self._ending.pop(request_id, None)
        if worker.phase is not _SERVING:
            return self._retired(worker)
        if self._threads:
            worker.given_up.discard(request_id)
            self._dealer.leave_idle(worker)
        elif hands:
            # Refill by halves: one long look at the queue instead of one for each tiny answer.
            if (self.queue or worker.pinned) and len(hands) * 2 <= self._ahead:
                return self._dealer.fill(worker)
            return _NOTHING
        return self._next_for(worker)

    def cancelled(self, request_id: int, outcome: str) -> list[Action]:
        """Somebody wants a request ended as `outcome` (cancelled or timeout), wherever it is."""
        if self.woken(request_id) or self._dealer.drop(request_id):
            return [Settle(request_id, outcome, None), *self._after_closing()]
        return self._found_out(request_id, outcome)

    def interrupted(self, request_id: int) -> list[Action]:
        """Somebody wants a request interrupted; one that does not run is left as it is."""
        return self._found_out(request_id, _INTERRUPTED)

    def _found_out(self, request_id: int, outcome: str) -> list[Action]:
        """Only what a worker has not claimed can be taken back, so what cannot is running or answered."""
        for worker in self.workers.values():
            if request_id in worker.hands:
                if self._threads:
                    return self._given_up(worker, request_id, outcome)
                self._ending[request_id] = outcome
                return [Reclaim(worker.worker_id, len(worker.hands))]
        return []

    def _given_up(self, worker: Worker, request_id: int, outcome: str) -> list[Action]:
        """A thread cannot be ended, only asked to end: its place stays taken until it does."""
        ask = Interrupt(worker.worker_id, request_id)
        if outcome == _INTERRUPTED:
            return [ask]
        if request_id in worker.given_up:
            return []
        worker.given_up.add(request_id)
        return [ask, Settle(request_id, outcome, worker.worker_id), *self._after_closing()]

    def overdue(self, worker_id: str) -> list[Action]:
        """Threads that were asked to end had their time: a process that is full of them alone goes."""
        worker = self.workers.get(worker_id)
        if worker is None or worker.busy or not worker.hands or worker.phase in LEAVING:
            return []
        if worker.phase is _SERVING and not self._dealer.full(worker):
            return []
        worker.phase = Phase.KILLED
        self._dealer.leave_idle(worker)
        return [Kill(worker_id)]

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
                actions.extend(self._dealer.put_back(worker, request_id))
            else:
                actions.append(Settle(request_id, outcome, None))
        if self._ending:
            actions.extend(self._end_running(worker))
        if worker.phase is _SERVING and not worker.hands and worker not in self._dealer.idle:
            actions.extend(self._next_for(worker))
        actions.extend(self._retired(worker))
        actions.extend(self._dealer.feed_idle())
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

    def bounced(self, worker_id: str, request_id: int) -> list[Action]:
        """A worker's socket had no room for a request after all: it goes back to the head of the queue."""
        worker = self.workers[worker_id]
        worker.hands.remove(request_id)
        worker.mean_ns = self._tiny_ns
        return self._dealer.put_back(worker, request_id)

    def refused(self, worker_id: str, request_id: int) -> None:
        """A request cannot be sent to any worker and is done with; `resumed` gives its worker the next."""
        self.workers[worker_id].hands.remove(request_id)

    def resumed(self, worker_id: str) -> list[Action]:
        """A worker whose last request was refused or bounced can be sent others."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return self._dealer.feed_idle()
        if worker.phase is not _SERVING or self._dealer.full(worker) or worker in self._dealer.idle:
            return [*self._retired(worker), *self._dealer.feed_idle()]
        return [*self._next_for(worker), *self._dealer.feed_idle()]

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
        return list(self._next_for(worker))

    def recycled(self, worker_id: str, reason: str) -> list[Action]:
        """A worker is to be replaced, for this reason; nothing where it is on its way out or in already."""
        worker = self.workers.get(worker_id)
        if worker is None or worker.phase is not _SERVING or worker.retiring or self.closing:
            return []
        worker.retiring = reason
        return [self._dealer.start(worker.slot)]

    def _drain(self, worker: Worker) -> list[Action]:
        """A worker is given nothing more; what it has not begun goes elsewhere."""
        worker.phase = Phase.DRAINING
        self._dealer.leave_idle(worker)
        actions = self._dealer.lose(worker, "recycled")
        if len(worker.hands) > 1 and not self._threads:
            return [*actions, Reclaim(worker.worker_id, len(worker.hands))]
        return [*actions, *self._retired(worker)]

    def _retired(self, worker: Worker) -> Iterable[Action]:
        """A worker that drains and has answered all makes room for its successor."""
        if worker.phase is not Phase.DRAINING or worker.busy:
            return _NOTHING
        worker.phase = Phase.STOPPING
        return [Stop(worker.worker_id), *self._promoted(worker)]

    def _promoted(self, worker: Worker) -> list[Action]:
        """The successor of a worker that is given nothing more serves in its place."""
        other = self._slots.beside(worker)
        return self._serving(other) if other is not None and other.phase is Phase.STANDBY else []

    def died(
        self, worker_id: str, unclaimed: list[int], now: float, *, taint: bool = False, device: bool = False
    ) -> list[Action]:
        """A worker is gone; `unclaimed` are the requests that it had been sent but never took.

        Where it leaves a `taint`, its slot stays empty until `cleared`; where that is on the `device`, too,
        nobody who uses it is given anything until then.
        """
        worker = self._slots.end(worker_id, taint=taint)
        if worker is None:
            return []
        self._dealer.leave_idle(worker)
        if device:
            self._dealer.shut(worker.slot)
        actions = self._let_go(worker, unclaimed)
        actions.extend(self._dealer.lose(worker, self._why_lost(worker)))
        if worker.phase not in LEAVING and self.broken is None:
            actions.extend(self._counted(worker, now))
        if self.broken is None:
            actions.extend(self._promoted(worker))
            actions.extend(self._dealer.feed_idle())
            if not self.closing:
                actions.extend(self._replace(worker.slot))
            elif self.queue:
                actions.extend(self._dealer.grow())
        actions.extend(self._after_closing())
        return actions

    def _let_go(self, worker: Worker, unclaimed: list[int]) -> list[Action]:
        """What becomes of the requests in the hands of a worker that died."""
        actions: list[Action] = []
        for request_id in reversed(worker.hands):
            outcome = self._ending.pop(request_id, None)
            if outcome is not None:
                actions.append(Settle(request_id, outcome, worker.worker_id))
            elif request_id in unclaimed and request_id not in worker.given_up:
                actions.extend(self._dealer.put_back(worker, request_id))
            else:
                if request_id not in worker.given_up and self._revives(request_id):
                    self._resting.add(request_id)
                actions.append(Settle(request_id, "crashed", worker.worker_id))
        return actions

    def _why_lost(self, worker: Worker) -> str:
        if worker.phase in LEAVING:
            return "stopped"
        return "recycled" if worker.retiring else "crashed"

    def _counted(self, worker: Worker, now: float) -> list[Action]:
        reason = self._intensity.died(now)
        if worker.phase is Phase.STARTING:
            self._deaths_before_service += 1
            if self._deaths_before_service > self.max_workers + 1:
                reason = f"{self._deaths_before_service} workers in a row died before they could serve"
        return self.broke(reason) if reason else []

    def _replace(self, slot: int) -> list[Action]:
        """A new worker for the slot of a dead one, at once: the next request should not wait for it."""
        return [self._dealer.start(slot)] if self._slots.wants(slot) else []

    def cleared(self, slot: int) -> list[Action]:
        """The taint of a slot is over: it gets a worker again."""
        actions = self._dealer.reopen(slot)
        if not self._slots.clear(slot) or self.broken is not None:
            return actions
        return [*actions, *(self._dealer.grow() if self.closing else [self._dealer.start(slot)])]

    def broke(self, reason: str) -> list[Action]:
        """The pool cannot go on: everything that waits or runs ends with `reason`."""
        if self.broken is not None:
            return []
        self.broken = reason
        actions: list[Action] = [Broken(reason)]
        actions.extend(self._give_up_waiting("broken"))
        actions.extend(self._kill_all("broken"))
        self._ending.clear()
        return [*actions, *self._after_closing()]

    def _give_up_waiting(self, outcome: str) -> list[Action]:
        resting, self._resting = self._resting, set()
        return [*(Settle(each, outcome, None) for each in resting), *self._dealer.clear(outcome)]

    def _kill_all(self, outcome: str) -> list[Action]:
        actions: list[Action] = []
        for worker in self.workers.values():
            actions.extend(Settle(request_id, outcome, worker.worker_id) for request_id in worker.hands)
            worker.hands.clear()
            worker.phase = Phase.KILLED
            actions.append(Kill(worker.worker_id))
        self._dealer.idle.clear()
        return actions

    # What the owner wants

    def started(self) -> list[Action]:
        """The owner wants all workers now, and not at the first request."""
        actions: list[Action] = []
        while self._slots.free and not self.closing and self.broken is None:
            actions.append(self._dealer.start(None))
        return actions

    def grown(self) -> list[Action]:
        """The pool may have one worker more, and gets it."""
        self.max_workers += 1
        self._slots.add()
        return self.started() if self.workers else []

    def shrunk(self) -> list[Action]:
        """The pool may have one worker less: who has least to lose and to do goes, once it is done."""
        self.max_workers -= 1
        if self._slots.remove_empty():
            return []
        actions: list[Action] = []
        for worker in self._slots.condemn():
            if worker.phase is _SERVING:
                worker.retiring = worker.retiring or "manual"
                actions.extend(self._drain(worker))
            elif worker.phase in {Phase.STARTING, Phase.STANDBY}:
                actions.extend(self._dealer.lose(worker, "recycled"))
                actions.append(self._dismiss(worker))
        return actions

    def _dismiss(self, worker: Worker) -> Action:
        """End a worker that runs nothing; one that is only starting cannot be asked."""
        starting = worker.phase is Phase.STARTING
        worker.phase = Phase.KILLED if starting else Phase.STOPPING
        return Kill(worker.worker_id) if starting else Stop(worker.worker_id)

    def ended(self, session: str) -> None:
        """A session is over, and its worker has forgotten it."""
        self._dealer.unbind(session)

    def closed(self, *, cancel_futures: bool) -> list[Action]:
        """No request comes in any more; the queued ones are cancelled or still served."""
        self.closing = True
        actions: list[Action] = []
        if cancel_futures:
            actions.extend(self._give_up_waiting("cancelled"))
        actions.extend(self._after_closing())
        return actions

    def aborted(self) -> list[Action]:
        """Everything ends now: all requests cancelled, all workers killed."""
        actions = self.closed(cancel_futures=True)
        return [*actions, *self._kill_all("cancelled")]

    # The decisions behind

    def _next_for(self, worker: Worker) -> Iterable[Action]:
        return self._dealer.next_for(worker) or (self._after_closing() if self.closing else _NOTHING)

    def _after_closing(self) -> list[Action]:
        """Stop each worker that has nothing to do, once the pool is closing and nothing waits."""
        if self.broken is not None:
            return [] if self.workers else [Finished()]
        if not self.closing or self._resting or self.census.queued():
            return []
        actions: list[Action] = []
        for worker in self.workers.values():
            if not worker.busy and worker.phase not in LEAVING:
                self._dealer.leave_idle(worker)
                actions.extend(self._dealer.lose(worker, "stopped"))
                actions.append(self._dismiss(worker))
        if not self.workers:
            actions.append(Finished())
        return actions
