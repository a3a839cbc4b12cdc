"""Facts of events as attributes that OpenTelemetry takes: plain values, or lists of one kind of them.

*Rule:* facts of this product's events get names of their own (`snakepit.pool`), the user's keep theirs.
*Rule:* an exception is told by its type and its places, never by its message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.telemetry import EventName

Value: TypeAlias = str | bool | int | float
Facts: TypeAlias = "dict[str, Value | list[str] | list[bool] | list[int] | list[float]]"
"""Attributes of a span or of an event within it."""

_NAMES: Final = {
    "pool": "snakepit.pool",
    "worker_id": "snakepit.worker.id",
    "request_id": "snakepit.request.id",
}
_UNTOLD: Final = frozenset(
    (
        *("time_ns", "monotonic_ns", "pid", "telemetry_span_context", "parent_span_context"),
        *("count", "duration", "monotonic_time", "system_time"),
    )
)
_EXCEPTION: Final = frozenset(("kind", "reason", "stacktrace"))
_TEXT: Final = 4_000
_ITEMS: Final = 100
_WHOLE: Final = 1 << 63


def attributes(event: EventName, *told: Mapping[str, object]) -> Facts:
    """The attributes of an event, or of what it begins or ends.

    Example:
        >>> attributes(("app", "train", "stop"), {"rows": 3, "duration": 5}, {"pool": "p", "model": None})
        {'rows': 3, 'snakepit.pool': 'p'}
        >>> attributes(("snakepit", "zero_copy", "export"), {"bytes": 8}, {"shape": [2, 4]})
        {'snakepit.bytes': 8, 'snakepit.shape': [2, 4]}
    """
    found: Facts = {}
    untold = _UNTOLD | _EXCEPTION if event[-1] == "exception" else _UNTOLD
    for each in told:
        pid = each.get("pid")
        if isinstance(pid, int):  # the emitter's, where that is not this process
            found["process.pid"] = pid
        for key, value in each.items():
            if value is not None and key not in untold:
                found[attribute(event, key)] = _plain(value)
    return found


def attribute(event: EventName, key: str) -> str:
    """What a fact of an event is called.

    Example:
        >>> attribute(("app", "train"), "pool"), attribute(("snakepit", "worker", "crash"), "signal")
        ('snakepit.pool', 'snakepit.signal')
    """
    return _NAMES.get(key) or _text(f"snakepit.{key}" if event[0] == "snakepit" else key)


def frames(metadata: Mapping[str, object]) -> str:
    """The places that an exception came through, outermost first, as text.

    Example:
        >>> frames({"stacktrace": [{"file": "a.py", "line": 3, "function": "f"}]})
        'File "a.py", line 3, in f'
    """
    told = metadata.get("stacktrace")
    lines = [
        f'File "{each.get("file")}", line {each.get("line")}, in {each.get("function")}'
        for each in (told if isinstance(told, list) else ())
        if isinstance(each, dict)
    ]
    return _text("\n".join(lines))


def _plain(value: object) -> Value | list[str] | list[bool] | list[int] | list[float]:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value) if -_WHOLE <= value < _WHOLE else str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list):
        shown = [_plain(each) for each in value[:_ITEMS]]
        for kind in (bool, int, float, str):
            if all(type(each) is kind for each in shown):
                return shown  # type: ignore[return-value]
    return _text(json.dumps(value, default=repr))


def _text(value: str) -> str:
    shown = value if len(value) <= _TEXT else f"{value[: _TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"
    # Half of a surrogate pair is no text in UTF-8, and would stop all that is sent with it.
    return shown if shown.isascii() else shown.encode("utf-8", "replace").decode("utf-8")
