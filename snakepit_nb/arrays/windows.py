"""Private maps of parts of an arena that were looked through before, and may be again.

Making a map costs system calls, and each of its pages a fault at the first look. So a map is kept when its
loan ends, for the next loan of the same part: of the same array, or of another one in a reused block.

*Rule:* a map that was written to shows what its borrower wrote, and is never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.arrays import pages
from snakepit_nb.arrays.memory import map_memory, unmap_memory
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from typing import TypeAlias

    Part: TypeAlias = tuple[int, int]

_MOST: Final = 32


class Windows:
    """The private maps of one descriptor that nobody looks through now; whoever calls has the lock.

    Args:
        fd: What is mapped.

    Example:
        >>> import os
        >>> from snakepit_nb.arrays.memory import PAGE, memory_file
        >>> fd = memory_file(PAGE).fd
        >>> windows = Windows(fd)
        >>> windows.put_away((0, PAGE), windows.take((0, PAGE)))
        >>> windows.close(); os.close(fd)
    """

    __slots__ = ("_fd", "_free", "_pages")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._free: dict[Part, int] = {}
        self._pages = pages.PageMap()

    def worth_keeping(self, address: int, nbytes: int) -> bool:
        """Whether a map shows what lies there, and nothing that its borrower wrote.

        Where it would take long to know that, the answer is no. The lock is not needed for this.
        """
        return pages.quick() and not self._pages.written(address, nbytes)

    def take(self, part: Part) -> int:
        """The address of a map of this part: from where, and how many bytes.

        Raises:
            ArrayError: the system refused.
        """
        address = self._free.pop(part, None)
        if address is not None:
            return address
        try:
            return map_memory(self._fd, *part, writable=True, private=True)
        except ArrayError:
            if not self._free:
                raise
            self._free_all()  # address space or the number of maps is short
            return map_memory(self._fd, *part, writable=True, private=True)

    def put_away(self, part: Part, address: int) -> None:
        """A map that nobody looks through any more, and that nobody wrote to."""
        if part in self._free:  # two calls looked at the same array
            unmap_memory(address, part[1])
            return
        self._free[part] = address
        if len(self._free) > _MOST:
            oldest = next(iter(self._free))
            unmap_memory(self._free.pop(oldest), oldest[1])

    def close(self) -> None:
        """Undo the maps. Idempotent."""
        self._pages.close()
        self._free_all()

    def _free_all(self) -> None:
        while self._free:
            (_, nbytes), address = self._free.popitem()
            unmap_memory(address, nbytes)
