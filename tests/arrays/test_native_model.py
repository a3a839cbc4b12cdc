"""The arena in C against a model of it: NumPy's arrays and leases on them, in random order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snakepit_nb.arrays import native
from snakepit_nb.arrays.arena import ArenaFull, Block
from snakepit_nb.arrays.memory import PAGE, bytes_at
from snakepit_nb.arrays.native import NativeArena

THRESHOLD = 2 * PAGE
PAGES = 256
BUDGET = 128
WARM = 32


class Lease:
    """A hold on a block, and what was in it when it began; None where it has its array's own bytes."""

    def __init__(self, block: Block, content: bytes | None) -> None:
        self.block = block
        self.content = content


class NativeArenaAgainstModel(RuleBasedStateMachine):
    """Arrays are made, written, resized, lent and dropped; each knows what it should hold."""

    @initialize()
    def start(self) -> None:
        self.arena = NativeArena(PAGES * PAGE, budget=BUDGET * PAGE, warm_bytes=WARM * PAGE, reserve=False)
        assert native.install(self.arena, THRESHOLD)
        self.arrays: list[tuple[np.ndarray, bytes]] = []
        self.leases: list[Lease] = []

    def _inside(self, array: np.ndarray) -> bool:
        start = array.ctypes.data - self.arena.address
        return 0 <= start < self.arena.nbytes

    @rule(nbytes=st.integers(1, 40 * PAGE), value=st.integers(1, 255))
    def make(self, nbytes: int, value: int) -> None:
        array = np.full(nbytes, value, np.uint8)
        if nbytes < THRESHOLD:
            assert not self._inside(array)
        self.arrays.append((array, bytes([value]) * nbytes))

    @rule(nbytes=st.integers(1, 40 * PAGE))
    def make_zeros(self, nbytes: int) -> None:
        self.arrays.append((np.zeros(nbytes, np.uint8), bytes(nbytes)))

    @precondition(lambda self: self.arrays)
    @rule(data=st.data(), nbytes=st.integers(1, 40 * PAGE))
    def resize(self, data: st.DataObject, nbytes: int) -> None:
        index = data.draw(st.integers(0, len(self.arrays) - 1))
        array, content = self.arrays[index]
        array.resize(nbytes, refcheck=False)
        self.arrays[index] = (array, content[:nbytes].ljust(nbytes, b"\0"))

    @precondition(lambda self: self.arrays)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.arrays.pop(data.draw(st.integers(0, len(self.arrays) - 1)))

    @precondition(lambda self: self.arrays)
    @rule(data=st.data())
    def lend(self, data: st.DataObject) -> None:
        array, content = self.arrays[data.draw(st.integers(0, len(self.arrays) - 1))]
        start = data.draw(st.integers(0, array.nbytes - 1))
        block = self.arena.find(array.ctypes.data + start, array.nbytes - start)
        assert (block is not None) == self._inside(array)
        if block is not None:
            self.leases.append(Lease(block, content))

    @rule(nbytes=st.integers(1, 40 * PAGE), value=st.integers(0, 255))
    def allocate(self, nbytes: int, value: int) -> None:
        need = -(-nbytes // PAGE) * PAGE
        live = self.arena.live_bytes
        try:
            block = self.arena.allocate(nbytes)
        except ArenaFull:
            assert live + need > BUDGET * PAGE or not self._a_gap_of(need)
            return
        assert (block.nbytes, live + need <= BUDGET * PAGE) == (need, True)
        bytes_at(self.arena.address + block.offset, nbytes)[:] = value
        self.leases.append(Lease(block, bytes([value]) * nbytes))

    def _a_gap_of(self, need: int) -> bool:
        used = {(lease.block.offset, lease.block.nbytes) for lease in self.leases}
        for array, _ in self.arrays:
            if self._inside(array):
                offset = array.ctypes.data - self.arena.address
                used.add((offset, -(-array.nbytes // PAGE) * PAGE))
        start = 0
        for offset, nbytes in [*sorted(used), (PAGES * PAGE, 0)]:
            if offset - start >= need:
                return True
            start = offset + nbytes
        return False

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def hold_again(self, data: st.DataObject) -> None:
        lease = self.leases[data.draw(st.integers(0, len(self.leases) - 1))]
        holders = self.arena.holders(lease.block)
        assert self.arena.hold(lease.block.offset, lease.block.generation) == lease.block
        assert self.arena.holders(lease.block) == holders + 1
        self.leases.append(Lease(lease.block, lease.content))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        holders = self.arena.holders(lease.block)
        assert holders >= 1
        self.arena.free(lease.block)
        assert self.arena.holders(lease.block) == holders - 1

    @rule()
    def trim(self) -> None:
        self.arena.trim()

    @invariant()
    def every_array_holds_what_was_put_in(self) -> None:
        for array, content in getattr(self, "arrays", ()):
            assert array.tobytes() == content

    @invariant()
    def every_lease_shows_what_was_lent(self) -> None:
        for lease in getattr(self, "leases", ()):
            if lease.content is not None:
                raw = bytes_at(self.arena.address + lease.block.offset, len(lease.content))
                assert raw.tobytes() == lease.content

    @invariant()
    def free_memory_keeps_to_its_limits(self) -> None:
        if hasattr(self, "arena"):
            stats = self.arena.stats()
            assert stats.warm_bytes + stats.reserve_bytes <= WARM * PAGE
            assert stats.live_bytes + stats.warm_bytes + stats.reserve_bytes <= BUDGET * PAGE

    def teardown(self) -> None:
        if not hasattr(self, "arena"):
            return
        self.arrays.clear()
        for lease in self.leases:
            self.arena.free(lease.block)
        assert self.arena.live_bytes == 0
        self.arena.free(self.arena.allocate(BUDGET * PAGE))
        native.uninstall()
        self.arena.close()


TestNativeArenaAgainstModel = pytest.mark.skipif(
    native.available() is not None, reason=str(native.available())
)(NativeArenaAgainstModel.TestCase)
TestNativeArenaAgainstModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
