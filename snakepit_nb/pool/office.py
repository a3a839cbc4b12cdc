"""What the rooms behind a supervisor share with it, as a role: they know this, and not the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from snakepit_nb.arrays.store import Store
    from snakepit_nb.options import Options
    from snakepit_nb.pool import actions
    from snakepit_nb.pool.breaker import Breaker
    from snakepit_nb.pool.failures import Failures
    from snakepit_nb.pool.forwarding import Forwarding
    from snakepit_nb.pool.lifecycle import Lifecycle
    from snakepit_nb.pool.output import OutputSink
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.reactor import Reactor
    from snakepit_nb.pool.request import Request
    from snakepit_nb.pool.retry import Repeats
    from snakepit_nb.pool.sessions import Sessions
    from snakepit_nb.pool.state import PoolState


class Office(Protocol):
    """One pool's desk: its name and state, who is at work, and the ways to have something done."""

    name: str
    profile: str
    threads: int
    gpu: int | None
    lock: threading.RLock
    options: Options
    store: Store
    state: PoolState
    requests: dict[int, Request]
    workers: dict[str, WorkerProcess]
    initializer: Request | None
    repeats: Repeats
    breaker: Breaker
    failures: Failures
    sessions: Sessions
    forwarding: Forwarding
    sink: Callable[[], OutputSink]
    reactor: Reactor
    lifecycle: Lifecycle
    finished: threading.Event
    limited: bool

    def act(self, decided: Iterable[actions.Action]) -> None:
        """Do these things, in order; the lock is held."""

    def enter(self, request: Request) -> None:
        """Have a request dealt out, for the first time or again; the lock is held."""

    def tell(
        self, event: tuple[str, ...], measurements: dict[str, float], metadata: dict[str, object]
    ) -> None:
        """Emit an event once the lock is free."""

    def say(self, number: int, packet: bytes) -> None:
        """Say something to the worker that runs a request; nothing where none does any more."""

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Call this once the lock is free."""

    def flush(self) -> None:
        """Do what had to wait for the lock to be free; it is not held."""

    def changed(self) -> None:
        """Tell those who wait for workers to be ready that something about them changed."""
