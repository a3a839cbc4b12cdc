"""What a death costs: one request, with the facts of the death; what only looks like one costs nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import PoolBroken, RemoteError, WorkerCrashed, events, testing
from snakepit_nb.pool.crash import classify, signal_name
from snakepit_nb.pool.pool import Pool
from tests.pool.conftest import HANG, outcome, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate, Log


@pytest.mark.parametrize(
    ("exit_code", "kind", "name"),
    [
        (0, "exit", None),
        (3, "exit", None),
        (-signal.SIGSEGV, "segfault", "SIGSEGV"),
        (-signal.SIGBUS, "segfault", "SIGBUS"),
        (-signal.SIGABRT, "abort", "SIGABRT"),
        (-signal.SIGKILL, "killed", "SIGKILL"),
        (-signal.SIGTERM, "killed", "SIGTERM"),
        (-999, "killed", "signal 999"),
        (None, "killed", None),
    ],
)
def test_an_exit_status_says_how_a_worker_ended(exit_code: int | None, kind: str, name: str | None) -> None:
    assert (classify(exit_code), signal_name(exit_code)) == (kind, name)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("function", "arguments", "facts"),
    [
        (kill_me, (), ("killed", signal.SIGKILL, None)),
        (ctypes.string_at, (0,), ("segfault", signal.SIGSEGV, None)),
        (os._exit, (3,), ("exit", None, 3)),
        (os._exit, (0,), ("exit", None, 0)),
        (os.abort, (), ("abort", signal.SIGABRT, None)),
    ],
)
def test_a_death_costs_its_request_alone(  # noqa: PLR0913, PLR0917 - pytest passes by name
    pool: Pool,
    gates: Callable[[], Gate],
    log: Log,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    facts: tuple[str, int | None, int | None],
) -> None:
    gate = gates()
    neighbour = pool.submit(gate.task, "untouched")
    gate.wait_begun()
    with testing.capture_events("snakepit.worker", "snakepit.request.executed") as seen:
        victim = pool.request(function, arguments, command="victim")
        queued = [pool.submit(log.task, number) for number in range(5)]
        error = outcome(victim)
        assert isinstance(error, WorkerCrashed)
        assert isinstance(error, BrokenExecutor)
        assert (error.classification, error.signal, error.exit_code) == facts
        assert (error.pool, error.command, error.request_id) == ("test", "victim", victim.request_id)
        assert error.memory_mb
        assert [future.result(HANG) for future in queued] == list(range(5))
        gate.open()
        assert neighbour.result(HANG) == "untouched"
        started = seen.wait_for(events.WORKER_STARTED)
        executed = seen.wait_for(events.REQUEST_EXECUTED, 7)
    for event in seen:
        assert not events.check(event.name, event.measurements, event.metadata)
    assert log.lines() == list("01234")
    (crash,), (recycled,) = seen.named(events.WORKER_CRASH), seen.named(events.WORKER_RECYCLED)
    assert crash.metadata["worker_id"] == recycled.metadata["worker_id"] == error.worker_id
    assert crash.metadata["classification"] == error.classification
    assert crash.metadata["signal"] == error.signal_name
    assert recycled.metadata["reason"] == "worker_died"
    assert seen.names().index("snakepit.worker.crash") < seen.names().index("snakepit.worker.recycled")
    assert started[0].metadata["worker_id"] == f"{error.worker_id}.2"
    outcomes = {event.metadata["request_id"]: event.metadata["outcome"] for event in executed}
    assert outcomes.pop(victim.request_id) == "crashed"
    assert set(outcomes.values()) == {"ok"}


def test_the_crash_carries_the_end_of_what_the_worker_wrote_to_stderr(pool: Pool) -> None:
    def says_and_dies() -> None:
        print("x" * 5_000, "cannot go on", file=sys.stderr, flush=True)
        os.write(2, b"from native code\n")
        os.abort()

    error = outcome(pool.submit(says_and_dies))
    assert isinstance(error, WorkerCrashed)
    assert "cannot go on" in error.stderr_tail
    assert "from native code" in error.stderr_tail
    assert len(error.stderr_tail) <= 4096


def test_an_idle_worker_that_dies_is_replaced(pool: Pool) -> None:
    with testing.capture_events("snakepit.worker") as seen:
        victim = min(pids(pool))
        os.kill(victim, signal.SIGKILL)
        (crash,) = seen.wait_for(events.WORKER_CRASH)
        assert crash.metadata["signal"] == "SIGKILL"
    pool.start(timeout=HANG)  # waits for the new one
    assert victim not in pids(pool)
    assert len(pids(pool)) == 2


def test_a_call_that_closes_every_descriptor_costs_itself(pool: Pool) -> None:
    error = outcome(pool.submit(os.closerange, 3, 4096))
    assert isinstance(error, WorkerCrashed)
    assert error.classification == "exit"
    assert pool.submit(abs, -1).result(HANG) == 1
    assert isinstance(outcome(pool.submit(os.closerange, 0, 4096)), WorkerCrashed)
    assert [pool.submit(abs, -n).result(HANG) for n in range(4)] == [0, 1, 2, 3]


def test_a_call_that_closes_all_descriptors_and_goes_on_for_ever_ends_by_itself(pool: Pool) -> None:
    error = outcome(pool.submit(_deaf_for_ever))
    assert isinstance(error, WorkerCrashed)
    assert "closed the descriptor" in error.stderr_tail
    assert pool.submit(abs, -2).result(60) == 2


def _deaf_for_ever() -> None:
    os.closerange(0, 4096)
    while True:
        pass


def test_leaving_with_sys_exit_is_an_error_of_the_call_and_no_death(pool: Pool) -> None:
    before = pids(pool)
    error = outcome(pool.submit(sys.exit, 3))
    assert isinstance(error, SystemExit)
    assert error.code == 3
    assert pids(pool) == before


def test_deaths_without_end_break_the_pool(log: Log) -> None:
    with Pool(2) as pool, testing.capture_events("snakepit") as seen:
        futures = [pool.submit(os.abort) for _ in range(20)]
        errors = [outcome(future) for future in futures]
        assert all(isinstance(error, (WorkerCrashed, PoolBroken)) for error in errors)
        assert isinstance(errors[-1], PoolBroken)
        assert "workers died within" in errors[-1].reason
        with pytest.raises(PoolBroken, match="start a new pool"):
            pool.submit(log.task, 1)
        assert len(seen.wait_for(events.WORKER_CRASH, 6)) == 6
        # Nothing of it goes on until somebody closes it.
        (stopped,) = seen.wait_for(events.POOL_STOPPED)
        assert stopped.metadata["reason"] == "broken"
    for event in seen:
        assert not events.check(event.name, event.measurements, event.metadata)
    assert log.lines() == []


# Exceptions and objects that break other pools


def test_exceptions_that_others_choke_on_arrive(pool: Pool) -> None:
    class TwoArguments(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    class ByKeyword(Exception):
        def __init__(self, *, what: str) -> None:
            super().__init__(what)

    class HoldsAFile(Exception):
        def __init__(self, path: str) -> None:
            super().__init__(path)
            self.file = open(path)  # noqa: PTH123, SIM115 - what cannot travel

    def fail(kind: str) -> None:
        if kind == "two":
            raise TwoArguments(1, 2)
        if kind == "keyword":
            raise ByKeyword(what="said by keyword")
        raise HoldsAFile(os.devnull)

    before = pids(pool)
    for kind, text in (("two", "1 and 2"), ("keyword", "said by keyword"), ("file", os.devnull)):
        error = outcome(pool.submit(fail, kind))
        assert isinstance(error, RemoteError)
        assert text in str(error)
    assert pids(pool) == before


class RaisesAtHome:
    """Fails while it is rebuilt in the process whose number it holds."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return rebuilt, (self.pid,)


def rebuilt(pid: int) -> RaisesAtHome:
    if pid == os.getpid():
        text = "not here"
        raise ValueError(text)
    return RaisesAtHome(pid)


def test_an_argument_that_fails_while_it_is_rebuilt_fails_its_call(pool: Pool) -> None:
    before = pids(pool)

    class RaisesThere:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return int, ("not a number",)

    error = outcome(pool.submit(id, RaisesThere()))
    assert isinstance(error, ValueError)
    assert isinstance(error, RemoteError)
    assert (pool.submit(abs, -1).result(), pids(pool)) == (1, before)


def test_a_result_that_fails_while_it_is_rebuilt_fails_its_future(pool: Pool) -> None:
    before = pids(pool)
    future = pool.submit(RaisesAtHome, os.getpid())
    with pytest.raises(ValueError, match="not here"):
        future.result()
    assert (pool.submit(abs, -1).result(), pids(pool)) == (1, before)


def test_events_tell_of_user_errors(pool: Pool) -> None:
    def fails() -> None:
        raise LookupError

    with testing.capture_events("snakepit.python") as seen:
        outcome(pool.submit(fails))
        outcome(pool.submit(bytearray, 10**17))
    assert [event.name[-1] for event in seen] == ["unmapped", "mapped"]
    told = [(event.metadata["python_type"], event.metadata["error"]) for event in seen]
    assert told == [("LookupError", "RemoteError"), ("MemoryError", "OutOfMemory")]
    for event in seen:
        assert not events.check(event.name, event.measurements, event.metadata)


def _complains_and_dies() -> None:
    for number in range(50):
        print(f"complaint {number}", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_last_line_on_stderr_before_a_death_is_in_its_error(pool: Pool) -> None:
    error = outcome(pool.submit(_complains_and_dies))
    assert isinstance(error, WorkerCrashed)
    assert error.stderr_tail.endswith("complaint 48\ncomplaint 49\n")


def test_a_crash_of_a_graphics_card_keeps_every_worker_from_it_for_a_while(pool: Pool) -> None:
    def fails_on_a_card() -> None:
        os.write(2, b"RuntimeError: CUDA error: device-side assert triggered (cuda:1)\n")
        os._exit(1)

    with testing.capture_events("snakepit.worker", "snakepit.request.dispatched") as seen:
        error = outcome(pool.submit(fails_on_a_card))
        assert isinstance(error, WorkerCrashed)
        assert (error.classification, error.device) == ("gpu", "cuda:1")
        (tainted,) = seen.wait_for(events.WORKER_TAINTED)
        assert tainted.metadata["device"] == "cuda:1"
        assert pool.submit(abs, -1).result(HANG) == 1  # the other worker is idle, and waits
        _, served = seen.wait_for(events.REQUEST_DISPATCHED, 2)
    waited = int(str(served.metadata["monotonic_ns"])) - int(str(tainted.metadata["monotonic_ns"]))
    assert waited >= (tainted.measurements["duration_ms"] - 50) * 1e6
