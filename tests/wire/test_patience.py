"""Whether a waiting side polls: only from how its last polls went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.wire.patience import Patience

MS = 1_000_000
TAKEN = (90_000, 5_000)  # nanoseconds: a poll that hardly got any processor time
OWN = (8_000, 8_000)


def contend(patience: Patience, start: int, length: int = 20 * MS) -> int:
    """A row of polls whose core was taken away; the time after it."""
    now = start
    while now < start + length and patience.may_poll(now):
        patience.polled(now, *TAKEN)
        now += MS
    return now


def test_one_poll_whose_core_was_taken_does_not_end_polling() -> None:
    patience = Patience()
    patience.polled(0, *TAKEN)
    assert patience.may_poll(1 * MS)


def test_a_row_of_them_ends_polling_for_a_while_and_then_it_is_tried_again() -> None:
    patience = Patience()
    now = contend(patience, 0)
    assert not patience.may_poll(now)
    assert patience.may_poll(now + 40 * MS)


def test_each_further_row_ends_it_for_longer() -> None:
    patience = Patience()
    now = contend(patience, 0) + 40 * MS
    assert patience.may_poll(now)
    now = contend(patience, now)
    assert not patience.may_poll(now + 30 * MS)


def test_a_quick_answer_in_between_breaks_the_row() -> None:
    patience = Patience()
    for step in range(100):
        patience.polled(step * MS, *(OWN if step % 10 == 9 else TAKEN))
    assert patience.may_poll(100 * MS)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), max_size=200))
def test_polling_is_never_given_up_for_good(polls: list[tuple[int, int]]) -> None:
    patience = Patience()
    now = 0
    for wall, cpu in polls:
        if patience.may_poll(now):
            patience.polled(now, wall, min(wall, cpu))
        now += MS
    assert patience.may_poll(now + 2_000 * MS)
