"""The promises of docs/promises.md: each names its tests, and those that no other room holds are here."""

from __future__ import annotations

import ast
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import pytest

from snakepit_nb import Pool, options
from snakepit_nb.pool import loans, process
from tests.pool.conftest import HANG, ROOT

PAGE: Final = ROOT / "docs" / "promises.md"
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def named() -> list[tuple[str, str]]:
    return NAMED.findall(PAGE.read_text(encoding="utf-8"))


def test_each_promise_names_its_tests() -> None:
    text = PAGE.read_text(encoding="utf-8")
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    assert len(sections) >= 10
    assert [each.splitlines()[0] for each in sections if not NAMED.search(each)] == []


@pytest.mark.parametrize(("path", "test"), named(), ids=lambda each: Path(each).name)
def test_what_a_promise_names_is_there(path: str, test: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert test in names | assigned


# However the kernel ends


def test_when_a_whole_group_of_processes_is_killed_no_worker_outlives_it() -> None:
    code = (
        "import sys, time\nfrom snakepit_nb import Pool\npool = Pool(2).start()\n"
        "from snakepit_nb.pool import process\n"
        "print(process.nursery(())._process.pid, *[each.pid for each in pool.workers()], flush=True)\n"
        "running = [pool.submit(time.sleep, 3600) for _ in range(2)]\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True,
    ) as kernel:  # fmt: skip
        assert kernel.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in kernel.stdout.readline().split()]
        assert len(processes) == 3
        os.killpg(kernel.pid, signal.SIGKILL)
        assert psutil.wait_procs(processes, timeout=HANG)[1] == []


# The end of a pool


LEFT: Final = {
    "atexit": "import atexit, time; atexit.register(time.sleep, 3600)",
    "thread": "import threading; threading.Thread(target=threading.Event().wait).start()",
    "flush": "import sys, time; sys.stdout.flush = lambda: time.sleep(3600)",
    "deaf": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
}


@pytest.mark.parametrize(
    ("profile", "left"),
    [
        *(("process", left) for left in LEFT),
        *(("thread", left) for left in LEFT if left != "deaf"),  # only a main thread hears signals
    ],
)
def test_shutdown_comes_back_whatever_a_call_left_in_its_worker(profile: str, left: str) -> None:
    with options.override(stop_grace=0.2):
        pool = Pool(1, profile=profile)
        pool.submit(exec, LEFT[left]).result(HANG)
        (worker,) = [psutil.Process(each.pid) for each in pool.workers()]
        pool.shutdown()
        assert psutil.wait_procs([worker], timeout=HANG)[1] == []


# What a pool costs


def test_an_idle_pool_takes_next_to_no_time() -> None:
    with Pool(2).start() as pool:
        pool.submit(abs, -1).result(HANG)
        everybody = [
            psutil.Process(pid)
            for pid in (process.nursery(())._process.pid, *(w.pid for w in pool.workers()))
        ]
        quiet = threading.Event()
        quiet.wait(0.2)  # what the last answer set off is over

        def used() -> float:
            mine = sum(psutil.Process().cpu_times()[:2])
            return mine + sum(sum(each.cpu_times()[:2]) for each in everybody)

        before, began = used(), time.monotonic()
        quiet.wait(3)
        share = (used() - before) / (time.monotonic() - began)
    assert share < 0.03  # of one core: processor time, so what else runs on the machine does not count


def test_two_thousand_round_trips_of_a_megabyte_leave_memory_where_it_was() -> None:
    array = np.ones(131_072)
    with Pool(1) as pool:

        def rounds(count: int) -> int:
            for _ in range(count):
                assert pool.submit(np.negative, array).result(HANG)[0] == -1.0
            gc.collect()
            own = (
                psutil.Process().memory_full_info().uss,
                psutil.Process(pool.workers()[0].pid).memory_full_info().uss,
            )
            return sum(own)

        before = rounds(200)
        leases = loans.kernel_store().stats().leases
        after = rounds(2_000)
        assert after - before < 16_000_000
        assert loans.kernel_store().stats().leases <= leases + 1


def test_thirty_pools_leave_neither_descriptors_nor_threads() -> None:
    def holds() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - counted

    with Pool(1) as warm:
        warm.submit(abs, -1).result(HANG)
    descriptors, threads = holds()
    for _ in range(30):
        with Pool(1) as pool:
            assert pool.submit(abs, -1).result(HANG) == 1
    now = holds()
    assert now[0] <= descriptors + 5
    assert now[1] <= threads + 2
