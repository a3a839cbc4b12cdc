"""Views: what lies in one block is one loan, whatever views of it a message holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb.arrays.handle import from_bytes
from snakepit_nb.wire.payload import handles_of, pack, unpack
from tests.stores import KERNEL, WORKER, born_in, checked_events, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.store import Store

EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"
RELEASE = "snakepit.zero_copy.release"


def over(pair: tuple[Store, Store], obj: object) -> Any:
    """The object as it arrives in the worker."""
    kernel, worker = pair
    return unpack(pack(obj, kernel), worker, peer=KERNEL)


def test_an_array_born_in_shared_memory_is_lent_as_it_lies(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(5000.0))
    with checked_events() as captured:
        there = over(pair, array)
        assert there[-1] == 4999
        del there
        settle(*pair)
    assert captured.names() == [EXPORT, IMPORT, RELEASE]
    assert captured[0].has({"copied": False, "bytes": 40_000, "shape": [5000], "dtype": "float64"})
    assert pair[0].stats().leases == 0
    assert array[-1] == 4999


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a[100:4000:3],
        lambda a: a.reshape(50, 100).T,
        lambda a: a.reshape(50, 100)[:, 7],
        lambda a: a.reshape(5, 10, 100)[1:, ::-2, ::5],
        lambda a: a.view(np.int32)[1::2],
        lambda a: a.view("V16")[3:],
        lambda a: a[..., None],
        lambda a: a[17:18],
        lambda a: a[5:6].reshape(()),
        lambda a: np.broadcast_to(a[:10], (7, 10)),
    ],
)
def test_a_view_is_lent_with_its_own_place_shape_and_strides(
    pair: tuple[Store, Store], view: Callable[[np.ndarray], np.ndarray]
) -> None:
    array = born_in(pair[0], np.arange(5000.0))
    seen = view(array)
    handle = pair[0].export(seen)
    assert handle is not None
    there = pair[1].import_(handle, peer=KERNEL)
    np.testing.assert_array_equal(there, seen, strict=True)
    assert (there.strides, there.dtype) == (seen.strides, seen.dtype)
    assert pair[0].stats().copied == 0


def test_two_views_of_one_array_arrive_as_views_of_one_array(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(5000.0))
    with checked_events() as captured:
        packed = pack(({"whole": array, "evens": array[::2]}, [array[4000:]]), pair[0])
        assert len(packed.leases) == 1
        found: Any = unpack(packed, pair[1], peer=KERNEL)
        named, (tail,) = found
        named["whole"][4000] = -1
        assert (named["evens"][2000], tail[0]) == (-1, -1)
        tail[2] = -2
        assert named["evens"][2001] == -2
        assert array[4000] == 4000
        del found, named
        settle(*pair)
        assert pair[0].stats().leases == 1
        assert tail[2] == -2
        del tail
        settle(*pair)
    assert captured.names() == [EXPORT] * 3 + [IMPORT] * 3 + [RELEASE]
    assert len({each.metadata["handle_id"] for each in captured}) == 1


def test_a_small_view_beside_a_large_one_is_a_view_of_it(small_inline: tuple[Store, Store]) -> None:
    array = born_in(small_inline[0], np.arange(5000.0))
    for sent in ((array, array[10:13]), (array[10:13], array)):
        found = over(small_inline, sent)
        small, large = sorted(found, key=len)
        small[0] = -5
        assert large[10] == -5


def test_a_small_view_alone_is_not_worth_a_loan_and_nobody_is_told(small_inline: tuple[Store, Store]) -> None:
    array = born_in(small_inline[0], np.arange(5000.0).reshape(50, 100))
    with checked_events() as captured:
        packed = pack([array[3, ::-2], array[:2, 1]], small_inline[0])
        first, second = over(small_inline, [array[3, ::-2], array[:2, 1]])
    assert (packed.leases, list(captured)) == ((), [])
    np.testing.assert_array_equal(first, array[3, ::-2], strict=True)
    np.testing.assert_array_equal(second, array[:2, 1], strict=True)
    first[0] = -1
    assert array[3, -1] == 399


def test_views_of_an_array_that_has_to_be_copied_arrive_as_views_of_one_copy(
    pair: tuple[Store, Store],
) -> None:
    array = np.arange(5000.0)
    with checked_events() as captured:
        found = over(pair, [array[:4000], array[2000:], array])
    assert captured.names() == [FALLBACK] + [IMPORT] * 3
    assert captured[0].has({"reason": "first_share", "bytes": array.nbytes})
    found[0][3000] = -1
    assert (found[1][1000], found[2][3000]) == (-1, -1)


def test_a_small_part_of_an_array_that_has_to_be_copied_does_not_cost_all_of_it(
    pair: tuple[Store, Store],
) -> None:
    array = np.arange(50_000.0)
    with checked_events(FALLBACK) as captured:
        found = over(pair, array[10:1000])
    assert [each.measurements["bytes"] for each in captured] == [990 * 8]
    np.testing.assert_array_equal(found, array[10:1000], strict=True)


def test_the_same_array_twice_arrives_as_the_same_object(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(5000.0))
    found = over(pair, [array, {"again": array}, array[:]])
    assert found[0] is found[1]["again"]
    assert found[2] is not found[0]
    assert np.shares_memory(found[2], found[0])


def test_views_in_different_messages_are_loans_of_their_own(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(5000.0))
    first, second = over(pair, array), over(pair, array[::-1])
    first[0] = -1
    assert second[-1] == 0
    assert pair[0].stats().leases == 2
    assert pair[0].stats().leased_bytes == 2 * -(-array.nbytes // 4096) * 4096


def test_arrays_of_two_blocks_are_two_loans(pair: tuple[Store, Store]) -> None:
    packed = pack([born_in(pair[0], np.zeros(1000)), born_in(pair[0], np.ones(1000))], pair[0])
    assert len(set(packed.leases)) == len(handles_of(packed.buffers)) == 2


def test_memory_that_its_owner_let_go_of_lives_until_the_last_view_elsewhere_is_gone(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    array = born_in(kernel, np.arange(5000.0))
    there = over(pair, array[::2])
    del array
    born_in(kernel, np.zeros(5000))
    assert there[1] == 2
    settle(kernel, worker)
    live = kernel.stats().live_bytes
    assert live > 0
    del there
    settle(kernel, worker)
    assert kernel.stats().live_bytes == 0


def test_a_view_that_reaches_over_the_end_of_its_block_is_refused(pair: tuple[Store, Store]) -> None:
    array = born_in(pair[0], np.arange(5000.0))
    packed = pack(array, pair[0])
    (handle,) = from_bytes(packed.buffers)
    with pytest.raises(Exception, match="span bytes"):
        pair[1].import_(handle._replace(start=handle.nbytes), peer=KERNEL)
    assert pair[1].take_returns(KERNEL) == list(packed.leases)


def test_a_loan_to_a_dead_borrower_ends_and_the_owner_s_array_lives_on(pair: tuple[Store, Store]) -> None:
    kernel, _ = pair
    array = born_in(kernel, np.arange(5000.0))
    packed = pack([array, array[::2]], kernel)
    kernel.hand(packed.leases, WORKER)
    kernel.forget(WORKER)
    assert kernel.stats().leases == 0
    born_in(kernel, np.zeros(5000))
    assert array.sum() == 12_497_500
