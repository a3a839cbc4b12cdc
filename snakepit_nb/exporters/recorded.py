"""An event as a recording holds it: a row of columns that are always the same, or a line of JSON.

*Rule:* the columns are the catalogue's; what does not fit them exactly is in the column `rest`, as JSON, so
that every event that is JSON comes back as it was.
*Rule:* which keys of an event are measurements is told by the file: a later catalogue may know it otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from snakepit_nb.events import CATALOGUE, ENVELOPE_MEASUREMENTS, ENVELOPE_METADATA
from snakepit_nb.exporters.table import TYPES
from snakepit_nb.telemetry import as_name, dotted, heard

if TYPE_CHECKING:
    import pyarrow as pa

    from snakepit_nb.telemetry import EventName, Record

Heard: TypeAlias = "tuple[EventName, dict[str, float], dict[str, object]]"
"""An event as handlers get it: name, measurements, metadata."""

REST: Final = "rest"
HEADER: Final = b"snakepit_nb"
"""The key of a schema's metadata that says what is recorded here, as JSON."""

VERSION: Final = 1
_FIRST: Final = (
    *("monotonic_ns", "pid", "pool", "worker_id", "request_id", "telemetry_span_context"),
    *("parent_span_context", "count", "synthetic"),
)
_TAKEN: Final = ("event", "time", REST)
_WIDE: Final = 1 << 63
_EXACT: Final = 1 << 53  # a float holds every whole number up to here
_TAG: Final = "__float__"
_DEEPEST: Final = 20
_DIGITS: Final = 10_000  # bits, beyond which Python does not write a number out
_STAMPS: Final = {"time_ns": 3, "monotonic_ns": 4, "pid": 5}  # and their places in a record
_ADDED: Final = frozenset((*_STAMPS, "count"))


class Column(NamedTuple):
    """A column of a recording: its title, the key that it holds, and the catalogue's type of it."""

    title: str
    key: str
    kind: str


def _columns() -> dict[str, Column]:
    keys = [key for key in dict.fromkeys((*_FIRST, *TYPES)) if key != "time_ns"]
    named = {key: Column(f"{key}_" if key in _TAKEN else key, key, TYPES[key]) for key in keys}
    return {"time_ns": Column("time", "time_ns", "time"), **named}


COLUMNS: Final[Mapping[str, Column]] = _columns()
"""The columns by their keys."""


class Keys(NamedTuple):
    """Which keys of an event have columns: those that it measures, and those of its metadata."""

    measured: tuple[str, ...]
    told: tuple[str, ...]


def _catalogued() -> dict[EventName, Keys]:
    always = [key.name for key in ENVELOPE_METADATA]
    found = {}
    for name, event in CATALOGUE.items():
        measured = dict.fromkeys(key.name for key in (*ENVELOPE_MEASUREMENTS, *event.measurements))
        told = dict.fromkeys((*always, *(key.name for key in event.metadata)))
        # What is both (the size of a queue that is full) has one column, which is the measurement's.
        found[name] = Keys(tuple(measured), tuple(key for key in told if key not in measured))
    return found


_KEYS: Final = _catalogued()


def _anywhere() -> Keys:
    measured = {key for each in _KEYS.values() for key in each.measured}
    told = {key for each in _KEYS.values() for key in each.told}
    return Keys(tuple(sorted(measured - told)), tuple(sorted(told - measured)))


_ANY: Final = _anywhere()
"""For an event that the catalogue does not have: what other events always measure, or always tell."""


# Values in columns


def _is_text(value: object) -> bool:
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


_ACCEPTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "int": lambda value: type(value) is int and -_WIDE <= value < _WIDE,
    "time": lambda value: type(value) is int and -_WIDE < value < _WIDE,
    "float": lambda value: type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT),
    "bool": lambda value: type(value) is bool,
    "str": _is_text,
    "list": lambda value: type(value) is list,
}
_NATURAL: Final[Mapping[str, frozenset[type]]] = {
    "int": frozenset((int, type(None))),
    "time": frozenset((int, type(None))),
    "float": frozenset((float, type(None))),
    "bool": frozenset((bool, type(None))),
    "str": frozenset((str, type(None))),
}


def accepts(kind: str, value: object) -> bool:
    """Whether a column of this kind holds the value so that it comes back the same."""
    return value is not None and _ACCEPTS[kind](value)


@cache
def arrow_type(kind: str) -> pa.DataType:
    """The type of a column of this kind."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

    made = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "time": pa.timestamp("ns", "UTC")}
    return made.get(kind, pa.string())


def _array(kind: str, values: list[Any]) -> pa.Array:
    """The values that the column accepts; null for the others."""
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    target = arrow_type(kind)
    if set(map(type, values)) <= _NATURAL.get(kind, frozenset()):
        try:
            return pa.array(values, target)
        except (pa.ArrowInvalid, OverflowError, UnicodeError):
            pass
    taken = [value if accepts(kind, value) else None for value in values]
    if kind == "list":
        taken = [None if value is None else as_json(value) for value in taken]
    return pa.array(taken, target)


# JSON


def as_json(value: object) -> str:
    """A value as JSON in ASCII: numbers that JSON does not have are tagged, what is no JSON is its text.

    Example:
        >>> as_json({"shape": [2, 3], "loss": float("nan")}), from_json('{"__float__":"inf"}')
        ('{"shape":[2,3],"loss":{"__float__":"nan"}}', inf)
    """
    try:
        return _ENCODER.encode(value)
    except Exception:  # noqa: BLE001 - whatever a `__str__` of the user's raises, too
        return _ENCODER.encode(_tame(value, 0))


def from_json(text: str) -> Any:  # noqa: ANN401 - whatever it is
    """The value again.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text, object_hook=_untagged)


def _untagged(found: dict[str, Any]) -> object:
    if len(found) == 1 and found.get(_TAG) in {"nan", "inf", "-inf"}:
        return float(found[_TAG])
    return found


def _plain(value: object) -> object:
    """What stands for an object that is no JSON."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()  # a number of NumPy's
    if isinstance(value, (set, frozenset)):
        return list(value)
    return str(value)[:1000]


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain)


def _tame(value: object, depth: int) -> object:
    """A value as something that can be written."""
    if value is None or isinstance(value, (str, int, float)):
        return _tame_number(value)
    if depth >= _DEEPEST:
        return type(value).__name__
    if isinstance(value, Mapping):
        return {str(key): _tame(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tame(each, depth + 1) for each in value]
    try:
        return _tame(_plain(value), depth + 1)
    except Exception:  # noqa: BLE001 - it has a `__str__` of the user's
        return type(value).__name__


def _tame_number(value: float | str | None) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return {_TAG: str(float(value))}
    if isinstance(value, int) and value.bit_length() > _DIGITS:
        return hex(value)
    return value


def as_line(record: Record) -> str:
    """An event as one line of JSON: its name, and measurements and metadata as handlers get them.

    Example:
        >>> as_line((("app", "hello"), {}, {"who": "world"}, 5, 6, 7, 0))[:57]
        '{"event":"app.hello","measurements":{"count":1},"metadata'
    """
    name, measured, told = heard(record)
    return as_json({"event": dotted(name), "measurements": measured, "metadata": told})


def from_line(text: str) -> Heard:
    """The event of a line.

    Raises:
        ValueError: it is none.

    Example:
        >>> from_line('{"event":"app.hello","measurements":{"count":1},"metadata":{}}')
        (('app', 'hello'), {'count': 1}, {})
    """
    found = from_json(text)
    try:
        name, measured, told = found["event"], found["measurements"], found["metadata"]
        if isinstance(name, str) and isinstance(measured, dict) and isinstance(told, dict):
            return as_name(name), measured, told
    except (TypeError, LookupError):
        pass
    message = "an event is an object with `event`, `measurements` and `metadata`"
    raise ValueError(message)


# Rows


def header(recording: str, part: int) -> dict[str, object]:
    """What a file says of itself: which recording it is of, which part of it, and how to read it."""
    measured = {dotted(name): list(keys.measured) for name, keys in _KEYS.items()}
    return {
        "version": VERSION,
        "recording": recording,
        "part": part,
        "measured": measured,
        "elsewhere": list(_ANY.measured),
    }


def as_schema(told: Mapping[str, object] | None = None) -> pa.Schema:
    """The columns of every recording: `event`, `time`, the envelope, the catalogue's keys, and `rest`.

    Example:
        >>> as_schema().names[:4], as_schema().names[-1]
        (['event', 'time', 'monotonic_ns', 'pid'], 'rest')
    """
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    fields = [("event", pa.string())]
    fields += [(each.title, arrow_type(each.kind)) for each in COLUMNS.values()]
    fields.append((REST, pa.string()))
    return pa.schema(fields, {HEADER: as_json(told or header("", 0)).encode()})


def as_batch(records: Sequence[Record], schema: pa.Schema) -> pa.RecordBatch:
    """Events as rows of a recording, in their order.

    Example:
        >>> batch = as_batch([(("app", "hello"), {}, {"who": "world"}, 5, 6, 7, 0)], as_schema())
        >>> batch["event"][0].as_py(), batch["pid"][0].as_py(), batch["rest"][0].as_py()
        ('app.hello', 7, '{"metadata":{"who":"world"}}')
    """
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    groups: dict[EventName, list[int]] = {}
    for place, record in enumerate(records):
        groups.setdefault(record[0], []).append(place)
    parts = [_rows(name, [records[place] for place in places]) for name, places in groups.items()]
    counts = [len(places) for places in groups.values()]
    order = None
    if len(groups) > 1:
        order = [0] * len(records)
        for number, place in enumerate(place for places in groups.values() for place in places):
            order[place] = number
    picked = None if order is None else pa.array(order, pa.int64())
    used = set().union(*parts)
    columns = []
    for field in schema:
        if field.name not in used:
            columns.append(pa.nulls(len(records), field.type))
            continue
        found = [
            part[field.name] if field.name in part else pa.nulls(count, field.type)
            for part, count in zip(parts, counts, strict=True)
        ]
        column = found[0] if len(found) == 1 else pa.concat_arrays(found)
        columns.append(column if picked is None else column.take(picked))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _keys_of(name: EventName, rows: list[Record]) -> Keys:
    known = _KEYS.get(name)
    if known is not None:
        return known
    measured = {key for record in rows for key in record[1]}
    told = {key for record in rows for key in record[2]}
    # The envelope's always have their columns.
    return Keys(
        tuple(key for key in _ANY.measured if key == "count" or key in measured),
        tuple(key for key in _ANY.told if key in _STAMPS or key in told),
    )


def _rows(name: EventName, rows: list[Record]) -> dict[str, pa.Array]:
    """Events of one name, column by column: each is made in a few calls, however many rows it has."""
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    keys = _keys_of(name, rows)
    found: dict[str, pa.Array] = {}
    measured: list[dict[str, Any]] = [record[1] for record in rows]
    told: list[dict[str, Any]] = [record[2] for record in rows]
    exact = 0  # values that are in a column as they are
    for dicts, part in ((measured, keys.measured), (told, keys.told)):
        for key in part:
            column = COLUMNS[key]
            if key in _ADDED:
                values = _with_added(key, rows, dicts)
                exact -= sum(key not in each for each in dicts)
            else:
                values = [each.get(key) for each in dicts]
            array = _array(column.kind, values)
            nulls = array.null_count
            if nulls < len(rows):
                found[column.title] = array
            exact += len(rows) - nulls
    title = dotted(name)
    clean = title.encode("utf-8", "replace").decode()
    found["event"] = pa.array([clean] * len(rows), pa.string())
    if exact != sum(map(len, measured)) + sum(map(len, told)) or clean != title:
        found[REST] = pa.array([_rest(record, keys, title, clean) for record in rows], pa.string())
    return found


def _with_added(key: str, rows: list[Record], dicts: list[dict[str, Any]]) -> list[Any]:
    """What every event has, whether it brings it along or the bus adds it."""
    if key == "count":
        return [each.get(key, 1) for each in dicts]
    place = _STAMPS[key]
    return [each.get(key, record[place]) for each, record in zip(dicts, rows, strict=True)]


def _rest(record: Record, keys: Keys, title: str, clean: str) -> str | None:
    rest: dict[str, object] = {} if title == clean else {"event": title}
    parts: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
        ("measurements", record[1], keys.measured),
        ("metadata", record[2], keys.told),
    )
    for name, part, known in parts:
        odd = {
            key: value
            for key, value in part.items()
            if key not in known or not accepts(COLUMNS[key].kind, value)
        }
        if odd:
            rest[name] = odd
    return as_json(rest) if rest else None


def as_events(table: pa.Table, told: Mapping[str, Any] | None = None) -> list[Heard]:
    """The events of rows, as handlers got them.

    Args:
        table: Rows of a recording, or of `table.as_table`.
        told: What the file said of itself.

    Example:
        >>> record = (("app", "hello"), {}, {"who": "world"}, 5, 6, 7, 0)
        >>> as_events(as_batch([record], as_schema())) == [heard(record)]
        True
    """
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    given: Mapping[str, Any] = told or header("", 0)
    elsewhere = frozenset(given["elsewhere"])
    measured = {name: frozenset(keys) for name, keys in given["measured"].items()}
    names = table.column("event").to_pylist()
    of_row = [measured.get(name, elsewhere) for name in names]
    parts: list[tuple[dict[str, Any], dict[str, Any]]] = [({}, {}) for _ in names]
    known = {column.title: column for column in COLUMNS.values()}
    for title in table.schema.names:
        values = table.column(title)
        if title in {"event", REST} or values.null_count == len(values):
            continue
        key, kind = (known[title].key, known[title].kind) if title in known else (title, "")
        if kind == "time":
            values = values.cast(pa.int64())
        for place, value in enumerate(values.to_pylist()):
            if value is not None:
                told_value = from_json(value) if kind == "list" else value
                parts[place][0 if key in of_row[place] else 1][key] = told_value
    if REST in table.schema.names:
        for place, text in enumerate(table.column(REST).to_pylist()):
            if text is not None:
                rest = from_json(text)
                names[place] = rest.get("event", names[place])
                parts[place][0].update(rest.get("measurements", ()))
                parts[place][1].update(rest.get("metadata", ()))
    tuples = {name: as_name(name) for name in set(names)}
    return [(tuples[name], *part) for name, part in zip(names, parts, strict=True)]


def as_records(events: Iterable[Heard]) -> list[Record]:
    """Events as the bus records them."""
    return [(name, dict(measured), dict(told), 0, 0, 0, 0) for name, measured, told in events]
