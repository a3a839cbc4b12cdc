"""Arrays through two stores: who sees whose writes, which events tell of it, what is refused."""

from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np
import pytest

from snakepit_nb.arrays import attached, memory
from snakepit_nb.arrays import store as stores
from snakepit_nb.arrays.arena import Arena
from snakepit_nb.arrays.store import Store
from snakepit_nb.errors.types import ArrayError
from tests.stores import (
    KERNEL,
    WORKER,
    born_in,
    checked_events,
    descriptors,
    introduce,
    lend,
    mappings,
    settle,
)

EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"
RELEASE = "snakepit.zero_copy.release"
LEAKED = "snakepit.zero_copy.leaked"


# Who sees whose writes


def test_the_lender_does_not_see_what_a_copy_on_write_borrower_writes(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    handle = lend(kernel, np.zeros(2000), WORKER)
    first = worker.import_(handle, peer=KERNEL)
    first[:] = 7
    second = worker.import_(handle._replace(lease=0), peer=KERNEL)
    assert (first.max(), second.max()) == (7, 0)


def test_both_sides_see_what_is_written_in_place(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    handle = lend(kernel, np.zeros(2000), WORKER)
    ours = kernel.import_(handle, peer=KERNEL, mode="in_place")
    theirs = worker.import_(handle, peer=KERNEL, mode="in_place")
    theirs[3] = 1
    ours[4] = 2
    assert ours[:5].tolist() == theirs[:5].tolist() == [0, 0, 0, 1, 2]


def test_a_write_to_a_readonly_array_is_an_error_and_cannot_be_unlocked(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = worker.import_(lend(kernel, np.zeros(2000), WORKER), peer=KERNEL, mode="readonly")
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_a_reader_s_descriptor_cannot_be_mapped_to_write_to_the_owner(pair: tuple[Store, Store]) -> None:
    kernel, _ = pair
    assert kernel.arena is not None
    found = kernel.open_readonly(kernel.arena.id)
    assert found is not None
    other = Store("worker", None)
    other.attach(kernel.arena.id, *found)
    handle = lend(kernel, np.zeros(2000), WORKER)
    with pytest.raises(ArrayError, match="Permission denied"):
        other.import_(handle, peer=KERNEL, mode="in_place")
    array = other.import_(handle, peer=KERNEL)
    array[:] = 1
    del array
    other.close()


# The events


@pytest.mark.parametrize(
    ("reason", "array"),
    [
        ("first_share", np.zeros(1000)),
        ("dtype", np.array([None] * 1000)),
        ("dtype", np.zeros(1000, np.dtype("f8", metadata={"unit": "m"}))),
        ("capacity", np.zeros(1 << 20)),
    ],
    ids=["first share", "objects", "metadata", "too much"],
)
def test_one_copy_is_one_fallback_with_its_reason_and_no_export(reason: str, array: np.ndarray) -> None:
    store = Store("kernel", Arena(1 << 20), inline_bytes=100)
    with checked_events() as captured:
        handle = store.export(array, request_id=5)
    assert (handle is not None) == (reason == "first_share")
    (told,) = captured
    assert told.has({"reason": reason, "bytes": array.nbytes, "direction": "to_worker", "request_id": 5})
    assert captured.names() == [FALLBACK]
    assert told.metadata["handle_id"] == (None if handle is None else f"{handle.lease:x}")
    store.close()


def test_without_an_arena_the_one_fallback_says_disabled() -> None:
    with checked_events() as captured:
        assert Store("worker", None).export(np.zeros(1000)) is None
    assert [(each.metadata["reason"], each.metadata["direction"]) for each in captured] == [
        ("disabled", "to_kernel")
    ]


def test_a_small_array_travels_inside_the_message_and_nobody_is_told() -> None:
    store = Store("kernel", Arena(1 << 20), inline_bytes=4096)
    with checked_events() as captured:
        assert store.export(np.zeros(511)) is None
        assert store.export(np.zeros((0, 9))) is None
    assert not captured
    store.close()


def test_memory_of_a_peer_is_lent_as_it_lies_and_that_is_an_export(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    third = Store("worker", None, inline_bytes=0)
    here = kernel.import_(lend(worker, np.arange(1000.0), KERNEL), peer=WORKER, mode="in_place")
    introduce(worker, third)
    with checked_events() as captured:
        home = worker.import_(lend(kernel, here[::2], WORKER), peer=KERNEL)
        away = third.import_(lend(kernel, here[1::2], "third"), peer=KERNEL)
    assert captured.names() == [EXPORT, IMPORT] * 2
    assert kernel.stats().copied == 0
    assert (kernel.stats().shared, kernel.stats().shared_bytes) == (2, 8000)
    here[:4] = [9, 8, 7, 6]
    assert (home[:2].tolist(), away[:2].tolist()) == ([9, 7], [8, 6])
    del home, away
    third.close()


def test_any_buffer_in_lent_memory_is_lent_as_it_lies_whatever_object_is_around_it(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, np.arange(1000.0), KERNEL), peer=WORKER, mode="in_place")
    around = np.frombuffer(memoryview(here.data)[100:200], np.uint8)
    with checked_events() as captured:
        handle = kernel.export(around, kind="arrow")
    assert captured.names() == [EXPORT]
    assert handle is not None
    assert worker.import_(handle, peer=KERNEL).tobytes() == here[100:200].tobytes()


def test_copy_on_write_memory_goes_back_as_a_copy_with_what_was_written(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    there = worker.import_(lend(kernel, np.zeros(1000), WORKER), peer=KERNEL)
    there[:] = 3
    with checked_events(FALLBACK, EXPORT) as captured:
        back = kernel.import_(lend(worker, there, KERNEL), peer=WORKER, mode="in_place")
    assert [each.metadata["reason"] for each in captured] == ["first_share"]
    assert back.min() == 3


def test_read_only_memory_is_lent_back_as_it_lies(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    there = worker.import_(lend(kernel, np.ones(1000), WORKER), peer=KERNEL, mode="readonly")
    with checked_events() as captured:
        back = kernel.import_(lend(worker, there, KERNEL), peer=WORKER)
    assert captured.names() == [EXPORT, IMPORT]
    assert back.sum() == 1000


def test_memory_that_was_unmapped_is_not_taken_for_lent_when_its_address_is_used_again(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    there = worker.import_(lend(kernel, np.ones(1 << 18), WORKER), peer=KERNEL, mode="readonly")
    address = there.__array_interface__["data"][0]
    index = worker.borrower._places
    assert [start for start, _, _ in index] == [address]
    lent = index[0][2]()
    assert lent is not None
    with worker.borrower._books.lock:
        del there, lent
        assert worker.borrower.lent_at(address, 8) is None
        assert len(index) == 1
        assert index[0][2]() is None
    settle(kernel, worker)
    assert not index


def test_a_loan_that_a_finaliser_is_ending_is_not_lent_on(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    here = kernel.import_(lend(worker, np.ones(1000), KERNEL), peer=WORKER, mode="in_place")
    lent = kernel.borrower._places[0][2]()
    assert lent is not None
    address = lent.address
    assert kernel.borrower.lent_at(address, here.nbytes) is lent
    with kernel.borrower._books.lock:
        lent.__del__()
        assert kernel.borrower.lent_at(address, here.nbytes) is None


def test_each_mapping_is_one_import_with_the_lease_that_the_lender_told(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    with checked_events() as captured:
        handle = lend(kernel, np.zeros((20, 50), ">f4"), WORKER)
        arrays = [worker.import_(handle, peer=KERNEL, request_id=9) for _ in range(2)]
    assert captured.names() == [FALLBACK, IMPORT, IMPORT]
    assert {each.metadata["handle_id"] for each in captured} == {f"{handle.lease:x}"}
    told = captured[1]
    assert told.has({"dtype": ">f4", "shape": [20, 50], "bytes": 4000, "kind": "dlpack", "request_id": 9})
    del arrays


# Bad handles


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arena": "elsewhere"}, "does not know"),
        ({"offset": 1 << 40}, "outside its arena"),
        ({"shape": (10**6,)}, "span bytes"),
        ({"shape": (1,) * 70, "strides": (8,) * 70}, "array handle with shape"),
        ({"dtype": "O"}, "objects"),
        ({"dtype": "what"}, "unknown dtype"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_a_handle_that_does_not_fit_is_refused_and_its_lease_goes_back(
    pair: tuple[Store, Store], change: dict[str, Any], words: str
) -> None:
    kernel, worker = pair
    array = born_in(kernel, np.zeros(1000))
    worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
    worker.take_returns(KERNEL)
    handle = lend(kernel, array, WORKER)
    before = mappings()
    with pytest.raises(ArrayError, match=words):
        worker.import_(handle._replace(**change), peer=KERNEL)
    gc.collect()
    assert mappings() == before
    assert worker.take_returns(KERNEL) == [handle.lease]


def test_a_handle_on_a_block_of_an_earlier_life_is_refused(pair: tuple[Store, Store]) -> None:
    kernel, _ = pair
    old = lend(kernel, np.zeros(1000), WORKER)
    kernel.release([old.lease])
    lend(kernel, np.zeros(1000), WORKER)
    with pytest.raises(ArrayError, match="freed since"):
        kernel.import_(old, peer=WORKER)


def test_an_unknown_arena_is_looked_for_before_it_is_refused() -> None:
    kernel = Store("kernel", Arena(1 << 20), inline_bytes=0)
    worker = Store("worker", None, on_unknown=lambda: introduce(kernel, worker))
    assert worker.import_(lend(kernel, np.ones(1000), WORKER), peer=KERNEL).sum() == 1000
    worker.close()
    kernel.close()


def test_memory_that_is_shorter_than_said_is_refused_and_closed() -> None:
    arena = Arena(1 << 20)
    before = descriptors()
    with pytest.raises(ArrayError, match="shorter than"):
        Store("kernel", None).attach(arena.id, os.dup(arena.fd), arena.nbytes + 1)
    assert descriptors() == before
    arena.close()


def test_where_a_whole_arena_cannot_be_mapped_one_array_still_can(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, worker = pair
    real = memory.map_memory

    def short_of_space(fd: int, offset: int, nbytes: int, *, writable: bool, private: bool) -> int:
        if nbytes > 1 << 20:
            message = "no address space"
            raise ArrayError(message)
        return real(fd, offset, nbytes, writable=writable, private=private)

    monkeypatch.setattr(attached, "map_memory", short_of_space)
    handle = lend(worker, np.zeros(1000), KERNEL)
    here = kernel.import_(handle, peer=WORKER, mode="in_place")
    here[0] = 1
    assert worker.import_(handle._replace(lease=0), peer=KERNEL)[0] == 1


# Plain bytes


@pytest.mark.parametrize("arena_bytes", [1 << 20, None], ids=["arena", "no arena"])
@pytest.mark.parametrize("nbytes", [1, 100_000, 5_000_000])
def test_bytes_are_put_where_there_is_room_and_gone_when_their_lease_ends(
    arena_bytes: int | None, nbytes: int
) -> None:
    store = Store("kernel", Arena(arena_bytes) if arena_bytes else None)
    data = os.urandom(nbytes)
    before = descriptors()
    with checked_events() as captured:
        placed = store.put(data)
        assert store.read(placed.arena, placed.offset, nbytes) == data
        store.release([placed.lease])
        store.release([placed.lease])
    assert captured.names() == []  # events tell of arrays
    assert descriptors() == before
    assert store.stats().live_bytes == 0
    if store.arena is None or placed.arena != store.arena.id:
        with pytest.raises(ArrayError, match="cannot be read here"):
            store.read(placed.arena, 0, 1)
    store.close()


def test_bytes_for_a_reader_that_dies_are_freed_with_its_leases() -> None:
    store = Store("kernel", None)
    before = descriptors()
    placed = store.put(b"abc")
    store.hand([placed.lease], WORKER)
    store.forget(WORKER)
    assert (descriptors(), store.stats().leases) == (before, 0)


def test_where_there_is_no_room_at_all_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(data: bytes) -> int:
        raise OSError(28, "No space left on device", len(data))

    monkeypatch.setattr(stores, "file_of", full)
    with pytest.raises(ArrayError, match="a message of 3 bytes finds no room in memory: No space left"):
        Store("kernel", None).put(b"abc")


def test_where_there_is_no_memfd_bytes_are_put_in_a_file_without_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setenv("SNAKEPIT_NB_MEMFD", "0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = Store("kernel", None)
    placed = store.put(b"abc" * 1000)
    assert store.read(placed.arena, 3, 3) == b"abc"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - as short as it gets
    store.release([placed.lease])


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 1), (0, -1), (0, (1 << 20) + 1), (1 << 20, 1)])
def test_bytes_outside_an_arena_are_not_read(offset: int, nbytes: int) -> None:
    store = Store("kernel", Arena(1 << 20))
    assert store.arena is not None
    with pytest.raises(ArrayError, match="cannot be read here"):
        store.read(store.arena.id, offset, nbytes)
    store.close()
