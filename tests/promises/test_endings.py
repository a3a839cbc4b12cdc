"""However the process that owns pools ends, and whatever its workers do then: nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.kernels import Notebook
from tests.pool.conftest import HANG, ROOT

GONE_WITHIN: Final = 5.0  # seconds: the promise; they take a tenth of one
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is written there

# Workers in every state: one that is stopped, one whose call never lets go of Python's lock, one that sleeps
# and has a pool of its own, one with threads, one whose session keeps arrays, and what a call has started.
OWNER: Final = """
import ctypes, os, signal, subprocess, sys, threading, time
import numpy as np
import psutil
from snakepit_nb import Pool

def stops():
    os.kill(os.getpid(), signal.SIGSTOP)

def deaf(path):
    open(path, "w").close()
    ctypes.PyDLL(None).sleep(3600)

def owns(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    inner = Pool(1).start()
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    open(path, "w").close()
    time.sleep(3600)

def reached(path):
    while not os.path.exists(path):
        time.sleep(0.01)

folder = sys.argv[1]
pools = [Pool(1, name=name).start() for name in ("stopped", "deaf", "owns", "keeps")]
pools.append(Pool(2, name="threads", profile="thread").start())
array = np.ones(1_000_000)
running = [pools[0].submit(stops), pools[1].submit(deaf, folder + "/deaf")]
running += [pools[2].submit(owns, folder + "/owns")]
pools[3].session("s").keep("x", np.negative, array).result(60)
result = pools[3].submit(np.negative, array).result(60)
running += [pools[4].submit(time.sleep, 3600) for _ in range(2)]
reached(folder + "/deaf"), reached(folder + "/owns")
stopped = psutil.Process(pools[0].workers()[0].pid)
while stopped.status() != psutil.STATUS_STOPPED:
    time.sleep(0.01)
print(*[each.pid for each in psutil.Process().children(recursive=True)], flush=True)
sys.stdin.readline()
"""

ENDINGS: Final = {
    "SIGKILL": ("time.sleep(60)", signal.SIGKILL),
    "SIGTERM": ("time.sleep(60)", signal.SIGTERM),
    "SIGHUP": ("time.sleep(60)", signal.SIGHUP),
    "os._exit": ("os._exit(4)", None),
    "sys.exit": ("sys.exit(5)", None),
    "exec": ("os.execv('/bin/true', ['true'])", None),
}


def named() -> set[str]:
    """What has a name of ours in shared memory."""
    return {path.name for path in SHARED_MEMORY.iterdir() if path.name.startswith("snk_")}


def assert_gone(processes: list[psutil.Process], temp: Path, before: set[str]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=GONE_WITHIN)
    assert [(each.pid, each.status(), each.cmdline()[-1:]) for each in alive] == []
    assert list(temp.iterdir()) == []
    assert named() <= before


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    """A folder for temporary files, where nothing is to be left."""
    made = tmp_path / "temp"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("ending", "memfd"), [*((ending, "1") for ending in ENDINGS), ("SIGKILL", "0")], ids=lambda each: each
)
def test_however_its_owner_ends_and_whatever_it_does_no_worker_is_left(
    tmp_path: Path, temp: Path, ending: str, memfd: str
) -> None:
    code, number = ENDINGS[ending]
    before = named()
    env = {**os.environ, "TMPDIR": str(temp), "PYTHONPATH": str(ROOT), "SNAKEPIT_NB_MEMFD": memfd}
    command = [sys.executable, "-c", OWNER + code, str(tmp_path)]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as owner:
        assert owner.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        # Five workers, the one of the pool in a worker, both nurseries, and what a call has started.
        assert len(processes) == 9
        if number is not None:
            owner.send_signal(number)
        owner.communicate("\n", timeout=HANG)
        assert_gone(processes, temp, before)


@pytest.mark.parametrize("ending", ["group", "hangup", "leaves", "exec"])
def test_however_a_kernel_ends_no_worker_is_left(temp: Path, ending: str) -> None:
    before = named()
    with Notebook(env={"TMPDIR": str(temp)}) as notebook:
        notebook.run("%load_ext snakepit_nb\nimport numpy as np, os\nx = np.ones(10**6)").ok()
        notebook.run("%%snakepit --session kept -o y\ny = x * 2\nz = x * 3").ok()
        busy = notebook.run("%%snakepit -b -n busy\nprint('running', flush=True)\nwhile True:\n    pass").ok()
        notebook.wait_until(lambda: "running" in busy.stdout, what="the job to run")
        processes = [psutil.Process(pid) for pid in notebook.descendants()]
        assert len(processes) == 2
        kernel = psutil.Process(notebook.pid)
        if ending == "group":
            os.killpg(notebook.pid, signal.SIGKILL)
        elif ending == "hangup":
            kernel.send_signal(signal.SIGHUP)
        elif ending == "leaves":
            notebook.start("os._exit(3)")
        else:
            notebook.start("os.execv('/bin/true', ['true'])")
        _, alive = psutil.wait_procs([kernel], timeout=HANG)
        assert alive == []
        assert_gone(processes, temp, before)


# Dies in the middle of a start: right after this function was called for so many times.
STARTER: Final = """
import os, signal, socket, subprocess, sys
from snakepit_nb import Pool
module, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
real = getattr(sys.modules[module], name)
def last(*given, **named):
    global times
    times -= 1
    found = real(*given, **named)
    if not times:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(sys.modules[module], name, last)
Pool(3).start()
"""


@pytest.mark.parametrize(
    "moment",
    [
        "subprocess Popen 1",
        "socket recv_fds 1",
        "socket send_fds 1",
        "socket recv_fds 2",
        "socket send_fds 4",
    ],
    ids=[
        "nursery_begins",
        "nursery_is_there",
        "worker_is_asked_for",
        "worker_is_there",
        "arena_is_handed_over",
    ],
)
def test_an_owner_that_dies_in_the_middle_of_a_start_leaves_nothing(tmp_path: Path, moment: str) -> None:
    mark = f"SNAKEPIT_TEST_{os.getpid()}={tmp_path}"
    name, _, value = mark.partition("=")
    done = subprocess.run(
        [sys.executable, "-c", STARTER, *moment.split()],
        env={**os.environ, name: value}, cwd=ROOT, timeout=HANG, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    # Who was just begun may begin somebody else.
    for _ in range(10):
        left = [each for each in psutil.process_iter() if marked(each, mark)]
        if not left:
            return
        psutil.wait_procs(left, timeout=GONE_WITHIN)
    pytest.fail(f"left: {left}")


def marked(process: psutil.Process, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
