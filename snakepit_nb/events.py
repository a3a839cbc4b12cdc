"""The catalogue: every event of this product, what it measures, what it tells, and when it is emitted.

*Rule:* this is the only place in code that states an event; the reference page is generated from it, and
the tests hold every emitter to it with `check`.
*Rule:* what becomes a label of a metric has a closed set of values here; only names of pools and workers are
open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from snakepit_nb.telemetry import HANDLER_FAILURE, EventName, Name, as_name, dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

TypeName = Literal["int", "float", "str", "bool", "list"]
_TYPES: Final[dict[TypeName, tuple[type, ...]]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
}

WORKER_STARTED: Final = ("snakepit", "worker", "started")
WORKER_RECYCLED: Final = ("snakepit", "worker", "recycled")
WORKER_HEALTH_CHECK_FAILED: Final = ("snakepit", "worker", "health_check_failed")
WORKER_CRASH: Final = ("snakepit", "worker", "crash")
WORKER_TAINTED: Final = ("snakepit", "worker", "tainted")
WORKER_RESTARTED: Final = ("snakepit", "worker", "restarted")
WORKER_STATS: Final = ("snakepit", "worker", "stats")
ZERO_COPY_EXPORT: Final = ("snakepit", "zero_copy", "export")
ZERO_COPY_IMPORT: Final = ("snakepit", "zero_copy", "import")
ZERO_COPY_FALLBACK: Final = ("snakepit", "zero_copy", "fallback")
ZERO_COPY_RELEASE: Final = ("snakepit", "zero_copy", "release")
ZERO_COPY_LEAKED: Final = ("snakepit", "zero_copy", "leaked")
PYTHON_EXCEPTION_MAPPED: Final = ("snakepit", "python", "exception", "mapped")
PYTHON_EXCEPTION_UNMAPPED: Final = ("snakepit", "python", "exception", "unmapped")
POOL_SATURATED: Final = ("snakepit", "pool", "saturated")
POOL_STARTED: Final = ("snakepit", "pool", "started")
POOL_RESIZED: Final = ("snakepit", "pool", "resized")
POOL_STOPPED: Final = ("snakepit", "pool", "stopped")
REQUEST_QUEUED: Final = ("snakepit", "request", "queued")
REQUEST_DISPATCHED: Final = ("snakepit", "request", "dispatched")
REQUEST_PROGRESS: Final = ("snakepit", "request", "progress")
REQUEST_EXECUTED: Final = ("snakepit", "request", "executed")
REQUEST_WITHDRAWN: Final = ("snakepit", "request", "withdrawn")
CELL: Final = ("snakepit", "cell")
"""The prefix to hand to `telemetry.span` for a cell."""
CELL_START: Final = ("snakepit", "cell", "start")
CELL_STOP: Final = ("snakepit", "cell", "stop")
CELL_EXCEPTION: Final = ("snakepit", "cell", "exception")
CELL_COPIED: Final = ("snakepit", "cell", "copied")
RETRY_ATTEMPT: Final = ("snakepit", "retry", "attempt")
RETRY_EXHAUSTED: Final = ("snakepit", "retry", "exhausted")
CIRCUIT_BREAKER_OPENED: Final = ("snakepit", "circuit_breaker", "opened")
CIRCUIT_BREAKER_HALF_OPEN: Final = ("snakepit", "circuit_breaker", "half_open")
CIRCUIT_BREAKER_CLOSED: Final = ("snakepit", "circuit_breaker", "closed")
SESSION_OPENED: Final = ("snakepit", "session", "opened")
SESSION_LOST: Final = ("snakepit", "session", "lost")
TELEMETRY_DROPPED: Final = ("snakepit", "telemetry", "dropped")
ALERT_FIRED: Final = ("snakepit", "alert", "fired")
TELEMETRY_HANDLER_FAILURE: Final = HANDLER_FAILURE


class UnknownEvent(LookupError):  # noqa: N818 - named for what is the case
    """The catalogue has no event of this name."""


@dataclass(frozen=True, slots=True)
class Key:
    """One measurement or one key of the metadata.

    Attributes:
        name: The key.
        type: The type of its value; where it says `float`, an `int` will do.
        unit: What a number counts, in the words of its name: `ms`, `us`, `ns`, `bytes`, `MB`, `seconds`, `%`.
        values: The closed set that its values are from; empty where it is open.
        optional: Whether the key may be missing.
        nullable: Whether its value may be None.
        when: Another key and its value: this key is there exactly when that one has that value.
    """

    name: str
    type: TypeName
    unit: str | None = None
    values: tuple[str | bool, ...] = ()
    optional: bool = False
    nullable: bool = False
    when: tuple[str, str] | None = None

    def accepts(self, value: object) -> bool:
        """Whether a value is of the type, and of the closed set where there is one.

        Example:
            >>> Key("reason", "str", values=("manual",)).accepts("boredom")
            False
        """
        if value is None:
            return self.nullable
        if isinstance(value, bool) and self.type != "bool":
            return False
        return isinstance(value, _TYPES[self.type]) and (not self.values or value in self.values)

    def expectation(self) -> str:
        """What `accepts` asks for, in words.

        Example:
            >>> Key("exit_code", "int", nullable=True).expectation()
            'int or None'
        """
        values = " or ".join(repr(value) for value in self.values) or self.type
        return f"{values} or None" if self.nullable else values


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the catalogue; `measurements` and `metadata` come on top of the envelope.

    Example:
        >>> spec("snakepit.worker.tainted").measurements[0].unit
        'ms'
    """

    name: EventName
    moment: str
    measurements: tuple[Key, ...] = ()
    metadata: tuple[Key, ...] = ()
    source: Literal["seed", "snakepit_nb"] = "snakepit_nb"


ENVELOPE_MEASUREMENTS: Final = (Key("count", "int"),)
"""What every event measures; the bus adds it."""

ENVELOPE_METADATA: Final = (
    Key("time_ns", "int", "ns"),
    Key("monotonic_ns", "int", "ns"),
    Key("pid", "int"),
    Key("request_id", "int", optional=True, nullable=True),
    Key("pool", "str", optional=True),
    Key("worker_id", "str", optional=True),
    Key("parent_span_context", "str", optional=True),
    Key("sample_rate", "float", optional=True),
    Key("synthetic", "bool", values=(True,), optional=True),
)
"""What every event tells: the bus adds the stamps, the kernel adds the origin to what a worker emitted."""


def _text(name: str, *values: str) -> Key:
    return Key(name, "str", values=values)


_seed = partial(Event, source="seed")

_POOL = _text("pool")
_WORKER_ID = _text("worker_id")
_COMMAND = _text("command")
_PROFILE = _text("profile", "process", "thread")
_WORKER = (_WORKER_ID, _POOL)
_DEATH = (
    *_WORKER,
    _text("reason"),
    Key("exit_code", "int", nullable=True),
    Key("device", "str", nullable=True),
)
_SIGNAL = Key("signal", "str", nullable=True)
_CLASSIFICATION = _text("classification", "segfault", "abort", "oom", "gpu", "exit", "killed")
_CRASH = (*_DEATH, _SIGNAL, _CLASSIFICATION)
_AFTER_CRASH = (*_DEATH, replace(_SIGNAL, optional=True), replace(_CLASSIFICATION, optional=True))
_MOVED = (Key("duration_ms", "float", "ms"), Key("bytes", "int", "bytes"))
_ARRAY = (
    _text("kind", "dlpack", "arrow"),
    _text("device"),
    _text("dtype"),
    Key("shape", "list"),
    _text("direction", "to_worker", "to_kernel"),
)
_SHARED = (*_ARRAY, _text("handle_id"), Key("copied", "bool", values=(False,)))
_LEASE = (Key("age_ms", "float", "ms"), Key("bytes", "int", "bytes"))
_LEASED = (_text("handle_id"), _text("device"))
_EXCEPTION = (_text("python_type"), _text("library"), _text("function"), _text("error"))
_DURATION = (Key("duration", "int", "ns"),)
_CELL = (
    _text("telemetry_span_context"),
    _POOL,
    Key("cell", "int", nullable=True),
    Key("name", "str", nullable=True),
)
_TOLD = (_text("kind", "error", "exit", "interrupt"), _text("reason"), Key("stacktrace", "list"))
_REASONS = ("first_share", "dtype", "layout", "device", "capacity", "platform", "disabled", "unsupported")
_RETRY = (_POOL, _COMMAND, _text("reason", "crashed", "timeout", "error"))
_SESSION = (*_WORKER, _text("session"))

_EVENTS = (
    _seed(
        WORKER_STARTED,
        "The worker's handshake is accepted; once in each worker's life.",
        (Key("startup_time_ms", "int", "ms"),),
        (*_WORKER, _PROFILE, Key("capacity", "int")),
    ),
    _seed(
        WORKER_RECYCLED,
        "A worker's life ends, by policy or by hand after it was drained, or by its death; every life ends "
        "in exactly one of these or in the orderly stop of its pool.",
        (),
        (
            *_WORKER,
            _text("reason", "ttl_expired", "max_requests", "memory_threshold", "manual", "worker_died"),
            Key("uptime_seconds", "float", "seconds"),
            Key("request_count", "int"),
            Key("memory_mb", "float", "MB", when=("reason", "memory_threshold")),
            Key("memory_threshold_mb", "float", "MB", when=("reason", "memory_threshold")),
        ),
    ),
    _seed(
        WORKER_HEALTH_CHECK_FAILED,
        "A probe of the worker missed its deadline.",
        (),
        (*_WORKER, _text("reason", "timeout", "worker_dead", "probe_error")),
    ),
    _seed(WORKER_CRASH, "A worker died and nobody asked it to.", (), _CRASH),
    _seed(
        WORKER_TAINTED,
        "Right after a crash whose classification taints: the worker's slot takes no work for a while.",
        (Key("duration_ms", "int", "ms"),),
        _AFTER_CRASH,
    ),
    _seed(
        WORKER_RESTARTED,
        "The replacement of a tainted worker is accepted; once for each taint.",
        (),
        _AFTER_CRASH,
    ),
    _seed(ZERO_COPY_EXPORT, "Memory is lent to another process without a copy.", _MOVED, _SHARED),
    _seed(ZERO_COPY_IMPORT, "The other process maps memory that was lent to it.", _MOVED, _SHARED),
    _seed(
        ZERO_COPY_FALLBACK,
        "A copy is made instead of a loan: one of these for each copy, and then no export for it; `bytes` "
        "are the bytes copied.",
        _MOVED,
        (
            *_ARRAY,
            Key("handle_id", "str", nullable=True),
            Key("copied", "bool", values=(True,)),
            _text("reason", *_REASONS),
        ),
    ),
    _seed(
        PYTHON_EXCEPTION_MAPPED,
        "An exception of the user's code is given one of the structured classes, which `error` names.",
        (),
        _EXCEPTION,
    ),
    _seed(
        PYTHON_EXCEPTION_UNMAPPED,
        "An exception of the user's code becomes the generic `RemoteError`.",
        (),
        _EXCEPTION,
    ),
    _seed(
        POOL_SATURATED,
        "A pool changes into saturation (no worker is free and something waits), and each time that it "
        "rejects a request.",
        (Key("queue_size", "int"),),
        (
            _POOL,
            Key("available_workers", "int"),
            Key("busy_workers", "int"),
            Key("queue_size", "int"),
            _text("outcome", "queued", "rejected"),
            Key("max_queue_size", "int", nullable=True),
        ),
    ),
    _seed(
        REQUEST_EXECUTED,
        "A request that reached a worker has ended, however it ended; once for each.",
        (Key("duration_us", "int", "us"), Key("queue_us", "int", "us")),
        (
            *_WORKER,
            _COMMAND,
            Key("success", "bool"),
            _text("outcome", "ok", "error", "cancelled", "timeout", "crashed"),
        ),
    ),
    Event(
        WORKER_STATS,
        "Once a second for each worker, while somebody listens.",
        (
            Key("memory_mb", "float", "MB"),
            Key("cpu_percent", "float", "%"),
            Key("gpu_memory_mb", "float", "MB", optional=True),
        ),
        _WORKER,
    ),
    Event(ZERO_COPY_RELEASE, "A loan of memory ends.", _LEASE, _LEASED),
    Event(ZERO_COPY_LEAKED, "A loan of memory outlived its borrower and is taken back.", _LEASE, _LEASED),
    Event(POOL_STARTED, "A pool is ready to start workers.", (), (_POOL, Key("workers", "int"), _PROFILE)),
    Event(
        POOL_RESIZED,
        "The number of workers that a pool aims at changes.",
        (),
        (_POOL, Key("workers", "int"), Key("previous", "int")),
    ),
    Event(
        POOL_STOPPED,
        "The last worker of a pool that was stopped, or that is broken, is gone.",
        (),
        (_POOL, _text("reason", "shutdown", "broken", "exit")),
    ),
    Event(
        REQUEST_QUEUED,
        "A request is accepted and has to wait; `queue_size` counts it.",
        (Key("queue_size", "int"),),
        (_POOL, _COMMAND),
    ),
    Event(
        REQUEST_DISPATCHED,
        "A request is sent to a worker.",
        (Key("queue_us", "int", "us"),),
        (*_WORKER, _COMMAND),
    ),
    Event(
        REQUEST_PROGRESS,
        "A running request says how far it is; `total` is missing where it is not known.",
        (Key("done", "float"), Key("total", "float", optional=True)),
        (*_WORKER, _COMMAND),
    ),
    Event(
        REQUEST_WITHDRAWN,
        "A request that waited is over before a worker had it, or had it again: cancelled as a rule.",
        (Key("queue_us", "int", "us"),),
        (
            _POOL,
            _COMMAND,
            _text("outcome", "error", "cancelled", "timeout", "crashed", "session_lost", "worker_gone"),
        ),
    ),
    Event(
        CELL_START,
        "A `%%snakepit` cell begins: its line is understood and what it reads is about to be captured.",
        (Key("monotonic_time", "int", "ns"), Key("system_time", "int", "ns")),
        _CELL,
    ),
    Event(CELL_STOP, "The cell ended well; its results are in the notebook.", _DURATION, _CELL),
    Event(CELL_EXCEPTION, "The cell ended with an exception.", _DURATION, (*_CELL, *_TOLD)),
    Event(
        CELL_COPIED,
        "A name of a cell, from 1 MiB or 50 ms on, was copied rather than shared: `kept` for the next cells, "
        "`compared` with the copy kept before, `moved` to shared memory, where it stays, or `pickled`.",
        (Key("duration_ms", "float", "ms"), Key("bytes", "int", "bytes")),
        (
            _text("name"),
            _text("how", "copied", "kept", "compared", "moved", "pickled"),
            Key("reason", "str", values=_REASONS, nullable=True),
            _text("direction", "to_worker", "to_kernel"),
        ),
    ),
    Event(
        RETRY_ATTEMPT,
        "A request declared idempotent is about to run again; `attempt` is 1 for the first repetition.",
        (Key("attempt", "int"), Key("delay_ms", "float", "ms")),
        _RETRY,
    ),
    Event(
        RETRY_EXHAUSTED,
        "A request failed for the last time that it may be tried.",
        (Key("attempts", "int"),),
        _RETRY,
    ),
    Event(
        CIRCUIT_BREAKER_OPENED,
        "Too many failures in a row: the pool rejects requests for `reset_ms`.",
        (Key("failures", "int"), Key("reset_ms", "int", "ms")),
        (_POOL,),
    ),
    Event(CIRCUIT_BREAKER_HALF_OPEN, "One request is let through as a trial.", (), (_POOL,)),
    Event(CIRCUIT_BREAKER_CLOSED, "The trial went well: all requests pass.", (), (_POOL,)),
    Event(SESSION_OPENED, "A session is given its worker.", (), _SESSION),
    Event(
        SESSION_LOST,
        "A session's worker is gone, and the names that it kept with it.",
        (),
        (*_SESSION, _text("reason", "crashed", "recycled", "expired", "stopped")),
    ),
    Event(
        TELEMETRY_DROPPED,
        "A bounded queue had to drop this many events since it last said so.",
        (Key("dropped", "int"),),
        (_text("queue"),),
    ),
    Event(
        ALERT_FIRED,
        "What an alert looks out for is the case; not again before its cooldown is over.",
        (Key("value", "float"), Key("limit", "float")),
        (
            _text("alert"),
            _text("kind", "rate", "threshold", "absence"),
            _text("event"),
            replace(_POOL, optional=True),
        ),
    ),
    Event(
        TELEMETRY_HANDLER_FAILURE,
        "A handler raised an exception and was detached.",
        (),
        (_text("handler_id"), _text("event"), *_TOLD),
    ),
)

CATALOGUE: Final[Mapping[EventName, Event]] = MappingProxyType({event.name: event for event in _EVENTS})
"""Every event by its name, the seed's first."""


def spec(event: Name) -> Event:
    """The catalogue's entry for an event.

    Raises:
        UnknownEvent: there is none; the message names similar ones.

    Example:
        >>> spec("snakepit.pool.stopped").metadata[1].values
        ('shutdown', 'broken', 'exit')
    """
    name = as_name(event)
    if name in CATALOGUE:
        return CATALOGUE[name]
    import difflib  # noqa: PLC0415 - only a wrong name needs it, and this module is imported everywhere

    near = difflib.get_close_matches(dotted(name), [dotted(each) for each in CATALOGUE])
    hint = f"did you mean {' or '.join(near)}?" if near else "snakepit_nb.events.CATALOGUE lists them all"
    message = f"there is no event {dotted(name)!r}; {hint}"
    raise UnknownEvent(message)


def check(
    event: Name,
    measurements: Mapping[str, object],
    metadata: Mapping[str, object],
    *,
    whole: bool = True,
) -> list[str]:
    """What is wrong with an event as it was emitted or delivered: a sentence for each fault.

    The envelope may be missing, since the bus adds it on delivery.

    Args:
        event: Its name.
        measurements: Its numbers.
        metadata: Its other facts.
        whole: Whether every key has to be there; without, only what is given is looked at.

    Example:
        >>> check("snakepit.circuit_breaker.closed", {}, {"pool": 3})
        ["metadata 'pool' of snakepit.circuit_breaker.closed: expected str, got 3"]
    """
    try:
        entry = spec(event)
    except UnknownEvent as unknown:
        return [str(unknown)]
    told = f"of {dotted(entry.name)}"
    parts = (
        (f"measurement {{!r}} {told}", entry.measurements, ENVELOPE_MEASUREMENTS, measurements),
        (f"metadata {{!r}} {told}", entry.metadata, ENVELOPE_METADATA, metadata),
    )
    return [complaint for part in parts for complaint in _complaints(*part, whole=whole)]


def _complaints(
    place: str, keys: tuple[Key, ...], envelope: tuple[Key, ...], given: Mapping[str, object], *, whole: bool
) -> list[str]:
    known = {key.name: key for key in (*envelope, *keys)}
    complaints = [f"{place.format(name)}: no such key" for name in given if name not in known]
    for key in keys if whole else ():
        due = not key.optional if key.when is None else given.get(key.when[0]) == key.when[1]
        if due and key.name not in given:
            complaints.append(f"{place.format(key.name)}: missing, expected {key.expectation()}")
        elif key.when is not None and not due and key.name in given:
            other, value = key.when
            complaints.append(f"{place.format(key.name)}: only expected where {other} is {value!r}")
    for name, key in known.items():
        if name in given and not key.accepts(given[name]):
            complaints.append(f"{place.format(name)}: expected {key.expectation()}, got {given[name]!r}")
    return complaints
