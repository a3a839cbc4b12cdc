"""When an alert fires, decided from stamps alone: how many in how long, how long nothing.

*Rule:* pure. No clock is read here and nothing waits; whoever has a watch tells it what was seen, and when.
*Rule:* stamps of several processes come out of order. What counts is when things happened, not when they
were heard of.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Final

_KEPT: Final = 4096


class Often:
    """Fires when more than `limit` things happen within a window, and then not before its cooldown is over.

    Args:
        limit: How many are still well.
        window_ns: How long the window is; both of its ends belong to it.
        cooldown_ns: How long it stays silent after it has fired.

    Example:
        >>> watch = Often(limit=1, window_ns=10, cooldown_ns=50)
        >>> [watch.seen(at) for at in (0, 11, 20, 25, 61, 70)]
        [None, None, 2, None, None, 2]
    """

    def __init__(self, limit: int, window_ns: int, cooldown_ns: int) -> None:
        self._limit, self._window, self._cooldown = limit, window_ns, cooldown_ns
        self._most = max(_KEPT, limit + 1)
        self._stamps: list[int] = []
        self._fired: int | None = None

    def seen(self, at: int) -> int | None:
        """Something happened; how many did within the window, where that makes the watch fire."""
        stamps, limit = self._stamps, self._limit
        insort(stamps, at)
        place = bisect_right(stamps, at) - 1
        found = None
        # A window that was too full before this one came has been decided already.
        for first in range(max(0, place - limit), min(place + 1, len(stamps) - limit)):
            start, end = stamps[first], stamps[first + limit]
            if end - start <= self._window and not self._is_cooling(end):
                found = bisect_right(stamps, start + self._window) - first
                self._fired = end
                break
        if len(stamps) >= 2 * self._most:
            del stamps[: -self._most]
        return found

    def _is_cooling(self, at: int) -> bool:
        return self._fired is not None and at - self._fired < self._cooldown


class Silence:
    """Fires once when nothing has happened for a window; then something has to happen first.

    Args:
        window_ns: How long nothing is still well.
        cooldown_ns: How long it stays silent after it has fired, whatever happens.

    Attributes:
        due_ns: When it fires, where nothing happens until then; None where it does not.

    Example:
        >>> watch = Silence(window_ns=10, cooldown_ns=0)
        >>> watch.begin(0)
        >>> watch.passed(9), watch.passed(10), watch.passed(30)
        (None, 10, None)
        >>> watch.seen(40), watch.passed(51)
        (None, 11)
    """

    def __init__(self, window_ns: int, cooldown_ns: int) -> None:
        self._window, self._cooldown = window_ns, cooldown_ns
        self._last = 0
        self._fired: int | None = None
        self.due_ns: int | None = None

    def begin(self, at: int) -> None:
        """The silence is counted from here on."""
        self._last = at
        self._fired = None
        self.due_ns = at + self._window

    def seen(self, at: int) -> None:
        """Something happened."""
        if at > self._last:
            self._last = at
            earliest = 0 if self._fired is None else self._fired + self._cooldown
            self.due_ns = max(at + self._window, earliest)

    def passed(self, at: int) -> int | None:
        """It is this late now; how long nothing has happened, where that makes the watch fire."""
        if self.due_ns is None or at < self.due_ns:
            return None
        self._fired = at
        self.due_ns = None
        return at - self._last
