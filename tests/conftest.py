"""What every test is held to: it leaves no process, thread, descriptor or shared segment behind.

*Rule:* a leak fails the test that made it and is named; what may stay is listed here, with its reason.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psutil
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from snakepit_nb.pool.pool import Pool
    from snakepit_nb.pool.process import Nursery

# How fast an example runs on this machine is no property of the code.
settings.register_profile("snakepit_nb", deadline=None)
settings.load_profile("snakepit_nb")

PATIENCE: Final = 10.0  # seconds that something which is ending may take to end
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is written there
# One each per process, made at first use and kept to its end: the kernel's arena.
ONE_MAY_STAY: Final = ("/memfd:snakepit_nb", "/dev/shm/snk_")  # noqa: S108 - with memfd, and without
# Browsers and semaphores of other programs on the machine come and go there.
NOT_OURS: Final = (".org.chromium.", ".com.google.Chrome.", "sem.")


def pytest_report_header() -> str:
    """Which kernel the tests of kernels run in."""
    return f"ipykernel: {version('ipykernel')}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What this process has at one moment."""

    processes: frozenset[psutil.Process]
    threads: frozenset[threading.Thread]
    descriptors: Mapping[int, str]
    segments: frozenset[str]

    @classmethod
    def taken(cls) -> Self:
        """The inventory of now."""
        return cls(_processes(), frozenset(threading.enumerate()), _descriptors(), _segments())

    def left(self) -> list[str]:
        """What is there now and was not then, after a wait for what is about to end; one line each."""
        leaks = []
        new = _processes() - self.processes - _nurseries()
        _, alive = psutil.wait_procs(new, timeout=PATIENCE)
        leaks += [f"process {_told(process)}" for process in alive]
        for thread in set(threading.enumerate()) - self.threads - {threading.current_thread()}:
            thread.join(PATIENCE)
            if thread.is_alive():
                leaks.append(f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}")
        if self._new_descriptors():
            gc.collect()
            leaks += [f"descriptor {number}: {target}" for number, target in self._new_descriptors()]
        leaks += [f"shared memory {SHARED_MEMORY / name}" for name in sorted(_segments() - self.segments)]
        return leaks

    def _new_descriptors(self) -> list[tuple[int, str]]:
        """The new ones where there are more than before: one that took another's place is none."""
        warm = _nursery_sockets()
        now = {number: target for number, target in _descriptors().items() if number not in warm}
        for kind in ONE_MAY_STAY:
            if not any(target.startswith(kind) for target in self.descriptors.values()):
                first = next((number for number, target in now.items() if target.startswith(kind)), -1)
                now.pop(first, None)
        if len(now) <= len(self.descriptors):
            return []
        return [(number, target) for number, target in now.items() if self.descriptors.get(number) != target]


def _processes() -> frozenset[psutil.Process]:
    try:
        direct = any(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    except OSError:  # a thread ended meanwhile, or the platform has no such files
        direct = True
    return frozenset(psutil.Process().children(recursive=True)) if direct else frozenset()


def _told(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline()) or process.name()} ({process.status()})"
    except psutil.Error:
        return str(process.pid)


def _descriptors() -> dict[int, str]:
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that the listing itself used
            found[int(path.name)] = str(path.readlink())
    return found


def _segments() -> frozenset[str]:
    if not SHARED_MEMORY.is_dir():
        return frozenset()
    return frozenset(path.name for path in SHARED_MEMORY.iterdir() if not path.name.startswith(NOT_OURS))


def _nurseries() -> frozenset[psutil.Process]:
    """The warm processes that workers are forked from: kept between tests as between a notebook's pools."""
    return frozenset(psutil.Process(each._process.pid) for each in _warm() if each.alive)


def _nursery_sockets() -> frozenset[int]:
    return frozenset(each._sock.fileno() for each in _warm())


def _warm() -> list[Nursery]:
    module = sys.modules.get("snakepit_nb.pool.process")
    return list(module._nurseries.values()) if module is not None else []


def _end_the_workers_event_loop() -> None:
    """A worker keeps one to its end; a test that plays worker in this process has come to it."""
    module: Any = sys.modules.get("snakepit_nb.worker.namespace")
    if module is not None and module._past.runner is not None:
        module._past.runner.close()
        module._past.runner = None


def _held_by_name() -> list[Pool]:
    """The pools that cells and magics made; one that a test made itself is the test's to close."""
    module: Any = sys.modules.get("snakepit_nb.registry")
    return list(module._held.values()) if module is not None else []


@pytest.fixture(scope="session")
def clients_event_loop() -> Iterator[None]:
    """A kernel's client makes one at its first use and keeps it: made before a test looks for leaks."""
    from jupyter_core.utils import ensure_event_loop

    loop = ensure_event_loop()
    yield
    loop.close()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves something behind; the pools that notebooks hold by name are ended for it."""
    held = _held_by_name()
    before = Inventory.taken()
    yield
    for pool in _held_by_name():
        if pool not in held:
            pool.kill()
    _end_the_workers_event_loop()
    leaks = before.left()
    if leaks:
        pytest.fail("this test left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_at_the_end() -> Iterator[None]:
    """Fail the session where the last nursery does not end, or a worker outlives it."""
    before = Inventory.taken()
    yield
    registry = sys.modules.get("snakepit_nb.registry")
    if registry is not None:
        registry.shutdown()
    elif "snakepit_nb.pool.process" in sys.modules:
        sys.modules["snakepit_nb.pool.process"].close_nurseries()
    _, alive = psutil.wait_procs(_processes() - before.processes, timeout=PATIENCE)
    if alive:
        pytest.fail("these outlive all tests:\n  " + "\n  ".join(map(_told, alive)), pytrace=False)
