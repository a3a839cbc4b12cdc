"""What may be asked of a pool's state: who works, who waits, and whether there is room.

*Rule:* looks and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snakepit_nb.pool.member import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snakepit_nb.pool.member import Worker
    from snakepit_nb.pool.slots import Slots
    from snakepit_nb.pool.waiting import Waiting


class Census:
    """Counts the workers and the requests of one pool.

    Args:
        slots: The workers' places.
        queue: What waits.
        idle: The workers that can be given something.
        at_once: How many requests one worker runs at once.

    Example:
        >>> from snakepit_nb.pool.slots import Slots
        >>> from snakepit_nb.pool.waiting import Waiting
        >>> Census(Slots("p", 1), Waiting(), []).waiting()
        0
    """

    __slots__ = ("_at_once", "_idle", "_queue", "_slots")

    def __init__(self, slots: Slots, queue: Waiting, idle: Sequence[Worker], at_once: int = 1) -> None:
        self._at_once = at_once
        self._slots = slots
        self._queue = queue
        self._idle = idle

    def starting(self, *, spoken_for: bool = True) -> int:
        """How many workers will serve soon that take over from nobody.

        Args:
            spoken_for: Whether those count for which requests of sessions wait.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> slots = Slots("p", 1)
            >>> worker = slots.begin()
            >>> Census(slots, Waiting(), []).starting()
            1
        """
        slots = self._slots
        return sum(
            worker.phase is Phase.STARTING
            and (spoken_for or not worker.pinned)
            and slots.beside(worker) is None
            for worker in slots.workers.values()
        )

    def supplied(self) -> bool:
        """Whether every worker has more in its socket than the request that it runs.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> Census(Slots("p", 1), Waiting(), []).supplied()
            True
        """
        return all(
            len(worker.hands) > 1 for worker in self._slots.workers.values() if worker.phase is Phase.SERVING
        )

    def waiting(self) -> int:
        """How many requests wait, in the queue or in a socket behind the one that runs.

        Those do not count for which a worker starts, or could.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> Census(Slots("p", 1), Waiting(), []).waiting()
            0
        """
        workers = self._slots.workers.values()
        behind = sum(max(0, len(worker.hands) - self._at_once) for worker in workers)
        return max(0, self.queued() + behind - self._slots.vacant - self.starting())

    def queued(self) -> int:
        """How many requests no worker has been sent.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> Census(Slots("p", 1), Waiting(), []).queued()
            0
        """
        return len(self._queue) + sum(len(worker.pinned) for worker in self._slots.workers.values())

    def has_room(self, limit: int) -> bool:
        """Whether one request more can come in where `limit` may wait.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> Census(Slots("p", 1), Waiting(), []).has_room(1)
            True
        """
        return bool(self._idle) or self.waiting() < limit

    def has_successor(self, worker_id: str) -> bool:
        """Whether another worker was started to take over from this one, and is there.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> Census(Slots("p", 1), Waiting(), []).has_successor("p-0")
            False
        """
        worker = self._slots.workers.get(worker_id)
        return worker is not None and self._slots.beside(worker) is not None

    def counts(self) -> dict[str, int]:
        """How many workers start, are busy and idle, and how many requests wait.

        Example:
            >>> from snakepit_nb.pool.slots import Slots
            >>> from snakepit_nb.pool.waiting import Waiting
            >>> Census(Slots("p", 1), Waiting(), []).counts()
            {'workers': 0, 'starting': 0, 'busy': 0, 'idle': 0, 'queued': 0}
        """
        phases = [worker.phase for worker in self._slots.workers.values()]
        busy = sum(bool(worker.hands) for worker in self._slots.workers.values())
        return {
            "workers": self._slots.taken,
            "starting": phases.count(Phase.STARTING),
            "busy": busy,
            "idle": len(self._idle),
            "queued": self.queued(),
        }
