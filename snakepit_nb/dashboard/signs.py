"""How each kind of row and each outcome looks in the picture that stays: a word, a shape and a colour.

*Rule:* no two kinds that can stand in one lane differ by their colour alone.

The colours are those of Okabe and Ito, which people with any kind of colour blindness tell apart
(https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.dashboard.protocol import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
VERMILLION: Final = "#d55e00"
PURPLE: Final = "#cc79a7"
GREY: Final = "#7f8894"

_RIGHT: Final = "m-4-5l9 5-9 5z"
_UP: Final = "m0-6l5.5 10h-11z"
_DOWN: Final = "m0 4l4-7h-8z"
_DIAMOND: Final = "m0-5l5 5-5 5-5-5z"
_SQUARE: Final = "m-3.5-3.5h7v7h-7z"
_CROSS: Final = "m-5.5-3.5l2-2 3.5 3.5 3.5-3.5 2 2-3.5 3.5 3.5 3.5-2 2-3.5-3.5-3.5 3.5-2-2 3.5-3.5z"
_DISC: Final = "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z"
_RING: Final = "m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0zm2.5 0a2.5 2.5 0 1 1 5 0a2.5 2.5 0 1 1-5 0z"
_PLUS: Final = "m-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z"
_FLAG: Final = "m-1-7h8l-2.5 3 2.5 3h-6v8h-2z"
_TICK: Final = "m-1-4h2v8h-2z"
_HOUR: Final = "m-4-5h8l-3 5 3 5h-8l3-5z"
_BOLT: Final = "m-5-4h10l-5 8z"
_HOUSE: Final = "m0-5l5 4-2 6h-6l-2-6z"


class Mark(NamedTuple):
    """The looks of one kind of marker.

    Attributes:
        word: What it is, for people.
        shape: A path around its point.
        colour: What it is filled with.
        place: Where in the lane: -1 its upper edge, 0 its middle, 1 its lower edge.
        grave: Whether it lies on top of others, and gets its place in a short list first.
    """

    word: str
    shape: str
    colour: str
    place: int = 0
    grave: bool = False


MARKS: Final[Mapping[Kind, Mark]] = MappingProxyType(
    {
        Kind.PROGRESS: Mark("progress", _TICK, GREY, 1),
        Kind.EXPORT: Mark("zero-copy", _DISC, SKY, 1),
        Kind.COPIED: Mark("name copied", _SQUARE, ORANGE, 1),
        Kind.FALLBACK: Mark("copied instead", _DOWN, ORANGE, 1),
        Kind.LEAKED: Mark("loan taken back", _PLUS, ORANGE, 1),
        Kind.USER: Mark("event", _DISC, PURPLE, -1),
        Kind.POOL_STARTED: Mark("pool started", _FLAG, GREEN),
        Kind.POOL_RESIZED: Mark("pool resized", _FLAG, BLUE),
        Kind.POOL_STOPPED: Mark("pool stopped", _FLAG, GREY),
        Kind.SESSION_OPENED: Mark("session opened", _PLUS, GREEN),
        Kind.STARTED: Mark("worker started", _RIGHT, GREEN),
        Kind.RECYCLED: Mark("recycled", _RING, BLUE),
        Kind.RESTARTED: Mark("restarted", _UP, GREEN),
        Kind.RETRY: Mark("retry", _HOUR, ORANGE, -1),
        Kind.EXCEPTION: Mark("exception", _DIAMOND, VERMILLION, -1),
        Kind.BREAKER: Mark("circuit breaker", _HOUSE, PURPLE),
        Kind.ALERT: Mark("alert", _BOLT, ORANGE, -1, grave=True),
        Kind.DROPPED: Mark("events dropped", _HOUR, GREY, -1, grave=True),
        Kind.REJECTED: Mark("rejected", _SQUARE, VERMILLION, -1, grave=True),
        Kind.RETRY_EXHAUSTED: Mark("retries exhausted", _HOUR, VERMILLION, -1, grave=True),
        Kind.HEALTH_CHECK_FAILED: Mark("health check failed", _PLUS, VERMILLION, grave=True),
        Kind.SESSION_LOST: Mark("session lost", _HOUSE, VERMILLION, grave=True),
        Kind.CRASH: Mark("crash", _CROSS, VERMILLION, grave=True),
    }
)
"""The kinds that are a moment, in the order in which they are drawn."""

SPANS: Final[Mapping[Kind, str]] = MappingProxyType(
    {Kind.CELL: "cell", Kind.TAINTED: "tainted", Kind.SATURATED: "saturated"}
)
"""The kinds that last, and what they are called; a request is told by its outcome."""

OUTCOMES: Final[Mapping[Outcome, tuple[str, str]]] = MappingProxyType(
    {
        Outcome.OK: ("ok", BLUE),
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
        ('copied instead', 'event')
    """
    known = Kind(kind) if kind in _KNOWN else Kind.USER
    if known in MARKS:
        return MARKS[known].word
    return SPANS.get(known, "request")
