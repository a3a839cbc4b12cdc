"""Births and deaths of workers, of the process that owns them, and of what stands between."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from snakepit_nb import Pool, PoolError, WorkerCrashed, events, options, registry, testing
from snakepit_nb.pool import process
from snakepit_nb.wire import kept
from tests.pool.conftest import HANG, gone, outcome, pids, script

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pool.conftest import Gate, Log


# What happens is told, at its moment


def test_each_step_of_a_pools_life_is_told_once() -> None:
    with testing.capture_events("snakepit") as seen:
        with Pool(1, name="told") as pool:
            assert pool.submit(abs, -1).result() == 1
        seen.wait_for(events.POOL_STOPPED)
    for event in seen:
        assert not events.check(event.name, event.measurements, event.metadata)
    assert sorted(name.removeprefix("snakepit.") for name in seen.names()) == sorted(
        [
            "pool.started",
            "request.queued",
            "worker.started",
            "request.dispatched",
            "request.executed",
            "pool.stopped",
        ]
    )
    started = seen.named(events.WORKER_STARTED)[0]
    assert started.metadata["worker_id"] == "told-0"
    assert (started.metadata["profile"], started.metadata["capacity"]) == ("process", 1)
    assert seen.named(events.POOL_STOPPED)[0].metadata["reason"] == "shutdown"


def test_saturation_is_told_when_no_worker_is_free_and_something_waits(gate: Gate) -> None:
    with Pool(1, name="full") as pool, testing.capture_events("snakepit.pool") as seen:
        running = pool.request(gate.task, (None,), alone=True)
        gate.wait_begun()
        waiting = [pool.submit(abs, -number) for number in range(3)]
        (full,) = seen.named(events.POOL_SATURATED)
        gate.open()
        assert running.result(HANG) is None
        assert [future.result(HANG) for future in waiting] == [0, 1, 2]
    assert not events.check(full.name, full.measurements, full.metadata)
    assert full.measurements["queue_size"] == 1
    assert (full.metadata["available_workers"], full.metadata["busy_workers"]) == (0, 1)


def test_every_request_that_never_reached_a_worker_is_told_once_as_withdrawn(gate: Gate) -> None:
    with testing.capture_events("snakepit.request") as seen, Pool(1, name="waits") as pool:
        running = pool.request(gate.task, (None,), alone=True)
        gate.wait_begun()
        cancelled = pool.submit(abs, -1)
        cancelled.cancel()
        expired = pool.request(abs, (-1,), timeout=0.05)
        outcome(expired)
        left = pool.submit(abs, -1)
        pool.kill()
        seen.wait_for(events.REQUEST_WITHDRAWN, 3)
    withdrawn = seen.named(events.REQUEST_WITHDRAWN)
    for event in withdrawn:
        assert not events.check(event.name, event.measurements, event.metadata)
    assert {event.metadata["request_id"]: event.metadata["outcome"] for event in withdrawn} == {
        cancelled.request_id: "cancelled",
        expired.request_id: "timeout",
        left.request_id: "cancelled",
    }
    (executed,) = seen.named(events.REQUEST_EXECUTED)
    assert executed.metadata["request_id"] == running.request_id


def test_every_request_that_reached_a_worker_is_told_once_however_it_ended(
    pool: Pool, gates: Callable[[], Gate]
) -> None:
    def fails() -> None:
        raise LookupError

    held, late = gates(), gates()
    with testing.capture_events(events.REQUEST_EXECUTED) as seen:
        ok = pool.submit(abs, -1)
        ok.result()
        failed = pool.submit(fails)
        outcome(failed)
        cancelled = pool.submit(held.task, None)
        held.wait_begun()
        cancelled.cancel()
        expired = pool.request(late.task, (None,), timeout=0.3)
        late.wait_begun()
        outcome(expired)
        crashed = pool.submit(os._exit, 1)
        outcome(crashed)
        told = seen.wait_for(events.REQUEST_EXECUTED, 5)
    for event in told:
        assert not events.check(event.name, event.measurements, event.metadata)
    assert {event.metadata["request_id"]: event.metadata["outcome"] for event in told} == {
        ok.request_id: "ok",
        failed.request_id: "error",
        cancelled.request_id: "cancelled",
        expired.request_id: "timeout",
        crashed.request_id: "crashed",
    }
    assert [event.metadata["success"] for event in told] == [True, False, False, False, False]


def test_a_worker_that_is_killed_on_purpose_ends_as_manual_and_not_as_a_crash(pool: Pool, gate: Gate) -> None:
    with testing.capture_events("snakepit.worker") as seen:
        future = pool.submit(gate.task, None)
        gate.wait_begun()
        future.cancel()
        (recycled,) = seen.wait_for(events.WORKER_RECYCLED)
        seen.wait_for(events.WORKER_STARTED)
    assert not events.check(recycled.name, recycled.measurements, recycled.metadata)
    assert recycled.metadata["reason"] == "manual"
    assert not seen.named(events.WORKER_CRASH)


def test_events_of_user_code_arrive_with_where_they_come_from(pool: Pool) -> None:
    def tells() -> None:
        from snakepit_nb import telemetry

        for number in range(1_200):
            telemetry.execute("app.step", {"number": number})
        telemetry.execute("app.odd", {}, {("a", "b"): 1})  # type: ignore[dict-item]

    with testing.capture_events("app", "snakepit.telemetry") as seen:
        future = pool.submit(tells)
        future.result()
    steps = seen.named("app.step")
    assert [event.measurements["number"] for event in steps] == list(range(1_200))
    assert {event.metadata["request_id"] for event in steps} == {future.request_id}
    assert {event.metadata["pool"] for event in steps} == {"test"}
    assert seen.named("app.odd") or seen.named(events.TELEMETRY_DROPPED)


# Workers


def test_workers_import_nothing_that_a_call_does_not_need(pool: Pool) -> None:
    def loaded() -> set[str]:
        return {"IPython", "ipywidgets", "pyarrow", "pandas", "matplotlib"} & set(sys.modules)

    assert pool.submit(loaded).result() == set()


def test_random_numbers_differ_between_workers_and_lives() -> None:
    def draw() -> tuple[float, float]:
        import random

        return float(np.random.random()), random.random()  # noqa: NPY002, S311 - the global generators are the point

    drawn = []
    for _ in range(3):
        with Pool(1) as pool:
            drawn.append(pool.submit(draw).result())
    assert len({first for first, _ in drawn}) == len({second for _, second in drawn}) == 3


def test_torch_that_was_loaded_before_the_fork_draws_other_numbers_in_each_worker() -> None:
    def draw() -> float:
        import torch

        return float(torch.rand(1))

    drawn = []
    for _ in range(2):
        with Pool(1, preload=["torch"]) as pool:
            drawn.append(pool.submit(draw).result())
    assert drawn[0] != drawn[1]


def test_a_worker_computes_with_one_thread(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith("_NUM_THREADS"):
            monkeypatch.delenv(name)

    def threads() -> list[int]:
        import numpy.linalg  # noqa: F401 - loads the library that is asked about
        import threadpoolctl

        return [each["num_threads"] for each in threadpoolctl.threadpool_info()]

    found = pool.submit(threads).result()
    assert found
    assert set(found) == {1}


def test_a_worker_lives_where_its_kernel_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    def here() -> tuple[str, str | None, str]:
        return os.getcwd(), os.environ.get("SNAKEPIT_TEST"), sys.path[0]  # noqa: PTH109 - as the system says it

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNAKEPIT_TEST", "umlaut \N{LATIN SMALL LETTER A WITH DIAERESIS}")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path, tmp_path])
    del pool
    with Pool(1) as later:
        assert later.submit(here).result() == (
            str(tmp_path),
            "umlaut \N{LATIN SMALL LETTER A WITH DIAERESIS}",
            str(tmp_path),
        )


def test_each_worker_is_alone_in_its_session_and_spared_by_the_kernels_signals(pool: Pool) -> None:
    sessions = {os.getsid(pid) for pid in pids(pool)}
    assert len(sessions) == 2
    assert os.getsid(0) not in sessions


def test_a_call_may_fork_and_start_processes(pool: Pool) -> None:
    def forks() -> tuple[int, str, int]:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        _, status = os.waitpid(pid, 0)
        said = subprocess.run(
            [sys.executable, "-c", "print(1 + 1)"], capture_output=True, text=True, check=True
        )
        with multiprocessing.get_context("fork").Pool(2) as inner:
            return os.waitstatus_to_exitcode(status), said.stdout, sum(inner.map(abs, [-1, -2]))

    before = pids(pool)
    assert pool.submit(forks).result(HANG) == (7, "2\n", 3)
    assert pids(pool) == before


@pytest.mark.parametrize("end", ["return", "raise", "exit"])
def test_a_forked_process_that_comes_back_from_the_call_does_not_answer(
    pool: Pool, log: Log, end: str
) -> None:
    noted = log.task

    def forks() -> str:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            return f"parent of {os.waitstatus_to_exitcode(status)}"
        noted("child")
        if end == "raise":
            raise LookupError
        if end == "exit":
            sys.exit(5)
        return "child"

    code = {"return": 0, "raise": 1, "exit": 5}[end]
    assert pool.submit(forks).result(HANG) == f"parent of {code}"
    assert pool.submit(abs, -1).result(HANG) == 1
    assert log.lines() == ["child"]


def test_what_a_killed_call_started_dies_with_its_worker(pool: Pool, gate: Gate) -> None:
    held = gate.task

    def starts(path: str) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
        )
        Path(path).write_text(str(child.pid))
        held(None)

    path = gate._began.parent / "pid"
    future = pool.submit(starts, str(path))
    gate.wait_begun()
    assert future.cancel()
    assert gone([int(path.read_text())])


def test_a_pool_in_a_worker_works_down_to_the_limit(pool: Pool) -> None:
    def nested(depth: int) -> object:
        from snakepit_nb import Pool

        try:
            with Pool(1, name=f"at{depth}") as inner:
                return inner.submit(nested, depth + 1).result()
        except PoolError as refused:
            return depth, str(refused)

    found = pool.submit(nested, 1).result(HANG)
    assert isinstance(found, tuple)
    depth, said = found
    assert depth == options.current().nesting
    assert "option nesting" in said


def test_a_nested_pool_ends_with_the_worker_that_owns_it(pool: Pool, tmp_path: Path) -> None:
    def owns(path: str) -> None:
        from snakepit_nb import Pool

        inner = Pool(2).start()
        Path(path).write_text(" ".join(str(worker.pid) for worker in inner.workers()))
        os.abort()

    path = tmp_path / "pids"
    assert isinstance(outcome(pool.submit(owns, str(path))), WorkerCrashed)
    assert gone([int(each) for each in path.read_text().split()])


def test_functions_are_kept_in_bounds_on_both_sides() -> None:
    def kept_there() -> int:
        from snakepit_nb.worker.loop import Worker

        (worker,) = (each for each in gc.get_objects() if isinstance(each, Worker))
        return len(worker._functions)

    most = kept.MOST + options.current().ahead + 2
    with Pool(1) as pool:
        functions = [eval(f"lambda: {number}") for number in range(2 * most)]  # noqa: S307 - many functions
        for _ in range(2):
            futures = [pool.submit(function) for function in functions]
            assert [future.result(HANG) for future in futures] == list(range(2 * most))
        (worker,) = pool._supervisor.workers.values()
        assert len(worker.known) == kept.MOST
        assert pool.submit(kept_there).result() <= most


def test_a_function_too_large_to_keep_travels_with_each_call(pool: Pool) -> None:
    big = "x" * 3_000_000

    def length() -> int:
        return len(big)

    assert [pool.submit(length).result(HANG) for _ in range(5)] == [3_000_000] * 5


def test_calls_of_a_new_function_stay_good_when_the_first_of_them_is_taken_back(
    gates: Callable[[], Gate],
) -> None:
    # However slow the machine is, requests wait in the sockets of busy workers.
    with options.override(ahead_below_us=10**9), Pool(2).start() as pool:
        for _ in range(20):
            pool.submit(abs, 1).result()
        held = [gates(), gates()]
        running = [pool.submit(gate.task, number) for number, gate in enumerate(held)]
        for gate in held:
            gate.wait_begun()
        third = gates()
        wait = third.task

        def work(number: int) -> tuple[int, int]:
            if number == 0:
                wait(None)
            return os.getpid(), number

        new = [pool.submit(work, number) for number in range(8)]
        crowded = max(pool._supervisor.state.workers.values(), key=lambda worker: len(worker.hands))
        assert len(crowded.hands) == 9
        late = 0 if crowded.hands[0] == running[0].request_id else 1
        held[1 - late].open()
        # The worker that came free takes over the half that waited longest, and with it the function.
        third.wait_begun()
        held[late].open()
        assert new[-1].result(HANG)[1] == 7
        third.open()
        ran = [future.result(HANG) for future in new]
        assert [number for _, number in ran] == list(range(8))
        assert len({pid for pid, _ in ran}) == 2
        assert [future.result(HANG) for future in running] == [0, 1]


# Ends


def test_a_stopped_worker_does_not_hold_up_shutdown() -> None:
    pool = Pool(2).start()
    frozen = min(pids(pool))
    os.kill(frozen, signal.SIGSTOP)
    before = pids(pool)
    pool.shutdown()
    assert gone(before)


def test_a_thread_that_a_call_left_does_not_hold_up_shutdown() -> None:
    def leaves_a_thread() -> None:
        threading.Thread(target=lambda: time.sleep(3600)).start()

    pool = Pool(1)
    pool.submit(leaves_a_thread).result()
    before = pids(pool)
    pool.shutdown()
    assert gone(before)


def test_a_hundred_pools_leave_nothing() -> None:
    def held() -> tuple[int, int, list[str]]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), named_memory(os.getpid())  # noqa: PTH208 - a count

    with Pool(2) as pool:
        pool.submit(np.zeros, 10_000).result()
    before = held()
    for number in range(100):
        with Pool(1 + number % 2) as pool:
            assert pool.submit(np.sum, np.ones(1_000)).result() == 1_000
    gc.collect()
    fds, threads, names = held()
    assert fds <= before[0] + 1
    assert threads <= before[1] + 1  # the last one may be closing its descriptors
    assert names == before[2]
    nursery = process.nursery(())
    assert psutil.Process(nursery._process.pid).children() == []


def test_a_pool_heals_when_the_nursery_is_killed(pool: Pool, gate: Gate) -> None:
    running = pool.submit(gate.task, None)
    gate.wait_begun()
    before = pids(pool)
    os.kill(process.nursery(())._process.pid, signal.SIGKILL)
    assert isinstance(outcome(running), WorkerCrashed)
    assert gone(before)
    assert [pool.submit(abs, -number).result(HANG) for number in range(5)] == [0, 1, 2, 3, 4]


def test_a_nursery_that_was_killed_while_nobody_looked_is_replaced() -> None:
    old = process.nursery(())
    os.kill(old._process.pid, signal.SIGKILL)
    with Pool(1) as pool:
        assert pool.submit(abs, -1).result(HANG) == 1
    assert process.nursery(()) is not old


def test_a_library_that_reaps_every_child_disturbs_nothing() -> None:
    registry.shutdown()
    stop = threading.Event()

    def reap() -> None:
        while not stop.wait(0):
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                time.sleep(0)

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        with Pool(2) as pool:
            assert isinstance(outcome(pool.submit(os._exit, 3)), WorkerCrashed)
            assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))
        registry.shutdown()
        with Pool(1) as pool:
            assert pool.submit(abs, -1).result(HANG) == 1
    finally:
        stop.set()
        reaper.join()


def test_an_idle_pool_sleeps() -> None:
    with Pool(2, name="idle").start() as pool:
        pool.submit(abs, 1).result()
        (number,) = [each.native_id for each in threading.enumerate() if each.name == "snakepit_nb idle"]
        status = Path(f"/proc/self/task/{number}/status")

        def wakes() -> int:
            lines = status.read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

        probe = Pool(1, name="probe").start()
        for _ in range(200):
            probe.submit(abs, 1).result()
        settled = wakes()
        for _ in range(2_000):
            probe.submit(abs, 1).result()
        # It looks at its workers now and then; what another pool does is nothing to it.
        assert wakes() - settled < 100
        probe.shutdown()


# The process that owns the pool


def named_memory(pid: int) -> list[str]:
    """The shared memory with a name that a process has mapped or open: what could be left behind.

    Not what lies in the folder for it: other programs of the machine come and go there.
    """
    places = [line.split(maxsplit=5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that the listing itself used
            places.append(str(path.readlink()))
    return [place for place in places if place.startswith("/dev/shm/")]  # noqa: S108 - it is looked at


OWNER = """
import os, signal, sys, time
from snakepit_nb import Pool
pool = Pool(2).start()
print(*[worker.pid for worker in pool.workers()], pool._supervisor.workers and __import__(
    "snakepit_nb.pool.process", fromlist=["x"]).nursery(())._process.pid, flush=True)
running = [pool.submit(time.sleep, 3600) for _ in range(2)]
queued = [pool.submit(abs, n) for n in range(50)]
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(60)", -signal.SIGHUP),
        ("os._exit(4)", 4),
        ("pass", 0),
        ("sys.exit(5)", 5),
        ("del pool", 0),
    ],
)
def test_however_the_owner_ends_its_workers_end_too(ending: str, code: int) -> None:
    with script(OWNER + ending) as owner:
        assert owner.stdout is not None
        numbers = [int(each) for each in owner.stdout.readline().split()]
        named = [each for pid in (owner.pid, *numbers) for each in named_memory(pid)]
        _, errors = owner.communicate("\n", timeout=HANG)
    assert len(numbers) == 3
    assert owner.returncode == code
    assert errors == ""
    assert gone(numbers)
    assert named == []


def test_a_forked_child_is_told_that_the_pool_is_not_its_own_and_harms_nothing() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import os, sys
from snakepit_nb import Pool, PoolError
pool = Pool(1).start()
pending = pool.submit(__import__("time").sleep, 1)
child = os.fork()
if child == 0:
    said = []
    for use in (lambda: pool.submit(abs, 1), lambda: pending.result(), pool.start):
        try:
            use()
        except PoolError as error:
            said.append("belongs to the process" in str(error))
    pending.cancel()
    pool.shutdown()
    pool.kill()
    with Pool(1, name="own") as own:
        said.append(own.submit(abs, -3).result() == 3)
    sys.exit(0 if said == [True] * 4 else 9)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), pending.result(), pool.submit(abs, -2).result())
""",
        ],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("0 None 2\n", "", 0)


def test_workers_end_with_their_kernel_although_a_forked_child_of_it_lives_on() -> None:
    code = """
        import os, signal, sys
        from snakepit_nb import Pool
        pool = Pool(1).start()
        print(*[worker.pid for worker in pool.workers()], flush=True)
        if os.fork() == 0:
            os.close(1), os.close(2)
            sys.stdin.read()
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    with script(code) as owner:
        assert owner.stdout is not None
        numbers = [int(each) for each in owner.stdout.readline().split()]
        owner.wait(HANG)
        assert gone(numbers)
    assert numbers
