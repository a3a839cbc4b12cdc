"""How each kind of row and each outcome looks in the picture that stays: a word, a shape and a colour.

*Rule:* no two kinds that can stand in one lane differ by their colour alone.
*Rule:* words, shapes and colours are those of the live timeline (`widgets/src/canvas/glyphs.ts`).

The colours are those of Okabe and Ito, which people with any kind of colour blindness tell apart
(https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.dashboard.protocol import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
YELLOW: Final = "#f0e442"
VERMILLION: Final = "#d55e00"
PURPLE: Final = "#cc79a7"
GREY: Final = "#8b939c"
INK: Final = "ink"
"""Not a colour: the ink of the ground."""

_SIZE: Final = 4.6
"""Pixels of half a shape."""


class Mark(NamedTuple):
    """The looks of one kind of marker.

    Attributes:
        word: What it is, for people.
        shape: A path that begins at its point.
        colour: What it is filled with, or drawn with where it is hollow.
        place: Where in the lane: -1 its upper edge, 0 its middle, 1 its lower edge.
        grave: Whether a short list is of it and its like.
        hollow: Whether only its rim has the colour.
    """

    word: str
    shape: str
    colour: str
    place: int = 0
    grave: bool = False
    hollow: bool = False


_Points = tuple[tuple[float, float], ...]


def _shape(*polygons: _Points) -> str:
    """Polygons around a point, in parts of half a shape, as a path that begins there and ends there."""
    parts = []
    for points in polygons:
        x = y = 0.0
        steps = []
        for px, py in points:
            step_x, step_y = round(px * _SIZE - x, 1), round(py * _SIZE - y, 1)
            x, y = x + step_x, y + step_y
            steps.append(f"{step_x:g} {step_y:g}")
        # After a `z` the pen is where the polygon began.
        begun = [float(part) for part in steps[0].split()]
        parts.append(f"m{'l'.join([steps[0], ' '.join(steps[1:])])}z")
        parts.append(f"m{-begun[0]:g} {-begun[1]:g}")
    return "".join(parts[:-1])


def _disc(begin: float, end: float, radius: float = 1.0) -> _Points:
    """A part of a disc, in parts of a whole turn, as a polygon."""
    steps = 16
    turns = [begin + (end - begin) * step / steps for step in range(steps + 1)]
    return tuple((radius * math.cos(turn * math.tau), radius * math.sin(turn * math.tau)) for turn in turns)


_SQUARE: Final = ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85))
_DIAMOND: Final = ((0.0, -1.1), (1.1, 0.0), (0.0, 1.1), (-1.1, 0.0))
_UP: Final = ((0.0, -1.0), (1.0, 0.8), (-1.0, 0.8))
_DOWN: Final = ((0.0, 1.0), (1.0, -0.8), (-1.0, -0.8))
_RIGHT: Final = ((-0.75, -1.05), (1.05, 0.0), (-0.75, 1.05))
_TWICE: Final = (((-1.2, -0.95), (0.0, 0.0), (-1.2, 0.95)), ((0.0, -0.95), (1.2, 0.0), (0.0, 0.95)))
_CROSS: Final = (
    *((-1.1, -0.65), (-0.65, -1.1), (0.0, -0.45), (0.65, -1.1), (1.1, -0.65), (0.45, 0.0)),
    *((1.1, 0.65), (0.65, 1.1), (0.0, 0.45), (-0.65, 1.1), (-1.1, 0.65), (-0.45, 0.0)),
)
_FLAG: Final = ((-0.7, -1.1), (1.1, -0.5), (-0.35, 0.1), (-0.35, 1.1), (-0.7, 1.1))
_RESIZED: Final = (((0.0, -1.15), (0.85, -0.2), (-0.85, -0.2)), ((0.0, 1.15), (0.85, 0.2), (-0.85, 0.2)))
_BACK: Final = ((0.8, -1.0), (-0.9, 0.0), (0.8, 1.0), (0.1, 0.0))
_STOPPED_BACK: Final = (
    ((1.0, -1.0), (-0.6, 0.0), (1.0, 1.0)),
    ((-1.1, -1.0), (-0.8, -1.0), (-0.8, 1.0), (-1.1, 1.0)),
)
_BOLT: Final = ((0.3, -1.2), (-0.8, 0.2), (-0.05, 0.2), (-0.3, 1.2), (0.8, -0.2), (0.05, -0.2))
_TICK: Final = ((-0.2, -0.9), (0.2, -0.9), (0.2, 0.9), (-0.2, 0.9))
_STAR: Final = (
    *((0.0, -1.2), (0.3, -0.3), (1.2, 0.0), (0.3, 0.3)),
    *((0.0, 1.2), (-0.3, 0.3), (-1.2, 0.0), (-0.3, -0.3)),
)
_SHOUT: Final = (
    ((-0.35, -1.2), (0.35, -1.2), (0.2, 0.35), (-0.2, 0.35)),
    ((-0.3, 0.65), (0.3, 0.65), (0.3, 1.2), (-0.3, 1.2)),
)

MARKS: Final[Mapping[Kind, Mark]] = MappingProxyType(
    {
        Kind.PROGRESS: Mark("progress", _shape(_TICK), GREY, 1),
        Kind.EXPORT: Mark("shared without a copy", _shape(_UP), BLUE, 1),
        Kind.FALLBACK: Mark("copied instead of shared", _shape(_SQUARE), ORANGE, 1),
        Kind.COPIED: Mark("name copied", _shape(_UP), ORANGE, 1, hollow=True),
        Kind.USER: Mark("event of yours", _shape(_STAR), BLUE, -1),
        Kind.LEAKED: Mark("lease leaked", _shape(_SQUARE), VERMILLION, 1, hollow=True),
        Kind.SESSION_OPENED: Mark("session opened", _shape(_disc(0.5, 1)), BLUE, -1),
        Kind.STARTED: Mark("worker started", _shape(_RIGHT), GREEN),
        Kind.POOL_STARTED: Mark("pool started", _shape(_FLAG), INK),
        Kind.POOL_RESIZED: Mark("pool resized", _shape(*_RESIZED), INK),
        Kind.RETRY: Mark("retry", _shape(_BACK), ORANGE, -1),
        Kind.RECYCLED: Mark("worker recycled", _shape(_disc(0, 1)), BLUE, hollow=True),
        Kind.RESTARTED: Mark("worker restarted", _shape(*_TWICE), GREEN),
        Kind.SESSION_LOST: Mark(
            "session lost", _shape(_disc(0, 0.5)), VERMILLION, -1, grave=True, hollow=True
        ),
        Kind.RETRY_EXHAUSTED: Mark("retries exhausted", _shape(*_STOPPED_BACK), VERMILLION, -1, grave=True),
        Kind.BREAKER: Mark("circuit breaker", _shape(_BOLT), ORANGE),
        Kind.HEALTH_CHECK_FAILED: Mark(
            "health check failed", _shape(_DIAMOND), ORANGE, grave=True, hollow=True
        ),
        Kind.REJECTED: Mark(
            "rejected", _shape(_disc(0.575, 0.925, 1.1), _disc(0.075, 0.425, 1.1)), PURPLE, grave=True
        ),
        Kind.DROPPED: Mark("events dropped", _shape(_DOWN), VERMILLION, -1, grave=True),
        Kind.EXCEPTION: Mark("exception", _shape(_DIAMOND), VERMILLION, -1),
        Kind.POOL_STOPPED: Mark("pool stopped", _shape(_SQUARE), INK),
        Kind.ALERT: Mark("alert", _shape(*_SHOUT), VERMILLION, -1, grave=True),
        Kind.CRASH: Mark("crash", _shape(_CROSS), VERMILLION, grave=True),
    }
)
"""The kinds that are a moment, in the order in which they are drawn: what matters most lies on top."""

SPANS: Final[Mapping[Kind, str]] = MappingProxyType(
    {Kind.CELL: "cell", Kind.TAINTED: "tainted", Kind.SATURATED: "saturated"}
)
"""The kinds that last, and what they are called; a request is told by its outcome."""

OUTCOMES: Final[Mapping[Outcome, tuple[str, str]]] = MappingProxyType(
    {
        Outcome.OK: ("ok", GREEN),
        Outcome.ERROR: ("error", VERMILLION),
        Outcome.CANCELLED: ("cancelled", GREY),
        Outcome.TIMEOUT: ("timeout", ORANGE),
        Outcome.CRASHED: ("crashed", PURPLE),
    }
)
"""How a request can end: the word and the colour."""


_KNOWN: Final = frozenset(int(kind) for kind in Kind)


def word(kind: int) -> str:
    """What a kind of row is called, for people.

    Example:
        >>> word(Kind.FALLBACK), word(99)
        ('copied instead of shared', 'event of yours')
    """
    known = Kind(kind) if kind in _KNOWN else Kind.USER
    if known in MARKS:
        return MARKS[known].word
    return SPANS.get(known, "request")
