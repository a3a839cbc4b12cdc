"""When an alert fires, held against the definition in words: over any stamps, in any order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.exporters.watches import Often, Silence

STAMPS = st.lists(st.integers(0, 200), max_size=60)


def is_crowded(stamps: list[int], at: int, limit: int, window: int) -> bool:
    """Whether some window that holds `at` holds more than `limit` of the stamps."""
    ends = [end for end in stamps if at <= end <= at + window]
    return any(sum(end - window <= each <= end for each in stamps) > limit for end in ends)


@given(STAMPS, st.integers(0, 5), st.integers(0, 40))
def test_without_a_cooldown_it_fires_where_too_many_are_in_a_window(
    stamps: list[int], limit: int, window: int
) -> None:
    watch = Often(limit, window, 0)
    for number, at in enumerate(sorted(stamps)):
        so_far = sorted(stamps)[: number + 1]
        found = watch.seen(at)
        assert (found is not None) is is_crowded(so_far, at, limit, window)
        assert found is None or found > limit


@given(STAMPS, st.integers(0, 5), st.integers(0, 40), st.integers(0, 80))
def test_it_never_fires_again_before_its_cooldown_is_over(
    stamps: list[int], limit: int, window: int, cooldown: int
) -> None:
    watch = Often(limit, window, cooldown)
    fired = [at for at in sorted(stamps) if watch.seen(at) is not None]
    assert all(later - earlier >= cooldown for earlier, later in pairwise(fired))


@given(STAMPS, st.integers(0, 5), st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_order_in_which_events_arrive_does_not_matter(
    stamps: list[int], limit: int, window: int, chance: object
) -> None:
    arrived = list(stamps)
    chance.shuffle(arrived)  # type: ignore[attr-defined]
    in_order, as_they_came = Often(limit, window, 10**6), Often(limit, window, 10**6)
    fired = [at for at in sorted(stamps) if in_order.seen(at) is not None]
    fired_late = [at for at in arrived if as_they_came.seen(at) is not None]
    assert bool(fired) is bool(fired_late)


@given(STAMPS, st.integers(0, 3), st.integers(1, 40))
def test_it_says_how_many_there_were(stamps: list[int], limit: int, window: int) -> None:
    watch = Often(limit, window, 0)
    so_far: list[int] = []
    for at in sorted(stamps):
        so_far.append(at)
        found = watch.seen(at)
        most = max(sum(end - window <= each <= end for each in so_far) for end in so_far)
        assert found is None or limit < found <= most


def test_a_flood_is_counted_in_bounded_room() -> None:
    watch = Often(limit=10, window_ns=10**9, cooldown_ns=10**12)
    assert [watch.seen(at) for at in range(100_000)].count(None) == 99_999
    assert len(watch._stamps) < 10_000


MOMENTS = st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=40)


@given(MOMENTS, st.integers(1, 40), st.integers(0, 60))
def test_silence_fires_once_for_each_time_that_nothing_came(
    moments: list[tuple[int, bool]], window: int, cooldown: int
) -> None:
    watch = Silence(window, cooldown)
    watch.begin(0)
    now = last = 0
    fired: list[int] = []
    heard_since = True
    for pause, comes in moments:
        now += pause
        if comes:
            watch.seen(now)
            last, heard_since = now, True
            continue
        quiet = watch.passed(now)
        if quiet is None:
            cooling = bool(fired) and now - fired[-1] < cooldown
            assert now - last < window or not heard_since or cooling
        else:
            assert quiet == now - last >= window
            assert heard_since
            assert not fired or now - fired[-1] >= cooldown
            fired.append(now)
            heard_since = False


def test_silence_knows_when_it_is_due() -> None:
    watch = Silence(window_ns=10, cooldown_ns=100)
    assert watch.due_ns is None
    watch.begin(5)
    assert watch.due_ns == 15
    watch.seen(12)
    watch.seen(7)  # heard of late
    assert watch.due_ns == 22
    assert watch.passed(22) == 10
    assert watch.due_ns is None
    watch.seen(30)
    assert watch.due_ns == 122
