"""Who can reach a worker: nobody who was not handed its socket. Listeners, modes, other users, garbage."""

from __future__ import annotations

import os
import pickle
import random
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from snakepit_nb import Pool, WorkerCrashed, options
from snakepit_nb.pool import process
from snakepit_nb.wire import codec, messages
from tests.kernels import Notebook
from tests.pool.conftest import HANG, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534


@pytest.fixture
def pool() -> Iterator[Pool]:
    with options.override(deaths=10**6, taint=0.0), Pool(2, name="reach") as made:
        yield made.start()


def everybody(pool: Pool) -> list[int]:
    """The nursery and the workers."""
    return [process.nursery(())._process.pid, *(each.pid for each in pool.workers())]


# Listeners


def named_sockets(pid: int) -> list[str]:
    """The names of a process's sockets of the machine: paths and abstract ones."""
    mine = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        target = str(path.readlink())
        if target.startswith("socket:["):
            mine.add(target[8:-1])
    lines = (line.split() for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:])
    return [line[7] for line in lines if line[6] in mine and len(line) > 7]


def test_neither_nursery_nor_workers_listen_or_have_a_named_socket(pool: Pool) -> None:
    pool.submit(abs, -1).result(HANG)
    for pid in everybody(pool):
        assert psutil.Process(pid).net_connections("inet") == []
        assert named_sockets(pid) == []


def test_a_kernel_listens_no_more_with_pools_than_without() -> None:
    with Notebook() as notebook:

        def listens() -> set[Any]:
            found = psutil.Process(notebook.pid).net_connections("inet")
            return {each.laddr for each in found if each.status == psutil.CONN_LISTEN}

        notebook.run("1").ok()
        before = listens()
        notebook.run("%load_ext snakepit_nb").ok()
        notebook.run("%%snakepit\n1").ok()
        assert listens() == before
        assert named_sockets(notebook.pid) == []


# Modes


def test_nothing_is_made_that_others_may_touch_whatever_the_umask(tmp_path: Path) -> None:
    code = """
import os
os.umask(0)
import numpy as np
from snakepit_nb import Pool
with Pool(2) as pool:
    assert pool.submit(np.sum, np.ones(1_000_000)).result(60) == 1_000_000
    pool.submit(os._exit, 3).exception(60)
    modes = {}
    for pid in (os.getpid(), *(each.pid for each in pool.workers())):
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if "snakepit" in target or "snk_" in target:
                    modes[target] = os.stat(f"/proc/{pid}/fd/{name}").st_mode
            except OSError:
                pass
assert modes
print(sorted({oct(mode & 0o077) for mode in modes.values()}))
"""
    home, temp = tmp_path / "home", tmp_path / "temp"
    home.mkdir()
    temp.mkdir()
    for extra in ({}, {"SNAKEPIT_NB_MEMFD": "0"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "HOME": str(home), "TMPDIR": str(temp), "PYTHONPATH": str(ROOT), **extra},
            cwd=temp, capture_output=True, text=True, timeout=HANG, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("['0o0']\n", "")
    assert [*home.rglob("*"), *temp.rglob("*")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_at_neither_descriptors_nor_memory_nor_processes(pool: Pool) -> None:
    pids = everybody(pool)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        got = []
        for pid in pids:
            home = Path(f"/proc/{pid}")
            attempts: list[tuple[Callable[..., object], tuple[object, ...]]] = [
                (os.kill, (pid, signal.SIGTERM)),
                (Path.read_bytes, (home / "mem",)),
                (Path.read_bytes, (home / "environ",)),
                (os.listdir, (home / "fd",)),
                (os.open, (home / "fd" / "3", os.O_RDONLY)),
            ]
            for attempt, arguments in attempts:
                try:
                    attempt(*arguments)
                    got.append("in")
                except PermissionError:
                    got.append("out")
        os.write(writing, " ".join(got).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = os.read(reading, 4096).decode().split()
    os.close(reading)
    assert len(said) == 5 * len(pids)
    assert set(said) == {"out"}


def test_who_is_ended_is_named_by_a_descriptor_and_not_by_a_number_that_may_be_anothers(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_number(*_: object) -> None:
        raise AssertionError("a process was named by its number")  # noqa: EM101, TRY003 - a test's

    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, by_number)
    held = pool.submit(signal.pause)
    assert held.cancel()
    assert pool.submit(abs, -1).result(HANG) == 1


LAST_NUMBER = Path("/proc/sys/kernel/ns_last_pid")


@pytest.mark.skipif(
    not os.access(LAST_NUMBER, os.W_OK), reason="the next process's number cannot be chosen here"
)
def test_another_process_with_the_number_of_a_dead_worker_is_left_alone(pool: Pool) -> None:
    facts = pool.workers()[0]
    worker = pool._supervisor.workers[facts.worker_id]
    # Nobody buries it while this is held, so the pool does not know that it is gone.
    with pool._supervisor.lock:
        os.kill(facts.pid, signal.SIGKILL)
        assert psutil.wait_procs([psutil.Process(facts.pid)], timeout=HANG)[1] == []
        for _ in range(100):  # others start processes, too
            LAST_NUMBER.write_text(str(facts.pid - 1), encoding="ascii")
            with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as other:
                if other.pid == facts.pid:
                    worker.kill()
                    worker.kill(signal.SIGTERM)
                    assert other.stdin is not None
                    other.stdin.close()
                    assert other.wait(HANG) == 0
                    break
        else:
            pytest.skip("the number was taken each time")
    assert pool.submit(abs, -1).result(HANG) == 1


# Garbage


def shout(data: bytes) -> None:
    """In a worker: say this on every socket that it has."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are numbers here
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):  # noqa: PTH115 - as above
                with socket.socket(fileno=os.dup(int(name))) as door:
                    door.setblocking(True)
                    door.send(data)
        except OSError:
            pass


class Touches:
    """A pickle that leaves a mark where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self._path, "w")


def garbage(mark: Path) -> dict[str, bytes]:
    chance = random.Random(11)  # noqa: S311 - the same next time
    bad = pickle.dumps(Touches(mark))
    value = codec.encode(messages.Value(1, 0, 1, b"", b""))
    return {
        "zeros": bytes(4000),
        "noise": chance.randbytes(4000),
        "a_pickle": bad,
        "half_a_message": value[: len(value) // 2],
        "a_huge_length": value[:1] + struct.pack("<Q", 1 << 62) + value[9:],
        "a_message_of_the_kernel": codec.encode(messages.Stop()),
        "an_array_that_is_not_there": codec.encode(messages.Spill(1 << 40, 1 << 40, 7, "k0")),
        "events_that_hold_objects": codec.encode(messages.Events(1, bad)),
        "a_display_that_is_no_json": codec.encode(messages.Display(1, bad)),
        "an_error_that_bites": codec.encode(messages.Error(999_999, 0, 1, bad)),
        "an_answer_to_nobody": codec.encode(messages.Value(999_999, 0, 1, bad, b"")),
    }


@pytest.mark.parametrize("kind", garbage(Path("x")))
def test_garbage_on_every_socket_of_a_worker_costs_that_worker_at_most(
    pool: Pool, tmp_path: Path, kind: str
) -> None:
    mark = tmp_path / "unpickled"
    data = garbage(mark)[kind]
    error = pool.submit(shout, data).exception(HANG)
    assert error is None or isinstance(error, WorkerCrashed), error
    assert [each.result(HANG) for each in [pool.submit(abs, -n) for n in range(20)]] == list(range(20))
    assert not mark.exists()


def test_a_worker_of_another_s_making_cannot_pose_as_ours(pool: Pool) -> None:
    # What is started by name listens to a socket that it inherits: without one there is nothing to talk to.
    code = "from snakepit_nb.worker.nursery import main; main(3)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=HANG, check=False
    )
    assert done.returncode != 0
    assert pool.submit(abs, -1).result(HANG) == 1
