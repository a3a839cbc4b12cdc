"""The timeline as a picture that needs nobody: a small static SVG of a keyframe.

*Rule:* it has a ground of its own, no script, and no reference to anything outside.
*Rule:* it is never larger than it was allowed to be: bars are merged by columns, lines lose points, markers
of a kind that stand close become one with a count. No marker of a lane that is drawn is dropped.
*Rule:* a failed request has a second sign beside its colour: an outline, and a hatch where there is room.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from snakepit_nb.dashboard import charts
from snakepit_nb.dashboard.bars import Many, Placed, Rect, bars_of, slots_of, thin
from snakepit_nb.dashboard.ink import at, cut, few, looks, patterns, pixel, style_of
from snakepit_nb.dashboard.protocol import POOL_LANE, Kind, Outcome
from snakepit_nb.dashboard.scales import Scale, scale, when
from snakepit_nb.dashboard.signs import BLUE, MARKS, OUTCOMES
from snakepit_nb.dashboard.snapshot import Frame, Lane, Snapshot, Table, one_line, read
from snakepit_nb.dashboard.words import count, duration, headline, totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Column = NDArray[Any]

LARGEST: Final = 30_000
"""Bytes of the largest picture, where nothing else is asked for."""

_LEFT: Final = 116
_RIGHT: Final = 20
_TOP: Final = 62
_BAR: Final = 12
_ROW: Final = 8
_AROUND: Final = 14
"""Pixels of a lane above and below its bars, together."""
_LETTER: Final = 6.0
"""Pixels of a letter of 11 pixels, on average; what must fit is cut by it."""
_NAMED: Final = 60
"""From so many bars on, none has its name written into it."""
_COUNTED: Final = 10
_ROOM: Final = 46
"""From more than ten markers with a count in a lane on, they get room for it, in pixels."""
_FOREVER: Final = 1e18
_UNBOUNDED: Final = 1 << 30
_LEGEND: Final = 18
_KINDS: Final = tuple(MARKS)
_RANKS: Final = np.zeros(256, int)
_RANKS[list(_KINDS)] = range(len(_KINDS))
_SAMPLE: Final = "M@x @ym0-5h12v10h-12z"
_LINE: Final = "M@x @ym0-1h12v2h-12z"
_WORDS: Final = (
    *(
        ("w", "waiting"),
        ("p", "running"),
        ("l", "cell"),
        ("lf", "failed cell"),
        ("u", "span of yours"),
        ("x", "tainted"),
        ("s", "saturated"),
    ),
)
_FAILED: Final = {Outcome.ERROR: "e", Outcome.CANCELLED: "c", Outcome.TIMEOUT: "t", Outcome.CRASHED: "k"}


class _Detail(NamedTuple):
    """How finely it is drawn.

    Attributes:
        step: Pixels of a column.
        apart: Markers of a kind that are closer become one.
        lanes: How many lanes are drawn; the others are counted.
        rows: How many requests of a lane that overlap are told apart.
        points: Points of a line.
        alike: Whether markers of different kinds become one, too: the gravest stands for them.
    """

    step: int
    apart: float
    lanes: int
    rows: int
    points: int
    alike: bool = False


_LADDER: Final = (
    _Detail(1, 9, 32, 8, 240),
    _Detail(2, 12, 32, 8, 160),
    _Detail(3, 16, 32, 6, 120),
    _Detail(4, 24, 24, 4, 100),
    _Detail(6, 40, 16, 4, 80),
    _Detail(6, 46, 24, 3, 80, alike=True),
    _Detail(10, 46, 16, 2, 60, alike=True),
    _Detail(16, 60, 12, 2, 50, alike=True),
    _Detail(24, 90, 8, 1, 40, alike=True),
    _Detail(40, 300, 4, 1, 24, alike=True),
)


def as_svg(frame: Frame, *, width: int = 960, dark: bool | None = False, largest: int = LARGEST) -> str:
    """The timeline as a static SVG.

    Args:
        frame: A keyframe batch: its content and its buffers.
        width: In pixels; at least 480.
        dark: Its ground; None leaves it to the reader's system.
        largest: How many bytes it may have; not less than 14,000.

    Example:
        >>> as_svg(({"summary": {"pool": "default"}}, []))[:4]
        '<svg'
    """
    return draw(read(frame), width=width, dark=dark, largest=largest)


def draw(shot: Snapshot, *, width: int = 960, dark: bool | None = False, largest: int = LARGEST) -> str:
    """The same, of a keyframe that was read."""
    width = min(max(width, 480), 4000)
    times = _scale_of(shot, _LEFT, width - _RIGHT)
    for detail in _LADDER:
        drawn = _Picture(shot, times, width, detail, max(largest, 14_000)).whole(dark=dark)
        if drawn is not None:
            return drawn
    return _Picture(shot, times, width, _LADDER[-1], _UNBOUNDED).whole(dark=dark) or ""


class _Picture:
    """One picture in the making: what is drawn grows from top to bottom."""

    def __init__(self, shot: Snapshot, times: Scale, width: int, detail: _Detail, largest: int) -> None:
        self._shot, self._width, self._detail = shot, width, detail
        self._left = largest
        self._largest = largest
        self._right = width - _RIGHT
        self._scale = times
        self._lanes = _chosen(shot.lanes, detail.lanes)
        self._left_out = len(shot.lanes) - len(self._lanes)
        self._y = float(_TOP)
        # By class, so that many rectangles are one path.
        self._paths: dict[str, list[str]] = {}
        self._marks: dict[Kind, list[tuple[float, float, int]]] = {}
        self._texts: list[str] = []
        self._behind: list[str] = []

    def whole(self, *, dark: bool | None) -> str | None:
        """The picture; None where it would be too large."""
        for number, lane in enumerate(self._lanes):
            self._lane(lane, number)
            if self._left < 0:
                return None
        self._spans(Kind.SATURATED, _TOP, self._y - _TOP, "s")
        if self._left_out > 0:
            self._text(
                _LEFT, self._y + 12, f"and {count(self._left_out, 'more lane')} that are not drawn", "f"
            )
            self._y += 18
        self._axis()
        for chart in charts.charts(self._shot):
            self._chart(chart)
        self._legend()
        height = round(self._y + 8)
        body = [*self._behind, *self._drawn(), *self._texts]
        size = f'width="{self._width}" height="{height}" viewBox="0 0 {self._width} {height}"'
        title = html.escape(describe(self._shot))
        ground = f'<rect x=".5" y=".5" width="{self._width - 1}" height="{height - 1}" rx="8" class="g"/>'
        drawn = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
            f'font-family="system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif" font-size="11">'
            f"<title>{title}</title><style>{style_of(dark=dark)}</style>{patterns()}{ground}"
            f"{''.join(self._heading())}{''.join(body)}</svg>"
        )
        return drawn if len(drawn.encode()) <= self._largest else None

    def _heading(self) -> Iterator[str]:
        shot = self._shot
        state = one_line(shot.summary.get("state", ""), 20)
        reason = one_line(shot.summary.get("reason", ""), 40)
        told = f"{state} ({reason})" if reason else state
        name = cut(shot.pool, (self._width - 380) / 8.4)
        yield f'<text x="16" y="26" class="h">{html.escape(name)}</text>'
        begun = f"{when(shot.origin + self._scale.times[0])}, {duration(self._scale.seconds)}"
        yield f'<text x="{self._right}" y="26" class="f r">{html.escape(f"{told} · {begun}")}</text>'
        line = " · ".join(headline(shot))
        yield f'<text x="16" y="45" class="i">{html.escape(cut(line, (self._width - 36) / _LETTER))}</text>'

    def _lane(self, lane: Lane, number: int) -> None:
        shot, detail = self._shot, self._detail
        rows = shot.rows.where(shot.rows["lane"] == lane.number)
        requests = rows.where(rows["kind"] == Kind.REQUEST)
        if lane.kind == "pool":
            requests = rows.where(rows["kind"] == Kind.CELL)
        begins, ends = requests["t"], requests["t"] + requests["dur"]
        running = [each for each in shot.open if each.lane == lane.number and lane.kind != "pool"]
        since = np.array([each.t for each in running], float)
        slots, deep = slots_of(
            np.concatenate((begins, since)),
            np.concatenate((ends, np.full(len(since), _FOREVER))),
            detail.rows,
        )
        slots, open_slots = slots[: len(begins)], slots[len(begins) :]
        bar = _BAR if deep == 1 else _ROW * deep
        top, height = self._y, bar + _AROUND
        if number % 2:
            self._behind.append(
                f'<path class="z" d="M1 {at(top)}h{self._width - 2}v{at(height)}h-{self._width - 2}z"/>'
            )
        label = cut(one_line(lane.label), (_LEFT - 22) / _LETTER)
        self._text(16, top + height / 2 + 4, label, "i")
        y = top + _AROUND / 2
        self._spans(Kind.TAINTED, top + 2, height - 4, "x", lane.number)
        busy = shot.density.where(shot.density["lane"] == lane.number)
        many = None
        if len(busy) and lane.kind != "pool":
            ends_of = self._scale(busy["t"] + busy["width"])
            many = Many(self._scale(busy["t"]), ends_of, busy["busy"], busy["count"], busy["failed"])
        span = (float(_LEFT), float(self._right))
        x0, x1 = self._scale(begins), self._scale(ends)
        made = bars_of(Placed(x0, x1, requests["outcome"], slots, deep), many, span, detail.step)
        css = "l" if lane.kind == "pool" else "o"
        self._rects(css, made.ok, y, bar, gap=deep > 1)
        for outcome, rects in made.failed.items():
            failed = "lf" if lane.kind == "pool" else _FAILED.get(Outcome(outcome), "e")
            self._rects(failed, rects, y, bar, gap=deep > 1)
        if lane.kind != "pool":
            waits = thin(self._scale(begins - requests["extra"]), x0, span, max(detail.step, 2))
            self._rects("w", waits, y + bar + 1, 1.5)
            end = float(self._scale(shot.now))
            starts = self._scale(since).tolist()
            self._rects(
                "p",
                [
                    Rect(x, slot / deep, max(end - x, 2), 1 / deep)
                    for x, slot in zip(starts, open_slots.tolist(), strict=True)
                    if slot < deep
                ],
                *(y, bar),
                gap=deep > 1,
            )
        if len(requests) <= _NAMED and detail.step == 1:
            for place, rect in made.wide:
                self._name(shot.name(int(requests["name"][place])), rect, y, bar, css)
        own = rows.where((rows["kind"] == Kind.USER) & (rows["dur"] > 0))
        self._rects(
            "u",
            thin(self._scale(own["t"]), self._scale(own["t"] + own["dur"]), span, detail.step),
            top + 2,
            3,
        )
        self._markers(rows, top, height)
        self._y += height

    def _rects(self, css: str, rects: Iterable[Rect], y: float, height: float, *, gap: bool = False) -> None:
        less = 1.0 if gap else 0.0
        fine = self._detail.step <= 2  # noqa: PLR2004 - above, halves of pixels are noise
        number = at if fine else pixel
        for rect in rects:
            wide = number(max(rect.width, 0.8))
            if wide == "0":
                wide = "1"
            tall = at(max(rect.height * height - less, 1))
            path = f"M{number(rect.x)} {at(y + rect.y * height)}h{wide}v{tall}h-{wide}z"
            self._left -= len(path)
            self._paths.setdefault(css, []).append(path)

    def _name(self, name: str, rect: Rect, y: float, bar: float, css: str) -> None:
        """The name of what ran, written into its bar, where there is room for some of it."""
        letters = (rect.width - 8) / 5.2
        tall = rect.height * bar
        if letters < min(len(name), 6) or tall < _BAR:  # fewer letters tell nothing
            return
        self._text(
            rect.x + 4, y + rect.y * bar + tall / 2 + 3.3, cut(name, letters), "nl" if css == "l" else "n"
        )

    def _spans(self, kind: Kind, y: float, height: float, css: str, lane: int | None = None) -> None:
        rows = self._shot.rows
        chosen = rows["kind"] == kind
        if lane is not None:
            chosen = chosen & (rows["lane"] == lane)
        found = rows.where(chosen)
        if not len(found):
            return
        begins, ends = self._scale(found["t"]), self._scale(found["t"] + found["dur"])
        span = (float(_LEFT), float(self._right))
        merged = thin(begins, np.maximum(ends, begins + 1.5), span, self._detail.step)
        if css == "s":
            # Behind the bars of all lanes.
            drawn = "".join(
                f"M{at(each.x)} {at(y)}h{at(each.width)}v{at(height)}h-{at(each.width)}z" for each in merged
            )
            self._paths.setdefault("s", [])
            self._behind.append(f'<path class="s" d="{drawn}"/>')
        else:
            self._rects(css, merged, y, height)

    def _markers(self, rows: Table, top: float, height: float) -> None:
        """Markers of one lane: those of a kind that are close become one, with their number."""
        detail = self._detail
        kinds = rows["kind"]
        moment = np.isin(kinds, [int(kind) for kind in MARKS]) & ~((kinds == Kind.USER) & (rows["dur"] > 0))
        found = rows.where(moment)
        if not len(found):
            return
        order = np.argsort(found["t"], kind="stable")
        x, kinds = self._scale(found["t"])[order], found["kind"][order]
        ranks = _RANKS[kinds]
        if detail.alike:
            groups = [np.arange(len(x))]
        else:
            groups = [np.flatnonzero(ranks == rank) for rank in np.unique(ranks)]
        for group in groups:
            placed = list(_close(x[group], detail.apart))
            if sum(end - start > 1 for _, start, end in placed) > _COUNTED:
                placed = list(_close(x[group], max(detail.apart, _ROOM)))
            for place, start, end in placed:
                kind = _KINDS[int(ranks[group[start:end]].max())]
                y = top + height / 2 + MARKS[kind].place * (height / 2 - 6)
                self._marks.setdefault(kind, []).append((place, y, end - start))
                self._left -= len(MARKS[kind].shape)

    def _drawn(self) -> Iterator[str]:
        for css in ("x", "w", "o", "l", "lf", "u", "p", "e", "c", "t", "k"):
            if rects := self._paths.get(css):
                yield f'<path class="{css}" d="{"".join(rects)}"/>'
        for kind, mark in MARKS.items():
            placed = self._marks.get(kind)
            if not placed:
                continue
            shapes = "".join(f"M{at(x)} {at(y)}{mark.shape}" for x, y, _ in placed)
            yield f'<path {looks(mark)} d="{shapes}"/>'
            for x, y, number in placed:
                if number > 1:
                    yield f'<text x="{at(x + 5)}" y="{at(y + 3.5)}" class="k1">{few(number)}</text>'

    def _axis(self) -> None:
        y = self._y
        lines = [f"M{_LEFT} {at(y)}H{self._right}"]
        for tick in self._scale.ticks(self._shot.origin):
            lines.append(f"M{at(tick.x)} {_TOP}V{at(y + 4)}")
            if tick.x < self._right - len(tick.text) * _LETTER / 2 + _RIGHT - 4:
                self._text(tick.x, y + 16, tick.text, "f m1")
        self._behind.append(f'<path class="a" d="{"".join(lines)}"/>')
        for gap in self._scale.cuts:
            # Two strokes and a gap between them: time is missing here.
            self._behind.append(
                f'<path class="y" d="M{at(gap.x - 6)} {_TOP}h12V{at(y)}h-12z"/>'
                f'<path class="v" d="M{at(gap.x - 6)} {_TOP}V{at(y)}M{at(gap.x + 6)} {_TOP}V{at(y)}"/>'
            )
            middle = (_TOP + y) / 2
            told = f"idle {duration(gap.seconds)}"
            turned = f'transform="rotate(-90 {at(gap.x + 3)} {at(middle)})"'
            if len(told) * 5.2 < y - _TOP:
                self._texts.append(
                    f'<text x="{at(gap.x + 3)}" y="{at(middle)}" class="f m1 q" {turned}>{told}</text>'
                )
        self._y = y + 26

    def _chart(self, chart: charts.Chart) -> None:
        y, top = self._y, chart.top
        drawn = []
        for line in chart.lines:
            if not (way := charts.path(line, self._scale, top, y, self._detail.points)):
                continue
            dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
            fill = f'fill="{line.colour}" fill-opacity=".22"' if line.filled else 'fill="none"'
            blue = " b" if line.colour == BLUE else ""
            drawn.append(f'<path {fill} stroke="{line.colour}" class="d{blue}"{dash} d="{way}"/>')
        bottom = y + charts.HEIGHT - 14
        self._behind.append(f'<path class="a" d="M{_LEFT} {at(bottom)}H{self._right}"/>')
        self._texts += drawn
        self._text(16, y + 14, chart.title, "i")
        self._text(16, y + 29, f"up to {chart.told(top)}", "f")
        self._y += charts.HEIGHT

    def _legend(self) -> None:
        """What the colours and signs mean that are in the picture, in as many lines as it takes."""
        self._y += 4
        x = 16.0
        for sign, text in self._meanings():
            room = 22 + len(text) * _LETTER + 14
            if x + room > self._right and x > 16:  # noqa: PLR2004 - the first of a line
                x, self._y = 16.0, self._y + _LEGEND
            self._texts.append(sign.replace("@x", at(x)).replace("@y", at(self._y + 8)))
            self._text(x + 18, self._y + 12, text, "f")
            x += room
        self._y += _LEGEND

    def _meanings(self) -> Iterator[tuple[str, str]]:
        ended = totals(self._shot)
        for outcome, (word, _) in OUTCOMES.items():
            if ended[word]:
                css = _FAILED.get(outcome, "o")
                yield f'<path class="{css}" d="{_SAMPLE}"/>', f"{word} {ended[word]:,}"
        for css, word in _WORDS:
            if css in self._paths:
                yield f'<path class="{css}" d="{_LINE if css == "w" else _SAMPLE}"/>', word
        rows = self._shot.rows
        counted = np.bincount(rows["kind"], minlength=256)
        counted[Kind.USER] -= int(((rows["kind"] == Kind.USER) & (rows["dur"] > 0)).sum())
        for kind, mark in MARKS.items():
            if kind in self._marks:
                shape = f'<path {looks(mark)} d="M@x @ym6 0{mark.shape}"/>'
                yield shape, f"{mark.word} {int(counted[kind]):,}"

    def _text(self, x: float, y: float, text: str, css: str) -> None:
        self._texts.append(f'<text x="{at(x)}" y="{at(y)}" class="{css}">{html.escape(text)}</text>')


def describe(shot: Snapshot) -> str:
    """The picture in a sentence, for who cannot see it.

    Example:
        >>> describe(read(({"summary": {"pool": "default", "state": "stopped"}}, [])))
        "Timeline of pool 'default' (stopped): 0 requests, nothing shared or copied."
    """
    state = one_line(shot.summary.get("state", ""), 20)
    return f"Timeline of pool {shot.pool!r} ({state}): {', '.join(headline(shot))}."


def _scale_of(shot: Snapshot, left: float, right: float) -> Scale:
    rows, density = shot.rows, shot.density
    begins = np.concatenate((rows["t"], density["t"], [each.t for each in shot.open])).astype(float)
    ends = np.concatenate(
        (rows["t"] + rows["dur"], density["t"] + density["width"], [shot.now for _ in shot.open])
    ).astype(float)
    # A pool that waits is saturated, and tainted for minutes: what lasts so is not itself busy.
    lasting = np.isin(rows["kind"], (int(Kind.TAINTED),))
    ends[: len(rows)][lasting] = rows["t"][lasting]
    return scale(begins, ends, shot.now, left, right)


def _chosen(lanes: tuple[Lane, ...], most: int) -> tuple[Lane, ...]:
    pool = [lane for lane in lanes if lane.number == POOL_LANE]
    others = sorted((lane for lane in lanes if lane.number != POOL_LANE), key=_by_name)
    return (*pool, *others)[: most + 1]


def _by_name(lane: Lane) -> tuple[object, ...]:
    """Where people look for it: numbers within a name count as numbers."""
    parts = re.split(r"(\d+)", lane.label)
    return lane.kind != "worker", [
        (part.isdecimal(), int(part) if part.isdecimal() else part) for part in parts
    ]


def _close(places: Column, apart: float) -> Iterator[tuple[float, int, int]]:
    """Places in order; those that are close, as one: its middle, and which of them it stands for."""
    start = 0
    while start < len(places):
        end = int(np.searchsorted(places, places[start] + apart, side="left"))
        end = max(end, start + 1)
        yield float(places[start:end].mean()), start, end
        start = end
