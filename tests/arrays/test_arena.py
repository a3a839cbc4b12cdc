"""An arena against a model of it, and what it owes to the machine's memory."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from snakepit_nb import options
from snakepit_nb.arrays import arena as arenas
from snakepit_nb.arrays import founding, memory, native
from snakepit_nb.arrays.arena import Arena, ArenaFull, Block
from snakepit_nb.arrays.memory import PAGE, bytes_at
from snakepit_nb.errors.types import ArrayError

PAGES = 64
BUDGET = 48
WARM = 16


def resident(arena: Arena) -> int:
    """Bytes of memory that the arena takes from the machine."""
    return os.fstat(arena.fd).st_blocks * 512


def fill(arena: Arena, block: Block, value: int) -> None:
    bytes_at(arena.address + block.offset, block.nbytes)[:] = value


class ArenaAgainstModel(RuleBasedStateMachine):
    """Blocks are taken and let go at random; each is filled with a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(PAGES * PAGE, budget=BUDGET * PAGE, warm_bytes=WARM * PAGE)
        self.live: dict[int, tuple[Block, int]] = {}
        self.holders: dict[int, int] = {}
        self.count = 0

    blocks = Bundle("blocks")

    @rule(target=blocks, nbytes=st.integers(1, 20 * PAGE))
    def allocate(self, nbytes: int) -> int:
        self.count += 1
        need = -(-nbytes // PAGE) * PAGE
        used = sum(block.nbytes for block, _ in self.live.values())
        try:
            block = self.arena.allocate(nbytes)
        except ArenaFull:
            assert used + need > BUDGET * PAGE or not self._a_gap_of(need)
            return self.count
        assert used + need <= BUDGET * PAGE
        assert (block.offset % PAGE, block.nbytes) == (0, need)
        fill(self.arena, block, self.count % 251)
        self.live[self.count] = (block, self.count % 251)
        self.holders[self.count] = 1
        return self.count

    def _a_gap_of(self, need: int) -> bool:
        ends = sorted((block.offset, block.nbytes) for block, _ in self.live.values())
        start = 0
        for offset, nbytes in [*ends, (PAGES * PAGE, 0)]:
            if offset - start >= need:
                return True
            start = offset + nbytes
        return False

    @rule(number=blocks)
    def hold(self, number: int) -> None:
        if number in self.live:
            block, _ = self.live[number]
            assert self.arena.hold(block.offset, block.generation) == block
            self.holders[number] += 1

    @rule(number=consumes(blocks))
    def let_go(self, number: int) -> None:
        if number not in self.live:
            return
        block, _ = self.live[number]
        for _ in range(self.holders[number]):
            assert self.arena.hold(block.offset, block.generation) == block
            self.arena.free(block)
            self.arena.free(block)
        del self.live[number]
        assert self.arena.hold(block.offset, block.generation) is None
        self.arena.free(block)

    @invariant()
    def no_block_overlaps_another(self) -> None:
        for block, value in self.live.values():
            raw = bytes_at(self.arena.address + block.offset, block.nbytes)
            assert (int(raw.min()), int(raw.max())) == (value, value)

    @invariant()
    def what_is_in_use_is_counted(self) -> None:
        assert self.arena.live_bytes == sum(block.nbytes for block, _ in self.live.values())

    @invariant()
    def freed_memory_goes_back_to_the_machine_but_for_the_warm_part(self) -> None:
        assert resident(self.arena) <= self.arena.live_bytes + WARM * PAGE

    def teardown(self) -> None:
        for number in list(self.live):
            block, _ = self.live.pop(number)
            for _ in range(self.holders[number]):
                self.arena.free(block)
        assert self.arena.live_bytes == 0
        whole = Arena.allocate(self.arena, BUDGET * PAGE)
        assert whole.nbytes == BUDGET * PAGE
        self.arena.close()


TestArenaAgainstModel = ArenaAgainstModel.TestCase
TestArenaAgainstModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_after_all_is_freed_one_block_takes_the_whole_arena() -> None:
    arena = Arena(PAGES * PAGE, warm_bytes=WARM * PAGE)
    blocks = [arena.allocate(PAGE) for _ in range(PAGES)]
    with pytest.raises(ArenaFull):
        arena.allocate(1)
    for block in blocks[::2] + blocks[1::2]:
        arena.free(block)
    assert arena.allocate(PAGES * PAGE) == Block(0, PAGES * PAGE, PAGES + 1)
    arena.close()


def test_the_error_of_a_full_arena_says_how_full_and_what_to_do() -> None:
    arena = Arena(PAGES * PAGE, budget=2 * PAGE)
    arena.allocate(PAGE)
    with pytest.raises(ArenaFull, match=rf"{2 * PAGE} bytes do not fit: {PAGE} of {2 * PAGE} .*arena_budget"):
        arena.allocate(2 * PAGE)
    arena.close()


def test_memory_above_the_warm_limit_is_given_back_at_once() -> None:
    arena = Arena(PAGES * PAGE, warm_bytes=4 * PAGE)
    blocks = [arena.allocate(4 * PAGE) for _ in range(3)]
    for block in blocks:
        fill(arena, block, 1)
    assert resident(arena) == 12 * PAGE
    for block in blocks:
        arena.free(block)
    assert resident(arena) == 4 * PAGE
    arena.close()


def test_a_warm_block_is_used_again_before_a_cold_one() -> None:
    arena = Arena(PAGES * PAGE, warm_bytes=4 * PAGE)
    first = arena.allocate(PAGE)
    second = arena.allocate(PAGE)
    arena.free(second)
    again = arena.allocate(PAGE)
    assert (again.offset, again.generation) == (second.offset, second.generation + 1)
    arena.free(first)
    arena.close()


def test_a_block_is_free_only_when_its_last_holder_lets_go() -> None:
    arena = Arena(PAGES * PAGE)
    block = arena.allocate(PAGE)
    assert arena.hold(block.offset, block.generation) == block
    arena.free(block)
    assert arena.live_bytes == PAGE
    arena.free(block)
    assert arena.live_bytes == 0
    arena.free(block)
    assert arena.live_bytes == 0
    arena.close()


def test_an_earlier_life_of_a_block_cannot_be_held_or_freed() -> None:
    arena = Arena(PAGES * PAGE, warm_bytes=PAGE)
    old = arena.allocate(PAGE)
    arena.free(old)
    new = arena.allocate(PAGE)
    assert arena.hold(old.offset, old.generation) is None
    arena.free(old)
    assert arena.live_bytes == PAGE
    arena.free(new)
    arena.close()


class _ComesBackIn:
    """A user's finaliser that wants memory at the worst moment."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.got: list[object] = []

    def run(self, block: Block) -> None:
        self.arena.free(block)
        try:
            self.got.append(self.arena.allocate(PAGE))
        except ArenaFull as full:
            self.got.append(full)


def test_a_finaliser_that_comes_back_in_while_the_arena_is_busy_does_not_hang_or_corrupt() -> None:
    arena = Arena(PAGES * PAGE)
    block = arena.allocate(PAGE)
    back = _ComesBackIn(arena)
    with arena._books.lock:
        back.run(block)
    assert isinstance(back.got[0], ArenaFull)
    arena._books.settle()
    assert arena.live_bytes == 0
    arena.close()


def test_what_another_thread_lets_go_while_the_arena_is_busy_is_freed_when_it_is_not() -> None:
    arena = Arena(PAGES * PAGE)
    block = arena.allocate(PAGE)
    with arena._books.lock:
        other = threading.Thread(target=arena.free, args=(block,))
        other.start()
        other.join(10)
        assert not other.is_alive()
        assert arena.live_bytes == PAGE
    assert arena.allocate(PAGE).offset == 0
    assert arena.live_bytes == PAGE
    arena.close()


def test_address_space_is_halved_until_the_system_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    real = memory.map_memory

    def refuses_much(fd: int, offset: int, nbytes: int, *, writable: bool, private: bool) -> int:
        if nbytes > 1 << 25:
            message = "too much"
            raise ArrayError(message)
        return real(fd, offset, nbytes, writable=writable, private=private)

    monkeypatch.setattr(arenas, "map_memory", refuses_much)
    arena = Arena(1 << 27)
    assert arena.nbytes == 1 << 25
    arena.close()


def test_a_full_file_system_is_a_full_arena_and_never_a_bus_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_NB_MEMFD", "0")
    arena = Arena(1 << 20)
    monkeypatch.setattr(arenas, "reserve", lambda *_: False)
    with pytest.raises(ArenaFull):
        arena.allocate(PAGE)
    monkeypatch.undo()
    assert arena.allocate(arena.nbytes).nbytes == arena.nbytes
    arena.close()


def test_where_there_is_no_memfd_no_name_is_left_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_NB_MEMFD", "0")
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208, S108 - only looked at
    arena = Arena(1 << 20)
    assert {name for name in os.listdir("/dev/shm") if name.startswith("snk_")} <= before  # noqa: PTH208, S108
    fill(arena, arena.allocate(PAGE), 3)
    arena.close()


def test_a_peer_cannot_shrink_the_memory_under_our_arrays() -> None:
    arena = Arena(1 << 20)
    with pytest.raises(PermissionError):
        os.ftruncate(arena.fd, 0)
    arena.close()


def test_options_can_switch_the_arena_off_and_bound_it() -> None:
    with options.override(arena=False):
        assert founding.from_options() == (None, "disabled")
    with options.override(arena=True, arena_bytes=1 << 20, arena_budget=1e-12):
        arena = founding.from_options().arena
    assert arena is not None
    assert arena.nbytes == 1 << 20
    with pytest.raises(ArenaFull):
        arena.allocate(1)
    arena.close()


def test_where_the_system_has_no_shared_memory_there_is_no_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(nbytes: int) -> memory.MemoryFile:
        raise OSError(28, "No space left on device", nbytes)

    for room in (arenas, native):
        monkeypatch.setattr(room, "memory_file", none_here)
    with options.override(arena=True):
        assert founding.from_options() == (None, "platform")
    with pytest.raises(ArrayError, match="no shared memory on this machine"):
        Arena(1 << 20)
