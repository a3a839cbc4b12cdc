"""A lender for the tests of tables: it copies what does not lie on its shelf, and keeps what it may."""

from __future__ import annotations

import io
import pickle
import weakref
from collections import UserDict
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from snakepit_nb.arrays import arrow

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class Loan(NamedTuple):
    """What a lender was asked for, and whether it had to copy."""

    nbytes: int
    dtype: str | None
    copied: bool


class Shelf:
    """A lender that copies what does not lie on it, and keeps the copies that it may."""

    def __init__(self) -> None:
        self.loans: list[Loan] = []
        self.notes: dict[str, object] = {}
        self.kept: dict[tuple[int, int, int], np.ndarray] = {}
        self.own: list[tuple[int, int]] = []
        self.copies: list[weakref.ref[np.ndarray]] = []

    moves = False
    trusts = True

    def room(self, nbytes: int) -> np.ndarray | None:
        del nbytes
        return None

    def reaches(self, data: np.ndarray) -> bool:
        """Whether this memory can be lent as it lies."""
        start = data.__array_interface__["data"][0]
        return any(low <= start and start + data.nbytes <= high for low, high in self.own)

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
        del moved, owned_by
        assert kind == "arrow"
        assert shape is not None
        if self.reaches(data):
            self.loans.append(Loan(data.nbytes, dtype, copied=False))
            return data
        key = (id(cached_by), data.__array_interface__["data"][0], data.nbytes)
        known = self.kept.get(key) if cached_by is not None else None
        self.loans.append(Loan(data.nbytes, dtype, copied=known is None))
        if known is None:
            known = data.copy()
            self.copies.append(weakref.ref(known))
            if cached_by is not None:
                self.kept[key] = known
                weakref.finalize(cached_by, self.kept.pop, key)
        return known

    def taken(self) -> list[Loan]:
        """The loans since the last call."""
        told, self.loans = self.loans, []
        return told


class Doors(UserDict[type, object]):
    """A dispatch table that asks the door for each type."""

    def __init__(self, lender: Shelf) -> None:
        super().__init__()
        self._lender = lender

    def __missing__(self, kind: type) -> Callable[[object], object]:
        reduce = arrow.door(kind)
        if reduce is None:
            raise KeyError(kind)
        return lambda obj: reduce(obj, self._lender)


def send(obj: object, shelf: Shelf | None = None) -> Any:
    """The object as it comes out on the other side of a pickle."""
    out = io.BytesIO()
    lent: list[pickle.PickleBuffer] = []
    pickler = pickle.Pickler(out, 5, buffer_callback=lent.append)
    pickler.dispatch_table = Doors(shelf or Shelf())  # type: ignore[assignment]
    pickler.dump(obj)
    return pickle.loads(out.getvalue(), buffers=lent)


def large(number: int = 40_000) -> pa.Table:
    """A table of Arrow's own memory; three buffers."""
    return pa.table({"x": pa.array(range(number)), "s": pa.array([f"row {i}" for i in range(number)])})


def addresses(found: pa.Table | pa.ChunkedArray) -> set[int]:
    columns = found.columns if isinstance(found, pa.Table) else [found]
    buffers = (each for column in columns for chunk in column.chunks for each in chunk.buffers())
    return {each.address for each in buffers if each is not None and each.size}
