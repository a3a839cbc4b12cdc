"""The places of a pool's workers: who is in which, and which wait for one.

*Rule:* a slot is free, or has one worker, or two of which one is to take over from the other, or is tainted:
after some crashes it stays empty for a while.
"""

from __future__ import annotations

from typing import Final

from snakepit_nb.pool.member import Phase, Worker

LEAVING: Final = frozenset({Phase.STOPPING, Phase.KILLED})


class Slots:
    """The slots of one pool.

    Args:
        pool: The pool's name; workers are named after it.
        count: How many slots there are.

    Example:
        >>> slots = Slots("p", 1)
        >>> slots.begin().worker_id, slots.free
        ('p-0', False)
    """

    __slots__ = ("_condemned", "_free", "_gone", "_lives", "_pool", "_tainted", "workers")

    def __init__(self, pool: str, count: int) -> None:
        self._pool = pool
        self._lives = [0] * count
        self._free = list(range(count - 1, -1, -1))
        self._tainted: set[int] = set()
        self._gone: set[int] = set()
        self._condemned: set[int] = set()
        self.workers: dict[str, Worker] = {}

    @property
    def free(self) -> bool:
        """Whether a worker can be started that takes over from nobody."""
        return bool(self._free)

    @property
    def vacant(self) -> int:
        """How many of these could be started.

        Example:
            >>> Slots("p", 2).vacant
            2
        """
        return len(self._free)

    @property
    def taken(self) -> int:
        """How many slots have a worker.

        Example:
            >>> Slots("p", 2).taken
            0
        """
        return len(self._lives) - len(self._free) - len(self._tainted) - len(self._gone)

    def begin(self, slot: int | None = None) -> Worker:
        """A new worker: in a free slot, or in one that has a worker already.

        Example:
            >>> Slots("p", 2).begin(1).worker_id
            'p-1'
        """
        if slot is None:
            slot = self._free.pop()
        elif slot in self._free:
            self._free.remove(slot)
        self._lives[slot] += 1
        life = self._lives[slot]
        worker_id = f"{self._pool}-{slot}" if life == 1 else f"{self._pool}-{slot}.{life}"
        made = self.workers[worker_id] = Worker(worker_id, slot, life)
        return made

    def add(self) -> None:
        """One slot more.

        Example:
            >>> slots = Slots("p", 0)
            >>> slots.add()
            >>> slots.free
            True
        """
        if self._condemned:
            self._condemned.pop()
        elif self._gone:
            self._free.append(self._gone.pop())
        else:
            self._free.append(len(self._lives))
            self._lives.append(0)

    def remove_empty(self) -> bool:
        """One slot less, where one has no worker; whether that is so.

        Example:
            >>> slots = Slots("p", 2)
            >>> slots.remove_empty(), slots.vacant
            (True, 1)
        """
        if self._free:
            self._gone.add(self._free.pop(0))
        elif self._tainted:
            self._gone.add(self._tainted.pop())
        else:
            return False
        return True

    def condemn(self) -> list[Worker]:
        """One slot less: it goes with its workers, who are those that have least to lose and to do.

        Example:
            >>> slots = Slots("p", 1)
            >>> worker = slots.begin()
            >>> slots.condemn() == [worker]
            True
        """
        there: dict[int, list[Worker]] = {}
        for worker in self.workers.values():
            if worker.slot not in self._condemned:
                there.setdefault(worker.slot, []).append(worker)

        def cost(slot: int) -> tuple[int, int]:
            workers = there[slot]
            waiting = sum(len(each.hands) + len(each.pinned) for each in workers)
            return sum(len(each.sessions) for each in workers), waiting

        slot = min(there, key=cost)
        self._condemned.add(slot)
        return there[slot]

    def end(self, worker_id: str, *, taint: bool = False) -> Worker | None:
        """A worker is gone; None where it was not there.

        Example:
            >>> slots = Slots("p", 1)
            >>> slots.end(slots.begin().worker_id, taint=True).life, slots.free
            (1, False)
        """
        worker = self.workers.pop(worker_id, None)
        if worker is not None and not any(other.slot == worker.slot for other in self.workers.values()):
            if worker.slot in self._condemned:
                self._condemned.remove(worker.slot)
                self._gone.add(worker.slot)
            elif taint:
                self._tainted.add(worker.slot)
            else:
                self._free.append(worker.slot)
        return worker

    def clear(self, slot: int) -> bool:
        """The taint of a slot is over; whether it had one.

        Example:
            >>> Slots("p", 1).clear(0)
            False
        """
        if slot not in self._tainted:
            return False
        self._tainted.remove(slot)
        self._free.append(slot)
        return True

    def beside(self, worker: Worker) -> Worker | None:
        """Who else has a worker's slot and is not about to leave it: its successor, or the one before.

        Example:
            >>> slots = Slots("p", 1)
            >>> first = slots.begin()
            >>> slots.beside(first) is None, slots.beside(slots.begin(0)) is first
            (True, True)
        """
        for other in self.workers.values():
            if other.slot == worker.slot and other is not worker and other.phase not in LEAVING:
                return other
        return None

    def wants(self, slot: int) -> bool:
        """Whether a slot lacks a worker, or lacks the successor of the one that it has.

        Example:
            >>> slots = Slots("p", 1)
            >>> slots.wants(0)
            True
            >>> slots.wants(slots.begin().slot)
            False
        """
        if slot in self._tainted or slot in self._gone or slot in self._condemned:
            return False
        left = [each for each in self.workers.values() if each.slot == slot and each.phase not in LEAVING]
        return not left or (len(left) == 1 and bool(left[0].retiring))
