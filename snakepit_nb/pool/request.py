"""One request on its way: what is sent, for whom, since when."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import weakref
    from collections.abc import Hashable

    from snakepit_nb.pool.functions import Function
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.retry import Repeat
    from snakepit_nb.pool.stream import Stream
    from snakepit_nb.wire.payload import Packed

_numbers: Final = itertools.count(1)


def next_number() -> int:
    """A number that no other request of this process has.

    Example:
        >>> next_number() < next_number()
        True
    """
    return next(_numbers)


class Request:
    """A request from `submit` until its future is settled; times in nanoseconds of the monotonic clock."""

    __slots__ = (
        "alone", "arguments", "attempts", "command", "deadline_ns", "failed_at", "function", "future",
        "group", "keeps", "near", "number", "origin", "parent", "repeat", "sent_ns", "session", "stream",
        "submitted_ns", "timeout", "worker", "worker_id",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917 - made once for each request, on the hot path
        self,
        number: int,
        future: PoolFuture[Any],
        function: Function,
        arguments: Packed,
        command: str,
        origin: object,
        submitted_ns: int,
        *,
        alone: bool,
        timeout: float | None,
        group: Hashable = None,
        session: str | None = None,
        keeps: str | None = None,
        near: Hashable = None,
        repeat: Repeat | None = None,
        stream: weakref.ref[Stream[Any]] | None = None,
        worker: str | None = None,
        parent: str | None = None,
    ) -> None:
        self.number = number
        self.future = future
        self.function = function
        self.arguments = arguments
        self.command = command
        self.origin = origin
        self.submitted_ns = submitted_ns
        self.alone = alone
        self.group = group
        self.timeout = timeout
        self.deadline_ns = None if timeout is None else submitted_ns + int(timeout * 1e9)
        self.session = session
        self.keeps = keeps
        self.near = near
        self.repeat = repeat
        self.stream = stream
        self.parent: dict[str, object] = {} if parent is None else {"parent_span_context": parent}
        self.worker = worker  # the one that is to run it; `worker_id` is the one that does
        self.attempts = 1
        self.sent_ns = 0
        self.worker_id = ""
        self.failed_at = ""  # the worker of the attempt before this one
