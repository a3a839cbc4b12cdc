"""Handlers that misbehave at a pool's events: they hold it up at most, and cost it nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from snakepit_nb import Pool, events, telemetry
from snakepit_nb.exporters.buffered import Buffered
from snakepit_nb.testing import capture_events

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 200


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2, name="handled") as made:
        yield made.start()


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    for each in telemetry.list_handlers():
        if each.handler_id.startswith("bad"):
            telemetry.detach(each.handler_id)


def test_one_that_raises_is_detached_and_told_and_no_request_notices(pool: Pool) -> None:
    telemetry.attach("bad", events.REQUEST_EXECUTED, lambda *_: 1 / 0)
    with capture_events("telemetry", events.REQUEST_EXECUTED) as captured:
        assert list(pool.map(abs, range(MANY))) == list(range(MANY))
        captured.wait_for(events.REQUEST_EXECUTED, MANY)
    (told,) = captured.named(events.TELEMETRY_HANDLER_FAILURE)
    assert told.has({"handler_id": "bad", "reason": "ZeroDivisionError"})
    assert not telemetry.detach("bad")


def test_one_that_blocks_holds_the_pool_up_and_nothing_is_lost(pool: Pool) -> None:
    let_go, blocks = threading.Event(), threading.Event()

    def block(*_: object) -> None:
        blocks.set()
        let_go.wait()

    def release() -> None:
        blocks.wait()
        let_go.set()

    telemetry.attach("bad", events.REQUEST_EXECUTED, block)
    rescue = threading.Thread(target=release)
    with capture_events(events.REQUEST_EXECUTED) as captured:
        futures = [pool.submit(abs, number) for number in range(MANY)]
        rescue.start()
        assert [future.result() for future in futures] == list(range(MANY))
        captured.wait_for(events.REQUEST_EXECUTED, MANY)
    rescue.join()


def test_behind_a_queue_one_that_blocks_holds_nobody_up(pool: Pool) -> None:
    let_go = threading.Event()
    passed = []

    def block(*heard: object) -> None:
        let_go.wait()
        passed.append(heard[0])

    with Buffered(block, size=MANY // 2) as slow:
        telemetry.attach("bad", events.REQUEST_EXECUTED, slow)
        with capture_events(events.REQUEST_EXECUTED) as captured:
            assert list(pool.map(abs, range(MANY))) == list(range(MANY))
            captured.wait_for(events.REQUEST_EXECUTED, MANY)
        assert not passed
        telemetry.detach("bad")
        let_go.set()
        slow.flush()
        assert len(passed) + slow.dropped == MANY
        assert slow.dropped > 0


def test_one_that_detaches_itself_while_it_runs_is_called_once(pool: Pool) -> None:
    calls = []

    def once(*heard: object) -> None:
        telemetry.detach("bad")
        calls.append(heard[0])

    telemetry.attach("bad", events.REQUEST_QUEUED, once)
    with capture_events("telemetry") as failures:
        assert list(pool.map(abs, range(MANY))) == list(range(MANY))
    assert calls == [events.REQUEST_QUEUED]
    assert not failures


def test_one_that_attaches_others_while_it_runs_lets_them_hear_the_next_event(pool: Pool) -> None:
    heard: list[tuple[int, int]] = []

    def breed(_event: object, _measured: object, facts: dict[str, Any], generation: int) -> None:
        heard.append((generation, facts["request_id"]))
        if generation < 3:
            telemetry.attach(f"bad {len(heard)}", events.REQUEST_QUEUED, breed, generation + 1)

    telemetry.attach("bad", events.REQUEST_QUEUED, breed, 1)
    first, second = (pool.submit(abs, -number) for number in range(2))
    assert (first.result(), second.result()) == (0, 1)
    generations = {
        future: [each for each, number in heard if number == future.request_id] for future in (first, second)
    }
    assert generations == {first: [1], second: [1, 2]}
