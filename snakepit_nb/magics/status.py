"""`%snakepit status`: what the pools and their workers are doing, as a table.

*Rule:* it shows one moment, and waits for nobody to learn of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.magics.display import in_bytes
from snakepit_nb.magics.tables import Column, Marked, as_html, as_text, block, paragraph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snakepit_nb.arrays.store import Stats
    from snakepit_nb.magics.tables import Cell, Tint
    from snakepit_nb.pool.facts import QueueFacts, RequestFacts, Totals, WorkerFacts
    from snakepit_nb.pool.pool import Pool

_NONE: Final = "no pool is running; the first %%snakepit cell starts one"
_NONE_ANY_MORE: Final = (
    "no pool is running, the last one broke: {}; the next %%snakepit cell starts a new one"
)
_COLUMNS: Final = (
    Column("worker"),
    Column("pid", number=True),
    Column("state"),
    Column("request"),
    Column("running", number=True),
    Column("waited", number=True),
    Column("time left", number=True),
    Column("age", number=True),
    Column("answered", number=True),
    Column("memory", number=True),
    Column("device"),
    Column("sessions"),
)
# Columns that say nothing for most pools, and are left out there.
_RARE: Final = frozenset({"time left", "sessions"})
_NOTHING: Final = "-"
_LONGEST: Final = 40
_MOST_ROWS: Final = 8
_MINUTE: Final = 60.0
_TENTHS_BELOW: Final = 10.0
_LOOKS: Final[dict[str, tuple[str, Tint, str]]] = {
    "starting": ("◔", "coming", "starting"),
    "standby": ("◔", "coming", "standing by"),
    "idle": ("○", "plain", "idle"),
    "busy": ("●", "good", "busy"),
    "draining": ("◑", "going", "recycling"),
    "stopping": ("◌", "plain", "stopping"),
    "killed": ("◌", "bad", "being ended"),
    "tainted": ("◆", "bad", "tainted"),
}
_REASONS: Final = {
    "ttl_expired": "its time is over",
    "max_requests": "it had enough requests",
    "memory_threshold": "it held too much memory",
    "manual": "by hand",
}


class _Told(NamedTuple):
    """One pool: its name, lines about it, and its table."""

    name: str
    about: str
    past: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


class Status:
    """The pools and their workers: text in a terminal, HTML in a notebook.

    Args:
        pools: The pools.
        arrays: How arrays went to workers so far, where that is to be told.
        broken: Why the last pool broke, where there is none any more.
    """

    def __init__(self, pools: Sequence[Pool], arrays: Stats | None, broken: str | None = None) -> None:
        self._pools = [_told(pool) for pool in pools]
        self._none = _NONE if broken is None else _NONE_ANY_MORE.format(broken)
        now = time.strftime("%H:%M:%S")
        self._below = f"at {now}" if arrays is None else f"at {now} · {_of_arrays(arrays)}"

    def __repr__(self) -> str:
        if not self._pools:
            return self._none
        parts = []
        for name, about, past, columns, rows in self._pools:
            table = [as_text(columns, rows)] if rows else []
            parts.append("\n".join([f"pool {name}: {about}", *([past] if past else []), *table]))
        return "\n\n".join([*parts, self._below])

    def _repr_html_(self) -> str:
        if not self._pools:
            return paragraph(self._none)
        parts = []
        for name, about, past, columns, rows in self._pools:
            parts.append(paragraph(about, title=f"pool {name}"))
            parts.extend(paragraph(line, faint=True) for line in (past,) if line)
            parts.extend([as_html(columns, rows)] if rows else [])
        return block(*parts, paragraph(self._below, faint=True))


def _told(pool: Pool) -> _Told:
    workers, counts, waiting, totals = pool.workers(), pool.stats(), pool.waiting(), pool.totals()
    rows = [row for each in workers for row in _rows(each)]
    used = [at for at, column in enumerate(_COLUMNS) if column.head not in _RARE or _is_used(rows, at)]
    return _Told(
        pool.name,
        " · ".join(_about(pool, workers, counts, waiting)),
        " · ".join(_past(totals)),
        [_COLUMNS[at] for at in used],
        [[row[at] for at in used] for row in rows],
    )


def _is_used(rows: Sequence[Sequence[Cell]], at: int) -> bool:
    return any(row[at] not in {_NOTHING, ""} for row in rows)


def _about(
    pool: Pool, workers: Sequence[WorkerFacts], counts: dict[str, int], waiting: QueueFacts
) -> Iterator[str]:
    most = pool.max_workers
    yield (
        f"{_counted(most, 'thread')} in one process"
        if pool.profile == "thread"
        else f"up to {_counted(most, 'worker')}, processes"
    )
    if not workers and not counts["starting"]:
        yield "none started"
    else:
        yield f"{counts['busy']} busy"
        yield f"{sum(each.state == 'idle' for each in workers)} idle"
        for count, name in (
            (counts["starting"], "starting"),
            (sum(each.state == "tainted" for each in workers), "tainted"),
        ):
            if count:
                yield f"{count} {name}"
    yield f"{waiting.queued} queued"
    if waiting.queued:
        yield f"the first for {in_time(waiting.longest_seconds)}"
    if waiting.soonest_seconds is not None:
        limits = "a time limit" if waiting.limited == 1 else f"{waiting.limited} time limits, the first"
        yield f"{limits} in {in_time(waiting.soonest_seconds)}"
    if waiting.circuit != "off":
        yield f"circuit breaker {waiting.circuit}"


def _past(totals: Totals) -> Iterator[str]:
    if not totals.started and not totals.crashed:
        return
    yield f"{_counted(totals.answered, 'request')} answered"
    yield f"{_counted(totals.started, 'worker')} started"
    yield f"{totals.crashed} crashed"
    yield f"{totals.recycled} recycled"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _rows(worker: WorkerFacts) -> list[tuple[Cell, ...]]:
    """A row for what a worker runs; a further one for each request that it runs or has beside."""
    first, *others = worker.requests or (None,)
    tainted = worker.state == "tainted"
    rows: list[tuple[Cell, ...]] = [
        (
            worker.worker_id,
            str(worker.pid) if worker.pid else _NOTHING,
            _state(worker),
            *_of_request(first),
            _NOTHING if tainted else in_time(worker.uptime_seconds),
            f"{worker.request_count:,}",
            _NOTHING if worker.memory is None else in_bytes(worker.memory),
            worker.device,
            ", ".join(worker.sessions) or _NOTHING,
        )
    ]
    shown, more = others[: _MOST_ROWS - 1], others[_MOST_ROWS - 1 :]
    rows.extend(("", "", "", *_of_request(each), "", "", "", "", "") for each in shown)
    if more:
        rows.append(("", "", "", f"and {len(more)} more", *[""] * 8))
    return rows


def _state(worker: WorkerFacts) -> Marked:
    shape, tint, said = _LOOKS[worker.state]
    why = _REASONS.get(worker.retiring, worker.retiring)
    if worker.state == "tainted":
        said = f"{said}, again in {in_time(worker.uptime_seconds)}"
    elif worker.state == "draining" and why:
        said = f"{said}: {why}"
    elif worker.state in {"idle", "busy"} and why:
        said = f"{said}, then recycled: {why}"
    if worker.missed:
        shape, tint, said = "◆", "bad", f"{said}, no sign of life"
    return Marked(shape, tint, said)


def _of_request(request: RequestFacts | None) -> tuple[str, str, str, str]:
    if request is None:
        return _NOTHING, _NOTHING, _NOTHING, _NOTHING
    command = " ".join(request.command.split())
    if len(command) > _LONGEST:
        command = f"{command[: _LONGEST - 1]}…"
    left = _NOTHING if request.seconds_left is None else in_time(request.seconds_left)
    return (
        f"{command} #{request.request_id}",
        _NOTHING if request.running_seconds is None else in_time(request.running_seconds),
        in_time(request.queued_seconds),
        left,
    )


def in_time(seconds: float) -> str:
    """A span of time for people.

    Example:
        >>> in_time(0.04), in_time(12.3), in_time(75), in_time(7300)
        ('0.0 s', '12 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < _TENTHS_BELOW:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < _MINUTE:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _of_arrays(stats: Stats) -> str:
    return (
        f"arrays to workers: {in_bytes(stats.shared_bytes)} shared, {in_bytes(stats.copied_bytes)} copied"
        f" · {stats.leases} lent ({in_bytes(stats.leased_bytes)}), {in_bytes(stats.cached_bytes)} cached,"
        f" {in_bytes(stats.live_bytes)} of {in_bytes(stats.budget)} in use"
    )
