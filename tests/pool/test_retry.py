"""Requests that may run again: which do, how often, with what, and what is told of it."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import Pool, RequestTimeout, WorkerCrashed, events, options, testing
from snakepit_nb.pool import loans
from snakepit_nb.pool.retry import pause
from tests.pool.conftest import HANG, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pool.conftest import Log

OF_RETRIES = (events.RETRY_ATTEMPT, events.RETRY_EXHAUSTED, events.REQUEST_EXECUTED)


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    with options.override(retry_base=0.01):
        yield


def failing(log: Log, *ways: str) -> Callable[[], str]:
    """A task that fails in these ways, one after the other, and then goes well."""
    path = str(log.path)

    def task() -> str:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
        times = len(os.read(fd, 1 << 16).split())
        os.write(fd, b"ran\n")
        os.close(fd)
        if times < len(ways):
            if ways[times] == "crash":
                os._exit(9)
            raise {"value": ValueError, "interrupt": KeyboardInterrupt}[ways[times]](ways[times])
        return f"the {times + 1}th time"

    return task


def test_a_request_that_may_run_again_does_after_a_crash_and_after_an_exception(log: Log) -> None:
    with testing.capture_events(*OF_RETRIES) as seen, Pool(1, name="test") as pool:
        future = pool.request(failing(log, "crash", "value"), retries=3)
        assert future.result(HANG) == "the 3th time"
    assert [(each.name[1:], each.metadata.get("reason")) for each in seen] == [
        (("retry", "attempt"), "crashed"),
        (("retry", "attempt"), "error"),
        (("request", "executed"), None),
    ]
    assert [each.measurements["attempt"] for each in seen if "attempt" in each.measurements] == [1, 2]
    for each in seen:
        assert events.check(each.name, each.measurements, each.metadata) == []
        assert each.metadata["request_id"] == future.request_id


def test_nothing_runs_again_that_was_not_said_to(log: Log) -> None:
    with Pool(1) as pool:
        assert isinstance(outcome(pool.request(failing(log, "crash"))), WorkerCrashed)
        assert pool.submit(abs, -1).result(HANG) == 1
    assert log.lines() == ["ran"]


def test_the_last_failure_tells_of_those_before_it(log: Log) -> None:
    with testing.capture_events(*OF_RETRIES) as seen, Pool(1) as pool:
        error = outcome(pool.request(failing(log, "crash", "value", "value"), retries=2))
        assert isinstance(error, ValueError)
        (note,) = error.__notes__
        assert note.startswith("It was tried 3 times")
        assert "1. WorkerCrashed: worker default-0 of pool 'default' ended its own process" in note
        assert "2. ValueError: value" in note
    assert sorted(each.name[-1] for each in seen) == ["attempt", "attempt", "executed", "exhausted"]
    (exhausted,) = [each for each in seen if each.name == events.RETRY_EXHAUSTED]
    assert exhausted.measurements["attempts"] == 3
    assert len(log.lines()) == 3


def test_only_the_exceptions_that_are_named_are_tried_again(log: Log) -> None:
    with Pool(1) as pool:
        error = outcome(pool.request(failing(log, "value"), retries=5, retry_on=(OSError, WorkerCrashed)))
        assert isinstance(error, ValueError)
    assert log.lines() == ["ran"]


def test_an_interrupt_is_not_tried_again(log: Log) -> None:
    with Pool(1) as pool:
        error = outcome(pool.request(failing(log, "interrupt"), retries=5, retry_on=(BaseException,)))
        assert isinstance(error, KeyboardInterrupt)
    assert log.lines() == ["ran"]


@pytest.mark.parametrize("way", ["crash", "value"])
def test_every_attempt_begins_with_what_was_given(log: Log, way: str) -> None:
    array = np.ones(300_000)
    task = failing(log, way)

    def change(given: np.ndarray) -> float:
        given += 1.0
        task()
        return float(given.sum())

    with Pool(1) as pool:
        assert pool.request(change, (array,), retries=1).result(HANG) == 600_000.0
        assert array.sum() == 300_000.0
    gc.collect()
    assert loans.kernel_store().stats().leases == 0


def test_a_request_that_waits_for_its_next_attempt_can_be_cancelled(log: Log) -> None:
    with (
        options.override(retry_base=HANG, retry_most=HANG),
        testing.capture_events(*OF_RETRIES) as seen,
        Pool(1, name="test") as pool,
    ):
        future = pool.request(failing(log, "value"), (), retries=1)
        seen.wait_for(events.RETRY_ATTEMPT, timeout=HANG)
        assert future.cancel()
        assert future.cancelled()
    assert log.lines() == ["ran"]
    # It had reached a worker, so its end is told.
    (executed,) = seen.named(events.REQUEST_EXECUTED)
    assert (executed.metadata["outcome"], executed.metadata["worker_id"]) == ("cancelled", "test-0")


def test_a_deadline_holds_for_all_attempts_together(log: Log) -> None:
    with options.override(retry_base=0.01, retry_most=0.01), Pool(1) as pool:
        error = outcome(pool.request(failing(log, *["value"] * 10_000), retries=10_000, timeout=0.3))
        assert isinstance(error, (RequestTimeout, ValueError))
    assert 1 <= len(log.lines()) < 10_000


def test_a_pool_that_is_shut_down_waits_for_the_next_attempt(log: Log) -> None:
    with Pool(1) as pool:
        crashed = pool.request(failing(log, "crash", "value"), retries=2)
    assert crashed.result(0) == "the 3th time"


def test_a_pool_that_is_killed_does_not(log: Log) -> None:
    with options.override(retry_base=HANG, retry_most=HANG):
        pool = Pool(1)
        with testing.capture_events(events.RETRY_ATTEMPT) as seen:
            future = pool.request(failing(log, "value"), retries=1)
            seen.wait_for(events.RETRY_ATTEMPT, timeout=HANG)
        pool.kill()
        assert future.cancelled()


def test_a_crash_in_a_session_is_not_tried_again_for_what_it_kept_is_gone(log: Log) -> None:
    with Pool(1) as pool:
        future = pool.request(failing(log, "crash"), retries=3, session="s")
        assert isinstance(outcome(future), WorkerCrashed)
    assert log.lines() == ["ran"]


@pytest.mark.parametrize("retries", [-1, 1.5, True, "2"])
def test_a_number_of_retries_that_is_none_is_refused(retries: int) -> None:
    with Pool(1) as pool, pytest.raises(ValueError, match="retries: expected a whole number from zero on"):
        pool.request(abs, (-1,), retries=retries)


@pytest.mark.parametrize("kinds", [(3,), (), ("ValueError",), (int,)])
def test_what_is_no_exception_is_refused(kinds: tuple[type[BaseException], ...]) -> None:
    with Pool(1) as pool, pytest.raises(TypeError, match="retry_on: expected classes of exceptions"):
        pool.request(abs, (-1,), retries=1, retry_on=kinds)


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.001, 100), st.floats(0.001, 1000))
def test_a_pause_is_never_longer_than_the_longest_and_never_none(
    attempt: int, chance: float, base: float, most: float
) -> None:
    wait = pause(attempt, chance, base=base, most=most)
    assert 0 < wait <= most
    assert pause(attempt + 1, chance, base=base, most=most) >= wait
