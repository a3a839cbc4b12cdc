"""Whether a pool whose workers die goes on: pure, in the manner of OTP's restart intensity.

*Rule:* more than `deaths` within `within` seconds, or `deaths` without a single worker ever having served,
ends the pool with a reason, rather than respawning for ever.
"""

from __future__ import annotations

from collections import deque


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
