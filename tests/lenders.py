"""A lender for the tests of doors: what it lends arrives in this process, and it keeps a list of the loans.

*Rule:* memory of its arena is lent as it lies, other memory as a copy.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from snakepit_nb.arrays import doors
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.memory import bytes_at
from snakepit_nb.arrays.room import room_in

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from snakepit_nb.arrays.arena import Arena


class Loan(NamedTuple):
    """One piece of memory that was lent."""

    nbytes: int
    kind: str
    dtype: str | None
    shape: tuple[int, ...] | None
    copied: bool


def _arrived(what: object) -> object:
    return what


class _Standing:
    """What stands in a pickle for lent memory."""

    def __init__(self) -> None:
        self.buffer = pickle.PickleBuffer(bytearray())

    def __reduce__(self) -> tuple[object, ...]:
        return _arrived, (self.buffer,)


@dataclass
class FakeLender:
    """Lends within this process.

    Attributes:
        arena: Memory that is lent as it lies.
        inline: Whether everything travels inside the message.
        writable: Whether what arrives may be written.
        moves: Whether tensors may be moved to its arena.
        notes: What doors note down.
    """

    arena: Arena | None = None
    inline: bool = False
    writable: bool = True
    moves: bool = False
    trusts: bool = True
    notes: dict[str, object] = field(default_factory=dict)
    loans: list[Loan] = field(default_factory=list)
    cached_by: list[object] = field(default_factory=list)
    owned_by: list[int] = field(default_factory=list)  # by identity: a lender keeps no owner alive
    arrived: list[np.ndarray] = field(default_factory=list)
    _standing: list[pickle.PickleBuffer] = field(default_factory=list)

    def lend(  # noqa: PLR0913 - as the protocol has it
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
        """See `doors.Lender.lend`."""
        assert (data.ndim, data.dtype.name, data.flags.c_contiguous) == (1, "uint8", True)
        there = self.reaches(data)
        self.loans.append(Loan(data.nbytes, kind, dtype, shape, moved or not there))
        self.cached_by.append(cached_by)
        self.owned_by.append(id(owned_by))
        if self.inline:
            return data.tobytes()
        array = bytes_at(data.ctypes.data, data.nbytes) if there else data.copy()
        array.flags.writeable = self.writable
        self.arrived.append(array)
        standing = _Standing()
        self._standing.append(standing.buffer)
        return standing

    def room(self, nbytes: int) -> np.ndarray | None:
        """Memory of the arena to move something to."""
        try:
            return room_in(self.arena, nbytes) if self.arena else None
        except ArenaFull:
            return None

    def reaches(self, data: np.ndarray) -> bool:
        """Whether memory is lent as it lies."""
        block = self.arena.find(data.ctypes.data, data.nbytes) if self.arena else None
        if self.arena and block:
            self.arena.free(block)
        return block is not None

    def travel(self, obj: object) -> Any:
        """An object as it arrives; what was lent is its alone from then on."""
        out = io.BytesIO()
        # What a door left to ordinary pickling stays in the pickle.
        in_band: Callable[[pickle.PickleBuffer], bool] = lambda buffer: all(  # noqa: E731 - kept for its type
            buffer is not each for each in self._standing
        )
        pickler = pickle.Pickler(out, 5, buffer_callback=in_band)
        pickler.dispatch_table = _Doors(self)  # type: ignore[assignment]
        pickler.dump(obj)
        arrived, self.arrived = self.arrived, []
        self._standing.clear()
        self.notes.clear()
        return pickle.loads(out.getvalue(), buffers=iter(arrived))


class _Doors(dict[type, object]):
    def __init__(self, lender: FakeLender) -> None:
        super().__init__(copyreg.dispatch_table)
        self._lender = lender

    def __missing__(self, kind: type) -> object:
        door = doors.find(kind)
        if door is None:
            raise KeyError(kind)
        return lambda obj: door(obj, self._lender)
