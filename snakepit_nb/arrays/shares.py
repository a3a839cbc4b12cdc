"""First shares that are kept: copies of memory that never changes, lent again as long as its owner lives.

*Rule:* only what can never change is kept; the caller vouches for it by naming the object that owns it.

*Rule:* what is kept is the first to go when the arena is full, and never takes more than a part of it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from snakepit_nb.arrays.books import Books

if TYPE_CHECKING:
    from snakepit_nb.arrays.arena import Allocator, Block

_PART: Final = 4
_Key: TypeAlias = tuple[int, int, int]


class _Kept(NamedTuple):
    block: Block
    owner: weakref.ref[object]


class Shares:
    """The copies that are kept in an arena, the one that was asked for last at the end.

    Example:
        >>> from snakepit_nb.arrays.arena import Arena
        >>> class Owner: pass
        >>> arena, owner = Arena(1 << 20), Owner()
        >>> shares, block = Shares(arena), arena.allocate(10)
        >>> shares.keep(owner, 0, 10, block)
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
        self.nbytes = 0

    def find(self, owner: object, address: int, nbytes: int) -> Block | None:
        """The copy of this memory, held once more until one more `free`; None where none is kept."""
        key = (id(owner), address, nbytes)
        with self._books.lock:
            kept = self._kept.get(key)
            block = None
            if kept is not None and kept.owner() is owner:
                self._kept.move_to_end(key)
                block = self._arena.hold(kept.block.offset, kept.block.generation)
        self._books.settle()
        return block

    def keep(self, owner: object, address: int, nbytes: int, block: Block) -> None:
        """Keep a copy for as long as `owner` lives; not one too large, nor where nothing tells of its end."""
        if block.nbytes > self._arena.budget // _PART:
            return
        key = (id(owner), address, nbytes)
        try:
            seen = weakref.ref(owner, lambda gone: self._books.drop((key, gone)))
        except TypeError:
            return
        with self._books.lock:
            if not self._books.waiting and self._arena.hold(block.offset, block.generation) is not None:
                self._let_go(key)
                self._kept[key] = _Kept(block, seen)
                self.nbytes += block.nbytes
            while self.nbytes > self._arena.budget // _PART:
                self._let_go(next(iter(self._kept)))
        self._books.settle()

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
