"""A pool of another size, and a pool that takes nothing for a while."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import CircuitOpen, Pool, WorkerCrashed, events, options, testing
from tests.pool.conftest import HANG, gone, outcome, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate

BREAKER = (events.CIRCUIT_BREAKER_OPENED, events.CIRCUIT_BREAKER_HALF_OPEN, events.CIRCUIT_BREAKER_CLOSED)


def test_a_pool_that_is_scaled_up_has_more_workers_at_once() -> None:
    with Pool(1, name="test") as pool:
        pool.start()
        with testing.capture_events(events.WORKER_STARTED, events.POOL_RESIZED) as seen:
            pool.scale(3)
            (resized,) = seen.wait_for(events.POOL_RESIZED, timeout=HANG)
            seen.wait_for(events.WORKER_STARTED, 2, HANG)
        assert (resized.metadata["previous"], resized.metadata["workers"]) == (1, 3)
        assert len(pids(pool)) == 3
        assert pool.max_workers == pool._max_workers == 3


def test_a_pool_that_was_not_started_is_scaled_without_starting_it() -> None:
    with Pool(1) as pool:
        pool.scale(4)
        assert pool.workers() == []
        pool.start()
        assert len(pids(pool)) == 4


def test_workers_that_go_answer_first_what_they_have(gates: Callable[[], Gate]) -> None:
    with Pool(3) as pool:
        pool.start()
        held = [gates() for _ in range(3)]
        running = [pool.submit(gate.task, number) for number, gate in enumerate(held)]
        for gate in held:
            gate.wait_begun()
        before = pids(pool)
        waiting = [pool.submit(abs, -number) for number in range(20)]
        pool.scale(1)
        for gate in held:
            gate.open()
        assert [each.result(HANG) for each in running] == [0, 1, 2]
        assert [each.result(HANG) for each in waiting] == list(range(20))
        left = pool.submit(os.getpid).result(HANG)
        assert left in before
        assert gone(before - {left})


def test_a_pool_is_scaled_down_and_up_again(pool: Pool) -> None:
    pool.scale(1)
    pool.scale(3)
    pool.start()
    assert len(pids(pool)) == 3
    assert list(pool.map(abs, range(-20, 0))) == list(range(20, 0, -1))


@pytest.mark.parametrize(("workers", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_a_pool_is_not_scaled_to_what_is_no_number_of_workers(
    pool: Pool, workers: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="workers: expected"):
        pool.scale(workers)
    assert pool.max_workers == 2


def test_a_pool_whose_workers_die_one_after_the_other_takes_nothing_for_a_while() -> None:
    chosen = options.override(breaker=2, breaker_reset=HANG)
    with chosen, testing.capture_events(*BREAKER) as seen, Pool(1, name="test") as pool:
        for _ in range(2):
            assert isinstance(outcome(pool.submit(os._exit, 3)), WorkerCrashed)
        with pytest.raises(
            CircuitOpen, match=r"pool 'test' takes no requests .* its last 2 ended with"
        ) as told:
            pool.submit(abs, -1)
        assert told.value.failures == 2
    (opened,) = seen
    assert opened.measurements["failures"] == 2
    assert events.check(opened.name, opened.measurements, opened.metadata) == []


def test_one_request_that_goes_well_after_the_pause_opens_the_pool_again() -> None:
    chosen = options.override(breaker=1, breaker_reset=1e-6)
    with chosen, testing.capture_events(*BREAKER) as seen, Pool(1) as pool:
        assert isinstance(outcome(pool.submit(os._exit, 3)), WorkerCrashed)
        assert pool.submit(abs, -1).result(HANG) == 1
        assert pool.submit(abs, -2).result(HANG) == 2
    assert [each.name[-1] for each in seen] == ["opened", "half_open", "closed"]
    assert all(events.check(each.name, each.measurements, each.metadata) == [] for each in seen)


def test_while_one_request_is_tried_the_others_are_refused(gate: Gate) -> None:
    with options.override(breaker=1, breaker_reset=1e-6), Pool(1) as pool:
        assert isinstance(outcome(pool.submit(os._exit, 3)), WorkerCrashed)
        trial = pool.submit(gate.task, "fine")
        with pytest.raises(CircuitOpen):
            pool.submit(abs, -1)
        gate.open_after_begin()
        assert trial.result(HANG) == "fine"
        assert pool.submit(abs, -1).result(HANG) == 1


def test_what_the_users_code_raises_does_not_count() -> None:
    def fail() -> None:
        raise ValueError

    with options.override(breaker=1), Pool(1) as pool:
        for _ in range(5):
            assert isinstance(outcome(pool.submit(fail)), ValueError)
        assert pool.submit(abs, -1).result(HANG) == 1
