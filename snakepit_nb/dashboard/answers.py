"""What the kernel answers a view: plain data, cut to size, with nothing in it that a reader cannot see.

*Rule:* pure; no text is longer than a view can show, and no control character or mark of direction is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from snakepit_nb.dashboard.protocol import FORMATS
from snakepit_nb.errors.render import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 2_000
_DEEPEST: Final = 4
_ITEMS: Final = 50
_WRITTEN_OUT: Final = 512
_LARGEST: Final = 2**53 - 1


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    r"""A text as a view may show it.

    Example:
        >>> cut("a\x1b[31mb"), cut("abc", 2)
        ('a\\x1b[31mb', 'ab…')
    """
    # First to size: the text may be of any length.
    whole = visible(text[: longest + 1])
    return whole if len(whole) <= longest and len(text) <= longest else f"{whole[:longest]}…"


def plain(value: object, depth: int = 0) -> object:
    """A value of an event's metadata as JSON can carry it.

    Example:
        >>> plain({"shape": (3, 4), "who": object(), "time_ns": 2**60})
        {'shape': [3, 4], 'who': 'object', 'time_ns': '1152921504606846976'}
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return _scalar(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {
            cut(str(key), LONGEST_NAME): plain(each, depth + 1) for key, each in _first(value.items()) if key
        }
    if depth < _DEEPEST and isinstance(value, (list, tuple)):
        return [plain(each, depth + 1) for each in _first(value)]
    return type(value).__name__


def _scalar(value: float | str | None) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return cut(str.__str__(value))
    if isinstance(value, int):
        if abs(value) <= _LARGEST:
            return int(value)
        # Where a browser would round it: stamps in ns are as large. Beyond that Python does not write it out.
        return str(int(value)) if value.bit_length() <= _WRITTEN_OUT else cut(hex(value), LONGEST_NAME)
    # JSON has no other numbers.
    return float(value) if math.isfinite(value) else str(float(value))


def _first(items: Iterable[object]) -> list:  # type: ignore[type-arg]
    return [each for _, each in zip(range(_ITEMS), items, strict=False)]


def details(
    ask: int,
    number: int,
    event: tuple[tuple[str, ...], Mapping[str, object], Mapping[str, object]] | None,
    error: tuple[str, str] | None,
) -> dict[str, object]:
    """The answer to `details`: an event as it was emitted, and the error's page and text where it has one.

    Example:
        >>> details(1, 5, None, None)["found"]
        False
    """
    name, measurements, metadata = event or ((), {}, {})
    html, text = error or ("", "")
    return {
        "type": "details",
        "ask": ask,
        "id": number,
        "found": event is not None,
        "event": cut(".".join(map(str, name)), LONGEST_NAME),
        "measurements": plain(measurements),
        "metadata": plain(metadata),
        "html": html,
        "text": text,
    }


def done(ask: int, text: str, *, ok: bool) -> dict[str, object]:
    """The answer to `do`.

    Example:
        >>> done(1, "2 workers", ok=True)["type"]
        'done'
    """
    return {"type": "done", "ask": ask, "ok": ok, "text": cut(text)}


def file(ask: int, text: str, *, ok: bool, name: str = "", mime: str = "") -> dict[str, object]:
    """The answer to `export`; the file itself is the one buffer of the message.

    Example:
        >>> file(1, "", ok=True, name="default.svg", mime="image/svg+xml")["name"]
        'default.svg'
    """
    return {"type": "file", "ask": ask, "ok": ok, "text": cut(text), "name": name, "mime": mime}


def ending_of(path: str) -> str:
    """The format that a file's name asks for; "" where it is none.

    Example:
        >>> ending_of("run.trace.json"), ending_of("run.JSON"), ending_of("run.docx")
        ('trace', 'trace', '')
    """
    lower = path.lower()
    if lower.endswith(".json"):
        return "trace"
    return next((name for name, (ending, _) in FORMATS.items() if lower.endswith(ending)), "")
