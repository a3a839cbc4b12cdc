"""Doors: how values of other libraries are taken apart, so that their memory is lent and not copied.

*Rule:* a door is chosen by the type alone, and looking for one imports no library that is not there already.

*Rule:* where ordinary pickling is right there is no door.

A door takes a value and a `Lender` and gives what a `__reduce__` gives; what the lender gave for a piece of
memory stands among the arguments, and arrives in the other process as that memory.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np


class Lender(Protocol):
    """Lends pieces of memory for one message."""

    @property
    def moves(self) -> bool:
        """Whether what lies elsewhere may be moved to shared memory for good."""
        ...

    @property
    def trusts(self) -> bool:
        """Whether what Arrow takes for unchangeable counts as that."""
        ...

    @property
    def notes(self) -> dict[str, object]:
        """What doors note down for the rest of this message."""
        ...

    def room(self, nbytes: int) -> np.ndarray | None:
        """Shared memory to move something to, as a `uint8` array; None where there is none."""
        ...

    def lend(  # noqa: PLR0913 - the facts of one piece of memory, by name
        self,
        data: np.ndarray,
        *,
        kind: str = "dlpack",
        dtype: str | None = None,
        shape: tuple[int, ...] | None = None,
        cached_by: object | None = None,
        owned_by: object | None = None,
        moved: bool = False,
    ) -> object:
        """Lend memory; what is returned has to stand in the door's answer, as often as it is wanted there.

        It arrives as a one-dimensional `uint8` array over shared memory, the worker's own copy-on-write; or
        where the memory had to travel inside the message, as a `bytearray` or `bytes` of the same content.

        Args:
            data: The memory, as a one-dimensional `uint8` array.
            kind: `"dlpack"` for an array, `"arrow"` for a plain buffer.
            dtype: What events call the data type; by default that of `data`.
            shape: What events call the shape; by default that of `data`.
            cached_by: An object that can be weakly referenced and whose memory never changes. A copy that is
                needed for the first loan is then kept for the next ones, for as long as the object lives.
            owned_by: An object that can be weakly referenced and has this memory, which may change. A copy is
                kept as long as it lives, too, and compared with the memory before it is lent again.
            moved: Whether it was moved to shared memory just now, which counts as a copy.
        """
        ...

    def reaches(self, data: np.ndarray) -> bool:
        """Whether this memory is shared already, so that lending all of it costs no copy."""
        ...


Reduced: TypeAlias = tuple[object, ...]
Door: TypeAlias = Callable[[object, Lender], Reduced]

_HERE: Final = __name__.rpartition(".")[0]
_ARROW: Final = ("__arrow_c_stream__", "__arrow_c_array__")
_PLAIN: Final = frozenset({"builtins", "numpy", "collections"})

_found: Final[dict[type, Door | None]] = {}
_MOST: Final = 4096


def find(kind: type) -> Door | None:
    """The door for values of this very type, or None where ordinary pickling is right.

    Example:
        >>> find(list) is None
        True
    """
    try:
        return _found[kind]
    except KeyError:
        pass
    door = _look_for(kind)
    if len(_found) >= _MOST:
        _found.clear()  # a notebook may make classes for ever
    _found[kind] = door
    return door


def _look_for(kind: type) -> Door | None:
    library = kind.__module__.partition(".")[0] if isinstance(kind.__module__, str) else ""
    bases = {str(base.__module__).partition(".")[0] for base in kind.__mro__}
    room = None
    if library in _PLAIN:
        return None
    if "torch" in bases:
        room = "tensors"
    elif library in {"pyarrow", "polars", "pandas"}:
        room = "arrow"
    elif not bases & {"numpy", "pandas"}:
        if any(hasattr(kind, name) for name in _ARROW):
            room = "arrow"
        elif hasattr(kind, "__dlpack__") and hasattr(kind, "__dlpack_device__"):
            room = "dlpack"
    return _door_of(room, kind) if room else None


def _door_of(room: str, kind: type) -> Door | None:
    name = f"{_HERE}.{room}"
    if importlib.util.find_spec(name) is None:
        return None
    door: Door | None = importlib.import_module(name).door(kind)
    return door
