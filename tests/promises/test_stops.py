"""The stop button and the end of a pool: both come through, in time, whatever the workers do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import psutil
import pytest

from snakepit_nb import Pool, WorkerCrashed, options, registry
from snakepit_nb.pool import process
from tests.kernels import Notebook
from tests.pool.conftest import HANG, ROOT, gone, outcome, pids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pool.conftest import Gate

SECOND: Final = 1.0
AGAIN: Final = range(3)  # the quickest counts: what is promised is the pool's doing, not this machine's


def stopped_after(notebook: Notebook, code: str) -> float:
    """How long after the stop button the cell is over, in seconds; it prints when it is at it."""
    cell = notebook.start(code)
    notebook.wait_until(lambda: "running" in cell.stdout, what="the cell to run")
    began = time.monotonic()
    notebook.interrupt()
    notebook.finish(cell)
    took = time.monotonic() - began
    assert cell.error is not None
    assert cell.error.ename == "KeyboardInterrupt"
    return took


WAITS: Final = {
    "a_cell_that_sleeps": "%%snakepit\nimport time\nprint('running', flush=True)\ntime.sleep(600)",
    "a_cell_that_computes": "%%snakepit\nprint('running', flush=True)\nwhile True:\n    pass",
    "a_map": "for _ in pool.map(time.sleep, [0, *[600] * 8]):\n    print('running', flush=True)",
    "a_result": "one = pool.submit(time.sleep, 600)\nprint('running', flush=True)\none.result()",
}


def test_an_interrupt_reaches_whoever_waits_within_a_second_and_the_pool_serves_on() -> None:
    with Notebook() as notebook:
        notebook.run("%load_ext snakepit_nb\n%snakepit start -w 2").ok()
        notebook.run("from snakepit_nb import get_pool\nimport time\npool = get_pool()").ok()
        for what, code in WAITS.items():
            stopped, served = [], []
            for _ in AGAIN:
                stopped.append(stopped_after(notebook, code))
                began = time.monotonic()
                assert notebook.run("%%snakepit\n6 * 7").ok().value == "42"
                served.append(time.monotonic() - began)
                if what == "a_result":  # it goes on
                    assert notebook.run("one.cancel()").ok().value == "True"
            assert min(stopped) < SECOND, what
            # What an interrupted map had not begun is not begun any more, and keeps nobody waiting.
            assert min(served) < SECOND, what


# The end of a pool


def deaf() -> None:
    """Never lets go of Python's lock, and hears no signal but the last."""
    import ctypes

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(3600)


@pytest.mark.parametrize("profile", ["process", "thread"])
def test_kill_comes_back_while_a_worker_hears_nothing(gate: Gate, profile: str) -> None:
    pool = Pool(1, profile=profile).start()
    before = pids(pool)
    held = gate.task

    def both() -> None:
        held(None)
        deaf() if profile == "process" else __import__("ctypes").PyDLL(None).sleep(3600)

    running = pool.submit(both)
    queued = pool.submit(abs, -1)
    gate.open_after_begin()
    pool.kill()
    assert running.cancelled()
    assert queued.cancelled()
    assert gone(before)


@pytest.fixture
def nursery() -> Iterator[psutil.Process]:
    """A nursery that is this test's to stop."""
    registry.shutdown()
    found = psutil.Process(process.nursery(())._process.pid)
    with options.override(health_timeout=0.1, health_misses=2, deaths=1000):
        yield found
    registry.shutdown()
    assert gone({found.pid})


def test_a_stopped_nursery_keeps_no_death_from_being_told(nursery: psutil.Process, gate: Gate) -> None:
    with Pool(2) as pool:
        running = pool.submit(gate.task, None)
        gate.wait_begun()
        nursery.suspend()
        os.kill(pool.workers()[0].pid, signal.SIGKILL)
        assert isinstance(outcome(running), WorkerCrashed)
        assert pool.submit(abs, -1).result(HANG) == 1


@pytest.mark.parametrize("end", [Pool.shutdown, Pool.kill], ids=["shutdown", "kill"])
def test_a_stopped_nursery_does_not_hold_up_the_end_of_a_pool(
    nursery: psutil.Process, end: Callable[[Pool], None]
) -> None:
    pool = Pool(2).start()
    workers = pids(pool)
    nursery.suspend()
    end(pool)
    assert gone(workers)


@pytest.mark.parametrize("left", ["open", "closing", "busy"])
def test_a_program_ends_whatever_it_left_of_its_pools(left: str) -> None:
    code = {
        "open": "pool.submit(abs, -1).result()",
        "closing": "pool.submit(time.sleep, 3600); pool.shutdown(wait=False)",
        "busy": "[pool.submit(time.sleep, 3600) for _ in range(100)]",
    }[left]
    program = f"import os, time\nfrom snakepit_nb import Pool\npool = Pool(2).start()\n{code}\nprint('over')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("over\n", 0)
