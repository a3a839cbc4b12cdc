"""How a pool does: what waits, how much ends in a second, and how long that took, for the charts.

*Rule:* pure; times come in as numbers. What does not change is told at its beginning and at its end only.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snakepit_nb.dashboard.packing import SAMPLE

if TYPE_CHECKING:
    from snakepit_nb.dashboard.packing import Table

EVERY_NS: Final = 500_000_000
WINDOW_NS: Final = 10_000_000_000
_SPOT_CHECK: Final = 1_024  # of so many in half a second a percentile is as good as of all
_PERCENTILES: Final = (50, 95, 99)


class Pulse:
    """Samples one pool twice a second.

    Attributes:
        latencies: Where whoever counts puts the time of each request that ended, in microseconds.

    Example:
        >>> pulse = Pulse(0)
        >>> pulse.latencies.extend([1000, 3000])
        >>> pulse.beat(500_000_000, 7)[["queue", "throughput", "p50"]].tolist()
        [(7.0, 4.0, 2.0)]
    """

    def __init__(self, origin_ns: int) -> None:
        self.latencies: list[float] = []
        self._origin_ns = self._last_ns = origin_ns
        self._window: deque[tuple[int, np.ndarray[Any, np.dtype[np.float64]]]] = deque()
        self._told: tuple[float, ...] = ()
        self._held: tuple[float, ...] = ()

    def beat(self, now_ns: int, queued: int) -> Table:
        """The samples that are new; none where it is too early, or all is as it was."""
        passed = now_ns - self._last_ns
        if passed < EVERY_NS:
            return np.empty(0, SAMPLE)
        throughput = len(self.latencies) / (passed * 1e-9)
        self._last_ns = now_ns
        found = (float(queued), throughput, *self._percentiles(now_ns))
        sample = ((now_ns - self._origin_ns) * 1e-9, *found)
        if repr(found) == repr(self._told):  # for NaN is not NaN
            self._held = sample
            return np.empty(0, SAMPLE)
        samples = [self._held, sample] if self._held else [sample]
        self._told, self._held = found, ()
        return np.array(samples, SAMPLE)

    def _percentiles(self, now_ns: int) -> tuple[float, ...]:
        if self.latencies:
            taken = self.latencies[:: 1 + len(self.latencies) // _SPOT_CHECK]
            self._window.append((now_ns, np.array(taken, "f8")))
            self.latencies.clear()
        while self._window and self._window[0][0] < now_ns - WINDOW_NS:
            self._window.popleft()
        if not self._window:
            return (float("nan"),) * len(_PERCENTILES)
        found = np.percentile(np.concatenate([each for _, each in self._window]), _PERCENTILES)
        return tuple((found / 1000).tolist())
