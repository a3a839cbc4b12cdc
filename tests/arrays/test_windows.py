"""Private maps that are kept: what was read stays mapped, what was written never shows again."""

import mmap
import os
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest

from snakepit_nb.arrays import pages
from snakepit_nb.arrays.memory import PAGE, bytes_at, map_memory, memory_file, unmap_memory
from snakepit_nb.arrays.windows import Windows
from snakepit_nb.errors.types import ArrayError
from tests.stores import KERNEL, WORKER, born_in, lend, mappings, settle, two_stores

MANY = 40 * PAGE

needs_scan = pytest.mark.skipif(not pages.quick(), reason="Linux before 6.7 cannot look for written pages")


@pytest.fixture
def memory() -> Iterator[int]:
    """A descriptor of shared memory that holds ones."""
    fd = memory_file(MANY).fd
    with mmap.mmap(fd, MANY) as shared:
        shared[:] = b"\1" * MANY
    yield fd
    os.close(fd)


@pytest.mark.parametrize("how", ["scanned", "read"])
@pytest.mark.parametrize("where", [0, PAGE, MANY - 1], ids=["first page", "second page", "last byte"])
def test_a_page_that_was_written_is_seen_wherever_it_is(memory: int, where: int, how: str) -> None:
    if how == "scanned" and not pages.quick():
        pytest.skip("Linux before 6.7 cannot look for written pages")
    address = map_memory(memory, 0, MANY, writable=True, private=True)
    seen = bytes_at(address, MANY)
    with patch.object(pages, "quick", lambda: how == "scanned"):
        assert not pages.written(address, MANY)
        assert int(seen.sum()) == MANY
        assert not pages.written(address, MANY)
        seen[where] = 7
        assert pages.written(address, MANY)
        assert pages.written(address + where, 1)
        assert not pages.written(address + (where + 2 * PAGE) % (MANY - PAGE), 1)
    unmap_memory(address, MANY)


def test_a_forked_process_looks_at_its_own_pages(memory: int) -> None:
    address = map_memory(memory, 0, MANY, writable=True, private=True)
    mine = pages.PageMap()
    assert not mine.written(address, MANY)
    child = os.fork()
    if not child:
        bytes_at(address, MANY)[PAGE] = 9
        os._exit(int(not mine.written(address, MANY)))
    assert os.waitpid(child, 0)[1] == 0
    assert not mine.written(address, MANY)
    mine.close()
    unmap_memory(address, MANY)


@needs_scan
def test_a_map_that_was_only_read_serves_the_next_loan_and_shows_what_is_there_then() -> None:
    with two_stores() as (kernel, worker):
        array = born_in(kernel, np.zeros(4 * PAGE, np.uint8))
        first = worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
        place, before = first.ctypes.data, mappings()
        assert int(first.sum()) == 0
        del first
        assert mappings() == before
        array[5] = 3
        second = worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
        assert (second.ctypes.data, mappings(), int(second[5])) == (place, before, 3)


def test_what_a_borrower_wrote_for_itself_is_gone_at_the_next_loan() -> None:
    with two_stores() as (kernel, worker):
        array = born_in(kernel, np.zeros(4 * PAGE, np.uint8))
        before = mappings()
        first = worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
        first[7] = 1
        del first
        assert mappings() == before
        assert int(worker.import_(lend(kernel, array, WORKER), peer=KERNEL).max()) == 0


def test_two_loans_of_one_array_at_once_are_two_memories() -> None:
    with two_stores() as (kernel, worker):
        array = born_in(kernel, np.zeros(4 * PAGE, np.uint8))
        for _ in range(2):
            one, two = (worker.import_(lend(kernel, array, WORKER), peer=KERNEL) for _ in range(2))
            one[0] = 1
            assert int(two[0]) == 0
            del one, two


def test_no_more_maps_are_kept_than_a_few_dozen_and_none_of_an_arena_that_is_gone() -> None:
    with two_stores() as (kernel, worker):
        before = mappings()
        for size in range(1, 50):
            array = born_in(kernel, np.zeros(size * PAGE, np.uint8))
            worker.import_(lend(kernel, array, WORKER), peer=KERNEL)
            settle(kernel, worker)
        assert mappings() - before <= 32
        assert kernel.arena is not None
        worker.detach(kernel.arena.id)
        assert mappings() == before


def test_where_written_pages_cannot_be_looked_for_no_map_is_kept(memory: int) -> None:
    windows = Windows(memory)
    address = windows.take((0, MANY))
    with patch.object(pages, "quick", lambda: False):
        assert not windows.worth_keeping(address, MANY)
    windows.put_away((0, MANY), address)
    windows.close()


def test_kept_maps_make_room_where_the_system_refuses_another(memory: int) -> None:
    windows = Windows(memory)
    windows.put_away((0, PAGE), windows.take((0, PAGE)))
    before = mappings()
    with pytest.raises(ArrayError, match="mapping"):
        windows.take((0, 1 << 60))
    assert mappings() == before - 1
    windows.close()
