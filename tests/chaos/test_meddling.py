"""Cells that do what they should not: each is an error of its own or nothing, and the notebook goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.chaos.conftest import Story

# What is raised in a cell is the cell's: nothing dies of it.
RAISED = {
    "SystemExit": ("raise SystemExit(3)", "SystemExit", "3"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
    "GeneratorExit": ("raise GeneratorExit", "GeneratorExit", ""),
    "MemoryError": ("bytearray(1 << 60)", "MemoryError", "work on pieces"),
    "RecursionError": ("def down():\n    down()\ndown()", "RecursionError", "recursion"),
    "two_arguments": (
        "class Odd(Exception):\n    def __init__(self, a, b):\n        super().__init__(a)\nraise Odd(1, 2)",
        "Odd", "1",
    ),
    "no_text": ("class Mute(Exception):\n    def __str__(self):\n        1 / 0\nraise Mute", "Mute", ""),
    "huge_text": ("raise ValueError('x' * 50_000_000)", "ValueError", "xxxx"),
    "a_group": ("raise ExceptionGroup('many', [OSError('one'), KeyError('two')])", "ExceptionGroup", "one"),
    "a_result_that_bites": (
        "class Bites:\n    def __reduce__(self):\n        return int, ('no number',)\nBites()",
        "CaptureError", "could not be rebuilt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAISED)
def test_what_a_cell_raises_is_an_error_and_no_death(story: Story, name: str) -> None:
    body, kind, says = RAISED[name]
    story.goes_wrong(f"%%snakepit\n{body}", kind, says)
    deaths = ("worker.crash", "worker.recycled")
    assert story.told(*deaths) == dict.fromkeys(deaths, 0)
    story.goes_on()


# What a cell does to its process ends with the cell, or with the worker.
DONE = {
    "forks_and_comes_back": "import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait()[1]",
    "forks_twenty_that_stay": (
        "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n        time.sleep(3600)\n0"
    ),
    "leaves_a_hundred_threads": (
        "from threading import Event, Thread\n"
        "for _ in range(100):\n    Thread(target=Event().wait, daemon=True).start()\n0"
    ),
    "leaves_a_thread_that_nobody_can_join": (
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n0"
    ),
    "closes_its_streams": "import sys\nsys.stdout.close(); sys.stderr.close(); 0",
    "replaces_its_streams": "import sys\nsys.stdout = None; sys.stderr = object(); 0",
    "is_deaf_to_signals": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); 0",
    "writes_into_standard_input": "import os\nos.dup2(2, 0); 0",
    "floods_native_stderr": "import os\nfor _ in range(200):\n    os.write(2, b'x' * 10_000)\n0",
    "spoils_main": "import sys\nsys.modules['__main__'] = None; 0",
    "a_finaliser_that_fails": (
        "class Fails:\n    def __del__(self):\n        raise OSError('at the end')\nFails(); 0"
    ),
    "turns_off_the_collector": "import gc\ngc.disable(); 0",
    "sets_an_excepthook": "import sys, threading\nsys.excepthook = threading.excepthook = None; 0",
    "a_pool_in_a_pool": (
        "from snakepit_nb import Pool\n"
        "with Pool(1) as inner:\n    found = inner.submit(int, '0').result()\nfound"
    ),
}


@pytest.mark.parametrize("name", DONE)
def test_what_a_cell_does_to_its_process_stays_there(story: Story, name: str) -> None:
    cell = story.goes_wrong(f"%%snakepit -q -o none\nnone = None\n{DONE[name]}", None)
    assert cell.value == "0"
    assert story.told("worker.crash") == {"worker.crash": 0}
    story.goes_on()
    story.notebook.run("%snakepit recycle").ok()
    story.wait_told("worker.recycled", 2, reason="manual")
    story.goes_on()


def test_what_cannot_travel_is_named_and_costs_nothing(story: Story) -> None:
    story.notebook.run("import threading\nbad = {'deep': [threading.Lock()]}").ok()
    story.goes_wrong("%%snakepit\nlen(bad)", "CaptureError", "bad['deep'][0]")
    assert story.told("request.queued") == {"request.queued": 0}
    story.goes_on()


def test_a_result_that_cannot_travel_stays_and_is_named(story: Story) -> None:
    story.goes_wrong("%%snakepit -o numbers\nnumbers = (n for n in range(3))", "CaptureError", "numbers")
    assert story.told("worker.crash") == {"worker.crash": 0}
    story.goes_on()


def test_the_kernel_may_fork_in_an_ordinary_cell(story: Story) -> None:
    story.notebook.run(
        "pid = os.fork()\nif pid == 0:\n    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7"
    ).ok()
    story.goes_on()


def test_a_library_that_waits_for_all_children_hides_no_death(story: Story) -> None:
    story.notebook.run(
        "stop = threading.Event()\n"
        "def reap():\n"
        "    while not stop.wait(0.01):\n"
        "        try:\n            os.waitpid(-1, os.WNOHANG)\n"
        "        except ChildProcessError:\n            pass\n"
        "reaper = threading.Thread(target=reap)\nreaper.start()"
    ).ok()
    story.goes_wrong("%%snakepit\nimport os; os._exit(3)", "WorkerCrashed", "exit code 3")
    story.notebook.run("stop.set(); reaper.join()").ok()
    story.goes_on()


def test_a_callback_that_leaves_takes_nobody_along(story: Story) -> None:
    story.notebook.run(
        "from snakepit_nb import get_pool\nimport sys\n"
        "future = get_pool().submit(abs, -5)\n"
        "future.add_done_callback(lambda _: sys.exit(1))\n"
        "assert future.result(30) == 5"
    ).ok()
    story.goes_on()


def test_a_handler_of_events_that_fails_is_detached_and_the_others_hear_on(story: Story) -> None:
    story.notebook.run(
        "def fails(*_):\n    raise OSError('a handler')\n"
        "telemetry.attach_prefix('fails', 'snakepit.request', fails)"
    ).ok()
    story.goes_wrong("%%snakepit\n1", None)
    assert story.told("request.executed") == {"request.executed": 1}
    assert story.value("telemetry.detach('fails')") == "False"
    story.goes_on()


def test_the_nursery_may_die_and_is_replaced(story: Story) -> None:
    story.goes_wrong(
        "import psutil\n"
        "(nursery,) = psutil.Process().children()\n"
        "nursery.kill()\n"
        "wait_told('worker.started', 2)",
        None,
    )
    story.goes_on()


def test_a_restarted_kernel_begins_anew_and_leaves_nothing_behind(own_story: Story) -> None:
    import psutil

    notebook = own_story.notebook
    notebook.run("%%snakepit -b -n busy\nimport time\ntime.sleep(3600)").ok()
    processes = [psutil.Process(pid) for pid in notebook.descendants()]
    assert len(processes) == 3
    notebook.restart()
    assert psutil.wait_procs(processes, timeout=30)[1] == []
    notebook.run("%load_ext snakepit_nb").ok()
    assert notebook.run("%%snakepit\n40 + 2").ok().value == "42"
