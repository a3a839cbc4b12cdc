"""Sessions: calls that find in their worker what earlier ones left there, until it is lost, and says so."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb import Pool, PoolError, SessionLost, WorkerCrashed, events, options, testing
from tests.pool.conftest import HANG, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate

OF_SESSIONS = (events.SESSION_OPENED, events.SESSION_LOST)


def test_what_a_session_keeps_is_there_for_its_next_call(pool: Pool) -> None:
    session = pool.session("s")
    array = np.arange(300_000.0)
    assert session.keep("numbers", np.sqrt, array).result(HANG) is None
    assert session.submit(np.sum, session["numbers"]).result(HANG) == np.sqrt(array).sum()
    assert np.array_equal(session.get("numbers").result(HANG), np.sqrt(array))
    assert session.names == {"numbers"}


def test_what_is_brought_back_of_a_session_is_a_copy(pool: Pool) -> None:
    session = pool.session("s")
    session.keep("numbers", np.zeros, 300_000).result(HANG)
    session.get("numbers").result(HANG)[:] = 1.0
    assert session.submit(np.sum, session["numbers"]).result(HANG) == 0.0


def test_all_calls_of_a_session_run_in_one_worker_and_others_do_not_wait_for_it(
    pool: Pool, gate: Gate
) -> None:
    session = pool.session("s")
    home = session.submit(os.getpid).result(HANG)
    running = session.submit(gate.task, "done")
    gate.wait_begun()
    waiting = [session.submit(os.getpid) for _ in range(5)]
    others = {pool.submit(os.getpid).result(HANG) for _ in range(5)}
    assert home not in others
    assert not any(each.done() for each in waiting)
    gate.open()
    assert running.result(HANG) == "done"
    assert {each.result(HANG) for each in waiting} == {home}


def test_two_sessions_get_two_workers_where_there_are_two() -> None:
    with Pool(2) as pool:
        homes = [pool.session(name).submit(os.getpid).result(HANG) for name in ("a", "b")]
        assert homes[0] != homes[1]
        assert list(pool.sessions()) == ["a", "b"]


def test_a_session_with_much_to_do_takes_turns_with_what_others_want_of_its_worker() -> None:
    with Pool(1) as pool:
        session = pool.session("s")
        mine = [session.submit(abs, number) for number in range(50)]
        other = pool.submit(abs, -1)
        assert other.result(HANG) == 1
        assert not mine[-1].done()
        assert [each.result(HANG) for each in mine] == list(range(50))


def test_a_session_that_is_lost_to_a_crash_says_so_once_and_begins_anew(pool: Pool) -> None:
    session = pool.session("s")
    session.keep("model", list, range(3)).result(HANG)
    with testing.capture_events(*OF_SESSIONS) as seen:
        crashed = session.submit(os._exit, 3)
        assert isinstance(outcome(crashed), WorkerCrashed)
        with pytest.raises(
            SessionLost,
            match=r"session 's' of pool 'test' was lost when worker test-\d crashed: model is gone",
        ) as lost:
            session.submit(abs, -1)
        assert lost.value.names == ("model",)
        assert lost.value.reason == "crashed"
        assert session.submit(abs, -1).result(HANG) == 1
        with pytest.raises(NameError, match="keeps no 'model'; it keeps nothing"):
            session.submit(len, session["model"]).result(HANG)
    assert [(each.name, each.metadata.get("reason")) for each in seen] == [
        (events.SESSION_LOST, "crashed"),
        (events.SESSION_OPENED, None),
    ]
    for each in seen:
        assert events.check(each.name, each.measurements, each.metadata) == []


def test_what_waits_for_a_session_that_crashes_does_not_run_and_is_told(pool: Pool, gate: Gate) -> None:
    session = pool.session("s")
    pid = session.submit(os.getpid).result(HANG)
    running = session.submit(gate.task)
    gate.wait_begun()
    waiting = [session.submit(abs, -1) for _ in range(3)]
    os.kill(pid, signal.SIGKILL)
    assert isinstance(outcome(running), WorkerCrashed)
    assert [type(outcome(each)) for each in waiting] == [SessionLost] * 3
    assert session.submit(abs, -1).result(HANG) == 1  # they were told; this is a new session


def test_a_session_whose_worker_is_recycled_is_lost_after_what_runs_there(pool: Pool, gate: Gate) -> None:
    session = pool.session("s")
    session.keep("model", dict).result(HANG)
    running = session.submit(gate.task, "done")
    gate.wait_begun()
    with testing.capture_events(events.SESSION_LOST) as seen:
        pool.recycle(pool.sessions()["s"])
        seen.wait_for(events.SESSION_LOST, timeout=HANG)
    gate.open()
    assert running.result(HANG) == "done"
    with pytest.raises(SessionLost, match="recycled: model is gone"):
        session.submit(abs, -1)


def test_a_session_that_is_closed_is_forgotten_and_can_be_opened_again(pool: Pool) -> None:
    with pool.session("s") as session:
        session.keep("x", int, 3).result(HANG)
    assert pool.sessions() == {}
    again = pool.session("s")
    with pytest.raises(NameError, match="keeps nothing"):
        again.get("x").result(HANG)


def test_a_session_that_nobody_uses_ends_after_its_time() -> None:
    with options.override(session_ttl=0.05), Pool(1) as pool:
        session = pool.session("s")
        with testing.capture_events(events.SESSION_LOST) as seen:
            session.keep("x", int, 3).result(HANG)
            (lost,) = seen.wait_for(events.SESSION_LOST, timeout=HANG)
        assert lost.metadata["reason"] == "expired"
        with pytest.raises(SessionLost, match="ended because it was not used for long: x is gone"):
            session.get("x")


def test_a_session_in_use_outlives_its_time(gate: Gate) -> None:
    with options.override(session_ttl=0.05), Pool(2) as pool:
        used, idle = pool.session("used"), pool.session("idle")
        used.keep("x", int, 3).result(HANG)
        running = used.submit(gate.task)
        gate.wait_begun()
        with testing.capture_events(events.SESSION_LOST) as seen:
            idle.submit(abs, -1).result(HANG)
            assert [
                each.metadata["session"] for each in seen.wait_for(events.SESSION_LOST, timeout=HANG)
            ] == ["idle"]
        assert used.names == {"x"}
        gate.open()
        running.result(HANG)


def test_more_sessions_than_there_may_be_are_refused() -> None:
    with options.override(max_sessions=2), Pool(1) as pool:
        for name in ("a", "b"):
            pool.session(name).submit(abs, -1).result(HANG)
        with pytest.raises(PoolError, match=r"keeps 2 sessions, and may keep no more .* close one of a, b"):
            pool.session("c").submit(abs, -1)
        pool.session("a").close()
        assert pool.session("c").submit(abs, -1).result(HANG) == 1


@pytest.mark.parametrize("name", ["", "a b", "1", 3])
def test_a_session_wants_a_name(pool: Pool, name: str) -> None:
    with pytest.raises(ValueError, match="session: expected an identifier"):
        pool.session(name)
    with pytest.raises(ValueError, match="session: expected an identifier"):
        pool.request(abs, (-1,), session=name)


def test_a_kept_value_wants_a_name(pool: Pool) -> None:
    with pytest.raises(ValueError, match="name: expected an identifier"):
        pool.session("s").keep("a b", int)


def test_a_session_that_only_prefers_its_worker_goes_elsewhere_when_that_is_busy(
    pool: Pool, gates: Callable[[], Gate]
) -> None:
    session = pool.session("cache", strict=False)
    home = session.submit(os.getpid).result(HANG)
    assert {session.submit(os.getpid).result(HANG) for _ in range(20)} == {home}
    gate = gates()
    busy = session.submit(gate.task)
    gate.wait_begun()
    assert session.submit(os.getpid).result(HANG) != home
    gate.open()
    busy.result(HANG)


def test_sessions_are_served_to_the_end_when_their_pool_is_shut_down(gate: Gate) -> None:
    pool = Pool(1)
    session = pool.session("s")
    running = session.submit(gate.task, "done")
    gate.wait_begun()
    waiting = [session.submit(abs, -number) for number in range(5)]
    pool.shutdown(wait=False)
    gate.open()
    pool.shutdown()
    assert running.result(0) == "done"
    assert [each.result(0) for each in waiting] == list(range(5))


def test_what_waits_for_a_session_can_be_cancelled(pool: Pool, gate: Gate) -> None:
    session = pool.session("s")
    running = session.submit(gate.task, "done")
    gate.wait_begun()
    waiting = [session.submit(abs, -number) for number in range(3)]
    assert waiting[1].cancel()
    gate.open()
    assert running.result(HANG) == "done"
    assert [waiting[0].result(HANG), waiting[2].result(HANG)] == [0, 2]
    assert session.submit(abs, -1).result(HANG) == 1


def test_a_session_cancelled_in_its_run_is_lost(pool: Pool, gate: Gate) -> None:
    session = pool.session("s")
    session.keep("x", int, 3).result(HANG)
    running = session.submit(gate.task)
    gate.wait_begun()
    with testing.capture_events(events.SESSION_LOST) as seen:
        assert running.cancel()
        (lost,) = seen.wait_for(events.SESSION_LOST, timeout=HANG)
    assert lost.metadata["reason"] == "stopped"
    with pytest.raises(SessionLost, match="x is gone"):
        session.submit(abs, -1)
