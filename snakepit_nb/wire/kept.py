"""Which functions a worker keeps: a bounded list that both sides hold, and that needs no word about it.

*Rule:* the kernel counts a function as kept only once a call of it was answered, and sends it along until
then: so a packet that is taken back takes nothing with it that a later packet relies on.

*Rule:* both sides note the same functions in the same order, the worker when it is called and the kernel when
it is answered. The worker is ahead of the kernel by the calls on their way; its list is longer by as many.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST: Final = 512
MOST_BYTES: Final = 64 << 20
LARGEST: Final = 1 << 20


class Kept(OrderedDict[bytes, int]):
    """The functions kept, by key, with their size in bytes; the one that was called last comes last.

    Args:
        ahead: How many calls the other side may not know of yet; 0 in the kernel.

    Example:
        >>> kept = Kept()
        >>> kept.used(b"f", 100)
        ()
        >>> b"f" in kept
        True
    """

    def __init__(self, ahead: int = 0) -> None:
        super().__init__()
        self._most = MOST + ahead
        self._most_bytes = MOST_BYTES + ahead * LARGEST
        self._held = 0

    def used(self, key: bytes, nbytes: int) -> Iterable[bytes]:
        """Note a call; the keys that are not kept any more. What is larger than `LARGEST` is never kept.

        Example:
            >>> kept = Kept()
            >>> kept.used(b"big", LARGEST + 1), len(kept)
            ((), 0)
        """
        if key in self:
            self.move_to_end(key)
            return ()
        if nbytes > LARGEST:
            return ()
        self[key] = nbytes
        self._held += nbytes
        if len(self) <= self._most and self._held <= self._most_bytes:
            return ()
        dropped = []
        while len(self) > self._most or self._held > self._most_bytes:
            oldest, its_bytes = self.popitem(last=False)
            self._held -= its_bytes
            dropped.append(oldest)
        return dropped
