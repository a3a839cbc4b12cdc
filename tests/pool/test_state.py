"""The pool's decisions, against a world of workers that claim, answer, die and are slow in any order."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snakepit_nb.pool.actions import (
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


def pool_of(
    workers: int, *, ahead: int = 4, deaths: int = NEVER, max_requests: int | None = None
) -> PoolState:
    return PoolState(
        "p",
        workers,
        ahead=ahead,
        tiny_ns=TINY,
        intensity=Intensity(deaths, 30.0),
        max_requests=max_requests,
    )


def serving(workers: int, *, ahead: int = 4, max_requests: int | None = None) -> PoolState:
    """A pool all of whose workers are idle, and known to answer quickly."""
    state = pool_of(workers, ahead=ahead, max_requests=max_requests)
    for action in state.started():
        assert isinstance(action, Start)
        state.ready(action.worker_id)
    for number, worker in enumerate(list(state.workers.values())):
        worker.hands.append(-number)
        state._leave_idle(worker)
        state.answered(worker.worker_id, -number, 1)
        worker.served = 0
    return state


# One thing after the other


def test_the_first_request_starts_a_worker_and_is_sent_once_it_serves() -> None:
    state = pool_of(2)
    assert state.submitted(1, alone=False) == [Start("p-0", 0, 1)]
    assert state.ready("p-0") == [Send("p-0", 1)]


def test_a_request_goes_to_an_idle_worker_at_once() -> None:
    state = serving(2)
    sent = [state.submitted(number, alone=False) for number in (1, 2)]
    assert {action.worker_id for (action,) in sent if isinstance(action, Send)} == {"p-0", "p-1"}


def test_while_workers_are_missing_a_request_gets_a_new_one_and_no_place_behind_another() -> None:
    state = pool_of(2)
    state.submitted(1, alone=False)
    state.ready("p-0")
    list(state.answered("p-0", 1, 10))
    state.submitted(2, alone=False)
    assert state.submitted(3, alone=False) == [Start("p-1", 1, 1)]


def test_tiny_requests_wait_in_the_socket_of_a_busy_worker_up_to_the_limit() -> None:
    state = serving(1, ahead=3)
    for number in (1, 2, 3):
        assert state.submitted(number, alone=False) == [Send("p-0", number)]
    state.submitted(4, alone=False)
    assert list(state.queue) == [4]


def test_a_long_request_keeps_others_from_waiting_behind_it() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    list(state.answered("p-0", 1, 100 * TINY))
    state.submitted(2, alone=False)
    assert not [each for each in state.submitted(3, alone=False) if isinstance(each, Send)]


def test_nothing_waits_behind_a_request_that_wants_to_be_alone() -> None:
    state = serving(1)
    state.submitted(1, alone=True)
    assert Send("p-0", 2) not in state.submitted(2, alone=False)


def test_a_request_that_wants_to_be_alone_waits_behind_nothing() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    assert Send("p-0", 2) not in state.submitted(2, alone=True)
    assert list(state.answered("p-0", 1, 1)) == [Send("p-0", 2)]


def test_a_worker_that_comes_free_takes_over_half_of_what_another_has_not_begun() -> None:
    state = serving(2)
    for number in range(1, 7):
        state.submitted(number, alone=False)
    mine, other = state.workers["p-0"], state.workers["p-1"]
    for number in list(other.hands)[:-1]:
        list(state.answered("p-1", number, 1))
    assert list(state.answered("p-1", other.hands[0], 1)) == [Reclaim("p-0", len(mine.hands) // 2)]
    taken = list(mine.hands)[1:2]
    assert state.reclaimed("p-0", taken) == [Send("p-1", taken[0])]


def test_an_answered_request_frees_its_worker_for_the_oldest_in_the_queue() -> None:
    state = serving(1, ahead=1)
    for number in (1, 2, 3):
        state.submitted(number, alone=False)
    assert list(state.answered("p-0", 1, 1)) == [Send("p-0", 2)]


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    assert not list(state.answered("p-0", 99, 1))
    assert not list(state.answered("gone", 1, 1))
    assert list(state.workers["p-0"].hands) == [1]


def test_saturation_is_told_once_until_the_queue_is_empty_again() -> None:
    state = serving(1, ahead=1)
    state.submitted(1, alone=False)
    told = [Saturated() in state.submitted(number, alone=False) for number in (2, 3)]
    assert told == [True, False]
    for number in (1, 2, 3):
        list(state.answered("p-0", number, 1))
    state.submitted(4, alone=False)
    assert Saturated() in state.submitted(5, alone=False)


def test_cancelling_a_queued_request_touches_no_worker() -> None:
    state = serving(1, ahead=1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    assert state.cancelled(2, "cancelled") == [Settle(2, "cancelled", None)]


def test_cancelling_a_running_request_kills_its_worker_and_no_other() -> None:
    state = serving(2)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    (asked,) = state.cancelled(1, "cancelled")
    assert isinstance(asked, Reclaim)
    assert state.reclaimed(asked.worker_id, []) == [
        Settle(1, "cancelled", asked.worker_id),
        Kill(asked.worker_id),
    ]


def test_cancelling_a_request_whose_answer_is_on_its_way_kills_nobody() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    assert state.cancelled(1, "cancelled") == [Reclaim("p-0", 2)]
    # The worker has claimed 2 as well, so it has answered 1.
    assert state.reclaimed("p-0", []) == []
    assert not list(state.answered("p-0", 1, 1))
    assert list(state.workers["p-0"].hands) == [2]


def test_an_interrupt_reaches_a_worker_only_for_the_request_that_it_runs() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    state.interrupted(1)
    assert Interrupt("p-0") in state.reclaimed("p-0", [2])
    state = serving(1)
    state.submitted(1, alone=False)
    state.interrupted(1)
    assert state.reclaimed("p-0", [1]) == [Send("p-0", 1)]


def test_a_death_costs_the_claimed_request_and_puts_the_others_back_in_order() -> None:
    state = serving(1)
    for number in (1, 2, 3):
        state.submitted(number, alone=False)
    actions = state.died("p-0", [2, 3], 0.0)
    assert Settle(1, "crashed", "p-0") in actions
    assert Start("p-0.2", 0, 2) in actions
    assert list(state.queue) == [2, 3]


def test_a_refused_request_is_over_and_its_worker_goes_on() -> None:
    state = serving(1, ahead=1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    state.refused("p-0", 1)
    assert state.resumed("p-0") == [Send("p-0", 2)]


def test_a_bounced_request_is_the_next_to_be_sent() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    state.bounced("p-0", 2)
    state.submitted(3, alone=False)
    assert list(state.queue) == [2, 3]
    assert next(iter(state.answered("p-0", 1, 1))) == Send("p-0", 2)


def test_closing_waits_for_work_and_then_stops_the_workers() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    assert state.closed(cancel_futures=False) == []
    assert list(state.answered("p-0", 1, 1)) == [Stop("p-0")]
    assert state.died("p-0", [], 0.0) == [Finished()]


def test_closing_with_cancel_ends_what_is_queued_and_lets_the_rest_run() -> None:
    state = serving(1, ahead=1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    assert state.closed(cancel_futures=True) == [Settle(2, "cancelled", None)]


def test_a_worker_that_comes_free_in_a_closing_pool_still_helps() -> None:
    state = serving(2)
    for number in range(1, 5):
        state.submitted(number, alone=False)
    state.closed(cancel_futures=False)
    other = state.workers["p-1"]
    for number in list(other.hands)[:-1]:
        list(state.answered("p-1", number, 1))
    assert list(state.answered("p-1", other.hands[0], 1)) == [Reclaim("p-0", 1)]
    assert state.reclaimed("p-0", []) == [Stop("p-1")]


def test_an_aborted_pool_cancels_all_and_kills_all() -> None:
    state = serving(2, ahead=1)
    for number in (1, 2, 3):
        state.submitted(number, alone=False)
    outcomes = Counter(type(action) for action in state.aborted())
    assert (outcomes[Settle], outcomes[Kill]) == (3, 2)


def test_too_many_deaths_break_the_pool_and_settle_everything() -> None:
    state = pool_of(1, deaths=0)
    state.submitted(1, alone=False)
    state.ready("p-0")
    state.submitted(2, alone=False)
    actions = state.died("p-0", [], 0.0)
    assert Broken("1 workers died within 30 s") in actions
    assert {(each.request_id, each.outcome) for each in actions if isinstance(each, Settle)} == {
        (1, "crashed"),
        (2, "broken"),
    }
    assert not [each for each in actions if isinstance(each, Start)]


def test_workers_that_die_before_they_serve_break_the_pool() -> None:
    state = pool_of(2)
    actions: list[Action] = state.submitted(1, alone=False)
    lives = 0
    while state.broken is None:
        lives += 1
        (start,) = [each for each in actions if isinstance(each, Start)]
        actions = state.died(start.worker_id, [], float(lives))
    assert lives == 4
    assert "before they could serve" in str(state.broken)


# Recycling


def test_an_idle_worker_is_stopped_once_its_successor_is_ready() -> None:
    state = serving(1)
    assert state.recycled("p-0", "manual") == [Start("p-0.2", 0, 2)]
    assert state.submitted(1, alone=False) == [Send("p-0", 1)]
    assert not list(state.answered("p-0", 1, 1))
    assert state.ready("p-0.2") == [Stop("p-0")]
    assert state.submitted(2, alone=False) == [Send("p-0.2", 2)]


def test_a_successor_waits_until_the_worker_before_it_has_answered() -> None:
    state = serving(1)
    for number in (1, 2, 3):
        state.submitted(number, alone=False)
    state.recycled("p-0", "ttl_expired")
    assert state.ready("p-0.2") == [Reclaim("p-0", 3)]
    assert state.reclaimed("p-0", [2, 3]) == []
    assert list(state.queue) == [2, 3]
    assert list(state.answered("p-0", 1, 1)) == [Stop("p-0"), Send("p-0.2", 2)]


def test_one_worker_is_recycled_once_at_a_time() -> None:
    state = serving(1)
    assert state.recycled("p-0", "manual")
    assert state.recycled("p-0", "ttl_expired") == []
    assert state.recycled("p-0.2", "manual") == []
    assert state.workers["p-0"].retiring == "manual"


def test_a_worker_is_given_as_many_requests_as_it_may_have_and_no_more() -> None:
    state = serving(1, max_requests=2)
    assert state.submitted(1, alone=False) == [Send("p-0", 1)]
    assert state.submitted(2, alone=False) == [Send("p-0", 2), Start("p-0.2", 0, 2)]
    state.submitted(3, alone=False)
    assert state.ready("p-0.2") == []
    assert not list(state.answered("p-0", 1, 1))
    assert list(state.answered("p-0", 2, 1)) == [Stop("p-0"), Send("p-0.2", 3)]
    assert state.workers["p-0"].retiring == "max_requests"


def test_a_worker_goes_on_where_its_successor_dies_and_gets_another() -> None:
    state = serving(1)
    state.recycled("p-0", "manual")
    assert state.died("p-0.2", [], 0.0) == [Start("p-0.3", 0, 3)]
    assert state.submitted(1, alone=False) == [Send("p-0", 1)]


def test_a_successor_takes_over_where_the_worker_before_it_dies() -> None:
    state = serving(1, ahead=1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    state.recycled("p-0", "manual")
    state.ready("p-0.2")
    assert state.died("p-0", [], 0.0) == [Settle(1, "crashed", "p-0"), Send("p-0.2", 2)]


def test_a_closing_pool_replaces_nobody() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    state.closed(cancel_futures=False)
    assert state.recycled("p-0", "manual") == []


# Taints


def test_a_tainted_slot_takes_no_work_until_it_is_cleared() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    assert state.died("p-0", [], 0.0, taint=True) == [Settle(1, "crashed", "p-0")]
    assert not [each for each in state.submitted(2, alone=False) if isinstance(each, Start)]
    assert state.cleared(0) == [Start("p-0.2", 0, 2)]
    assert state.cleared(0) == []
    assert state.ready("p-0.2") == [Send("p-0.2", 2)]


def test_what_waits_for_a_tainted_slot_is_served_although_the_pool_closes() -> None:
    state = serving(1, ahead=1)
    state.submitted(1, alone=False)
    state.submitted(2, alone=False)
    state.died("p-0", [], 0.0, taint=True)
    assert state.closed(cancel_futures=False) == []
    assert state.cleared(0) == [Start("p-0.2", 0, 2)]


# Everything in any order


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
        self.ends: dict[int, str] = {}
        self.world: dict[str, SimulatedWorker] = {}
        self.ran: Counter[int] = Counter()
        self.paused: list[str] = []
        self.room = NEVER
        self.finished = 0
        self.wanted: int | None = None
        self.tainted: list[int] = []
        self.most: int | None = None
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
        self.state = pool_of(workers, ahead=ahead, deaths=deaths, max_requests=most)
        self.room = room
        if warm:
            self.do(self.state.started())
            for key in list(self.world):
                self.make_ready(key)
                self.state.workers[key].mean_ns = 1
                self.world[key].ahead_of_kernel = 2

    # What the supervisor does

    def do(self, actions: Iterable[Action]) -> None:  # noqa: C901 - one case for each action
        for action in actions:
            match action:
                case Start(worker_id):
                    assert worker_id not in self.world
                    self.world[worker_id] = SimulatedWorker()
                case Send(worker_id, request_id):
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
                    self.end(request_id, outcome)
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
        assert self.state.broken is None
        assert not worker.told
        if len(worker.socket) >= self.room:
            self.state.bounced(worker_id, request_id)
            self.paused.append(worker_id)
        else:
            worker.socket.append(request_id)

    def end(self, request_id: int, outcome: str) -> None:
        assert 1 <= request_id <= self.submitted
        assert request_id not in self.ends, "a request ended twice"
        self.ends[request_id] = outcome

    # What happens

    @rule(alone=st.lists(st.sampled_from([False, False, True]), min_size=1, max_size=5))
    def submit(self, alone: list[bool]) -> None:
        for each in alone:
            if not self.state.closing and self.state.broken is None:
                self.submitted += 1
                self.do(self.state.submitted(self.submitted, alone=each))

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
        if request_id not in self.ends:
            self.end(request_id, "ok")
        self.do(self.state.answered(worker_id, request_id, run_ns))

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
            self.do(self.state.cleared(self.tainted.pop(index % len(self.tainted))))

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
        self.do(self.state.died(worker_id, unclaimed, self.now, taint=taint))
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
        slots = Counter(each.slot for each in self.state.workers.values() if each.phase not in leaving)
        assert all(often <= 2 for often in slots.values())
        assert len(slots) <= self.state.max_workers
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
        if idle and not self.paused:
            assert not self.state.queue
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
    def nothing_runs_twice(self) -> None:
        assert all(times == 1 for times in self.ran.values())

    def teardown(self) -> None:
        """Close the pool and let the world go on: everything ends."""
        if not hasattr(self, "state"):
            return
        self.do(self.state.closed(cancel_futures=False))
        while self.world or self.paused or self.tainted:
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
        assert sorted(self.ends) == list(range(1, self.submitted + 1))
        assert not self.state.queue
        assert self.finished

    def resume_all(self) -> None:
        paused, self.paused = self.paused, []
        for worker_id in paused:
            self.do(self.state.resumed(worker_id))


World.TestCase.settings = settings(max_examples=400, stateful_step_count=30)
TestWorld = World.TestCase


@pytest.mark.parametrize("ahead", [1, 4])
def test_one_worker_runs_requests_in_the_order_of_their_submission(ahead: int) -> None:
    state = serving(1, ahead=ahead)
    sent: list[int] = []

    def note(actions: Iterable[Action]) -> None:
        sent.extend(each.request_id for each in actions if isinstance(each, Send))

    for number in range(1, 9):
        note(state.submitted(number, alone=number == 3))
    while len(state.workers["p-0"].hands):
        note(state.answered("p-0", state.workers["p-0"].hands[0], 1))
    assert sent == list(range(1, 9))
