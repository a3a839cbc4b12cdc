"""A circuit breaker: a pool whose workers die one after the other takes no requests for a while.

*Rule:* only deaths of workers count, never what the user's code raises; any answer begins the count anew.

Closed, open, half open: Michael Nygard, Release It!, 2007.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from snakepit_nb import events
from snakepit_nb.errors.types import CircuitOpen

if TYPE_CHECKING:
    from snakepit_nb.pool.office import Office


class Breaker:
    """The circuit breaker of one pool; the pool's lock is held.

    Args:
        office: The pool's desk.
        most: How many deaths in a row open it; 0 for never.
        reset: Seconds until one request is let through as a trial.
    """

    def __init__(self, office: Office, most: int, reset: float) -> None:
        self._office = office
        self._most = most
        self._reset = reset
        self.failures = 0  # read on the hot path
        self._opened_at: float | None = None
        self._trying = False

    def check(self) -> None:
        """Let a request pass, or not.

        Raises:
            CircuitOpen: too many workers died in a row, and it is too early to try again.
        """
        if self._opened_at is None:
            return
        left = self._opened_at + self._reset - time.monotonic()
        if left > 0 or self._trying:
            raise CircuitOpen(
                pool=self._office.name, failures=self.failures, seconds=round(max(left, 0.1), 1)
            )
        self._trying = True
        self._office.tell(events.CIRCUIT_BREAKER_HALF_OPEN, {}, {"pool": self._office.name})

    def state(self) -> str:
        """Closed while requests pass, open while none does, half open while one is tried; off without one."""
        if not self._most:
            return "off"
        if self._opened_at is None:
            return "closed"
        return "half open" if self._trying else "open"

    def failed(self) -> None:
        """A request ended with the death of its worker."""
        if not self._most:
            return
        self.failures += 1
        if self.failures >= self._most and (self._opened_at is None or self._trying):
            self._opened_at = time.monotonic()
            self._trying = False
            opened: dict[str, float] = {"failures": self.failures, "reset_ms": round(self._reset * 1000)}
            self._office.tell(events.CIRCUIT_BREAKER_OPENED, opened, {"pool": self._office.name})

    def went_well(self) -> None:
        """A worker answered, whatever it said."""
        self.failures = 0
        if self._opened_at is not None:
            self._opened_at = None
            self._trying = False
            self._office.tell(events.CIRCUIT_BREAKER_CLOSED, {}, {"pool": self._office.name})

    def let_go(self) -> None:
        """A request ended without an answer and without a death: whoever was the trial is it no more."""
        self._trying = False
