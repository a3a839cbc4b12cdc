"""A block of an arena as an array: where something else is moved to, and free again with its last user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from snakepit_nb.arrays.arena import Allocator, Block


class _Room:
    __slots__ = ("__array_interface__", "_arena", "_block")

    def __init__(self, arena: Allocator, block: Block, nbytes: int) -> None:
        self._arena = arena
        self._block = block
        self.__array_interface__ = {
            "version": 3,
            "data": (arena.address + block.offset, False),
            "typestr": "|u1",
            "shape": (nbytes,),
        }

    def __del__(self) -> None:
        self._arena.free(self._block)


def room_in(arena: Allocator, nbytes: int, block: Block | None = None) -> np.ndarray:
    """A one-dimensional `uint8` array of `nbytes` elements in an arena; what it holds is undefined.

    Args:
        arena: Where.
        nbytes: How long.
        block: A block that was allocated for it, and that it frees; without one it allocates its own.

    Raises:
        ArenaFull: there is no room.

    Example:
        >>> from snakepit_nb.arrays.arena import Arena
        >>> arena = Arena(1 << 20)
        >>> room = room_in(arena, 100)
        >>> room.nbytes, arena.live_bytes > 0
        (100, True)
        >>> del room
        >>> arena.live_bytes
        0
        >>> arena.close()
    """
    return np.asarray(_Room(arena, block or arena.allocate(nbytes), nbytes))
