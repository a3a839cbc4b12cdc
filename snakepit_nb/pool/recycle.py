"""When a worker has lived long enough: pure, from its age, its requests and its memory."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

_MB: Final = 1_000_000


class Policy(NamedTuple):
    """What ends a worker's life by policy; None means that it does not.

    Attributes:
        max_requests: How many requests it is given.
        ttl: Seconds that it serves, at most.
        max_memory: Bytes of its own that it may hold when it has answered.
        jitter: By which part of `ttl` chance shortens it at most.
        hard: At how many times `max_memory` it is killed at once.

    Example:
        >>> Policy(ttl=100.0).lifetime(0.5)
        95.0
    """

    max_requests: int | None = None
    ttl: float | None = None
    max_memory: int | None = None
    jitter: float = 0.1
    hard: float = 1.5

    def lifetime(self, chance: float) -> float | None:
        """Seconds that a worker serves; `chance`, from 0 to 1, keeps those of a pool from ending together.

        Example:
            >>> Policy().lifetime(0.5) is None
            True
        """
        return None if self.ttl is None else self.ttl * (1 - self.jitter * chance)

    def on_memory(self, nbytes: int) -> Literal["fine", "recycle", "kill"]:
        """What a worker that holds so many bytes of its own calls for.

        Example:
            >>> [Policy(max_memory=100).on_memory(nbytes) for nbytes in (100, 101, 151)]
            ['fine', 'recycle', 'kill']
        """
        if self.max_memory is None or nbytes <= self.max_memory:
            return "fine"
        return "kill" if nbytes > self.max_memory * self.hard else "recycle"

    def threshold_mb(self) -> float:
        """`max_memory` as events tell it.

        Example:
            >>> Policy(max_memory=1_500_000).threshold_mb()
            1.5
        """
        return (self.max_memory or 0) / _MB
