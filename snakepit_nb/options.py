"""Every default of the product, each with the sentence that explains it.

*Rule:* a number that a user may want to change stands here and nowhere else; the rooms read it through
`current()`, so that a test or a notebook can replace it for a while with `override`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MIB = 1 << 20
_GIB = 1 << 30
_OFF = frozenset({"", "0", "false", "no"})


def _option(default: float | str, sentence: str) -> Any:  # noqa: ANN401 - dataclasses' own trick: a field() stands where its value's type is declared
    return field(default=default, metadata={"sentence": sentence})


@dataclass(frozen=True, slots=True)
class Options:
    """All defaults; `Options.sentences()` explains each.

    Example:
        >>> Options().inline_bytes
        4096
    """

    arena: bool = _option(
        default=True,
        sentence="Share arrays through memory that processes map; off means that all are copied.",
    )
    arena_bytes: int = _option(
        64 * _GIB, "Address space of one process's arena, in bytes; memory is used only as arrays fill it."
    )
    arena_budget: float = _option(0.5, "Part of the machine's memory that one arena may hold at once.")
    arena_warm_bytes: int = _option(
        4 * _GIB,
        "Freed arena memory, in bytes, that the kernel, and a pool's workers together, keep for the next "
        "arrays instead of giving it back: at most this, a quarter of the machine's, and what that has left.",
    )
    move_tensors: bool = _option(
        default=True,
        sentence="Move torch tensors of the kernel to shared memory the first time that they go to a worker.",
    )
    inline_bytes: int = _option(4096, "Arrays smaller than this many bytes travel inside the message.")
    spin_us: int = _option(
        200, "How long a waiting side polls before it sleeps, in microseconds (0 on one core)."
    )
    ahead: int = _option(64, "How many tiny requests may wait in a worker's socket behind the running one.")
    ahead_below_us: int = _option(
        1000, "Requests count as tiny while a worker's recent ones ran shorter than this, in microseconds."
    )
    start_timeout: float = _option(60.0, "Seconds that a new worker has to say hello.")
    interrupt_grace: float = _option(
        0.7, "Seconds that an interrupted cell has to end before its worker is killed."
    )
    stop_grace: float = _option(1.0, "Seconds that a worker has to end by itself when its pool stops.")
    deaths: int = _option(
        5, "More deaths of workers than this within `deaths_within` seconds break the pool."
    )
    taint: float = _option(
        0.5,
        "Seconds that a worker's slot stays empty after a crash of a kind in `taint_kinds`; "
        "twice as many after each further one without an answer in between, 30 at most.",
    )
    taint_kinds: str = _option("segfault,abort,oom,gpu", "The kinds of crashes that taint, joined by commas.")
    deaths_within: float = _option(30.0, "The window, in seconds, in which `deaths` are counted.")
    nesting: int = _option(3, "How deep pools may nest: a pool in a worker of a pool counts two.")
    max_requests: int = _option(0, "After how many requests a worker is replaced by a new one; 0 for never.")
    ttl: float = _option(0.0, "After how many seconds a worker is replaced by a new one; 0 for never.")
    ttl_jitter: float = _option(
        0.1, "By which part of `ttl` chance may shorten it, so that a pool's workers do not end together."
    )
    max_memory: int = _option(
        0, "From how many bytes of its own on a worker is replaced, once it has answered; 0 for never."
    )
    hard_memory: float = _option(1.5, "At how many times `max_memory` a worker is killed at once.")
    health_interval: float = _option(
        5.0, "Seconds between two health checks of a worker; 0 for none. They ask whether its process runs."
    )
    health_timeout: float = _option(2.0, "Seconds that a worker has to answer a health check.")
    health_misses: int = _option(3, "After how many missed health checks in a row a worker is replaced.")
    max_queue: int = _option(0, "How many requests may wait in a pool's queue; 0 for any number.")
    when_full: str = _option(
        "block", "What becomes of a request that finds the queue full: block, reject or grow."
    )
    stderr_tail: int = _option(4096, "Characters of a worker's last stderr output kept for its crash error.")

    @classmethod
    def sentences(cls) -> dict[str, str]:
        """The sentence that explains each option, by name.

        Example:
            >>> "arena" in Options.sentences()
            True
        """
        return {each.name: str(each.metadata["sentence"]) for each in fields(cls)}


def _from_environment() -> Options:
    """The options with what variables named `SNAKEPIT_NB_<NAME>` say."""
    options = Options()
    changes: dict[str, object] = {}
    for each in fields(options):
        text = os.environ.get(f"SNAKEPIT_NB_{each.name.upper()}")
        if text is None:
            continue
        default = getattr(options, each.name)
        try:
            is_switch = isinstance(default, bool)
            changes[each.name] = text not in _OFF if is_switch else type(default)(text)
        except ValueError:
            message = f"SNAKEPIT_NB_{each.name.upper()}={text!r}: expected a value like {default!r}"
            raise ValueError(message) from None
    return replace(options, **changes)  # type: ignore[arg-type]


_current: ContextVar[Options | None] = ContextVar("snakepit_nb_options", default=None)
_defaults: Options = _from_environment()


def current() -> Options:
    """The options in force here.

    Example:
        >>> current().nesting
        3
    """
    return _current.get() or _defaults


def adopt(values: Mapping[str, object]) -> None:
    """Make these values the defaults of this process: a worker takes over what its kernel uses.

    Example:
        >>> adopt({})
    """
    global _defaults  # noqa: PLW0603 - a process has one set of defaults
    _defaults = replace(_defaults, **values)  # type: ignore[arg-type]


@contextmanager
def override(**changes: object) -> Iterator[Options]:
    """Replace options inside a `with` block, for this thread or task only.

    Raises:
        TypeError: an option of that name does not exist.

    Example:
        >>> with override(ahead=1):
        ...     current().ahead
        1
    """
    unknown = set(changes) - {each.name for each in fields(Options)}
    if unknown:
        message = f"no option named {', '.join(sorted(unknown))}; see snakepit_nb.options.Options"
        raise TypeError(message)
    token = _current.set(replace(current(), **changes))  # type: ignore[arg-type]
    try:
        yield current()
    finally:
        _current.reset(token)
