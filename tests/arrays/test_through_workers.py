"""Arrays through real workers, both ways, against `copy.deepcopy`; many at once; and what is left."""

from __future__ import annotations

import copy
import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snakepit_nb import Pool, options
from snakepit_nb.pool import loans
from tests.stores import checked_events, descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 1 << 18  # elements: two megabytes, born in shared memory where that can be
EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"


@pytest.fixture(scope="module")
def warm() -> Iterator[Pool]:
    # Every array that is not empty goes through shared memory, and comes back through it.
    with options.override(inline_bytes=1), Pool(2) as pool:
        yield pool.start()


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as made:
        yield made.start()


@pytest.fixture
def needs_birth() -> None:
    """For tests of what only happens where arrays are born in shared memory."""
    store = loans.kernel_store()
    loans.bear_here()
    probe = np.ones(LARGE)
    block = store.arena.find(probe.ctypes.data, probe.nbytes) if store.arena is not None else None
    if block is None or store.arena is None:
        pytest.skip("arrays are not born in shared memory here: no arena library, or SNAKEPIT_NB_ARENA=0")
    store.arena.free(block)


def _same(value: Any) -> Any:
    return value


def _made_again(array: np.ndarray) -> np.ndarray:
    return np.array(array, order="K", subok=False)


def _filled(array: np.ndarray, value: float) -> np.ndarray:
    array[...] = value
    return array


def _total(array: np.ndarray) -> float:
    return float(array.sum())


def _settled(pool: Pool) -> None:
    """Two answered requests later, the leases that waited are home: they ride on messages."""
    gc.collect()
    for _ in range(2):
        for future in [pool.submit(abs, -1) for _ in range(2 * pool.max_workers)]:
            future.result()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_array_arrives_and_comes_back_as_a_deep_copy_would(warm: Pool, data: st.DataObject) -> None:
    dtype = data.draw(hnp.scalar_dtypes() | hnp.array_dtypes().map(lambda found: found.base))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)))
    view = np.asarray(array[data.draw(hnp.basic_indices(array.shape, allow_newaxis=True))])
    if data.draw(st.booleans()):
        view = view.T
    expected = copy.deepcopy(view)
    same, again = warm.submit(_same, view), warm.submit(_made_again, view)
    for found in (same.result(), again.result()):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()


@pytest.mark.usefixtures("needs_birth")
def test_two_views_arrive_as_views_of_one_array_and_come_back_as_such(warm: Pool) -> None:
    array = np.arange(float(LARGE))

    def change(whole: np.ndarray, parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        whole[0] = -1
        parts["evens"][1] = -2
        return whole, parts["evens"]

    whole, evens = warm.submit(change, array, {"evens": array[::2]}).result()
    assert (evens[0], whole[2]) == (-1, -2)
    evens[2] = -3
    assert whole[4] == -3
    assert array[:5].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("needs_birth")
def test_large_arrays_go_and_come_without_a_copy(pool: Pool) -> None:
    array = np.arange(float(LARGE))
    pool.submit(_made_again, array).result()
    with checked_events(EXPORT, FALLBACK, IMPORT) as captured:
        found = pool.submit(_made_again, array).result()
    assert captured.names() == [EXPORT, IMPORT, EXPORT, IMPORT]
    found += 1
    np.testing.assert_array_equal(found, array + 1)


@pytest.mark.usefixtures("needs_birth")
def test_an_input_that_comes_back_unchanged_is_the_kernel_s_own_memory(pool: Pool) -> None:
    array = np.arange(float(LARGE))
    with checked_events(FALLBACK) as captured:
        back, part = pool.submit(_same, (array, array[5:])).result()
    assert not captured
    assert np.shares_memory(back, array)
    part[0] = -1
    assert array[5] == -1


@pytest.mark.usefixtures("needs_birth")
def test_a_result_that_a_worker_keeps_is_copied_once_and_each_side_has_its_own() -> None:
    def keep(turn: int) -> np.ndarray:
        import builtins

        if not hasattr(builtins, "kept_for_a_test"):
            builtins.kept_for_a_test = np.arange(float(1 << 18))  # type: ignore[attr-defined]
        kept: np.ndarray = builtins.kept_for_a_test  # type: ignore[attr-defined]
        kept[0] += turn
        return kept

    with Pool(1) as alone:
        with checked_events(EXPORT, FALLBACK) as captured:
            first = alone.submit(keep, 1).result()
            second = alone.submit(keep, 1).result()
        assert [each.metadata["reason"] for each in captured] == ["first_share", "first_share"]
        first[0] = 100
        assert (second[0], alone.submit(keep, 1).result()[0]) == (2, 3)


def test_a_result_goes_on_to_another_worker_and_outlives_both(pool: Pool) -> None:
    with Pool(1) as maker:
        made = maker.submit(np.arange, float(LARGE)).result()
        view = made[::-1]
        assert pool.submit(_total, view).result() == made.sum()
    assert pool.submit(_total, view[: LARGE // 2]).result() == view[: LARGE // 2].sum()
    back = pool.submit(_same, view).result()
    pool.submit(os._exit, 3).exception()
    made[0] = 7
    assert made[-1] == LARGE - 1
    assert view[-1] == 7
    assert back[0] == LARGE - 1
    assert pool.submit(_total, made).result() == made.sum()


@pytest.mark.usefixtures("needs_birth")
def test_what_is_left_of_a_dead_worker_s_arena_takes_no_more_than_is_held_of_it() -> None:
    borrower = loans.kernel_store().borrower
    before = list(borrower._attached.values())
    with Pool(1) as maker:
        kept = maker.submit(np.ones, LARGE).result()
        more = maker.submit(np.ones, 16 * LARGE).result()
        place = next(each for each in borrower._attached.values() if each not in before)
        assert os.fstat(place.fd).st_blocks * 512 >= kept.nbytes + more.nbytes
        del more
    assert os.fstat(place.fd).st_blocks * 512 <= kept.nbytes + (1 << 16)
    assert kept.sum() == LARGE


def test_a_hundred_requests_at_once_over_one_input_each_have_their_own_copy_on_write(pool: Pool) -> None:
    array = np.ones(LARGE)
    writers = [pool.submit(_filled, array, turn) for turn in range(2, 30)]
    readers = [pool.submit(_total, array) for _ in range(72)]
    for turn, future in zip(range(2, 30), writers, strict=True):
        found = future.result()
        assert (found.min(), found.max()) == (turn, turn)
    assert {future.result() for future in readers} == {float(LARGE)}
    assert array.sum() == LARGE


def test_a_worker_s_writes_are_never_seen_while_the_kernel_reads_its_own(pool: Pool) -> None:
    array = np.ones(LARGE)
    stop = threading.Event()
    seen: set[float] = set()

    def watch() -> None:
        while not stop.is_set():
            seen.add(float(array.sum()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for turn in range(20):
            assert pool.submit(_filled, array, turn).result().max() == turn
    finally:
        stop.set()
        watcher.join()
    assert seen == {float(LARGE)}


def test_an_array_that_the_kernel_drops_lives_on_where_a_worker_keeps_it() -> None:
    def keep(array: np.ndarray) -> None:
        import builtins

        builtins.kept_for_a_test = array  # type: ignore[attr-defined]

    def kept() -> float:
        import builtins

        return float(builtins.kept_for_a_test.sum())  # type: ignore[attr-defined]

    with Pool(1) as pool:
        array = np.full(LARGE, 3.0)
        pool.submit(keep, array).result()
        del array
        others = [np.zeros(LARGE) for _ in range(5)]
        assert pool.submit(kept).result() == 3.0 * LARGE
        del others


def test_functions_and_containers_carry_arrays_too(pool: Pool) -> None:
    weights = np.arange(float(LARGE))
    with checked_events(EXPORT, FALLBACK) as captured:
        found = pool.submit(lambda x: {"deep": [weights * x]}, 2).result()
    assert len(captured) == 2
    np.testing.assert_array_equal(found["deep"][0], weights * 2)


def test_ten_thousand_arrays_through_workers_leave_nothing(pool: Pool) -> None:
    store = loans.kernel_store()
    big, medium = np.ones(LARGE // 2), np.arange(2000.0)

    def turn() -> None:
        futures = [pool.submit(_same, [big, big[7:], medium, medium[::2], medium[:3]]) for _ in range(50)]
        for future in futures:
            assert future.result()[2][-1] == 1999

    turn()
    _settled(pool)
    before, memory = (store.stats().live_bytes, store.stats().leases, descriptors()), _memory_of_all()
    for _ in range(40):
        turn()
    _settled(pool)
    assert (store.stats().live_bytes, store.stats().leases, descriptors()) == before
    # Two gigabytes went by; what Python itself sets aside is far less.
    assert _memory_of_all() - memory < 32 << 20


def _memory_of_all() -> int:
    """Bytes that this process, the nursery and the workers hold, each shared page counted once."""
    this = psutil.Process()
    return sum(int(each.memory_full_info().pss) for each in (this, *this.children(recursive=True)))
