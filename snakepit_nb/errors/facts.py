"""The facts of an error in words, for the table beside it and the lines below it.

*Rule:* what is told comes from the error's record and its own attributes; no value is asked for its `repr`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.hostile import clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from snakepit_nb.errors.record import ErrorRecord

_KILO: Final = 1000
_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB", "PB")
_USUAL_DEVICE: Final = "cpu"
_DEEPEST: Final = 3
_ITEMS: Final = 12
_LONGEST: Final = 400
_NAMES: Final = {
    "classification": "kind of death",
    "max_queue_size": "longest queue",
    "memory_mb": "memory last seen",
    "queue_size": "queue",
    "request_id": "request",
    "seconds": "time limit",
    "signal_name": "signal",
    "type_name": "type",
    "worker_id": "worker",
}
# What an error of ours has as attributes and a table can show, in the order of the table.
_OWN: Final = (
    "name", "path", "type_name", "session", "names", "place", "signal_name", "exit_code", "classification",
    "device", "memory_mb", "seconds", "failures", "queue_size", "max_queue_size", "reason", "pool",
    "worker_id", "command", "request_id",
)  # fmt: skip


class Fact(NamedTuple):
    """One fact: its name, and what it is."""

    name: str
    text: str


def told(facts: Mapping[str, object]) -> list[Fact]:
    """Facts in words; those that nobody knows are left out.

    Example:
        >>> told({"shapes": ((3, 4), (5,)), "asked_bytes": 3_000_000, "axis": None})
        [Fact(name='shapes', text='(3, 4), (5,)'), Fact(name='asked', text='3.0 MB')]
    """
    return [
        Fact(_name(key), text)
        for key, value in facts.items()
        if (text := clip(_text(key, value), _LONGEST).replace("\n", " "))
    ]


def own_facts(error: BaseException) -> list[Fact]:
    """What an error of this package says of itself in attributes.

    Example:
        >>> from snakepit_nb.errors.types import RequestTimeout
        >>> own_facts(RequestTimeout(seconds=5, pool="a"))
        [Fact(name='time limit', text='5 s'), Fact(name='pool', text='a')]
    """
    attributes = vars(error)
    facts = {name: attributes[name] for name in _OWN if attributes.get(name) is not None}
    if facts.get("device") == _USUAL_DEVICE:
        del facts["device"]
    return told(facts)


def places(record: ErrorRecord) -> list[Fact]:
    """Where it was raised, and where that ran.

    Example:
        >>> from snakepit_nb.errors.record import ErrorRecord, TypeName
        >>> error = TypeName("numpy.linalg", "LinAlgError")
        >>> places(ErrorRecord(error, (), "", library="numpy", function="inv", worker_id="w1", pool="a"))
        [Fact(name='raised by', text='numpy.inv'), Fact(name='ran in', text='worker w1 of pool a')]
    """
    by = ""
    if record.library not in {"", "python", "builtins"}:
        by = ".".join(part for part in (record.library, record.function) if part)
    where = ""
    if record.worker_id:
        request = "" if record.request_id is None else f", request {record.request_id}"
        where = f"worker {record.worker_id} of pool {record.pool}{request}"
    facts = (Fact("raised by", by), Fact("ran in", where))
    return [Fact(name, clip(text, _LONGEST)) for name, text in facts if text]


def in_line(facts: Iterable[Fact]) -> str:
    """Facts in one line.

    Example:
        >>> in_line([Fact("axis", "0"), Fact("size", "3")])
        'axis 0; size 3'
    """
    return "; ".join(f"{name} {text}" for name, text in facts)


def _name(key: str) -> str:
    return _NAMES.get(key) or key.removesuffix("_bytes").replace("_", " ")


def _text(key: str, value: object) -> str:
    if key.endswith("_bytes") and type(value) is int:
        return _size(value)
    if key == "memory_mb" and isinstance(value, (int, float)):
        return f"{value:,.0f} MB"
    if key == "seconds" and isinstance(value, (int, float)):
        return f"{value:g} s"
    if isinstance(value, (tuple, list)):
        return ", ".join(_several(value))
    return _plain(value)


def _several(values: tuple[object, ...] | list[object]) -> Iterator[str]:
    for value in values[:_ITEMS]:
        yield _plain(value)
    if len(values) > _ITEMS:
        yield f"and {len(values) - _ITEMS:,} more"


def _plain(value: object, depth: int = 0) -> str:
    if isinstance(value, (tuple, list)):
        if depth == _DEEPEST:
            return "(...)"
        inner = [_plain(item, depth + 1) for item in value[:_ITEMS]]
        more = ["..."] if len(value) > _ITEMS else []
        alone = "," if len(value) == 1 else ""
        return f"({', '.join([*inner, *more])}{alone})"
    # Other types could say anything about themselves, or raise where they are asked.
    if type(value) in {int, float, bool}:
        return str(value)
    return str.__str__(value) if isinstance(value, str) else ""


def _size(nbytes: float) -> str:
    unit = 0
    while nbytes >= _KILO and unit < len(_UNITS) - 1:
        nbytes /= _KILO
        unit += 1
    return f"{nbytes:.1f} {_UNITS[unit]}" if unit else f"{nbytes} bytes"
