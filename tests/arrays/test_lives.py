"""Arrays of a kernel and two workers against a model of who shares which memory, with workers that die."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.handle import Mode, plain
from snakepit_nb.arrays.store import Store
from snakepit_nb.wire.payload import Packed, handles_of, pack, prepare, unpack
from tests.stores import KERNEL, born_in

ROOM = 1 << 22
LENGTH = 1000


@dataclass
class Memory:
    """What several arrays share; `been_here`: whether it ever was the kernel's."""

    value: int
    been_here: bool = True


@dataclass
class Seen:
    """An array, where it is, and what it should hold."""

    place: str
    array: np.ndarray
    memory: Memory
    private: bool = False
    own: int | None = None
    gone: bool = False

    def expected(self) -> int:
        return self.memory.value if self.own is None else self.own


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = Store("kernel", Arena(ROOM), inline_bytes=0)
        self.workers: dict[str, Store] = {}
        self.names: dict[str, str] = {}
        self.count = 0
        self.all: list[Seen] = []
        for slot in ("a", "b"):
            self._start(slot)

    seen = Bundle("seen")

    def _start(self, slot: str) -> None:
        self.count += 1
        arena = Arena(ROOM)
        worker = Store("worker", arena, inline_bytes=0)
        self.workers[slot] = worker
        self.names[slot] = f"{slot}{self.count}"
        found = worker.open_writable(arena.id)
        assert found is not None
        self.kernel.attach(arena.id, *found)

    def _add(self, made: Seen) -> Seen:
        self.all.append(made)
        return made

    # What may happen

    @rule(target=seen, place=st.sampled_from(["kernel", "a", "b"]), lies=st.booleans())
    def make(self, place: str, lies: bool) -> Seen:  # noqa: FBT001 - drawn
        self.count += 1
        array = np.full(LENGTH, self.count)
        store = self.kernel if place == "kernel" else self.workers[place]
        memory = Memory(self.count, been_here=place == "kernel")
        return self._add(Seen(place, born_in(store, array) if lies else array, memory))

    @rule(
        target=seen,
        given=seen,
        slot=st.sampled_from("ab"),
        mode=st.sampled_from(["copy_on_write", "in_place"]),
    )
    def send(self, given: Seen, slot: str, mode: Mode) -> Any:
        if given.gone or given.place != "kernel":
            return multiple()
        shared = self._lies(given)
        packed = pack(given.array, self.kernel, mode=mode)
        worker = self.workers[slot]
        for handle in handles_of(packed.buffers):
            self._introduce(worker, handle.arena)
        self.kernel.hand(packed.leases, self.names[slot])
        array: Any = unpack(packed, worker, peer=KERNEL)
        memory = given.memory if shared else Memory(given.expected())
        return self._add(Seen(slot, array, memory, private=mode == "copy_on_write"))

    def _lies(self, seen: Seen) -> bool:
        address, nbytes = seen.array.ctypes.data, seen.array.nbytes
        assert self.kernel.arena is not None
        block = self.kernel.arena.find(address, nbytes)
        if block is not None:
            self.kernel.arena.free(block)
        return block is not None or self.kernel.borrower.lent_at(address, nbytes) is not None

    def _introduce(self, worker: Store, arena: str) -> None:
        if worker.arena is not None and plain(arena) == worker.arena.id:
            return
        read_only = arena == plain(arena)
        found = self.kernel.open_readonly(arena) if read_only else self.kernel.open_writable(plain(arena))
        assert found is not None
        worker.attach(arena, *found)

    @rule(target=seen, given=consumes(seen))
    def answer_and_let_go(self, given: Seen) -> Any:
        if given.gone or given.place == "kernel":
            return multiple()
        prepared = prepare(given.array, self.workers[given.place])
        self._forget(given)
        kept = any(each.memory is given.memory for each in self.all)
        return self._answered(given, prepared.seal(moving=True), kept=kept)

    @rule(target=seen, given=seen)
    def answer_and_keep(self, given: Seen) -> Any:
        if given.gone or given.place == "kernel":
            return multiple()
        packed = prepare(given.array, self.workers[given.place]).seal(moving=True)
        return self._answered(given, packed, kept=True)

    def _answered(self, given: Seen, packed: Packed, *, kept: bool) -> Seen:
        found = Seen("kernel", self._arrive(packed, given.place), given.memory)
        memory = given.memory
        if given.own is not None or (kept and not memory.been_here):
            # What was changed privately, or is the worker's and stays there, has to be a copy.
            assert not self._is_one_with_others(found)
            found.memory = Memory(given.expected())
        elif any(each.place == "kernel" and each.memory is memory for each in self.all):
            assert self._is_one_with_others(found)
        elif memory.been_here and not self._is_one_with_others(found):
            # The kernel had let go of it: whether the worker saw that already, only it knows.
            found.memory = Memory(given.expected())
        found.memory.been_here = True
        return self._add(found)

    def _is_one_with_others(self, found: Seen) -> bool:
        """Whether a write to an array shows in others of its memory; it is undone."""
        before = int(found.array[0])
        found.array[0] = -1
        is_one = any(int(each.array[0]) == -1 for each in self.all if each.memory is found.memory)
        found.array[0] = before
        return is_one

    def _arrive(self, packed: Packed, place: str) -> np.ndarray:
        self.workers[place].hand(packed.leases, KERNEL)
        array: Any = unpack(packed, self.kernel, peer=self.names[place], mode="in_place")
        return array  # type: ignore[no-any-return]

    @rule(given=seen)
    def write(self, given: Seen) -> None:
        if given.gone:
            return
        self.count += 1
        given.array[:] = self.count
        if given.private:
            given.own = self.count
        else:
            given.memory.value = self.count

    def _forget(self, given: Seen) -> None:
        given.gone = True
        given.array = np.empty(0)
        self.all = [each for each in self.all if not each.gone]

    @rule(given=consumes(seen))
    def drop(self, given: Seen) -> None:
        if not given.gone:
            self._forget(given)

    @rule(slot=st.sampled_from("ab"))
    def leases_go_home(self, slot: str) -> None:
        worker, name = self.workers[slot], self.names[slot]
        self.kernel.release(worker.take_returns(KERNEL))
        worker.release(self.kernel.take_returns(name))

    @rule(slot=st.sampled_from("ab"))
    def die(self, slot: str) -> None:
        worker, name = self.workers[slot], self.names[slot]
        for each in [each for each in self.all if each.place == slot]:
            self._forget(each)
        assert worker.arena is not None
        arena = worker.arena.id
        worker.close()
        self.kernel.forget(name)
        self.kernel.take_returns(name)
        self.kernel.detach(arena)
        self._start(slot)

    # What must hold

    @invariant()
    def every_array_holds_what_it_should(self) -> None:
        for each in self.all:
            assert (int(each.array.min()), int(each.array.max())) == (each.expected(),) * 2, each.place

    def teardown(self) -> None:
        for each in list(self.all):
            self._forget(each)
        gc.collect()
        for _ in range(6):
            for slot in self.workers:
                self.leases_go_home(slot)
        for store in (self.kernel, *self.workers.values()):
            stats = store.stats()
            assert (stats.leases, stats.live_bytes) == (0, 0)
        own = {store.arena.id for store in (self.kernel, *self.workers.values()) if store.arena is not None}
        assert set(self.kernel.borrower._attached) == own
        for store in (self.kernel, *self.workers.values()):
            store.close()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
