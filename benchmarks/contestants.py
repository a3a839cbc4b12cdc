"""Who is measured: this package, its peers, and what nobody with a Python at each end can beat.

*Rule:* all run the same function, one that does nothing, in pools of two that have been warmed up.
*Rule:* each runs in a process of its own (`host`), where no other one's threads wait.
"""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rounds import fresh

from snakepit_nb import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

WORKERS: Final = 2
US: Final = "snakepit_nb"
BATCHED: Final = "multiprocessing.Pool"
PING_PONG: Final = ("ping-pong, STREAM", "ping-pong, SEQPACKET")
FLOOR: Final = "ping-pong, polling"
FORK: Final = "os.fork and wait"

# Takes nothing, does nothing, and every process can import it by name.
noop = gc.isenabled


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way of having another process call `noop`.

    Attributes:
        name: What the tables call it.
        call: One call, to its answer.
        burst: So many calls at once, to the last answer; None where there is no such thing.
        share: The part of the calls that it is asked for: who takes milliseconds for each needs fewer.
    """

    name: str
    call: Callable[[], object]
    burst: Callable[[int], object] | None = None
    share: float = 1.0


def warmed_up(contestant: Contestant) -> Contestant:
    """The contestant, after its first calls: some pools start their processes only then."""
    for _ in range(10):
        contestant.call()
    if contestant.burst is not None:
        contestant.burst(200)
    return contestant


def submitting(name: str, pool: concurrent.futures.Executor) -> Contestant:
    """Any executor."""

    def burst(calls: int) -> None:
        for each in [pool.submit(noop) for _ in range(calls)]:
            each.result()

    return warmed_up(Contestant(name, lambda: pool.submit(noop).result(), burst))


@contextmanager
def ours() -> Iterator[Contestant]:
    """`snakepit_nb.Pool`."""
    with Pool(WORKERS, name="dispatch") as pool:
        yield submitting(US, pool)


@contextmanager
def executor(method: str) -> Iterator[Contestant]:
    """`concurrent.futures.ProcessPoolExecutor` over one start method."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        yield submitting(f"ProcessPoolExecutor, {method}", pool)


@contextmanager
def multiprocessing_pool() -> Iterator[Contestant]:
    """`multiprocessing.Pool`, with `apply` and `apply_async`."""
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:

        def burst(calls: int) -> None:
            for each in [pool.apply_async(noop) for _ in range(calls)]:
                each.get()

        yield warmed_up(Contestant(BATCHED, lambda: pool.apply(noop), burst))


@contextmanager
def pebble_pool() -> Iterator[Contestant]:
    """`pebble.ProcessPool`, with `schedule`."""
    import pebble  # noqa: PLC0415 - a peer that is not installed is left out

    with pebble.ProcessPool(WORKERS, context=multiprocessing.get_context("fork")) as pool:

        def burst(calls: int) -> None:
            for each in [pool.schedule(noop) for _ in range(calls)]:
                each.result()

        yield warmed_up(Contestant("pebble", lambda: pool.schedule(noop).result(), burst))


@contextmanager
def loky_pool() -> Iterator[Contestant]:
    """`loky.ProcessPoolExecutor`."""
    import loky  # noqa: PLC0415 - a peer that is not installed is left out

    with loky.ProcessPoolExecutor(WORKERS) as pool:
        yield submitting("loky", pool)


@contextmanager
def joblib_parallel() -> Iterator[Contestant]:
    """`joblib.Parallel`, which has no single call: one is a batch of one."""
    import joblib  # noqa: PLC0415 - a peer that is not installed is left out

    with joblib.Parallel(n_jobs=WORKERS, batch_size=1) as parallel:

        def burst(calls: int) -> None:
            parallel(joblib.delayed(noop)() for _ in range(calls))

        yield warmed_up(Contestant("joblib", lambda: burst(1), burst, share=0.05))


# Sends back what comes; it polls so many times before it sleeps.
_ECHO: Final = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
polls = range(int(sys.argv[2]))
while True:
    for _ in polls:
        try:
            data = sock.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        break
    else:
        data = sock.recv(65536)
    if not data:
        break
    sock.send(data)
"""
_BALL: Final = bytes(100)
# Enough to be polling still when the next ball comes, too few to take a core from the next contestant.
_POLLS: Final = 20_000


@contextmanager
def ping_pong(name: str, kind: socket.SocketKind, *, polling: bool = False) -> Iterator[Contestant]:
    """Two Python processes and a pair of sockets: each sleeps until the ball comes, or polls for it."""
    near, far = socket.socketpair(socket.AF_UNIX, kind)
    with far:
        number = far.fileno()
        command = [sys.executable, "-S", "-c", _ECHO, str(number), str(_POLLS if polling else 0)]
        echo = subprocess.Popen(command, pass_fds=[number])

    def call() -> None:
        near.send(_BALL)
        near.recv(65536)

    def poll() -> None:
        near.send(_BALL)
        while True:
            with suppress(BlockingIOError):
                near.recv(65536, socket.MSG_DONTWAIT)
                return

    yield warmed_up(Contestant(name, poll if polling else call))
    # Not close() alone: a pool that forks later workers has copies of this end in them.
    near.shutdown(socket.SHUT_RDWR)
    near.close()
    echo.wait()


_FORKS: Final = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    print(time.perf_counter() - began)
"""


def forks(count: int, before: str = "") -> list[float]:
    """Seconds of `os.fork` and `os.waitpid`, each time, in a process that ran `before` and nothing else."""
    return [float(line) for line in fresh(f"{before}\n{_FORKS}", str(count)).split()]


CONTESTANTS: Final[dict[str, Callable[[], AbstractContextManager[Contestant]]]] = {
    US: ours,
    "ProcessPoolExecutor, fork": lambda: executor("fork"),
    BATCHED: multiprocessing_pool,
    "pebble": pebble_pool,
    "ProcessPoolExecutor, forkserver": lambda: executor("forkserver"),
    "loky": loky_pool,
    "joblib": joblib_parallel,
    PING_PONG[0]: lambda: ping_pong(PING_PONG[0], socket.SOCK_STREAM),
    PING_PONG[1]: lambda: ping_pong(PING_PONG[1], socket.SOCK_SEQPACKET),
    FLOOR: lambda: ping_pong(FLOOR, socket.SOCK_SEQPACKET, polling=True),
}
