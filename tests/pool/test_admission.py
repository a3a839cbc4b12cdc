"""A bounded queue: who is let in, who waits, who is turned away; and whose turn it is among those inside."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import CheckoutTimeout, Pool, PoolClosed, PoolSaturated, events, options, testing
from snakepit_nb.pool.output import ScriptSink, set_sink
from snakepit_nb.pool.waiting import Waiting
from tests.pool.conftest import HANG

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from tests.pool.conftest import Gate


def full(pool: Pool, gate: Gate, waiting: int) -> list[Any]:
    """A pool whose one worker is busy, and so many requests behind it."""
    running = pool.submit(gate.task, "done")
    gate.wait_begun()
    return [running, *(pool.submit(abs, -number) for number in range(waiting))]


def test_a_request_that_finds_the_queue_full_is_turned_away_and_told_of(gate: Gate) -> None:
    with (
        testing.capture_events(events.POOL_SATURATED) as seen,
        Pool(1, name="small", max_queue=2, when_full="reject") as pool,
    ):
        inside = full(pool, gate, 2)
        for _ in range(2):
            with pytest.raises(PoolSaturated, match=r"the queue of pool 'small' is full \(2 of 2\)"):
                pool.submit(abs, -9)
        gate.open()
        assert [future.result(HANG) for future in inside] == ["done", 0, 1]
        assert pool.submit(abs, -9).result(HANG) == 9
    assert [each.metadata["outcome"] for each in seen] == ["queued", "rejected", "rejected"]
    for each in seen:
        assert each.metadata["max_queue_size"] == 2
        assert events.check(each.name, each.measurements, each.metadata) == []


def test_a_request_that_finds_the_queue_full_waits_for_room(gate: Gate) -> None:
    with Pool(1, max_queue=1) as pool:
        inside = full(pool, gate, 1)
        found: deque[int] = deque()
        threads = [
            threading.Thread(target=lambda n=n: found.append(pool.submit(abs, -n).result(HANG)))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        gate.open()
        for thread in threads:
            thread.join(HANG)
        assert sorted(found) == [0, 1, 2, 3, 4]
        assert [future.result(HANG) for future in inside] == ["done", 0]


def test_workers_that_are_yet_to_start_count_as_room(gates: Callable[[], Gate]) -> None:
    with Pool(2, max_queue=1, when_full="reject") as pool:
        first, second = gates(), gates()
        inside: list[Any] = [pool.submit(first.task, 1), pool.submit(second.task, 2), pool.submit(abs, -3)]
        with pytest.raises(PoolSaturated):
            pool.submit(abs, -9)
        first.open_after_begin()
        second.open_after_begin()
        assert [future.result(HANG) for future in inside] == [1, 2, 3]


def test_a_map_over_what_has_no_end_is_held_back_by_the_queue() -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield number

    with Pool(1, max_queue=3) as pool:
        assert list(pool.map(abs, numbers())) == list(range(500))
    assert taken == 500


def test_workers_that_a_full_queue_called_for_go_again_when_they_are_idle(
    gates: Callable[[], Gate],
) -> None:
    with (
        options.override(shrink_after=0.05),
        testing.capture_events(events.POOL_RESIZED) as seen,
        Pool(1, max_queue=1, when_full="grow", most_workers=3) as pool,
    ):
        held = [gates() for _ in range(3)]
        running = [pool.submit(gate.task, number) for number, gate in enumerate(held)]
        running.append(pool.submit(abs, -3))
        for gate in held:
            gate.open_after_begin()
        assert [each.result(HANG) for each in running] == [0, 1, 2, 3]
        seen.wait_for(events.POOL_RESIZED, 4, HANG)
        assert pool.submit(abs, -1).result(HANG) == 1
        assert pool.max_workers == 1
    assert [each.metadata["workers"] for each in seen] == [2, 3, 2, 1]


def test_who_waits_for_room_longer_than_the_request_may_last_is_told(gate: Gate) -> None:
    with Pool(1, name="small", max_queue=1) as pool:
        inside = full(pool, gate, 1)
        with pytest.raises(CheckoutTimeout, match=r"no worker of pool 'small' came free within 0\.05 s"):
            pool.request(abs, (-1,), timeout=0.05)
        gate.open()
        assert [future.result(HANG) for future in inside] == ["done", 0]
        assert pool.request(abs, (-1,), timeout=HANG).result(HANG) == 1


def test_who_waits_for_room_is_told_when_the_pool_closes(gate: Gate) -> None:
    with Pool(1, max_queue=1) as pool:
        full(pool, gate, 1)
        told: deque[BaseException] = deque()

        def submit() -> None:
            try:
                pool.submit(abs, -1)
            except BaseException as error:  # noqa: BLE001 - looked at below
                told.append(error)

        thread = threading.Thread(target=submit)
        thread.start()
        while not pool._supervisor.admission._line:
            pass
        pool.kill()
        thread.join(HANG)
        assert isinstance(told[0], PoolClosed)


def test_the_stop_button_ends_a_wait_for_room_and_nothing_else(gate: Gate) -> None:
    with Pool(1, max_queue=1) as pool:
        inside = full(pool, gate, 1)

        def stop() -> None:
            while not pool._supervisor.admission._line:
                pass
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            pool.submit(abs, -9)
        thread.join(HANG)
        assert not pool._supervisor.admission._line
        gate.open()
        assert [future.result(HANG) for future in inside] == ["done", 0]
        assert pool.submit(abs, -9).result(HANG) == 9


def test_a_callback_of_the_pool_may_submit_although_the_queue_is_full(gate: Gate) -> None:
    with Pool(1, max_queue=1) as pool:
        inside = full(pool, gate, 1)
        more: deque[Any] = deque()
        done = threading.Event()

        def again(_: object) -> None:
            more.extend(pool.submit(abs, -n) for n in range(5))
            done.set()

        inside[0].add_done_callback(again)
        gate.open()
        assert done.wait(HANG)
        assert [future.result(HANG) for future in more] == [0, 1, 2, 3, 4]


def test_a_full_queue_makes_the_pool_grow_up_to_its_limit(gates: Callable[[], Gate]) -> None:
    with (
        testing.capture_events(events.POOL_RESIZED) as seen,
        Pool(1, max_queue=1, when_full="grow", most_workers=2) as pool,
    ):
        first, second = gates(), gates()
        inside = full(pool, first, 1)
        held = pool.submit(second.task, None)
        assert pool.max_workers == 2
        assert inside[1].result(HANG) == 0
        second.wait_begun()
        inside.append(pool.submit(abs, -5))
        with pytest.raises(PoolSaturated):
            pool.submit(abs, -9)
        first.open()
        second.open()
        assert [future.result(HANG) for future in (*inside, held)] == ["done", 0, 5, None]
    assert [(each.metadata["workers"], each.metadata["previous"]) for each in seen] == [(2, 1)]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"max_queue": 0}, "max_queue: expected at least 1, got 0"),
        ({"when_full": "wait"}, "when_full: expected one of 'block', 'reject', 'grow', got 'wait'"),
        ({"most_workers": 1}, "most_workers: expected at least max_workers, which is 2, got 1"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Pool(2, **said)


# Whose turn it is


class Cells(ScriptSink):
    """A sink that knows cells by name."""

    asking: str = ""

    def origin(self) -> object:
        return self.asking

    def group(self, origin: object) -> Hashable:
        return str(origin)


def test_a_cell_with_one_request_does_not_wait_for_one_with_a_thousand(gate: Gate) -> None:
    sink = Cells()
    set_sink(sink)
    order: deque[str] = deque()
    with Pool(1) as pool:
        full(pool, gate, 0)
        futures = []
        for name, count in (("long", 1000), ("short", 1)):
            sink.asking = name
            for _ in range(count):
                future = pool.submit(abs, -1)
                future.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
                futures.append(future)
        gate.open()
        for future in futures:
            future.result(HANG)
    set_sink(None)
    assert order.index("short") < 500


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "back", "drop"]), st.integers(0, 3)), max_size=60))
def test_the_queue_keeps_the_order_of_each_group_and_gives_each_its_turn(
    moves: list[tuple[str, int]],
) -> None:
    waiting = Waiting()
    model: dict[int, list[int]] = {}
    turns: list[int] = []
    number, taken = 0, []
    for move, which in moves:
        if move == "add":
            number += 1
            waiting.add(number, alone=bool(which), group=which)
            model.setdefault(which, []).append(number)
            turns += [which] if which not in turns else []
        elif move == "take" and len(waiting):
            group = turns.pop(0)
            expected = model[group].pop(0)
            turns += [group] if model[group] else []
            assert waiting.take() == (expected, bool(group))
            taken.append((expected, group))
        elif move == "back" and taken:
            back, group = taken.pop()
            waiting.put_back(back, alone=bool(group), group=group)
            model[group].insert(0, back)
            turns = [group, *(each for each in turns if each != group)]
        elif move == "drop" and len(waiting):
            there = sorted(waiting)[which % len(waiting)]
            assert waiting.drop(there)
            assert not waiting.drop(there)
            for group, numbers in model.items():
                if there in numbers:
                    numbers.remove(there)
                    turns = turns if numbers else [each for each in turns if each != group]
        assert list(waiting) == [each for group in turns for each in model[group]]
        assert len(waiting) == sum(map(len, model.values()))
