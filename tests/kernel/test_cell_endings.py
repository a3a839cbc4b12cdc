"""Cells that are stopped, take too long or kill their worker: each costs itself and nothing else."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.kernels import Notebook

if TYPE_CHECKING:
    from tests.kernels import CellOutcome

PATIENCE = 10.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is written there


# Says so once the cell is at its last line: an interrupt that comes then finds it there.
ANNOUNCE = """
import sys, threading
def announce(line, main=threading.get_ident()):
    frame = None
    while frame is None or frame.f_lineno != line:
        frame = sys._current_frames()[main]
        while frame is not None and not frame.f_code.co_filename.startswith("<In ["):
            frame = frame.f_back
    print("running", flush=True)
"""


def stopped(notebook: Notebook, body: str, line: int) -> CellOutcome:
    """A cell that is interrupted once it has come to that line."""
    notebook.run(ANNOUNCE).ok()
    announce = f"threading.Thread(target=announce, args=({line}, threading.get_ident())).start()"
    cell = notebook.start(f"%%snakepit\nimport threading; {announce}\n{body}")
    notebook.wait_until(lambda: "running" in cell.stdout, what="the cell to run")
    notebook.interrupt()
    return notebook.finish(cell)


def error(cell: CellOutcome) -> str:
    assert cell.error is not None, str(cell)
    return f"{cell.error.ename}: {cell.error.evalue}"


@pytest.mark.parametrize(
    ("body", "line"),
    [("import time\ntime.sleep(600)", 4), ("while True:\n    pass", 3), ("\nthreading.Event().wait()", 4)],
)
def test_the_stop_button_ends_a_cell_shows_where_it_was_and_keeps_its_worker(
    own: Notebook, body: str, line: int
) -> None:
    pid = own.run("%%snakepit\nimport os\nos.getpid()").ok().value
    cell = stopped(own, body, line)
    assert error(cell).startswith("KeyboardInterrupt")
    assert cell.error is not None
    assert f"In [{cell.execution_count}], line" in cell.error.text
    assert "snakepit_nb/" not in cell.error.text
    assert own.run("%%snakepit\nimport os\nos.getpid()").ok().value == pid


def test_a_cell_that_hears_nothing_is_ended_with_its_worker_and_the_next_one_runs(own: Notebook) -> None:
    # Deaf from here on, as a loop in C is that never looks at signals.
    deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass"
    cell = stopped(own, deaf, 5)
    assert "its worker was killed and replaced" in error(cell)
    assert own.run("%%snakepit\n'served'").ok().value == "'served'"


def test_a_cell_that_catches_the_interrupt_and_ends_has_its_say(own: Notebook) -> None:
    body = "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    kept = 1\n'tidied up'"
    cell = stopped(own, body, 5)
    assert cell.ok().value == "'tidied up'"
    assert own.run("kept").ok().value == "1"


def test_a_second_press_kills_a_cell_that_ignores_the_first(own: Notebook) -> None:
    # The grace is made long: only the second press can be what ends it.
    own.run("from snakepit_nb import options\noptions.adopt({'interrupt_grace': 600.0})").ok()
    ignoring = (
        "while True:\n    try:\n        print('running', flush=True)\n        time.sleep(600)\n"
        "    except KeyboardInterrupt:\n        print('ignored', flush=True)"
    )
    cell = own.start(f"%%snakepit\nimport time\n{ignoring}")
    own.wait_until(lambda: "running" in cell.stdout)
    own.interrupt()
    own.wait_until(lambda: "ignored" in cell.stdout)
    own.interrupt()
    assert "its worker was killed and replaced" in error(own.finish(cell))
    assert own.run("%%snakepit\n1").ok().value == "1"


def test_a_cell_that_takes_too_long_is_ended_and_the_pool_serves_on(own: Notebook) -> None:
    cell = own.run("%%snakepit -t 0.2\nimport time\ntime.sleep(600)")
    assert error(cell).startswith("RequestTimeout: ")
    assert own.run("%%snakepit\n1").ok().value == "1"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import ctypes\nctypes.string_at(0)", "segmentation fault in native code (SIGSEGV"),
        ("import os\nos.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os\nos._exit(3)", "exit code 3"),
        ("import os\nos.abort()", "SIGABRT"),
        ("import os\nos.closerange(0, 4096)", "WorkerCrashed"),
    ],
)
def test_a_cell_that_kills_its_worker_fails_alone_and_says_how(own: Notebook, body: str, says: str) -> None:
    own.run("mine = 1").ok()
    waiting = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n'lives'"
    other = own.run(f"%%snakepit -b -n other\n{waiting}").ok()
    cell = own.run(f"%%snakepit\nmine = 2\n{body}")
    assert error(cell).startswith("WorkerCrashed: ")
    assert says in error(cell)
    assert "only this request failed, the pool serves on" in error(cell)
    assert own.run("%%snakepit\nmine + 1").ok().value == "2"
    own.run("open('go', 'w').close()").ok()
    assert own.run("other.result()").ok().value == "'lives'"
    assert other.stderr == ""


def test_the_last_words_of_a_dead_worker_are_its_own_and_of_that_cell(own: Notebook) -> None:
    own.run("%%snakepit\nimport sys\nprint('earlier', file=sys.stderr)").ok()
    cell = own.run("%%snakepit\nimport os\nos.write(2, b'the last words')\nos.abort()")
    assert cell.error is not None
    _, _, tail = cell.error.text.partition("The end of its stderr")
    assert "the last words" in tail
    assert "earlier" not in tail


def test_the_cell_after_a_pool_broke_runs_in_a_new_one_and_says_so(own: Notebook) -> None:
    for _ in range(6):
        own.run("%%snakepit\nimport os\nos._exit(3)")
    cell = own.run("%%snakepit\n1").ok()
    assert cell.value == "1"
    (note,) = cell.displays
    assert "a new pool takes the place of one that broke: " in note["data"]["text/plain"]
    assert own.run("%%snakepit\n2").ok().displays == []


def _segments() -> set[str]:
    """Those that bear our name: other programs of the machine have theirs there."""
    return {path.name for path in SHARED_MEMORY.glob("*snakepit*")}


@pytest.mark.parametrize("ending", ["kill", "term", "restart", "shutdown"])
def test_however_the_kernel_ends_no_process_and_no_segment_outlive_it(ending: str) -> None:
    before = _segments()
    with Notebook() as notebook:
        notebook.run("%load_ext snakepit_nb\nimport numpy as np\nx = np.ones(10**6)").ok()
        notebook.run("%%snakepit\nx.sum()").ok()
        busy = notebook.run("%%snakepit -b -n busy\nprint('running', flush=True)\nwhile True:\n    pass").ok()
        notebook.wait_until(lambda: "running" in busy.stdout, what="the job to run")
        below = [psutil.Process(pid) for pid in notebook.descendants()]
        assert len(below) >= 2
        if ending == "kill":
            notebook.kill()
        elif ending == "term":
            notebook.signal(signal.SIGTERM)
        elif ending == "restart":
            notebook.restart()
        else:
            notebook.close()
        _, alive = psutil.wait_procs(below, timeout=PATIENCE)
        assert alive == []
        if ending == "restart":
            notebook.run("%load_ext snakepit_nb").ok()
            assert notebook.run("%%snakepit\n1").ok().value == "1"
    assert _segments() <= before


def test_a_death_in_native_code_names_the_line_of_the_cell(own: Notebook) -> None:
    cell = own.run("%%snakepit\nimport ctypes\n\ndef read():\n    ctypes.string_at(0)\nread()")
    assert "(SIGSEGV, " in error(cell)
    assert f", at In [{cell.execution_count}], line 5: " in error(cell)
    assert "Fatal Python error" not in cell.stderr
