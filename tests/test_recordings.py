"""Recordings as they are read: tables in the order of time, and what is left of a file that was damaged."""

from __future__ import annotations

import json
import random
import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from snakepit_nb import events, recordings, telemetry
from snakepit_nb.exporters import table
from snakepit_nb.exporters.recorded import COLUMNS
from snakepit_nb.exporters.recording import Recording
from snakepit_nb.recordings import NotARecording, RecordingTruncated
from tests.exporters.raw import Log, lived

if TYPE_CHECKING:
    from pathlib import Path

    from tests.exporters.raw import RawEvent

ENDINGS = (".arrows", ".jsonl")


def recorded_as(path: Path, *batches: list[RawEvent]) -> Path:
    """A recording of these events, each list in a batch of its own."""
    with Recording(path) as recording:
        for batch in batches:
            for name, measured, told in batch:
                telemetry.execute(name, measured, told)
            recording.flush()
    return path


@pytest.fixture(params=ENDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"run{request.param}"


# Tables


def test_a_table_has_every_column_of_the_catalogue_whether_it_was_told_or_not(path: Path) -> None:
    made = recordings.load(recorded_as(path, lived().events[:3]))
    assert isinstance(made, pa.Table)
    assert made.column_names[:6] == ["event", "time", "monotonic_ns", "pid", "pool", "worker_id"]
    assert set(made.column_names) == {"event", *(column.title for column in COLUMNS.values())}
    assert made["exit_code"].null_count == 3
    types = {field.name: str(field.type) for field in made.schema}
    assert (types["time"], types["exit_code"]) == ("timestamp[ns, tz=UTC]", "int64")
    assert (types["success"], types["memory_mb"], types["shape"]) == ("bool", "double", "string")


def test_rows_are_in_the_order_of_time_and_have_the_values_that_were_told(path: Path) -> None:
    log = lived()
    log.add(("app", "late"), 5)  # what a worker says comes after what the kernel did meanwhile
    made = recordings.load(recorded_as(path, log.events))
    stamps = made["monotonic_ns"].to_pylist()
    assert stamps == sorted(stamps)
    rows = {row["event"]: row for row in made.to_pylist()}
    crash = rows["snakepit.worker.crash"]
    assert (crash["exit_code"], crash["signal"], crash["device"]) == (-11, "SIGSEGV", None)
    lent = rows["snakepit.zero_copy.export"]
    assert (lent["bytes"], lent["shape"], lent["copied"]) == (8000, "[1000]", False)
    assert lent["time"].value == 10**18 + 2_500_000
    assert rows["snakepit.worker.stats"]["memory_mb"] == 120.5


def test_keys_of_events_of_ones_own_have_columns_of_their_own(path: Path) -> None:
    log = Log()
    log.add(("app", "step"), 1, {"loss": 0.5, "rows": 3, "bytes": 10}, stage="fit", sizes=[1, 2], rest="x")
    log.add(("app", "step"), 2, {"loss": 1, "rows": 4}, stage=7, time="noon", event="mine", workers="many")
    made = recordings.load(recorded_as(path, log.events)).to_pydict()
    assert (made["loss"], made["rows"], made["bytes"]) == ([0.5, 1.0], [3, 4], [10, None])
    assert (made["stage"], made["rest"]) == (["fit", "7"], ["x", None])
    assert [each and json.loads(each) for each in made["sizes"]] == [[1, 2], None]
    # Names that are taken already.
    assert (made["time_"], made["event_"], made["workers_"]) == (
        [None, "noon"],
        [None, "mine"],
        [None, "many"],
    )
    assert made["workers"] == [None, None]


def test_what_one_event_measures_and_tells_is_there_once(path: Path) -> None:
    log = Log()
    facts = {"queue_size": 3, "available_workers": 0, "busy_workers": 2, "outcome": "queued"}
    log.add(events.POOL_SATURATED, 1, {"queue_size": 3}, max_queue_size=None, **facts)
    recorded_as(path, log.events)
    assert recordings.events(path) == log.events
    made = recordings.load(path)
    assert made["queue_size"].to_pylist() == [3]


def test_pandas_gets_whole_numbers_as_whole_numbers(path: Path) -> None:
    frame = recordings.load(recorded_as(path, lived().events), as_="pandas")
    assert isinstance(frame, pd.DataFrame)
    assert str(frame["request_id"].dtype) == str(frame["bytes"].dtype) == "Int64"
    assert str(frame["success"].dtype) == "boolean"
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    ended = frame[frame["event"] == "snakepit.request.executed"]
    assert ended.sort_values("queue_us", ascending=False)["request_id"].tolist()[0] in {1, 2, 3, 4}
    assert ended["outcome"].tolist() == ["error", "ok", "crashed", "ok"]


def test_what_a_dashboard_exported_is_read_as_well(tmp_path: Path) -> None:
    log = lived()
    for ending in (".arrow", ".parquet"):
        table.write(tmp_path / f"run{ending}", log.events)
        assert recordings.events(tmp_path / f"run{ending}") == [
            (name, measured, {key: value for key, value in told.items() if value is not None})
            for name, measured, told in log.events
        ]
        assert recordings.load(tmp_path / f"run{ending}")["gpu_memory_mb"].null_count == len(log.events)


def test_a_recording_that_goes_on_can_be_read(path: Path) -> None:
    with Recording(path, prefix="app") as recording:
        assert recordings.events(path) == []
        assert len(recordings.load(path)) == 0
        telemetry.execute("app.step")
        recording.flush()
        assert recordings.events(path) == recording.events()


# Damage


def test_of_a_file_that_is_cut_short_all_that_is_whole_is_read_and_what_was_lost_is_said(path: Path) -> None:
    log = lived().events
    data = recorded_as(path, log[:10], log[10:20], log[20:]).read_bytes()
    path.write_bytes(data[:-100])
    with pytest.warns(RecordingTruncated, match=rf"{path.name} is cut short or damaged: \d+ events") as told:
        found = recordings.events(path)
    assert log[:20] == found[:20]
    assert len(found) < len(log)
    warning: Any = told[0].message
    assert (warning.path, warning.events, warning.size) == (path, len(found), len(data) - 100)
    assert 0 < warning.lost_bytes < len(data)
    assert told[0].filename == __file__
    with pytest.warns(RecordingTruncated):
        assert len(recordings.load(path)) == len(found)


def test_what_comes_after_a_damaged_place_is_read(path: Path) -> None:
    log = lived().events
    ends = []
    with Recording(path) as recording:
        for batch in (log[:10], log[10:20], log[20:]):
            for name, measured, told in batch:
                telemetry.execute(name, measured, told)
            recording.flush()
            ends.append(path.stat().st_size)
    middle = (ends[0] + ends[1]) // 2
    data = bytearray(path.read_bytes())
    data[middle : middle + 40] = b"\xa5" * 40
    path.write_bytes(data)
    with pytest.warns(RecordingTruncated):
        found = recordings.events(path)
    assert found[:10] == log[:10]
    assert found[-7:] == log[20:]
    assert len(found) < len(log)


def test_whatever_happens_to_a_file_it_is_read_or_refused(path: Path) -> None:
    log = lived().events
    data = recorded_as(path, log[:9], log[9:18], log[18:]).read_bytes()
    chance = random.Random(1)  # noqa: S311 - the same damage each time
    for _ in range(150):
        harmed = bytearray(data[: chance.randrange(len(data))])
        for _ in range(chance.randrange(4)):
            if harmed:
                harmed[chance.randrange(len(harmed))] = chance.randrange(256)
        path.write_bytes(harmed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecordingTruncated)
            try:
                found = recordings.events(path)
                assert len(recordings.load(path)) == len(found)
            except NotARecording:
                continue
        assert len(found) <= len(log)


def test_what_is_no_recording_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    def refused(content: bytes) -> str:
        (tmp_path / "run.arrows").write_bytes(content)
        with pytest.raises(NotARecording) as raised:
            recordings.load(tmp_path / "run.arrows")
        return str(raised.value)

    assert refused(b"").startswith("run.arrows is empty; expected what a Recording wrote (.arrows, .jsonl)")
    assert "it begins with b'hello " in refused(b"hello world")
    assert "no event" in refused(b'{"a": 1}\n{"b": 2}\n')
    assert "cannot be read" in refused(b"PAR1 and nothing more")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("x", pa.int64())])):
        pass
    assert "another stream of Arrow's" in refused(sink.getvalue().to_pybytes())


def test_a_file_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no recording; nor any other in that folder"):
        recordings.load(tmp_path / "rum.arrows")
    recorded_as(tmp_path / "run.arrows", [])
    with pytest.raises(FileNotFoundError, match=r"beside it there are run\.arrows: .*rum\.arrows"):
        recordings.load(tmp_path / "rum.arrows")
    with pytest.raises(IsADirectoryError, match="name the recording in it"):
        recordings.load(tmp_path)
    with pytest.raises(ValueError, match="as_: expected 'arrow' or 'pandas', got 'polars'"):
        recordings.load(tmp_path / "run.arrows", as_="polars")  # type: ignore[call-overload]
