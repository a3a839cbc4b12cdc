"""Many requests as one: how busy each lane was in an interval, and how many ended there.

*Rule:* pure, and without numpy until the end: what it calls on long arrays lets go of the interpreter, and in
a kernel that is busy each time takes milliseconds until it has it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb.dashboard.packing import DENSITY
from snakepit_nb.dashboard.protocol import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snakepit_nb.dashboard.packing import Table

_OK: Final = int(Outcome.OK)


class Density:
    """One interval.

    Args:
        since: When it began, in seconds.

    Attributes:
        sums: By lane: seconds in which requests ran, how many ended, and how many of these failed.

    Example:
        >>> density = Density(1.0)
        >>> density.add(3, 1.0, 1.25, 1)
        >>> density.add(3, 0.5, 1.5, 2)
        >>> density.table(2.0, [(3, 1.75)], [1, 1, 1, 2]).tolist()
        [(1.0, 1.0, 0.5, 2, 1, 3)]
    """

    __slots__ = ("since", "sums")

    def __init__(self, since: float) -> None:
        self.since = since
        self.sums: dict[int, list[float]] = {}

    def add(self, lane: int, began: float, ended: float, outcome: int) -> None:
        """A request ended."""
        found = self.sums.get(lane)
        if found is None:
            found = self.sums[lane] = [0.0, 0, 0]
        ran = ended - (began if began > self.since else self.since)  # noqa: FURB136 - `max` takes four times as long
        if ran > 0:
            found[0] += ran
        found[1] += 1
        if outcome != _OK:
            found[2] += 1

    def table(self, until: float, running: Iterable[tuple[int, float]], capacities: Sequence[int]) -> Table:
        """The rows that stand for them.

        Args:
            until: When the interval ended.
            running: Lane and beginning of each that runs on.
            capacities: How many run at once in each lane.
        """
        for lane, began in running:
            found = self.sums.setdefault(lane, [0.0, 0, 0])
            found[0] += max(0.0, until - max(began, self.since))
        width = max(until - self.since, 1e-6)
        return np.array(
            [
                (self.since, width, min(1.0, busy / (width * capacities[lane])), count, failed, lane)
                for lane, (busy, count, failed) in sorted(self.sums.items())
                if busy or count
            ],
            DENSITY,
        )
