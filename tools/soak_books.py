"""The soak's books: what callers were told, what the events told, what ran, and where these disagree.

*Rule:* the three are written down by three parties that do not ask each other: the futures, the bus, and a
file that the calls themselves append to.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import (
    PoolBroken,
    PoolClosed,
    PoolSaturated,
    RequestTimeout,
    SessionLost,
    WorkerCrashed,
    events,
    telemetry,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snakepit_nb.pool.future import PoolFuture

PATIENCE: Final = 60.0  # seconds after which a future is taken to be lost
_RAN: Final = frozenset({"ok", "error"})
_REFUSED: Final = frozenset({"saturated", "lost", "closed"})


@dataclass(slots=True)
class Ticket:
    """One thing that was asked of a pool.

    `may` are the ends that it may have, where nobody cancels it; `right` says of its result whether it is
    what it should be.
    """

    number: int
    kind: str
    may: frozenset[str]
    right: Callable[[Any], bool] = lambda _: True
    future: PoolFuture[Any] | None = None
    request_id: int = 0
    retries: int = 0
    said_cancelled: bool | None = None
    outcome: str = ""


_ENDS: Final[dict[type[BaseException], str]] = {
    CancelledError: "cancelled",
    RequestTimeout: "timeout",
    WorkerCrashed: "crashed",
    PoolBroken: "crashed",
    SessionLost: "lost",
    PoolSaturated: "saturated",
    PoolClosed: "closed",
}


def outcome_of(error: BaseException | None) -> str:
    """An end in the words of the events."""
    return "ok" if error is None else _ENDS.get(type(error), "error")


@dataclass(slots=True)
class Books:
    """What was written down since the last reckoning."""

    notes: Path
    tickets: list[Ticket] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    executed: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    attempts: Counter[int] = field(default_factory=Counter)
    crashed_attempts: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    alive: set[str] = field(default_factory=set)
    crashes: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    lost_sessions: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, text: str) -> None:
        """Something disagrees."""
        with self.lock:
            self.faults.append(text)

    # What the futures say

    def judge(self, ticket: Ticket) -> str:
        """Wait for the end of a ticket, and see whether it is one that it may have."""
        future = ticket.future
        if future is None:
            return ticket.outcome
        error: BaseException | None
        value = None
        try:
            error = future.exception(PATIENCE)
            value = future.result() if error is None else None
        except CancelledError as cancelled:
            error = cancelled
        except TimeoutError:
            self.fault(f"a future did not end in {PATIENCE:g} s: {ticket}")
            return "pending"
        self.end(ticket, error)
        if error is None and not ticket.right(value):
            self.fault(f"a wrong result: {ticket}: {str(value)[:200]}")
        if ticket.said_cancelled is not None and ticket.said_cancelled != (ticket.outcome == "cancelled"):
            self.fault(f"cancel() said {ticket.said_cancelled}, the future says otherwise: {ticket}")
        # It holds what may be large, and is asked for nothing more.
        ticket.request_id, ticket.future, ticket.right = future.request_id, None, bool
        return ticket.outcome

    def end(self, ticket: Ticket, error: BaseException | None) -> None:
        """Write down how a ticket ended."""
        ticket.outcome = outcome_of(error)
        allowed = ticket.may | ({"cancelled"} if ticket.said_cancelled else set())
        if ticket.outcome not in allowed:
            self.fault(f"may not end so: {ticket}: {error!r}")
        with self.lock:
            self.tickets.append(ticket)

    # What the events say

    def hear(
        self, event: telemetry.EventName, numbers: dict[str, float], facts: dict[str, Any], _: object
    ) -> None:
        """Take in one event."""
        wrong = events.check(event, numbers, facts)
        with self.lock:
            self.faults.extend(wrong)
            self.heard[event[-2] + "." + event[-1]] += 1
            match event[1:]:
                case ("request", "executed"):
                    self.executed[facts["request_id"]].append(facts["outcome"])
                case ("retry", "attempt"):
                    self.attempts[facts["request_id"]] += 1
                    self.crashed_attempts += facts["reason"] == "crashed"
                case ("worker", "started"):
                    self.alive.add(facts["worker_id"])
                case ("worker", "recycled"):
                    if facts["worker_id"] not in self.alive:
                        self.faults.append(f"a life ended that had not begun, or twice: {facts}")
                    self.alive.discard(facts["worker_id"])
                case ("worker", "crash"):
                    self.crashes[facts["classification"]] += 1
                case ("session", "lost"):
                    self.lost_sessions += 1
                case ("pool", "saturated"):
                    self.rejected += facts["outcome"] == "rejected"
                case ("pool", "stopped"):
                    # The lives that end with their pool.
                    mine = f"{facts['pool']}-"
                    self.alive = {each for each in self.alive if not each.startswith(mine)}

    # What ran

    def ran(self) -> Counter[int]:
        """How often the call of each ticket began."""
        data = memoryview(self.notes.read_bytes())
        return Counter(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))

    def reckon(self, sessions: int) -> Counter[str]:
        """Compare it all, write down what disagrees, and begin a new page; how many tickets ended how.

        `sessions` is how many there were: each may have been lost once more after its last call.
        """
        ran = self.ran()
        with self.lock:
            told = Counter(ticket.outcome for ticket in self.tickets)
            for ticket in self.tickets:
                self._compare(ticket, ran.pop(ticket.number, 0))
            if ran:
                self.faults.append(f"calls of {len(ran)} tickets ran of which nobody heard: {list(ran)[:5]}")
            # What a pool asks of its workers for itself has no ticket.
            unknown = [each for each, outcomes in self.executed.items() if outcomes != ["ok"]]
            if unknown:
                self.faults.append(f"events of requests that nobody made: {unknown[:5]}")
            if told["saturated"] != self.rejected:
                self.faults.append(f"{told['saturated']} callers were rejected, events: {self.rejected}")
            if not 0 <= self.lost_sessions - told["lost"] <= sessions:
                self.faults.append(f"{told['lost']} callers lost a session, events: {self.lost_sessions}")
            deaths = sum(self.crashes.values())
            if told["crashed"] + self.crashed_attempts > deaths:
                self.faults.append(
                    f"{told['crashed']} requests and {self.crashed_attempts} attempts were lost to a crash, "
                    f"in {deaths} crashes"
                )
            self.tickets.clear()
            self.executed.clear()
            self.attempts.clear()
            self.crashes.clear()
            self.rejected = self.crashed_attempts = self.lost_sessions = 0
            self.notes.write_bytes(b"")
        return told

    def _compare(self, ticket: Ticket, times: int) -> None:
        """One ticket's future, events and notes; the lock is held."""
        outcomes = self.executed.pop(ticket.request_id, [])
        attempts = 1 + self.attempts[ticket.request_id]
        if times > attempts or attempts > 1 + ticket.retries:
            self.faults.append(f"ran {times} times in {attempts} attempts: {ticket}")
        if ticket.outcome in _REFUSED:
            if outcomes or times:
                self.faults.append(f"ran {times} times, events {outcomes}: {ticket}")
        elif ticket.outcome in _RAN:
            if outcomes != [ticket.outcome] or times < 1:
                self.faults.append(f"ran {times} times, events {outcomes}: {ticket}")
        elif outcomes not in ([ticket.outcome], []) or (times and not outcomes):
            # Cancelled, timed out or crashed: it may not have come to a worker, or to its first line.
            self.faults.append(f"ran {times} times, events {outcomes}: {ticket}")
