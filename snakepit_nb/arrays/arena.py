"""An arena: one stretch of nameless memory that a process owns and lends to its peers.

*Rule:* only the owner allocates and frees; a peer maps what it is handed.

*Rule:* a block is free again when the last one that holds it lets go: a lease of a peer, or a view of this
process itself.
"""

from __future__ import annotations

import bisect
import os
import uuid
from typing import Final, NamedTuple, Protocol

from snakepit_nb.arrays.books import Books
from snakepit_nb.arrays.memory import (
    PAGE,
    MemoryFile,
    give_pages_back,
    map_memory,
    memory_file,
    reserve,
    unmap_memory,
)
from snakepit_nb.errors.types import ArrayError

_SMALLEST: Final = 1 << 24


class Block(NamedTuple):
    """A piece of an arena: `offset` and `nbytes` in whole pages, and the `generation` of this use of it."""

    offset: int
    nbytes: int
    generation: int


class Allocator(Protocol):
    """What an arena is to the rooms that lend its blocks: `Arena` here, or the native one."""

    @property
    def id(self) -> str:
        """What handles call it."""
        ...

    @property
    def fd(self) -> int:
        """Its descriptor."""
        ...

    @property
    def address(self) -> int:
        """Where it is mapped."""
        ...

    @property
    def nbytes(self) -> int:
        """How long it is."""
        ...

    @property
    def budget(self) -> int:
        """How many bytes may be in use at once."""
        ...

    @property
    def live_bytes(self) -> int:
        """How many bytes are in use."""
        ...

    def allocate(self, nbytes: int) -> Block:
        """See `Arena.allocate`."""
        ...

    def find(self, address: int, nbytes: int) -> Block | None:
        """See `Arena.find`."""
        ...

    def hold(self, offset: int, generation: int) -> Block | None:
        """See `Arena.hold`."""
        ...

    def holders(self, block: Block) -> int:
        """See `Arena.holders`."""
        ...

    def free(self, block: Block) -> None:
        """See `Arena.free`."""
        ...

    def close(self) -> None:
        """See `Arena.close`."""
        ...


class ArenaFull(ArrayError):  # noqa: N818 - named for the state that it tells, like queue.Full
    """The arena's budget is used up by blocks that are still in use."""


class _Pieces:
    """Free pieces of one temperature, sorted by offset, neighbours joined; taken first fit."""

    __slots__ = ("_pieces", "nbytes")

    def __init__(self, pieces: list[tuple[int, int]] | None = None) -> None:
        self._pieces = pieces or []
        self.nbytes = sum(length for _, length in self._pieces)

    def take(self, need: int) -> int | None:
        for index, (offset, length) in enumerate(self._pieces):
            if length >= need:
                if length == need:
                    del self._pieces[index]
                else:
                    self._pieces[index] = (offset + need, length - need)
                self.nbytes -= need
                return offset
        return None

    def give(self, offset: int, length: int) -> None:
        self.nbytes += length
        pieces = self._pieces
        index = bisect.bisect_left(pieces, (offset, 0))
        if index < len(pieces) and pieces[index][0] == offset + length:
            length += pieces.pop(index)[1]
        if index and sum(pieces[index - 1]) == offset:
            before, its_length = pieces[index - 1]
            pieces[index - 1] = (before, its_length + length)
        else:
            pieces.insert(index, (offset, length))

    def drain(self) -> list[tuple[int, int]]:
        pieces, self._pieces, self.nbytes = self._pieces, [], 0
        return pieces


class Arena:
    """Memory that this process owns and others may map.

    Args:
        nbytes: Address space to reserve, in bytes; halved until the system agrees. Pages are taken only as
            they are written.
        budget: How many bytes may be in use at once.
        warm_bytes: How many freed bytes stay resident for the next block; the rest is given back.

    Raises:
        ArrayError: the platform has no shared memory, or not even a small arena could be mapped.

    Example:
        >>> arena = Arena(1 << 20)
        >>> block = arena.allocate(5000)
        >>> block.nbytes == 2 * PAGE
        True
        >>> arena.free(block)
        >>> arena.live_bytes
        0
        >>> arena.close()
    """

    def __init__(self, nbytes: int, *, budget: int | None = None, warm_bytes: int = 0) -> None:
        self.id = uuid.uuid4().hex[:12]
        file, self.address, self.nbytes = _mapped(max(PAGE, nbytes // PAGE * PAGE))
        self.fd, self._limited = file
        self.budget = min(self.nbytes, self.nbytes if budget is None else budget)
        self._warm_limit = warm_bytes
        self._books: Books[Block] = Books(self._let_go)
        # Free pieces by offset: warm ones hold pages already, cold ones take them at the first touch.
        self._warm = _Pieces()
        self._cold = _Pieces([(0, self.nbytes)])
        self._live: dict[int, Block] = {}
        self._offsets: list[int] = []
        self._more_holders: dict[int, int] = {}
        self._generation = 0
        self.live_bytes = 0
        self._closed = False

    def allocate(self, nbytes: int) -> Block:
        """Take a block of at least `nbytes` bytes; what it holds is undefined.

        Raises:
            ArenaFull: the budget, or the address space, is used up.

        Example:
            >>> arena = Arena(1 << 20)
            >>> arena.allocate(1).offset
            0
            >>> arena.close()
        """
        need = max(PAGE, -(-nbytes // PAGE) * PAGE)
        self._books.settle()
        # A finaliser that comes back in here, of all places, has to do without.
        if self._books.inside:
            raise ArenaFull(self._full_message(need))
        with self._books.lock:
            if self._closed or self.live_bytes + need > self.budget:
                raise ArenaFull(self._full_message(need))
            offset = self._take(need)
            if offset is None:
                raise ArenaFull(self._full_message(need))
            self._generation += 1
            block = Block(offset, need, self._generation)
            self._live[offset] = block
            bisect.insort(self._offsets, offset)
            self.live_bytes += need
        self._books.settle()
        return block

    def _take(self, need: int) -> int | None:
        offset = self._warm.take(need)
        if offset is not None:
            return offset
        offset = self._cold.take(need)
        if offset is None:
            self._cool_down()
            offset = self._cold.take(need)
        if offset is not None and self._limited and not reserve(self.fd, offset, need):
            give_pages_back(self.address + offset, need)
            self._cold.give(offset, need)
            return None
        return offset

    def _full_message(self, need: int) -> str:
        return (
            f"{need} bytes do not fit: {self.live_bytes} of {self.budget} bytes of shared memory are in use; "
            "delete arrays that are no longer needed, or raise the option arena_budget"
        )

    def hold(self, offset: int, generation: int) -> Block | None:
        """Hold the live block at `offset` once more, until one more `free`; None where that life is over.

        Example:
            >>> arena = Arena(1 << 20)
            >>> block = arena.allocate(10)
            >>> held = arena.hold(block.offset, block.generation)
            >>> arena.free(block); arena.live_bytes == PAGE
            True
            >>> arena.free(held); arena.live_bytes
            0
            >>> arena.close()
        """
        with self._books.lock:
            block = self._live.get(offset)
            if block is None or block.generation != generation:
                return None
            self._more_holders[offset] = self._more_holders.get(offset, 0) + 1
        self._books.settle()
        return block

    def find(self, address: int, nbytes: int) -> Block | None:
        """Hold the live block that these bytes lie in once more, until one more `free`; None where none does.

        Example:
            >>> arena = Arena(1 << 20)
            >>> block = arena.allocate(10)
            >>> arena.find(arena.address + block.offset + 3, 7) == block
            True
            >>> arena.holders(block)
            2
            >>> arena.close()
        """
        offset = address - self.address
        if not 0 <= offset < self.nbytes:
            return None
        with self._books.lock:
            index = bisect.bisect_right(self._offsets, offset)
            block = self._live[self._offsets[index - 1]] if index else None
            if block is not None and offset + nbytes <= block.offset + block.nbytes:
                self._more_holders[block.offset] = self._more_holders.get(block.offset, 0) + 1
            else:
                block = None
        self._books.settle()
        return block

    def holders(self, block: Block) -> int:
        """How many hold a block: 0 where its life is over.

        Example:
            >>> arena = Arena(1 << 20)
            >>> arena.holders(arena.allocate(10))
            1
            >>> arena.close()
        """
        self._books.settle()
        with self._books.lock:
            live = self._live.get(block.offset) == block
            count = 1 + self._more_holders.get(block.offset, 0) if live else 0
        self._books.settle()
        return count

    @property
    def warm_bytes(self) -> int:
        """How many free bytes stay resident for the next block."""
        return self._warm.nbytes

    def free(self, block: Block) -> None:
        """Let go of a block; with its last holder gone it is free. One that is free already is ignored.

        Example:
            >>> arena = Arena(1 << 20)
            >>> block = arena.allocate(10)
            >>> arena.free(block); arena.free(block)
            >>> arena.close()
        """
        self._books.drop(block)

    def _let_go(self, block: Block) -> None:
        if self._live.get(block.offset) != block:
            return
        holders = self._more_holders.pop(block.offset, 0)
        if holders:
            if holders > 1:
                self._more_holders[block.offset] = holders - 1
            return
        del self._live[block.offset]
        del self._offsets[bisect.bisect_left(self._offsets, block.offset)]
        self.live_bytes -= block.nbytes
        if self._closed:
            return
        if self._warm.nbytes + block.nbytes <= self._warm_limit:
            self._warm.give(block.offset, block.nbytes)
        else:
            give_pages_back(self.address + block.offset, block.nbytes)
            self._cold.give(block.offset, block.nbytes)

    def _cool_down(self) -> None:
        """Give all warm pages back, so that pieces of both kinds can join into one that is long enough."""
        for offset, length in self._warm.drain():
            give_pages_back(self.address + offset, length)
            self._cold.give(offset, length)

    def close(self) -> None:
        """Give up the arena; its memory ends when the last peer has unmapped it. Idempotent.

        Example:
            >>> arena = Arena(1 << 20)
            >>> arena.close(); arena.close()
        """
        with self._books.lock:
            if self._closed:
                return
            self._closed = True
        unmap_memory(self.address, self.nbytes)
        os.close(self.fd)


def _mapped(nbytes: int) -> tuple[MemoryFile, int, int]:
    """Nameless memory and where it is mapped, as long as the system lets it be."""
    while True:
        try:
            file = memory_file(nbytes)
        except (OSError, ImportError) as error:
            message = f"no shared memory on this machine: {error}"
            raise ArrayError(message) from error
        try:
            return file, map_memory(file.fd, 0, nbytes, writable=True, private=False), nbytes
        except ArrayError:
            os.close(file.fd)
            if nbytes <= _SMALLEST:
                raise
            nbytes = nbytes // 2 // PAGE * PAGE
