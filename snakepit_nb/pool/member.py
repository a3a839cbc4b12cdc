"""One worker as its pool sees it, and where in its life it is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum


class Phase(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    STANDBY = "standby"  # ready to take over from another, which has not ended what it runs
    SERVING = "serving"
    DRAINING = "draining"  # ends what it has, and is given nothing more
    STOPPING = "stopping"
    KILLED = "killed"


@dataclass(slots=True, eq=False)
class Worker:
    """One worker; `hands` are the requests sent to it, oldest first.

    Attributes:
        retiring: Why another worker is to take its place, where one is.
        given_up: Requests in its hands that nobody waits for any more, and that cannot be taken from it.
        pinned: What waits for this worker alone, oldest first.
        owes: Whether it is the turn of those.
        sessions: The names of the sessions that it keeps.

    Example:
        >>> Worker("p-0", 0, 1).phase
        <Phase.STARTING: 'starting'>
    """

    worker_id: str
    slot: int
    life: int
    phase: Phase = Phase.STARTING
    hands: deque[int] = field(default_factory=deque)
    alone: bool = False
    mean_ns: float = float("inf")
    served: int = 0
    retiring: str = ""
    given_up: set[int] = field(default_factory=set)
    pinned: deque[int] = field(default_factory=deque)
    owes: bool = False
    sessions: list[str] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        """Whether it has a request that somebody waits for.

        Example:
            >>> Worker("p-0", 0, 1).busy
            False
        """
        return bool(self.hands) and not (self.given_up and self.given_up.issuperset(self.hands))
