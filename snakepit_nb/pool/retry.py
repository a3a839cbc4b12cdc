"""Requests that may run again: those that were said to be idempotent, after a failure and a pause.

*Rule:* nothing runs twice that was not said to be safe to. What the user stopped, or what ran out of time, is
not tried again; nor is what a session lost.

*Rule:* what a request was given is lent once more than it is sent, until it is sure not to be needed again.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from snakepit_nb import events
from snakepit_nb.errors.types import WorkerCrashed
from snakepit_nb.wire.travel import describe

if TYPE_CHECKING:
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.request import Request

_SECOND: Final = 1_000_000_000
_LEFT_ALONE: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


def pause(attempt: int, chance: float, *, base: float, most: float) -> float:
    """Seconds until a request is tried again: twice as long each time, and half of that left to chance.

    The chance keeps requests that failed together from coming back together ("equal jitter", Exponential
    Backoff And Jitter, AWS Architecture Blog, 2015).

    Args:
        attempt: How often it has failed.
        chance: From 0 to 1.
        base: The seconds after the first failure, before chance.
        most: The seconds that it never exceeds.

    Example:
        >>> [pause(n, 1.0, base=0.5, most=3.0) for n in (1, 2, 3, 4)]
        [0.5, 1.0, 2.0, 3.0]
        >>> pause(2, 0.0, base=0.5, most=3.0)
        0.5
    """
    # The exponent is bounded, for a number of attempts is not.
    return float(min(most, base * 2.0 ** min(attempt - 1, 64)) * (0.5 + chance / 2))


class Repeat:
    """How often one request may be tried again, and how it went until now.

    Attributes:
        most: How often.
        on: After which exceptions.
        failures: What each attempt ended with.
        spared: Whether what it was given is lent once more than it was sent.

    Example:
        >>> Repeat(2, (OSError,)).failures
        []
    """

    __slots__ = ("failures", "most", "on", "spared")

    def __init__(self, most: int, on: tuple[type[BaseException], ...]) -> None:
        self.most = most
        self.on = on
        self.failures: list[str] = []
        self.spared = False


class Repeats:
    """Tries requests of one pool again."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def spare(self, request: Request) -> None:
        """A request is about to be sent: what it is given outlives that, where it may be sent again."""
        repeat = request.repeat
        if repeat is not None and request.attempts <= repeat.most and not repeat.spared:
            self._office.store.leases.spare(request.arguments.leases)
            repeat.spared = True

    def over(self, request: Request) -> None:
        """A request ended for good."""
        if request.repeat is not None and request.repeat.spared:
            request.repeat.spared = False
            self._office.store.release(request.arguments.leases)

    @staticmethod
    def revives(request: Request | None) -> bool:
        """Whether a request may be tried again should its worker die."""
        if request is None or request.repeat is None or request.session is not None:
            return False
        return request.attempts <= request.repeat.most and issubclass(WorkerCrashed, request.repeat.on)

    def again(self, request: Request, error: BaseException | None, reason: str) -> bool:
        """Whether a request that failed is tried again; otherwise its error says how often it was.

        The lock is held. `reason` is crashed or error.
        """
        repeat = request.repeat
        if repeat is None or error is None:
            return False
        office = self._office
        repeat.failures.append(f"{type(error).__name__}: {describe(error)}")
        facts: dict[str, object] = {
            "pool": office.name,
            "command": request.command,
            "reason": reason,
            "request_id": request.number,
        }
        attempt = request.attempts
        chosen = office.options
        chance = random.random()  # noqa: S311 - no secret
        wait = pause(attempt, chance, base=chosen.retry_base, most=chosen.retry_most)
        due = time.monotonic_ns() + int(wait * _SECOND)
        if not self._may(request, repeat, error, reason, due):
            if attempt > 1 or attempt > repeat.most:
                self._tell_in(error, repeat)
                office.tell(events.RETRY_EXHAUSTED, {"attempts": attempt}, facts)
            return False
        if reason == "crashed":
            # The worker that died will not give back what it was lent.
            self.over(request)
        repeat.spared = False
        request.attempts = attempt + 1
        request.failed_at = request.worker_id
        request.worker_id = ""
        request.sent_ns = 0
        office.requests[request.number] = request
        office.state.rested(request.number)
        office.tell(events.RETRY_ATTEMPT, {"attempt": attempt, "delay_ms": round(wait * 1000, 3)}, facts)
        office.reactor.at(due, lambda: self._wake(request), lambda: request.number in office.requests)
        return True

    def _may(self, request: Request, repeat: Repeat, error: BaseException, reason: str, due_ns: int) -> bool:
        if (
            self._office.state.broken is not None
            or request.attempts > repeat.most
            or not isinstance(error, repeat.on)
        ):
            return False
        if isinstance(error, _LEFT_ALONE) or (reason == "crashed" and request.session is not None):
            return False
        return request.deadline_ns is None or due_ns < request.deadline_ns

    @staticmethod
    def _tell_in(error: BaseException, repeat: Repeat) -> None:
        failures = repeat.failures
        lines = [f"It was tried {len(failures)} times, this is how the last ended. Before that:"]
        lines += [f"  {number}. {failure}" for number, failure in enumerate(failures[:-1], 1)]
        error.add_note("\n".join(lines))

    def _wake(self, request: Request) -> None:
        office = self._office
        with office.lock:
            if office.state.woken(request.number):
                office.enter(request)
        office.flush()
