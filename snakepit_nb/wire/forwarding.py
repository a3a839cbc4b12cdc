"""Telemetry events on their way from a worker to the kernel, as bytes.

*Rule:* what arrives is plain: numbers, texts, None, lists and mappings of these. What is not plain here is
made so, as JSON would have it, or else as its text.
"""

from __future__ import annotations

import io
import json
import pickle
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, cast

from snakepit_nb.errors.types import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Event: TypeAlias = tuple[tuple[str, ...], dict[str, float], dict[str, object]]

Noted: TypeAlias = "tuple[tuple[str, ...], dict[str, float], dict[str, object], int, int, int]"
"""An event on its way: name, measurements, metadata, `time_ns`, `monotonic_ns`, and the request or 0."""

_KEYS: Final = frozenset({str})
_PLAIN: Final = frozenset({bool, int, float, str, type(None)})
_PLAIN_OR_LIST: Final = _PLAIN | {list}


def pack_events(events: Iterable[Noted]) -> tuple[bytes, int]:
    """Events as bytes, and how many could not be written so and are left out.

    Example:
        >>> from pathlib import Path
        >>> data, dropped = pack_events([(("app", "done"), {"n": 1}, {"where": Path("here")}, 5, 6, 0)])
        >>> unpack_events(data, pid=3)
        [(('app', 'done'), {'n': 1}, {'time_ns': 5, 'monotonic_ns': 6, 'pid': 3, 'where': 'here'})]
    """
    packed: list[Noted] = []
    dropped = 0
    for event in events:
        if _is_plain(event[1]) and _is_plain(event[2]):
            packed.append(event)
            continue
        try:
            plain = json.loads(json.dumps(event, default=str))
        except (TypeError, ValueError, RecursionError):
            dropped += 1
        else:
            packed.append((tuple(plain[0]), *plain[1:]))
    return pickle.dumps(packed, 5), dropped


def _is_plain(mapping: Mapping[str, object]) -> bool:
    values = mapping.values()
    if not _KEYS.issuperset(map(type, mapping)):
        return False
    if _PLAIN.issuperset(map(type, values)):
        return True
    return _PLAIN_OR_LIST.issuperset(map(type, values)) and all(
        _PLAIN.issuperset(map(type, cast("list[object]", value))) for value in values if type(value) is list
    )


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> NoReturn:
        message = f"an event may not hold {module}.{name}"
        raise pickle.UnpicklingError(message)


def unpack_events(data: bytes, **known: object) -> list[Event]:
    """Undo `pack_events`; what is `known` of all of them goes into the metadata of each that does not say it.

    Raises:
        ProtocolError: the bytes are not what it writes.

    Example:
        >>> unpack_events(pack_events([])[0])
        []
    """
    try:
        return [
            (
                name,
                measurements,
                {"time_ns": wall, "monotonic_ns": clock, **known, **asked, **metadata},
            )
            for name, measurements, metadata, wall, clock, request in _Plain(io.BytesIO(data)).load()
            for asked in (({"request_id": request} if request else {}),)
        ]
    except Exception as error:
        message = f"the events of a worker cannot be read: {error}"
        raise ProtocolError(message) from error
