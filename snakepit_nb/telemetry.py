"""The bus: what happens in this product is told here, and whoever wants to know attaches a handler.

The verbs and promises are those of Erlang's `:telemetry` (https://hexdocs.pm/telemetry/).

*Rule:* `execute` takes no lock. The table of handlers is replaced as a whole by the writers, never changed.
*Rule:* a handler is never called under a lock and never harms the emitter: one that raises is detached, and
`telemetry.handler.failure` says so.
*Rule:* every event carries the measurement `count: 1` and the stamps `time_ns`, `monotonic_ns` and `pid`,
merged in when it is delivered; stamps that the metadata brings along (from another process) are kept.
*Rule:* measurements are numbers; metadata is JSON-safe and never holds a value of the user's program. An
exception is told by its type's name, not by its message, which may quote a secret.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

EventName: TypeAlias = tuple[str, ...]
"""An event's name, `("snakepit", "worker", "started")`."""

Name: TypeAlias = str | EventName
"""A name as callers may give it: the tuple, or the dotted string `"snakepit.worker.started"`."""

# What `attach` was given as config is handed back as it is: Any lets a handler name its own type for it.
Handler: TypeAlias = Callable[[EventName, dict[str, float], dict[str, object], Any], object]
"""What is attached: called `function(event, measurements, metadata, config)`, its return value is ignored."""

HANDLER_FAILURE: EventName = ("telemetry", "handler", "failure")
RING_SIZE = 4096
_NAMES_KEPT = 4096  # names made up at run time must not grow memory without end
_FRAMES_KEPT = 50
_span: ContextVar[str | None] = ContextVar("snakepit_nb_span", default=None)


class AlreadyAttached(ValueError):  # noqa: N818 - named for what is the case
    """A handler of this id is attached; detach it first, or choose another id."""


class NotAttached(LookupError):  # noqa: N818 - named for what is the case
    """No handler of this id is attached: it never was, was detached, or failed."""


class Attached(NamedTuple):
    """One attached handler, as `list_handlers` tells it: it listens to `events`, or else to a `prefix`.

    Where it takes `records`, its function is called with those.
    """

    handler_id: str
    events: tuple[EventName, ...]
    prefix: EventName | None
    function: Callable[..., object]
    config: object
    records: bool = False


class _Slot:
    """One life of a handler id; compared by identity, so that a late failure never detaches a successor."""

    __slots__ = ("facts", "generation", "replayed", "takes")

    def __init__(self, facts: Attached, generation: int) -> None:
        self.facts = facts
        self.takes = facts.function if facts.records else None
        self.generation = generation
        self.replayed = False

    def hears(self, name: EventName) -> bool:
        prefix = self.facts.prefix
        return name in self.facts.events if prefix is None else name[: len(prefix)] == prefix


_Route: TypeAlias = tuple[EventName, tuple[_Slot, ...], int]
Record: TypeAlias = tuple[EventName, dict[str, float], dict[str, object], int, int, int, int]
"""An event as it was recorded: name, measurements, metadata, `time_ns`, `monotonic_ns`, `pid`, and which
state of the table of handlers it met."""

Unpack: TypeAlias = Callable[[], Iterable[tuple[EventName, dict[str, float], dict[str, object]]]]
"""What makes events of a batch that is still packed."""


class _Routes(dict[Hashable, _Route]):
    """One state of the handler table: by each name as callers give it (name, handlers, generation)."""

    __slots__ = ("generation", "slots")

    def __init__(self, slots: dict[str, _Slot], generation: int) -> None:
        super().__init__()
        self.slots = slots
        self.generation = generation

    def __missing__(self, event: Hashable) -> _Route:
        name = as_name(event)
        route = (name, tuple(slot for slot in self.slots.values() if slot.hears(name)), self.generation)
        if len(self) < _NAMES_KEPT:
            self[event] = route
        if len(_bus.seen) < _NAMES_KEPT:
            _bus.seen[name] = None
        return route


class _Batch(NamedTuple):
    """Events that nobody has unpacked yet, and the state of the handlers' table that they met."""

    unpack: Unpack
    generation: int


class _Bus:
    __slots__ = ("forward", "lock", "passes", "pid", "ring", "routes", "seen")

    def __init__(self) -> None:
        self.routes = _Routes({}, 0)
        self.ring: deque[Record | _Batch] = deque(maxlen=RING_SIZE)
        self.forward: Callable[[Record], object] | None = None
        self.passes: Callable[[EventName], bool] | None = None
        self.seen: dict[EventName, None] = {}
        self.lock = threading.RLock()  # reentrant: a finaliser may emit, its handler fail, while we hold it
        self.pid = os.getpid()

    def after_fork(self) -> None:
        # Another thread of the parent may have held the lock, and what it recorded is the parent's story.
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.ring = deque(maxlen=self.ring.maxlen)


_bus = _Bus()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bus.after_fork)


def as_name(event: object) -> EventName:
    """The tuple form of an event's name.

    Raises:
        TypeError: it is neither a string nor a tuple of strings.
        ValueError: it is empty, or a part of it is empty or holds a dot.

    Example:
        >>> as_name("snakepit.worker.started")
        ('snakepit', 'worker', 'started')
    """
    name = tuple(event.split(".")) if isinstance(event, str) else event
    if not isinstance(name, tuple) or not all(isinstance(part, str) for part in name):
        message = f"an event's name is a tuple of strings or a dotted string ('app.job.done'), got {event!r}"
        raise TypeError(message)
    if not name or not all(name) or any("." in part for part in name):
        message = f"an event's name has one part or more, none empty and none with a dot, got {event!r}"
        raise ValueError(message)
    return name


def _as_prefix(prefix: object) -> EventName:
    return () if prefix in ((), "") else as_name(prefix)


def dotted(event: Name) -> str:
    """The form of an event's name that is shown to people.

    Example:
        >>> dotted(("snakepit", "worker", "started"))
        'snakepit.worker.started'
    """
    return event if isinstance(event, str) else ".".join(event)


def attach(handler_id: str, event: Name, function: Handler, config: object = None) -> None:
    """Call `function(event, measurements, metadata, config)` at each event of this name, in its thread.

    Handlers of an event are called in the order in which they were attached. Each gets dicts of its own.

    Raises:
        AlreadyAttached: a handler of this id is attached.
        TypeError, ValueError: an argument that cannot be used; nothing is attached.

    Example:
        >>> attach("greeter", "app.hello", lambda event, numbers, facts, config: print("hello", facts["who"]))
        >>> execute("app.hello", {}, {"who": "world"})
        hello world
        >>> detach("greeter")
        True
    """
    _attach(Attached(handler_id, (as_name(event),), None, function, config))


def attach_many(handler_id: str, events: Iterable[Name], function: Handler, config: object = None) -> None:
    """Attach one handler to several events: to all of them or, where one name is wrong, to none.

    Raises:
        AlreadyAttached: a handler of this id is attached.
        TypeError, ValueError: an argument that cannot be used, no event at all included; nothing is attached.

    Example:
        >>> attach_many("both", ["app.on", "app.off"], lambda event, *_: print(dotted(event)))
        >>> execute("app.off")
        app.off
        >>> detach("both")
        True
    """
    _attach(Attached(handler_id, _as_names("attach_many", events), None, function, config))


def _as_names(verb: str, events: Iterable[Name]) -> tuple[EventName, ...]:
    if isinstance(events, str):
        message = f"{verb} takes a list of names; to attach to the one event {events!r} use attach"
        raise TypeError(message)
    names = tuple(dict.fromkeys(as_name(event) for event in events))
    if not names:
        message = f"{verb} needs at least one event; to hear all of them use a prefix of ()"
        raise ValueError(message)
    return names


def attach_prefix(handler_id: str, prefix: Name, function: Handler, config: object = None) -> None:
    """Attach a handler to every event whose name begins with `prefix`; `()` means every event there is.

    Raises:
        AlreadyAttached: a handler of this id is attached.
        TypeError, ValueError: an argument that cannot be used; nothing is attached.

    Example:
        >>> attach_prefix("debug", "app", lambda event, *_: print(dotted(event)))
        >>> execute("app.job.done")
        app.job.done
        >>> detach("debug")
        True
    """
    _attach(Attached(handler_id, (), _as_prefix(prefix), function, config))


def attach_records(handler_id: str, prefix: Name, function: Callable[[Record], object]) -> None:
    """Attach what keeps events and looks at them later: it is called with each as it was recorded.

    This costs the emitter a fraction of what a handler does, since nothing is copied. A record belongs to
    the bus and is not to be changed; `heard` makes of it what a handler gets. All else is as for
    `attach_prefix`.

    Raises:
        AlreadyAttached: a handler of this id is attached.
        TypeError, ValueError: an argument that cannot be used; nothing is attached.

    Example:
        >>> kept = []
        >>> attach_records("keeper", "app", kept.append)
        >>> execute("app.hello", {}, {"who": "world"})
        >>> heard(kept[0])[2]["who"]
        'world'
        >>> detach("keeper")
        True
    """
    _attach(Attached(handler_id, (), _as_prefix(prefix), function, None, records=True))


def attach_many_records(
    handler_id: str, events: Iterable[Name], function: Callable[[Record], object]
) -> None:
    """Attach what keeps events, as `attach_records` does, to events of exactly these names.

    Raises:
        AlreadyAttached: a handler of this id is attached.
        TypeError, ValueError: an argument that cannot be used; nothing is attached.

    Example:
        >>> kept = []
        >>> attach_many_records("keeper", ["app.hello", "app.bye"], kept.append)
        >>> execute("app.bye")
        >>> len(kept), detach("keeper")
        (1, True)
    """
    names = _as_names("attach_many_records", events)
    _attach(Attached(handler_id, names, None, function, None, records=True))


def heard(record: Record) -> tuple[EventName, dict[str, float], dict[str, object]]:
    """What a handler gets of a record: name, measurements and metadata, with `count` and the stamps.

    Example:
        >>> heard((("app",), {}, {"pid": 8}, 5, 6, 7, 0))
        (('app',), {'count': 1}, {'time_ns': 5, 'monotonic_ns': 6, 'pid': 8})
    """
    name, measurements, metadata, wall, clock, pid, _ = record
    stamps = {"time_ns": wall, "monotonic_ns": clock, "pid": pid}
    return name, {"count": 1, **measurements}, {**stamps, **metadata}


def _attach(facts: Attached) -> None:
    handler_id: object = facts.handler_id
    function: object = facts.function
    if not isinstance(handler_id, str) or not handler_id:
        message = f"a handler's id is a string that is not empty, got {handler_id!r}"
        raise TypeError(message)
    if not callable(function):
        message = f"handler {handler_id!r}: expected a function to call, got {function!r}"
        raise TypeError(message)
    with _bus.lock:
        routes = _bus.routes
        if facts.handler_id in routes.slots:
            message = f"handler {facts.handler_id!r} is attached already; detach it or choose another id"
            raise AlreadyAttached(message)
        slot = _Slot(facts, routes.generation + 1)
        _bus.routes = _Routes({**routes.slots, facts.handler_id: slot}, slot.generation)


def detach(handler_id: str) -> bool:
    """Detach a handler; False where none of this id is attached (it may have failed).

    An event that another thread is delivering at this moment may still reach it.

    Example:
        >>> detach("never attached")
        False
    """
    return _remove(handler_id, None)


def _remove(handler_id: str, only: _Slot | None) -> bool:
    with _bus.lock:
        routes = _bus.routes
        slot = routes.slots.get(handler_id)
        if slot is None or (only is not None and slot is not only):
            return False
        kept = {key: value for key, value in routes.slots.items() if value is not slot}
        _bus.routes = _Routes(kept, routes.generation + 1)
        return True


def execute(
    event: Name, measurements: Mapping[str, float] | None = None, metadata: Mapping[str, object] | None = None
) -> None:
    """Emit an event: record it and call the handlers attached to it, here and now.

    The two mappings belong to the bus from here on; do not change them afterwards.

    Raises:
        TypeError, ValueError: a name that is none, or measurements or metadata that are not mappings.

    Example:
        >>> execute("app.job.done", {"rows": 3}, {"job": "import"})
    """
    if type(measurements) is not dict:
        measurements = _as_dict("measurements", measurements)
    if type(metadata) is not dict:
        metadata = _as_dict("metadata", metadata)
    routes = _bus.routes
    try:
        name, slots, generation = routes[event]
    except TypeError:  # a name that cannot be hashed: as_name says what is wrong with it
        name, slots, generation = routes[as_name(event)]
    record = (name, measurements, metadata, time_ns(), monotonic_ns(), _bus.pid, generation)
    _bus.ring.append(record)
    if _bus.forward is not None:
        _bus.forward(record)
    if slots:
        _deliver(slots, record)


def execute_batch(unpack: Unpack) -> None:
    """Emit events of another process, in order; their metadata bring their stamps along.

    Where no handler is attached at all, they stay packed until a replay.

    Args:
        unpack: Makes name, measurements and metadata of each event; called once or never.

    Raises:
        Exception: what `unpack` raises, where it is called here.

    Example:
        >>> execute_batch(lambda: [(("app", "far"), {"rows": 3}, {"pid": 1})])
        >>> attach("late", "app.far", lambda event, numbers, facts, config: print(facts["pid"]))
        >>> replay("late")
        1
        1
        >>> detach("late")
        True
    """
    routes = _bus.routes
    if not routes.slots:
        _bus.ring.append(_Batch(unpack, routes.generation))
        return
    for name, measurements, metadata in unpack():
        execute(name, measurements, metadata)


def forward_to(
    function: Callable[[Record], object] | None, passes: Callable[[EventName], bool] | None = None
) -> None:
    """Have every event from now on taken to another process by this function, which must not raise.

    It is called with each event as it was recorded, before the handlers; None ends it. Where it leaves
    events out, `passes` says of a name whether that can be taken there at all; `wants` asks it.

    Example:
        >>> forward_to(lambda record: print(dotted(record[0])))
        >>> execute("app.near")
        app.near
        >>> forward_to(None)
    """
    _bus.forward, _bus.passes = function, passes


def _as_dict(argument: str, given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    message = f"{argument} of an event are a mapping from names, such as {{'rows': 3}}, got {given!r}"
    raise TypeError(message)


def _deliver(slots: tuple[_Slot, ...], record: Record) -> None:
    name, measurements, metadata, wall, clock, pid, _ = record
    failures: list[dict[str, object]] | None = None
    for slot in slots:
        takes = slot.takes
        try:
            if takes is not None:
                takes(record)
                continue
            facts = slot.facts
            facts.function(
                name,
                {"count": 1, **measurements},
                {"time_ns": wall, "monotonic_ns": clock, "pid": pid, **metadata},
                facts.config,
            )
        except Exception as error:  # noqa: BLE001 - whatever a listener does, the emitter goes on
            failures = [*(failures or ()), *_detach_failed(slot, name, error)]
        except BaseException as error:
            # In the main thread an exit or an interrupt may come from a signal's handler and must go on;
            # elsewhere it would only end the thread that serves the pool.
            if threading.current_thread() is threading.main_thread():
                raise
            failures = [*(failures or ()), *_detach_failed(slot, name, error)]
    for failure in (
        failures or ()
    ):  # told after the event itself, so that everybody hears the two in this order
        if name == HANDLER_FAILURE:
            # Recorded, not delivered: a handler of failures that fails must not go round for ever.
            _bus.ring.append((name, {}, failure, time_ns(), monotonic_ns(), _bus.pid, _bus.routes.generation))
        else:
            execute(HANDLER_FAILURE, {}, failure)


def _detach_failed(slot: _Slot, name: EventName, error: BaseException) -> list[dict[str, object]]:
    """Detach, and return what to tell: nothing where another thread's failure was first."""
    handler_id = slot.facts.handler_id
    if not _remove(handler_id, slot):
        return []
    import logging  # noqa: PLC0415 - keeps the import of the bus cheap; only a failure needs it

    told = _told(error)
    with suppress(Exception):  # a filter of the user's may raise as well
        logging.getLogger(__name__).error(
            "telemetry handler %r raised %s at %s and was detached", handler_id, told["reason"], dotted(name)
        )
    return [{"handler_id": handler_id, "event": dotted(name), **told}]


def _told(error: BaseException) -> dict[str, object]:
    """What an exception is to the bus: kind, the type's name, and its frames, outermost first."""
    kind = "exit" if isinstance(error, SystemExit) else "interrupt"
    if isinstance(error, Exception):
        kind = "error"
    frames: deque[dict[str, object]] = deque(maxlen=_FRAMES_KEPT)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename != __file__:
            frames.append({"file": code.co_filename, "line": trace.tb_lineno, "function": code.co_name})
        trace = trace.tb_next
    return {"kind": kind, "reason": type(error).__name__, "stacktrace": list(frames)}


def wants(event: Name) -> bool:
    """Whether a handler is attached to this event: for emitters whose facts are dear to gather.

    Where it is False and the emitter stays silent, the event is not recorded for `replay` either.

    Example:
        >>> wants("app.nobody.listens")
        False
    """
    routes = _bus.routes
    try:
        route = routes.get(event)
    except TypeError:  # as in execute
        route = None
    if _bus.forward is not None and (_bus.passes is None or _bus.passes(as_name(event))):
        return True
    if route is not None:
        return bool(route[1])
    name = as_name(event)
    return any(slot.hears(name) for slot in routes.slots.values())


def list_handlers(prefix: Name = ()) -> list[Attached]:
    """The attached handlers that hear events whose names begin with `prefix`, in the order of attachment.

    Example:
        >>> attach("one", "app.hello", print)
        >>> [each.handler_id for each in list_handlers("app")]
        ['one']
        >>> detach("one")
        True
    """
    start = _as_prefix(prefix)
    return [slot.facts for slot in _bus.routes.slots.values() if _may_hear(slot.facts, start)]


def _may_hear(facts: Attached, start: EventName) -> bool:
    if facts.prefix is None:
        return any(name[: len(start)] == start for name in facts.events)
    shorter = min(len(start), len(facts.prefix))
    return start[:shorter] == facts.prefix[:shorter]


def list_events(prefix: Name = ()) -> list[EventName]:
    """The names that this process has executed so far, heard or not, sorted (4096 different ones at most).

    What can be emitted at all, and with what, is in `snakepit_nb.events.CATALOGUE`.

    Example:
        >>> execute("app.listed")
        >>> list_events("app.listed")
        [('app', 'listed')]
    """
    start = _as_prefix(prefix)
    seen = {*_bus.seen.copy(), *(record[0] for record in _unpacked(_bus.ring))}
    return sorted(name for name in seen if name[: len(start)] == start)


def replay(handler_id: str) -> int:
    """Call a handler with the recent events from before its attachment, in order; return how many.

    Each event reaches a handler once: live or by the replay, and a second replay delivers nothing. Only what
    another thread emits while the handler is being attached and replayed may be missed. Recent is what the
    ring still holds (`set_ring_size`).

    Raises:
        NotAttached: no handler of this id is attached.

    Example:
        >>> execute("app.early", {}, {"who": "bird"})
        >>> attach("late", "app.early", lambda event, numbers, facts, config: print(facts["who"]))
        >>> replay("late")
        bird
        1
        >>> detach("late")
        True
    """
    with _bus.lock:
        slot = _bus.routes.slots.get(handler_id)
        if slot is None:
            message = f"no handler named {handler_id!r} is attached; attach it before its replay"
            raise NotAttached(message)
        if slot.replayed:
            return 0
        slot.replayed = True
        ring = _bus.ring
    delivered = 0
    for record in _unpacked(ring):
        if record[-1] >= slot.generation or not slot.hears(record[0]):
            continue
        if _bus.routes.slots.get(handler_id) is not slot:
            break
        _deliver((slot,), record)
        delivered += 1
    return delivered


def _unpacked(ring: deque[Record | _Batch]) -> Iterator[Record]:
    for each in _snapshot(ring):
        if not isinstance(each, _Batch):
            yield each
            continue
        with suppress(Exception):  # another process's fault, and too late to tell it
            for name, measurements, metadata in each.unpack():
                yield name, measurements, metadata, 0, 0, 0, each.generation


def _snapshot(ring: deque[Record | _Batch]) -> deque[Record | _Batch]:
    while True:
        try:
            return ring.copy()
        except RuntimeError:  # recorded into meanwhile, by another thread or a finaliser
            continue


def set_ring_size(size: int) -> None:
    """Keep the last `size` events for `replay`; the newest of those kept so far stay, 0 keeps none.

    Raises:
        ValueError: it is not a whole number from 0 up.

    Example:
        >>> set_ring_size(RING_SIZE)
    """
    if type(size) is not int or size < 0:
        message = f"the ring's size is a number of events from 0 up, got {size!r}"
        raise ValueError(message)
    with _bus.lock:
        _bus.ring = deque(_snapshot(_bus.ring), maxlen=size)


class Span:
    """One piece of work, told by `start` and then `stop` or `exception`; made by `span`, used once.

    Attributes:
        measurements: Added to the last event; the body may add numbers.
        metadata: Carried by the last event; begins with that of `start`, and the body may add to it.
    """

    __slots__ = ("_context", "_parent", "_prefix", "_started", "_token", "measurements", "metadata")

    def __init__(self, prefix: EventName, metadata: Mapping[str, object]) -> None:
        self._prefix = prefix
        self._started: int | None = None
        self._context = str(metadata.get("telemetry_span_context") or os.urandom(8).hex())
        self._parent: dict[str, object] = {}
        self._token: Token[str | None] | None = None
        self.measurements: dict[str, float] = {}
        self.metadata: dict[str, object] = {**metadata, "telemetry_span_context": self._context}

    @property
    def context(self) -> str:
        """The `telemetry_span_context` that binds its events."""
        return self._context

    def leave(self) -> None:
        """The work goes on elsewhere: what follows here is not within the span, which is ended there."""
        token, self._token = self._token, None
        if token is not None:
            with suppress(ValueError):  # it is ended in another thread or task than it began in
                _span.reset(token)

    def __enter__(self) -> Self:
        if self._started is not None:
            message = f"this span of {dotted(self._prefix)!r} was used already; call span() for each use"
            raise RuntimeError(message)
        self._started = monotonic_ns()
        moments = {"monotonic_time": self._started, "system_time": time_ns()}
        parent = _span.get()
        if parent is not None:
            self._parent = {"parent_span_context": parent}
        execute((*self._prefix, "start"), moments, {**self._parent, **self.metadata})
        self._token = _span.set(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        measurements = {**self.measurements, "duration": monotonic_ns() - (self._started or 0)}
        metadata = {**self._parent, **self.metadata, "telemetry_span_context": self._context}
        if error is None:
            execute((*self._prefix, "stop"), measurements, metadata)
        else:
            execute((*self._prefix, "exception"), measurements, metadata | _told(error))


def span(prefix: Name, metadata: Mapping[str, object] | None = None) -> Span:
    """Tell the body of a `with` statement by the events `start` and `stop`, or `exception`, after a prefix.

    `start` measures `monotonic_time` and `system_time`, `stop` and `exception` the `duration`, all in ns. The
    three are bound by one `telemetry_span_context`, 16 hexadecimal digits unless the metadata bring one, and
    a span within another one names that as its `parent_span_context`. An exception goes on
    after its event, which tells `kind` (error, exit, interrupt), `reason` (its type's name: its message may
    quote a secret) and `stacktrace`.

    Raises:
        TypeError, ValueError: a prefix that is no name, or metadata that are not a mapping.

    Example:
        >>> attach("timer", "app.load.stop", lambda event, numbers, facts, config: print(facts["rows"]))
        >>> with span("app.load") as work:
        ...     work.metadata["rows"] = 3
        3
        >>> detach("timer")
        True
    """
    return Span(as_name(prefix), _as_dict("metadata", metadata))


def current_span() -> str | None:
    """The `telemetry_span_context` of the innermost span that this code is within; None where it is in none.

    Example:
        >>> with span("app.load", {"telemetry_span_context": "mine"}):
        ...     current_span()
        'mine'
    """
    return _span.get()


@contextmanager
def within(context: str | None) -> Iterator[None]:
    """Count the body of a `with` statement to a span that began elsewhere: in another thread, say.

    Args:
        context: Its `telemetry_span_context`; with None the body is in no span.

    Example:
        >>> with within("mine"):
        ...     current_span()
        'mine'
    """
    token = _span.set(context)
    try:
        yield
    finally:
        _span.reset(token)
