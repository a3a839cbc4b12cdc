"""What a pool remembers of its last failures: enough for their pages, and nothing that they held."""

from __future__ import annotations

import gc
import os
import pickle
import weakref

import pytest

from snakepit_nb.errors.types import WorkerCrashed
from snakepit_nb.pool.failures import KEPT, Failure, Failures
from snakepit_nb.pool.pool import Pool


class Odd(Exception):
    """An exception that holds what must not be kept."""


def fail(text: str) -> None:
    raise ValueError(text)


def fail_in_a_chain(size: int) -> None:
    try:
        raise KeyError("x" * size)  # noqa: TRY301 - the chain is the point
    except KeyError as error:
        raise ValueError("y" * size) from error


def test_a_failure_has_the_page_and_the_text_that_stood_below_its_cell() -> None:
    with Pool(1) as pool:
        future = pool.submit(fail, "<b>no</b>\u202e")
        assert future.exception() is not None
        failure = pool.failure(future.request_id)
    assert failure is not None
    assert failure.title == "ValueError"
    html, text = failure.html(), failure.text()
    assert "&lt;b&gt;no" in html
    assert "<b>no" not in html
    assert "raise ValueError(text)" in text
    assert "\u202e" not in html + text


def test_what_went_well_or_was_cancelled_or_nobody_knows_is_no_failure() -> None:
    with Pool(1) as pool:
        future = pool.submit(abs, -1)
        future.result()
        assert pool.failure(future.request_id) is None
        assert pool.failure(-1) is None


def test_the_death_of_a_worker_is_one_with_its_facts_and_last_words() -> None:
    with Pool(1) as pool:
        future = pool.submit(os.abort)
        with pytest.raises(WorkerCrashed):
            future.result()
        failure = pool.failure(future.request_id)
    assert failure is not None
    assert failure.title == "WorkerCrashed"
    assert "SIGABRT" in failure.html()
    assert "SIGABRT" in failure.text()


def test_the_last_ones_are_kept_and_no_more() -> None:
    failures = Failures()
    for number in range(KEPT + 10):
        failures.keep(number, ValueError(str(number)))
    assert [failures.get(number) is None for number in range(KEPT + 10)] == [True] * 10 + [False] * KEPT


def test_nothing_of_the_exception_itself_is_kept() -> None:
    failures = Failures()
    error = Odd("held")
    held = weakref.ref(error)
    failures.keep(1, error)
    del error
    gc.collect()
    assert held() is None
    assert failures.get(1) == Failure("Odd", "held")


def test_a_message_of_megabytes_is_kept_as_no_more_than_its_page_shows() -> None:
    with Pool(1) as pool:
        future = pool.submit(fail_in_a_chain, 10_000_000)
        assert future.exception() is not None
        failure = pool.failure(future.request_id)
    assert failure is not None
    assert len(pickle.dumps(failure)) < 100_000
    assert "KeyError" in failure.text()
    assert len(failure.html()) < 200_000


def test_a_request_is_cancelled_by_its_number_whether_it_runs_or_waits() -> None:
    import time

    with Pool(1) as pool:
        running, waiting = pool.submit(time.sleep, 60), pool.submit(time.sleep, 60)
        assert pool.cancel(waiting.request_id)
        assert pool.cancel(running.request_id)
        for future in (running, waiting):
            future.wait_settled()
            assert future.cancelled()
        assert not pool.cancel(running.request_id)
        assert pool.submit(abs, -1).result() == 1
