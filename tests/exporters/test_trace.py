"""A trace that Perfetto opens: slices nest, every beginning has its end, every track has its name."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakepit_nb import Pool, events, telemetry
from snakepit_nb.exporters.trace import as_trace, write_trace
from tests.exporters.raw import ANY, MARKUP, Log, lived
from tests.exporters.traceformat import faults

if TYPE_CHECKING:
    from pathlib import Path


def slices(trace: dict[str, Any], phase: str = "X") -> list[dict[str, Any]]:
    return [each for each in trace["traceEvents"] if each["ph"] == phase]


def tracks(trace: dict[str, Any]) -> dict[int, str]:
    return {
        each["tid"]: each["args"]["name"] for each in trace["traceEvents"] if each["name"] == "thread_name"
    }


def test_a_pool_that_did_something_of_everything_is_a_sound_trace() -> None:
    trace = as_trace(lived().events, pool="p")
    assert faults(trace) == []
    assert tracks(trace) == {1: "pool", 2: "p-0", 3: "p-1"}
    assert trace["otherData"] == {"pool": "p", "began": "2001-09-09T01:46:40+00:00", "left out": 0}


def test_a_request_is_a_slice_of_its_workers_slot_in_microseconds() -> None:
    trace = as_trace(lived().events, pool="p")
    told = [(each["tid"], each["ts"], each["dur"], each["cat"]) for each in slices(trace)]
    assert told == [
        (2, 4000.0, 5000.0, "request,ok"),
        (3, 4000.0, 3000.0, "request,error"),
        (3, 11000.0, 1000.0, "request,crashed"),
        (3, 18000.0, 2000.0, "request,ok"),
    ]


def test_waiting_loans_cells_and_taints_are_asynchronous() -> None:
    trace = as_trace(lived().events, pool="p")
    begun = {(each["cat"], each["name"]): each["ts"] for each in slices(trace, "b")}
    ended = {(each["cat"], each["id"]): each["ts"] for each in slices(trace, "e")}
    assert begun["loan", "float64 [1000] to_worker"] == 2500.0
    assert ended["loan", "h1"] == 9000.0
    assert begun["span", "In [4]"] == 2000.0
    assert ended["span", "c1"] == 10000.0
    assert begun["taint", "p-1 is tainted"] == 12000.0
    assert ended["taint", "p-1 12000000"] == 17000.0
    assert begun["queue", "waits: fit"] > 0
    assert [each["name"] for each in slices(trace, "n")] == ["mapped"]


def test_counters_tell_the_queue_and_each_workers_memory() -> None:
    counted = slices(as_trace(lived().events, pool="p"), "C")
    waiting = [each["args"]["requests"] for each in counted if each["name"] == "requests waiting"]
    assert max(waiting) == 2
    assert waiting[-1] == 0
    assert [each["args"] for each in counted if each["name"] == "memory of p-0"] == [{"MB": 120.5}]


def test_moments_keep_what_was_told() -> None:
    moments = {each["name"]: each for each in slices(as_trace(lived().events, pool="p"), "i")}
    assert moments["worker.crash"]["args"]["classification"] == "segfault"
    assert moments["worker.crash"]["tid"] == 3
    assert moments["pool.stopped"]["s"] == "p"
    assert "monotonic_ns" not in moments["worker.crash"]["args"]


def test_requests_that_ran_at_once_in_one_worker_have_tracks_of_their_own() -> None:
    log = Log()
    log.started(0, "p-0", capacity=4)
    for number in range(8):
        log.request(number, number, number, number + 3.5)
    trace = as_trace(log.events, pool="p")
    assert faults(trace) == []
    assert tracks(trace) == {1: "pool", 2: "p-0", 3: "p-0 (2)", 4: "p-0 (3)", 5: "p-0 (4)"}


def test_a_request_sent_while_another_ran_in_its_worker_begins_when_that_ended() -> None:
    log = Log()
    log.started(0, "p-0")
    log.request(1, 0, 1, 5)
    log.request(2, 0, 2, 9, ran=5)
    trace = as_trace(log.events, pool="p")
    assert faults(trace) == []
    assert [(each["ts"], each["dur"]) for each in slices(trace)] == [(1000.0, 4000.0), (5000.0, 4000.0)]


def test_what_has_not_ended_goes_on_to_the_end_of_the_trace() -> None:
    cut = [each for each in lived().events if each[2]["monotonic_ns"] < 8_000_000]
    trace = as_trace(cut, pool="p")
    assert faults(trace) == []
    (running,) = [each for each in slices(trace) if each["cat"] == "request,running"]
    assert running["args"]["outcome"] == "runs on"
    assert {"goes on": True} in [each["args"] for each in slices(trace, "e")]


def test_what_began_before_the_history_is_known_from_its_end() -> None:
    late = [each for each in lived().events if each[2]["monotonic_ns"] >= 9_000_000]
    trace = as_trace(late, pool="p")
    assert faults(trace) == []
    assert "lent earlier" in {each["name"] for each in slices(trace, "b")}
    assert "In [4]" in {each["name"] for each in slices(trace, "b")}


def test_events_of_other_pools_are_left_out() -> None:
    other = Log("other")
    other.request(1, 1, 2, 3, worker="other-0")
    assert slices(as_trace(other.events, pool="p")) == []


def test_hostile_texts_are_cut_and_no_number_is_beyond_json() -> None:
    log = Log()
    log.request(1, 0, 1, 2, command=MARKUP + "x" * 10_000_000)
    log.add(("app", MARKUP), 1, {"load": math.nan, "most": math.inf}, note="y" * 10_000_000)
    trace = as_trace(log.events, pool="p")
    assert faults(trace) == []
    assert len(json.dumps(trace)) < 20_000


@settings(max_examples=150, deadline=None)
@given(ANY)
def test_no_event_makes_an_unsound_trace(given: list[Any]) -> None:
    assert faults(as_trace(given, pool="p")) == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 50)] * 3, st.integers(0, 2), st.integers(0, 60)), max_size=30),
    st.integers(1, 4),
    st.randoms(),
)
def test_slices_nest_whatever_the_times_and_the_order(
    times: list[tuple[int, int, int, int, int]], capacity: int, random: Any
) -> None:
    log = Log()
    for slot in range(3):
        log.started(0, f"p-{slot}", capacity)
    for number, (queued, waited, ran, slot, told) in enumerate(times):
        sent = queued + waited
        log.request(number, queued, sent, sent + ran, worker=f"p-{slot}", ran=told)
    random.shuffle(log.events)
    trace = as_trace(log.events, pool="p")
    assert faults(trace) == []
    assert len(slices(trace)) == len(times)


def test_the_validator_sees_what_it_is_for() -> None:
    trace = as_trace(lived().events, pool="p")
    first, *_ = slices(trace)
    wide = {**first, "ts": first["ts"] + 1}
    unended = {**slices(trace, "b")[0], "id": "other"}
    unnamed = {**first, "tid": 99}
    for wrong in (wide, unended, unnamed):
        made = sorted([*trace["traceEvents"], wrong], key=lambda each: each["ts"])
        assert faults({**trace, "traceEvents": made})


def test_a_real_pools_events_are_a_sound_trace(tmp_path: Path) -> None:
    heard: list[Any] = []
    telemetry.attach_prefix("test", "snakepit", lambda *event: heard.append(event[:3]))
    try:
        with Pool(2, name="traced", profile="thread") as pool:
            assert list(pool.map(pow, range(20), range(20))) == [number**number for number in range(20)]
            with pytest.raises(ZeroDivisionError):
                pool.submit(divmod, 1, 0).result()
    finally:
        telemetry.detach("test")
    path = tmp_path / "run.trace.json"
    write_trace(path, heard, pool="traced")
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert faults(trace) == []
    ran = Counter(each["cat"] for each in slices(trace))
    assert ran == {"request,ok": 20, "request,error": 1}
    assert trace["otherData"]["left out"] == 0
    assert events.POOL_STOPPED[-1] in {each["name"].rpartition(".")[2] for each in slices(trace, "i")}
