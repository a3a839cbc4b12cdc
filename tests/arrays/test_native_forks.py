"""Children that a user forks, and processes that end with their kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from snakepit_nb.arrays import native
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.native import NativeArena

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

ROOT: Final = Path(__file__).parents[2]
MIB: Final = 1 << 20
N: Final = MIB // 4


@pytest.fixture
def arena() -> Iterator[NativeArena]:
    """An arena that NumPy allocates in."""
    made = NativeArena(1 << 32, budget=512 * MIB, warm_bytes=128 * MIB)
    assert native.install(made)
    yield made
    native.uninstall()
    made.close()


class Child:
    """A fork of this process that does one thing when it is told to, and says whether it found all well."""

    def __init__(self, work: Callable[[], bool]) -> None:
        told, self._tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 2
            try:
                os.close(self._tell)
                os.read(told, 1)
                status = 0 if work() else 1
            finally:
                os._exit(status)
        os.close(told)

    def found_all_well(self) -> bool:
        """Let it work, and wait for it."""
        os.close(self._tell)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status) == 0


def test_a_forked_child_reads_what_was_there_and_cannot_change_it(arena: NativeArena) -> None:
    array = np.arange(float(N))

    def work() -> bool:
        good = bool(array[N - 1] == N - 1)
        array[:] = -1
        return good and bool(array.sum() == -N)

    assert Child(work).found_all_well()
    assert array[N - 1] == N - 1
    assert arena.live_bytes == array.nbytes


def test_a_forked_child_computes_resizes_and_frees_with_memory_of_its_own(arena: NativeArena) -> None:
    array = np.ones(N)

    def work() -> bool:
        nonlocal array
        other = np.arange(float(N)) + array
        array.resize(2 * N, refcheck=False)
        good = other[N - 1] == N and array.sum() == N and not np.zeros(N).any()
        good = good and arena.find(array.ctypes.data, 8) is None
        del array
        try:
            arena.allocate(MIB)
        except ArenaFull:
            return bool(good)
        return False

    assert Child(work).found_all_well()
    assert array.sum() == N
    assert np.ones(N).sum() == N


def test_what_a_forked_child_still_reads_is_not_used_again_until_it_has_ended(arena: NativeArena) -> None:
    lent = [np.arange(float(N))]
    child = Child(lambda: bool(lent[0][0] == 0 and lent[0][N - 1] == N - 1))
    nbytes = lent.pop().nbytes
    assert arena.stats().kept_bytes == nbytes
    others = [np.full(N, -1.0) for _ in range(8)]
    arena.trim()
    # The child popped nothing: its list is as it was at the fork.
    assert child.found_all_well()
    assert arena.stats().kept_bytes == 0
    assert arena.live_bytes == nbytes * len(others)


def test_an_array_that_a_forked_child_reads_moves_when_it_is_resized(arena: NativeArena) -> None:
    array = np.arange(float(N))
    child = Child(lambda: bool(array.size == N and array[N - 1] == N - 1))
    array.resize(N // 2, refcheck=False)
    np.full(N // 2, -1.0).sum()
    assert child.found_all_well()
    assert array[-1] == N // 2 - 1
    assert arena.stats().kept_bytes == 0


def test_arrays_that_come_after_a_fork_are_used_again_at_once(arena: NativeArena) -> None:
    before = np.ones(N)
    child = Child(lambda: bool(before.sum() == N))
    for _ in range(20):
        np.ones(N).sum()
    assert arena.stats().kept_bytes == 0
    assert arena.stats().warm_hits >= 18
    assert child.found_all_well()


def test_a_fork_without_arrays_costs_no_descriptor() -> None:
    # In a process of its own: the arena of this one may have arrays that other tests left in it.
    script = """
import os
from snakepit_nb.arrays.native import NativeArena, install
arena = NativeArena(1 << 28)
install(arena)
before = os.listdir("/proc/self/fd")
told, tell = os.pipe()
child = os.fork()
if child == 0:
    os.close(tell)
    os.read(told, 1)
    os._exit(0)
after = os.listdir("/proc/self/fd")
os.close(tell)
os.waitpid(child, 0)
print(len(after) - len(before))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"  # the test's own pipe


def test_a_program_that_is_started_runs_as_ever(arena: NativeArena) -> None:
    array = np.ones(N)
    for close_fds in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", "print(1)"], capture_output=True, close_fds=close_fds, check=True
        )
        assert done.stdout == b"1\n"
    done = subprocess.run([sys.executable, "-c", ""], preexec_fn=lambda: None, check=True)  # so that it forks
    assert done.returncode == 0
    assert arena.stats().kept_bytes == 0
    assert array.sum() == N


def fresh(code: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """An interpreter of its own that runs this code."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


WATCHED: Final = """
from snakepit_nb.arrays import native
assert native.watch(0, 41)
assert not native.watch(0, 42)
print("watching", flush=True)
{}
"""


@pytest.mark.parametrize(
    "busy",
    [
        "while True: pass",
        "10 ** 10 ** 9",
        "import ctypes; ctypes.PyDLL(None).pause()",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); import time; time.sleep(100)",
    ],
)
def test_a_process_ends_when_its_kernel_is_gone_whatever_it_does(busy: str) -> None:
    with fresh(WATCHED.format(busy)) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "watching\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 41


def test_code_that_closes_the_watched_descriptor_does_not_get_rid_of_the_watcher() -> None:
    code = "import os; os.close(0); print('closed', flush=True)\nwhile True: pass"
    with fresh(WATCHED.format(code)) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "watching\n"
        assert process.stdout.readline() == "closed\n"
        process.stdin.close()
        assert process.wait(30) == 41


INTERPOSED: Final = """
import ctypes, os, threading
from snakepit_nb.arrays import native
from snakepit_nb.arrays.native import NativeArena

libc = ctypes.CDLL(None)
for name in ("malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "memalign", "valloc"):
    getattr(libc, name).restype = ctypes.c_void_p
size = ctypes.c_size_t
libc.malloc.argtypes = (size,)
libc.calloc.argtypes = libc.aligned_alloc.argtypes = libc.memalign.argtypes = (size, size)
libc.realloc.argtypes = (ctypes.c_void_p, size)
libc.reallocarray.argtypes = (ctypes.c_void_p, size, size)
libc.free.argtypes = libc.malloc_usable_size.argtypes = (ctypes.c_void_p,)
libc.malloc_usable_size.restype = size
MIB = 1 << 20

before = libc.malloc(4 * MIB)
ctypes.memset(before, 3, 4 * MIB)
arena = NativeArena(1 << 32, budget=256 * MIB, warm_bytes=64 * MIB)
assert native.interpose(arena)

def inside(pointer):
    return arena.address <= pointer < arena.address + arena.nbytes

def holds(pointer, nbytes, value):
    return ctypes.string_at(pointer, nbytes) == bytes([value]) * nbytes

"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "small, large = libc.malloc(1000), libc.malloc(MIB)\n"
            "assert not inside(small) and inside(large) and libc.malloc_usable_size(large) == MIB\n"
            "libc.free(small); libc.free(large)\n"
            "assert arena.live_bytes == 0",
            id="malloc",
        ),
        pytest.param(
            "p = libc.malloc(3 * MIB); ctypes.memset(p, 9, 3 * MIB); libc.free(p)\n"
            "p = libc.calloc(3, MIB)\n"
            "assert inside(p) and holds(p, 3 * MIB, 0)\n"
            "assert not libc.calloc(1 << 40, 1 << 40)",
            id="calloc",
        ),
        pytest.param(
            "p = libc.malloc(1000); ctypes.memset(p, 7, 1000)\n"
            "for n in (2 * MIB, 8 * MIB, MIB, 2000, 5 * MIB, MIB // 2):\n"
            "    p = libc.realloc(p, n)\n"
            "    assert holds(p, 1000, 7) and inside(p) == (n >= MIB), n\n"
            "p = libc.reallocarray(p, 4, MIB)\n"
            "assert holds(p, 1000, 7) and inside(p)\n"
            "assert not libc.reallocarray(p, 1 << 40, 1 << 40)\n"
            "libc.realloc(p, 0)\n"
            "assert arena.live_bytes == 0",
            id="realloc",
        ),
        pytest.param(
            "assert not inside(before)\n"
            "p = libc.realloc(before, 6 * MIB)\n"
            "assert holds(p, 4 * MIB, 3)\n"
            "libc.free(p)",
            id="what was there before",
        ),
        pytest.param(
            "for shift in range(4, 24):\n"
            "    for take in (libc.aligned_alloc, libc.memalign):\n"
            "        p = take(1 << shift, 2 * MIB)\n"
            "        assert p % (1 << shift) == 0 and inside(p) == (shift <= 21), shift\n"
            "        libc.free(p)\n"
            "out = ctypes.c_void_p()\n"
            "assert libc.posix_memalign(ctypes.byref(out), 64, size(MIB)) == 0 and inside(out.value)\n"
            "libc.free(out)\n"
            "assert libc.posix_memalign(ctypes.byref(out), 3, size(MIB)) == 22\n"
            "libc.free(libc.valloc(MIB))\n"
            "assert arena.live_bytes == 0",
            id="aligned",
        ),
        pytest.param(
            "import numpy as np\n"
            "x = np.ones(MIB)\n"
            "assert native.install(arena)\n"
            "y = np.ones(MIB)\n"
            "for array in (x, y):\n"
            "    block = arena.find(array.ctypes.data, array.nbytes)\n"
            "    assert arena.holders(block) == 2\n"
            "    arena.free(block)\n"
            "assert arena.live_bytes == 2 * x.nbytes\n"
            "z = np.ones(40 * MIB)\n"
            "assert not inside(z.ctypes.data)\n"
            "z.resize(41 * MIB, refcheck=False)\n"
            "del x, y, z, array\n"
            "assert arena.live_bytes == 0",
            id="together with NumPy's handler",
        ),
        pytest.param(
            "data = b'x' * (3 * MIB)\n"
            "assert data.count(b'x') == 3 * MIB and arena.live_bytes >= 3 * MIB\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    more = data + data\n"
            "    good = more.count(b'x') == 6 * MIB and not inside(libc.malloc(MIB))\n"
            "    del data\n"
            "    os._exit(0 if good else 1)\n"
            "assert os.waitpid(pid, 0)[1] == 0\n"
            "assert data.count(b'x') == 3 * MIB",
            id="fork",
        ),
        pytest.param(
            "wrong = []\n"
            "def work(number):\n"
            "    for turn in range(200):\n"
            "        data = bytearray([number]) * (MIB + turn * 1000)\n"
            "        data += data\n"
            "        if data.count(number) != len(data): wrong.append(turn)\n"
            "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
            "for t in threads: t.start()\n"
            "for t in threads: t.join()\n"
            "assert not wrong and arena.live_bytes == 0",
            id="threads",
        ),
        pytest.param(
            "p = libc.malloc(2 * MIB); ctypes.memset(p, 5, 2 * MIB)\n"
            "arena.close()\n"
            "assert holds(p, 2 * MIB, 5) and not inside(libc.malloc(2 * MIB))\n"
            "libc.free(libc.realloc(p, 3 * MIB))\n"
            "libc.free(libc.malloc(64 * MIB))",
            id="closed",
        ),
    ],
)
def test_malloc_of_a_worker_allocates_large_pieces_in_the_arena(code: str) -> None:
    env = native.preload_environment()
    if not env:
        pytest.skip("malloc can be interposed with the GNU C library alone")
    with fresh(INTERPOSED + code + "\nprint('well')", env) as process:
        out, err = process.communicate()
    assert (out, process.returncode) == ("well\n", 0), err


def test_preloading_alone_changes_nothing() -> None:
    code = "import numpy; print(numpy.ones(1 << 22).sum())"
    with fresh(code, native.preload_environment()) as process:
        assert process.communicate() == ("4194304.0\n", "")


def test_a_process_with_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")
    assert native.preload_environment() == {}
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libeatmydata.so")
    both = native.preload_environment()
    assert not both or both["LD_PRELOAD"].endswith("_interpose.so:/usr/lib/libeatmydata.so")
