"""A recording in the timeline: as it was, in its own time, without a pool, a clock or a thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import comm
import pytest

from snakepit_nb import events, recordings, telemetry
from snakepit_nb.board import Dashboard, Replayed
from snakepit_nb.dashboard import publishing
from snakepit_nb.dashboard.protocol import FORMATS, Kind
from snakepit_nb.dashboard.replaying import ENDS, Replay
from snakepit_nb.dashboard.snapshot import read
from snakepit_nb.exporters.recording import Recording
from snakepit_nb.pool.pool import Pool
from snakepit_nb.recordings import RecordingTruncated
from tests.dashboard.comms import RecordedComm
from tests.dashboard.story import seen_in
from tests.dashboard.test_timeline import VIEW, Page
from tests.exporters.raw import Log, lived

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def comms(monkeypatch: pytest.MonkeyPatch) -> list[RecordedComm]:
    made: list[RecordedComm] = []
    monkeypatch.setattr(comm, "create_comm", type("Comm", (RecordedComm,), {"made": made}))
    return made


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    made = Page()
    monkeypatch.setattr(publishing, "publisher", lambda: made)
    return made


def recorded(path: Path, *logs: Log) -> Path:
    with Recording(path):
        for log in logs:
            for name, measured, told in log.events:
                telemetry.execute(name, measured, told)
    return path


@pytest.fixture
def board(page: Page, tmp_path: Path) -> Iterator[Replayed]:
    del page
    made = Dashboard.from_recording(recorded(tmp_path / "run.arrows", lived()))
    yield made
    made.close()


def the_comm(board: Replayed) -> RecordedComm:
    found = board.comm
    assert isinstance(found, RecordedComm)
    return found


def replay(*logs: Log, pool: str = "p") -> Replay:
    return Replay(pool, lambda *_: None, [event for log in logs for event in log.events])


# What is shown


def test_a_recorded_life_is_shown_as_the_live_one_was(tmp_path: Path, page: Page) -> None:
    del page
    with Recording(tmp_path / "run.arrows") as recording, Pool(2, name="twice") as pool:
        live = Dashboard(pool)
        for number in range(5):
            pool.submit(abs, number).result()
        failed = pool.submit(int, "twelve")
        assert failed.exception() is not None
        pool.shutdown()
        recording.flush()
        expected = live._feed.frame()
        live.close()
    again = Dashboard.from_recording(tmp_path / "run.arrows")
    found = again._feed.frame()
    again.close()

    def told(frame: Any) -> list[Any]:
        return [(row.kind, row.dur, row.lane, row.life, row.name, row.outcome) for row in seen_in(frame)]

    assert told(found) == told(expected)
    assert found[0]["lanes"] == expected[0]["lanes"]
    ignored = {"reason"}
    assert {k: v for k, v in found[0]["summary"].items() if k not in ignored} == {
        k: v for k, v in expected[0]["summary"].items() if k not in ignored
    }
    shift = abs(found[0]["origin_ms"] - expected[0]["origin_ms"])
    assert shift < 1000


def test_times_are_those_of_the_recording_whenever_and_wherever_it_is_read() -> None:
    frame = replay(lived()).frame()
    assert frame[0]["origin_ms"] == 1e12
    assert frame[0]["now"] == 0.021
    (crash,) = [row for row in seen_in(frame) if row.kind is Kind.CRASH]
    assert crash.t == 0.012
    assert read(frame).origin == 1e9


def test_a_pool_that_was_stopped_is_so_and_one_that_was_not_ends_with_the_recording() -> None:
    whole, cut = lived(), lived()
    del cut.events[-1]
    cut.add(events.REQUEST_DISPATCHED, 20.5, {"queue_us": 0}, request_id=9, worker_id="p-0", command="fit")
    stopped, ends = replay(whole).frame()[0], replay(cut).frame()[0]
    assert (stopped["summary"]["state"], stopped["summary"]["reason"]) == ("stopped", "shutdown")
    assert (ends["summary"]["state"], ends["summary"]["reason"]) == ("running", ENDS)
    assert [each[0] for each in ends["open"]]


def test_hours_in_which_nothing_happens_take_no_time_and_charts_come_back_to_rest() -> None:
    log = Log()
    log.add(events.POOL_STARTED, 0, workers=1, profile="process")
    log.started(1, "p-0")
    hour = 3_600_000.0
    for number in range(30):
        log.request(number, number * hour + 10, number * hour + 11, number * hour + 500)
    frame = replay(log).frame()
    assert frame[0]["summary"]["requests"]["ok"] == 30
    samples = read(frame).samples
    assert len(samples) < 3_000
    assert max(samples["queue"]) == 1
    assert max(samples["throughput"]) > 0.5
    assert 0.0 in samples["throughput"]


def test_more_than_is_kept_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from snakepit_nb.dashboard import history

    log = Log()
    log.started(0, "p-0")
    for number in range(300):
        log.request(number, number, number + 0.1, number + 0.5)
    monkeypatch.setattr(history.History.__init__, "__defaults__", (100, 50, 20))
    source = replay(log)
    summary = source.frame()[0]["summary"]
    assert summary["requests"]["ok"] == 300
    assert summary["forgotten"] == 200


def test_what_no_clock_can_have_said_does_no_harm() -> None:
    log = lived()
    log.add(events.WORKER_STATS, 22, {"memory_mb": 1.0, "cpu_percent": 1.0}, worker_id="p-0")
    for odd in (-1, "noon", None, 1 << 62, 1.5):
        name, measured, told = log.events[-1]
        log.events.insert(3, (name, measured, {**told, "monotonic_ns": odd}))
    assert replay(log).frame()[0]["summary"]["requests"]["ok"] == 2


# Which pool


def test_of_several_pools_one_is_chosen(tmp_path: Path, page: Page) -> None:
    del page
    first, second = lived(), Log("q")
    second.add(events.POOL_STARTED, 30, workers=1, profile="process")
    path = recorded(tmp_path / "run.jsonl", first, second)
    with pytest.raises(ValueError, match=r"run.jsonl is of several pools, 'p', 'q'; say which: pool='p'"):
        Dashboard.from_recording(path)
    with pytest.raises(ValueError, match=r"run.jsonl has no pool 'r'; it has 'p', 'q'"):
        Dashboard.from_recording(path, "r")
    with pytest.raises(TypeError, match="pool: expected the name of a pool that was recorded, got 3"):
        Dashboard.from_recording(path, 3)  # type: ignore[arg-type]
    board = Dashboard.from_recording(path, "q")
    assert repr(board) == "<Dashboard of a recording of pool 'q'>"
    assert [name for name, _, _ in board.events()] == [events.POOL_STARTED]
    board.close()


def test_a_recording_of_no_pool_is_refused(tmp_path: Path) -> None:
    with Recording(tmp_path / "run.arrows", prefix="app"):
        telemetry.execute("app.step")
    with pytest.raises(ValueError, match=r"run.arrows has no event of a pool; it has 1 events in all"):
        Dashboard.from_recording(tmp_path / "run.arrows")
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        Dashboard.from_recording(tmp_path / "rum.arrows")


def test_a_recording_that_was_cut_short_is_shown_as_far_as_it_goes(tmp_path: Path, page: Page) -> None:
    del page
    path = recorded(tmp_path / "run.jsonl", lived())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(RecordingTruncated):
        board = Dashboard.from_recording(path)
    assert board._feed.frame()[0]["summary"]["reason"] == ENDS
    board.close()


# As a widget


def test_a_view_that_asks_gets_everything_and_nothing_can_be_done(board: Replayed) -> None:
    line = the_comm(board)
    threads = set(threading.enumerate())
    line.say({"verb": "hello", "view": "v"})
    batch = line.wait_for(lambda message: message["type"] == "batch")
    assert (batch["key"], len(batch["buffers"])) == (True, 4)
    assert batch["summary"]["crashes"] == 1
    line.say({"verb": "resync"})
    assert len(line.messages("batch")) == 2
    assert (board.follow, board.recorded, board.ended) == (False, True, "this is a recording")
    line.say({"verb": "do", "ask": 7, "action": "stop"})
    answers = [line.answer(7)]
    line.say({"verb": "do", "ask": 8, "action": "scale", "workers": 3})
    answers.append(line.answer(8))
    assert "this is a recording: there is nothing to scale" in answers[1]["text"]
    assert [each for each in set(threading.enumerate()) - threads if "timeline" in each.name] == []


def test_details_are_the_whole_event_as_it_was_recorded(board: Replayed) -> None:
    line = the_comm(board)
    found = None
    for number in range(1, 30):
        line.say({"verb": "details", "ask": number, "id": number})
        answer = line.answer(number)
        if answer["event"] == "snakepit.worker.crash":
            found = answer
    assert found is not None
    assert (found["metadata"]["signal"], found["metadata"]["exit_code"]) == ("SIGSEGV", -11)
    assert found["metadata"]["time_ns"] == str(10**18 + 12_000_000)


def test_it_is_written_as_everything_that_a_live_one_is(board: Replayed, tmp_path: Path) -> None:
    for ending, _ in FORMATS.values():
        assert board.export(tmp_path / f"again{ending}").stat().st_size > 500
    assert recordings.load(tmp_path / "again.parquet").num_rows == len(lived().events)
    assert board.events() == lived().events


def test_closing_leaves_the_report_and_no_model(
    board: Replayed, page: Page, comms: list[RecordedComm]
) -> None:
    handlers = telemetry.list_handlers()
    board.show()
    (shown,) = page.shown.values()
    assert VIEW in shown[0]
    board.close()
    board.close()
    assert VIEW not in shown[-1]
    assert "data:image/svg+xml;base64," in str(shown[-1]["text/html"])
    assert repr(board) == "<Dashboard of a recording of pool 'p', closed>"
    assert all(each.closed for each in comms)
    assert telemetry.list_handlers() == handlers
    assert page.hooks == []
