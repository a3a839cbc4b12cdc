"""One extent of memory that a message may lend, and the arrays in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snakepit_nb.arrays import dtypes
from snakepit_nb.arrays.memory import bytes_at

if TYPE_CHECKING:
    from snakepit_nb.arrays.account import Stays
    from snakepit_nb.arrays.arena import Allocator, Block
    from snakepit_nb.arrays.borrowing import Lent
    from snakepit_nb.arrays.handle import Mode


class Loan:
    """An extent of memory that the message may lend, and what keeps it until then.

    Attributes:
        address: Where the extent, or what it is a copy of, begins in this process.
        block: The block of this process's arena that it lies in, held once for this loan.
        lent: The borrowed memory that it lies in.
        shift: Where in the extent the block begins, where only a part was copied to it.
        copied: How many bytes were copied to make it.
        reason: Why something was copied.
        inline: Whether all of it travels inside the message after all.
        constant: Whether none of it can ever change.
        low: Where in the extent the first byte lies that was asked for.
        high: Where the last one ends.
        modes: How the other side is to map it.
        keeps: What keeps the original of a copy alive, and so its address.
        facts: What events tell of the first array in it.
        name: Under which name it was first met.
        stays: What becomes of a copy: it is `"kept"` for the next loan, or its original `"moved"` to it; or
            it is an earlier one, `"compared"` and still true.
    """

    __slots__ = (
        "address", "block", "constant", "copied", "facts", "high", "inline", "keeps", "lent", "low", "modes",
        "name", "reason", "shift", "stays",
    )  # fmt: skip

    def __init__(self, address: int, block: Block | None = None, lent: Lent | None = None) -> None:
        self.address = address
        self.block = block
        self.lent = lent
        self.shift = 0
        self.copied = 0
        self.reason = ""
        self.inline = False
        self.constant = True
        self.low, self.high = 1 << 62, 0
        self.modes: set[Mode] = set()
        self.keeps: object = None
        self.facts: dict[str, object] = {}
        self.name = ""
        self.stays: Stays = ""


class Item(NamedTuple):
    """One array in its loan: where it begins there, how to read it, and what events tell of it."""

    loan: Loan
    start: int
    descr: dtypes.Descr
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writable: bool
    nbytes: int
    facts: dict[str, object]
    elapsed_ms: float


def loan_of(block: Block, address: int, loans: dict[object, Loan], arena: Allocator) -> Loan:
    """The loan, among these, of a block that was held for it just now."""
    loan = loans.get(block)
    if loan is None:
        loan = loans[block] = Loan(address, block)
    else:
        arena.free(block)
    return loan


def owner_of(array: np.ndarray) -> np.ndarray | None:
    """The array whose memory this is a view of, or itself; None where that is not NumPy's, in one piece."""
    owner = array
    while type(owner.base) is np.ndarray:
        owner = owner.base
    flags = owner.flags
    return owner if flags.owndata and flags.forc and not owner.dtype.hasobject else None


def oldest_base(array: np.ndarray) -> np.ndarray:
    """The last array of NumPy that this one is a view of, or itself.

    Example:
        >>> array = np.arange(3)
        >>> oldest_base(array[1:][1:]) is array
        True
    """
    while type(array.base) is np.ndarray:
        array = array.base
    return array


def strides_of_a_copy(array: np.ndarray) -> tuple[int, ...]:
    """As the array has them where it is in one piece, else those of C's order."""
    if array.flags.forc:
        return array.strides
    strides = []
    step = array.itemsize
    for length in reversed(array.shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def read(item: Item) -> np.ndarray:
    """The array that an item stands for, as it lies in this process."""
    loan = item.loan
    raw = bytes_at(loan.address + loan.low, loan.high - loan.low)
    return np.ndarray(item.shape, dtypes.restore(item.descr), raw, item.start - loan.low, item.strides)
