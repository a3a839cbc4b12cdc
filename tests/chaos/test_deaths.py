"""Workers die in every way there is: each costs its own cell, is told once, and the notebook goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.chaos.conftest import Story


class Death(NamedTuple):
    """One way to die."""

    body: str
    says: str
    kind: str
    signal: str | None = None
    exit_code: int | None = None
    tainted: int = 0


DEATHS = {
    "SIGKILL": Death("import os; os.kill(os.getpid(), 9)", "SIGKILL", "killed", "SIGKILL"),
    "SIGTERM": Death("import os; os.kill(os.getpid(), 15)", "SIGTERM", "killed", "SIGTERM"),
    "SIGSEGV": Death("import ctypes; ctypes.string_at(0)", "SIGSEGV", "segfault", "SIGSEGV", tainted=1),
    "SIGBUS": Death(
        "import mmap, tempfile\n"
        "file = tempfile.TemporaryFile(); file.truncate(4096)\n"
        "page = mmap.mmap(file.fileno(), 4096); file.truncate(0)\n"
        "page[0]",
        "SIGBUS", "segfault", "SIGBUS", tainted=1,
    ),
    "SIGABRT": Death("import os; os.abort()", "SIGABRT", "abort", "SIGABRT", tainted=1),
    "SIGFPE": Death("import os; os.kill(os.getpid(), 8)", "SIGFPE", "abort", "SIGFPE", tainted=1),
    "exit_3": Death("import os; os._exit(3)", "exit code 3", "exit", exit_code=3),
    "exit_0": Death("import os; os._exit(0)", "exit code 0", "exit", exit_code=0),
    "stack_overflow": Death(
        "import sys\n"
        "sys.setrecursionlimit(10**9)\n"
        "deep = None\n"
        "for _ in range(10**7): deep = [deep]\n"
        "repr_of = lambda x: repr(x)\n"
        "repr_of(deep)",
        "SIGSEGV", "segfault", "SIGSEGV", tainted=1,
    ),
    "last_thread_out": Death(
        "import os, threading\n"
        "threading.Thread(target=lambda: os._exit(7)).start()\n"
        "threading.Event().wait()",
        "exit code 7", "exit", exit_code=7,
    ),
    "loses_every_descriptor": Death(
        "import os; os.closerange(0, 4096)", "exit code 75", "exit", exit_code=75
    ),
    "replaced_by_another_program": Death(
        "import os; os.execv('/bin/false', ['false'])", "exit code 1", "exit", exit_code=1
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEATHS)
def test_a_cell_that_ends_its_worker_fails_alone(story: Story, name: str) -> None:
    death = DEATHS[name]
    story.goes_wrong(f"%%snakepit\nanswer = 'changed'\n{death.body}", "WorkerCrashed", death.says)
    story.wait_told("worker.restarted" if death.tainted else "worker.started")
    crash = story.facts("worker.crash")
    assert crash["classification"] == death.kind
    ended = death.exit_code if death.signal is None else -signal.Signals[death.signal]
    assert (crash["signal"], crash["exit_code"]) == (death.signal, ended)
    once = ("worker.crash", "worker.recycled", "request.executed")
    assert story.told(*once) == dict.fromkeys(once, 1)
    tainted = ("worker.tainted", "worker.restarted")
    assert story.told(*tainted) == dict.fromkeys(tainted, death.tainted)
    story.goes_on()


def test_a_worker_that_dies_after_its_answer_costs_nobody_anything(story: Story) -> None:
    body = "import signal; signal.setitimer(signal.ITIMER_REAL, 0.05)\n'answered'"
    cell = story.goes_wrong(f"%%snakepit\n{body}", None)
    assert cell.value == "'answered'"
    story.wait_told("worker.crash", classification="killed", signal="SIGALRM")
    story.goes_on()


def test_a_memory_bomb_ends_at_the_limit_and_is_called_what_it_is(story: Story) -> None:
    story.notebook.run("%snakepit start small -w 1 --max-memory 150MB").ok()
    bomb = "hoard = []\nwhile True:\n    hoard.append(bytearray(b'x') * 1_000_000)"
    story.goes_wrong(f"%%snakepit small\n{bomb}", "WorkerCrashed", "memory")
    story.wait_told("worker.crash", classification="oom")
    story.goes_on("small")
    story.notebook.run("%snakepit stop small").ok()


def test_a_cell_that_stops_its_worker_is_found_out(story: Story) -> None:
    body = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    story.goes_wrong(f"%%snakepit\n{body}", "WorkerCrashed")
    story.wait_told("worker.crash")
    assert story.told("worker.crash") == {"worker.crash": 1}
    story.goes_on()


def test_a_loop_without_end_ends_with_its_time(story: Story) -> None:
    story.goes_wrong("%%snakepit -t 0.3\nwhile True: pass", "RequestTimeout")
    assert story.told("worker.crash") == {"worker.crash": 0}
    story.goes_on()


def test_an_argument_that_never_ends_to_arrive_ends_with_its_time(story: Story) -> None:
    story.notebook.run(
        "class Endless:\n    def __reduce__(self):\n        return eval, ('[0 for _ in iter(int, 1)]',)\n"
        "endless = Endless()"
    ).ok()
    story.goes_wrong("%%snakepit -t 0.3\nendless", "RequestTimeout")
    story.goes_on()


def test_an_argument_that_kills_whoever_unpacks_it_costs_its_cell(story: Story) -> None:
    story.notebook.run(
        "class Deadly:\n    def __reduce__(self):\n        return os._exit, (9,)\ndeadly = Deadly()"
    ).ok()
    story.goes_wrong("%%snakepit\ndeadly", "WorkerCrashed", "exit code 9")
    story.goes_on()


def test_a_job_that_dies_costs_the_cell_beside_it_nothing(story: Story) -> None:
    story.goes_wrong("%%snakepit -b -n doomed\nimport os, time\ntime.sleep(0.1)\nos._exit(5)", None)
    assert story.notebook.run("%%snakepit\nsum(range(10**6))").ok().value == "499999500000"
    assert (
        story.value("type(doomed.exception()).__name__, doomed.exception().exit_code")
        == "('WorkerCrashed', 5)"
    )
    story.goes_on()


def test_deaths_one_after_the_other_break_the_pool_with_the_reason_and_the_next_cell_has_a_new_one(
    own_story: Story,
) -> None:
    own_story.notebook.run("%snakepit stop\n%snakepit config --reset deaths").ok()
    for _ in range(6):
        own_story.goes_wrong("%%snakepit\nimport os; os._exit(3)", "WorkerCrashed")
    waiting = own_story.notebook.run("%%snakepit -q\n1").ok()
    assert "6 workers died within 30 s" in (waiting.displays[0]["data"]["text/plain"])
    own_story.goes_on()
