"""Notebook cells that run in a pool of worker processes, and the pool itself for ordinary Python.

*Rule:* importing the face loads nothing; each name is looked up in its room when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb import events, options, recordings, telemetry
    from snakepit_nb.board import Dashboard
    from snakepit_nb.errors.several import ItemsFailed
    from snakepit_nb.errors.types import (
        CaptureError,
        CheckoutTimeout,
        CircuitOpen,
        PoolBroken,
        PoolClosed,
        PoolError,
        PoolSaturated,
        RemoteError,
        RequestTimeout,
        SessionLost,
        SnakepitError,
        WorkerCrashed,
    )
    from snakepit_nb.magics import new_magic
    from snakepit_nb.pool.pool import Pool
    from snakepit_nb.registry import get_pool, pools

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "CheckoutTimeout",
    "CircuitOpen",
    "Dashboard",
    "ItemsFailed",
    "Pool",
    "PoolBroken",
    "PoolClosed",
    "PoolError",
    "PoolSaturated",
    "RemoteError",
    "RequestTimeout",
    "SessionLost",
    "SnakepitError",
    "WorkerCrashed",
    "__version__",
    "events",
    "get_pool",
    "load_ipython_extension",
    "new_magic",
    "options",
    "pools",
    "recordings",
    "telemetry",
    "unload_ipython_extension",
]

_ROOMS: Final = {
    "CaptureError": "errors.types",
    "CheckoutTimeout": "errors.types",
    "CircuitOpen": "errors.types",
    "Dashboard": "board",
    "ItemsFailed": "errors.several",
    "Pool": "pool.pool",
    "PoolBroken": "errors.types",
    "PoolClosed": "errors.types",
    "PoolError": "errors.types",
    "PoolSaturated": "errors.types",
    "RemoteError": "errors.types",
    "RequestTimeout": "errors.types",
    "SessionLost": "errors.types",
    "SnakepitError": "errors.types",
    "WorkerCrashed": "errors.types",
    "events": "",
    "get_pool": "registry",
    "new_magic": "magics",
    "options": "",
    "pools": "registry",
    "recordings": "",
    "telemetry": "",
}


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for one of ours

    def __getattr__(name: str) -> object:
        """The public name of a room, imported now (PEP 562)."""
        room = _ROOMS.get(name)
        if room is None:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        found: object = getattr(_module(room), name) if room else _module(name)
        globals()[name] = found
        return found


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """What `%load_ext snakepit_nb` calls: `%%snakepit` and `%snakepit` are there from now on. Idempotent."""
    _module("magics").load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """What `%unload_ext snakepit_nb` calls: the magics are gone, the pools ended."""
    _module("magics").unload(ipython)
