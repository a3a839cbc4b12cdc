"""Stories: something bad happens in a notebook, the next cell works, names are as before, nothing is left.

*Rule:* one kernel goes through all stories of a module, each with a pool of its own; what one leaves behind
fails it: a process, thread, descriptor or loan, a changed name, an event that the catalogue does not know.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from tests.conftest import SHARED_MEMORY
from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernels import CellOutcome

PATIENCE: Final = 60.0  # seconds after which a story is given up; none should come near it
_ENVELOPE: Final = {"time_ns", "monotonic_ns", "pid", "request_id", "pool"}
PRELUDE: Final = """
import ast, gc, os, signal, sys, threading, time
import numpy as np, psutil
%load_ext snakepit_nb
from snakepit_nb import Pool, events, get_pool, options, registry, telemetry, testing
from snakepit_nb.pool import loans, process
from concurrent.futures import wait

print("x" * 1_000_000)  # has pyzmq start the thread that it keeps from its first large message on

def double(number):
    return 2 * number

_seen = testing.capture_events("snakepit")
_ = _seen.__enter__()

def _held():
    gc.collect()
    here = psutil.Process()
    ours = {each._process.pid for each in process._nurseries.values()}
    left = {child.pid for child in here.children(recursive=True)} - ours
    # What shows output ends by itself when there was none for a while.
    threads = sum(thread.name != "snakepit-output" for thread in threading.enumerate())
    return len(_descriptors()), threads, loans.kernel_store().stats().leases, len(left)

def _descriptors():
    "All but those that come and go: IPython's history; and zmq's, ten seconds after the end of a thread."
    found = []
    for each in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{each}"))
        except FileNotFoundError:
            continue
    return sorted(each for each in found if "/ipython/" not in each and "eventfd" not in each)

def _calm(most):
    "What is held, once it is no more than that, or time is up."
    until = time.monotonic() + 10
    while True:
        found = _held()
        if all(now <= then for now, then in zip(found, most)) or time.monotonic() > until:
            return found
        time.sleep(0.01)
"""
NAMES: Final = "x, names = np.arange(200_000.0), {'a': [1, 2], 'b': 'text'}"
AS_BEFORE: Final = "(float(x.sum()), float(x[7]), names, double(4))"
EXPECTED: Final = (19999900000.0, 7.0, {"a": [1, 2], "b": "text"}, 8)


class Story:
    """A notebook in which something is about to happen, and what it tells of it."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook

    def run(self, code: str, timeout: float = PATIENCE) -> CellOutcome:
        """An ordinary cell."""
        return self.notebook.run(code, timeout)

    def cell(self, body: str, line: str = "", timeout: float = PATIENCE) -> CellOutcome:
        """A cell that runs in a worker."""
        return self.notebook.run(f"%%snakepit {line}\n{body}", timeout)

    def value(self, expression: str) -> Any:
        """What an ordinary cell says that an expression is."""
        return ast.literal_eval(self.run(expression).ok().value or "None")

    def pids(self) -> set[int]:
        """The processes of the default pool's workers."""
        return set(self.value("[worker.pid for worker in get_pool().workers()]"))

    def begin(self, arguments: str = "", **chosen: object) -> None:
        """A new pool of two workers, ready."""
        if chosen:
            self.run(f"options.adopt({chosen})").ok()
        self.run(
            f"_ = [registry.stop() for pool in registry.live_pools() if pool.name == 'default']\n"
            f"_seen.clear()\n_ = registry.start(workers=2, {arguments})\n"
            f"_ = _seen.wait_for('snakepit.worker.started', 2, {PATIENCE})\n_seen.clear()"
        ).ok()

    def told(self, name: str, count: int = 0, **facts: object) -> list[dict[str, Any]]:
        """The metadata of all events of a name so far, with these facts, once there are `count` of them."""
        asked = f"_seen.wait_for('snakepit.{name}', {count}, {PATIENCE}, **{facts})"
        found = self.value(f"[dict(event.metadata) for event in {asked}]")
        return [{key: each[key] for key in each if key not in _ENVELOPE} for each in found]

    def counts(self, *names: str) -> dict[str, int]:
        """How many events there were of each of these names; those that none are left out."""
        wanted = [f"snakepit.{name}" for name in names]
        found = self.value(
            f"{{name: _seen.names().count(name) for name in {wanted} if name in _seen.names()}}"
        )
        return {name.removeprefix("snakepit."): number for name, number in found.items()}

    def as_before(self) -> None:
        """The next cell works, here and there, and all names are what they were."""
        assert ast.literal_eval(self.cell(AS_BEFORE).ok().value or "") == EXPECTED
        assert self.value(AS_BEFORE) == EXPECTED

    def well_told(self) -> None:
        """Every event so far is one that the catalogue knows."""
        wrong = "[each for e in _seen for each in events.check(e.name, e.measurements, e.metadata)]"
        assert self.value(f"{wrong} if True else 0") == []


def died(cell: CellOutcome) -> str:
    """What a cell says whose worker died."""
    assert cell.error is not None, str(cell)
    assert cell.error.ename == "WorkerCrashed", cell.error.text
    assert "only this request failed, the pool serves on" in cell.error.evalue
    return cell.error.evalue


def error(cell: CellOutcome) -> tuple[str, str]:
    """The type and text of a cell's error."""
    assert cell.error is not None, str(cell)
    return cell.error.ename, cell.error.evalue


def opened(**how: Any) -> Iterator[tuple[Story, tuple[int, ...]]]:
    """A kernel, and what it holds when its pool has come and gone."""
    with Notebook(**how) as notebook:
        story = Story(notebook)
        story.run(PRELUDE).ok()
        story.run(NAMES).ok()
        story.begin()
        story.as_before()
        story.run("%snakepit stop").ok()
        notebook.wait_until(lambda: len(notebook.descendants()) <= 1, what="the workers to end")
        yield story, story.value("_held()")


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[Story, tuple[int, ...]]]:
    """The kernel of a module's stories."""
    yield from opened()


@pytest.fixture
def own_story() -> Iterator[Story]:
    """A story in a kernel that does not outlive it."""
    for told, _ in opened():
        told.begin()
        yield told
        told.as_before()
        told.well_told()


@pytest.fixture
def story(kernel: tuple[Story, tuple[int, ...]]) -> Iterator[Story]:
    """A story in the module's kernel; at its end all is as it was."""
    told, held = kernel
    told.begin()
    defaults = told.value("{name: getattr(options.current(), name) for name in options.Options.sentences()}")
    yield told
    told.as_before()
    told.well_told()
    told.run(f"options.adopt({defaults})\n_ = [pool.kill() for pool in registry.live_pools()]").ok()
    found = told.value(f"_calm({held})")
    assert all(now <= then for now, then in zip(found, held, strict=True)), f"left: {found}, before: {held}"


def segments() -> set[str]:
    """The named shared memory that is ours."""
    names = {path.name for path in SHARED_MEMORY.iterdir()} if SHARED_MEMORY.is_dir() else set()
    return {name for name in names if name.startswith("snk_") or "snakepit" in name}


def ended(processes: list[psutil.Process]) -> bool:
    """Whether all of these end."""
    return not psutil.wait_procs(processes, timeout=PATIENCE)[1]


def state(pid: int) -> str:
    """The state of a process as the system names it: R, S, T, Z and others."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
