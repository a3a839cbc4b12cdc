"""Events as a trace for Perfetto (https://ui.perfetto.dev) and chrome://tracing: Chrome's trace event JSON.

The format is the "Trace Event Format" of the Chromium project: times in microseconds; `X` a slice of a track,
`b` and `e` the ends of an asynchronous slice, `C` a counter, `i` a moment, `M` the names of tracks.

*Rule:* slices of one track nest: each slot of a worker has a track, and one more for each request that it ran
beside others. What may overlap (waiting, loans of memory, cells, taints, spans of yours) is asynchronous, and
every `b` has its `e`.
*Rule:* pure, and an event that is not as it should be is counted and left out.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from snakepit_nb import events as catalogue
from snakepit_nb.telemetry import dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    from snakepit_nb.telemetry import EventName

RawEvent: TypeAlias = "tuple[EventName, Mapping[str, Any], Mapping[str, Any]]"
"""An event as handlers get it: name, measurements, metadata."""

_Take: TypeAlias = "Callable[[int, Mapping[str, Any], Mapping[str, Any]], None]"
_PID: Final = 1
_POOL_TRACK: Final = 1
_NAME: Final = 200
_TEXT: Final = 2_000
_ITEMS: Final = 64
_DEEP: Final = 4
_LATEST: Final = 1 << 62
"""Nanoseconds; what is later is no time."""
_ORDER: Final[Mapping[EventName, int]] = {
    catalogue.REQUEST_QUEUED: 0,
    catalogue.REQUEST_DISPATCHED: 1,
    catalogue.REQUEST_EXECUTED: 3,
    catalogue.REQUEST_WITHDRAWN: 3,
}
_BETWEEN: Final = 2
_ENVELOPE: Final = frozenset(("count", "time_ns", "monotonic_ns", "pid"))
_SLOT: Final = re.compile(r"(?P<slot>.*-\d+)(?:\.\d+)?", re.DOTALL)
_STATS: Final = (
    *(("memory_mb", "memory", "MB"), ("cpu_percent", "CPU", "percent")),
    *(("gpu_memory_mb", "GPU memory", "MB"),),
)


def as_trace(events: Iterable[RawEvent], *, pool: str) -> dict[str, Any]:
    """The trace of a pool, as an object that JSON takes.

    Args:
        events: Its events as handlers get them, in any order; those that name another pool are left out.
        pool: Its name.

    Example:
        >>> facts = {"pool": "p", "worker_id": "p-0", "request_id": 1, "command": "fit"}
        >>> sent = (catalogue.REQUEST_DISPATCHED, {"queue_us": 0}, {**facts, "monotonic_ns": 0})
        >>> figures = {"duration_us": 7, "queue_us": 0}
        >>> ended = (catalogue.REQUEST_EXECUTED, figures, {**facts, "outcome": "ok", "monotonic_ns": 7_000})
        >>> made = as_trace([sent, ended], pool="p")["traceEvents"]
        >>> [(each["ts"], each["dur"]) for each in made if each["ph"] == "X"]
        [(0.0, 7.0)]
    """
    return _Trace(pool).whole(events)


def write_trace(path: str | PathLike[str], events: Iterable[RawEvent], *, pool: str) -> None:
    """Write the trace of a pool to a file, which Perfetto opens; its name should end in `.json`.

    Example:
        In a notebook: `write_trace("run.trace.json", dashboard.events(), pool="default")`.
    """
    text = json.dumps(as_trace(events, pool=pool), separators=(",", ":"), allow_nan=False)
    Path(path).write_text(text, encoding="utf-8")


@dataclass(slots=True)
class _Slice:
    """A request on its way to the trace; its track is found when all are known."""

    slot: str
    name: str
    begin: int
    end: int
    category: str
    args: dict[str, Any]


class _Trace:
    """A trace in the making; times are monotonic nanoseconds until they are written."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._out: list[dict[str, Any]] = []
        self._last = 0
        self._skipped = 0
        self._slices: list[_Slice] = []
        self._capacity: dict[str, int] = {}
        self._moments: list[tuple[str, dict[str, Any]]] = []
        # What began and did not end yet: by category and id, the name it began with.
        self._begun: dict[tuple[str, str], str] = {}
        self._waiting: set[Any] = set()
        # By request: when and where it was sent, and what of it.
        self._sent: dict[Any, tuple[int, str, str, dict[str, Any]]] = {}
        self._takes: dict[tuple[str, ...], _Take] = {
            catalogue.REQUEST_QUEUED: self._queued,
            catalogue.REQUEST_DISPATCHED: self._dispatched,
            catalogue.REQUEST_EXECUTED: self._executed,
            catalogue.REQUEST_WITHDRAWN: self._withdrawn,
            catalogue.WORKER_STATS: self._stats,
            catalogue.WORKER_STARTED: self._started,
            catalogue.WORKER_TAINTED: self._tainted,
            catalogue.ZERO_COPY_EXPORT: self._lent,
            catalogue.ZERO_COPY_IMPORT: self._mapped,
            catalogue.ZERO_COPY_RELEASE: self._returned,
            catalogue.ZERO_COPY_LEAKED: self._returned,
        }

    def whole(self, events: Iterable[RawEvent]) -> dict[str, Any]:
        mine = self._mine(events)
        stamps = [metadata["monotonic_ns"] for _, _, metadata in mine]
        self._last = max(stamps, default=0)
        for name, measured, metadata in sorted(mine, key=_when):
            try:
                self._take(tuple(name), measured, metadata)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
                self._skipped += 1
        self._close()
        names = self._tracks()
        made = sorted(self._out, key=lambda each: each["ts"])
        origin = made[0]["ts"] if made else 0
        for each in made:
            each["ts"] = (each["ts"] - origin) / 1000
        return {
            "traceEvents": [*names, *made],
            "displayTimeUnit": "ms",
            "otherData": {
                "pool": _cut(self._pool, _NAME),
                "began": _wall_clock(mine),
                "left out": self._skipped,
            },
        }

    def _mine(self, events: Iterable[RawEvent]) -> list[RawEvent]:
        found = []
        for each in events:
            _, _, metadata = each
            stamp = metadata.get("monotonic_ns")
            if isinstance(stamp, bool) or not isinstance(stamp, int) or abs(stamp) >= _LATEST:
                self._skipped += 1
            elif metadata.get("pool", self._pool) == self._pool:
                found.append(each)
        return found

    def _take(self, name: tuple[str, ...], measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        now = metadata["monotonic_ns"]
        take = self._takes.get(name)
        if take is not None:
            take(now, measured, metadata)
        elif "telemetry_span_context" in metadata and name[-1] in {"start", "stop", "exception"}:
            self._span(now, name, measured, metadata)
        else:
            self._moment(now, name, measured, metadata)

    # Requests

    def _queued(self, now: int, _: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        request = metadata["request_id"]
        self._waiting.add(request)
        self._begin("queue", f"{request}", f"waits: {metadata['command']}", now, _args({}, metadata))
        self._count(now)

    def _dispatched(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        request = metadata["request_id"]
        self._no_longer_waits(request, now)
        slot, name = _slot(metadata["worker_id"]), str(metadata["command"])
        self._sent[request] = (now, slot, name, _args(measured, metadata))
        self._count(now)

    def _executed(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        request, outcome = metadata.get("request_id"), str(metadata["outcome"])
        ran = min(max(int(measured["duration_us"]) * 1000, 0), _LATEST)
        self._no_longer_waits(request, now)
        sent, _, _, _ = self._sent.pop(request, (now - ran, "", "", {}))
        slot = _slot(metadata.get("worker_id") or "no worker")
        # It may have been sent while another one ran, and its end may be heard of late.
        begin = min(max(sent, now - ran), now)
        args = _args(measured, metadata)
        self._slices.append(_Slice(slot, str(metadata["command"]), begin, now, f"request,{outcome}", args))
        self._count(now)

    def _withdrawn(self, now: int, _: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        request = metadata["request_id"]
        self._no_longer_waits(request, now)
        self._sent.pop(request, None)
        self._count(now)

    def _no_longer_waits(self, request: object, now: int) -> None:
        self._waiting.discard(request)
        self._end("queue", f"{request}", now)

    def _count(self, now: int) -> None:
        self._counter(now, "requests waiting", {"requests": len(self._waiting)})
        self._counter(now, "requests at workers", {"requests": len(self._sent)})

    # Workers

    def _started(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        slot = _slot(metadata["worker_id"])
        self._capacity[slot] = max(int(metadata.get("capacity", 1)), self._capacity.get(slot, 1))
        self._moment(now, catalogue.WORKER_STARTED, measured, metadata)

    def _stats(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        slot = _slot(metadata["worker_id"])
        for key, title, unit in _STATS:
            value = measured.get(key, math.nan)
            if _finite(value):
                self._counter(now, f"{title} of {slot}", {unit: value})

    def _tainted(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        slot = _slot(metadata["worker_id"])
        lasts = min(max(int(measured["duration_ms"] * 1_000_000), 0), _LATEST)
        key = f"{slot} {now}"
        self._begin("taint", key, f"{slot} is tainted", now, _args(measured, metadata))
        self._last = max(self._last, now + lasts)
        self._end("taint", key, now + lasts)

    # Memory

    def _lent(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        args = _args(measured, metadata)
        handle = str(metadata["handle_id"])
        if ("loan", handle) in self._begun:
            self._step("loan", handle, "lent again", now, args)
            return
        title = f"{metadata['dtype']} {metadata['shape']} {metadata['direction']}"
        self._begin("loan", handle, title, now, args)

    def _mapped(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        handle = str(metadata["handle_id"])
        if ("loan", handle) in self._begun:
            self._step("loan", handle, "mapped", now, _args(measured, metadata))

    def _returned(self, now: int, measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        handle = str(metadata["handle_id"])
        if ("loan", handle) not in self._begun:
            # Lent before what is kept began.
            lent = now - max(int(measured["age_ms"] * 1_000_000), 0)
            self._begin("loan", handle, "lent earlier", lent, _args(measured, metadata))
        self._end("loan", handle, now, _args(measured, metadata))

    # Spans, cells among them

    def _span(
        self, now: int, name: tuple[str, ...], measured: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> None:
        key = str(metadata["telemetry_span_context"])
        args = _args(measured, metadata)
        title = dotted(name[:-1])
        if name[:-1] == catalogue.CELL:
            number = metadata.get("cell")
            title = str(metadata.get("name") or ("a cell" if number is None else f"In [{number}]"))
        if name[-1] == "start":
            if ("span", key) not in self._begun:
                self._begin("span", key, title, now, args)
            return
        if ("span", key) not in self._begun:
            begun = now - max(int(measured.get("duration", 0)), 0)
            self._begin("span", key, title, begun, args)
        self._end("span", key, now, args)

    # What the trace is made of

    def _moment(
        self, now: int, name: tuple[str, ...], measured: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> None:
        worker = metadata.get("worker_id")
        event = {
            "ph": "i",
            "name": _cut(dotted(name).removeprefix("snakepit."), _NAME),
            "cat": _cut(name[1] if len(name) > 1 else name[0], _NAME),
            "s": "t" if worker else "p",
            "args": _args(measured, metadata),
            **self._at(now),
        }
        self._moments.append((_slot(worker) if worker else "", event))

    def _begin(self, category: str, key: str, name: str, now: int, args: dict[str, Any]) -> None:
        if (category, key) in self._begun:
            self._end(category, key, now)
        self._begun[category, key] = shown = _cut(name, _NAME)
        self._async("b", category, key, shown, now, args)

    def _step(self, category: str, key: str, name: str, now: int, args: dict[str, Any]) -> None:
        self._async("n", category, key, name, now, args)

    def _end(self, category: str, key: str, now: int, args: dict[str, Any] | None = None) -> None:
        name = self._begun.pop((category, key), None)
        if name is not None:
            self._async("e", category, key, name, now, args or {})

    def _async(  # noqa: PLR0913, PLR0917 - the fields of such an event
        self, phase: str, category: str, key: str, name: str, now: int, args: dict[str, Any]
    ) -> None:
        event = {"ph": phase, "cat": category, "id": _cut(key, _NAME), "name": name, "tid": _POOL_TRACK}
        self._out.append({**event, "args": args, **self._at(now)})

    def _counter(self, now: int, name: str, values: dict[str, float]) -> None:
        counter = {"ph": "C", "name": _cut(name, _NAME), "tid": _POOL_TRACK, "args": values}
        self._out.append({**counter, **self._at(now)})

    def _at(self, now: int) -> dict[str, Any]:
        return {"pid": _PID, "ts": now}

    def _close(self) -> None:
        """End what did not end: it goes on at the end of the trace."""
        for request, (sent, slot, name, args) in self._sent.items():
            running = {**args, "outcome": "runs on", "request_id": request}
            self._slices.append(_Slice(slot, name, sent, self._last, "request,running", running))
        for category, key in list(self._begun):
            self._end(category, key, self._last, {"goes on": True})

    def _tracks(self) -> list[dict[str, Any]]:
        """Give requests and moments their tracks; the events that name these."""
        slots: dict[str, list[_Slice]] = {}
        for each in sorted(self._slices, key=lambda each: (each.begin, each.end)):
            slots.setdefault(each.slot, []).append(each)
        for slot, _ in self._moments:
            if slot:
                slots.setdefault(slot, [])
        tid = _POOL_TRACK
        first: dict[str, int] = {"": tid}
        named = [
            _named("process_name", tid, name=f"pool {self._pool}"),
            _named("thread_name", tid, name="pool"),
        ]
        named.append(_named("thread_sort_index", tid, sort_index=0))
        for slot in sorted(slots, key=_in_order):
            free: list[int] = []
            first[slot] = tid + 1
            for each in slots[slot]:
                row = self._row(free, each, slot)
                self._out.append(self._complete(each, first[slot] + row))
            for row in range(max(len(free), 1)):
                tid += 1
                title = slot if row == 0 else f"{slot} ({row + 1})"
                named.append(_named("thread_name", tid, name=title))
                named.append(_named("thread_sort_index", tid, sort_index=tid))
        for slot, event in self._moments:
            self._out.append({**event, "tid": first[slot]})
        return named

    def _row(self, free: list[int], each: _Slice, slot: str) -> int:
        """The first row of the slot's tracks in which nothing runs at that time."""
        for row, until in enumerate(free):
            if until <= each.begin:
                free[row] = each.end
                return row
        if free and self._capacity.get(slot, 1) == 1:
            # It runs one at a time: this one began when that before it ended, whatever was heard.
            each.begin = min(free[0], each.end)
            free[0] = max(free[0], each.end)
            return 0
        free.append(each.end)
        return len(free) - 1

    def _complete(self, each: _Slice, tid: int) -> dict[str, Any]:
        slice_ = {"ph": "X", "name": _cut(each.name, _NAME), "cat": each.category, "tid": tid}
        lasts = (each.end - each.begin) / 1000
        return {**slice_, "dur": lasts, "args": each.args, **self._at(each.begin)}


def _when(event: RawEvent) -> tuple[int, int]:
    """The order of events; of those of one moment, a request's end comes last."""
    name, _, metadata = event
    return metadata["monotonic_ns"], _ORDER.get(tuple(name), _BETWEEN)


def _named(what: str, tid: int, **args: object) -> dict[str, Any]:
    shown = {key: _cut(value, _NAME) if isinstance(value, str) else value for key, value in args.items()}
    return {"ph": "M", "name": what, "pid": _PID, "tid": tid, "ts": 0, "args": shown}


def _slot(worker_id: object) -> str:
    """The slot of a worker: its name, without which of its lives this is."""
    found = _SLOT.fullmatch(str(worker_id))
    return found["slot"] if found else str(worker_id)


def _in_order(slot: str) -> tuple[str, int]:
    name, _, number = slot.rpartition("-")
    return name, int(number) if number.isdecimal() else 0


def _args(measured: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What an event tells, without its stamps, fit for JSON."""
    told = {**metadata, **measured}
    return {_cut(key, _NAME): _plain(value) for key, value in told.items() if key not in _ENVELOPE}


def _plain(value: object, deep: int = 0) -> object:
    """A value that JSON takes and that is not large."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)) and deep < _DEEP:
        return [_plain(each, deep + 1) for each in value[:_ITEMS]]
    if isinstance(value, dict) and deep < _DEEP:
        items = list(value.items())[:_ITEMS]
        return {_cut(key, _NAME): _plain(each, deep + 1) for key, each in items}
    return _cut(value, _TEXT)


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _cut(text: object, limit: int) -> str:
    shown = str(text)
    shown = shown if len(shown) <= limit else f"{shown[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"
    # Half of a surrogate pair is no text in UTF-8.
    return shown.encode("utf-8", "replace").decode("utf-8")


def _wall_clock(mine: list[RawEvent]) -> str:
    """When the first event was, as far as one says; "" where none does."""
    stamps = [stamp for _, _, facts in mine if isinstance(stamp := facts.get("time_ns"), int)]
    try:
        return datetime.fromtimestamp(min(stamps) / 1e9, UTC).isoformat() if stamps else ""
    except (OverflowError, OSError, ValueError):
        return ""
