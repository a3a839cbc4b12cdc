"""Results: what becomes the kernel's own, what goes home, and what a worker keeps and so has to be copied."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb.arrays import handle, memory, pages, shipping
from snakepit_nb.arrays.memory import PAGE
from snakepit_nb.wire.payload import Prepared, pack, prepare, unpack
from tests.stores import KERNEL, WORKER, born_in, checked_events, descriptors, settle, two_stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.handle import Mode
    from snakepit_nb.arrays.store import Store

EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"
RELEASE = "snakepit.zero_copy.release"
OUT = (EXPORT, FALLBACK)


def given(pair: tuple[Store, Store], obj: object, mode: Mode = "copy_on_write") -> Any:
    """An argument as it arrives in the worker."""
    return unpack(pack(obj, pair[0], mode=mode), pair[1], peer=KERNEL)


def answer(pair: tuple[Store, Store], prepared: Prepared) -> Any:
    """A result as it arrives in the kernel; whoever calls has let go of it in the worker."""
    packed = prepared.seal(moving=True)
    pair[1].hand(packed.leases, KERNEL)
    return unpack(packed, pair[0], peer=WORKER, mode="in_place")


def is_clean(pair: tuple[Store, Store]) -> bool:
    gc.collect()
    settle(*pair)
    return all((each.stats().leases, each.stats().live_bytes) == (0, 0) for each in pair)


# Results that move, and results that are kept


def test_a_result_that_the_worker_let_go_of_becomes_the_kernel_s_own(pair: tuple[Store, Store]) -> None:
    made = born_in(pair[1], np.arange(5000.0))
    address = made.ctypes.data
    prepared = prepare({"y": made}, pair[1])
    del made
    with checked_events() as captured:
        found = answer(pair, prepared)
    assert captured.names() == [EXPORT, IMPORT]
    assert captured[0].has({"direction": "to_kernel", "copied": False, "bytes": 40_000})
    found["y"][0] = 5
    assert memory.bytes_at(address, 8).view(float)[0] == 5
    del found
    assert is_clean(pair)


def test_a_result_that_the_worker_keeps_goes_as_a_copy_so_that_neither_sees_the_other_s_writes(
    pair: tuple[Store, Store],
) -> None:
    kept = born_in(pair[1], np.arange(5000.0))
    prepared = prepare(kept, pair[1])
    with checked_events() as captured:
        found = answer(pair, prepared)
    assert captured.names() == [FALLBACK, IMPORT]
    assert captured[0].has({"reason": "first_share", "bytes": 40_000, "direction": "to_kernel"})
    kept[0], found[1] = -1, -2
    assert (found[0], kept[1]) == (0, 1)
    del found
    settle(*pair)
    assert kept[2] == 2
    del kept
    assert is_clean(pair)


def test_of_a_large_array_that_the_worker_keeps_only_what_was_asked_for_is_copied(
    pair: tuple[Store, Store],
) -> None:
    kept = born_in(pair[1], np.arange(500_000.0))
    prepared = prepare([kept[1000:2000:2], kept[1500:2500][::-1]], pair[1])
    with checked_events(*OUT) as captured:
        evens, backwards = answer(pair, prepared)
    assert [each.measurements["bytes"] for each in captured] == [1500 * 8]
    np.testing.assert_array_equal(evens, kept[1000:2000:2], strict=True)
    np.testing.assert_array_equal(backwards, kept[1500:2500][::-1], strict=True)
    backwards[-1] = -1
    assert evens[250] == -1
    assert kept[1500] == 1500


def test_a_view_that_the_worker_keeps_keeps_all_of_its_array(pair: tuple[Store, Store]) -> None:
    made = born_in(pair[1], np.arange(5000.0))
    kept = made[4990:]
    prepared = prepare(made, pair[1])
    del made
    with checked_events(*OUT) as captured:
        found = answer(pair, prepared)
    assert captured.names() == [FALLBACK]
    found[:] = 0
    assert kept[0] == 4990


def test_a_large_result_in_a_circle_of_garbage_moves_all_the_same(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Store, Store]
) -> None:
    monkeypatch.setattr(shipping, "_COLLECT_FROM", 1000)
    circle: list[object] = [born_in(pair[1], np.arange(5000.0))]
    circle.append(circle)
    prepared = prepare(circle[0], pair[1])
    del circle
    with checked_events(*OUT) as captured:
        found = answer(pair, prepared)
    assert captured.names() == [EXPORT]
    del found
    assert is_clean(pair)


def test_a_moved_result_that_comes_back_in_place_goes_home_again_without_a_copy(
    pair: tuple[Store, Store],
) -> None:
    made = born_in(pair[1], np.arange(5000.0))
    prepared = prepare(made, pair[1])
    del made
    here = answer(pair, prepared)
    there = given(pair, here, "in_place")
    there[0] = 7
    prepared = prepare(there, pair[1])
    del there
    with checked_events(*OUT) as captured:
        again = answer(pair, prepared)
    assert captured.names() == [EXPORT]
    assert np.shares_memory(again, here)
    assert here[0] == 7
    del here, again
    assert is_clean(pair)


def test_where_a_copy_finds_no_room_the_result_comes_inside_the_message() -> None:
    with two_stores() as pair:
        kept = born_in(pair[1], np.arange(5_000_000.0))
        prepared = prepare([kept, kept[::-1000]], pair[1])
        with checked_events(*OUT) as captured:
            whole, some = answer(pair, prepared)
        assert [each.metadata["reason"] for each in captured] == ["capacity", "capacity"]
        np.testing.assert_array_equal(whole, kept, strict=True)
        np.testing.assert_array_equal(some, kept[::-1000], strict=True)
        whole[0] = -1
        assert kept[0] == 0
        assert pair[1].stats().leases == 0
        del kept


def test_what_was_prepared_and_is_dropped_leaves_nothing(pair: tuple[Store, Store]) -> None:
    made = born_in(pair[1], np.arange(5000.0))
    prepared = prepare([made, np.arange(5000.0)], pair[1])
    del made
    prepared.close()
    prepared.close()
    assert prepared.seal().leases == ()
    assert is_clean(pair)


def test_an_interrupt_while_results_are_sealed_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Store, Store]
) -> None:
    prepared = prepare([born_in(pair[1], np.ones(1000)), born_in(pair[1], np.ones(1000))], pair[1])
    real = handle.to_bytes
    calls = iter([False, True])

    def stopped(lent: handle.ArrayHandle) -> bytes:
        if next(calls):
            raise KeyboardInterrupt
        return real(lent)

    monkeypatch.setattr(shipping, "to_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepared.seal(moving=True)
    assert is_clean(pair)


# Inputs that are results


VIEWS = {
    "whole": lambda a: a,
    "a part": lambda a: a[3000:7000],
    "every other": lambda a: a[::2],
    "backwards": lambda a: a[::-1],
    "a small part": lambda a: a[5:9],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_an_unchanged_input_comes_home_as_the_kernel_s_own_memory(
    pair: tuple[Store, Store], view: Callable[[np.ndarray], np.ndarray]
) -> None:
    array = born_in(pair[0], np.arange(10_000.0))
    there = given(pair, array)
    assert there.sum() == array.sum()
    prepared = prepare(view(there), pair[1])
    del there
    with checked_events() as captured:
        back = answer(pair, prepared)
        settle(*pair)
    assert captured.names() == [EXPORT, IMPORT, RELEASE, RELEASE]
    np.testing.assert_array_equal(back, view(array), strict=True)
    back[...] = -1
    assert (view(array) == -1).all()
    assert [each.stats().leases for each in pair] == [0, 0]
    array_block = pair[0].stats().live_bytes
    assert array_block > 0
    del array
    assert back.sum() == -back.size
    del back
    assert is_clean(pair)


@pytest.mark.parametrize("place", [0, 1, 511, 512, 5000, 9998, 9999])
def test_an_input_of_which_one_element_was_changed_comes_back_as_a_copy(
    pair: tuple[Store, Store], place: int
) -> None:
    array = born_in(pair[0], np.arange(10_000.0))
    there = given(pair, array)
    there[place] = -1
    prepared = prepare(there, pair[1])
    del there
    with checked_events(*OUT) as captured:
        back = answer(pair, prepared)
    assert [each.metadata["reason"] for each in captured] == ["first_share"]
    assert array[place] == place
    assert back[place] == -1
    back[place] = place
    np.testing.assert_array_equal(back, array, strict=True)
    del back, array
    assert is_clean(pair)


@pytest.mark.parametrize("at", [0, PAGE - 1, PAGE, 3 * PAGE - 1])
def test_one_byte_at_either_end_of_a_page_is_seen(pair: tuple[Store, Store], at: int) -> None:
    array = born_in(pair[0], np.zeros(3 * PAGE, np.uint8))
    there = given(pair, array)
    address = there.ctypes.data
    assert not pages.written(address, there.nbytes)
    there[at] = 1
    found = [pages.written(address + page * PAGE, PAGE) for page in range(3)]
    assert found == [page == at // PAGE for page in range(3)]
    assert pages.written(address + at, 1)


def test_what_was_changed_elsewhere_in_an_input_does_not_cost_a_view_its_way_home(
    pair: tuple[Store, Store],
) -> None:
    array = born_in(pair[0], np.arange(10_000.0))
    there = given(pair, array)
    there[9999] = -1
    prepared = prepare(there[:4000], pair[1])
    del there
    with checked_events(*OUT) as captured:
        back = answer(pair, prepared)
    assert captured.names() == [EXPORT]
    assert np.shares_memory(back, array)


def test_two_views_of_a_changed_input_come_back_as_views_of_one_copy(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(10_000.0))
    there = given(pair, array)
    there[0] = -1
    prepared = prepare([there, there[5000:]], pair[1])
    del there
    with checked_events(*OUT) as captured:
        whole, tail = answer(pair, prepared)
    assert captured.names() == [FALLBACK]
    tail[0] = -2
    assert whole[5000] == -2
    assert array[5000] == 5000


def test_where_the_system_does_not_tell_of_pages_an_input_comes_back_as_a_copy(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Store, Store]
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    array = born_in(pair[0], np.arange(10_000.0))
    there = given(pair, array)
    monkeypatch.setattr("os.open", refused)
    prepared = prepare(there, pair[1])
    del there
    with checked_events(*OUT) as captured:
        back = answer(pair, prepared)
    assert captured.names() == [FALLBACK]
    back[0] = -1
    assert array[0] == 0


@pytest.mark.parametrize("mode", ["readonly", "in_place"])
def test_an_input_that_was_never_the_worker_s_own_always_comes_home(
    pair: tuple[Store, Store], mode: Mode
) -> None:
    array = born_in(pair[0], np.arange(10_000.0))
    there = given(pair, array, mode)
    if mode == "in_place":
        there[0] = -1
    prepared = prepare([there, there[::2]], pair[1])
    del there
    with checked_events(*OUT) as captured:
        back, evens = answer(pair, prepared)
    assert captured.names() == [EXPORT, EXPORT]
    assert np.shares_memory(back, array)
    evens[1] = -7
    assert array[2] == -7
    del back, evens, array
    assert is_clean(pair)


def test_an_input_that_a_session_keeps_is_the_kernel_s_no_longer_once_it_is_written(
    pair: tuple[Store, Store],
) -> None:
    array = born_in(pair[0], np.arange(10_000.0))
    kept = given(pair, array)
    back = answer(pair, prepare(kept, pair[1]))
    assert np.shares_memory(back, array)
    kept[0] = -1
    assert (array[0], back[0]) == (0, 0)
    del array, back
    settle(*pair)
    assert kept[1] == 1
    assert pair[0].stats().leases == 1
    del kept
    assert is_clean(pair)


def test_an_input_out_of_a_copy_comes_home_to_that_copy(pair: tuple[Store, Store]) -> None:
    there = given(pair, np.arange(10_000.0))
    prepared = prepare(there, pair[1])
    del there
    with checked_events(*OUT) as captured:
        back = answer(pair, prepared)
    assert captured.names() == [EXPORT]
    assert back[-1] == 9999
    settle(*pair)
    assert pair[0].stats().leases == 0
    assert pair[0].stats().live_bytes > 0
    del back
    assert is_clean(pair)


def test_ten_thousand_arrays_leave_nothing(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(600.0))

    def there_and_back() -> None:
        there = given(pair, [array, array[::2]])
        result = [born_in(pair[1], there[0]), there[1]]
        prepared = prepare(result, pair[1])
        del there, result
        found = answer(pair, prepared)
        assert found[0][-1] == 599
        del found
        settle(*pair)

    there_and_back()
    before = (descriptors(), [each.stats().live_bytes for each in pair])
    for _ in range(2500):
        there_and_back()
    assert (descriptors(), [each.stats().live_bytes for each in pair]) == before
    assert [each.stats().leases for each in pair] == [0, 0]
