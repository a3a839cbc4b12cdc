"""The report that stays in a notebook when the live timeline is gone: a picture, tables and folds, as HTML.

*Rule:* only what JupyterLab's sanitizer, GitHub and nbconvert let through: images, tables, folds, and the
plainest of styles. No script, style sheet, id, class or link; nothing here needs a kernel.
*Rule:* every text from data is escaped, in one line, and cut.
*Rule:* the size is bounded whatever the frame holds; what is left out is counted.
"""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from snakepit_nb.dashboard import picture
from snakepit_nb.dashboard.lives import Life, lives
from snakepit_nb.dashboard.protocol import Kind, Outcome
from snakepit_nb.dashboard.scales import clock, when
from snakepit_nb.dashboard.signs import MARKS, OUTCOMES, word
from snakepit_nb.dashboard.snapshot import Frame, Snapshot, one_line, read
from snakepit_nb.dashboard.words import amount, count, duration, headline, latencies, totals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.dashboard.snapshot import Column, Table

LARGEST: Final = 60_000
"""Bytes of the largest report."""

_BASE64: Final = 4 / 3
_LEFT: Final = ' style="text-align:left"'
_TITLE: Final = 100
_CELL: Final = 120


class _Limits(NamedTuple):
    """How many rows a table has, and how long a text in it may be."""

    failures: int
    slowest: int
    markers: int
    lives: int
    text: int


_LADDER: Final = (
    _Limits(failures=20, slowest=10, markers=50, lives=60, text=80),
    _Limits(failures=20, slowest=10, markers=40, lives=24, text=48),
    _Limits(failures=10, slowest=5, markers=20, lives=12, text=32),
    _Limits(failures=5, slowest=3, markers=10, lives=6, text=24),
)
_TABLES: Final = 24_000
"""Bytes that the tables may have; the rest is the picture's."""


def as_html(frame: Frame, *, title: str) -> str:
    """A keyframe as a fragment of HTML of at most `LARGEST` bytes that needs neither script nor style sheet.

    Example:
        >>> as_html(({"summary": {"pool": "default"}}, []), title="The <first> run").count("&lt;first&gt;")
        1
    """
    shot = read(frame)
    every = lives(shot)
    for limits in _LADDER:
        tables = _tables(shot, every, limits)
        if len(tables.encode()) <= _TABLES:
            break
    heading = f"<p{_LEFT}><b>{_text(title, _TITLE)}</b></p>"
    told = _text(picture.describe(shot), 600)
    around = len(heading.encode()) + len(tables.encode()) + len(told.encode()) + 400
    svg = picture.draw(shot, dark=None, largest=int((LARGEST - around) / _BASE64))
    image = base64.b64encode(svg.encode()).decode("ascii")
    # Without a height, it keeps its proportions where the page is narrower.
    shown = f'<img alt="{told}" width="960" style="max-width:100%" src="data:image/svg+xml;base64,{image}">'
    return f"<div>{heading}{shown}{tables}</div>"


def as_text(frame: Frame) -> str:
    """A keyframe in a few lines, for where there is no HTML.

    Example:
        >>> print(as_text(({"summary": {"pool": "default", "state": "stopped"}}, [])))
        Pool default: stopped
        0 requests, nothing shared or copied
    """
    shot = read(frame)
    lines = [f"Pool {shot.pool}: {_state(shot)}", ", ".join(headline(shot))]
    lines += [f"  {each.label}: {_of_life(each)}" for each in lives(shot)[:8]]
    lines += [
        f"  {clock(shot.origin + float(shot.rows['t'][place]))} {_told(shot, place, 80)}"
        for place in _graves(shot)[-5:]
    ]
    return "\n".join(lines)


def _state(shot: Snapshot) -> str:
    state = one_line(shot.summary.get("state", ""), 20)
    reason = one_line(shot.summary.get("reason", ""), 60)
    return f"{state} ({reason})" if reason else state


def _tables(shot: Snapshot, every: list[Life], limits: _Limits) -> str:
    parts = [_summary(shot), _lives(shot, every, limits), _failures(shot, limits)]
    parts += [_slowest(shot, limits), _markers(shot, limits)]
    return "".join(parts)


def _summary(shot: Snapshot) -> str:
    ended = totals(shot)
    known = latencies(shot)
    requests = ", ".join(f"{number:,} {name}" for name, number in ended.items() if number)
    forgotten = shot.figure("forgotten")
    rows = [
        ("pool", f"{shot.pool}, {_state(shot)}"),
        ("when", f"{when(shot.origin)} to {when(shot.origin + shot.now)}"),
        ("requests", f"{sum(ended.values()):,}" + (f": {requests}" if requests else "")),
        ("queue and run", "none ended" if known is None else _percentiles(known)),
        ("memory", _moved(shot)),
        ("workers", _workers(shot)),
    ]
    if forgotten:
        rows.append(("not kept", f"{count(forgotten, 'older row')}; totals count them"))
    body = "".join(
        f"<tr><th{_LEFT}>{name}</th><td{_LEFT}>{_text(text, 240)}</td></tr>" for name, text in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _percentiles(known: tuple[float, float, float]) -> str:
    p50, p95, p99 = (duration(each) for each in known)
    return f"p50 {p50}, p95 {p95}, p99 {p99}"


def _moved(shot: Snapshot) -> str:
    shared, copied = shot.figure("bytes_shared"), shot.figure("bytes_copied")
    return f"{amount(shared)} shared without a copy, {amount(copied)} copied"


def _workers(shot: Snapshot) -> str:
    started = int((shot.rows["kind"] == Kind.STARTED).sum())
    figures = [
        count(shot.figure("workers", "target"), "worker") + " aimed at",
        f"{started:,} started",
        f"{shot.figure('recycled'):,} recycled",
        count(shot.figure("crashes"), "crash", "crashes"),
    ]
    if exceptions := shot.figure("exceptions"):
        figures.append(count(exceptions, "exception"))
    return ", ".join(figures)


def _lives(shot: Snapshot, every: list[Life], limits: _Limits) -> str:
    rows = (
        (
            each.label,
            clock(shot.origin + each.begin),
            duration(each.seconds),
            f"{each.requests:,}",
            f"{each.failed:,}" if each.failed else "",
            each.end,
        )
        for each in every[: limits.lives]
    )
    head = ("worker", "from", "lived", "requests", "failed", "ended by")
    return _fold(f"{count(len(every), 'worker life', 'worker lives')}", head, rows, len(every))


def _of_life(each: Life) -> str:
    failed = f", {each.failed:,} failed" if each.failed else ""
    ended = f", {each.end}" if each.end else ""
    return f"{count(each.requests, 'request')}{failed} in {duration(each.seconds)}{ended}"


def _failures(shot: Snapshot, limits: _Limits) -> str:
    rows = shot.rows
    chosen = (rows["kind"] == Kind.REQUEST) & (rows["outcome"] > Outcome.OK)
    chosen |= rows["kind"] == Kind.EXCEPTION
    chosen |= rows["kind"] == Kind.CRASH
    places = _in_time(rows, np.flatnonzero(chosen))
    shown = places[-limits.failures :]
    head = ("time", "lane", "what", "name", "after")
    told = (_row(shot, int(place), limits) for place in shown)
    return _fold(f"Failures: {len(places):,}", head, told, len(places))


def _slowest(shot: Snapshot, limits: _Limits) -> str:
    rows = shot.rows
    places = np.flatnonzero(rows["kind"] == Kind.REQUEST)
    slowest = places[np.argsort(-rows["dur"][places], kind="stable")][: limits.slowest]
    head = ("time", "lane", "outcome", "name", "ran", "waited")
    told = ((*_row(shot, int(place), limits), duration(float(rows["extra"][place]))) for place in slowest)
    return _fold(f"The slowest {count(len(slowest), 'request')}", head, told, len(slowest))


def _markers(shot: Snapshot, limits: _Limits) -> str:
    rows = shot.rows
    wanted = [int(kind) for kind in MARKS if kind != Kind.PROGRESS]
    places = _in_time(rows, np.flatnonzero(np.isin(rows["kind"], wanted)))
    shown = places[-limits.markers :]
    told = (_row(shot, int(place), limits) for place in shown)
    head = ("time", "lane", "what", "name", "figure")
    return _fold(f"Markers: {len(places):,}", head, told, len(places))


def _row(shot: Snapshot, place: int, limits: _Limits) -> tuple[str, ...]:
    """Time, lane, what, name and figure of a row."""
    rows = shot.rows
    kind = int(rows["kind"][place])
    what = word(kind)
    if kind == Kind.REQUEST:
        what = OUTCOMES.get(Outcome(int(rows["outcome"][place])), (what, ""))[0]
    return (
        clock(shot.origin + float(rows["t"][place])),
        shot.label(int(rows["lane"][place]), limits.text),
        what,
        shot.name(int(rows["name"][place]), limits.text),
        _figure(kind, float(rows["dur"][place]), float(rows["extra"][place])),
    )


_BYTES: Final = frozenset((Kind.EXPORT, Kind.FALLBACK, Kind.LEAKED, Kind.COPIED))
_SECONDS: Final = frozenset((Kind.STARTED, Kind.RECYCLED))
_NUMBERS: Final = frozenset((Kind.POOL_RESIZED, Kind.RETRY, Kind.DROPPED))


def _figure(kind: int, dur: float, extra: float) -> str:
    if kind == Kind.REQUEST:
        return duration(dur)
    if kind in _BYTES:
        return amount(extra)
    if kind in _SECONDS:
        return duration(extra)
    if kind == Kind.ALERT:
        return f"{extra:g}"
    if kind in _NUMBERS:
        return f"{extra:,.0f}"
    return duration(dur) if dur else ""


def _told(shot: Snapshot, place: int, limit: int) -> str:
    kind, name = int(shot.rows["kind"][place]), shot.name(int(shot.rows["name"][place]), limit)
    lane = shot.label(int(shot.rows["lane"][place]), limit)
    return f"{lane} {word(kind)}" + (f": {name}" if name else "")


def _graves(shot: Snapshot) -> list[int]:
    grave = [int(kind) for kind, mark in MARKS.items() if mark.grave]
    places = _in_time(shot.rows, np.flatnonzero(np.isin(shot.rows["kind"], grave)))
    return [int(place) for place in places]


def _in_time(rows: Table, places: Column) -> Column:
    return places[np.argsort(rows["t"][places], kind="stable")]


def _fold(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]], number: int) -> str:
    """A table that opens at a click, of some of `number` rows; nothing where it would have none."""
    cells = [
        "<tr>" + "".join(f"<td{_LEFT}>{_text(cell, _CELL)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    if not cells:
        return ""
    shown = f", {len(cells):,} of them" if len(cells) < number else ""
    titles = "".join(f"<th{_LEFT}>{name}</th>" for name in head)
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(cells)}</tbody></table>"
    return f"<details><summary>{_text(title + shown, _TITLE)}</summary>{table}</details>"


def _text(text: str, limit: int) -> str:
    """The only way of a text into the page."""
    return html.escape(one_line(text, limit))
