"""Which events workers send: chosen while they run, followed by those that start later, spans whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import Pool, PoolClosed, events, telemetry
from snakepit_nb.testing import capture_events
from snakepit_nb.wire import messages
from snakepit_nb.wire.sampling import ALL
from tests import conversation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snakepit_nb.testing import Captured


@pytest.fixture(params=["process", "thread"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with Pool(1, name="forwarded", profile=request.param) as made:
        yield made


def steps(count: int) -> bool:
    """Emit, in a worker; whether what nobody would hear is wanted there."""
    for number in range(count):
        telemetry.execute("app.step", {"number": number})
        telemetry.execute("app.other")
        with telemetry.span("app.load", {"number": number}):
            pass
    return telemetry.wants("app.step")


def numbers(captured: Captured, name: str) -> list[object]:
    """Which of the steps were heard of."""
    return [event.measurements.get("number", event.metadata.get("number")) for event in captured.named(name)]


def test_all_is_sent_where_nothing_is_said(pool: Pool) -> None:
    assert pool.forwarding() == {}
    with capture_events("app") as captured:
        assert pool.submit(steps, 3).result()
    assert numbers(captured, "app.step") == [0, 1, 2]
    assert all("sample_rate" not in event.metadata for event in captured)


def test_rules_hold_from_the_next_request_on_and_can_be_changed(pool: Pool) -> None:
    pool.submit(steps, 1).result()
    with capture_events("app") as captured:
        pool.forward("app.step", 0)
        assert not pool.submit(steps, 2).result()
        assert (len(captured.named("app.step")), len(captured.named("app.other"))) == (0, 2)
        pool.forward("app.step", 0.5)
        assert pool.submit(steps, 4).result()
        assert numbers(captured, "app.step") == [0, 2]
        for event in captured.named("app.step"):
            assert event.metadata["sample_rate"] == 0.5
            assert not events.check("snakepit.pool.stopped", {"count": 1}, {
                **event.metadata, "pool": "p", "reason": "exit",
            })  # fmt: skip
        captured.clear()
        pool.forward("app.step")
        pool.submit(steps, 3).result()
        assert numbers(captured, "app.step") == [0, 1, 2]
    assert pool.forwarding() == {"app.step": 1.0}


def test_rules_from_before_the_first_worker_hold_for_every_one() -> None:
    with Pool(2, name="forwarded") as pool, capture_events("app") as captured:
        pool.forward("", 0)
        pool.forward("app.other", 1)
        pool.start()
        list(pool.map(steps, [1, 1]))
        pool.recycle()
        list(pool.map(steps, [1] * 4))
        pool.scale(3)
        list(pool.map(steps, [1] * 6))
    assert set(captured.names()) == {"app.other"}
    assert len(captured) == 12


def test_spans_are_sent_whole_or_not_at_all(pool: Pool) -> None:
    pool.forward("app", 0.5)
    with capture_events("app.load") as captured:
        pool.submit(steps, 200).result()
    begun = numbers(captured, "app.load.start")
    assert begun == numbers(captured, "app.load.stop")
    assert 50 < len(begun) < 150


def test_a_worker_with_threads_follows_in_the_middle_of_a_call(tmp_path: Path) -> None:
    def waits(path: str) -> None:
        telemetry.execute("app.step", {"number": 1})
        with open(path) as told:  # noqa: PTH123 - a pipe, opened for its end
            told.read()
        while telemetry.wants("app.step"):
            pass
        telemetry.execute("app.step", {"number": 2})

    path = tmp_path / "told"
    os.mkfifo(path)
    with Pool(2, name="forwarded", profile="thread") as pool, capture_events("app") as captured:
        future = pool.submit(waits, str(path))
        with path.open("w"):
            pool.forward("app", 0)
        future.result()
    assert numbers(captured, "app.step") == [1]


def test_rules_come_before_a_request_that_was_sent_while_the_worker_was_busy() -> None:
    with Pool(1, name="forwarded") as pool, capture_events("app") as captured:
        pool.submit(steps, 1).result()
        captured.clear()
        futures = [pool.submit(steps, 1) for _ in range(50)]
        pool.forward("app", 0)
        futures += [pool.submit(steps, 1) for _ in range(50)]
        for future in futures:
            future.result()
        assert len(captured.named("app.step")) <= 50
        captured.clear()
        pool.submit(steps, 1).result()
        assert not captured


def test_rules_that_are_taken_back_with_a_request_are_told_again(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    os.mkfifo(path)

    def waits(gate: str) -> None:
        with open(gate) as opened:  # noqa: PTH123 - in a worker that imports nothing for it
            opened.read()

    with Pool(1, name="forwarded") as pool, capture_events("app") as captured:
        # Short ones: what follows is sent ahead.
        for _ in range(50):
            pool.submit(abs, 1).result()
        running = pool.submit(waits, str(path))
        with path.open("w"):
            pool.forward("app", 0)
            ahead = [pool.submit(steps, 1) for _ in range(3)]
            assert all(future.cancel() for future in ahead)
        running.result()
        pool.submit(steps, 1).result()
    assert not captured


def test_what_a_worker_is_told_that_is_no_rule_ends_it() -> None:
    with conversation.worker() as spoken:
        spoken.say(messages.Forward(b"nonsense"))
        assert spoken.exit_code() == 75


def test_what_cannot_be_meant_is_refused() -> None:
    pool = Pool(1, name="forwarded")
    with pytest.raises(ValueError, match="from 0"):
        pool.forward("app", 2)
    with pytest.raises(TypeError, match="rate"):
        pool.forward("app", "few")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="none empty"):
        pool.forward("app..step")
    assert pool._supervisor.forwarding.rules is ALL
    pool.shutdown()
    with pytest.raises(PoolClosed):
        pool.forward("app", 0)
