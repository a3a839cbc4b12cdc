"""The small charts below the lanes of the picture that stays: lines of few points, each with its scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snakepit_nb.dashboard.signs import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from snakepit_nb.dashboard.words import amount, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from snakepit_nb.dashboard.scales import Scale
    from snakepit_nb.dashboard.snapshot import Snapshot

    Column = NDArray[Any]

HEIGHT: Final = 50
_DRAWN: Final = 36
_MOST: Final = 8
"""Lines of workers; more would not be told apart, and are drawn as their sum."""
_MB: Final = 1e6
_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY, "#b8a800")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its times and values, its colour, how it is dashed, whether the ground below is filled."""

    t: Column
    y: Column
    colour: str
    dash: str = ""
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: what it shows, its lines, and how a value is told."""

    title: str
    lines: tuple[Line, ...]
    told: Callable[[float], str]

    @property
    def top(self) -> float:
        """The largest value."""
        return max((float(line.y.max()) for line in self.lines if len(line.y)), default=0.0)


def charts(shot: Snapshot) -> list[Chart]:
    """The charts for which there are figures."""
    samples = shot.samples
    found = [
        Chart("waiting", (_line(samples["t"], samples["queue"], ORANGE, filled=True),), _number),
        Chart("requests/s", (_line(samples["t"], samples["throughput"], GREEN, filled=True),), _number),
        Chart(
            "latency",
            (
                _line(samples["t"], samples["p99"], VERMILLION, dash="1 3"),
                _line(samples["t"], samples["p95"], ORANGE, dash="5 3"),
                _line(samples["t"], samples["p50"], BLUE),
            ),
            lambda value: duration(value / 1000),
        ),
        Chart("memory", _of_workers(shot, "memory_mb"), lambda value: amount(value * _MB)),
        Chart("CPU", _of_workers(shot, "cpu_percent"), lambda value: f"{value:.0f} %"),
        Chart("GPU memory", _of_workers(shot, "gpu_memory_mb"), lambda value: amount(value * _MB)),
    ]
    return [chart for chart in found if any(len(line.t) > 1 for line in chart.lines) and chart.top > 0]


def path(line: Line, scale: Scale, top: float, y: float, points: int) -> str:
    """The path of a line whose chart begins at `y`; "" where there is nothing to draw."""
    if not len(line.t):
        return ""
    x = scale(line.t)
    tall = np.clip(line.y / top, 0, 1) * (_DRAWN - 4)
    first, last = scale.pixels[0], scale.pixels[-1]
    place = np.minimum(((x - first) / max(last - first, 1) * points).astype(int), points - 1)
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    # The highest of a column: a peak is what one looks for.
    highest = np.maximum.reduceat(tall, starts)
    xs = np.rint(x[starts]).astype(int).tolist()
    ys = np.rint(y + _DRAWN - highest).astype(int).tolist()
    gone = _gaps(scale, line.t, starts)
    parts = []
    bottom = round(y + _DRAWN)
    begun = xs[0]
    for number, (px, py) in enumerate(zip(xs, ys, strict=True)):
        if number and not gone[number]:
            parts.append(f"L{px} {py}")
            continue
        if number and line.filled:
            parts.append(f"V{bottom}H{begun}z")
        parts.append(f"M{px} {py}")
        begun = px
    if line.filled:
        parts.append(f"V{bottom}H{begun}z")
    return "".join(parts)


def _gaps(scale: Scale, t: Column, starts: Column) -> Column:
    """Whether a point does not belong to the one before it: a cut lies between them."""
    x = scale(t)[starts]
    before = np.concatenate((x[:1], x[:-1]))
    gone = np.zeros(len(starts), bool)
    for cut in scale.cuts:
        gone |= (before <= cut.x) & (x > cut.x)
    return gone


def _line(t: Column, y: Column, colour: str, *, dash: str = "", filled: bool = False) -> Line:
    there = np.isfinite(y) & (y >= 0)
    order = np.argsort(t[there], kind="stable")
    return Line(t[there][order], y[there][order], colour, dash, filled)


def _of_workers(shot: Snapshot, name: str) -> tuple[Line, ...]:
    stats = shot.stats.where(np.isfinite(shot.stats[name]))
    lanes = np.unique(stats["lane"])
    if len(lanes) > _MOST:
        seconds, places = np.unique(np.rint(stats["t"]), return_inverse=True)
        sums = np.bincount(places, weights=stats[name], minlength=len(seconds))
        return (_line(seconds, sums, BLUE, filled=True),)
    return tuple(
        _line(stats["t"][stats["lane"] == lane], stats[name][stats["lane"] == lane], _COLOURS[place])
        for place, lane in enumerate(lanes)
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004
