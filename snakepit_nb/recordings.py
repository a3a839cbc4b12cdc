"""Recordings of events, read again: as tables, or as the events that they were.

*Rule:* a file that a crash or a full disk cut short gives what is whole, and says what was lost.
*Rule:* a recording is one, however many files it is in; what an earlier one left beside it is not of it.
"""

from __future__ import annotations

import errno
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from snakepit_nb.exporters import recorded, table
from snakepit_nb.exporters.recorded import COLUMNS, HEADER, REST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    import pandas as pd
    import pyarrow as pa

    from snakepit_nb.exporters.recorded import Heard

_MESSAGE: Final = b"\xff\xff\xff\xff"
_END: Final = _MESSAGE + bytes(4)
_EXPECTED: Final = "expected what a Recording wrote (.arrows, .jsonl), or Dashboard.export (.arrow, .parquet)"
_MOST_FILES: Final = 10_000


class NotARecording(ValueError):  # noqa: N818 - named for what is the case
    """The file is no recording; the text says what was expected."""


class RecordingTruncated(UserWarning):
    """A part of a recording could not be read; what is whole was.

    Attributes:
        path: The file.
        events: How many events of it were read.
        lost_bytes: How many bytes of it are no whole events.
        size: How many it has in all.
    """

    def __init__(self, path: Path, events: int, lost_bytes: int, size: int) -> None:
        self.path, self.events, self.lost_bytes, self.size = path, events, lost_bytes, size
        super().__init__(path, events, lost_bytes, size)

    def __str__(self) -> str:
        """What was read and what was lost, in a sentence."""
        return (
            f"{self.path.name} is cut short or damaged: {self.events:,} events are whole and were read; "
            f"{self.lost_bytes:,} of its {self.size:,} bytes are not"
        )


@dataclass(slots=True)
class _File:
    """What one file holds."""

    path: Path
    told: Mapping[str, Any] = field(default_factory=dict)
    tables: list[pa.Table] = field(default_factory=list)
    lines: list[Heard] = field(default_factory=list)
    lost: int = 0

    def events(self) -> list[Heard]:
        told = self.told if "measured" in self.told else None
        return [*self.lines, *(event for each in self.tables for event in recorded.as_events(each, told))]

    def rows(self) -> list[pa.Table]:
        import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

        if self.lines:
            batch = recorded.as_batch(recorded.as_records(self.lines), recorded.as_schema())
            return [pa.Table.from_batches([batch])]
        return self.tables

    def count(self) -> int:
        return len(self.lines) + sum(len(each) for each in self.tables)


@overload
def load(path: str | PathLike[str], *, as_: Literal["arrow"] = "arrow", rotated: bool = True) -> pa.Table: ...
@overload
def load(path: str | PathLike[str], *, as_: Literal["pandas"], rotated: bool = True) -> pd.DataFrame: ...
def load(
    path: str | PathLike[str], *, as_: Literal["arrow", "pandas"] = "arrow", rotated: bool = True
) -> pa.Table | pd.DataFrame:
    """A recording as a table: a row for each event, in the order of time, a column for each key.

    First come `event`, the dotted name, `time`, in UTC to the nanosecond, and the rest of the envelope, then
    every key of the catalogue, whether it was told or not, then the keys of events of your own. Lists are
    JSON.

    Args:
        path: What `exporters.recording.Recording` wrote, or `Dashboard.export` as `.arrow` or `.parquet`.
        as_: `arrow` for a `pyarrow.Table`, `pandas` for a `DataFrame` (of nullable types).
        rotated: Whether the older files of the same recording (`.1`, `.2`) are read as well.

    Raises:
        FileNotFoundError: there is no such file.
        NotARecording: it is none.
        ValueError: `as_` is neither.
        ImportError: pandas is not there.

    Warns:
        RecordingTruncated: a file was cut short, or is damaged; what is whole is in the table.

    Example:
        >>> import tempfile
        >>> from snakepit_nb import telemetry
        >>> from snakepit_nb.exporters.recording import Recording
        >>> path = Path(tempfile.mkdtemp()) / "run.arrows"
        >>> with Recording(path, prefix="app"):
        ...     telemetry.execute("app.job.done", {"rows": 3}, {"job": "import"})
        >>> load(path).select(["event", "count", "rows", "job"]).to_pylist()
        [{'event': 'app.job.done', 'count': 1, 'rows': 3, 'job': 'import'}]
    """
    kind: object = as_
    if kind not in {"arrow", "pandas"}:
        message = f"as_: expected 'arrow' or 'pandas', got {kind!r}"
        raise ValueError(message)
    made = _as_table(_files(path, rotated=rotated))
    return made if as_ == "arrow" else _as_frame(made)


def events(path: str | PathLike[str], *, rotated: bool = True) -> list[Heard]:
    """The events of a recording as handlers got them, and in that order: name, measurements, metadata.

    Args, errors and warnings are those of `load`.

    Example:
        >>> import tempfile
        >>> from snakepit_nb import telemetry
        >>> from snakepit_nb.exporters.recording import Recording
        >>> path = Path(tempfile.mkdtemp()) / "run.jsonl"
        >>> with Recording(path, prefix="app"):
        ...     telemetry.execute("app.job.done", {"rows": 3})
        >>> [(name, measured["rows"]) for name, measured, told in events(path)]
        [(('app', 'job', 'done'), 3)]
    """
    return [event for file in _files(path, rotated=rotated) for event in file.events()]


# Files


def _files(path: str | PathLike[str], *, rotated: bool) -> list[_File]:
    """The files of a recording, the oldest first."""
    target = Path(path).expanduser()
    if not target.exists():
        text = f"there is no recording; {_beside(target)}"
        raise FileNotFoundError(errno.ENOENT, text, str(target))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder; name the recording in it", str(target))
    newest = _read(target)
    found = [newest]
    recording = newest.told.get("recording")
    if rotated and recording:
        for older in _older(target):
            try:
                file = _read(older)
            except NotARecording:
                continue
            if file.told.get("recording") != recording:
                break
            found.insert(0, file)
    for file in found:
        if file.lost:
            warning = RecordingTruncated(file.path, file.count(), file.lost, file.path.stat().st_size)
            warnings.warn(warning, stacklevel=3)
    return found


def _beside(target: Path) -> str:
    try:
        near = sorted(
            each.name
            for each in target.absolute().parent.iterdir()
            if re.search(r"\.(arrows?|jsonl|parquet)(\.\d+)?$", each.name)
        )
    except OSError:
        return f"nor a folder {str(target.parent)!r}"
    return f"beside it there are {', '.join(near[:10])}" if near else "nor any other in that folder"


def _older(target: Path) -> Iterator[Path]:
    found = re.fullmatch(r"(.+)\.(\d+)", target.name)
    base, first = (found[1], int(found[2])) if found else (target.name, 0)
    for number in range(first + 1, _MOST_FILES):
        older = target.with_name(f"{base}.{number}")
        if not older.is_file():
            return
        yield older


def _read(path: Path) -> _File:
    with path.open("rb") as opened:
        start = opened.read(6)
    if not start:
        message = f"{path.name} is empty; {_EXPECTED}"
        raise NotARecording(message)
    if start == b"ARROW1" or start.startswith(b"PAR1"):
        return _read_table(path, parquet=start.startswith(b"PAR1"))
    if start.startswith(_MESSAGE):
        return _read_stream(path)
    if start.startswith(b"{"):
        return _read_lines(path)
    message = f"{path.name} is no recording: it begins with {start!r}; {_EXPECTED}"
    raise NotARecording(message)


def _read_table(path: Path, *, parquet: bool) -> _File:
    """What `Dashboard.export` wrote."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

    try:
        if parquet:
            from pyarrow.parquet import read_table  # noqa: PLC0415 - only needed here

            found = read_table(path)
        else:
            with pa.OSFile(str(path)) as opened:
                found = pa.ipc.open_file(opened).read_all()
        found.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        message = f"{path.name} cannot be read: {error}; these formats are whole or nothing"
        raise NotARecording(message) from error
    if "event" not in found.column_names:
        message = f"{path.name} is a table without a column 'event'; {_EXPECTED}"
        raise NotARecording(message)
    return _File(path, tables=[found])


def _read_stream(path: Path) -> _File:
    """Arrow's stream: message by message, and after one that is damaged from the next one on."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

    data = path.read_bytes()
    source = pa.BufferReader(data)
    try:
        schema = pa.ipc.read_schema(pa.ipc.read_message(source))
        told = recorded.from_json(schema.metadata[HEADER].decode())
        if not {"recording", "measured", "elsewhere"} <= set(told) or "event" not in schema.names:
            raise ValueError  # noqa: TRY301 - as for what is no JSON
    except (pa.ArrowException, OSError, EOFError, ValueError, LookupError, TypeError) as error:
        message = (
            f"{path.name} has no whole beginning of a recording, or is another stream of Arrow's; {_EXPECTED}"
        )
        raise NotARecording(message) from error
    file = _File(path, told)
    at, whole = source.tell(), source.tell()
    while at < len(data):
        batch = None
        try:
            source.seek(at)
            message = pa.ipc.read_message(source)
            after = source.tell()
            if message.type == "record batch":
                batch = pa.ipc.read_record_batch(message, schema)
                batch.validate(full=True)
        except (EOFError, pa.ArrowException, OSError, ValueError):
            batch = None
            if _END.startswith(data[at : at + len(_END)]):  # as it was closed, or nearly
                whole, at = whole + len(_END), at + len(_END)
                continue
            after = _next_message(data, at)
        else:
            whole += after - at
            if batch is not None:
                file.tables.append(pa.Table.from_batches([batch]))
        at = after
    file.lost = max(0, len(data) - whole)
    return file


def _next_message(data: bytes, at: int) -> int:
    """Where the next message may begin: each does at a multiple of eight."""
    found = data.find(_MESSAGE, at + 1)
    while found >= 0 and found % 8:
        found = data.find(_MESSAGE, found + 1)
    return found if found >= 0 else len(data)


def _read_lines(path: Path) -> _File:
    file = _File(path)
    with path.open("rb") as opened:
        for number, line in enumerate(opened):
            try:
                found = recorded.from_json(line.decode()) if number == 0 else None
                if isinstance(found, dict) and "recording" in found:
                    file.told = found
                elif line.endswith(b"\n"):
                    file.lines.append(recorded.from_line(line.decode()))
                else:
                    file.lost += len(line)
            except ValueError:
                file.lost += len(line)
    if not file.told and not file.lines:
        message = f"{path.name} has lines of JSON, perhaps, but no event; {_EXPECTED}"
        raise NotARecording(message)
    return file


# Tables


def _as_table(files: list[_File]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here
    import pyarrow.compute as pc  # noqa: PLC0415 - as above

    parts = [_completed(each) for file in files for each in file.rows()]
    empty = recorded.as_schema().empty_table()
    whole = pa.concat_tables([empty, *parts], promote_options="permissive").combine_chunks()
    whole = _spread(whole.replace_schema_metadata(None))
    # What has no such stamp stays behind what was heard before it.
    stamps = pc.fill_null(pc.fill_null_forward(whole["monotonic_ns"]), 0)
    order = pa.table({"stamp": stamps, "place": pa.array(range(len(whole)), pa.int64())})
    return whole.take(pc.sort_indices(order, sort_keys=[("stamp", "ascending"), ("place", "ascending")]))


def _completed(part: pa.Table) -> pa.Table:
    """With every column of the catalogue, in its type."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only needed here

    for wanted in recorded.as_schema():
        at = part.schema.get_field_index(wanted.name)
        if at < 0:
            part = part.append_column(wanted, pa.nulls(len(part), wanted.type))
        elif part.schema.field(at).type != wanted.type:
            try:
                part = part.set_column(at, wanted, part.column(at).cast(wanted.type))
            except pa.ArrowException:
                # A key of the user's own, of the same name; its values are told below that of the catalogue.
                part = part.set_column(at, f"{wanted.name}_", part.column(at))
                part = part.append_column(wanted, pa.nulls(len(part), wanted.type))
    return part


def _spread(whole: pa.Table) -> pa.Table:
    """What had no column of its own gets one: keys of the user's events, most of all."""
    found: dict[str, dict[int, Any]] = {}
    for place, text in enumerate(whole[REST].to_pylist()):
        if text is not None:
            rest = recorded.from_json(text)
            for key, value in {**rest.get("metadata", {}), **rest.get("measurements", {})}.items():
                if value is not None:
                    found.setdefault(key, {})[place] = value
    whole = whole.drop_columns([REST])
    for key, told in found.items():
        own: Mapping[int, Any] = told
        if key in COLUMNS:
            whole, own = _fill(whole, COLUMNS[key], told)
        if own:
            title = key.encode("utf-8", "replace").decode()
            while title in whole.column_names:
                title += "_"
            values = [own.get(place) for place in range(len(whole))]
            whole = whole.append_column(title, table.column(key, values))
    return whole


def _fill(
    whole: pa.Table, column: recorded.Column, told: Mapping[int, Any]
) -> tuple[pa.Table, Mapping[int, Any]]:
    """The table with what fits into the column of the key; and what does not, being of another type, say."""
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    values = whole[column.title].to_pylist()
    left = {}
    for place, value in told.items():
        if column.kind == "time" or values[place] is not None or not recorded.accepts(column.kind, value):
            left[place] = value
        else:
            values[place] = recorded.as_json(value) if column.kind == "list" else value
    if len(left) == len(told):
        return whole, left
    at = whole.schema.get_field_index(column.title)
    kind = whole.schema.field(at)
    return whole.set_column(at, kind, pa.array(values, kind.type)), left


def _as_frame(made: pa.Table) -> pd.DataFrame:
    try:
        import pandas as pd  # noqa: PLC0415 - heavy, and not everybody's
    except ImportError as error:
        message = "as_='pandas' needs pandas: pip install pandas"
        raise ImportError(message) from error
    import pyarrow as pa  # noqa: PLC0415 - is loaded already

    types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    # Without these, whole numbers would be floats where one event has none, and large ones lose their end.
    frame: pd.DataFrame = made.to_pandas(types_mapper=types.get)
    return frame
