"""Whether a waiting side polls or sleeps: pure, from how its last polls went.

Polling answers faster than sleeping while each side has a core of its own. Where both share one, or others
want it too, polling only keeps the peer from answering; then a poll takes much longer than the processor time
that it got.

*Rule:* one such poll says nothing (the system takes a few milliseconds to part two busy processes); a row of
them ends polling for a while, and each further row for a longer while.
"""

from __future__ import annotations

from typing import Final

LONG_NS: Final = 20_000
_ROW_NS: Final = 12_000_000
_FIRST_CALM_NS: Final = 20_000_000
_LONGEST_CALM_NS: Final = 640_000_000


class Patience:
    """Decides for one channel; all times in nanoseconds of one monotonic clock.

    Example:
        >>> patience = Patience()
        >>> patience.may_poll(0)
        True
        >>> patience.polled(0, 90_000, 5_000); patience.polled(13_000_000, 90_000, 5_000)
        >>> patience.may_poll(14_000_000)
        False
    """

    __slots__ = ("_calm_ns", "_calm_until", "_row_since")

    def __init__(self) -> None:
        self._row_since = -1
        self._calm_until = 0
        self._calm_ns = _FIRST_CALM_NS

    def may_poll(self, now: int) -> bool:
        """Whether to poll before sleeping."""
        return now >= self._calm_until

    def polled(self, now: int, wall_ns: int, cpu_ns: int) -> None:
        """A poll that began at `now` took this long, and this much processor time.

        Example:
            >>> Patience().polled(0, 1_000, 1_000)
        """
        if wall_ns - cpu_ns <= LONG_NS:
            self._row_since = -1
            if wall_ns < LONG_NS:
                self._calm_ns = _FIRST_CALM_NS
        elif self._row_since < 0:
            self._row_since = now
        elif now - self._row_since > _ROW_NS:
            self._row_since = -1
            self._calm_until = now + wall_ns + self._calm_ns
            self._calm_ns = min(self._calm_ns * 2, _LONGEST_CALM_NS)
