"""What tests of real workers share: a pool of two, and tasks that a test can hold and let go."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import psutil
import pytest

from snakepit_nb import Pool

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterator


T = TypeVar("T")
ROOT: Final = Path(__file__).parents[2]
HANG: Final = 60.0  # seconds after which a test gives up; nothing here should come near it


class Gate:
    """A task that says when it runs, and ends when it is let go; by named pipes: nobody looks twice."""

    def __init__(self, folder: Path) -> None:
        self._began, self._go = folder / "began", folder / "go"
        for path in (self._began, self._go):
            os.mkfifo(path)

    @property
    def task(self) -> Callable[[object], object]:
        """What a worker is to run; it gives back what it was given."""
        began, go = str(self._began), str(self._go)

        def held(value: object = None) -> object:
            with open(began, "w"):  # noqa: PTH123 - travels by value, and needs no more than this
                pass
            with open(go) as wait:  # noqa: PTH123 - as above
                wait.read()
            return value

        return held

    def wait_begun(self) -> None:
        """Return once a worker runs the task."""
        self._began.read_bytes()

    def open(self) -> None:
        """Let the task end."""
        self._go.write_bytes(b"")

    def open_after_begin(self) -> None:
        """Let the task end once it runs."""
        self.wait_begun()
        self.open()


class Log:
    """A file that tasks append lines to: what ran, and how often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    @property
    def task(self) -> Callable[[object], object]:
        """A task that notes its argument and gives it back."""
        path = str(self.path)

        def noted(what: object) -> object:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.write(fd, f"{what}\n".encode())
            os.close(fd)
            return what

        return noted

    def lines(self) -> list[str]:
        """What ran, in order."""
        return self.path.read_text().split()


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Two workers that serve."""
    made = Pool(2, name="test").start()
    yield made
    made.kill()


@pytest.fixture
def gates(tmp_path: Path) -> Callable[[], Gate]:
    """Makes gates."""
    numbers = itertools.count()

    def make() -> Gate:
        folder = tmp_path / f"gate{next(numbers)}"
        folder.mkdir()
        return Gate(folder)

    return make


@pytest.fixture
def gate(gates: Callable[[], Gate]) -> Gate:
    """One gate."""
    return gates()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """One log."""
    return Log(tmp_path / "log")


def pids(pool: Pool) -> set[int]:
    """The processes of a pool's workers."""
    return {worker.pid for worker in pool.workers()}


def gone(numbers: list[int] | set[int]) -> bool:
    """Whether these processes end, now or within the time that a test may hang."""
    processes = []
    for number in numbers:
        try:
            processes.append(psutil.Process(number))
        except psutil.NoSuchProcess:
            continue
    return not psutil.wait_procs(processes, timeout=HANG)[1]


def outcome(future: concurrent.futures.Future[T]) -> BaseException | None:
    """The exception of a future, or None; fails where it does not end."""
    return future.exception(HANG)


def script(code: str) -> subprocess.Popen[str]:
    """A plain Python program that uses the package, started."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
