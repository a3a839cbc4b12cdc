"""Code that interferes: with the worker that runs it, with the kernel, with what travels between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from tests.chaos.stories.conftest import ended, error

if TYPE_CHECKING:
    from tests.chaos.stories.conftest import Story

LIVES = ("worker.crash", "worker.recycled", "worker.started")


def spared(story: Story, pids: set[int]) -> None:
    """No worker was lost."""
    assert story.pids() == pids
    assert story.counts(*LIVES) == {}


# In the worker


@pytest.mark.parametrize("where", ["there", "here"])
def test_an_object_that_fails_while_it_is_unpickled(story: Story, where: str) -> None:
    pids = story.pids()
    story.run(
        "def rebuild(pid, where):\n"
        "    if (pid == os.getpid()) == (where == 'here'):\n        raise ValueError('not ' + where)\n"
        "    return Trap(pid, where)\n"
        "class Trap:\n"
        "    def __init__(self, pid, where): self.facts = pid, where\n"
        "    def __reduce__(self): return rebuild, self.facts\n"
        f"pid, where = os.getpid(), {where!r}\ntrap = Trap(pid, where)"
    ).ok()
    cell = story.cell("len(trap.facts)") if where == "there" else story.cell("made = Trap(pid, where)")
    kind, text = error(cell)
    assert (kind, f"not {where}" in text) == ("CaptureError" if where == "here" else "ValueError", True)
    spared(story, pids)
    story.run("del trap, Trap, rebuild, pid, where").ok()


def test_a_cell_that_leaves_threads_behind_ends_and_so_does_its_worker(story: Story) -> None:
    workers = [psutil.Process(pid) for pid in story.pids()]
    body = (
        "import threading, time\n"
        "def stay():\n    while True:\n        time.sleep(3600)\n"
        "for _ in range(50):\n    threading.Thread(target=stay).start()\n"
        "threading.active_count() > 50"
    )
    assert story.cell(body).ok().value == "True"
    assert story.cell("1").ok().value == "1"
    spared(story, {worker.pid for worker in workers})
    # They are no daemons, so they would keep a Python process from ending.
    story.run("get_pool().shutdown()").ok()
    assert ended(workers)


def test_a_cell_that_forks_gets_its_answer_and_its_child_dies_with_the_worker(story: Story) -> None:
    pids = story.pids()
    body = "import os, time\nchild = os.fork()\nif child == 0:\n    time.sleep(3600)\nchild"
    child = psutil.Process(int(story.cell(body).ok().value or ""))
    assert child.is_running()
    story.run("del child").ok()
    spared(story, pids)
    story.run("%snakepit stop").ok()
    assert ended([child])


def test_a_child_that_comes_back_from_the_cell_does_not_answer_for_it(story: Story) -> None:
    pids = story.pids()
    cell = story.cell(
        "import os\nchild = os.fork()\n"
        "if child:\n    _, status = os.waitpid(child, 0)\nthere = 'parent' if child else 'child'\nthere"
    ).ok()
    assert cell.value == "'parent'"
    assert story.value("there") == "parent"
    spared(story, pids)
    story.run("del child, status, there").ok()


def test_multiprocessing_works_in_a_cell(story: Story) -> None:
    pids = story.pids()
    body = (
        "import multiprocessing\nwith multiprocessing.Pool(2) as inner:\n    found = inner.map(abs, [-1, -2])"
    )
    story.cell(body).ok()
    assert story.value("found") == [1, 2]
    spared(story, pids)


def test_a_pool_within_a_worker_works_and_ends_with_it(story: Story) -> None:
    body = (
        "from snakepit_nb import Pool\nimport os\n"
        "inner = Pool(1, name='inner').start()\npids = [worker.pid for worker in inner.workers()]\n"
        "found = inner.submit(pow, 2, 5).result()\n"
    )
    story.cell(body, "-o found").ok()
    assert story.value("found") == 32
    cell = story.notebook.start(f"%%snakepit\n{body}print(*pids, flush=True)\nos.abort()")
    assert error(story.notebook.finish(cell))[0] == "WorkerCrashed"
    for pid in map(int, cell.stdout.split()):
        if psutil.pid_exists(pid):
            assert ended([psutil.Process(pid)])
    assert len(cell.stdout.split()) == 1
    story.told("worker.restarted", 1)


def test_a_cell_that_ignores_every_signal_does_not_keep_its_pool_from_ending(story: Story) -> None:
    workers = [psutil.Process(pid) for pid in story.pids()]
    body = (
        "import signal\nfor number in signal.valid_signals():\n    try:\n"
        "        signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass"
    )
    story.cell(body).ok()
    spared(story, {worker.pid for worker in workers})
    story.run("get_pool().shutdown()").ok()
    assert ended(workers)


def test_a_cell_that_leaves_its_folder_and_empties_its_environment_disturbs_no_other(story: Story) -> None:
    pids = story.pids()
    body = (
        "import os, sys, tempfile\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\nos.rmdir(folder)\n"
        "os.environ.clear()\nsys.path.clear()\nsys.argv.clear()"
    )
    story.cell(body, "-o folder").ok()
    for _ in pids:
        assert story.cell("double(x[1])").ok().value == "np.float64(2.0)"
    spared(story, pids)
    story.run("del folder").ok()


# In the kernel


def test_the_kernel_may_fork_and_its_child_harms_nothing(story: Story) -> None:
    pids = story.pids()
    story.run(
        "import warnings\nwarnings.simplefilter('ignore')\npool = get_pool()\n"
        "running = pool.submit(time.sleep, 0.2)\nchild = os.fork()\n"
        "if child == 0:\n"
        "    code = 1\n"
        "    try:\n        pool.submit(abs, -1)\n"
        "    except BaseException as error:\n"
        "        if 'was forked from' in str(error):\n"
        "            with Pool(1, name='own') as own:\n"
        "                code = own.submit(abs, -7).result(30)\n"
        "    os._exit(code)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])"
    ).ok()
    assert story.value("status, running.result()") == (7, None)
    spared(story, pids)
    story.run("del pool, running, child, status").ok()


def test_multiprocessing_in_the_kernel_takes_nothing_from_the_pool(story: Story) -> None:
    pids = story.pids()
    story.run(
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as forked:\n"
        "    found = forked.map(abs, [-1, -2])\n    summed = forked.apply(np.sum, (x,))"
    ).ok()
    assert story.value("found, float(summed)") == ([1, 2], 19999900000.0)
    spared(story, pids)
    story.run("del forked, summed").ok()


def test_signals_of_the_terminal_reach_no_worker(story: Story) -> None:
    pids = story.pids()
    running = story.cell("import time\nprint('runs')\ntime.sleep(0.2)\n'done'", "-b -n job").ok()
    story.notebook.wait_until(lambda: running.stdout == "runs\n", what="the job to run")
    story.notebook.interrupt()
    assert story.value("job.result()") == "done"
    spared(story, pids)
    story.run("del job").ok()
