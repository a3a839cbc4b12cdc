"""What a worker starts ends with it: programs, children of multiprocessing, daemons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from snakepit_nb import Pool, events, testing
from tests.pool.conftest import HANG, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

FOREVER = [sys.executable, "-c", "import time; time.sleep(3600)"]
# A daemon as they are written: it leaves its session and its parent, and tells its number.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.close(1)
        time.sleep(3600)
    os._exit(0)
"""


def program() -> int:
    return subprocess.Popen(FOREVER).pid


def daemon() -> int:
    with subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        return int(started.stdout.read())


def child_of_multiprocessing() -> int:
    import multiprocessing
    import time

    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(3600,))
    child.start()
    return int(child.pid or 0)


def in_a_group_of_its_own() -> int:
    return subprocess.Popen(FOREVER, start_new_session=True).pid


STARTERS = (program, daemon, child_of_multiprocessing, in_a_group_of_its_own)


def started(pool: Pool) -> list[psutil.Process]:
    """One process of each kind, started by the one worker of a pool."""
    return [psutil.Process(pool.submit(each).result(HANG)) for each in STARTERS]


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=HANG)
    assert not alive


@pytest.fixture
def pool() -> Pool:
    return Pool(1, name="kin")


def test_they_go_on_while_their_worker_lives(pool: Pool) -> None:
    with pool:
        processes = started(pool)
        worker = psutil.Process(pool.workers()[0].pid)
        assert set(processes).issubset(worker.children(recursive=True))
        assert pool.submit(abs, -1).result(HANG) == 1
        assert all(each.is_running() for each in processes)
    assert_gone(processes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_they_are_gone_when_the_death_of_their_worker_is_told(pool: Pool, number: signal.Signals) -> None:
    with pool, testing.capture_events(events.WORKER_CRASH) as seen:
        processes = started(pool)
        os.kill(pool.workers()[0].pid, number)
        seen.wait_for(events.WORKER_CRASH)
        assert_gone(processes)


@pytest.mark.parametrize("end", [Pool.shutdown, Pool.kill, Pool.recycle], ids=["shutdown", "kill", "recycle"])
def test_they_are_gone_when_their_worker_was_ended(pool: Pool, end: Callable[[Pool], None]) -> None:
    processes = started(pool)
    end(pool)
    assert_gone(processes)
    pool.kill()


def test_they_are_gone_when_a_call_ends_its_worker(pool: Pool) -> None:
    with pool:
        processes = started(pool)
        pool.submit(os._exit, 3).exception(HANG)
        assert_gone(processes)


def test_those_of_another_worker_are_left_alone() -> None:
    with Pool(2, name="two") as pool:
        pool.start()
        (kept,) = [psutil.Process(pool.submit(program).result(HANG))]
        owner = kept.ppid()
        other = next(each.pid for each in pool.workers() if each.pid != owner)
        with testing.capture_events(events.WORKER_CRASH) as seen:
            os.kill(other, signal.SIGKILL)
            seen.wait_for(events.WORKER_CRASH)
        assert kept.is_running()
        assert kept.status() != psutil.STATUS_ZOMBIE
    assert_gone([kept])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_are_gone_when_the_kernel_is(number: signal.Signals) -> None:
    code = (
        "import sys\n"
        "from snakepit_nb import Pool\n"
        "from tests.pool.test_kin import STARTERS\n"
        "pool = Pool(1)\n"
        "print(*[pool.submit(each).result(60) for each in STARTERS], flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as kernel:
        assert kernel.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in kernel.stdout.readline().split()]
        assert len(processes) == len(STARTERS)
        kernel.send_signal(number)
        kernel.wait(HANG)
        assert_gone(processes)
