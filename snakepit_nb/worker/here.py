"""Which request the code that asks belongs to.

*Rule:* what is printed, shown and told belongs to the request of the thread that does it; a thread that a
call started, and that is none of ours, belongs to the request that began last.
"""

from __future__ import annotations

import threading


class Here:
    """Where one call runs after the other: the one that runs, or the last that did.

    Attributes:
        request_id: Its number, 0 before the first.

    Example:
        >>> Here().request_id
        0
    """

    __slots__ = ("request_id",)

    def __init__(self) -> None:
        self.request_id = 0


class HereInThreads(Here):
    """Where each call runs in a thread of its own.

    Example:
        >>> here = HereInThreads()
        >>> here.request_id = 3
        >>> here.request_id
        3
    """

    __slots__ = ("_last", "_local")

    def __init__(self) -> None:
        self._local = threading.local()
        self._last = 0

    @property
    def request_id(self) -> int:
        """Of the thread that asks."""
        found: int = getattr(self._local, "request_id", self._last)
        return found

    @request_id.setter
    def request_id(self, request_id: int) -> None:
        self._local.request_id = self._last = request_id
