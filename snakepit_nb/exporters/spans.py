"""From events to spans: what began when, within what, and how it ended; a tracer is told, and draws them.

*Rule:* nothing here has a clock or a thread: times are those of the events.
*Rule:* a span that was begun is ended once, whatever is heard or not, and after its parent was begun.
*Rule:* what is kept is bounded: of what never ends, the oldest is ended as unfinished, and counted.
*Rule:* a trace stands on the monotonic clock, laid on the wall clock where the trace began: setting the clock
bends no span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from snakepit_nb import events
from snakepit_nb.exporters.attributes import Facts, attributes, frames
from snakepit_nb.telemetry import dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.telemetry import EventName, Record

H = TypeVar("H")
Kind: TypeAlias = Literal["here", "asked", "answered"]
"""What a span is of: work in its own place, what was asked of another process, or the work there."""

_Told: TypeAlias = "Mapping[str, object]"
_PARTS: Final = frozenset(("start", "stop", "exception"))
_EXCEPTIONS: Final = frozenset((events.PYTHON_EXCEPTION_MAPPED, events.PYTHON_EXCEPTION_UNMAPPED))
_NOTED: Final = _EXCEPTIONS | {
    events.ZERO_COPY_EXPORT,
    events.ZERO_COPY_IMPORT,
    events.ZERO_COPY_FALLBACK,
    events.RETRY_ATTEMPT,
}
_WELL: Final = frozenset(("ok", "cancelled"))
_NOTES: Final = 128  # what a span takes at most, in OpenTelemetry's own default
_US: Final = 1000
_UNFINISHED: Final = "snakepit.unfinished"


class Tracer(Protocol[H]):
    """What draws spans. Times are nanoseconds since 1970."""

    def begin(self, name: str, at: int, parent: H | None, kind: Kind, facts: Facts) -> H:
        """Begin a span, and return what it is known by."""

    def note(self, span: H, name: str, at: int, facts: Facts) -> None:
        """Something happened within a span that has not ended."""

    def end(self, span: H, at: int, facts: Facts, error: str | None) -> None:
        """End a span; `error` is the type of what went wrong, None where nothing did."""


class _Work(NamedTuple, Generic[H]):
    """A cell, or a span of the user's."""

    span: H
    name: EventName
    began: int
    offset: int


class _Request(Generic[H]):
    """A request. Its spans are begun at its end, or when another one is to lie within them."""

    __slots__ = ("asked", "began", "error", "last", "metadata", "notes", "offset", "run", "sent", "worker")

    def __init__(self, metadata: _Told, began: int, offset: int) -> None:
        self.metadata = metadata
        self.began = self.last = began
        self.offset = offset
        self.sent = 0
        self.worker = metadata.get("worker_id")
        self.error: str | None = None
        self.notes: list[tuple[bool, str, int, Facts]] | None = None
        self.asked: H | None = None
        self.run: H | None = None


class _Dying(NamedTuple, Generic[H]):
    """A request whose worker died: its spans wait for what is told of that."""

    request: _Request[H]
    ended: int
    facts: Facts


class Spans(Generic[H]):
    """Takes events in the order of their delivery, and has a tracer draw what they tell.

    Args:
        tracer: Draws the spans.
        most: How many spans, and how many requests, may be open.
        remembered: How many ended ones may still be the parent of a late child.

    Attributes:
        lost: How many spans were ended unfinished, because too many others were open.
    """

    def __init__(self, tracer: Tracer[H], *, most: int = 50_000, remembered: int = 2_000) -> None:
        self.lost = 0
        self._tracer = tracer
        self._most, self._remembered = most, remembered
        self._open: dict[object, _Work[H]] = {}
        self._ended: dict[object, _Work[H]] = {}
        self._requests: dict[object, _Request[H]] = {}
        self._over: dict[object, _Request[H]] = {}
        self._dying: dict[object, _Dying[H]] = {}
        self._pids: dict[object, object] = {}
        self._now = 0
        self._takes: dict[EventName, Callable[[_Told, _Told, int, int], object]] = {
            events.REQUEST_QUEUED: self._queued,
            events.REQUEST_DISPATCHED: self._dispatched,
            events.REQUEST_EXECUTED: self._executed,
            events.REQUEST_WITHDRAWN: self._withdrawn,
            events.WORKER_CRASH: self._crash,
            events.WORKER_RECYCLED: self._gone,
            events.POOL_STOPPED: self._gone,
        }

    def __len__(self) -> int:
        """How many things are kept."""
        ours = len(self._open) + len(self._ended)
        return ours + len(self._requests) + len(self._over) + len(self._dying) + len(self._pids)

    def take(self, record: Record) -> None:
        """One event more.

        Raises:
            Exception: the event is not as it should be, or the tracer failed; the next one may be taken.
        """
        name, measurements, metadata, wall, clock, _, _ = record
        if "synthetic" in metadata:
            return
        if "monotonic_ns" in metadata:  # from another process: it has its stamps along
            wall, clock = cast("int", metadata["time_ns"]), cast("int", metadata["monotonic_ns"])
            self._learn(metadata)
        self._now = max(self._now, clock)
        offset = wall - clock
        takes = self._takes.get(name)
        if takes is not None:
            takes(measurements, metadata, clock, offset)
        elif "telemetry_span_context" in metadata and name[-1] in _PARTS:
            if name[-1] == "start":
                self._start(name[:-1], metadata, clock, offset)
            else:
                self._stop(name, measurements, metadata, clock, offset)
        elif metadata.get("request_id") is not None and (name in _NOTED or name[0] != "snakepit"):
            self._note(name, measurements, metadata, clock, offset)

    def _learn(self, metadata: _Told) -> None:
        """The process of a worker, which only its own events tell."""
        worker = metadata.get("worker_id")
        if worker is not None and worker not in self._pids:
            self._pids[worker] = metadata.get("pid")
            if len(self._pids) > self._remembered:
                del self._pids[next(iter(self._pids))]

    def close(self) -> None:
        """End what is open, as what it is: unfinished."""
        for number in list(self._dying):
            self._bury(number)
        for number in list(self._requests):
            self._abandon(number)
        for context in reversed(list(self._open)):
            self._leave(context)
        self._ended.clear()
        self._over.clear()

    # Cells, and spans of the user's

    def _start(self, name: EventName, metadata: _Told, clock: int, offset: int) -> _Work[H]:
        context = metadata["telemetry_span_context"]
        if context in self._open:
            self.lost += 1
            self._leave(context)
        parent: H | None = None
        enclosing = self._found(metadata.get("parent_span_context"))
        if enclosing is not None:
            parent, offset = enclosing.span, enclosing.offset
        elif metadata.get("request_id") is not None:
            request = self._request(metadata, clock, offset)
            if metadata["request_id"] in self._over:  # nothing is begun there any more
                parent, offset = request.run or request.asked, request.offset
            else:
                parent, offset = self._begin_run(request, request.sent or clock), request.offset
                request.last = max(request.last, clock)
        title = dotted(name)
        if name == events.CELL:
            title = f"cell {metadata['name']}" if metadata.get("name") else "cell"
        span = self._tracer.begin(title, clock + offset, parent, "here", attributes(name, metadata))
        work = self._open[context] = _Work(span, name, clock, offset)
        if len(self._open) > self._most:
            self.lost += 1
            self._leave(next(iter(self._open)))
        return work

    def _stop(self, event: EventName, measured: _Told, metadata: _Told, clock: int, offset: int) -> None:
        context = metadata["telemetry_span_context"]
        work = self._open.get(context)
        if work is None:
            if context in self._ended:
                return
            # It began before anybody listened.
            began = clock - max(0, int(cast("int", measured.get("duration", 0))))
            work = self._start(event[:-1], metadata, began, offset)
        if work.name != event[:-1]:
            return
        self._open.pop(context, None)
        self._remember(context, work)
        request = self._requests.get(metadata.get("request_id"))
        if request is not None:
            request.last = max(request.last, clock)
        at = max(clock, work.began) + work.offset
        error = None
        if event[-1] == "exception":
            error = str(metadata.get("reason"))
            told: Facts = {"exception.type": error, "exception.stacktrace": frames(metadata)}
            self._tracer.note(work.span, "exception", at, told)
        self._tracer.end(work.span, at, attributes(event, measured, metadata), error)

    def _found(self, context: object) -> _Work[H] | None:
        return None if context is None else self._open.get(context) or self._ended.get(context)

    def _remember(self, context: object, work: _Work[H]) -> None:
        self._ended[context] = work
        if len(self._ended) > self._remembered:
            del self._ended[next(iter(self._ended))]

    def _leave(self, context: object) -> None:
        work = self._open.pop(context)
        self._remember(context, work)
        self._tracer.end(work.span, max(self._now, work.began) + work.offset, {_UNFINISHED: True}, None)

    # Requests

    def _queued(self, _: _Told, metadata: _Told, clock: int, offset: int) -> None:
        number = metadata["request_id"]
        if number in self._over:
            return
        request = self._requests.get(number)
        if request is not None:  # something of it was heard already: its arguments were exported, say
            request.metadata = metadata
            return
        self._requests[number] = _Request(metadata, clock, offset)
        if len(self._requests) > self._most:
            # One without a span is no loss: its end tells all of it once more.
            self.lost += self._abandon(next(iter(self._requests)))

    def _dispatched(self, measured: _Told, metadata: _Told, clock: int, offset: int) -> None:
        if metadata["request_id"] in self._over:
            return
        request = self._request(metadata, clock, offset)
        if request.run is not None:  # it is sent once more: who had it before has died
            self._tracer.end(request.run, max(clock, request.last) + request.offset, {}, "crashed")
            request.run = None
        if request.asked is None and not request.sent:
            request.began = min(request.began, clock - _US * cast("int", measured["queue_us"]))
        request.sent = clock
        request.worker = metadata["worker_id"]

    def _executed(self, measured: _Told, metadata: _Told, clock: int, offset: int) -> None:
        number = metadata["request_id"]
        waited, lasted = cast("int", measured["queue_us"]) * _US, cast("int", measured["duration_us"]) * _US
        request = self._requests.pop(number, None)
        if request is None:
            if number in self._over:
                return
            request = _Request(metadata, clock - waited - lasted, offset)
        request.metadata = metadata
        request.worker = metadata["worker_id"]
        ended = max(clock, request.last)
        ran = min(request.began + waited, ended)
        run = self._begin_run(request, ran)
        self._let_go(number, request)
        outcome = cast("str", metadata["outcome"])
        told: Facts = {"snakepit.outcome": outcome, "snakepit.queue.duration": waited / 1e9}
        if outcome == "crashed":
            self._dying[number] = _Dying(request, ended, told)
            if len(self._dying) > self._remembered:
                self._bury(next(iter(self._dying)))
            return
        error = None if outcome in _WELL else request.error or outcome
        stopped = min(max(ran + lasted, request.last), ended)
        self._end(request, run, stopped, ended, told, error)

    def _withdrawn(self, measured: _Told, metadata: _Told, clock: int, offset: int) -> None:
        number = metadata["request_id"]
        request = self._requests.pop(number, None)
        if request is None:
            if number in self._over:
                return
            request = _Request(metadata, clock - _US * cast("int", measured["queue_us"]), offset)
        self._let_go(number, request)
        outcome = cast("str", metadata["outcome"])
        error = None if outcome in _WELL else request.error or outcome
        ended = max(clock, request.last)
        self._end(request, request.run, ended, ended, {"snakepit.outcome": outcome}, error)

    def _note(self, event: EventName, measured: _Told, metadata: _Told, clock: int, offset: int) -> None:
        if metadata["request_id"] in self._over:
            return
        request = self._request(metadata, clock, offset)
        if event in _EXCEPTIONS:
            request.error = str(metadata.get("python_type"))
        there = "worker_id" in metadata or event in _EXCEPTIONS
        self._keep(request, dotted(event), clock, attributes(event, measured, metadata), there=there)

    def _crash(self, measured: _Told, metadata: _Told, clock: int, _: int) -> None:
        worker, facts = metadata["worker_id"], attributes(events.WORKER_CRASH, measured, metadata)
        for request in [each for each in self._requests.values() if each.worker == worker and each.sent]:
            self._keep(request, dotted(events.WORKER_CRASH), clock, facts, there=True)
        for number, dying in list(self._dying.items()):
            if dying.request.worker == worker:
                self._keep(dying.request, dotted(events.WORKER_CRASH), clock, facts, there=True)
                self._bury(number)

    def _gone(self, _: _Told, metadata: _Told, __: int, ___: int) -> None:
        worker, pool = metadata.get("worker_id"), metadata.get("pool")
        for number, dying in list(self._dying.items()):
            request = dying.request
            if request.worker == worker or (worker is None and request.metadata.get("pool") == pool):
                self._bury(number)

    def _request(self, metadata: _Told, clock: int, offset: int) -> _Request[H]:
        number = metadata["request_id"]
        request = self._requests.get(number) or self._over.get(number)
        if request is None:
            request = _Request[H](metadata, clock, offset)
            self._requests[number] = request
            if len(self._requests) > self._most:
                self.lost += self._abandon(next(iter(self._requests)))
        return request

    def _keep(self, request: _Request[H], name: str, clock: int, facts: Facts, *, there: bool) -> None:
        if request.notes is None:
            request.notes = []
        if len(request.notes) < _NOTES:
            request.notes.append((there, name, clock, facts))

    def _begin_asked(self, request: _Request[H]) -> H:
        if request.asked is None:
            metadata = request.metadata
            enclosing = self._found(metadata.get("parent_span_context"))
            parent = None
            if enclosing is not None:
                parent, request.offset = enclosing.span, enclosing.offset
            command, pool = metadata.get("command"), metadata.get("pool")
            facts: Facts = {"snakepit.request.id": cast("int", metadata["request_id"])}
            if isinstance(pool, str):
                facts["snakepit.pool"] = pool
            if isinstance(command, str):
                facts["snakepit.command"] = command
            name = f"request {command or ''}".rstrip()
            request.asked = self._tracer.begin(name, request.began + request.offset, parent, "asked", facts)
        return request.asked

    def _begin_run(self, request: _Request[H], clock: int) -> H:
        if request.run is None:
            asked = self._begin_asked(request)
            name = f"run {request.metadata.get('command') or ''}".rstrip()
            facts: Facts = {"snakepit.worker.id": str(request.worker)}
            pid = self._pids.get(request.worker)
            if isinstance(pid, int):
                facts["process.pid"] = pid
            at = max(clock, request.began) + request.offset
            request.run = self._tracer.begin(name, at, asked, "answered", facts)
        return request.run

    def _end(  # noqa: PLR0913, PLR0917 - all that is known of a request's end
        self, request: _Request[H], run: H | None, stopped: int, ended: int, told: Facts, error: str | None
    ) -> None:
        asked, offset = self._begin_asked(request), request.offset
        for there, name, at, facts in request.notes or ():
            span = run if there and run is not None else asked
            self._tracer.note(span, name, min(max(at, request.began), ended) + offset, facts)
        request.notes = None
        if run is not None:
            self._tracer.end(run, stopped + offset, {}, error)
        self._tracer.end(asked, ended + offset, told, error)

    def _let_go(self, number: object, request: _Request[H]) -> None:
        self._over[number] = request
        if len(self._over) > self._remembered:
            del self._over[next(iter(self._over))]

    def _bury(self, number: object) -> None:
        request, ended, told = self._dying.pop(number)
        self._end(request, request.run, ended, ended, told, request.error or "crashed")

    def _abandon(self, number: object) -> bool:
        """Give a request up; whether it had a span."""
        request = self._requests.pop(number)
        if request.asked is None:
            return False
        ended = max(self._now, request.last, request.began)
        self._let_go(number, request)
        self._end(request, request.run, ended, ended, {_UNFINISHED: True}, None)
        return True
