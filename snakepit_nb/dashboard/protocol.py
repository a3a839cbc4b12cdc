"""What kernel and browser say to each other; `widgets/src/protocol.ts` says the same in the browser's words.

Kernel to browser, as custom messages of one widget model:

- `batch`: what is new since the last one, numbered. With `key` it is a keyframe: forget all, begin here.
- `summary`: once a second where no view is visible, and where nothing is new; tells that the kernel lives.
- `report`: what stays in the notebook, as it would be now, for a page that has to put it there by itself: at
  once, then now and then, and when the pool has stopped.
- `details`, `done`, `file`: the answers to what a view asked, by its number `ask`.

Browser to kernel, each an object with a `verb`: see `VERBS`.

*Rule:* a batch stands alone where it can: what runs now, the state of the pool and its totals are told whole
each time, so that a lost message costs its rows and no more.
*Rule:* bulk goes as little-endian columns in binary buffers, the widest column first, so that each is
aligned.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(IntEnum):
    """What a row is. A bar and a span have a duration, a marker is a moment."""

    REQUEST = 0  # bar: from dispatch to end; `extra` is how long it waited before, in seconds
    STARTED = 1  # `extra`: startup time, in seconds
    RECYCLED = 2  # `name`: the reason; `extra`: uptime, in seconds
    CRASH = 3  # `name`: the classification
    TAINTED = 4  # span: how long the slot takes no work
    RESTARTED = 5
    HEALTH_CHECK_FAILED = 6  # `name`: the reason
    EXPORT = 7  # `extra`: bytes, lent without a copy
    FALLBACK = 8  # `extra`: bytes, copied; `name`: the reason
    LEAKED = 9  # `extra`: bytes
    EXCEPTION = 10  # `name`: the class it became, or Python's own type
    SATURATED = 11  # span in the pool's lane: from saturation until nothing waits
    REJECTED = 12  # the pool was full
    POOL_STARTED = 13
    POOL_RESIZED = 14  # `extra`: workers aimed at
    POOL_STOPPED = 15  # `name`: the reason
    RETRY = 16  # `name`: the reason; `extra`: which attempt
    RETRY_EXHAUSTED = 17
    BREAKER = 18  # `name`: opened, half_open or closed
    SESSION_OPENED = 19  # `name`: the session's
    SESSION_LOST = 20
    CELL = 21  # span in the pool's lane: a `%%snakepit` cell; `name`: its name or `In [n]`
    COPIED = 22  # a name of a cell was copied; `extra`: bytes, `name`: the name
    PROGRESS = 23  # `extra`: how far, from 0 to 1, or how many where no total is known
    DROPPED = 24  # `extra`: how many events a queue had to drop
    USER = 25  # an event of the user's own; a span where it has a duration
    ALERT = 26


class Outcome(IntEnum):
    """How a request ended; for other rows `NONE`, but for a cell or span that failed."""

    NONE = 0
    OK = 1
    ERROR = 2
    CANCELLED = 3
    TIMEOUT = 4
    CRASHED = 5


ROW_COLUMNS: Final = (
    ("t", "<f8"),  # seconds since the model's origin: when it began
    ("dur", "<f4"),  # seconds
    ("extra", "<f4"),  # see Kind
    ("id", "<u4"),  # of the event; grows, and is what `details` asks for
    ("lane", "<u2"),  # index into the lanes
    ("name", "<u2"),  # index into the strings
    ("life", "<u2"),  # which worker of the slot, from 1; 0 where no worker is meant
    ("kind", "u1"),
    ("outcome", "u1"),
)
"""Buffer 0: rows, as columns one after the other, each `rows` long."""

DENSITY_COLUMNS: Final = (
    ("t", "<f8"),  # when the interval began
    ("width", "<f4"),  # how long it is, in seconds
    ("busy", "<f4"),  # how much of it requests ran, from 0 to 1 (a lane of several threads: their mean)
    ("count", "<u4"),  # requests that ended in it
    ("failed", "<u4"),  # of these, those that ended other than ok
    ("lane", "<u2"),
)
"""Buffer 1: what stands for request bars where there are more than the budget; markers are never in it."""

SAMPLE_COLUMNS: Final = ("t", "queue", "throughput", "p50", "p95", "p99")
"""Buffer 2: float64, one row of these after the other: requests waiting, ended in a second, latency in ms
(queue and run together, of the last seconds; NaN where none ended)."""

STAT_COLUMNS: Final = ("t", "lane", "memory_mb", "cpu_percent", "gpu_memory_mb")
"""Buffer 3: float64, one row of these after the other; NaN where there is no such figure."""

POOL_LANE: Final = 0
"""The lane of the pool itself: cells, saturation, what concerns no worker."""

FORMATS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "trace": (".trace.json", "application/json"),
        "html": (".html", "text/html"),
        "svg": (".svg", "image/svg+xml"),
        "csv": (".csv", "text/csv"),
        "parquet": (".parquet", "application/vnd.apache.parquet"),
        "arrow": (".arrow", "application/vnd.apache.arrow.file"),
    }
)
"""What can be exported: the ending of the file's name, and its type."""

VERBS: Final[Mapping[str, Mapping[str, type | tuple[type, ...]]]] = MappingProxyType(
    {
        "hello": {"view": str},  # a view is there: answer with a keyframe
        "resync": {},  # something was lost: answer with a keyframe
        "visible": {"view": str, "on": bool},  # a view is looked at, or not any more
        "ping": {"view": str},  # every 5 s from a visible view; answered by a `summary`
        "details": {"ask": int, "id": int},
        "do": {"ask": int, "action": str},  # scale (workers), recycle (worker), cancel (request), stop
        "export": {"ask": int, "format": str},
    }
)
"""The verbs of the browser, and which arguments each must have."""

ACTIONS: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = MappingProxyType(
    {
        "scale": {"workers": (int,)},
        "recycle": {"worker": (str, type(None))},
        "cancel": {"request": (int,)},
        "stop": {},
    }
)
"""What `do` does, and what it takes on top of the verb's own arguments."""
