"""When deaths are too many: a sliding window over times that the caller gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.pool.restart import Intensity


def test_as_many_deaths_as_allowed_are_borne_and_one_more_is_not() -> None:
    intensity = Intensity(deaths=2, within=10.0)
    assert [intensity.died(now) for now in (0.0, 1.0)] == [None, None]
    assert intensity.died(2.0) == "3 workers died within 10 s"


def test_deaths_that_are_far_apart_are_borne_for_ever() -> None:
    intensity = Intensity(deaths=1, within=10.0)
    assert {intensity.died(now * 10.5) for now in range(100)} == {None}


@pytest.mark.parametrize(("last", "borne"), [(10.0, False), (10.1, True)])
def test_a_death_counts_until_the_window_has_passed_it(last: float, *, borne: bool) -> None:
    intensity = Intensity(deaths=1, within=10.0)
    assert intensity.died(0.0) is None
    assert (intensity.died(last) is None) is borne


@given(st.lists(st.floats(0, 100), max_size=40), st.integers(0, 5), st.floats(1, 20))
def test_the_pool_ends_exactly_when_a_window_holds_too_many(
    steps: list[float], deaths: int, within: float
) -> None:
    intensity = Intensity(deaths, within)
    now, times = 0.0, []
    for step in steps:
        now += step
        times.append(now)
        in_window = sum(now - time <= within for time in times)
        assert (intensity.died(now) is not None) == (in_window > deaths)
