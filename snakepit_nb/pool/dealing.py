"""Who is given which request: the queue, the idle workers, and the workers that sessions are bound to.

*Rule:* pure, as `state` is, whose right hand it is: what is to be done comes back as actions.

*Rule:* what belongs to a session waits at the worker that keeps it and nowhere else; that worker serves it
and the common queue in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.pool.actions import Action, Lost, Opened, Reclaim, Saturated, Send, Settle, Start
from snakepit_nb.pool.census import Census
from snakepit_nb.pool.member import Phase
from snakepit_nb.pool.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from snakepit_nb.pool.member import Worker
    from snakepit_nb.pool.slots import Slots

_NOTHING: Final[tuple[Action, ...]] = ()
_SERVING: Final = Phase.SERVING  # looking it up in its class costs more than all else that a test of it takes
_WAITS: Final = frozenset({Phase.STARTING, Phase.STANDBY})
_TAKES: Final = _WAITS | {Phase.SERVING}


class Manner(NamedTuple):
    """How workers are given requests.

    Attributes:
        ahead: How many tiny requests one worker may be sent at once.
        tiny_ns: A worker's requests are tiny while their running mean is below this, in nanoseconds.
        threads: How many requests a worker runs at once, each in a thread; 0 where it runs one in its main
            thread.
        max_requests: How many requests one worker is given in its life; None for any number.

    Example:
        >>> Manner(1, 0.0).threads
        0
    """

    ahead: int
    tiny_ns: float
    threads: int = 0
    max_requests: int | None = None


class Dealer:
    """Deals the requests of one pool out to its workers."""

    def __init__(
        self,
        slots: Slots,
        manner: Manner,
        group_of: Callable[[int], Hashable],
        session_of: Callable[[int], str | None],
        target_of: Callable[[int], str | None],
    ) -> None:
        self.queue = Waiting()
        self.idle: list[Worker] = []
        self._slots = slots
        self.census = Census(slots, self.queue, self.idle, max(1, manner.threads))
        self._ahead, self._tiny_ns, self._threads, self._most = manner
        self._group_of = group_of
        self._session_of = session_of
        self._target_of = target_of
        self._homes: dict[str, Worker] = {}
        self._near: dict[Hashable, Worker] = {}
        self._has_sessions = False
        self._saturated = False
        self._shut: set[int] = set()

    # A device is tainted

    def shut(self, slot: int) -> None:
        """A crash tainted the device that all workers use: none is given anything until `reopen`."""
        self._shut.add(slot)

    def reopen(self, slot: int) -> list[Action]:
        """The taint that the crash in this slot left on the device is over."""
        actions: list[Action] = []
        if slot in self._shut:
            self._shut.discard(slot)
            for worker in () if self._shut else tuple(self.idle):
                if self.queue or worker.pinned:
                    self.leave_idle(worker)
                    actions.extend(self.fill(worker))
        return actions

    # A request comes in

    def take_in(self, request_id: int, *, alone: bool, near: Hashable = None) -> list[Action]:
        """A request of no session came in; where it can be chosen, the worker of the one `near` it has it."""
        idle = self.idle
        if idle and not self._shut:
            worker = idle.pop() if near is None else self._take_near(near)
            worker.alone = alone
            return self.give(worker, request_id)
        # While workers are missing, one that is started is better than a place behind others.
        if not self.queue and not alone and not self._slots.free and not self._shut:
            for worker in self._slots.workers.values():
                if self.has_room(worker):
                    return self.give(worker, request_id)
        self.queue.add(request_id, alone=alone, group=self._group_of(request_id))
        actions = self.grow()
        if not actions and not self._saturated and not self._slots.free:
            self._saturated = True
            actions.append(Saturated())
        return actions

    def _take_near(self, near: Hashable) -> Worker:
        worker = self._near.get(near)
        if worker is not None and worker in self.idle:
            self.idle.remove(worker)
        else:
            worker = self._near[near] = self.idle.pop()
        return worker

    def take_home(self, request_id: int, session: str) -> list[Action]:
        """A request of a session came in: it goes to the worker that keeps the session, or will.

        It has that worker to itself: what cannot go elsewhere must not keep others from going there.
        """
        self._has_sessions = True
        actions: list[Action] = []
        worker = self._homes.get(session)
        if worker is None:
            worker = self._choose(actions)
            if worker is None:
                self.queue.add(request_id, alone=True, group=self._group_of(request_id))
                return actions
            actions.append(self._bind(session, worker))
        self._pin(worker, request_id, actions)
        return actions

    def take_there(self, request_id: int, worker_id: str) -> list[Action]:
        """A request came in that this one worker is to run, and no other."""
        worker = self._slots.workers.get(worker_id)
        if worker is None or worker.phase not in _TAKES:
            return [Settle(request_id, "worker_gone", None)]
        actions: list[Action] = []
        self._pin(worker, request_id, actions)
        return actions

    def _choose(self, actions: list[Action]) -> Worker | None:
        """The worker that a new session is to have; None where there is none and none can be started."""
        idle = min(self.idle, key=lambda worker: len(worker.sessions), default=None)
        if idle is not None and not (idle.sessions and self._slots.free):
            return idle
        if self._slots.free:
            start = self.start(None)
            actions.append(start)
            made = self._slots.workers[start.worker_id]
            # What waits in the queue has workers on their way already, and this one may be the first to come.
            made.owes = True
            return made
        there = [
            worker
            for worker in self._slots.workers.values()
            if worker.phase in _WAITS or (worker.phase is _SERVING and not worker.retiring)
        ]
        return min(there, key=lambda worker: (len(worker.sessions), len(worker.hands)), default=None)

    def _bind(self, session: str, worker: Worker) -> Opened:
        self._homes[session] = worker
        worker.sessions.append(session)
        return Opened(session, worker.worker_id)

    def _pin(self, worker: Worker, request_id: int, actions: list[Action]) -> None:
        worker.pinned.append(request_id)
        if worker.phase is _SERVING and not self.full(worker):
            self.leave_idle(worker)
            actions.extend(self.fill(worker))

    # A worker can be given some

    def fill(self, worker: Worker) -> list[Action]:
        """Give a worker what it may have of what waits."""
        actions: list[Action] = []
        queue, hands, pinned = self.queue, worker.hands, worker.pinned
        while (queue or pinned) and (not hands or self.has_room(worker)) and not self._shut:
            own = bool(pinned) and (worker.owes or not queue)
            request_id, alone = (pinned.popleft(), True) if own else queue.take()
            worker.owes = not own
            if self._has_sessions and not own and self._goes_home(worker, request_id, actions):
                continue
            if alone and hands and not self._threads:
                actions.extend(self.put_back(worker, request_id, alone=True))
                break
            worker.alone = alone
            actions.extend(self.give(worker, request_id))
            if worker.phase is not _SERVING or (alone and not self._threads):
                break
        if worker.phase is _SERVING and not self.full(worker):
            self.offer(worker)
        self.drained()
        return actions

    def _goes_home(self, worker: Worker, request_id: int, actions: list[Action]) -> bool:
        """Whether a request from the queue belongs to another worker's session, and waits there now."""
        session = self._session_of(request_id)
        if session is None:
            return False
        home = self._homes.get(session)
        if home is None:
            actions.append(self._bind(session, worker))
            home = worker
        if home is worker:
            return False
        self._pin(home, request_id, actions)
        return True

    def give(self, worker: Worker, request_id: int) -> list[Action]:
        """Send a request to a worker; with the last that it may have in its life its successor starts."""
        worker.hands.append(request_id)
        actions: list[Action] = [Send(worker.worker_id, request_id)]
        if self._most is not None and worker.served + len(worker.hands) >= self._most:
            if worker.phase is _SERVING and not worker.retiring:
                worker.retiring = "max_requests"
                actions.append(self.start(worker.slot))
            worker.phase = Phase.DRAINING
            self.leave_idle(worker)
            actions.extend(self.lose(worker, "recycled"))
        elif self._threads:
            self.leave_idle(worker) if self.full(worker) else self.offer(worker)
        return actions

    def feed_idle(self) -> list[Action]:
        """Give what waits to the workers that are idle."""
        actions: list[Action] = []
        while self.queue and self.idle and not self._shut:
            actions.extend(self.fill(self.idle.pop()))
        return actions

    def next_for(self, worker: Worker) -> Iterable[Action]:
        """A worker has nothing in its hands: it is given some, or rests."""
        return self.fill(worker) if self.queue or worker.pinned else self.rest(worker)

    def rest(self, worker: Worker) -> Iterable[Action]:
        """A worker has nothing left and nothing waits: it helps another, or is idle."""
        self.offer(worker)
        if not self._threads:
            for other in self._slots.workers.values():
                if len(other.hands) > 1:
                    return (Reclaim(other.worker_id, len(other.hands) // 2),)
        return _NOTHING

    def offer(self, worker: Worker) -> None:
        """A worker can be given a request as soon as one comes."""
        if worker not in self.idle:
            self.idle.append(worker)

    def leave_idle(self, worker: Worker) -> None:
        """A worker can not."""
        if worker in self.idle:
            self.idle.remove(worker)

    # A request, or a session, goes

    def put_back(self, worker: Worker, request_id: int, *, alone: bool | None = None) -> list[Action]:
        """What a worker was given, or was to be, is the next of all again; or the next for it alone.

        Where it was given it for a session that it has lost since, the request is lost with that: elsewhere
        it would find nothing.
        """
        alone = worker.alone if alone is None else alone
        if self._target_of(request_id) is not None:
            if worker.phase not in _TAKES:
                return [Settle(request_id, "worker_gone", None)]
            worker.pinned.appendleft(request_id)
            return []
        session = self._session_of(request_id) if self._has_sessions else None
        if session is None:
            self.queue.put_back(request_id, alone=alone, group=self._group_of(request_id))
        elif self._homes.get(session) is worker:
            worker.pinned.appendleft(request_id)
        else:
            return [Settle(request_id, "session_lost", None)]
        return []

    def drop(self, request_id: int) -> bool:
        """A request waits no more; whether it did."""
        if self.queue.drop(request_id):
            self.drained()
            return True
        for worker in self._slots.workers.values():
            if request_id in worker.pinned:
                worker.pinned.remove(request_id)
                return True
        return False

    def clear(self, outcome: str) -> list[Action]:
        """Nothing waits any more: all that did ends so."""
        waiting = [*self.queue, *(each for worker in self._slots.workers.values() for each in worker.pinned)]
        self.queue.clear()
        for worker in self._slots.workers.values():
            worker.pinned.clear()
        return [Settle(request_id, outcome, None) for request_id in waiting]

    def lose(self, worker: Worker, reason: str) -> list[Action]:
        """A worker keeps its sessions no longer, and what waits for them has nowhere to go."""
        actions: list[Action] = []
        for session in worker.sessions:
            del self._homes[session]
            actions.append(Lost(session, worker.worker_id, reason))
        worker.sessions.clear()
        for request_id in worker.pinned:
            aimed = self._target_of(request_id) is not None
            actions.append(Settle(request_id, "worker_gone" if aimed else "session_lost", None))
        worker.pinned.clear()
        if self._near:
            self._near = {key: other for key, other in self._near.items() if other is not worker}
        return actions

    def unbind(self, session: str) -> None:
        """A session is over; its worker has forgotten it."""
        worker = self._homes.pop(session, None)
        if worker is not None:
            worker.sessions.remove(session)

    # What is decided by looking

    def full(self, worker: Worker) -> bool:
        """Whether a worker runs as many requests as it can."""
        return len(worker.hands) >= self._threads if self._threads else bool(worker.hands)

    def has_room(self, worker: Worker) -> bool:
        """Whether a worker that runs something may be given one more."""
        if self._threads:
            return worker.phase is _SERVING and len(worker.hands) < self._threads
        return (
            worker.phase is _SERVING
            and not worker.alone
            and worker.mean_ns < self._tiny_ns
            and len(worker.hands) < self._ahead
        )

    def grow(self) -> list[Action]:
        """Start a worker where more waits than will be served soon."""
        if not self._slots.free:
            return []
        # One that starts for a session has its hands full when it comes.
        coming = self.census.starting(spoken_for=False)
        return [self.start(None)] if len(self.queue) > coming else []

    def start(self, slot: int | None) -> Start:
        """Start a worker, in this slot or in a free one."""
        worker = self._slots.begin(slot)
        return Start(worker.worker_id, worker.slot, worker.life)

    def drained(self) -> None:
        """Notice that nothing waits."""
        if self._saturated and not self.queue:
            self._saturated = False
