"""Events as a table: typed columns, and files that other programs read back as they were."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from pyarrow import feather, parquet

from snakepit_nb import events
from snakepit_nb.exporters.table import as_table, write
from tests.exporters.raw import ANY, MARKUP, Log, lived

if TYPE_CHECKING:
    from pathlib import Path


def test_the_envelope_comes_first_and_types_are_the_catalogues() -> None:
    table = as_table(lived().events)
    envelope = [
        "event",
        "time",
        "monotonic_ns",
        "pid",
        "pool",
        "worker_id",
        "request_id",
        "count",
        "synthetic",
    ]
    assert table.column_names[:9] == envelope
    types = {field.name: str(field.type) for field in table.schema}
    assert types["event"] == "string"
    assert types["time"] == "timestamp[ns, tz=UTC]"
    assert types["request_id"] == types["bytes"] == types["duration_us"] == "int64"
    assert types["memory_mb"] == types["duration_ms"] == "double"
    assert types["success"] == types["copied"] == "bool"
    assert types["shape"] == "string"


def test_a_row_is_an_event_and_what_it_lacks_is_null() -> None:
    log = lived()
    rows = as_table(log.events).to_pylist()
    assert len(rows) == len(log.events)
    lent = next(row for row in rows if row["event"] == "snakepit.zero_copy.export")
    assert (lent["bytes"], lent["shape"], lent["copied"]) == (8000, "[1000]", False)
    assert lent["duration_us"] is None
    assert lent["time"].value == 10**18 + 2_500_000


def test_a_key_that_is_measured_and_told_is_one_column() -> None:
    log = Log()
    facts = {"queue_size": 3, "available_workers": 0, "busy_workers": 2, "outcome": "queued"}
    log.add(events.POOL_SATURATED, 1, {"queue_size": 3}, max_queue_size=None, **facts)
    assert as_table(log.events)["queue_size"].to_pylist() == [3]


def test_events_of_the_users_own_have_the_types_of_their_values() -> None:
    log = Log()
    log.add(("app", "step"), 1, {"loss": 0.5, "rows": 3}, stage="fit", done=True, sizes=[1, math.nan])
    log.add(("app", "step"), 2, {"loss": 1, "rows": 4}, stage=7)
    table = as_table(log.events)
    assert table["loss"].to_pylist() == [0.5, 1.0]
    assert table["rows"].type == pa.int64()
    assert table["stage"].to_pylist() == ["fit", "7"]
    assert table["done"].to_pylist() == [True, None]
    assert json.loads(table["sizes"][0].as_py()) == [1, "nan"]


def test_parquet_and_arrow_hold_it_exactly(tmp_path: Path) -> None:
    log = lived()
    log.add(("app", "=cmd()"), 30, note=MARKUP.replace("\ud800", ""))
    table = as_table(log.events)
    write(tmp_path / "events.parquet", log.events)
    write(tmp_path / "events.arrow", log.events)
    assert parquet.read_table(tmp_path / "events.parquet").equals(table)
    assert feather.read_table(tmp_path / "events.arrow").equals(table)
    with pa.OSFile(str(tmp_path / "events.arrow")) as file:
        assert pa.ipc.open_file(file).read_all().equals(table)


def test_pandas_reads_all_three(tmp_path: Path) -> None:
    log = lived()
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet), (".arrow", pd.read_feather)):
        write(tmp_path / f"events{ending}", log.events)
        frame = read(tmp_path / f"events{ending}")
        assert len(frame) == len(log.events)
        ran = frame[frame["event"] == "snakepit.request.executed"]
        assert ran["duration_us"].tolist() == [5000, 3000, 1000, 2000]
        assert ran["outcome"].tolist() == ["ok", "error", "crashed", "ok"]


@pytest.mark.parametrize("text", ["=HYPERLINK(0)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1"])
def test_what_a_spreadsheet_would_take_for_a_formula_is_text_in_csv(tmp_path: Path, text: str) -> None:
    log = Log(text)
    log.add((text,), 1, {"load": -1.5}, **{text: "x"})
    write(tmp_path / "events.csv", log.events)
    with (tmp_path / "events.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["pool"] == row["event"] == f"'{text}"
    assert row[f"'{text}"] == "x"
    assert row["load"] == "-1.5"
    assert as_table(log.events)["pool"].to_pylist() == [text]


def test_another_ending_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its ending is none of \.csv, \.parquet, \.arrow"):
        write(tmp_path / "events.xlsx", [])


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_any_event_has_a_row(given: list[Any]) -> None:
    table = as_table(given)
    table.validate(full=True)
    assert table.num_rows == len(given)
    again = parquet_of(table)
    assert again.schema.equals(table.schema)
    assert repr(again.to_pylist()) == repr(table.to_pylist())  # what is no number is not equal to itself


def parquet_of(table: pa.Table) -> pa.Table:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return parquet.read_table(pa.BufferReader(sink.getvalue()))
