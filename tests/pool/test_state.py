"""The pool's decisions, one after the other; `test_state_machine` has them in any order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from snakepit_nb.pool.actions import (
    Broken,
    Finished,
    Interrupt,
    Kill,
    Lost,
    Reclaim,
    Saturated,
    Send,
    Settle,
    Start,
    Stop,
)
from snakepit_nb.pool.dealing import Manner
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


def sessions_of(workers: int, **sessions: str) -> PoolState:
    """A pool that knows which requests are a session's: `r2="s"` says that of request 2."""
    return PoolState(
        "p",
        workers,
        Manner(4, TINY),
        Intensity(NEVER, 30.0),
        session_of=lambda number: sessions.get(f"r{number}"),
    )


def pool_of(
    workers: int, *, ahead: int = 4, deaths: int = NEVER, max_requests: int | None = None
) -> PoolState:
    return PoolState(
        "p",
        workers,
        Manner(ahead, TINY, max_requests=max_requests),
        Intensity(deaths, 30.0),
    )


def serving(workers: int, *, ahead: int = 4, max_requests: int | None = None) -> PoolState:
    """A pool all of whose workers are idle, and known to answer quickly."""
    state = pool_of(workers, ahead=ahead, max_requests=max_requests)
    for action in state.started():
        assert isinstance(action, Start)
        state.ready(action.worker_id)
    for number, worker in enumerate(list(state.workers.values())):
        worker.hands.append(-number)
        state._dealer.leave_idle(worker)
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


def test_a_broken_pool_has_finished_once_its_last_worker_is_gone() -> None:
    state = serving(2)
    assert Finished() not in state.broke("no more")
    assert Finished() not in state.died("p-0", [], 0.0)
    assert state.died("p-1", [], 0.0) == [Finished()]
    assert Finished() in pool_of(1).broke("before it began")


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


# Workers that start for a session


def sent(actions: Iterable[Action]) -> list[tuple[str, int]]:
    return [(each.worker_id, each.request_id) for each in actions if isinstance(each, Send)]


def test_a_worker_that_starts_for_a_session_serves_that_first_also_where_it_is_the_first_to_come() -> None:
    state = sessions_of(2, r2="s")
    state.submitted(1, alone=True)
    state.submitted(2, alone=True, session="s")
    assert sent(state.ready("p-1")) == [("p-1", 2)]
    assert sent(state.ready("p-0")) == [("p-0", 1)]


def test_a_request_gets_a_worker_of_its_own_beside_one_that_starts_for_a_session() -> None:
    state = sessions_of(2, r1="s")
    state.submitted(1, alone=True, session="s")
    assert [type(each) for each in state.submitted(2, alone=True)] == [Start]
    assert sent(state.ready("p-0")) == [("p-0", 1)]
    assert sent(state.ready("p-1")) == [("p-1", 2)]


def test_a_session_s_call_that_its_dying_worker_never_took_is_lost_with_the_session() -> None:
    state = PoolState(
        "p", 1, Manner(4, TINY, max_requests=2), Intensity(NEVER, 30.0), session_of=lambda _: "s"
    )
    state.submitted(1, alone=True, session="s")
    state.ready("p-0")
    assert not list(state.answered("p-0", 1, 1))
    # The last request of its life: nothing is kept beyond it.
    assert Lost("s", "p-0", "recycled") in state.submitted(2, alone=True, session="s")
    actions = state.died("p-0", [2], 0.0)
    assert Settle(2, "session_lost", None) in actions
    assert Send("p-0.2", 2) not in [*actions, *state.ready("p-0.2")]


def aimed(workers: int, target: str) -> PoolState:
    return PoolState(
        "p",
        workers,
        Manner(4, TINY),
        Intensity(NEVER, 30.0),
        target_of=lambda number: target if number == 9 else None,
    )


def test_a_request_for_one_worker_waits_for_it_while_others_are_idle() -> None:
    state = aimed(2, "p-0")
    state.started()
    assert not sent(state.ready("p-1"))
    assert not sent(state.submitted(9, alone=False, worker="p-0"))
    assert sent(state.ready("p-0")) == [("p-0", 9)]


def test_a_request_for_a_worker_that_is_gone_or_goes_first_says_so_and_runs_nowhere_else() -> None:
    state = aimed(2, "p-0")
    state.started()
    assert state.submitted(9, alone=False, worker="p-7") == [Settle(9, "worker_gone", None)]
    state.submitted(9, alone=False, worker="p-0")
    assert Settle(9, "worker_gone", None) in state.died("p-0", [], 0.0)
    assert not sent(state.ready("p-1"))


def test_what_its_dying_worker_never_took_is_not_taken_by_another() -> None:
    state = aimed(2, "p-0")
    state.started()
    state.ready("p-0")
    state.ready("p-1")
    assert sent(state.submitted(9, alone=False, worker="p-0")) == [("p-0", 9)]
    actions = state.died("p-0", [9], 0.0)
    assert Settle(9, "worker_gone", None) in actions
    assert not sent(actions)
