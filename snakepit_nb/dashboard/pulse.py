"""How a pool does: what waits, how much ends in a second, and how long that took, for the charts.

*Rule:* pure; times come in as numbers. What does not change is told at its beginning and at its end only.
*Rule:* as in `density`, no numpy on long arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb.dashboard.packing import SAMPLE

if TYPE_CHECKING:
    from snakepit_nb.dashboard.packing import Table

EVERY_NS: Final = 500_000_000
WINDOW_NS: Final = 10_000_000_000
_PART: Final = 128  # of so many in half a second a percentile is as good as of all
_QUANTILES: Final = (0.5, 0.95, 0.99)


class Pulse:
    """Samples one pool twice a second.

    Attributes:
        latencies: Where whoever counts puts the time of each request that ended, in microseconds.

    Example:
        >>> pulse = Pulse(0)
        >>> pulse.latencies.extend([1000, 3000])
        >>> pulse.beat(500_000_000, 7)[["queue", "throughput", "p50"]].tolist()
        [(7.0, 4.0, 1.0)]
    """

    def __init__(self, origin_ns: int) -> None:
        self.latencies: list[float] = []
        self._origin_ns = self._last_ns = origin_ns
        self._window: deque[tuple[int, list[tuple[float, float]]]] = deque()
        self._told: tuple[float, ...] = ()
        self._held: tuple[float, ...] = ()

    def beat(self, now_ns: int, queued: int) -> Table:
        """The samples that are new; none where it is too early, or all is as it was."""
        passed = now_ns - self._last_ns
        if passed < EVERY_NS:
            return np.empty(0, SAMPLE)
        throughput = len(self.latencies) / (passed * 1e-9)
        self._last_ns = now_ns
        found = (float(queued), throughput, *self._latency(now_ns))
        sample = ((now_ns - self._origin_ns) * 1e-9, *found)
        if repr(found) == repr(self._told):  # for NaN is not NaN
            self._held = sample
            return np.empty(0, SAMPLE)
        samples = [self._held, sample] if self._held else [sample]
        self._told, self._held = found, ()
        return np.array(samples, SAMPLE)

    def _latency(self, now_ns: int) -> tuple[float, ...]:
        if self.latencies:
            self._window.append((now_ns, _thinned(sorted(self.latencies))))
            self.latencies.clear()
        while self._window and self._window[0][0] < now_ns - WINDOW_NS:
            self._window.popleft()
        # They are sorted each for itself, which makes sorting them all together quick.
        return _quantiles(sorted(pair for _, part in self._window for pair in part))


def _thinned(ordered: list[float]) -> list[tuple[float, float]]:
    """Values, and for how many each of them stands."""
    if len(ordered) <= _PART:
        return [(value, 1.0) for value in ordered]
    each = len(ordered) / _PART
    return [(ordered[int((at + 0.5) * each)], each) for at in range(_PART)]


def _quantiles(ordered: list[tuple[float, float]]) -> tuple[float, ...]:
    """In milliseconds: the first value that so large a part of all is not above."""
    if not ordered:
        return (float("nan"),) * len(_QUANTILES)
    sums = list(accumulate(count for _, count in ordered))
    # A part that is exact but for the last digit is that part.
    places = (bisect_left(sums, part * sums[-1] * (1 - 1e-9)) for part in _QUANTILES)
    return tuple(ordered[place][0] / 1000 for place in places)
