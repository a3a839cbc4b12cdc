"""Two stores that know each other, as kernel and worker do, for tests that need no process."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb import events
from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.handle import writable_view
from snakepit_nb.arrays.store import Store
from snakepit_nb.testing import capture_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.arrays.arena import Allocator
    from snakepit_nb.arrays.handle import ArrayHandle
    from snakepit_nb.testing import Captured

KERNEL = "kernel"
WORKER = "worker"
ROOM = 64 << 20


def introduce(owner: Store, to: Store) -> None:
    """Attach an arena, as the kernel is given a worker's; and its other view, for what is sent in place."""
    assert owner.arena is not None
    for view in (owner.arena.id, writable_view(owner.arena.id)):
        to.attach(view, os.dup(owner.arena.fd), owner.arena.nbytes)


def settle(kernel: Store, worker: Store) -> None:
    """Take ended leases home, as the next messages would, until none is left on either side."""
    while True:
        theirs, ours = worker.take_returns(KERNEL), kernel.take_returns(WORKER)
        if not theirs and not ours:
            return
        kernel.release(theirs)
        worker.release(ours)


def lend(store: Store, array: np.ndarray, holder: str) -> ArrayHandle:
    """Export an array for a holder; it must be possible."""
    handle = store.export(array)
    assert handle is not None
    store.hand([handle.lease], holder)
    return handle


class _Birth:
    """Memory in an arena that is free again when the last array over it is gone, as NumPy's own is."""

    def __init__(self, arena: Allocator, nbytes: int) -> None:
        self._arena, self._block = arena, arena.allocate(nbytes)
        address = arena.address + self._block.offset
        self.__array_interface__ = {
            "version": 3, "data": (address, False), "typestr": "|u1", "shape": (nbytes,)
        }  # fmt: skip

    def __del__(self) -> None:
        self._arena.free(self._block)


def born_in(store: Store, array: np.ndarray) -> np.ndarray:
    """An equal array in C's order that lies in the store's own arena."""
    assert store.arena is not None
    born = np.asarray(_Birth(store.arena, array.nbytes)).view(array.dtype).reshape(array.shape)
    born[...] = array
    return born


@contextmanager
def two_stores(*, inline_bytes: int = 0) -> Iterator[tuple[Store, Store]]:
    """A kernel's and a worker's store that are introduced to each other."""
    kernel = Store("kernel", Arena(ROOM), inline_bytes=inline_bytes)
    worker = Store("worker", Arena(ROOM), inline_bytes=inline_bytes)
    introduce(kernel, worker)
    introduce(worker, kernel)
    try:
        yield kernel, worker
    finally:
        kernel.close()
        worker.close()


@contextmanager
def checked_events(*names: str) -> Iterator[Captured]:
    """Capture events and hold each of them to the catalogue."""
    with capture_events(*(names or ("snakepit.zero_copy",))) as captured:
        yield captured
    faults = [events.check(each.name, each.measurements, each.metadata) for each in captured]
    assert not [fault for found in faults for fault in found]


def mappings() -> int:
    """How many mappings of nameless memory this process has."""
    return len(re.findall(r"memfd:snakepit_nb", Path("/proc/self/maps").read_text()))


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - its own descriptor is counted each time alike
