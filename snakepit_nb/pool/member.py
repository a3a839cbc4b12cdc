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
