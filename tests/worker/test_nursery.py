"""The process that workers are forked from: it forks, reports each end, and ends with its kernel."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from snakepit_nb import options
from snakepit_nb.errors.types import PoolError
from snakepit_nb.pool import blackbox, loans, process
from snakepit_nb.pool.process import Nursery, NurseryGone, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

HANG = 60.0


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery(())
    yield made
    made.close()


def ended(fd: int) -> bytes:
    """What a descriptor says once it can be read."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(HANG * 1000), "nothing comes"
    return os.read(fd, 4096)


class Ends:
    """The seven descriptors that a worker is given, and the kernel's ends of them."""

    def __init__(self) -> None:
        self.ours, self.theirs = [], []
        for _ in range(2):
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.ours.append(near.detach())
            self.theirs.append(far.detach())
        for kind in ("out", "err", "heart", "box", "note"):
            if kind == "box":
                self.theirs.append(blackbox.opened())
                continue
            if kind == "heart":
                near, far = socket.socketpair()
                self.ours.append(near.detach())
                self.theirs.append(far.detach())
                continue
            read, write = os.pipe()
            self.ours.append(read)
            self.theirs.append(write)

    def __enter__(self) -> Self:
        return self

    def fork(self, nursery: Nursery) -> int:
        spec = {
            "worker_id": "n-0",
            "pool": "n",
            "cwd": os.getcwd(),  # noqa: PTH109 - a string is what travels
            "environ": dict(os.environ),
            "sys_path": process._search_path(),
            "arena": "",
            "options": {},
        }
        pid, pidfd = nursery.fork(spec, tuple(self.theirs))
        os.close(pidfd)
        return pid

    def let_go(self) -> None:
        """Close the worker's ends, as the kernel does."""
        while self.theirs:
            os.close(self.theirs.pop())

    def __exit__(self, *_: object) -> None:
        self.let_go()
        for fd in self.ours:
            os.close(fd)


def test_it_is_one_thread_without_the_kernels_sockets(nursery: Nursery) -> None:
    seen = psutil.Process(nursery._process.pid)
    assert seen.num_threads() == 1
    assert os.getsid(seen.pid) != os.getsid(0)
    ours = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if _there(fd.name)}
    theirs = {str(fd.readlink()) for fd in Path(f"/proc/{seen.pid}/fd").iterdir()}
    assert not {each for each in ours & theirs if each.startswith("socket")}


def _there(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_worker_that_ends_is_reported_with_its_exit_code_and_memory(nursery: Nursery) -> None:
    with Ends() as ends:
        pid = ends.fork(nursery)
        ends.let_go()
        assert ended(ends.ours[0])  # its hello
        os.kill(pid, signal.SIGTERM)
        note = json.loads(ended(ends.ours[5]))
        assert (note["pid"], note["exit_code"]) == (pid, -signal.SIGTERM)
        assert note["memory_kb"] > 1_000
        assert ended(ends.ours[5]) == b""
    assert not psutil.pid_exists(pid)


def test_it_ends_with_its_kernel_and_takes_the_workers_along(nursery: Nursery) -> None:
    with Ends() as ends:
        worker = psutil.Process(ends.fork(nursery))
        itself = psutil.Process(nursery._process.pid)
        nursery._sock.close()
        assert not psutil.wait_procs([worker, itself], timeout=HANG)[1]


def test_its_own_death_takes_the_workers_along(nursery: Nursery) -> None:
    with Ends() as ends:
        worker = psutil.Process(ends.fork(nursery))
        os.kill(nursery._process.pid, signal.SIGKILL)
        assert not psutil.wait_procs([worker], timeout=HANG)[1]
        with pytest.raises(NurseryGone):
            ends.fork(nursery)


def test_an_interrupt_of_its_group_is_ignored(nursery: Nursery) -> None:
    os.kill(nursery._process.pid, signal.SIGINT)
    with Ends() as ends:
        assert ends.fork(nursery)
    assert nursery.alive


def test_a_preload_that_fails_is_named_and_the_nursery_lives_on() -> None:
    made = Nursery(("no_such_module_here",))
    try:
        with Ends() as ends, pytest.raises(PoolError, match="no_such_module_here"):
            ends.fork(made)
        assert made.alive
    finally:
        made.close()


def test_a_request_without_its_descriptors_is_refused_and_the_nursery_lives_on(nursery: Nursery) -> None:
    with pytest.raises(PoolError, match="no worker can be forked"):
        nursery.fork({"worker_id": "n-0"}, ())
    with Ends() as ends:
        assert ends.fork(nursery)


def test_closing_it_twice_is_fine(nursery: Nursery) -> None:
    nursery.close()
    nursery.close()
    assert not nursery.alive


def test_one_that_does_not_end_by_itself_is_killed(nursery: Nursery) -> None:
    os.kill(nursery._process.pid, signal.SIGSTOP)
    nursery.close()
    assert not nursery.alive


def test_the_same_preload_has_the_same_nursery_and_another_one_its_own() -> None:
    first = process.nursery(())
    assert process.nursery(()) is first
    other = process.nursery(("json",))
    try:
        assert other is not first
    finally:
        process._discard(("json",))
    assert not other.alive


def test_a_worker_that_cannot_be_forked_leaves_no_descriptor() -> None:
    store = loans.kernel_store()
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with pytest.raises(PoolError):
            WorkerProcess("w-0", "w", store, ("no_such_module_here",), options.current())
    process._discard(("no_such_module_here",))
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before
