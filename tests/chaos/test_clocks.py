"""Clocks that jump and processes that stop: time alone ends nobody."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import psutil
import pytest

from tests.pool.conftest import HANG, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.conftest import Story

# The machine's own clock is not ours to set: this stands before the C library's, for one process and its
# children, and adds as many seconds to the time of day as a file says.
CLOCK: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int found = real(which, now);
    if (which == CLOCK_REALTIME) {
        FILE *file = fopen(getenv("CLOCK_JUMP"), "r");
        long seconds = 0;
        if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
        now->tv_sec += seconds;
    }
    return found;
}
"""
JUMPS: Final = """
import os, sys, time
from pathlib import Path
from snakepit_nb import Pool, options, telemetry
jump = Path(os.environ["CLOCK_JUMP"])
ended = []
telemetry.attach("jump", "snakepit.worker.recycled", lambda event, n, facts, config: ended.append(facts))
with options.override(health_interval=0.1, health_timeout=1.0, session_ttl=100.0):
    with Pool(2, ttl=600) as pool:
        pool.start()
        pids = {each.pid for each in pool.workers()}
        session = pool.session("kept")
        session.keep("x", int, "7").result(60)
        year = 365 * 24 * 3600
        for seconds in (year, -year, 0):
            jump.write_text(str(seconds))
            now = pool.submit(time.time).result(60)
            assert abs(now - time.time()) < 60, "the jump does not reach the worker"
            held = pool.request(time.sleep, (0.5,), timeout=50)
            assert pool.submit(abs, -1).result(60) == 1
            held.result(60)
        assert {each.pid for each in pool.workers()} == pids
        assert session.submit(abs, session["x"]).result(60) == 7
        assert ended == []
print("intact")
"""


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    """An environment whose time of day can be made to jump."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build a clock that jumps with")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=HANG)
    return {**os.environ, "LD_PRELOAD": str(library), "CLOCK_JUMP": str(tmp_path / "jump")}


def test_the_time_of_day_may_jump_by_a_year_either_way(clock: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JUMPS],
        env=clock, cwd=ROOT, capture_output=True, text=True, timeout=HANG * 2, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("intact\n", "")


def test_a_machine_that_sleeps_wakes_up_with_its_pool_intact(own_story: Story) -> None:
    notebook = own_story.notebook
    before = own_story.value("sorted(each.pid for each in __import__('snakepit_nb').get_pool().workers())")
    notebook.run("%%snakepit -b -n across -o slept\nimport time\ntime.sleep(1)\nslept = 'through'").ok()
    everybody = [psutil.Process(pid) for pid in (notebook.pid, *notebook.descendants())]
    for each in everybody:
        each.send_signal(signal.SIGSTOP)
    # Long enough for several checks of health to be missed, had anybody been awake to miss them.
    with pytest.raises(psutil.TimeoutExpired):
        everybody[0].wait(3)
    for each in everybody:
        each.send_signal(signal.SIGCONT)
    assert own_story.value("across.result(); slept") == "'through'"
    assert (
        own_story.value("sorted(each.pid for each in __import__('snakepit_nb').get_pool().workers())")
        == before
    )
    assert own_story.told("worker.recycled", "worker.crash") == {"worker.recycled": 0, "worker.crash": 0}
    own_story.goes_on()


def test_a_worker_that_is_stopped_while_idle_is_replaced(own_story: Story) -> None:
    pids = own_story.value("[each.pid for each in __import__('snakepit_nb').get_pool().workers()]")
    first, *_ = ast.literal_eval(pids)
    os.kill(first, signal.SIGSTOP)
    own_story.wait_told("worker.recycled")
    assert own_story.told("worker.crash", "worker.recycled") == {"worker.crash": 1, "worker.recycled": 1}
    own_story.goes_on()
