"""A function that the kernel sent: unpacked at its first call, and once, whoever calls."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from snakepit_nb.wire.payload import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.store import Store
    from snakepit_nb.wire.payload import Packed


class Function:
    """One function, packed until it is called.

    Attributes:
        ready: The function, once it was called; until then None.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> from snakepit_nb.wire.payload import pack
        >>> store = Store("worker", None)
        >>> Function(pack(abs, store)).unpacked(store, "kernel", 1)(-2)
        2
    """

    __slots__ = ("_lock", "_packed", "ready")

    def __init__(self, packed: Packed) -> None:
        self.ready: Callable[..., object] | None = None
        self._packed: Packed | None = packed
        self._lock = threading.Lock()

    def unpacked(self, store: Store, peer: str, request_id: int) -> Callable[..., object]:
        """The function, unpacked where it is not yet; one that cannot be unpacked is tried again next time.

        Raises:
            BaseException: what unpacking raises, which may be user code.
        """
        with self._lock:
            if self.ready is None and self._packed is not None:
                found = unpack(self._packed, store, peer=peer, request_id=request_id)
                self.ready = cast("Callable[..., object]", found)
                self._packed = None
            return cast("Callable[..., object]", self.ready)
