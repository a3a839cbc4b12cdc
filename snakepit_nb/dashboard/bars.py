"""The bars of one lane, few enough to be drawn: wide ones by themselves, narrow ones as columns of how busy.

*Rule:* what is returned is bounded by columns and rows, never by how many requests there were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Column = NDArray[Any]

_LEVELS: Final = 4
_TOO_MANY: Final = 20_000
"""From so many bars in a lane on, those that overlap are not told apart."""
_SAME: Final = 0.002
"""Seconds by which the clocks of two ends may differ without it being an overlap."""
_ERROR: Final = 2
_NARROWEST: Final = 3.0
"""Pixels of a failed bar, however short it was."""


class Rect(NamedTuple):
    """A rectangle; x and width in pixels, y and height as parts of the lane's bars."""

    x: float
    y: float
    width: float
    height: float


@dataclass(slots=True)
class Bars:
    """What is drawn in a lane.

    Attributes:
        ok: Bars that ended well, and columns of many: the higher, the busier.
        failed: The others, by outcome.
        waits: Thin lines from when a request began to wait until it ran.
        wide: For each bar that stands by itself: its place among the lane's rows, and where it is.
    """

    ok: list[Rect] = field(default_factory=list)
    failed: dict[int, list[Rect]] = field(default_factory=dict)
    waits: list[Rect] = field(default_factory=list)
    wide: list[tuple[int, Rect]] = field(default_factory=list)


class Placed(NamedTuple):
    """The bars of a lane: begin and end in pixels, how they ended (1: well), what `slots_of` says of them."""

    begins: Column
    ends: Column
    outcomes: Column
    slots: Column
    deep: int


class Many(NamedTuple):
    """Stretches of a lane, in pixels, of which sums are known: how busy, how many ended, how many failed."""

    begins: Column
    ends: Column
    busy: Column
    ended: Column
    failed: Column


def slots_of(begins: Column, ends: Column, most: int) -> tuple[Column, int]:
    """Which row of its lane each bar is in, so that none lies on another, and how many rows there are.

    Bars that find no row get the number `most`.

    Example:
        >>> import numpy as np
        >>> slots_of(np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0]), 8)
        (array([0, 1, 0]), 2)
    """
    rows = np.zeros(len(begins), int)
    order = np.argsort(begins, kind="stable")
    starts, stops = begins[order], ends[order]
    if not (starts[1:] < np.maximum.accumulate(stops)[:-1] - _SAME).any():
        return rows, 1
    if len(begins) > _TOO_MANY:
        rows[:] = most
        return rows, 1
    free: list[float] = []
    for place, start, stop in zip(order.tolist(), starts.tolist(), stops.tolist(), strict=True):
        for row, until in enumerate(free):
            if until - _SAME <= start:
                free[row] = stop
                rows[place] = row
                break
        else:
            rows[place] = len(free)
            if len(free) < most:
                free.append(stop)
    return rows, len(free)


def bars_of(placed: Placed, many: Many | None, span: tuple[float, float], step: int) -> Bars:
    """The bars of a lane.

    Args:
        placed: Those that are known one by one.
        many: What is known by sums only.
        span: The lane's first and last pixel.
        step: Pixels of a column.
    """
    made = Bars()
    begins, ends, outcomes, slots, deep = placed
    for row in range(deep):
        last = row == deep - 1
        # What found no row of its own is told by the last one's columns.
        mine = (slots == row) | (last & (slots >= deep))
        own = slots == row
        y, height = row / deep, 1 / deep
        good = outcomes <= 1
        width = ends - begins
        wide = own & (width >= np.where(good, max(step, 1.5), max(step, _NARROWEST)))
        for place in np.flatnonzero(wide).tolist():
            gap = 0.6 if width[place] > _NARROWEST else 0.0
            rect = Rect(float(begins[place]), y, float(width[place]) - gap, height)
            where = made.ok if good[place] else made.failed.setdefault(int(outcomes[place]), [])
            where.append(rect)
            made.wide.append((place, rect))
        small = mine & ~wide
        busy = coverage(begins[small], ends[small], np.ones(int(small.sum())), span, step)
        # However short it was, it is seen.
        touched = np.zeros(len(busy))
        touched[_columns(begins[small], span, step, len(busy))] = 1e-6
        busy = np.maximum(busy, touched)
        sums = many if row == 0 else None
        if sums is not None:
            busy += coverage(sums.begins, sums.ends, sums.busy, span, step)
        made.ok += _levels(busy, span, step, y, height)
        for outcome, rects in _flags(begins[small], outcomes[small], sums, span, step):
            made.failed.setdefault(outcome, []).extend(
                rect._replace(y=y, height=rect.height * height) for rect in rects
            )
    return made


def thin(begins: Column, ends: Column, span: tuple[float, float], step: int) -> list[Rect]:
    """Stretches as one line each: those that touch or overlap are one."""
    some = ends > begins
    busy = coverage(begins[some], ends[some], np.ones(int(some.sum())), span, step)
    return [
        Rect(span[0] + start * step, 0, (end - start) * step, 1)
        for start, end, _ in runs((busy > 0.02).astype(int))  # noqa: PLR2004 - less would not be seen
    ]


def coverage(begins: Column, ends: Column, weights: Column, span: tuple[float, float], step: int) -> Column:
    """For each column of pixels, how much of it stretches cover, summed with their weights.

    Example:
        >>> import numpy as np
        >>> coverage(np.array([0.0]), np.array([1.5]), np.array([1.0]), (0, 3), 1)
        array([1. , 0.5, 0. ])
    """
    edges = span[0] + np.arange(round((span[1] - span[0]) / step) + 1) * step
    if not len(begins):
        return np.zeros(len(edges) - 1)
    places = np.concatenate((begins, ends))
    slopes = np.concatenate((weights, -weights)).astype(float)
    order = np.argsort(places, kind="stable")
    places = places[order]
    slope = np.cumsum(slopes[order])
    filled = np.concatenate(([0.0], np.cumsum(slope[:-1] * np.diff(places))))
    covered: Column = np.maximum(np.diff(np.interp(edges, places, filled)) / step, 0)
    return covered


def runs(levels: Column) -> list[tuple[int, int, int]]:
    """Stretches of the same level above 0: where each begins, where it ends, and the level.

    Example:
        >>> import numpy as np
        >>> runs(np.array([0, 2, 2, 1, 0]))
        [(1, 3, 2), (3, 4, 1)]
    """
    if not len(levels):
        return []
    changes = np.flatnonzero(np.diff(levels)) + 1
    starts = np.concatenate(([0], changes))
    ends = np.concatenate((changes, [len(levels)]))
    return [
        (int(start), int(end), int(levels[start]))
        for start, end in zip(starts, ends, strict=True)
        if levels[start] > 0
    ]


def _levels(busy: Column, span: tuple[float, float], step: int, y: float, height: float) -> list[Rect]:
    levels = np.ceil(np.minimum(busy, 1) * _LEVELS - 1e-9).astype(int)
    levels[(busy > 0) & (levels == 0)] = 1
    found = []
    for start, end, level in runs(levels):
        tall = height * level / _LEVELS
        found.append(Rect(span[0] + start * step, y + height - tall, (end - start) * step, tall))
    return found


def _flags(
    begins: Column, outcomes: Column, many: Many | None, span: tuple[float, float], step: int
) -> Iterator[tuple[int, list[Rect]]]:
    """What failed among the narrow ones, by outcome: it hangs from the top, as deep as its part is large."""
    column = max(step, _NARROWEST)
    number = int((span[1] - span[0]) / column) + 1
    columns = _columns(begins, span, column, number)
    everything = np.bincount(columns, minlength=number).astype(float)
    of_many = np.zeros(number)
    if many is not None:
        columns_of_many = _columns(many.begins, span, column, number)
        everything += np.bincount(columns_of_many, weights=many.ended, minlength=number)
        of_many += np.bincount(columns_of_many, weights=many.failed, minlength=number)
    for outcome in (5, 4, 3, 2):
        failed = np.bincount(columns[outcomes == outcome], minlength=number).astype(float)
        if outcome == _ERROR:
            failed += of_many
        if not failed.any():
            continue
        part = failed / np.maximum(everything, 1)
        levels = np.where(failed > 0, np.clip(np.rint(part * _LEVELS), 1, _LEVELS), 0).astype(int)
        yield (
            outcome,
            [
                Rect(span[0] + start * column, 0, (end - start) * column, level / _LEVELS)
                for start, end, level in runs(levels)
            ],
        )


def _columns(places: Column, span: tuple[float, float], step: float, number: int) -> Column:
    columns: Column = np.clip(((places - span[0]) / step).astype(int), 0, max(number - 1, 0))
    return columns
