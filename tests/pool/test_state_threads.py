"""The decisions of a pool whose workers run several requests at once, which cannot be taken from them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from snakepit_nb.pool.actions import Finished, Interrupt, Kill, Reclaim, Send, Settle, Start, Stop
from snakepit_nb.pool.dealing import Manner
from snakepit_nb.pool.member import Phase
from snakepit_nb.pool.restart import Intensity
from snakepit_nb.pool.state import PoolState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.pool.actions import Action

NEVER = 10**9
INDEX = st.integers(0, 20)


def pool_of(threads: int, *, deaths: int = NEVER, max_requests: int | None = None) -> PoolState:
    return PoolState("p", 1, Manner(64, 1e6, threads, max_requests), Intensity(deaths, 30.0))


def serving(threads: int) -> PoolState:
    state = pool_of(threads)
    state.started()
    state.ready("p-0")
    return state


def test_as_many_requests_are_sent_as_there_are_threads_and_the_next_when_one_is_answered() -> None:
    state = serving(2)
    sent = [state.submitted(number, alone=True) for number in (1, 2, 3)]
    assert sent[:2] == [[Send("p-0", 1)], [Send("p-0", 2)]]
    assert not [each for each in sent[2] if isinstance(each, Send)]
    assert list(state.answered("p-0", 2, 5)) == [Send("p-0", 3)]


def test_a_thread_is_asked_to_end_and_its_place_stays_taken_until_it_does() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    assert state.cancelled(1, "cancelled") == [Interrupt("p-0", 1), Settle(1, "cancelled", "p-0")]
    assert not [each for each in state.submitted(2, alone=False) if isinstance(each, Send)]
    assert list(state.answered("p-0", 1, 5)) == [Send("p-0", 2)]


def test_a_process_that_is_full_of_threads_that_do_not_end_is_replaced() -> None:
    state = serving(2)
    for number in (1, 2):
        state.submitted(number, alone=False)
    state.cancelled(1, "cancelled")
    assert state.overdue("p-0") == []  # the other is still wanted
    state.cancelled(2, "timeout")
    assert state.overdue("p-0") == [Kill("p-0")]
    assert state.died("p-0", [], 0.0)[-1] == Start("p-0.2", 0, 2)


def test_a_process_with_a_place_left_is_not_replaced() -> None:
    state = serving(2)
    state.submitted(1, alone=False)
    state.cancelled(1, "cancelled")
    assert state.overdue("p-0") == []
    assert state.submitted(2, alone=False) == [Send("p-0", 2)]


def test_an_interrupt_asks_and_nothing_else() -> None:
    state = serving(1)
    state.submitted(1, alone=False)
    assert state.interrupted(1) == [Interrupt("p-0", 1)]
    assert list(state.answered("p-0", 1, 5)) == []


def test_a_pool_that_closes_does_not_wait_for_threads_that_were_given_up() -> None:
    state = serving(2)
    state.submitted(1, alone=False)
    assert state.closed(cancel_futures=False) == []
    assert state.cancelled(1, "cancelled")[-1] == Stop("p-0")


def test_a_death_costs_all_that_ran() -> None:
    state = serving(3)
    for number in (1, 2, 3):
        state.submitted(number, alone=False)
    ended = [each for each in state.died("p-0", [], 0.0) if isinstance(each, Settle)]
    assert sorted(ended) == [Settle(number, "crashed", "p-0") for number in (1, 2, 3)]


class Process:
    """A worker as the world has it."""

    def __init__(self) -> None:
        self.ready = False
        self.runs: list[int] = []
        self.told = False
        self.over = False


class World(RuleBasedStateMachine):
    """A supervisor without threads, over workers that have some."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted = 0
        self.ends: dict[int, str] = {}
        self.world: dict[str, Process] = {}
        self.ran: Counter[int] = Counter()
        self.finished = 0

    @initialize(
        threads=st.integers(1, 4),
        deaths=st.sampled_from([1, NEVER, NEVER]),
        most=st.sampled_from([None, None, 1, 5]),
    )
    def made(self, threads: int, deaths: int, most: int | None) -> None:
        self.threads = threads
        self.state = pool_of(threads, deaths=deaths, max_requests=most)

    def do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(worker_id):
                    self.world[worker_id] = Process()
                case Send(worker_id, request_id):
                    process = self.world[worker_id]
                    assert not process.told
                    assert len(process.runs) < self.threads
                    process.runs.append(request_id)
                    self.ran[request_id] += 1
                case Reclaim():
                    raise AssertionError("what a thread runs cannot be taken back")  # noqa: EM101, TRY003 - a test's
                case Kill(worker_id) | Stop(worker_id):
                    process = self.world[worker_id]
                    given_up = {each for each in process.runs if each in self.ends}
                    assert given_up.issuperset(process.runs) or self.state.broken is not None
                    process.told = process.over = True
                case Settle(request_id, outcome):
                    if request_id not in self.ends:  # as the supervisor does
                        self.ends[request_id] = outcome
                case Interrupt(worker_id, request_id):
                    assert request_id in self.world[worker_id].runs
                case Finished():
                    assert not self.state.workers
                    self.finished += 1
                case _:
                    pass

    @rule(many=st.integers(1, 6))
    def submit(self, many: int) -> None:
        for _ in range(many):
            if not self.state.closing and self.state.broken is None:
                self.submitted += 1
                self.do(self.state.submitted(self.submitted, alone=many % 2 == 0))

    @rule(index=INDEX)
    def serve(self, index: int) -> None:
        if waiting := [key for key, each in self.world.items() if not (each.ready or each.over)]:
            key = waiting[index % len(waiting)]
            self.world[key].ready = True
            self.do(self.state.ready(key))

    @rule(index=INDEX)
    def answer(self, index: int) -> None:
        running = [(key, n) for key, each in self.world.items() if not each.over for n in each.runs]
        if running:
            key, number = running[index % len(running)]
            self.world[key].runs.remove(number)
            self.ends.setdefault(number, "ok")
            self.do(self.state.answered(key, number, 1))

    @rule(index=INDEX, what=st.sampled_from(["cancelled", "timeout", "interrupted"]))
    def end(self, index: int, what: str) -> None:
        if pending := [each for each in range(1, self.submitted + 1) if each not in self.ends]:
            number = pending[index % len(pending)]
            if what == "interrupted":
                self.do(self.state.interrupted(number))
            else:
                self.do(self.state.cancelled(number, what))
                assert number in self.ends

    @rule(index=INDEX)
    def grace_is_over(self, index: int) -> None:
        if there := list(self.state.workers):
            self.do(self.state.overdue(there[index % len(there)]))

    @rule(index=INDEX)
    def recycle(self, index: int) -> None:
        if there := list(self.state.workers):
            self.do(self.state.recycled(there[index % len(there)], "manual"))

    @rule(index=INDEX, found=st.booleans())
    def die(self, index: int, *, found: bool) -> None:
        if there := list(self.world):
            key = there[index % len(there)]
            self.world[key].over = True
            if found:
                self.bury(key)

    def bury(self, key: str) -> None:
        self.world.pop(key)
        self.do(self.state.died(key, [], 0.0))

    @invariant()
    def every_request_is_in_one_place(self) -> None:
        hands = [each for worker in self.state.workers.values() for each in worker.hands]
        places = [*self.state.queue, *(each for each in hands if each not in self.ends)]
        assert sorted(places) == [each for each in range(1, self.submitted + 1) if each not in self.ends]

    @invariant()
    def nothing_waits_while_a_thread_is_free(self) -> None:
        for worker in self.state.workers.values():
            if worker.phase is Phase.SERVING and len(worker.hands) < self.threads:
                assert not self.state.queue

    @invariant()
    def nothing_runs_twice(self) -> None:
        assert all(times == 1 for times in self.ran.values())

    def teardown(self) -> None:
        """Close the pool and let the world go on: everything ends, whatever threads never do."""
        if not hasattr(self, "state"):
            return
        self.do(self.state.closed(cancel_futures=False))
        for _ in range(self.submitted + 10):
            for key, process in list(self.world.items()):
                if process.over:
                    self.bury(key)
                    continue
                if not process.ready:
                    process.ready = True
                    self.do(self.state.ready(key))
                self.do(self.state.overdue(key))  # threads that were asked to end have had their time
                for number in [each for each in process.runs if each not in self.ends]:
                    process.runs.remove(number)
                    self.ends[number] = "ok"
                    self.do(self.state.answered(key, number, 1))
        assert not self.world
        assert sorted(self.ends) == list(range(1, self.submitted + 1))
        assert self.finished


World.TestCase.settings = settings(max_examples=300, stateful_step_count=40)
TestWorld = World.TestCase
