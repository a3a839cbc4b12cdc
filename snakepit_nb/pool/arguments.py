"""What `Pool` may be given: an argument is taken as it is meant, or refused with a sentence that says why."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from snakepit_nb.limits import nbytes
from snakepit_nb.pool.admission import WHEN_FULL, Bounds
from snakepit_nb.pool.devices import alone
from snakepit_nb.pool.recycle import Policy
from snakepit_nb.pool.retry import Repeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.options import Options

_NAME: Final = re.compile(r"[^\W\d][\w.-]*")
PROFILES: Final = ("process", "thread")


def cores() -> int:
    """How many cores this process may use.

    Example:
        >>> cores() >= 1
        True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def seconds(name: str, given: float) -> float:
    """A number of seconds above zero.

    Raises:
        TypeError, ValueError: it is none.

    Example:
        >>> seconds("timeout", 3)
        3.0
    """
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        text = f"{name}: expected a number of seconds, got {given!r}"
        raise TypeError(text)
    if not 0 < given < math.inf:
        text = f"{name}: expected a number of seconds above zero, got {given!r}"
        raise ValueError(text)
    return float(given)


def count(name: str, given: int) -> int:
    """A whole number from one on.

    Raises:
        TypeError, ValueError: it is none.

    Example:
        >>> count("max_workers", 2)
        2
    """
    if isinstance(given, bool) or not isinstance(given, int):
        text = f"{name}: expected a whole number, got {given!r}"
        raise TypeError(text)
    if given < 1:
        text = f"{name}: expected at least 1, got {given}"
        raise ValueError(text)
    return given


def size(name: str, given: int | str) -> int:
    """A number of bytes, or a text such as `"4GB"` (powers of 1000) or `"4GiB"` (of 1024).

    Raises:
        TypeError, ValueError: it is neither.

    Example:
        >>> size("max_memory", "1.5GB"), size("max_memory", "1 KiB"), size("max_memory", 5)
        (1500000000, 1024, 5)
    """
    if not isinstance(given, str):
        return count(name, given)
    found = nbytes(given)
    if found is None:
        text = f"{name}: expected bytes, or a size like '4GB' or '512MiB', got {given!r}"
        raise ValueError(text)
    return count(name, found)


def repeat(retries: int, retry_on: Sequence[type[BaseException]]) -> Repeat:
    """How often a request may be tried again, and after what.

    Raises:
        TypeError, ValueError: `retries` is no number from zero on, or `retry_on` holds what is no exception.

    Example:
        >>> repeat(2, (OSError,)).most
        2
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        text = f"retries: expected a whole number from zero on, got {retries!r}"
        raise ValueError(text)
    kinds: tuple[type[BaseException], ...] = (
        tuple(retry_on) if isinstance(retry_on, Sequence) else (retry_on,)
    )
    if not kinds or not all(isinstance(each, type) and issubclass(each, BaseException) for each in kinds):
        text = f"retry_on: expected classes of exceptions, like (OSError,), got {retry_on!r}"
        raise TypeError(text)
    return Repeat(retries, kinds)


def session(name: str) -> str:
    """The name of a session.

    Raises:
        ValueError: it is no identifier.

    Example:
        >>> session("model")
        'model'
    """
    if not isinstance(name, str) or not name.isidentifier():
        text = f"session: expected an identifier, like 'model', got {name!r}"
        raise ValueError(text)
    return name


def policy(
    chosen: Options, max_requests: int | None, ttl: float | None, max_memory: int | str | None
) -> Policy:
    """When workers are recycled: as the arguments say, where they are None as the options do.

    Raises:
        TypeError, ValueError: one of them cannot be.

    Example:
        >>> from snakepit_nb.options import Options
        >>> policy(Options(), 100, None, "1GB")[:3]
        (100, None, 1000000000)
    """
    return Policy(
        chosen.max_requests or None if max_requests is None else count("max_requests", max_requests),
        chosen.ttl or None if ttl is None else seconds("ttl", ttl),
        chosen.max_memory or None if max_memory is None else size("max_memory", max_memory),
        chosen.ttl_jitter,
        chosen.hard_memory,
    )


def bounds(
    chosen: Options,
    max_queue: int | None,
    when_full: str | None,
    most_workers: int | None,
    workers: int,
) -> Bounds:
    """How long the queue may be: as the arguments say, where they are None as the options do.

    Raises:
        TypeError, ValueError: one of them cannot be.

    Example:
        >>> from snakepit_nb.options import Options
        >>> bounds(Options(), 8, "grow", None, 2)
        Bounds(max_queue=8, when_full='grow', most_workers=4)
    """
    policy = chosen.when_full if when_full is None else when_full
    if policy not in WHEN_FULL:
        text = f"when_full: expected one of {', '.join(map(repr, WHEN_FULL))}, got {policy!r}"
        raise ValueError(text)
    most = 2 * workers if most_workers is None else count("most_workers", most_workers)
    if most < workers:
        text = f"most_workers: expected at least max_workers, which is {workers}, got {most}"
        raise ValueError(text)
    limit = chosen.max_queue or None if max_queue is None else count("max_queue", max_queue)
    return Bounds(limit, policy, most)


def check(
    name: str,
    profile: str,
    initializer: Callable[..., object] | None,
    preload: Sequence[str],
    gpu: int | None,
) -> None:
    """Refuse what cannot be.

    Raises:
        TypeError, ValueError: one of them cannot be; the message says which.

    Example:
        >>> check("default", "process", None, (), None)
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = f"name: expected a letter and then letters, digits, '_', '-' or '.', got {name!r}"
        raise ValueError(text)
    if profile not in PROFILES:
        text = f"profile: expected 'process' or 'thread', got {profile!r}"
        raise ValueError(text)
    if gpu is not None:
        if isinstance(gpu, bool) or not isinstance(gpu, int) or gpu < 0:
            text = f"gpu: expected the number of a card, 0 or more, got {gpu!r}"
            raise ValueError(text)
        alone(gpu, os.environ)
    if initializer is not None and not callable(initializer):
        text = f"initializer: expected a callable, got {initializer!r}"
        raise TypeError(text)
    if isinstance(preload, str) or not all(isinstance(each, str) for each in preload):
        text = f"preload: expected names of modules, like ('pandas',), got {preload!r}"
        raise TypeError(text)
