"""An arena as this process reaches it: its descriptor, and the maps of it that were needed so far.

*Rule:* an arena is mapped once as a whole for each way in which all its borrowers may share a map; what a
borrower writes for itself alone gets a map of its own, a window.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.arrays.memory import (
    PAGE,
    bytes_at,
    give_pages_back,
    map_memory,
    read_at,
    unmap_memory,
    written,
)
from snakepit_nb.arrays.windows import Windows
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.arrays.arena import Allocator
    from snakepit_nb.arrays.handle import ArrayHandle, Mode


_BLOCK: Final = 512  # what `st_blocks` counts, whatever the file system


class Mapped(NamedTuple):
    """Where lent bytes are, and the mapping that was made for them alone (of length 0: none was).

    One that is a window (see `windows`) says to which `part` of the arena.
    """

    address: int
    mapping: int = 0
    length: int = 0
    part: tuple[int, int] | None = None


class Attached:
    """One arena within reach.

    Args:
        arena_id: What handles call it.
        fd: Its descriptor, which belongs to this object from now on.
        nbytes: Its length.
        owned: The arena itself, where it is this process's own.
    """

    __slots__ = ("_readable", "_writable", "extents", "fd", "gone", "id", "nbytes", "owned", "windows")

    def __init__(self, arena_id: str, fd: int, nbytes: int, owned: Allocator | None = None) -> None:
        self.id = arena_id
        self.fd = fd
        self.nbytes = nbytes
        self.gone = False
        self.owned = owned
        self.extents: dict[int, tuple[int, int]] = {}
        self._writable = owned.address if owned else 0
        self._readable = 0
        self.windows = Windows(fd)

    def reach(self, handle: ArrayHandle, mode: Mode) -> Mapped:
        """Map what a handle names.

        Raises:
            ArrayError: the system refused.
        """
        if mode == "in_place" and self._whole_writable():
            return Mapped(self._writable + handle.offset)
        if mode == "readonly" and self._whole_readable():
            return Mapped(self._readable + handle.offset)
        low = handle.offset // PAGE * PAGE
        length = handle.offset + handle.nbytes - low
        if mode == "copy_on_write" and self.owned is None:
            mapping = self.windows.take((low, length))
            return Mapped(mapping + handle.offset - low, mapping, length, (low, length))
        private = mode == "copy_on_write"  # rarely asked for at home: what came back of it is a copy
        mapping = map_memory(self.fd, low, length, writable=mode != "readonly", private=private)
        return Mapped(mapping + handle.offset - low, mapping, length)

    def _whole_writable(self) -> bool:
        """Whether all of it is mapped, so that one array more costs nothing; address space may be short."""
        if not self._writable:
            try:
                self._writable = map_memory(self.fd, 0, self.nbytes, writable=True, private=False)
            except ArrayError:
                return False
        return True

    def _whole_readable(self) -> bool:
        if not self._readable:
            try:
                self._readable = map_memory(self.fd, 0, self.nbytes, writable=False, private=False)
            except ArrayError:
                return False
        return True

    def read(self, offset: int, nbytes: int) -> bytes:
        """Copy plain bytes out of it.

        Raises:
            ArrayError: it does not hold so many: a peer that says so would have this process fill its memory.
        """
        if self.owned is not None:
            return bytes_at(self._writable + offset, nbytes).tobytes()
        held = written(self.fd)
        if held is not None and nbytes > held:
            message = f"{nbytes} bytes at {offset} of the arena {self.id!r} were never written"
            raise ArrayError(message)
        return read_at(self.fd, offset, nbytes)

    def owners_bytes(self) -> int:
        """How much memory it takes that no array here lies in."""
        taken = os.fstat(self.fd).st_blocks * _BLOCK
        return max(0, taken - sum(nbytes for _, nbytes in self.extents.values()))

    def punch_out(self, within: Iterable[tuple[int, int]]) -> None:
        """Give the pages in these ranges back that no array here lies in; their owner is gone."""
        if self.owned is not None or not self._whole_writable():
            return
        held = sorted(self.extents.values())
        for first, end in within:
            position = _page_up(first)
            for offset, nbytes in held:
                if offset >= end:
                    break
                self._punch(position, offset // PAGE * PAGE)
                position = max(position, _page_up(offset + nbytes))
            self._punch(position, end // PAGE * PAGE)

    def _punch(self, first: int, end: int) -> None:
        if first < end:
            give_pages_back(self._writable + first, end - first)

    def close(self) -> None:
        """Unmap it; no array over it may be left."""
        self.windows.close()
        unmap_memory(self._readable, self.nbytes if self._readable else 0)
        if self.owned is not None:
            self.owned.close()
            return
        if self._writable:
            unmap_memory(self._writable, self.nbytes)
        os.close(self.fd)


def _page_up(position: int) -> int:
    return -(-position // PAGE) * PAGE
