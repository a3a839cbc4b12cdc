"""In place: who may write to whose memory, and by which descriptor."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb import options
from snakepit_nb.arrays.handle import plain, writable_view
from snakepit_nb.arrays.sharing import ORDINARY, Sharing
from snakepit_nb.errors.types import ArrayError
from snakepit_nb.pool import loans
from snakepit_nb.pool.functions import pack_arguments
from snakepit_nb.pool.process import WorkerProcess
from snakepit_nb.wire import codec, messages
from snakepit_nb.wire.payload import Packed, handles_of, pack, unpack
from tests.stores import KERNEL, WORKER, born_in, checked_events, descriptors, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.arrays.store import Store

EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"


def test_each_object_may_have_a_mode_of_its_own(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    shared, looked_at, own = (born_in(kernel, np.zeros(1000)) for _ in range(3))
    packed = pack([shared, looked_at, own], kernel, modes={id(shared): "in_place", id(looked_at): "readonly"})
    assert [each.mode for each in handles_of(packed.buffers)] == ["in_place", "readonly", "copy_on_write"]
    found: Any = unpack(packed, worker, peer=KERNEL)
    found[0][0] = found[2][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        found[1][0] = 1
    assert (shared[0], looked_at[0], own[0]) == (1, 0, 0)


def test_views_of_one_array_that_are_asked_for_in_different_ways_stay_views_of_one(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    array = born_in(kernel, np.zeros(1000))
    evens, head = array[::2], array[:10]
    packed = pack([evens, array, head], kernel, modes={id(array): "in_place", id(head): "readonly"})
    assert {each.mode for each in handles_of(packed.buffers)} == {"in_place"}
    found: Any = unpack(packed, worker, peer=KERNEL)
    found[1][:] = 3
    assert (found[0][7], found[2][7], array[7]) == (3, 3, 3)
    assert not found[2].flags.writeable


def test_what_does_not_lie_in_shared_memory_is_shared_as_a_copy_and_told_so(
    pair: tuple[Store, Store],
) -> None:
    kernel, worker = pair
    array = np.zeros(1000)
    with checked_events(EXPORT, FALLBACK) as captured:
        packed = pack(array, kernel, mode="in_place")
    assert captured.names() == [FALLBACK]
    there: Any = unpack(packed, worker, peer=KERNEL)
    there[0] = 1
    assert array[0] == 0
    back = kernel.import_(handles_of(pack(there, worker).buffers)[0], peer=WORKER, mode="in_place")
    assert back[0] == 1


def test_both_sides_write_to_one_array_in_place_and_each_sees_the_other(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = born_in(kernel, np.zeros(1000))
    first: Any = unpack(pack(array, kernel, mode="in_place"), worker, peer=KERNEL)
    second: Any = unpack(pack(array[::-1], kernel, mode="in_place"), worker, peer=KERNEL)
    first[0], second[0], array[500] = 1, 2, 3
    assert (array[0], array[-1], first[-1], first[500], second[499]) == (1, 2, 2, 3, 3)
    del first, second
    settle(kernel, worker)
    assert kernel.stats().leases == 0


def test_readers_share_one_map_and_one_loan(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = born_in(kernel, np.arange(1000.0))
    first: Any = unpack(pack(array, kernel, mode="readonly"), worker, peer=KERNEL)
    second: Any = unpack(pack(array[5:], kernel, mode="readonly"), worker, peer=KERNEL)
    assert np.shares_memory(first, second)
    kernel.release(worker.take_returns(KERNEL))
    assert kernel.stats().leases == 1
    del first
    array[5] = -1
    assert second[0] == -1
    del second
    settle(kernel, worker)
    assert kernel.stats().leases == 0


def test_a_reader_does_not_see_a_private_change_of_another_borrower(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    array = born_in(kernel, np.zeros(1000))
    reader: Any = unpack(pack(array, kernel, mode="readonly"), worker, peer=KERNEL)
    writer: Any = unpack(pack(array, kernel), worker, peer=KERNEL)
    writer[:] = 1
    assert (reader.max(), array.max()) == (0, 0)


# With a worker of its own


class Spoken:
    """A worker's process and what to say to it."""

    def __init__(self) -> None:
        self.store = loans.kernel_store()
        self.worker = WorkerProcess("w-0", "w", self.store, (), options.current())
        self._number = 0
        self._next(messages.Hello)
        self.worker.lane.update(self.store)

    def _next(self, kind: type) -> Any:
        while True:
            assert self.worker.channel.wait(60)
            for message in self.worker.channel.receive() or []:
                if isinstance(message, messages.Release):
                    self.store.release(codec.unpack_leases(message.leases))
                elif isinstance(message, (kind, messages.Error)):
                    assert isinstance(message, kind), message
                    if isinstance(message, messages.Hello):
                        self.worker.arena = self.worker.channel.peer_arena = message.arena
                    return message

    def call(self, function: Any, *args: object, sharing: Sharing = ORDINARY) -> Any:
        self._number += 1
        key = function.__name__.encode().ljust(16)
        packed = pack_arguments(args, {}, self.store, self._number, sharing=sharing)
        for handle in handles_of(packed.buffers):
            self.worker.introduce(self.store, handle.arena)
        define = messages.Define(key, pack(function, self.store).data, b"")
        call = messages.Call(self._number, key, packed.data, packed.buffers)
        assert self.worker.channel.send(codec.encode_all([define, call]))
        self.store.hand(packed.leases, self.worker.peer)
        answer = self._next(messages.Value)
        found = Packed(answer.value, answer.buffers, ())
        return unpack(found, self.store, peer=self.worker.peer, mode="in_place")

    def end(self) -> None:
        self.worker.kill()
        select.select([self.worker.obituary], [], [])
        self.store.forget(self.worker.peer)
        self.store.detach(self.worker.arena)
        self.worker.close()


@pytest.fixture
def spoken() -> Iterator[Spoken]:
    made = Spoken()
    if made.store.arena is None:
        made.end()
        pytest.skip("in place needs an arena, and there is none: SNAKEPIT_NB_ARENA=0, or no memfd")
    yield made
    made.end()


def _fill(array: np.ndarray, value: float) -> np.ndarray:
    array[...] = value
    return array


def _descriptors_of_memory() -> list[str]:
    folder = "/proc/self/fdinfo"
    found = []
    for name in os.listdir(folder):  # noqa: PTH208 - in a worker, as short as it gets
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - as above
        except OSError:
            continue
        if "memfd:snakepit_nb" in target or "/dev/shm/snk_" in target:  # noqa: S108 - a comparison
            with open(f"{folder}/{name}") as file:  # noqa: PTH123 - as above
                flags = next(line for line in file if line.startswith("flags"))
            found.append("w" if int(flags.split()[1], 8) & 3 else "r")
    return sorted(found)


def test_a_worker_changes_the_kernel_s_array_in_place_and_has_the_right_to_only_then(spoken: Spoken) -> None:
    array = born_in(spoken.store, np.zeros(10_000))
    assert spoken.call(_fill, array, 1)[0] == 1
    assert array.max() == 0
    assert spoken.call(_descriptors_of_memory) == ["r", "w"]
    back = spoken.call(_fill, array[::2], 2, sharing=Sharing("in_place"))
    assert (array[:3].tolist(), back[0]) == ([2, 0, 2], 2)
    assert np.shares_memory(back, array)
    assert spoken.call(_descriptors_of_memory) == ["r", "w", "w"]
    spoken.call(_fill, array, 3, sharing=Sharing(modes={id(array): "in_place"}))
    assert array.min() == 3


def test_a_write_in_place_that_ends_in_a_death_leaves_what_was_written(spoken: Spoken) -> None:
    array = born_in(spoken.store, np.zeros(10_000))
    spoken.call(_fill, array, 1, sharing=Sharing("in_place"))
    spoken.store.forget(spoken.worker.peer)
    array[0] = 5
    assert array[1] == 1


def test_where_no_descriptor_is_left_an_introduction_is_a_clear_error(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = spoken.store.arena
    assert arena is not None
    before = descriptors()

    def none_left(_: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "dup", none_left)
    with pytest.raises(ArrayError, match="no descriptor is left: Too many open files"):
        spoken.worker.introduce(spoken.store, writable_view(arena.id))
    assert descriptors() == before
    assert plain(writable_view(arena.id)) == arena.id
