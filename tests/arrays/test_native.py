"""Arrays that are born in an arena: where they lie, what is in them, and what becomes of their memory."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from snakepit_nb import options
from snakepit_nb.arrays import founding, native
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.capsules import numpy_memory
from snakepit_nb.arrays.library import loaded
from snakepit_nb.arrays.memory import PAGE, bytes_at
from snakepit_nb.arrays.native import NativeArena

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snakepit_nb.arrays.arena import Block

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

MIB: Final = 1 << 20


@pytest.fixture
def arena() -> Iterator[NativeArena]:
    """An arena that NumPy allocates in."""
    made = NativeArena(1 << 32, budget=512 * MIB, warm_bytes=128 * MIB, reserve=False)
    assert native.install(made)
    yield made
    native.uninstall()
    made.close()


def block_of(arena: NativeArena, array: np.ndarray) -> Block:
    """The block that an array lies in; not held on."""
    block = arena.find(array.ctypes.data, array.nbytes)
    assert block is not None
    arena.free(block)
    return block


def born(arena: NativeArena, array: np.ndarray) -> bool:
    """Whether an array lies in the arena."""
    block = arena.find(array.ctypes.data, array.nbytes)
    if block is not None:
        arena.free(block)
    return block is not None


def resident(arena: NativeArena) -> int:
    """Bytes of memory that the arena takes from the machine."""
    return os.fstat(arena.fd).st_blocks * 512


N: Final = MIB // 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros(N),
        lambda: np.ones(N),
        lambda: np.full(N, 3.0),
        lambda: np.arange(0.5, N),
        lambda: np.linspace(0, 1, N),
        lambda: np.random.default_rng(0).random(N),
        lambda: np.concatenate([np.zeros(N // 2), np.ones(N // 2)]),
        lambda: np.zeros(N) + 1,
        lambda: np.asfortranarray(np.tri(512)),
        lambda: np.tri(512) @ np.eye(512),
        lambda: np.sort(np.arange(float(N))[::-1]),
        lambda: np.arange(N)[np.arange(N) >= 0],
        lambda: np.fromiter(range(N), np.int64),
        lambda: np.array(list(range(N))),
        lambda: np.zeros(N, dtype="f4,f4"),
        lambda: np.zeros(N, dtype="M8[s]"),
        lambda: np.repeat("ab", N),
    ],
)
def test_arrays_made_in_the_ordinary_way_are_born_in_the_arena(
    arena: NativeArena, make: Callable[[], np.ndarray]
) -> None:
    made = make()
    assert made.nbytes >= MIB
    assert born(arena, made)
    native.uninstall()
    usual = make()
    assert not born(arena, usual)
    assert np.array_equal(made, usual)


def test_small_arrays_and_those_of_other_threads_are_left_to_numpy(arena: NativeArena) -> None:
    elsewhere: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: elsewhere.append(np.ones(N)))
    thread.start()
    thread.join()
    assert not born(arena, np.ones(100))
    assert not born(arena, elsewhere[0])


def test_views_of_an_array_are_found_as_parts_of_its_block(arena: NativeArena) -> None:
    array = np.arange(float(N)).reshape(512, 512)
    part = array[100:200]
    assert block_of(arena, part) == block_of(arena, array)
    assert arena.find(array.ctypes.data, block_of(arena, array).nbytes + 1) is None
    assert arena.find(array.ctypes.data - 1, 10) is None


def test_memory_that_was_used_before_reads_as_zeros_in_a_new_array_of_zeros(arena: NativeArena) -> None:
    for size in (N, 3 * N, N // 2 + 7, 9 * N):
        np.full(size, 7.0).sum()
        assert not np.zeros(size).any()
    assert arena.stats().warm_hits > 0


def test_a_freed_array_leaves_its_memory_to_the_next_one(arena: NativeArena) -> None:
    first = np.ones(N)
    where = first.ctypes.data
    generation = block_of(arena, first).generation
    del first
    second = np.empty(N)
    assert second.ctypes.data == where
    assert block_of(arena, second).generation > generation
    assert arena.stats().warm_hits == 1


def test_a_leased_array_outlives_its_last_reference(arena: NativeArena) -> None:
    array = np.arange(float(N))
    lease = arena.find(array.ctypes.data, array.nbytes)
    assert lease is not None
    assert arena.holders(lease) == 2
    del array
    assert arena.holders(lease) == 1
    others = [np.zeros(N) for _ in range(4)]
    assert bytes_at(arena.address + lease.offset, N * 8).view(float)[N - 1] == N - 1
    arena.free(lease)
    assert arena.holders(lease) == 0
    assert arena.live_bytes == sum(block_of(arena, each).nbytes for each in others)


def test_a_release_too_many_never_takes_an_array_from_its_owner(arena: NativeArena) -> None:
    array = np.ones(N)
    block = block_of(arena, array)
    arena.free(block)
    assert arena.holders(block) == 1
    assert arena.hold(block.offset, block.generation + 1) is None
    assert array.sum() == N


def test_growth_keeps_the_content_in_place_and_across_the_threshold_both_ways(arena: NativeArena) -> None:
    array = np.arange(1000.0)
    for size in (2 * N, 8 * N, N, 1000, 5 * N, 5 * N + 1, 10):
        had = min(size, array.size)
        expected = array[:had].copy()
        array.resize(size, refcheck=False)
        assert np.array_equal(array[:had], expected)
        assert not array[had:].any()
        assert born(arena, array) == (array.nbytes >= native.THRESHOLD)
    assert arena.live_bytes == 0


def test_an_array_that_is_lent_moves_when_it_is_resized(arena: NativeArena) -> None:
    array = np.arange(float(N))
    lease = arena.find(array.ctypes.data, array.nbytes)
    assert lease is not None
    array.resize(N // 2, refcheck=False)
    array[:] = -1
    lent = bytes_at(arena.address + lease.offset, N * 8).view(float)
    assert np.array_equal(lent, np.arange(float(N)))
    arena.free(lease)


@pytest.mark.usefixtures("arena")
def test_a_block_grows_in_place_where_there_is_room_behind_it() -> None:
    array = np.ones(N)
    where = array.ctypes.data
    array.resize(64 * N, refcheck=False)
    assert array.ctypes.data == where
    assert array.sum() == N


@pytest.mark.usefixtures("arena")
def test_large_arrays_begin_where_a_huge_page_could() -> None:
    arrays = [np.empty(n, np.uint8) for n in (2 * MIB, 2 * MIB + 1, 3 * MIB, 20 * MIB, 2 * MIB)]
    assert {array.ctypes.data % (2 * MIB) for array in arrays} == {0}
    assert np.empty(MIB, np.uint8).ctypes.data % PAGE == 0


def test_what_the_budget_does_not_hold_numpy_allocates_itself(arena: NativeArena) -> None:
    whole = np.ones(arena.budget - MIB, np.uint8)
    more = np.arange(float(N))
    assert born(arena, whole)
    assert not born(arena, more)
    assert more.sum() == N * (N - 1) / 2
    assert not np.zeros(N).any()
    more.resize(2 * N, refcheck=False)
    assert more[N - 1] == N - 1
    assert arena.stats().fallbacks >= 3
    with pytest.raises(ArenaFull, match=r"do not fit: .* raise the option arena_budget"):
        arena.allocate(2 * MIB)


def test_ten_thousand_arrays_end_where_they_began(arena: NativeArena) -> None:
    sizes = np.random.default_rng(1).integers(N, 4 * N, 10_000)
    kept: list[np.ndarray] = []
    for index, size in enumerate(sizes):
        kept.append(np.empty(int(size)))
        kept[-1][-1] = index
        if len(kept) > 5:
            assert kept.pop(index % 5).size >= N
    kept.clear()
    stats = arena.stats()
    assert (stats.live_bytes, stats.blocks) == (0, 0)
    assert resident(arena) <= 128 * MIB
    arena.trim()
    assert resident(arena) == 0


def test_free_memory_above_the_warm_limit_goes_back_to_the_machine(arena: NativeArena) -> None:
    arrays = [np.ones(16 * MIB, np.uint8) for _ in range(16)]
    assert resident(arena) == 256 * MIB
    arrays.clear()
    assert resident(arena) == arena.stats().warm_bytes == 128 * MIB
    assert not np.zeros(200 * MIB, np.uint8).any()


def test_free_memory_never_takes_what_is_in_use_beyond_the_budget() -> None:
    arena = NativeArena(1 << 30, budget=64 * MIB, warm_bytes=64 * MIB, reserve=False)
    blocks = [arena.allocate(8 * MIB) for _ in range(8)]
    for block in blocks:
        bytes_at(arena.address + block.offset, block.nbytes)[:] = 1
        arena.free(block)
    large = arena.allocate(48 * MIB)
    assert arena.stats().warm_bytes <= 16 * MIB
    bytes_at(arena.address + large.offset, large.nbytes)[:] = 1
    assert resident(arena) <= 64 * MIB
    arena.close()


def test_many_threads_make_arrays_at_once_and_each_keeps_its_own(arena: NativeArena) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        native.install(arena)
        mine: list[np.ndarray] = []
        for turn in range(60):
            array = np.full(N + turn * 1000, number * 1000 + turn, np.int64)
            mine.append(array * 1)
            if len(mine) > 3:
                old = mine.pop(0)
                if old.min() != old.max() or np.zeros(N).any():
                    wrong.append(turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert wrong == []
    assert arena.live_bytes == 0


def test_a_handler_that_somebody_else_installed_is_left_in_its_place(arena: NativeArena) -> None:
    functions = numpy_memory()
    strange = loaded().handler(arena._handle, 10, functions.address(functions.default))
    functions.set_handler(functions.capsule(strange, loaded().capsule_name, None))
    assert not native.installed()
    assert not native.install(arena)
    native.uninstall()
    assert functions.address(functions.get_handler()) == strange
    functions.set_handler(functions.default)
    assert native.install(arena)


def test_one_arena_can_take_the_place_of_another(arena: NativeArena) -> None:
    first = np.ones(N)
    other = NativeArena(1 << 30, reserve=False)
    assert native.install(other)
    second = first + 1
    assert born(other, second)
    assert native.install(arena)
    assert native.installed()
    second.resize(2 * N, refcheck=False)
    assert born(other, second)
    assert second.sum() == 2 * N
    del second
    assert other.live_bytes == 0
    other.close()


def test_arrays_outlive_their_arena_and_its_memory_goes_with_the_last_of_them() -> None:
    arena = NativeArena(1 << 30, warm_bytes=64 * MIB)
    assert native.install(arena)
    array = np.arange(float(N))
    lease = arena.find(array.ctypes.data, array.nbytes)
    assert lease is not None
    arena.close()
    arena.close()
    assert array[N - 1] == N - 1
    assert not born(arena, np.ones(N))
    with pytest.raises(ArenaFull):
        arena.allocate(1)
    assert os.fstat(arena.fd).st_size == arena.nbytes
    array.resize(2 * N, refcheck=False)
    assert array[N - 1] == N - 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(arena.fd)
    native.uninstall()


def test_what_peers_still_read_is_there_when_the_arena_is_closed() -> None:
    arena = NativeArena(1 << 24)
    block = arena.allocate(PAGE)
    bytes_at(arena.address + block.offset, PAGE)[:] = 7
    peer = os.dup(arena.fd)
    arena.close()
    assert set(os.pread(peer, PAGE, block.offset)) == {7}
    os.close(peer)


def test_the_reserve_prepares_what_was_lately_wanted_and_not_there() -> None:
    arena = NativeArena(1 << 30, warm_bytes=64 * MIB)
    taken = arena.allocate(32 * MIB)
    assert arena.stats().cold_hits == 1
    # It is made in the background, so that nobody waits for it; here somebody wants to see it.
    while arena.stats().reserve_bytes < 32 * MIB:
        assert arena.live_bytes == taken.nbytes
    assert resident(arena) >= 32 * MIB
    again = arena.allocate(32 * MIB)
    assert arena.stats().reserve_hits == 1
    assert not bytes_at(arena.address + again.offset, again.nbytes).any()
    arena.close()


def test_without_large_blocks_there_is_no_thread() -> None:
    before = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only counted
    arena = NativeArena(1 << 30, warm_bytes=64 * MIB)
    arena.free(arena.allocate(MIB // 2))
    assert len(os.listdir("/proc/self/task")) == before  # noqa: PTH208 - as above
    arena.close()


def test_options_can_switch_the_arena_off_and_bound_it() -> None:
    with options.override(arena=False):
        assert founding.from_options().arena is None
        assert native.preload_environment() == {}
    with options.override(arena_bytes=1 << 24, arena_budget=1e-12):
        arena = founding.from_options().arena
    assert isinstance(arena, NativeArena)
    assert arena.nbytes == 1 << 24
    with pytest.raises(ArenaFull):
        arena.allocate(1)
    arena.close()


def test_a_file_system_that_is_full_is_a_full_arena_and_never_a_bus_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SNAKEPIT_NB_MEMFD", "0")
    arena = NativeArena(1 << 26, warm_bytes=1 << 24)
    block = arena.allocate(MIB)
    assert resident(arena) == MIB
    arena.free(block)
    arena.close()
