"""The pool's decisions, against a world of workers that claim, answer, die and are slow in any order."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snakepit_nb.pool.actions import (
    Broken,
    Finished,
    Interrupt,
    Kill,
    Lost,
    Opened,
    Reclaim,
    Saturated,
    Send,
    Settle,
    Start,
    Stop,
)
from snakepit_nb.pool.dealing import Manner
from snakepit_nb.pool.member import Phase
from snakepit_nb.pool.restart import Intensity
from snakepit_nb.pool.state import PoolState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.pool.actions import Action

TINY = 1_000_000
NEVER = 10**9
INDEX = st.integers(0, 5)
MOVES = st.lists(
    st.tuples(INDEX, st.integers(1, 15), st.sampled_from([1, 1, 1, 100 * TINY])), min_size=1, max_size=5
)


@dataclass(slots=True)
class SimulatedWorker:
    """A worker as the world has it: what waits in its socket, what it runs, what it has said."""

    socket: deque[int] = field(default_factory=deque)
    running: int | None = None
    said: deque[int] = field(default_factory=deque)
    ready: bool = False
    told: bool = False
    over: bool = False
    ahead_of_kernel: int = 1

    def moves(self) -> list[str]:
        heard = ["hear"] if self.said else []
        if self.over:
            return heard
        if not self.ready:
            return ["serve"]
        if self.running is not None:
            return ["finish", *heard]
        # A worker may be a call ahead of what was heard of it.
        return ["claim", *heard] if self.socket and len(self.said) < self.ahead_of_kernel else heard

    def finish(self) -> None:
        assert self.running is not None
        self.said.append(self.running)
        self.running = None

    def holds(self) -> list[int]:
        return [*self.said, *([] if self.running is None else [self.running]), *self.socket]


class World(RuleBasedStateMachine):
    """A supervisor without threads: it does what it is told, while workers do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.submitted = 0
        self.shut: set[int] = set()
        self.ends: dict[int, str] = {}
        self.world: dict[str, SimulatedWorker] = {}
        self.ran: Counter[int] = Counter()
        self.paused: list[str] = []
        self.room = NEVER
        self.finished = 0
        self.wanted: int | None = None
        self.tainted: list[int] = []
        self.most: int | None = None
        self.session_of: dict[int, str] = {}
        self.homes: dict[str, str] = {}
        self.target_of: dict[int, str] = {}  # the one worker that is to run a request
        self.trials: Counter[int] = Counter()  # how often a request may still run again
        self.resting: list[int] = []
        self.ending = "none"
        self.ends_after = 0

    @initialize(
        workers=st.integers(1, 3),
        ahead=st.sampled_from([1, 2, 5, 5]),
        deaths=st.sampled_from([2, NEVER, NEVER]),
        room=st.sampled_from([1, 2, NEVER, NEVER]),
        ending=st.sampled_from(["none", "close", "close and cancel", "abort", "break"]),
        ends_after=st.integers(3, 60),
        warm=st.booleans(),
        most=st.sampled_from([1, 3, None, None, None]),
    )
    def made(  # noqa: PLR0913, PLR0917 - rules take everything by name
        self,
        workers: int,
        ahead: int,
        deaths: int,
        room: int,
        ending: str,
        ends_after: int,
        most: int | None,
        *,
        warm: bool,
    ) -> None:
        self.ending = ending
        self.ends_after = ends_after
        self.most = most
        self.state = PoolState(
            "p",
            workers,
            Manner(ahead, TINY, max_requests=most),
            Intensity(deaths, 30.0),
            group_of=lambda number: number % 3,
            session_of=self.session_of.get,
            target_of=self.target_of.get,
            revives=lambda number: self.trials[number] > 0,
        )
        self.room = room
        if warm:
            self.do(self.state.started())
            for key in list(self.world):
                self.make_ready(key)
                self.state.workers[key].mean_ns = 1
                self.world[key].ahead_of_kernel = 2

    # What the supervisor does

    def do(self, actions: Iterable[Action]) -> None:  # noqa: C901, PLR0912 - one case for each action
        for action in actions:
            match action:
                case Start(worker_id):
                    assert worker_id not in self.world
                    self.world[worker_id] = SimulatedWorker()
                case Send(worker_id, request_id):
                    assert not self.shut, "a worker was given something while its device was tainted"
                    self.send(worker_id, request_id)
                case Reclaim(worker_id, most):
                    socket = self.world[worker_id].socket
                    taken = [socket.popleft() for _ in range(min(most, len(socket)))]
                    self.do(self.state.reclaimed(worker_id, taken))
                case Kill(worker_id) | Stop(worker_id):
                    worker = self.world[worker_id]
                    if isinstance(action, Stop):
                        assert not worker.holds()
                    worker.told = worker.over = True
                case Settle(request_id, outcome):
                    if outcome == "crashed" and self.tried_again(request_id):
                        continue
                    self.end(request_id, outcome)
                case Opened(session, worker_id):
                    assert session not in self.homes
                    assert worker_id in self.state.workers
                    self.homes[session] = worker_id
                case Lost(session, worker_id):
                    assert self.homes.pop(session) == worker_id
                case Interrupt(worker_id):
                    assert self.world[worker_id].running in {self.wanted, None}
                case Finished():
                    assert not self.state.workers
                    self.finished += 1
                case Saturated():
                    assert self.state.queue
                case Broken(reason):
                    assert reason

    def send(self, worker_id: str, request_id: int) -> None:
        worker = self.world[worker_id]
        session = self.session_of.get(request_id)
        # With the last request of its life a worker gives up what it keeps.
        assert session is None or self.homes.get(session, worker_id) == worker_id
        assert self.target_of.get(request_id, worker_id) == worker_id
        assert self.state.broken is None
        assert not worker.told
        if len(worker.socket) >= self.room:
            self.do(self.state.bounced(worker_id, request_id))
            self.paused.append(worker_id)
        else:
            worker.socket.append(request_id)

    def end(self, request_id: int, outcome: str) -> None:
        assert 1 <= request_id <= self.submitted
        assert request_id not in self.ends, "a request ended twice"
        self.ends[request_id] = outcome
        if outcome == "worker_gone":
            assert request_id in self.target_of
            assert not self.ran[request_id]
        if outcome == "session_lost":
            assert request_id in self.session_of
            assert not self.ran[request_id] or self.trials[request_id] >= 0

    def tried_again(self, request_id: int) -> bool:
        """As the supervisor does with what failed."""
        if self.trials[request_id] < 1 or self.state.broken is not None or request_id in self.ends:
            return False
        self.trials[request_id] -= 1
        self.ran[request_id] -= 1
        self.state.rested(request_id)
        self.resting.append(request_id)
        return True

    # What happens

    @rule(
        alone=st.lists(st.sampled_from([False, False, True]), min_size=1, max_size=5),
        session=st.sampled_from([None, None, None, "a", "b"]),
        trials=st.sampled_from([0, 0, 0, 1, 2]),
        aim=st.none() | st.none() | INDEX,
    )
    def submit(self, alone: list[bool], session: str | None, trials: int, aim: int | None) -> None:
        for each in alone:
            if not self.state.closing and self.state.broken is None:
                self.submitted += 1
                if aim is not None and self.world:
                    # Also one that is dead or on its way out, and whose end is known or not.
                    self.target_of[self.submitted] = list(self.world)[aim % len(self.world)]
                elif session is not None:
                    self.session_of[self.submitted] = session
                elif trials:
                    self.trials[self.submitted] = trials
                self.enter(self.submitted, alone=each)

    def enter(self, request_id: int, *, alone: bool) -> None:
        session = self.session_of.get(request_id)
        worker = self.target_of.get(request_id)
        self.do(self.state.submitted(request_id, alone=alone, session=session, worker=worker))

    @rule(moves=MOVES)
    def work(self, moves: list[tuple[int, int, int]]) -> None:
        for index, times, run_ns in moves:
            for _ in range(times):
                keys = list(self.world)
                worker_id = keys[index % len(keys)] if keys else ""
                for move in self.world[worker_id].moves()[:1] if keys else ():
                    self.move(worker_id, move, run_ns)

    def move(self, worker_id: str, move: str, run_ns: int = 1) -> None:
        worker = self.world[worker_id]
        if move == "serve":
            self.make_ready(worker_id)
        elif move == "claim":
            self.take(worker)
        elif move == "finish":
            worker.finish()
        else:
            self.hear_one(worker_id, run_ns)

    def make_ready(self, worker_id: str) -> None:
        self.world[worker_id].ready = True
        self.do(self.state.ready(worker_id))

    def take(self, worker: SimulatedWorker) -> None:
        worker.running = worker.socket.popleft()
        self.ran[worker.running] += 1

    def hear_one(self, worker_id: str, run_ns: int) -> None:
        request_id = self.world[worker_id].said.popleft()
        if request_id not in self.ends and not self.tried_again(request_id):
            self.end(request_id, "ok")
        self.do(self.state.answered(worker_id, request_id, run_ns))

    def wake(self, index: int) -> None:
        if self.resting:
            request_id = self.resting.pop(index % len(self.resting))
            if self.state.woken(request_id):
                self.enter(request_id, alone=False)

    def grow(self, _: int) -> None:
        if not self.state.closing and self.state.broken is None and self.state.max_workers < 5:
            self.do(self.state.grown())

    def shrink(self, _: int) -> None:
        if not self.state.closing and self.state.broken is None and self.state.max_workers > 1:
            self.do(self.state.shrunk())

    def end_a_session(self, _: int) -> None:
        idle = [
            each for each in self.homes if not any(self.session_of.get(n) == each for n in self.pending())
        ]
        for session in idle[:1]:
            del self.homes[session]
            self.state.ended(session)

    def cancel(self, index: int) -> None:
        if pending := self.pending():
            request_id = pending[index % len(pending)]
            answered = any(request_id in each.said for each in self.world.values())
            self.do(self.state.cancelled(request_id, "cancelled" if index % 2 else "timeout"))
            assert answered or request_id in self.ends, "neither answered nor ended"

    def interrupt(self, index: int) -> None:
        if pending := self.pending():
            self.wanted = pending[index % len(pending)]
            self.do(self.state.interrupted(self.wanted))

    @rule(
        what=st.sampled_from(
            [
                "cancel",
                "cancel",
                "interrupt",
                "die",
                "find_a_death",
                "pass_time",
                "start_all",
                "recycle",
                "clear_a_taint",
                "wake",
                "wake",
                "grow",
                "shrink",
                "end_a_session",
            ],
        ),
        index=INDEX,
    )
    def something_else_happens(self, what: str, index: int) -> None:
        getattr(self, what)(index)

    def pending(self) -> list[int]:
        return [each for each in range(1, self.submitted + 1) if each not in self.ends]

    def die(self, index: int) -> None:
        """A worker dies by itself; that is found out later, when it is buried."""
        if alive := [each for each in self.world.values() if not each.over]:
            alive[index % len(alive)].over = True

    def find_a_death(self, index: int) -> None:
        if dead := [key for key, each in self.world.items() if each.over]:
            self.bury(dead[index % len(dead)])

    def recycle(self, index: int) -> None:
        if there := list(self.state.workers):
            self.do(self.state.recycled(there[index % len(there)], "manual"))

    def clear_a_taint(self, index: int) -> None:
        if self.tainted:
            slot = self.tainted.pop(index % len(self.tainted))
            self.shut.discard(slot)
            self.do(self.state.cleared(slot))

    def pass_time(self, index: int) -> None:
        self.now += 20.0 * index

    def bury(self, worker_id: str) -> None:
        worker = self.world[worker_id]
        while worker.said:
            self.hear_one(worker_id, 1)
        lost = worker.running
        unclaimed = list(worker.socket)
        before = dict(self.ends)
        self.world.pop(worker_id)
        slot = self.state.workers[worker_id].slot
        taint = not worker.told and slot % 2 == 1
        device = taint and slot % 4 == 3
        if device:
            self.shut.add(slot)
        self.do(self.state.died(worker_id, unclaimed, self.now, taint=taint, device=device))
        if taint:
            self.tainted.append(slot)
        for request_id, outcome in self.ends.items():
            if request_id not in before and outcome == "crashed":
                assert request_id == lost, "a death cost a request that the worker did not run"
                assert not worker.told, "a worker that was told to end cost a request"

    @precondition(lambda self: self.paused)
    @rule()
    def resume(self) -> None:
        self.do(self.state.resumed(self.paused.pop(0)))

    def start_all(self, _: int) -> None:
        self.do(self.state.started())

    @precondition(lambda self: self.ending != "none" and self.submitted > self.ends_after)
    @rule()
    def end_the_pool(self) -> None:
        ending, self.ending = self.ending, "none"
        match ending:
            case "abort":
                self.do(self.state.aborted())
                assert len(self.ends) == self.submitted
            case "break":
                self.do(self.state.broke("no more"))
                assert len(self.ends) == self.submitted
            case _:
                self.do(self.state.closed(cancel_futures=ending == "close and cancel"))

    # What holds at all times

    @invariant()
    def every_request_is_in_one_place(self) -> None:
        places = [
            *self.state.queue,
            *(each for worker in self.state.workers.values() for each in worker.hands),
            *(each for worker in self.state.workers.values() for each in worker.pinned),
            *(each for each in self.resting if each not in self.ends),
        ]
        assert len(places) == len(set(places))
        assert set(places) == set(range(1, self.submitted + 1)) - set(self.ends)

    @invariant()
    def the_state_knows_what_each_worker_was_sent(self) -> None:
        for worker_id, worker in self.state.workers.items():
            known = [each for each in self.world[worker_id].holds() if each not in self.ends]
            assert list(worker.hands) == known

    @invariant()
    def there_are_never_too_many_workers(self) -> None:
        leaving = {Phase.STOPPING, Phase.KILLED}
        there = [each for each in self.state.workers.values() if each.phase not in leaving]
        assert (
            len({each.slot for each in there if each.phase is not Phase.DRAINING}) <= self.state.max_workers
        )
        slots = Counter(each.slot for each in there)
        assert all(often <= 2 for often in slots.values())
        serving = Counter(each.slot for each in self.state.workers.values() if each.phase is Phase.SERVING)
        assert all(often == 1 for often in serving.values())

    @invariant()
    def of_the_workers_of_one_slot_one_has_requests(self) -> None:
        busy = [each.slot for each in self.state.workers.values() if each.hands]
        assert len(busy) == len(set(busy))

    @invariant()
    def nobody_is_given_more_requests_than_they_may_have(self) -> None:
        for worker in self.state.workers.values():
            assert self.most is None or worker.served + len(worker.hands) <= self.most

    @invariant()
    def nobody_waits_for_a_worker_that_is_never_started(self) -> None:
        if self.state.queue and not self.paused and self.state.broken is None:
            assert self.state.workers or self.tainted

    @invariant()
    def nobody_stands_by_for_a_worker_that_is_gone(self) -> None:
        for worker in self.state.workers.values():
            if worker.phase is Phase.STANDBY:
                before = [each for each in self.state.workers.values() if each.slot == worker.slot]
                assert any(each.phase in {Phase.DRAINING, Phase.KILLED} for each in before)

    @invariant()
    def nobody_idles_while_there_is_work(self) -> None:
        serving = {key: each for key, each in self.state.workers.items() if each.phase is Phase.SERVING}
        idle = [key for key, each in serving.items() if not each.hands]
        if idle and not self.paused and not self.shut:
            assert not self.state.queue
            assert not any(self.state.workers[key].pinned for key in idle)
            for key in serving:
                if self.world[key].over:
                    continue  # dead, and nobody knows yet
                begun = self.world[key].running is not None
                waits_behind = len(self.world[key].socket) - (0 if begun else 1)
                assert waits_behind <= 0, "a request waits behind another while a worker is idle"

    @invariant()
    def nothing_is_sent_behind_what_wants_to_be_alone(self) -> None:
        for worker in self.state.workers.values():
            if worker.alone and worker.hands:
                assert len(worker.hands) == 1

    @invariant()
    def nothing_runs_twice_unless_it_may(self) -> None:
        assert all(times <= 1 for times in self.ran.values())

    @invariant()
    def a_session_is_where_it_is_said_to_be(self) -> None:
        kept = {session: key for key, each in self.state.workers.items() for session in each.sessions}
        assert kept == self.homes

    def teardown(self) -> None:
        """Close the pool and let the world go on: everything ends."""
        if not hasattr(self, "state"):
            return
        self.do(self.state.closed(cancel_futures=False))
        for _ in range(10_000):
            if not (self.world or self.paused or self.tainted or self.resting):
                break
            while self.resting:
                self.wake(0)
            while self.paused:
                self.resume_all()
            while self.tainted:
                self.clear_a_taint(0)
            for worker_id, worker in list(self.world.items()):
                if worker.over:
                    self.bury(worker_id)
                else:
                    for move in worker.moves():
                        self.move(worker_id, move)
        assert not self.world
        assert sorted(self.ends) == list(range(1, self.submitted + 1))
        assert not self.state.queue
        assert self.finished

    def resume_all(self) -> None:
        paused, self.paused = self.paused, []
        for worker_id in paused:
            self.do(self.state.resumed(worker_id))


World.TestCase.settings = settings(max_examples=400, stateful_step_count=30)
TestWorld = World.TestCase
