"""A shipment: all memory that one message lends, from the first look at it to its handles.

*Rule:* what lies in one block is one loan, and its views stay views of one memory on the other side.

*Rule:* what is lent as it lies and what is copied is decided when the message is sealed, not before: what the
sender still holds, or has written to for itself, is copied. Only then is any of it told.

*Rule:* a shipment that is closed without having been sealed leaves nothing behind.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from snakepit_nb import options
from snakepit_nb.arrays import dtypes, pages
from snakepit_nb.arrays.arena import ArenaFull
from snakepit_nb.arrays.copying import Copies
from snakepit_nb.arrays.handle import ArrayHandle, again, plain, span, strongest, to_bytes, writable_view
from snakepit_nb.arrays.lending import Lease
from snakepit_nb.arrays.loan import Item, Loan, loan_of, read, strides_of_a_copy
from snakepit_nb.arrays.memory import bytes_at
from snakepit_nb.arrays.room import room_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snakepit_nb.arrays.account import Account
    from snakepit_nb.arrays.handle import Mode
    from snakepit_nb.arrays.store import Store

# Garbage in a circle holds arrays, too; from here on finding it is cheaper than the copy that it may save.
_COLLECT_FROM: Final = 1 << 24
_NO_MODES: Final[Mapping[int, Mode]] = {}


class Sealed(NamedTuple):
    """The handles of a message as bytes, the leases that they stand for, and the arenas that they name."""

    buffers: bytes
    leases: tuple[int, ...]
    arenas: tuple[str, ...] = ()


class WouldLend(BaseException):
    """Something that is packed has memory to be lent, and the shipment is to lend none.

    Example:
        >>> issubclass(WouldLend, Exception)
        False
    """


class Shipment:
    """What one message lends.

    Args:
        store: Whose memory it is.
        request_id: The request that it belongs to, for the events.
        mode: How the other side is to map what is lent.
        modes: Other modes for some objects, by their `id`.
        lending: Whether it may lend at all; if not, the first array that it would lend raises `WouldLend`.
        snapshot: Whether it lends copies, so that what is written here later is not seen there.

    Example:
        >>> from snakepit_nb.arrays.arena import Arena
        >>> from snakepit_nb.arrays.store import Store
        >>> store = Store("kernel", Arena(1 << 20), inline_bytes=0)
        >>> shipment = Shipment(store)
        >>> item = shipment.add(np.arange(3.0))
        >>> len(shipment.seal([item]).leases)
        1
        >>> store.close()
    """

    def __init__(  # noqa: PLR0913 - what is rarely said, by name
        self,
        store: Store,
        *,
        request_id: int | None = None,
        mode: Mode = "copy_on_write",
        modes: Mapping[int, Mode] = _NO_MODES,
        lending: bool = True,
        snapshot: bool = False,
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._lending = lending
        self._request_id = request_id
        self._mode = mode
        self._modes = modes
        self._loans: dict[object, Loan] = {}
        self.account: Account | None = None

    def mode_of(self, obj: object) -> Mode:
        """How the other side is to map this object's memory."""
        return self._modes.get(id(obj), self._mode) if self._modes else self._mode

    def reaches(self, array: np.ndarray) -> bool:
        """Whether an array in one piece lies in shared memory, so that lending it costs no copy."""
        return (
            array.nbytes > 0 and self._loan_at(array.__array_interface__["data"][0], array.nbytes) is not None
        )

    @property
    def moves(self) -> bool:
        """Whether what lies in private memory may be moved to shared memory for good: the kernel's alone.

        A worker's memory is shared from the start, or was lent to it.
        """
        return self._lending and self._store.ledger.role == "kernel" and options.current().move_tensors

    @property
    def trusts(self) -> bool:
        """Whether what Arrow takes for unchangeable counts as that.

        The kernel's is asked for again and again, and there are ways to write to it that Arrow does not see.
        A worker's goes out with one answer.
        """
        return self._store.ledger.role == "worker" or options.current().trust_arrow

    def room(self, nbytes: int) -> np.ndarray | None:
        """Shared memory to move something to, as a `uint8` array; None where there is none."""
        arena = self._store.arena
        if arena is None:
            return None
        try:
            return room_in(arena, nbytes, self._store.allocate(nbytes))
        except ArenaFull:
            return None

    # Taking in

    def add(  # noqa: PLR0913 - the facts of one array, by name
        self,
        array: np.ndarray,
        *,
        kind: str = "dlpack",
        mode: Mode | None = None,
        dtype: str | None = None,
        shape: tuple[int, ...] | None = None,
        cached_by: object | None = None,
        owned_by: object | None = None,
        moved: bool = False,
    ) -> Item | None:
        """Take an array in: as it lies in shared memory, or else a copy of it that does.

        Args:
            array: Any shape, any strides, any dtype.
            kind: `"dlpack"` for an array, `"arrow"` for a plain buffer.
            mode: How the other side is to map it; by default what the shipment says of this object.
            dtype: What events call its dtype.
            shape: What events call its shape.
            cached_by: What owns this memory, which then never changes, and keeps a copy of it in use.
            owned_by: What owns this memory, where the array does not tell; a copy of it is kept, too, and is
                compared with it before it is used again.
            moved: Whether it was copied to where it lies for this message.

        Returns:
            What `seal` wants, or None where the array has to travel inside the message: it is small (no
            event), or it cannot be shared (one `fallback` event says why).
        """
        nbytes = array.nbytes
        store = self._store
        small = nbytes < store.inline_bytes
        if nbytes == 0 or (small and array.base is None):
            return None
        began = time.perf_counter()
        flags = array.flags
        address: int = array.__array_interface__["data"][0]
        low, high = (0, nbytes) if flags.forc else span(array.shape, array.strides, array.itemsize)
        descr = dtypes.describe(array.dtype)
        loan = None if descr is None else self._loan_at(address + low, high - low)
        if small and loan is None:
            return None
        if not self._lending and descr is not None and (loan is not None or store.arena is not None):
            raise WouldLend
        facts: dict[str, object] = {
            "kind": kind,
            "device": "cpu",
            "direction": store.ledger.direction_out,
            "dtype": dtypes.name(array.dtype) if dtype is None else dtype,
            "shape": list(array.shape if shape is None else shape),
        }
        if self._request_id is not None:
            facts["request_id"] = self._request_id
        strides, reason = array.strides, "dtype"
        if descr is not None and loan is None:
            loan, reason = self._copies().loan(array, address, cached_by, owned_by)
            if loan is not None and loan.keeps is array and not flags.forc:
                strides, low, high = strides_of_a_copy(array), 0, nbytes
        if descr is None or loan is None:
            self._leave_inside(nbytes, facts | {"reason": reason}, time.perf_counter() - began)
            return None
        if moved and not loan.copied:
            loan.copied, loan.reason, loan.stays = nbytes, "first_share", "moved"
        if mode is None:
            mode = self.mode_of(array)
        start = address - loan.address
        # The rows of a broadcast array are one memory there, too: it is writable only where it is so here.
        writable = mode != "readonly" and (flags.writeable or 0 not in strides)
        loan.modes.add(mode)
        loan.low, loan.high = min(loan.low, start + low), max(loan.high, start + high)
        loan.constant = loan.constant and cached_by is not None
        loan.facts = loan.facts or facts
        loan.name = loan.name or self.name
        elapsed = (time.perf_counter() - began) * 1e3
        return Item(loan, start, descr, array.shape, strides, writable, nbytes, facts, elapsed)

    def _copies(self) -> Copies:
        in_place = self._mode == "in_place" or "in_place" in self._modes.values()
        return Copies(self._store, self._loans, in_place=in_place)

    def _leave_inside(self, nbytes: int, facts: dict[str, object], seconds: float) -> None:
        """Tell of an array that has to travel inside the message."""
        self._store.ledger.tell_copied(nbytes, facts, None, seconds * 1e3)
        if self.account is not None:
            self.account.inside(str(facts["reason"]))

    @property
    def name(self) -> str:
        """Under which name an array would go into the account now."""
        return "" if self.account is None else self.account.name

    def _loan_at(self, start: int, nbytes: int) -> Loan | None:
        """The loan of the shared memory that these bytes lie in; None where they lie in none."""
        store = self._store
        arena = store.arena
        if arena is not None and 0 <= start - arena.address < arena.nbytes:
            block = arena.find(start, nbytes)
            if block is not None:
                return loan_of(block, arena.address + block.offset, self._loans, arena)
        lent = store.borrower.lent_at(start, nbytes)
        if lent is None:
            return None
        loan = self._loans.get(lent)
        if loan is None:
            loan = self._loans[lent] = Loan(lent.address, lent=lent)
        return loan

    # Sending

    def seal(self, items: Sequence[Item], *, moving: bool = False) -> Sealed:
        """Decide, open the leases, and tell; what no item is of is let go.

        Args:
            items: What goes along, in order; some may be there more than once.
            moving: Whether memory that nobody here holds any more becomes the other side's own; what
                somebody holds goes as a copy then.
        """
        if not items:
            self.close()
            self._tell_account()
            return Sealed(b"", ())
        leases: dict[Loan, int] = {}
        handles: list[bytes] = []
        places: dict[int, int] = {}
        arenas: dict[str, None] = {}
        try:
            self._settle(items, moving=moving)
            for item in items:
                known = places.setdefault(id(item), len(handles))
                if known != len(handles):
                    handles.append(again(known))
                    continue
                handle = self._handle(item, leases)
                handles.append(to_bytes(handle))
                if handle.arena:
                    arenas[handle.arena] = None
        except BaseException:
            _passed_on(leases)
            self._store.release(leases.values())
            self.close()
            raise
        _passed_on(leases)
        self._tell(items, leases)
        self.close()
        self._tell_account()
        return Sealed(b"".join(handles), tuple(leases.values()), tuple(arenas))

    def _settle(self, items: Sequence[Item], *, moving: bool) -> None:
        """Decide for each loan: as it lies, as a copy, or inside the message."""
        inline = self._store.inline_bytes
        large = {
            item.loan
            for item in items
            # What is changed in place is that, however small it is.
            if item.nbytes >= inline or item.loan.copied or "in_place" in item.loan.modes
        }
        for item in items:
            item.loan.inline = item.loan not in large
        collected = not moving
        for loan in large:
            if self._snapshot and not (loan.copied or loan.constant or "in_place" in loan.modes):
                self._copy_out(loan, "disabled")
                continue
            if not self._is_kept(loan, moving=moving):
                continue
            if not collected and loan.block is not None and loan.high - loan.low >= _COLLECT_FROM:
                gc.collect()
                collected = True
                if not self._is_kept(loan, moving=moving):
                    continue
            self._copy_out(loan)

    def _is_kept(self, loan: Loan, *, moving: bool) -> bool:
        """Whether this process may go on writing to a loan's memory, or wrote to it for itself."""
        if loan.copied or loan.constant:
            return False
        lent = loan.lent
        if lent is not None:
            return lent.mode == "copy_on_write" and pages.written(
                loan.address + loan.low, loan.high - loan.low
            )
        arena, block = self._store.arena, loan.block
        if not moving or arena is None or block is None:
            return False
        # The other side's leases, this loan, and what is shared in place with the other side already.
        known = self._store.leases.on(block) + 1 + self._store.borrower.has_in_place(block)
        return arena.holders(block) > known

    def _copy_out(self, loan: Loan, reason: str = "first_share") -> None:
        """Copy what was asked for of a loan's memory, so that neither side sees the other's writes."""
        store = self._store
        arena = store.arena
        nbytes = loan.high - loan.low
        if arena is None:
            loan.inline, loan.reason = True, store.lacking
            return
        try:
            new = store.allocate(nbytes)
        except ArenaFull:
            loan.inline, loan.reason = True, "capacity"
            return
        try:
            began = time.perf_counter()
            target = bytes_at(arena.address + new.offset, nbytes)
            np.copyto(target, bytes_at(loan.address + loan.low, nbytes))
            if self.account is not None:
                self.account.spent(loan.name, time.perf_counter() - began)
        except BaseException:
            arena.free(new)
            raise
        old, loan.block, loan.lent = loan.block, new, None
        loan.copied, loan.reason, loan.shift = nbytes, reason, loan.low
        if old is not None:
            arena.free(old)

    def _handle(self, item: Item, leases: dict[Loan, int]) -> ArrayHandle:
        loan = item.loan
        kind = str(item.facts["kind"])
        if loan.inline:
            array = read(item)
            content = array.tobytes("A")
            return ArrayHandle(
                kind, "inline", "", 0, 0, len(content), 0, "cpu", item.descr,
                item.shape, strides_of_a_copy(array), 0, "copy_on_write", item.writable, content,
            )  # fmt: skip
        store = self._store
        arena, block, lent = store.arena, loan.block, loan.lent
        if block is not None and arena is not None:
            name, (offset, nbytes, generation) = arena.id, block
        elif lent is not None:
            origin = lent.handle
            name, offset, nbytes, generation = (
                plain(origin.arena), origin.offset, origin.nbytes, origin.generation
            )  # fmt: skip
        else:
            message = "a loan of nothing"
            raise AssertionError(message)
        lease = leases.get(loan)
        if lease is None:
            lease = leases[loan] = store.leases.open(Lease(nbytes, block, lent))
        mode = strongest(loan.modes)
        if mode == "in_place":
            name = writable_view(name)
        return ArrayHandle(
            kind, "arena", name, generation, offset, nbytes, lease, "cpu", item.descr,
            item.shape, item.strides, item.start - loan.shift, mode, item.writable,
        )  # fmt: skip

    def _tell(self, items: Sequence[Item], leases: Mapping[Loan, int]) -> None:
        """One event for each array that is lent as it lies, one for each copy, none for what is small."""
        told: set[object] = set()
        copied = {item.loan for item in items if item.loan.copied}
        for item in items:
            loan = item.loan
            what = loan if loan in copied else id(item)
            if what in told:
                continue
            told.add(what)
            number = leases.get(loan)
            if loan.reason:
                nbytes = loan.copied or item.nbytes
                self._store.ledger.tell_copied(
                    nbytes, item.facts | {"reason": loan.reason}, number, item.elapsed_ms
                )
                if self.account is not None:
                    self.account.copied(loan.name, loan.reason, nbytes, loan.stays)
                loan.copied = 0
            elif number is not None:
                self._store.ledger.tell_shared(item.nbytes, item.facts, number, item.elapsed_ms)
                if self.account is not None and loan.stays:
                    self.account.copied(loan.name, "first_share", item.nbytes, loan.stays)

    def _tell_account(self) -> None:
        if self.account is not None:
            self.account.tell(self._store.ledger.direction_out, self._request_id)

    def close(self) -> None:
        """Let go of all that was not sealed; a copy that was made in vain is told, too. Idempotent."""
        loans, self._loans = self._loans, {}
        arena = self._store.arena
        for loan in loans.values():
            block, loan.block, loan.lent = loan.block, None, None
            if block is not None and arena is not None:
                arena.free(block)
            if loan.copied:
                self._store.ledger.tell_copied(loan.copied, loan.facts | {"reason": loan.reason}, None, 0.0)
                loan.copied = 0


def _passed_on(loans: Iterable[Loan]) -> None:
    """What these loans hold is the business of their leases from now on."""
    for loan in loans:
        loan.block = loan.lent = None
