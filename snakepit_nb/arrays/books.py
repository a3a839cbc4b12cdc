"""Books that finalisers may write to: a lock, and a tray for whoever must not wait for it.

*Rule:* a finaliser runs in any thread, at any moment, under any lock, this one included; so it drops what it
has to say in the tray and goes on. Whoever has held the lock settles what lies there.

*Rule:* an interrupt never leaves the lock taken: it is taken by a `with` statement of its own, which the
interpreter does not interrupt, or asked afterwards whether it was.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Item = TypeVar("_Item")


class Books(Generic[_Item]):
    """A lock, and the tray beside it; call `settle` when the lock is free again.

    Args:
        book: Called with each item of the tray, in order, by one thread at a time, under the lock.

    Example:
        >>> books = Books(print)
        >>> with books.lock:
        ...     books.drop("a loan ended")
        ...     print("still inside")
        still inside
        >>> books.settle()
        a loan ended
    """

    __slots__ = ("_book", "_tray", "lock")

    def __init__(self, book: Callable[[_Item], None]) -> None:
        self._book = book
        self._tray: deque[_Item] = deque()
        self.lock = threading.RLock()

    @property
    def waiting(self) -> bool:
        """Whether something lies in the tray."""
        return bool(self._tray)

    @property
    def inside(self) -> bool:
        """Whether this thread has the lock: then a finaliser came back in."""
        return bool(self.lock._is_owned())  # type: ignore[attr-defined] # noqa: SLF001 - as `threading.Condition` asks

    def drop(self, item: _Item) -> None:
        """Put an item in the tray, and book it now where that needs no waiting.

        Example:
            >>> Books(print).drop("a loan ended")
            a loan ended
        """
        self._tray.append(item)
        self.settle()

    def settle(self) -> None:
        """Book what lies in the tray, unless another thread, or this one, is inside: then that one will.

        Example:
            >>> Books(print).settle()
        """
        if not self._tray or self.inside:
            return
        try:
            # Asked again after each release: what another thread dropped meanwhile found the lock taken.
            while self._tray and self.lock.acquire(blocking=False):
                while self._tray:
                    self._book(self._tray.popleft())
                self.lock.release()
        finally:
            if self.inside:
                self.lock.release()
