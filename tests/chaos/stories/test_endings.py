"""The kernel ends, in every way, in the middle of everything: nothing outlives it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.chaos.stories.conftest import AS_BEFORE, NAMES, PRELUDE, Story, ended, segments, state
from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NESTED = """
import os, time
from snakepit_nb import Pool
inner = Pool(1, name="inner").start()
stuck = inner.submit(time.sleep, 3600)
child = os.fork()
if child == 0:
    time.sleep(3600)
print("runs", flush=True)
time.sleep(3600)
"""
BUSY = """
def numbers():
    while True:
        yield np.zeros(300_000)
second = Pool(2, name="second").start()
stream = second.stream(numbers)
first = next(stream)
waiting = [second.submit(time.sleep, 3600) for _ in range(500)]
big = np.ones(3_000_000)
lent = second.submit(np.sum, big)
"""


@pytest.fixture
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Story]:
    """A notebook that does everything at once; its shared memory is of memfd ("1"), or had a name ("0")."""
    with Notebook(env={"SNAKEPIT_NB_MEMFD": request.param, "TMPDIR": str(tmp_path)}) as notebook:
        story = Story(notebook)
        story.run(PRELUDE).ok()
        story.run(NAMES).ok()
        story.begin()
        jobs = [story.cell(NESTED, f"-b -n job{number}").ok() for number in range(2)]
        for job in jobs:
            notebook.wait_until(lambda job=job: "runs" in job.stdout, what="the jobs to run")  # type: ignore[misc]
        story.run(BUSY).ok()
        yield story


@pytest.mark.parametrize(
    ("busy", "ending"),
    [
        ("0", "SIGKILL"),
        ("1", "SIGTERM"),
        ("1", "SIGHUP"),
        ("0", "the group's SIGKILL"),
        ("1", "_exit"),
        ("0", "restart"),
    ],
    indirect=["busy"],
)
def test_the_kernel_ends_while_everything_is_going_on(busy: Story, tmp_path: Path, ending: str) -> None:
    before = segments(), set(tmp_path.iterdir())
    notebook = busy.notebook
    below = [psutil.Process(pid) for pid in notebook.descendants()]
    # The nursery; two workers, each with a nursery, a worker and a child of its own; the second pool's two.
    assert len(below) >= 11
    match ending:
        case "the group's SIGKILL":
            os.killpg(notebook.pid, signal.SIGKILL)
        case "_exit":
            notebook.start("os._exit(3)")
        case "restart":
            notebook.restart()
        case _:
            notebook.signal(signal.Signals[ending])
    assert ended(below)
    assert segments() - before[0] == set()
    assert set(tmp_path.iterdir()) <= before[1]
    if ending == "restart":
        busy.run(PRELUDE).ok()
        busy.run(NAMES).ok()
        busy.cell(AS_BEFORE).ok()


def test_the_kernel_is_killed_while_its_workers_are_stopped(own_story: Story) -> None:
    notebook = own_story.notebook
    below = [psutil.Process(pid) for pid in notebook.descendants()]
    workers = own_story.pids()
    assert len(below) == 1 + len(workers)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
        while state(pid) != "T":
            pass
    own_story.run("print('the kernel still runs')").ok()
    notebook.kill()
    assert ended(below)
    notebook.restart()
    own_story.run(PRELUDE).ok()
    own_story.run(NAMES).ok()
    own_story.begin()


def test_the_front_end_goes_and_comes_again_while_a_job_runs(own_story: Story) -> None:
    notebook = own_story.notebook
    flag = notebook.cwd / "go"
    body = f"import os, time\nwhile not os.path.exists({str(flag)!r}):\n    time.sleep(0.01)\nmade = 5"
    own_story.cell(body, "-b -n job").ok()
    notebook._stop_reading()
    flag.touch()
    notebook._connect()
    assert own_story.value("job.result(), made") == (None, 5)
