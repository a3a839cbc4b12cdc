"""What this process has lent out: leases, by their numbers, and who holds them.

*Rule:* a lease ends once: the borrower released it, or the borrower died.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.arrays.arena import Block


@dataclass(slots=True)
class Lease:
    """One loan and what it keeps alive.

    Attributes:
        nbytes: How much memory was lent.
        block: The block of this process's arena that holds it.
        kept: What keeps borrowed memory here while it is lent on.
        parcel: The id of the memory that was made for this loan alone.
        holder: Who has it; None while it is on its way.
        spares: How many ends of it do not count, because it is lent that often again.
        told: Whether events tell of it: not where a long message lies there and no array.
        since_ns: When the loan began, on the machine's monotonic clock.
    """

    nbytes: int
    block: Block | None = None
    kept: object = None
    parcel: str = ""
    holder: str | None = None
    spares: int = 0
    told: bool = True
    since_ns: int = field(default_factory=time.monotonic_ns)


class Leases:
    """The leases that have not ended.

    Example:
        >>> leases = Leases()
        >>> number = leases.open(Lease(8))
        >>> leases.hand([number], "default-0")
        >>> leases.held_by("default-0") == [number]
        True
        >>> [lease.nbytes for _, lease in leases.end([number, number])]
        [8]
        >>> len(leases)
        0
    """

    __slots__ = ("_leases", "_lock", "_numbers", "_on_blocks")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._leases: dict[int, Lease] = {}
        self._on_blocks: dict[Block, int] = {}
        # Numbers that no other process hands out either, so that a lease's number names it in events.
        self._numbers = count((secrets.randbits(31) << 32) + 1)

    def __len__(self) -> int:
        return len(self._leases)

    def open(self, lease: Lease) -> int:
        """Note a new loan; its number."""
        number = next(self._numbers)
        self._leases[number] = lease
        if lease.block is not None:
            self._on_blocks[lease.block] = self._on_blocks.get(lease.block, 0) + 1
        return number

    def on(self, block: Block) -> int:
        """How many leases there are on a block of this process's arena."""
        return self._on_blocks.get(block, 0)

    @property
    def nbytes(self) -> int:
        """How many bytes are lent out, those that are lent twice counted twice."""
        return sum(lease.nbytes for lease in self._leases.copy().values())

    def hand(self, numbers: Iterable[int], holder: str) -> None:
        """Note who has these leases from now on; numbers of leases that ended are ignored."""
        for number in numbers:
            lease = self._leases.get(number)
            if lease is not None:
                lease.holder = holder

    def held_by(self, holder: str) -> list[int]:
        """The numbers of the leases that `holder` has."""
        return [number for number, lease in self._leases.copy().items() if lease.holder == holder]

    def spare(self, numbers: Iterable[int]) -> None:
        """Let the next end of these leases not count: what they lend is needed once more after it.

        Example:
            >>> leases = Leases()
            >>> number = leases.open(Lease(8))
            >>> leases.spare([number])
            >>> [len(leases.end([number])) for _ in range(2)]
            [0, 1]
        """
        with self._lock:
            for number in numbers:
                lease = self._leases.get(number)
                if lease is not None:
                    lease.spares += 1

    def _is_spared(self, number: int) -> bool:
        lease = self._leases.get(number)
        if lease is None or not lease.spares:
            return False
        with self._lock:
            spared = lease.spares > 0
            lease.spares -= spared
            return spared

    def end(self, numbers: Iterable[int], *, for_good: bool = False) -> list[tuple[int, Lease]]:
        """Forget these leases, `for_good` those too that were spared; those that had not ended before."""
        if not for_good:
            numbers = [number for number in numbers if not self._is_spared(number)]
        popped = ((number, self._leases.pop(number, None)) for number in numbers)
        ended = [(number, lease) for number, lease in popped if lease is not None]
        for _, lease in ended:
            if lease.block is not None:
                left = self._on_blocks.pop(lease.block, 1) - 1
                if left:
                    self._on_blocks[lease.block] = left
        return ended

    def drop_all(self) -> None:
        """Forget every lease."""
        self._leases.clear()
        self._on_blocks.clear()
