"""A keyframe, read back: the rows, densities, samples and strings of one batch as NumPy columns and names.

*Rule:* a time, a duration or a figure that is no number is not drawn, not told, and raises nothing.
*Rule:* a text leaves here in one line, cut, with what could steer a page or turn its direction written out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from snakepit_nb.dashboard.protocol import (
    DENSITY_COLUMNS,
    POOL_LANE,
    ROW_COLUMNS,
    SAMPLE_COLUMNS,
    STAT_COLUMNS,
)
from snakepit_nb.errors.render import visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frame: TypeAlias = tuple[Mapping[str, Any], Sequence[bytes]]
"""A keyframe batch: its content and its four buffers."""

Column: TypeAlias = "NDArray[Any]"
NAME: Final = 200
_UNKNOWN: Final = "\N{HORIZONTAL ELLIPSIS}"
# Marks of direction that `visible` leaves, line breaks of Unicode's, and what is no character in XML.
_STEERING: Final = {
    **{code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, 0xFFFE, 0xFFFF)},
    **dict.fromkeys((0x2028, 0x2029), " "),
}


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane: the pool's own, or one of a worker slot."""

    number: int
    label: str
    kind: str
    worker: str
    state: str


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of the same length, by name."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.columns["t"])

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def where(self, chosen: Column) -> Table:
        """The chosen rows: a mask, or their places in the order that is wanted."""
        return Table({name: column[chosen] for name, column in self.columns.items()})


@dataclass(frozen=True, slots=True)
class Open:
    """A request that ran when the picture was taken; times in seconds since the origin."""

    lane: int
    name: str
    t: float
    wait: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was known of a pool at one moment; times in seconds since `origin`, which is Unix time."""

    origin: float
    now: float
    lanes: tuple[Lane, ...]
    open: tuple[Open, ...]
    rows: Table
    density: Table
    samples: Table
    stats: Table
    summary: Mapping[str, Any]
    _strings: tuple[str, ...]

    def name(self, index: int, limit: int = NAME) -> str:
        """A string of the dictionary, fit to be shown."""
        return one_line(self._strings[index], limit) if 0 <= index < len(self._strings) else _UNKNOWN

    def label(self, lane: int, limit: int = NAME) -> str:
        """The name of a lane, fit to be shown."""
        return next((one_line(each.label, limit) for each in self.lanes if each.number == lane), "?")

    @property
    def pool(self) -> str:
        """The pool's name, fit to be shown."""
        return one_line(self.summary.get("pool", ""), NAME) or "?"

    def figure(self, *path: str) -> int:
        """A number of the summary by its keys, as `figure("requests", "ok")`; 0 where there is none."""
        value: object = self.summary
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def read(frame: Frame) -> Snapshot:
    """What a keyframe holds.

    Raises:
        ValueError: a buffer is shorter than the content says.

    Example:
        >>> read(({"strings": ["f"], "summary": {"pool": "default"}}, [])).name(0)
        'f'
    """
    content, buffers = frame
    given = [*buffers, b"", b"", b"", b""]
    rows = _finite(_columns(given[0], int(content.get("rows", 0)), ROW_COLUMNS))
    density = _finite(_columns(given[1], int(content.get("density", 0)), DENSITY_COLUMNS))
    lanes = tuple(_lane(each) for each in content.get("lanes", ()))
    strings = tuple(str(each) for each in content.get("strings", ()))

    def name(index: int) -> str:
        return strings[index] if 0 <= index < len(strings) else _UNKNOWN

    running = [each for each in content.get("open", ()) if abs(each[4]) < _CENTURY]
    return Snapshot(
        origin=_number(content.get("origin_ms")) / 1000,
        now=_time(content.get("now")),
        lanes=lanes or (Lane(POOL_LANE, "pool", "pool", "", "idle"),),
        open=tuple(
            Open(int(each[1]), one_line(name(each[2])), float(each[4]), max(0.0, _time(each[5])))
            for each in running
        ),
        rows=rows,
        density=density,
        samples=_records(given[2], int(content.get("samples", 0)), SAMPLE_COLUMNS),
        stats=_records(given[3], int(content.get("stats", 0)), STAT_COLUMNS),
        summary=content.get("summary") or {},
        _strings=strings,
    )


def one_line(text: object, limit: int = NAME) -> str:
    r"""A text from data, fit to be shown: one line, cut, its control characters written out.

    Example:
        >>> one_line("a\nb\x1b\u202e" + "c" * 99, 16)
        'a b\\x1b\\u202ecc…'
    """
    # First cut, so that ten megabytes are not translated.
    short = str(text)[: limit + 1].replace("\n", " ").replace("\t", " ")
    shown = visible(short).translate(_STEERING)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}{_UNKNOWN}"


def _lane(told: Mapping[str, Any]) -> Lane:
    return Lane(
        int(told.get("lane", 0)),
        str(told.get("label", "")),
        str(told.get("kind", "worker")),
        str(told.get("worker") or ""),
        str(told.get("state", "")),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _time(value: object) -> float:
    return min(max(_number(value), -_CENTURY), _CENTURY)


def _columns(buffer: bytes, count: int, layout: tuple[tuple[str, str], ...]) -> Table:
    columns: dict[str, Column] = {}
    offset = 0
    for name, kind in layout:
        dtype = np.dtype(kind)
        columns[name] = np.frombuffer(buffer, dtype, count, offset) if count else np.empty(0, dtype)
        offset += count * dtype.itemsize
    return Table(columns)


def _records(buffer: bytes, count: int, names: tuple[str, ...]) -> Table:
    table = np.frombuffer(buffer, "<f8", count * len(names)) if count else np.empty(0)
    table = table.reshape(count, len(names))
    # A figure far out of any range would have a chart's arithmetic overflow.
    table = np.where(np.abs(table) < _LARGEST, table, np.nan)
    return Table({name: table[:, place] for place, name in enumerate(names)}).where(np.isfinite(table[:, 0]))


_LARGEST: Final = 1e15
_CENTURY: Final = 4e9
"""Seconds; a time or duration beyond is a fault of what made it."""


def _finite(table: Table) -> Table:
    """The rows whose time is one; durations and figures that are none become 0."""
    chosen = table.where(np.abs(table["t"]) < _CENTURY)
    columns = dict(chosen.columns)
    for name, column in columns.items():
        if column.dtype.kind == "f" and name != "t":
            most = _CENTURY if name in {"dur", "width"} else _LARGEST
            sound = (column >= 0) & (column < most)
            columns[name] = np.where(sound, column, 0).astype(np.float64)
    return Table(columns)
