"""What is measured of a contestant: ways of passing arrays, plain copies to compare with, and memory.

*Rule:* each measure is a context that makes its arrays and gives a function that runs one call and returns
its seconds; with the context its arrays go.
"""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import array_work
import numpy as np
import psutil
from array_host import spent
from array_work import ITEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from array_contestants import Contestant
    from array_work import Floats

    Once = Callable[[], float]
    Measure = Callable[[Contestant, int], AbstractContextManager[Once]]

_TINY: Final = 1 << 16


def _passing(work: Callable[[Floats], object]) -> Measure:
    """One array again and again; what can be done once for it is done before."""

    @contextmanager
    def measure(contestant: Contestant, nbytes: int) -> Iterator[Once]:
        lent = contestant.lend(np.ones(nbytes // ITEM))
        yield lambda: spent(lambda: contestant.call(work, lent))

    return measure


@contextmanager
def _passing_new(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """Each time an array that has not been passed before."""

    def once() -> float:
        x = np.ones(nbytes // ITEM)
        return spent(lambda: contestant.call(array_work.ends, contestant.lend(x)))

    yield once


@contextmanager
def _passing_foreign(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """An array over memory of another allocator, which can change at any time."""
    x = np.frombuffer(bytearray(nbytes), np.float64)
    x.fill(1)
    yield lambda: spent(lambda: contestant.call(array_work.ends, contestant.lend(x)))


@contextmanager
def _getting(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """A new array that nobody has written to."""
    yield lambda: spent(lambda: contestant.call(array_work.untouched, nbytes))


@contextmanager
def _getting_written(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """A new array that was written, less the time that the worker took to make and write it."""

    def once() -> float:
        found: list[object] = []
        seconds = spent(lambda: found.append(contestant.call(array_work.written, nbytes)))
        return seconds - cast("tuple[object, float]", found[0])[1]

    yield once


@contextmanager
def _copy(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """Memory to memory, both written before."""
    del contestant
    source, target = np.ones(nbytes // ITEM), np.ones(nbytes // ITEM)
    yield lambda: spent(lambda: np.copyto(target, source))


@contextmanager
def _copy_to_fresh(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """Into memory of this process that was not touched before."""
    del contestant
    source = np.ones(nbytes // ITEM)

    def once() -> float:
        with mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            return _copied_into(memory, source)

    yield once


@contextmanager
def _copy_to_fresh_shared(contestant: Contestant, nbytes: int) -> Iterator[Once]:
    """Into shared memory that was not touched before."""
    del contestant
    source = np.ones(nbytes // ITEM)

    def once() -> float:
        with os.fdopen(os.memfd_create("fresh"), "r+b") as file:
            file.truncate(nbytes)
            with mmap.mmap(file.fileno(), nbytes) as memory:
                return _copied_into(memory, source)

    yield once


def _copied_into(memory: mmap.mmap, source: Floats) -> float:
    target = np.frombuffer(memory, np.float64)
    return spent(lambda: np.copyto(target, source))


COPY: Final = "memcpy, warm"
COPY_TO_FRESH: Final = "memcpy, first touch"
COPY_TO_FRESH_SHARED: Final = "memcpy, first touch of shared memory"
IN: Final = "in"
IN_NEW: Final = "in, new"
IN_FOREIGN: Final = "in, foreign"
READ: Final = "in, read whole"
OUT: Final = "out"
OUT_WRITTEN: Final = "out, written"
EXCHANGED: Final = "in and out at once"
DOUBLED: Final = "y = x * 2"

MEASURES: Final[dict[str, Measure]] = {
    IN: _passing(array_work.ends),
    IN_NEW: _passing_new,
    IN_FOREIGN: _passing_foreign,
    READ: _passing(array_work.total),
    OUT: _getting,
    OUT_WRITTEN: _getting_written,
    EXCHANGED: _passing(array_work.exchanged),
    DOUBLED: _passing(array_work.doubled),
    COPY: _copy,
    COPY_TO_FRESH: _copy_to_fresh,
    COPY_TO_FRESH_SHARED: _copy_to_fresh_shared,
}


def memory(contestant: Contestant, nbytes: int, workers: int) -> list[float]:
    """Bytes of all processes together while all workers hold a small array, and while they hold a large one.

    That is their proportional set size: a page that several map counts once. The large array is there in
    this process the whole time.
    """
    large = np.ones(nbytes // ITEM)
    answers = [_held(contestant, each, workers) for each in (np.ones(_TINY // ITEM), large)]
    return [float(each) for each in answers]


def _held(contestant: Contestant, x: Floats, workers: int) -> int:
    """Bytes of all processes together while so many calls at once hold `x`, all of it read."""
    found: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "door"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.bind(path)
            door.listen(workers)
            watcher = threading.Thread(target=_when_all_hold, args=(door, workers, found))
            watcher.start()
            at_once = contestant.at_once
            if at_once is not None:
                at_once(workers, array_work.held, contestant.lend(x), path)
            watcher.join()
    return found[0]


def _when_all_hold(door: socket.socket, workers: int, found: list[int]) -> None:
    guests = [door.accept()[0] for _ in range(workers)]
    for guest in guests:
        guest.recv(ITEM)
    found.append(_proportional())
    for guest in guests:
        guest.close()


def _proportional() -> int:
    this = psutil.Process()
    return sum(_pss(each) for each in (this, *this.children(recursive=True)))


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
