"""Events as a table: one row for each, one column for each figure and fact that any of them has.

*Rule:* the types of the columns are the catalogue's; lists and objects are JSON; what an event lacks is null.
*Rule:* Parquet and Arrow hold what was told, exactly. CSV is what spreadsheets open: there, a text that one
would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a line break) follows an apostrophe.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from snakepit_nb.events import CATALOGUE, ENVELOPE_MEASUREMENTS, ENVELOPE_METADATA
from snakepit_nb.telemetry import dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    import pyarrow as pa

    from snakepit_nb.telemetry import EventName

RawEvent: TypeAlias = "tuple[EventName, Mapping[str, Any], Mapping[str, Any]]"
"""An event as handlers get it: name, measurements, metadata."""

ENDINGS: Final = (".csv", ".parquet", ".arrow")
"""What a table can be written as."""

_ENVELOPE: Final = ("monotonic_ns", "pid", "pool", "worker_id", "request_id", "count", "synthetic")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_WIDE: Final = 1 << 63


def _known() -> dict[str, str]:
    """The type of each key of the catalogue; one that has two is text."""
    types: dict[str, set[str]] = {}
    keys = [*ENVELOPE_MEASUREMENTS, *ENVELOPE_METADATA]
    for event in CATALOGUE.values():
        keys += [*event.measurements, *event.metadata]
    for key in keys:
        types.setdefault(key.name, set()).add(key.type)
    mixed = {frozenset(("int", "float")): "float"}
    return {
        name: next(iter(found)) if len(found) == 1 else mixed.get(frozenset(found), "str")
        for name, found in types.items()
    }


TYPES: Final = _known()
"""The type of each key of the catalogue."""


def as_table(events: Iterable[RawEvent]) -> pa.Table:
    """The events as an Arrow table, one row for each, in their order.

    Columns: `event`, the dotted name; `time`, in UTC to the nanosecond; the rest of the envelope
    (`monotonic_ns`, `pid`, `pool`, `worker_id`, `request_id`, `count`, `synthetic`); then each measurement
    and each key of the metadata that any of the events has. Integers are int64, other numbers float64.

    Args:
        events: Events as handlers get them: name, measurements, metadata.

    Example:
        >>> stamps = {"time_ns": 1_000, "monotonic_ns": 5, "pid": 7}
        >>> event = (("snakepit", "pool", "resized"), {"count": 1}, {**stamps, "workers": 4})
        >>> table = as_table([event])
        >>> table.column_names[:3], table["workers"].to_pylist()
        (['event', 'time', 'monotonic_ns'], [4])
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

    rows = [
        (dotted(tuple(name)), {**metadata, **measured}, list(measured)) for name, measured, metadata in events
    ]
    keys = dict.fromkeys(_ENVELOPE)
    keys.update(dict.fromkeys(key for _, _, measured in rows for key in measured))
    keys.update(dict.fromkeys(key for _, told, _ in rows for key in told))
    keys.pop("time_ns", None)
    columns = {
        "event": pa.array([_clean(name) for name, _, _ in rows], pa.string()),
        "time": pa.array([_time(told.get("time_ns")) for _, told, _ in rows], pa.timestamp("ns", "UTC")),
    }
    for key in keys:
        title = _clean(str(key))
        while title in columns:
            title += "_"
        columns[title] = column(str(key), [told.get(key) for _, told, _ in rows])
    return pa.table(columns)


def write(path: str | PathLike[str], events: Iterable[RawEvent]) -> None:
    """Write the events to a file as its ending says: `.csv`, `.parquet`, or `.arrow` (Arrow's file format).

    Raises:
        ValueError: the name has another ending.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> write(folder / "events.csv", [])
        >>> (folder / "events.csv").read_text().split(",")[:2]
        ['"event"', '"time"']
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        message = f"{target.name!r} does not say what to write: its ending is none of {', '.join(ENDINGS)}"
        raise ValueError(message)
    table = as_table(events)
    if ending == ".parquet":
        from pyarrow import parquet  # noqa: PLC0415 - only needed here

        parquet.write_table(table, target)
    elif ending == ".arrow":
        from pyarrow import feather  # noqa: PLC0415 - only needed here

        feather.write_feather(table, target, compression="uncompressed")
    else:
        from pyarrow import csv  # noqa: PLC0415 - only needed here

        csv.write_csv(_no_formulas(table), target)


def _no_formulas(table: pa.Table) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    columns = []
    for column in table.columns:
        if pa.types.is_string(column.type):
            texts = [
                f"'{text}" if text and text.startswith(_FORMULA) else text for text in column.to_pylist()
            ]
            columns.append(pa.array(texts, pa.string()))
        else:
            columns.append(column)
    names = [f"'{name}" if name.startswith(_FORMULA) else name for name in table.column_names]
    return pa.table(columns, names=names)


def column(key: str, values: list[object]) -> pa.Array:
    """The values of a key as a column: of the catalogue's type where they fit, else of one that they have.

    Example:
        >>> column("rows", [3, None]).type, column("rows", [3, "four"]).to_pylist()
        (DataType(int64), ['3', 'four'])
    """
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    there = [value for value in values if value is not None]
    kind = TYPES.get(key, "")
    # A key that the catalogue knows may be one of the user's own, too.
    if not there or not _fits(kind, there):
        kind = kind if not there else next((each for each in _FITS if _fits(each, there)), "")
    made = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}.get(kind)
    if kind == "float":
        values = [None if value is None else float(value) for value in values]  # type: ignore[arg-type]
    if made is not None:
        return pa.array(values, made)
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _fits(kind: str, there: list[object]) -> bool:
    return kind in {"str", "list"} or (kind in _FITS and all(map(_FITS[kind], there)))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_WIDE <= value < _WIDE


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_int(value)


_FITS: Final[Mapping[str, Callable[[object], bool]]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": _is_int,
    "float": _is_number,
}


def _text(value: object) -> str:
    return _clean(value if isinstance(value, str) else json.dumps(_finite(value), default=str))


def _finite(value: object) -> object:
    """What is no number in JSON, as its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    return value


def _clean(text: str) -> str:
    # Half of a surrogate pair is no text in UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _time(value: object) -> int | None:
    return int(value) if _is_int(value) else None  # type: ignore[call-overload]
