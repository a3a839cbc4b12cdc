"""Many requests as one: how busy each lane was in an interval, and how many ended there.

*Rule:* pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb.dashboard.packing import DENSITY
from snakepit_nb.dashboard.protocol import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snakepit_nb.dashboard.packing import Table


def density(
    bars: Table, running: Sequence[tuple[int, float]], since: float, until: float, capacities: Sequence[int]
) -> Table:
    """What stands for requests that have no rows of their own.

    Args:
        bars: The requests that ended, as rows.
        running: Lane and beginning of each that runs on.
        since: When the interval began, in the seconds of the rows.
        until: When it ended.
        capacities: How many run at once in each lane.

    Example:
        >>> from snakepit_nb.dashboard.packing import ROW
        >>> bars = np.zeros(2, ROW)
        >>> bars["t"], bars["dur"], bars["outcome"] = [1.0, 1.5], [0.25, 0.25], [1, 2]
        >>> density(bars, [(0, 1.75)], 1.0, 2.0, [1]).tolist()
        [(1.0, 1.0, 0.75, 2, 1, 0)]
    """
    lanes = len(capacities)
    begun = np.maximum(bars["t"], since)
    ended = np.minimum(bars["t"] + bars["dur"], until)
    busy = np.bincount(bars["lane"], np.maximum(ended - begun, 0.0), lanes)
    for lane, began in running:
        busy[lane] += max(0.0, until - max(began, since))
    counts = np.bincount(bars["lane"], minlength=lanes)
    failed = np.bincount(bars["lane"][bars["outcome"] != Outcome.OK], minlength=lanes)
    width = max(until - since, 1e-6)
    found = np.flatnonzero((counts > 0) | (busy > 0))
    table = np.empty(len(found), DENSITY)
    table["t"] = since
    table["width"] = width
    table["busy"] = np.minimum(busy / (width * np.asarray(capacities)), 1.0)[found]
    table["count"] = counts[found]
    table["failed"] = failed[found]
    table["lane"] = found
    return table
