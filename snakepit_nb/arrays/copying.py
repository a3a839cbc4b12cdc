"""Copies in the arena of what a message lends and lies elsewhere: new ones, and those of earlier messages.

*Rule:* a kept copy is lent again where its owner's memory can never change, or after it was compared.

*Rule:* what its borrower, or this process, may write to is never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb import options
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.loan import Loan, loan_of, oldest_base, owner_of, strides_of_a_copy
from snakepit_nb.arrays.memory import bytes_at

if TYPE_CHECKING:
    from snakepit_nb.arrays.arena import Allocator
    from snakepit_nb.arrays.store import Store

# From here on the copy of an array is kept: below, making one takes no longer than to look after it.
_KEPT_FROM: Final = 1 << 20


class Copies:
    """Makes the copies of one message.

    Args:
        store: In whose arena.
        loans: All loans of the message; those of copies are added.
        in_place: Whether the other side may write to what is lent, so that this one sees it.
    """

    __slots__ = ("_in_place", "_loans", "_store")

    def __init__(self, store: Store, loans: dict[object, Loan], *, in_place: bool) -> None:
        self._store = store
        self._loans = loans
        self._in_place = in_place

    def loan(
        self, array: np.ndarray, address: int, cached_by: object | None, owned_by: object | None
    ) -> tuple[Loan | None, str]:
        """A loan of a copy, or why there is none; the arguments are those of `Shipment.add`."""
        arena = self._store.arena
        if arena is None:
            return None, self._store.lacking
        try:
            if cached_by is not None:
                return self._constant(arena, array, address, cached_by), ""
            return self._whole(arena, array, address, owned_by), ""
        except ArenaFull:
            return None, "capacity"

    def _constant(self, arena: Allocator, array: np.ndarray, address: int, owner: object) -> Loan:
        shares = self._store.shares
        block = None if shares is None else shares.find(owner, address, array.nbytes)
        if block is not None:
            return loan_of(block, address, self._loans, arena)
        loan = self._new(arena, array, address)
        self._keep(loan, array, address, owner)
        return loan

    def _whole(self, arena: Allocator, array: np.ndarray, address: int, owned_by: object | None) -> Loan:
        """Of all of what an array is a view of, so that another view of it finds itself in the same loan.

        Not where that is much larger.
        """
        whole = owner_of(array)
        known = None if whole is None else self._loans.get(id(whole))
        if known is not None:
            return known
        if whole is not None and whole.nbytes <= 2 * array.nbytes:
            begin: int = whole.__array_interface__["data"][0]
            known = self._loans[id(whole)] = self._current(arena, whole, begin, None)
            return known
        return self._current(arena, array, address, owned_by)

    def _current(self, arena: Allocator, original: np.ndarray, address: int, owned_by: object | None) -> Loan:
        """Of the copy that is kept, where that is or can be made true; else of a new one."""
        shares = self._store.shares
        if shares is None or not self._may_keep(original, owned_by):
            return self._new(arena, original, address)
        owner = _who_has(original) if owned_by is None else owned_by
        found = shares.refreshed(owner, address, original.nbytes)
        if found is None:
            loan = self._new(arena, original, address)
            self._keep(loan, original, address, owner)
            return loan
        loan = loan_of(found.block, address, self._loans, arena)
        loan.keeps, loan.stays = original, "compared"
        if found.copied:
            loan.copied, loan.reason, loan.stays = found.copied, "first_share", "kept"
        return loan

    def _may_keep(self, original: np.ndarray, owned_by: object | None) -> bool:
        """Whether keeping a copy pays, and nobody will ever write to it.

        The kernel writes to what it gets from a worker; and a worker to what it is lent in place.
        """
        if self._in_place or self._store.ledger.role != "kernel" or not options.current().reuse_copies:
            return False
        if not original.flags.forc:  # putting it together to compare it takes as long as a new copy
            return False
        return original.nbytes >= _KEPT_FROM or owned_by is not None

    def _keep(self, loan: Loan, original: np.ndarray, address: int, owner: object | None) -> None:
        shares, block = self._store.shares, loan.block
        if shares is not None and block is not None and shares.keep(owner, address, original.nbytes, block):
            loan.stays = "kept"

    def _new(self, arena: Allocator, original: np.ndarray, address: int) -> Loan:
        block = self._store.allocate(original.nbytes)
        try:
            raw = bytes_at(arena.address + block.offset, original.nbytes)
            copy: np.ndarray = np.ndarray(original.shape, original.dtype, raw, 0, strides_of_a_copy(original))
            np.copyto(copy, original)
        except BaseException:  # an interrupt comes here if anywhere: large copies take long
            arena.free(block)
            raise
        loan = self._loans[block] = Loan(address, block)
        loan.copied, loan.reason, loan.keeps = original.nbytes, "first_share", original
        return loan


def _who_has(array: np.ndarray) -> np.ndarray | None:
    """The array that keeps this one's memory alive; None where that can be resized (see `shares`)."""
    owner = oldest_base(array)
    return None if owner.flags.owndata else owner
