"""Recordings as they are written: whole batches, files that rotate, and faults that harm nobody."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakepit_nb import recordings, telemetry
from snakepit_nb.exporters import recorded
from snakepit_nb.exporters.recording import Recording
from tests.exporters.raw import KEYS, MARKUP, NAMES, lived

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exporters.raw import RawEvent

ENDINGS = (".arrows", ".jsonl")
ROOT = Path(__file__).parent.parent.parent


def emit(events: list[RawEvent]) -> None:
    for name, measured, told in events:
        telemetry.execute(name, measured, told)


def known(event: tuple[Any, ...]) -> str:
    """An event as one text: NaN is NaN here, and dicts have no order."""
    return json.dumps(event, sort_keys=True)


@pytest.fixture(params=ENDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"run{request.param}"


# What is recorded


def test_every_event_is_in_memory_and_in_the_file_as_handlers_get_it(path: Path) -> None:
    events = lived().events
    with Recording(path) as recording:
        emit(events)
        telemetry.execute("app.hello", {"rows": 3}, {"who": "world", "sizes": [1, 2.5, None]})
        kept = recording.events()
    assert kept[:-1] == events
    assert kept[-1][0] == ("app", "hello")
    assert recordings.events(path) == kept
    assert recording.events() == kept


def test_without_a_path_the_last_events_are_in_memory() -> None:
    with Recording(prefix="app", ring=2) as recording:
        for number in range(5):
            telemetry.execute("app.step", {"number": number})
            telemetry.execute("other.step")
        assert [measured["number"] for _, measured, _ in recording.events()] == [3, 4]
        assert recording.path is None
        assert repr(recording) == "<Recording to memory: 5 events>"


def test_a_recording_attached_late_has_what_was_before(path: Path) -> None:
    telemetry.execute("app.before.recording", {}, {"path": str(path)})
    with Recording(path, prefix="app.before.recording").attach(replay=True) as recording:
        pass
    assert [told["path"] for _, _, told in recording.events() if told["path"] == str(path)] == [str(path)]
    assert recordings.events(path) == recording.events()


def test_a_line_of_json_is_an_event(tmp_path: Path) -> None:
    with Recording(tmp_path / "run.jsonl", prefix="app"):
        telemetry.execute("app.step", {"loss": float("nan")}, {"text": MARKUP, "pid": 1})
    first, second = (tmp_path / "run.jsonl").read_bytes().splitlines()
    assert {"recording", "part", "version"} == set(json.loads(first))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    event = json.loads(second, parse_constant=refuse)
    assert event["event"] == "app.step"
    assert event["measurements"] == {"count": 1, "loss": {"__float__": "nan"}}
    assert event["metadata"]["text"] == MARKUP


def test_the_columns_are_the_same_whatever_is_recorded_and_a_plain_reader_of_arrow_reads_them(
    tmp_path: Path,
) -> None:
    with Recording(tmp_path / "run.arrows", prefix="app"):
        telemetry.execute("app.step", {"loss": 0.5}, {"pool": "p"})
    with pa.OSFile(str(tmp_path / "run.arrows")) as file:
        table = pa.ipc.open_stream(file).read_all()
    assert table.schema.equals(recorded.as_schema())
    assert table["event"].to_pylist() == ["app.step"]
    assert json.loads(table["rest"][0].as_py()) == {"measurements": {"loss": 0.5}}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
SOUND: st.SearchStrategy[list[RawEvent]] = st.lists(
    st.tuples(
        NAMES.filter(lambda name: not any("." in part or not part for part in name)),
        st.dictionaries(
            KEYS | st.sampled_from(["duration_us", "queue_size", "memory_mb", "count"]),
            st.integers(-(2**70), 2**70) | st.floats(),
            max_size=4,
        ),
        st.dictionaries(KEYS, JSON_VALUES, max_size=6),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(SOUND)
def test_whatever_an_event_says_it_comes_back(events: list[RawEvent]) -> None:
    records = [(name, dict(measured), dict(told), 5, 6, 7, 0) for name, measured, told in events]
    expected = [known(telemetry.heard(record)) for record in records]
    batch = recorded.as_batch(records, recorded.as_schema())
    batch.validate(full=True)
    assert [known(event) for event in recorded.as_events(batch)] == expected
    assert [known(recorded.from_line(recorded.as_line(record))) for record in records] == expected


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError


def test_what_is_no_json_does_not_stop_the_recording(path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with Recording(path, prefix="app") as recording:
        for odd in (Hostile(), endless, 10**6000, {1: Hostile()}, {(1, 2): 3}, b"bytes", Path("x")):
            telemetry.execute("app.odd", {}, {"what": odd, "pool": odd})
        telemetry.execute("app.even", {}, {"what": "text"})
    assert recording.failed is None
    found = recordings.events(path)
    assert [name[1] for name, _, _ in found] == ["odd"] * 7 + ["even"]
    assert found[-2][2]["what"] == "x"


# Files


def parts(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_a_full_file_is_set_aside_and_the_oldest_is_let_go(path: Path) -> None:
    with Recording(path, prefix="app", max_bytes=65_536, files=3) as recording:
        for number in range(60):
            telemetry.execute("app.step", {"number": number}, {"text": os.urandom(4_000).hex()})
            recording.flush()
    assert parts(path) == [path.name, f"{path.name}.1", f"{path.name}.2"]
    assert max(each.stat().st_size for each in path.parent.iterdir()) <= 65_536
    numbers = [measured["number"] for _, measured, _ in recordings.events(path)]
    assert numbers == list(range(60))[-len(numbers) :]
    newest = [measured["number"] for _, measured, _ in recordings.events(path, rotated=False)]
    assert 0 < len(newest) < len(numbers)
    assert newest == numbers[-len(newest) :]


def test_what_was_recorded_before_is_set_aside_and_is_another_recording(path: Path) -> None:
    for run in range(3):
        with Recording(path, prefix="app"):
            telemetry.execute("app.run", {"number": run})
    assert [measured["number"] for _, measured, _ in recordings.events(path)] == [2]
    assert [measured["number"] for _, measured, _ in recordings.events(f"{path}.1")] == [1]
    assert [measured["number"] for _, measured, _ in recordings.events(f"{path}.2")] == [0]


def test_where_only_one_file_is_wanted_an_older_one_is_not_overwritten(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="files=1"):
        Recording(path, files=1).attach()
    assert path.read_bytes() == b"precious"


def test_two_recordings_cannot_write_one_file(path: Path) -> None:
    with Recording(path, prefix="app") as first:
        handlers = telemetry.list_handlers()
        with pytest.raises(OSError, match="another recording writes it"):
            Recording(path).attach()
        assert telemetry.list_handlers() == handlers
        telemetry.execute("app.step")
    assert recordings.events(path) == first.events()
    assert parts(path) == [path.name]


def folder_missing(folder: Path) -> Path:
    return folder / "missing" / "run.arrows"


def folder_itself(folder: Path) -> Path:
    (folder / "run.arrows").mkdir()
    return folder / "run.arrows"


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "run.arrows"


def no_file(folder: Path) -> Path:
    os.mkfifo(folder / "run.arrows")
    return folder / "run.arrows"


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (folder_missing, FileNotFoundError, "there is no folder .*missing.*; make it first"),
        (folder_itself, IsADirectoryError, "this is a folder; name a file in it"),
        (below_a_file, NotADirectoryError, ".*file.* is not a folder"),
        (no_file, OSError, "it is not an ordinary file"),
    ],
)
def test_a_path_that_cannot_be_written_is_said_at_once_and_nothing_is_attached(
    make: Callable[[Path], Path], kind: type[OSError], says: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    handlers = telemetry.list_handlers()
    with pytest.raises(kind, match=f"cannot record: {says}") as raised:
        Recording(path).attach()
    assert raised.value.filename == str(path)
    assert telemetry.list_handlers() == handlers


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_said_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="it may not be written; choose another folder"):
            Recording(tmp_path / "run.arrows").attach()
    finally:
        tmp_path.chmod(0o700)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'run.parquet' does not say what to write.*\.arrows, \.jsonl"):
        Recording("run.parquet")
    with pytest.raises(TypeError, match="path: expected where to record to, got 3"):
        Recording(3)  # type: ignore[arg-type]
    for name, value in (("ring", -1), ("max_bytes", 10), ("files", 0), ("files", True), ("size", 0)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            Recording(**{name: value})  # type: ignore[arg-type]


def test_a_closed_recording_is_not_attached_again(path: Path) -> None:
    recording = Recording(path, prefix="app").attach()
    recording.close()
    recording.close()
    with pytest.raises(RuntimeError, match="this recording was closed; make another one"):
        recording.attach()
    assert telemetry.list_handlers("app") == []


# Faults


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_once_and_the_recording_goes_on_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Recording(path, prefix="app") as recording:
        telemetry.execute("app.step", {"number": 0})
        recording.flush()
        write = os.write

        def full(fd: int, data: memoryview) -> int:
            write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        with caplog.at_level(logging.ERROR, "snakepit_nb"):
            for number in (1, 2):
                telemetry.execute("app.step", {"number": number})
                recording.flush()
        monkeypatch.undo()
        assert [measured["number"] for _, measured, _ in recording.events()] == [0, 1, 2]
        assert recording.failed is not None
        assert "No space left on device" in repr(recording)
    (told,) = caplog.messages
    assert "cannot be written any more (No space left on device)" in told
    # What was cut short was taken back.
    assert [measured["number"] for _, measured, _ in recordings.events(path)] == [0]


KILLED = """
import os, signal, sys
from snakepit_nb import telemetry
from snakepit_nb.exporters.recording import Recording
recording = Recording(sys.argv[1], prefix="app", interval=0.01).attach()
for number in range(100):
    telemetry.execute("app.step", {"number": number}, {"text": "x" * 100})
    if number % 10 == 0:
        recording.flush()
recording.flush()
telemetry.execute("app.marker")
recording.flush()
print("flushed", flush=True)
while True:
    telemetry.execute("app.later")
    if sys.stdin.readable() and recording.dropped > 10_000:
        break
"""


def test_a_process_that_is_killed_leaves_a_file_with_all_that_was_flushed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"flushed\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    names = [name[1] for name, _, _ in recordings.events(path)]
    assert names[:101] == ["step"] * 100 + ["marker"]
    assert set(names[101:]) <= {"later"}


FORKED = """
import os, sys
from snakepit_nb import recordings, telemetry
from snakepit_nb.exporters.recording import Recording
recording = Recording(sys.argv[1], prefix="app").attach()
telemetry.execute("app.parent")
recording.flush()
child = os.fork()
if child == 0:
    telemetry.execute("app.child")
    recording.close()
    os._exit(0)
os.waitpid(child, 0)
telemetry.execute("app.after")
print("no close: what is left is written at the end")
"""


def test_a_fork_writes_nothing_into_the_file_and_what_waits_at_the_end_is_written(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(path)], cwd=ROOT, timeout=60, check=True
    )
    assert done.returncode == 0
    assert [name[1] for name, _, _ in recordings.events(path)] == ["parent", "after"]


def test_values_of_numpy_are_recorded_as_the_numbers_that_they_are(path: Path) -> None:
    np = pytest.importorskip("numpy")
    with Recording(path, prefix="app"):
        telemetry.execute("app.step", {"rows": np.int64(3), "bytes": np.int32(7)}, {"loss": np.float32(0.5)})
    ((_, measured, told),) = recordings.events(path)
    assert (measured["rows"], measured["bytes"], told["loss"]) == (3, 7, 0.5)
