"""The pools alive in this kernel, by name.

*Rule:* only the default pool comes into being by being asked for; any other name has to be started first, so
that a misspelt name starts nothing.
"""

from __future__ import annotations

import difflib
import threading
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.types import PoolError
from snakepit_nb.pool import process
from snakepit_nb.pool.pool import Pool, close_all, live_pools

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT: Final = "default"
_lock: Final = threading.Lock()
_held: Final[dict[str, Pool]] = {}


def pools() -> list[Pool]:
    """The pools that take work, oldest first.

    Example:
        >>> isinstance(pools(), list)
        True
    """
    return live_pools()


def get_pool(name: str | None = None) -> Pool:
    """The live pool of a name; the default pool is made at the first call.

    Raises:
        PoolError: there is no pool of that name; the message says which there are and how to start one.

    Example:
        >>> get_pool("gpu")
        Traceback (most recent call last):
        snakepit_nb.errors.types.PoolError: there is no pool 'gpu': start it with %snakepit start gpu
    """
    wanted = name or DEFAULT
    with _lock:
        living = {pool.name: pool for pool in live_pools()}
        if wanted in living:
            return living[wanted]
        if wanted == DEFAULT:
            made = _held[DEFAULT] = Pool(name=DEFAULT)
            return made
    close = difflib.get_close_matches(wanted, living, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    text = f"there is no pool {wanted!r}: start it with %snakepit start {wanted}{meant}"
    raise PoolError(text, pool=wanted)


def why_broken() -> str | None:
    """Why the default pool broke that the next `get_pool()` replaces; None where it would replace none.

    Example:
        >>> why_broken() is None
        True
    """
    found = _held.get(DEFAULT)
    return found.broken if found is not None else None


def start(  # noqa: PLR0913 - what `Pool` takes
    name: str | None = None,
    *,
    workers: int | None = None,
    preload: Sequence[str] = (),
    max_requests: int | None = None,
    ttl: float | None = None,
    max_memory: int | str | None = None,
    profile: str = "process",
    gpu: int | None = None,
) -> Pool:
    """Make a pool and start its workers; the arguments are those of `Pool`.

    Raises:
        PoolError: a pool of that name is alive.
        PoolBroken: its workers cannot start here.

    Example:
        >>> pool = start("doc_registry", workers=1)
        >>> stop("doc_registry")
    """
    wanted = name or DEFAULT
    with _lock:
        if any(pool.name == wanted for pool in live_pools()):
            text = f"there is a pool {wanted!r}: %snakepit stop {wanted} first, or choose another name"
            raise PoolError(text, pool=wanted)
        made = _held[wanted] = Pool(
            workers,
            name=wanted,
            preload=preload,
            max_requests=max_requests,
            ttl=ttl,
            max_memory=max_memory,
            profile=profile,
            gpu=gpu,
        )
    return made.start()


def on_gpu(gpu: int, name: str | None = None) -> Pool:
    """The pool of one graphics card: one worker that sees this card alone, made at the first call.

    Args:
        gpu: The card's number, among those that this process sees.
        name: A pool that has to be this card's; None for `gpu0`, `gpu1` and so on.

    Raises:
        PoolError: the pool of that name is not there, or is not this card's.
        ValueError: there is no such card for this process.

    Example:
        >>> pool = on_gpu(0)
        >>> pool.name, pool.gpu, pool.max_workers
        ('gpu0', 0, 1)
        >>> pool.shutdown()
    """
    wanted = name or f"gpu{gpu}"
    with _lock:
        found = next((pool for pool in live_pools() if pool.name == wanted), None)
        if found is None and name is None:
            found = _held[wanted] = Pool(1, name=wanted, gpu=gpu)
    if found is None:
        text = f"there is no pool {wanted!r}: start it with %snakepit start {wanted} --gpu {gpu}"
        raise PoolError(text, pool=wanted)
    if found.gpu != gpu:
        sees = "all cards" if found.gpu is None else f"card {found.gpu} alone"
        text = (
            f"pool {wanted!r} sees {sees}; leave out its name, or start another one "
            f"with %snakepit start NAME --gpu {gpu}"
        )
        raise PoolError(text, pool=wanted)
    return found


def recycle(name: str | None = None) -> None:
    """Replace a worker, or all workers of a pool, by new ones.

    Raises:
        PoolError: there is no pool or worker of that name.

    Example:
        >>> recycle("nobody")
        Traceback (most recent call last):
        snakepit_nb.errors.types.PoolError: there is no pool or worker 'nobody'; %snakepit status lists all
    """
    wanted = name or DEFAULT
    for pool in live_pools():
        if pool.name == wanted:
            pool.recycle()
            return
        if any(each.worker_id == wanted for each in pool.workers()):
            pool.recycle(wanted)
            return
    text = f"there is no pool or worker {wanted!r}; %snakepit status lists all"
    raise PoolError(text)


def stop(name: str | None = None) -> None:
    """End a pool: what runs is ended, what waits is cancelled.

    Raises:
        PoolError: there is no pool of that name.

    Example:
        >>> pool = start("doc_stop", workers=1)
        >>> stop("doc_stop")
    """
    wanted = name or DEFAULT
    with _lock:
        found = [pool for pool in live_pools() if pool.name == wanted]
        _held.pop(wanted, None)
    if not found:
        text = f"there is no pool {wanted!r} to stop"
        raise PoolError(text, pool=wanted)
    for pool in found:
        pool.kill()


def shutdown() -> None:
    """End every pool and the processes behind them; the next use starts anew.

    Example:
        >>> shutdown()
    """
    with _lock:
        _held.clear()
    close_all()
    process.close_nurseries()
