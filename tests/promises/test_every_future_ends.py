"""No fault leaves a future pending, and none ends the thread that serves the pool."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from snakepit_nb import CaptureError, Pool, events, telemetry
from snakepit_nb.pool import output
from tests.pool.conftest import HANG, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snakepit_nb.pool.future import PoolFuture
    from tests.pool.conftest import Gate


ENDS = [SystemExit, KeyboardInterrupt, GeneratorExit]


class RaisesAtHome:
    """Cannot be rebuilt in the process whose number it holds."""

    def __init__(self, kind: type[BaseException], pid: int) -> None:
        self.kind = kind
        self.pid = pid

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return rebuilt, (self.kind, self.pid)


def rebuilt(kind: type[BaseException], pid: int) -> RaisesAtHome:
    if pid == os.getpid():
        text = "not here"
        raise kind(text)
    return RaisesAtHome(kind, pid)


def yields(kind: type[BaseException], pid: int) -> Iterator[object]:
    yield "first"
    yield RaisesAtHome(kind, pid)
    yield "last"


def heard_by_the_pool(future: PoolFuture[Any]) -> bool:
    """Whether the future ends with nobody but the pool's own thread to see to it."""
    over = threading.Event()
    future.add_done_callback(lambda _: over.set())
    return over.wait(HANG)


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("waits", [True, False], ids=["the_caller_waits", "nobody_waits"])
def test_a_result_that_would_end_whoever_rebuilds_it_is_an_error_of_its_future(
    pool: Pool,
    kind: type[BaseException],
    waits: bool,  # noqa: FBT001 - a parameter
) -> None:
    future = pool.submit(RaisesAtHome, kind, os.getpid())
    assert waits or heard_by_the_pool(future)
    with pytest.raises(
        CaptureError, match=f"the result could not be rebuilt here .{kind.__name__}: not here"
    ):
        future.result(HANG)
    assert heard_by_the_pool(pool.submit(abs, -1))


@pytest.mark.parametrize("kind", ENDS)
def test_a_value_of_a_stream_that_would_end_whoever_rebuilds_it_ends_the_stream(
    pool: Pool, kind: type[BaseException]
) -> None:
    with pool.stream(yields, kind, os.getpid()) as stream:
        assert next(stream) == "first"
        with pytest.raises(CaptureError, match="a value of the stream could not be rebuilt"):
            next(stream)
    assert heard_by_the_pool(pool.submit(abs, -1))


class Raises:
    """Cannot be packed, or not be rebuilt, wherever that is."""

    def __init__(self, kind: type[BaseException], *, when_packed: bool) -> None:
        self.kind = kind
        self.when_packed = when_packed

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        if self.when_packed:
            raise self.kind
        return fails, (self.kind,)


def fails(kind: type[BaseException]) -> object:
    raise kind


@pytest.mark.parametrize("kind", [*ENDS, MemoryError, RecursionError])
def test_a_call_a_result_or_an_argument_that_raises_anything_is_an_answer(
    pool: Pool, kind: type[BaseException]
) -> None:
    futures: list[PoolFuture[Any]] = [
        pool.submit(fails, kind),
        pool.submit(id, Raises(kind, when_packed=False)),
        pool.submit(Raises, kind, when_packed=True),
    ]
    for future in futures:
        assert outcome(future) is not None
    assert heard_by_the_pool(pool.submit(abs, -1))


@pytest.mark.parametrize("kind", ENDS)
def test_a_handler_that_would_end_the_pools_thread_is_detached(
    pool: Pool, gate: Gate, kind: type[BaseException]
) -> None:
    def handler(*_: object) -> None:
        raise kind

    telemetry.attach("ends", events.REQUEST_EXECUTED, handler)
    future = pool.submit(gate.task, "done")
    gate.open_after_begin()
    assert heard_by_the_pool(future)
    assert not telemetry.detach("ends")
    assert heard_by_the_pool(pool.submit(abs, -1))


@pytest.mark.parametrize("kind", ENDS)
def test_a_sink_that_would_end_the_pools_thread_costs_no_answer(
    pool: Pool, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Ends(output.ScriptSink):
        def stream(self, *_: object) -> None:
            raise kind

    output.set_sink(Ends())
    try:
        assert heard_by_the_pool(pool.submit(print, "heard by nobody"))
    finally:
        output.set_sink(None)
    assert "cannot be shown" in caplog.text
    assert heard_by_the_pool(pool.submit(abs, -1))


def test_a_fault_of_the_pools_own_thread_is_told_to_all_who_wait(
    pool: Pool, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = pool.submit(gate.task, None)
    gate.wait_begun()

    def falls(*_: object) -> None:
        raise GeneratorExit

    monkeypatch.setattr(pool._supervisor.reception, "drain", falls)
    victim = pool.submit(abs, -1)
    assert heard_by_the_pool(victim)
    futures: list[PoolFuture[Any]] = [running, victim]
    for future in futures:
        assert "its supervision failed: GeneratorExit" in str(outcome(future))
