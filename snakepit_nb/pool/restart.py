"""Whether a pool whose workers die goes on, and after which pause: pure, after OTP's restart intensity.

*Rule:* more than `deaths` within `within` seconds, or `deaths` without a single worker ever having served,
ends the pool with a reason, rather than respawning for ever.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_MOST: Final = 30.0


class Intensity:
    """Counts deaths in a sliding window.

    Args:
        deaths: How many deaths the window may hold.
        within: The window's length in seconds.

    Example:
        >>> intensity = Intensity(deaths=1, within=30.0)
        >>> intensity.died(0.0) is None
        True
        >>> intensity.died(1.0)
        '2 workers died within 30 s'
    """

    __slots__ = ("_deaths", "_times", "_within")

    def __init__(self, deaths: int, within: float) -> None:
        self._deaths = deaths
        self._within = within
        self._times: deque[float] = deque()

    def died(self, now: float) -> str | None:
        """Count a death at `now` (seconds of any monotonic clock); the reason to stop, or None to go on.

        Example:
            >>> Intensity(5, 30.0).died(0.0) is None
            True
        """
        times = self._times
        times.append(now)
        while times and now - times[0] > self._within:
            times.popleft()
        if len(times) > self._deaths:
            return f"{len(times)} workers died within {self._within:g} s"
        return None


class Taints:
    """How long a slot stays empty after a crash: longer each time that nothing was answered in between.

    Args:
        seconds: How long after the first crash.
        kinds: The classes of crashes that taint; others do not.

    Example:
        >>> taints = Taints(1.0, frozenset({"segfault"}))
        >>> [taints.after(0, kind) for kind in ("segfault", "exit", "segfault")]
        [1.0, 0.0, 2.0]
        >>> taints.served(0)
        >>> taints.after(0, "segfault")
        1.0
    """

    __slots__ = ("_crashes", "_kinds", "_seconds")

    def __init__(self, seconds: float, kinds: frozenset[str]) -> None:
        self._seconds = seconds
        self._kinds = kinds
        self._crashes: dict[int, int] = {}

    def after(self, slot: int, kind: str) -> float:
        """A worker of this slot crashed; the seconds that the slot is tainted, 0 for not at all."""
        if kind not in self._kinds:
            return 0.0
        before = self._crashes.get(slot, 0)
        self._crashes[slot] = before + 1
        return float(min(self._seconds * 2**before, max(_MOST, self._seconds)))

    def served(self, slot: int) -> None:
        """A worker of this slot has answered a request."""
        self._crashes.pop(slot, None)
