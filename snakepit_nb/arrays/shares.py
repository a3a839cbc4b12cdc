"""First shares that are kept: copies that are lent again as long as the owner of their original lives.

*Rule:* a copy is lent again as it is only where its original can never change, for which the caller vouches.
Of anything else every byte is compared first (see `sameness`).

*Rule:* a kept copy is written to only while nobody else holds it: whoever was lent it goes on seeing what was
there when it was lent. One that comes home is mapped so that writes to it stay with the writer.

*Rule:* an array of NumPy that can be resized is not referred to, not even weakly: NumPy would refuse that.
It is known to be gone when the system has its memory back.

*Rule:* what is kept is the first to go when the arena is full, and never takes more than a part of it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from snakepit_nb.arrays.books import Books
from snakepit_nb.arrays.memory import is_mapped
from snakepit_nb.arrays.sameness import update

if TYPE_CHECKING:
    from snakepit_nb.arrays.arena import Allocator, Block

_PART: Final = 4
_MANY: Final = 256
_KEEPER_AND_THIS: Final = 2
_Key: TypeAlias = tuple[int, int, int]


@dataclass(slots=True)
class _Kept:
    block: Block
    owner: weakref.ref[object] | None
    in_work: bool = False  # one thread compares or writes, and others do without

    def is_of(self, owner: object | None) -> bool:
        return owner is None if self.owner is None else self.owner() is owner


class Refreshed(NamedTuple):
    """A kept copy that is the same as its original, and how many bytes of it had to be copied for that."""

    block: Block
    copied: int


class Shares:
    """The copies that are kept in an arena, the one that was asked for last at the end.

    Example:
        >>> from snakepit_nb.arrays.arena import Arena
        >>> class Owner: pass
        >>> arena, owner = Arena(1 << 20), Owner()
        >>> shares, block = Shares(arena), arena.allocate(10)
        >>> shares.keep(owner, 0, 10, block)
        True
        >>> arena.free(block)
        >>> shares.find(owner, 0, 10) == block
        True
        >>> arena.free(block)
        >>> del owner
        >>> arena.live_bytes
        0
        >>> arena.close()
    """

    def __init__(self, arena: Allocator) -> None:
        self._arena = arena
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._books: Books[tuple[_Key, weakref.ref[object]]] = Books(self._gone)
        self._lives: set[tuple[int, int]] = set()
        self.nbytes = 0

    def was_kept(self, offset: int, generation: int) -> bool:
        """Whether a block that is held now is, or ever was, a copy that is kept."""
        return (offset, generation) in self._lives

    def refreshed(self, owner: object | None, address: int, nbytes: int) -> Refreshed | None:
        """The copy of this memory, made the same as that is now, and held once more until one more `free`.

        None where none is kept, or where it differs and somebody else holds it.
        """
        key = (id(owner), address, nbytes)
        arena, block = self._arena, None
        with self._books.lock:
            kept = self._kept.get(key)
            if kept is not None and kept.is_of(owner) and not kept.in_work:
                block = arena.hold(kept.block.offset, kept.block.generation)
            if kept is None or block is None:
                return None
            self._kept.move_to_end(key)
            # As long as it is in work nobody else can come to hold it.
            kept.in_work, alone = True, arena.holders(block) == _KEEPER_AND_THIS
        copied = None
        try:
            copied = update(arena.address + block.offset, address, nbytes, writing=alone)
        finally:
            kept.in_work = False
            if copied is None:
                arena.free(block)
            self._books.settle()
        return None if copied is None else Refreshed(block, copied)

    def find(self, owner: object, address: int, nbytes: int) -> Block | None:
        """The copy of this memory, held once more until one more `free`; None where none is kept."""
        key = (id(owner), address, nbytes)
        with self._books.lock:
            kept = self._kept.get(key)
            block = None
            if kept is not None and kept.is_of(owner) and not kept.in_work:
                self._kept.move_to_end(key)
                block = self._arena.hold(kept.block.offset, kept.block.generation)
        self._books.settle()
        return block

    def keep(self, owner: object | None, address: int, nbytes: int, block: Block) -> bool:
        """Keep a copy for as long as `owner` lives, or without one, its memory; whether it is kept.

        Not one too large, nor where nothing tells of its owner's end.
        """
        self.tidy()
        if block.nbytes > self._arena.budget // _PART:
            return False
        key = (id(owner), address, nbytes)
        try:
            seen = None if owner is None else weakref.ref(owner, lambda gone: self._books.drop((key, gone)))
        except TypeError:
            return False
        found = False
        with self._books.lock:
            if not self._books.waiting and self._arena.hold(block.offset, block.generation) is not None:
                found = True
                self._let_go(key)
                self._kept[key] = _Kept(block, seen)
                self.nbytes += block.nbytes
                self._note_life(block)
            while self.nbytes > self._arena.budget // _PART:
                self._let_go(next(iter(self._kept)))
        self._books.settle()
        return found

    def tidy(self) -> None:
        """Let go of copies whose original nobody refers to and whose memory is gone."""
        with self._books.lock:
            gone = [key for key, kept in self._kept.items() if kept.owner is None and not is_mapped(key[1])]
            for key in gone:
                self._let_go(key)
        self._books.settle()

    def _note_life(self, block: Block) -> None:
        """Note which use of which block is a kept copy's; one that is let go of may be held by borrowers."""
        if len(self._lives) > _MANY and len(self._lives) > 2 * len(self._kept):
            self._lives = {life for life in self._lives if self._is_alive(*life)}
        self._lives.add((block.offset, block.generation))

    def _is_alive(self, offset: int, generation: int) -> bool:
        block = self._arena.hold(offset, generation)
        if block is not None:
            self._arena.free(block)
        return block is not None

    def drop_oldest(self) -> bool:
        """Let go of the copy that was not asked for the longest; whether there was one."""
        self._books.settle()
        with self._books.lock:
            found = bool(self._kept)
            if found:
                self._let_go(next(iter(self._kept)))
        self._books.settle()
        return found

    def _gone(self, item: tuple[_Key, weakref.ref[object]]) -> None:
        key, gone = item
        kept = self._kept.get(key)
        if kept is not None and kept.owner is gone:
            self._let_go(key)

    def _let_go(self, key: _Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.nbytes -= kept.block.nbytes
            self._arena.free(kept.block)
