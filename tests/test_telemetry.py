"""The bus keeps its promises: to emitters, to handlers, and to those who come late."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

Call = tuple[telemetry.EventName, dict[str, float], dict[str, object], object]


class Recorder:
    """A handler that keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(
        self,
        event: telemetry.EventName,
        measurements: dict[str, float],
        metadata: dict[str, object],
        config: object,
    ) -> None:
        self.calls.append((event, measurements, metadata, config))

    def facts(self, key: str) -> list[object]:
        return [metadata[key] for _, _, metadata, _ in self.calls]

    def names(self) -> list[str]:
        return [telemetry.dotted(event) for event, *_ in self.calls]


@pytest.fixture(autouse=True)
def clean_bus() -> Iterator[None]:
    before = {each.handler_id for each in telemetry.list_handlers()}
    telemetry.set_ring_size(0)
    telemetry.set_ring_size(telemetry.RING_SIZE)
    yield
    for each in telemetry.list_handlers():
        if each.handler_id not in before:
            telemetry.detach(each.handler_id)
    telemetry.set_ring_size(telemetry.RING_SIZE)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def fail(*_: object) -> None:
    message = "the password is hunter2"
    raise RuntimeError(message)


def test_a_handler_gets_the_event_with_its_envelope_and_its_config(recorder: Recorder) -> None:
    telemetry.attach("h", ("app", "job", "done"), recorder, {"any": "thing"})
    telemetry.execute(("app", "job", "done"), {"rows": 3}, {"job": "import"})
    ((event, measurements, metadata, config),) = recorder.calls
    assert event == ("app", "job", "done")
    assert measurements == {"count": 1, "rows": 3}
    assert metadata["job"] == "import"
    assert metadata["pid"] == os.getpid()
    assert isinstance(metadata["time_ns"], int)
    assert isinstance(metadata["monotonic_ns"], int)
    assert config == {"any": "thing"}


def test_the_stamps_that_a_forwarded_event_brings_along_are_kept(recorder: Recorder) -> None:
    telemetry.attach("h", "app.job", recorder)
    telemetry.execute("app.job", {"count": 5}, {"pid": 1, "time_ns": 2, "monotonic_ns": 3})
    _, measurements, metadata, _ = recorder.calls[0]
    assert measurements == {"count": 5}
    assert metadata == {"pid": 1, "time_ns": 2, "monotonic_ns": 3}


def test_the_emitters_own_dicts_stay_as_they_were(recorder: Recorder) -> None:
    telemetry.attach("h", "app.job", recorder)
    measurements: dict[str, float] = {"rows": 1}
    metadata: dict[str, object] = {"job": "x"}
    telemetry.execute("app.job", measurements, metadata)
    assert measurements == {"rows": 1}
    assert metadata == {"job": "x"}


def test_what_one_handler_does_to_its_dicts_no_other_handler_and_no_replay_sees(recorder: Recorder) -> None:
    def vandalise(_: object, measurements: dict[str, float], metadata: dict[str, object], __: object) -> None:
        measurements.clear()
        metadata.clear()

    telemetry.attach("vandal", "app.job", vandalise)
    telemetry.attach("h", "app.job", recorder)
    telemetry.execute("app.job", {"rows": 1}, {"job": "x"})
    telemetry.detach("h")
    telemetry.attach("h", "app.job", recorder)
    telemetry.replay("h")
    assert recorder.facts("job") == ["x", "x"]
    assert [numbers for _, numbers, _, _ in recorder.calls] == [{"count": 1, "rows": 1}] * 2


def test_dotted_names_and_tuples_are_the_same_names(recorder: Recorder) -> None:
    telemetry.attach_many("h", ["app.one", ("app", "two")], recorder)
    telemetry.execute(("app", "one"))
    telemetry.execute("app.two")
    assert [call[0] for call in recorder.calls] == [("app", "one"), ("app", "two")]


def test_attach_many_hears_an_event_once_that_is_named_twice(recorder: Recorder) -> None:
    telemetry.attach_many("h", ["app.one", ("app", "one")], recorder)
    telemetry.execute("app.one")
    assert recorder.names() == ["app.one"]


def test_a_prefix_matches_whole_parts_only(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app.job", recorder)
    for name in ("app.job", "app.job.done", "app.jobs", "app", "other.app.job"):
        telemetry.execute(name)
    assert recorder.names() == ["app.job", "app.job.done"]


@pytest.mark.parametrize("everything", [(), ""])
def test_the_empty_prefix_hears_everything(recorder: Recorder, everything: telemetry.Name) -> None:
    telemetry.attach_prefix("h", everything, recorder)
    telemetry.execute("one")
    telemetry.execute("two.three")
    assert recorder.names() == ["one", "two.three"]


@given(
    prefix=st.lists(st.sampled_from("ab"), max_size=3).map(tuple),
    names=st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(tuple), max_size=8),
)
def test_a_prefix_handler_hears_exactly_the_names_that_begin_with_it(
    prefix: tuple[str, ...], names: list[tuple[str, ...]]
) -> None:
    recorder = Recorder()
    telemetry.attach_prefix("h", prefix, recorder)
    try:
        for name in names:
            telemetry.execute(name)
    finally:
        telemetry.detach("h")
    assert [call[0] for call in recorder.calls] == [
        n for n in names if ".".join(n).startswith(".".join(prefix))
    ]


def test_handlers_are_called_in_the_order_of_attachment_whatever_they_listen_to() -> None:
    order: list[str] = []
    telemetry.attach_prefix("first", "app", lambda *_: order.append("first"))
    telemetry.attach("second", "app.job", lambda *_: order.append("second"))
    telemetry.attach_prefix("third", "", lambda *_: order.append("third"))
    telemetry.execute("app.job")
    assert order == ["first", "second", "third"]


def test_attaching_an_id_twice_raises_and_keeps_the_first(recorder: Recorder) -> None:
    telemetry.attach("h", "app.job", recorder)
    with pytest.raises(telemetry.AlreadyAttached, match="'h' is attached already"):
        telemetry.attach_prefix("h", "app", fail)
    telemetry.execute("app.job")
    assert recorder.names() == ["app.job"]


def test_attach_many_with_one_wrong_name_attaches_nothing(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="none empty"):
        telemetry.attach_many("h", ["app.fine", "app..broken"], recorder)
    assert telemetry.list_handlers("app") == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", ValueError),
        ((), ValueError),
        ("app.", ValueError),
        (("app.job",), ValueError),
        (["app"], TypeError),
        (("app", 3), TypeError),
        (None, TypeError),
        (7, TypeError),
    ],
)
def test_a_name_that_is_none_is_refused_everywhere(
    name: object, error: type[Exception], recorder: Recorder
) -> None:
    telemetry.attach_prefix("all", "", recorder)
    with pytest.raises(error, match="an event's name"):
        telemetry.execute(name)  # type: ignore[arg-type]
    with pytest.raises(error, match="an event's name"):
        telemetry.attach("h", name, fail)  # type: ignore[arg-type]
    with pytest.raises(error, match="an event's name"):
        telemetry.span(name)  # type: ignore[arg-type]
    with pytest.raises(error, match="an event's name"):
        telemetry.wants(name)  # type: ignore[arg-type]
    assert recorder.calls == []


def test_other_arguments_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(TypeError, match="use attach"):
        telemetry.attach_many("h", "app.job", fail)
    with pytest.raises(ValueError, match="at least one event"):
        telemetry.attach_many("h", [], fail)
    with pytest.raises(TypeError, match="expected a function"):
        telemetry.attach("h", "app.job", "print")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="id is a string"):
        telemetry.attach(7, "app.job", fail)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="measurements of an event are a mapping"):
        telemetry.execute("app.job", 7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="metadata of an event are a mapping"):
        telemetry.execute("app.job", {}, ["pool"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="from 0 up"):
        telemetry.set_ring_size(-1)
    assert telemetry.list_handlers("app") == []


def test_a_detached_handler_hears_nothing_more_and_its_id_is_free(recorder: Recorder) -> None:
    telemetry.attach("h", "app.job", recorder)
    assert telemetry.detach("h") is True
    assert telemetry.detach("h") is False
    telemetry.execute("app.job")
    assert recorder.calls == []
    telemetry.attach("h", "app.job", recorder)
    telemetry.execute("app.job")
    assert recorder.names() == ["app.job"]


def test_list_handlers_tells_who_hears_a_part_of_the_events(recorder: Recorder) -> None:
    telemetry.attach("exact", "app.job.done", recorder, 1)
    telemetry.attach_prefix("prefix", "app", recorder)
    telemetry.attach_prefix("all", "", recorder)
    telemetry.attach("other", "web.job", recorder)
    assert [each.handler_id for each in telemetry.list_handlers("app.job")] == ["exact", "prefix", "all"]
    assert telemetry.list_handlers("app.job")[0] == telemetry.Attached(
        "exact", (("app", "job", "done"),), None, recorder, 1
    )


def test_wants_says_whether_anybody_listens(recorder: Recorder) -> None:
    assert not telemetry.wants("app.wanted.it")
    telemetry.attach_prefix("h", "app.wanted", recorder)
    assert telemetry.wants("app.wanted.it")
    telemetry.execute("app.wanted.it")
    assert telemetry.wants(("app", "wanted", "it"))
    telemetry.detach("h")
    assert not telemetry.wants("app.wanted.it")


def test_list_events_names_what_was_executed_heard_or_not() -> None:
    telemetry.execute("app.listing.unheard")
    telemetry.wants("app.listing.only_asked_for")
    assert telemetry.list_events("app.listing") == [("app", "listing", "unheard")]


def test_a_handler_that_raises_is_detached_and_told_and_the_others_go_on(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.attach("bad", "app.job", fail)
    telemetry.attach_prefix("good", "", recorder)
    telemetry.execute("app.job", {}, {"n": 1})
    telemetry.execute("app.job", {}, {"n": 2})
    assert recorder.names() == ["app.job", "telemetry.handler.failure", "app.job"]
    _, measurements, failure, _ = recorder.calls[1]
    assert measurements == {"count": 1}
    assert failure["handler_id"] == "bad"
    assert failure["event"] == "app.job"
    assert failure["kind"] == "error"
    assert failure["reason"] == "RuntimeError"
    frames = failure["stacktrace"]
    assert isinstance(frames, list)
    assert [(frame["file"], frame["function"]) for frame in frames] == [(__file__, "fail")]
    assert "'bad' raised RuntimeError at app.job and was detached" in caplog.text


def test_a_failure_tells_no_message_which_might_be_a_secret(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.attach("bad", "app.job", fail)
    telemetry.attach_prefix("good", "telemetry", recorder)
    telemetry.execute("app.job")
    assert "hunter2" not in repr(recorder.calls)
    assert "hunter2" not in caplog.text


def test_a_failing_handler_of_failures_ends_instead_of_going_round(recorder: Recorder) -> None:
    number = iter(range(1000))

    def reattach(*_: object) -> None:
        telemetry.attach(f"again {next(number)}", telemetry.HANDLER_FAILURE, reattach)
        fail()

    telemetry.attach("bad", "app.job", fail)
    telemetry.attach("worse", telemetry.HANDLER_FAILURE, reattach)
    telemetry.execute("app.job")
    assert [each.handler_id for each in telemetry.list_handlers("telemetry")] == ["again 0"]
    telemetry.detach("again 0")
    telemetry.attach("h", telemetry.HANDLER_FAILURE, recorder)
    telemetry.replay("h")
    assert recorder.facts("handler_id") == ["bad", "worse"]


def test_a_broken_logging_set_up_does_not_reach_the_emitter(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise LookupError

    logger = logging.getLogger(telemetry.__name__)
    logger.addFilter(broken)
    telemetry.attach("bad", "app.job", fail)
    try:
        telemetry.execute("app.job")
    finally:
        logger.removeFilter(broken)
    assert caplog.text == ""
    assert telemetry.list_handlers("app.job") == []


def test_a_late_failure_never_detaches_the_successor_of_its_id(recorder: Recorder) -> None:
    def replace_myself_and_fail(*_: object) -> None:
        telemetry.detach("h")
        telemetry.attach("h", "app.job", recorder)
        fail()

    telemetry.attach("h", "app.job", replace_myself_and_fail)
    telemetry.execute("app.job")
    telemetry.execute("app.job")
    assert recorder.names() == ["app.job"]


def test_an_interrupt_inside_a_handler_goes_on_and_detaches_nothing() -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    telemetry.attach("h", "app.job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        telemetry.execute("app.job")
    assert [each.handler_id for each in telemetry.list_handlers("app.job")] == ["h"]


def test_a_handler_that_exits_does_not_end_the_thread_that_emits(recorder: Recorder) -> None:
    telemetry.attach("h", "app.job", lambda *_: sys.exit(3))
    telemetry.attach("failures", telemetry.HANDLER_FAILURE, recorder)
    survived = threading.Event()

    def emit() -> None:
        telemetry.execute("app.job")
        survived.set()

    thread = threading.Thread(target=emit)
    thread.start()
    thread.join()
    assert survived.is_set()
    assert recorder.facts("kind") == ["exit"]


def test_a_handler_may_use_the_bus_even_from_another_thread_while_it_runs(recorder: Recorder) -> None:
    def rearrange(*_: object) -> None:
        telemetry.detach("victim")
        helper = threading.Thread(target=telemetry.attach, args=("new", "app.job", recorder))
        helper.start()
        helper.join()  # would never end if handlers were called under the lock that attach takes
        telemetry.detach("self")

    telemetry.attach("self", "app.job", rearrange)
    telemetry.attach("victim", "app.job", fail)
    telemetry.execute("app.job")
    assert [each.handler_id for each in telemetry.list_handlers("app.job")] == ["new"]


def test_an_emitter_waits_for_no_writer(recorder: Recorder) -> None:
    telemetry.attach("h", "app.job", recorder)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with telemetry._bus.lock:
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        telemetry.execute("app.job", {}, {"n": 1})
        telemetry.execute("app.never.seen.before")
        assert recorder.facts("n") == [1]
    finally:
        release.set()
        holder.join()


def test_no_event_is_lost_or_doubled_while_writers_churn(recorder: Recorder) -> None:
    telemetry.attach_prefix("steady", "app", recorder)
    done = threading.Event()

    def churn(mine: str) -> None:
        while not done.is_set():
            telemetry.attach_prefix(mine, "app", lambda *_: None)
            telemetry.detach(mine)

    def emit(thread: int) -> None:
        for n in range(2000):
            telemetry.execute(("app", "job"), {}, {"thread": thread, "n": n})

    churners = [threading.Thread(target=churn, args=(f"churn {n}",)) for n in range(2)]
    emitters = [threading.Thread(target=emit, args=(n,)) for n in range(3)]
    for thread in churners + emitters:
        thread.start()
    for thread in emitters:
        thread.join()
    done.set()
    for thread in churners:
        thread.join()
    for thread_number in range(3):
        seen = [call[2]["n"] for call in recorder.calls if call[2]["thread"] == thread_number]
        assert seen == list(range(2000))


def test_a_late_handler_gets_the_recent_events_in_order_with_their_own_stamps(recorder: Recorder) -> None:
    witness = Recorder()
    telemetry.attach_prefix("witness", "app", witness)
    for n in range(5):
        telemetry.execute("app.job", {"n": n}, {"n": n})
        telemetry.execute("other.job")
    telemetry.attach_prefix("late", "app", recorder)
    assert telemetry.replay("late") == 5
    assert recorder.calls == witness.calls


def test_each_event_reaches_a_handler_once_live_or_by_replay(recorder: Recorder) -> None:
    telemetry.execute("app.job", {}, {"n": 1})
    telemetry.attach("late", "app.job", recorder)
    telemetry.execute("app.job", {}, {"n": 2})
    assert telemetry.replay("late") == 1
    assert telemetry.replay("late") == 0
    assert recorder.facts("n") == [2, 1]


def _batch(*numbers: int) -> telemetry.Unpack:
    return lambda: [(("app", "step"), {"rows": 1}, {"n": n, "pid": -1}) for n in numbers]


def test_a_batch_keeps_its_order_and_its_stamps_and_is_not_unpacked_for_nobody(recorder: Recorder) -> None:
    unpacked = []

    def unpack() -> list[tuple[telemetry.EventName, dict[str, float], dict[str, object]]]:
        unpacked.append(True)
        return list(_batch(1, 2)())

    telemetry.execute_batch(unpack)
    assert not unpacked
    telemetry.attach("h", "app.step", recorder)
    telemetry.execute_batch(_batch(3, 4))
    assert telemetry.replay("h") == 2
    assert recorder.facts("n") == [3, 4, 1, 2]
    assert recorder.facts("pid") == [-1] * 4
    assert ("app", "step") in telemetry.list_events("app")


def test_a_batch_that_cannot_be_unpacked_costs_a_replay_only_itself(recorder: Recorder) -> None:
    telemetry.execute_batch(_batch(1))
    telemetry.execute_batch(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    telemetry.execute_batch(_batch(2))
    telemetry.attach("h", "app.step", recorder)
    assert telemetry.replay("h") == 2


def test_events_are_forwarded_as_they_are_recorded_whether_or_not_somebody_listens(
    recorder: Recorder,
) -> None:
    forwarded: list[telemetry.Record] = []
    telemetry.forward_to(forwarded.append)
    try:
        assert telemetry.wants("app.job")
        telemetry.execute("app.job", {}, {"n": 1})
        telemetry.attach("h", "app.job", recorder)
        telemetry.execute("app.job", {}, {"n": 2})
    finally:
        telemetry.forward_to(None)
    telemetry.execute("app.job", {}, {"n": 3})
    assert [(record[0], record[2]["n"]) for record in forwarded] == [(("app", "job"), 1), (("app", "job"), 2)]
    assert recorder.facts("n") == [2, 3]
    assert not telemetry.wants("app.nobody")


@given(st.lists(st.sampled_from(["emit", "emit a batch", "attach", "detach", "replay"]), max_size=30))
def test_no_handler_ever_hears_an_event_twice_nor_one_from_a_time_without_it_unless_replayed(
    steps: list[str],
) -> None:
    telemetry.set_ring_size(0)
    telemetry.set_ring_size(telemetry.RING_SIZE)
    recorder: Recorder | None = None
    emitted, live_from, replayed = 0, 0, False
    for step in [*steps, "detach"]:
        if step == "emit":
            telemetry.execute("app.step", {}, {"n": emitted})
            emitted += 1
        elif step == "emit a batch":
            telemetry.execute_batch(_batch(emitted, emitted + 1))
            emitted += 2
        elif step == "attach" and recorder is None:
            recorder, live_from, replayed = Recorder(), emitted, False
            telemetry.attach("h", "app.step", recorder)
        elif step == "replay" and recorder is not None:
            assert telemetry.replay("h") == (0 if replayed else live_from)
            replayed = True
        elif step == "detach" and recorder is not None:
            telemetry.detach("h")
            heard = sorted(n for n in recorder.facts("n") if isinstance(n, int))
            assert heard == list(range(0 if replayed else live_from, emitted))
            recorder = None


def test_the_ring_keeps_the_newest_events_and_can_be_resized(recorder: Recorder) -> None:
    telemetry.set_ring_size(3)
    for n in range(5):
        telemetry.execute("app.job", {}, {"n": n})
    telemetry.set_ring_size(2)
    telemetry.attach("late", "app.job", recorder)
    assert telemetry.replay("late") == 2
    assert recorder.facts("n") == [3, 4]


def test_a_ring_of_nothing_replays_nothing(recorder: Recorder) -> None:
    telemetry.set_ring_size(0)
    telemetry.execute("app.job")
    telemetry.attach("late", "app.job", recorder)
    assert telemetry.replay("late") == 0


def test_the_replay_of_a_handler_that_fails_ends_with_its_detachment(recorder: Recorder) -> None:
    telemetry.execute("app.job")
    telemetry.execute("app.job")
    telemetry.attach("failures", telemetry.HANDLER_FAILURE, recorder)
    telemetry.attach("bad", "app.job", fail)
    assert telemetry.replay("bad") == 1
    assert recorder.facts("handler_id") == ["bad"]


def test_the_replay_of_nobody_says_so() -> None:
    with pytest.raises(telemetry.NotAttached, match="no handler named 'nobody'"):
        telemetry.replay("nobody")


def test_a_span_tells_start_and_stop_bound_by_one_context(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app.load", recorder)
    with telemetry.span("app.load", {"file": "x"}) as work:
        work.measurements["rows"] = 3
        work.metadata["outcome"] = "ok"
    assert recorder.names() == ["app.load.start", "app.load.stop"]
    (_, begun, at_start, _), (_, ended, at_stop, _) = recorder.calls
    assert set(begun) == {"count", "monotonic_time", "system_time"}
    assert set(ended) == {"count", "duration", "rows"}
    assert ended["rows"] == 3
    assert isinstance(at_start["monotonic_ns"], int)
    assert isinstance(at_stop["monotonic_ns"], int)
    assert 0 <= ended["duration"] <= at_stop["monotonic_ns"] - begun["monotonic_time"]
    assert at_start["telemetry_span_context"] == at_stop["telemetry_span_context"]
    assert (at_stop["file"], at_stop["outcome"]) == ("x", "ok")
    assert "outcome" not in at_start


def test_a_span_whose_body_raises_tells_the_exception_by_its_type_and_lets_it_go_on(
    recorder: Recorder,
) -> None:
    telemetry.attach_prefix("h", "app.load", recorder)
    with pytest.raises(RuntimeError, match="hunter2"), telemetry.span("app.load", {"file": "x"}):
        fail()
    assert recorder.names() == ["app.load.start", "app.load.exception"]
    _, measurements, metadata, _ = recorder.calls[1]
    assert "duration" in measurements
    assert (metadata["kind"], metadata["reason"], metadata["file"]) == ("error", "RuntimeError", "x")
    frames = metadata["stacktrace"]
    assert isinstance(frames, list)
    assert [frame["function"] for frame in frames][-1] == "fail"
    assert "hunter2" not in repr(metadata)


@pytest.mark.parametrize(
    ("error", "kind"), [(KeyboardInterrupt, "interrupt"), (SystemExit, "exit"), (ValueError, "error")]
)
def test_a_span_tells_interrupts_and_exits_apart(
    error: type[BaseException], kind: str, recorder: Recorder
) -> None:
    telemetry.attach("h", "app.load.exception", recorder)
    with pytest.raises(error), telemetry.span("app.load"):
        raise error
    assert recorder.facts("kind") == [kind]


def test_the_frames_of_a_deep_recursion_are_bounded(recorder: Recorder) -> None:
    def deeper() -> None:
        deeper()

    telemetry.attach("h", "app.load.exception", recorder)
    with pytest.raises(RecursionError), telemetry.span("app.load"):
        deeper()
    frames = recorder.calls[0][2]["stacktrace"]
    assert isinstance(frames, list)
    assert len(frames) == 50


def test_nested_spans_have_contexts_of_their_own_and_close_inside_out(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app", recorder)
    with telemetry.span("app.outer"), telemetry.span("app.inner"), telemetry.span("app.inner"):
        pass
    assert recorder.names() == [
        "app.outer.start",
        "app.inner.start",
        "app.inner.start",
        "app.inner.stop",
        "app.inner.stop",
        "app.outer.stop",
    ]
    contexts = recorder.facts("telemetry_span_context")
    assert contexts == [*contexts[:3], *contexts[:3][::-1]]
    assert len(set(contexts)) == 3


def test_a_context_that_is_given_is_kept_and_cannot_be_lost(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app", recorder)
    with telemetry.span("app.load", {"telemetry_span_context": "mine"}) as work:
        work.metadata.clear()
    assert recorder.facts("telemetry_span_context") == ["mine", "mine"]


def test_what_the_body_adds_is_not_in_the_start_that_is_replayed(recorder: Recorder) -> None:
    with telemetry.span("app.load") as work:
        work.metadata["outcome"] = "ok"
    telemetry.attach_prefix("late", "app.load", recorder)
    telemetry.replay("late")
    assert ["outcome" in metadata for _, _, metadata, _ in recorder.calls] == [False, True]


def test_a_span_is_used_once(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app", recorder)
    work = telemetry.span("app.load")
    with work:
        pass
    with pytest.raises(RuntimeError, match="used already"), work:
        pass
    assert recorder.names() == ["app.load.start", "app.load.stop"]


def test_a_span_within_another_names_it_as_its_parent_from_start_to_end(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app", recorder)
    with telemetry.span("app.outer") as outer:
        with telemetry.span("app.inner") as inner:
            assert telemetry.current_span() == inner.context
        assert telemetry.current_span() == outer.context
    assert telemetry.current_span() is None
    parents = [metadata.get("parent_span_context") for _, _, metadata, _ in recorder.calls]
    assert parents == [None, outer.context, outer.context, None]


def test_a_span_that_goes_on_elsewhere_is_no_parent_of_what_follows_here(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app", recorder)
    work = telemetry.span("app.job")
    work.__enter__()
    work.leave()
    with telemetry.span("app.next"):
        pass
    ending = threading.Thread(target=work.__exit__, args=(None, None, None))
    ending.start()
    ending.join()
    assert recorder.names() == ["app.job.start", "app.next.start", "app.next.stop", "app.job.stop"]
    assert all("parent_span_context" not in metadata for _, _, metadata, _ in recorder.calls)


def test_another_thread_can_work_within_a_span(recorder: Recorder) -> None:
    telemetry.attach_prefix("h", "app.part", recorder)

    def part(context: str) -> None:
        with telemetry.within(context), telemetry.span("app.part"):
            pass

    with telemetry.span("app.whole") as whole:
        thread = threading.Thread(target=part, args=(whole.context,))
        thread.start()
        thread.join()
    assert recorder.facts("parent_span_context") == [whole.context] * 2


def test_records_of_several_events_reach_who_keeps_them() -> None:
    kept: list[telemetry.Record] = []
    telemetry.attach_many_records("keeper", ["app.one", "app.two"], kept.append)
    for name in ("app.one", "app.two.more", "app.two"):
        telemetry.execute(name)
    assert [telemetry.dotted(record[0]) for record in kept] == ["app.one", "app.two"]
    with pytest.raises(TypeError, match="attach_many_records takes a list of names"):
        telemetry.attach_many_records("other", "app.one", kept.append)


FORK = """
import os, threading
from snakepit_nb import telemetry
telemetry.execute("app.parent")
held = threading.Event()
def hold():
    with telemetry._bus.lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    seen = []
    telemetry.execute("app.child")
    telemetry.attach_prefix("h", "app", lambda event, _, facts, config: seen.append((event[1], facts["pid"])))
    telemetry.execute("app.live")
    telemetry.replay("h")
    os._exit(0 if seen == [("live", os.getpid()), ("child", os.getpid())] else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_has_its_own_pid_and_story_and_is_not_locked_out() -> None:
    result = subprocess.run(
        [sys.executable, "-c", FORK], timeout=60, check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_importing_the_bus_loads_nothing_of_the_house_and_nothing_heavy() -> None:
    code = (
        "import sys; from snakepit_nb import telemetry; "
        "print(*(name for name in sys.modules if name.startswith('snakepit_nb.') or name in "
        "{'logging', 'dataclasses', 'traceback', 'asyncio', 'json', 'numpy', 'IPython'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.split() == ["snakepit_nb.telemetry"]


# Records


def test_a_keeper_gets_what_was_recorded_and_nothing_is_copied_for_it(recorder: Recorder) -> None:
    kept: list[telemetry.Record] = []
    measured, facts = {"rows": 3.0}, {"job": "import", "pid": 7}
    telemetry.attach_records("keeper", "app", kept.append)
    telemetry.attach_prefix("handler", "app", recorder)
    telemetry.execute("app.job.done", measured, facts)
    telemetry.execute("other.job.done", measured, facts)
    (record,) = kept
    assert record[1] is measured
    assert record[2] is facts
    assert telemetry.heard(record) == recorder.calls[0][:3]
    assert telemetry.heard(record)[2]["pid"] == 7


def test_a_keeper_hears_what_was_before_it_in_a_replay_and_is_listed() -> None:
    kept: list[telemetry.Record] = []
    telemetry.execute("app.early")
    telemetry.attach_records("keeper", "app", kept.append)
    assert telemetry.wants("app.early")
    assert telemetry.replay("keeper") == 1
    telemetry.execute("app.late")
    assert [record[0] for record in kept] == [("app", "early"), ("app", "late")]
    (attached,) = telemetry.list_handlers("app")
    assert attached.records
    with pytest.raises(telemetry.AlreadyAttached):
        telemetry.attach_records("keeper", "app", kept.append)


def test_a_keeper_that_fails_is_detached_like_any_handler(recorder: Recorder) -> None:
    telemetry.attach("failures", telemetry.HANDLER_FAILURE, recorder)
    telemetry.attach_records("keeper", "app", lambda _: 1 / 0)
    telemetry.execute("app.job")
    assert telemetry.list_handlers("app.job") == []
    assert recorder.facts("handler_id") == ["keeper"]
