"""Events become spans that end, within parents that were begun, whatever is heard or not."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from snakepit_nb import events
from snakepit_nb.exporters.spans import Spans
from snakepit_nb.telemetry import Record, as_name
from tests.exporters.raw import ANY, Log, lived

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snakepit_nb.exporters.attributes import Facts

MS = 1_000_000


@dataclass(eq=False)
class Drawn:
    """A span as it was drawn, in milliseconds."""

    name: str
    at: float
    parent: Drawn | None
    kind: str
    facts: Facts
    notes: list[tuple[str, float, Facts]] = field(default_factory=list)
    ended: float | None = None
    error: str | None = None

    @property
    def path(self) -> str:
        return self.name if self.parent is None else f"{self.parent.path} > {self.name}"


class Drawing:
    """Holds the rules of a tracer."""

    def __init__(self) -> None:
        self.spans: list[Drawn] = []
        self.broken: list[str] = []

    def begin(self, name: str, at: int, parent: Drawn | None, kind: str, facts: Facts) -> Drawn:
        self._rule(parent is None or parent in self.spans, f"the parent of {name} was not begun")
        self.spans.append(Drawn(name, at / MS - 10**12, parent, kind, dict(facts)))
        return self.spans[-1]

    def note(self, span: Drawn, name: str, at: int, facts: Facts) -> None:
        self._rule(span.ended is None, f"{name} comes after the end of {span.name}")
        span.notes.append((name, at / MS - 10**12, facts))

    def end(self, span: Drawn, at: int, facts: Facts, error: str | None) -> None:
        self._rule(span.ended is None, f"{span.name} ends twice")
        span.ended, span.error = at / MS - 10**12, error
        self._rule(span.ended >= span.at, f"{span.name} ends before it begins")
        span.facts.update(facts)

    def _rule(self, kept: bool, complaint: str) -> None:  # noqa: FBT001 - what is the case
        if not kept:
            self.broken.append(complaint)

    def named(self, name: str) -> Drawn:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def paths(self) -> set[str]:
        return {span.path for span in self.spans}


def records(log: Log | Sequence[Any]) -> list[Record]:
    return [
        (name, measured, {k: v for k, v in facts.items() if k not in {"time_ns", "monotonic_ns"}},
         facts["time_ns"], facts["monotonic_ns"], 7, 0)
        for name, measured, facts in (log.events if isinstance(log, Log) else log)
    ]  # fmt: skip


def drawn(taken: Iterable[Record]) -> Drawing:
    drawing = Drawing()
    spans = Spans(drawing)
    for record in taken:
        spans.take(record)
    spans.close()
    assert drawing.broken == []
    return drawing


def cell(log: Log, part: str, at: float, context: str = "c1", **facts: Any) -> None:
    told = {"telemetry_span_context": context, "cell": 3, "name": "train", **facts}
    log.add(as_name(f"snakepit.cell.{part}"), at, {}, **told)


def within(log: Log, name: str, at: float, context: str, **facts: Any) -> None:
    """An event of a span in the worker, as the kernel gets it."""
    log.add(as_name(name), at, {}, telemetry_span_context=context, worker_id="p-0", request_id=1, **facts)


def nested() -> Log:
    log = Log()
    cell(log, "start", 10)
    log.add(events.REQUEST_QUEUED, 12, {}, request_id=1, command="train", parent_span_context="c1")
    log.add(events.REQUEST_DISPATCHED, 13, {"queue_us": 1500}, request_id=1, command="train", worker_id="p-0")
    within(log, "app.train.start", 15, "u1", model="m")
    within(log, "app.epoch.start", 16, "u2", parent_span_context="u1")
    within(log, "app.note", 17, "x", rows=3)
    within(log, "app.epoch.exception", 18, "u2", parent_span_context="u1", kind="error", reason="OSError",
           stacktrace=[{"file": "a.py", "line": 3, "function": "f"}])  # fmt: skip
    within(log, "app.train.stop", 19, "u1", model="m", loss=0.5)
    ended = {"request_id": 1, "worker_id": "p-0", "command": "train", "outcome": "ok", "success": True}
    figures = {"duration_us": 6000, "queue_us": 2500}
    log.add(events.REQUEST_EXECUTED, 21, figures, parent_span_context="c1", **ended)
    cell(log, "stop", 20)
    return log


def test_what_runs_lies_within_what_asked_for_it() -> None:
    drawing = drawn(records(nested()))
    assert drawing.paths() == {
        "cell train",
        "cell train > request train",
        "cell train > request train > run train",
        "cell train > request train > run train > app.train",
        "cell train > request train > run train > app.train > app.epoch",
    }
    kinds = [drawing.named(name).kind for name in ("cell train", "request train", "run train", "app.train")]
    assert kinds == ["here", "asked", "answered", "here"]


def test_times_are_those_of_the_events() -> None:
    drawing = drawn(records(nested()))
    spans = {span.name: (span.at, span.ended) for span in drawing.spans}
    assert spans == {
        "cell train": (10, 20),
        "request train": (11.5, 21),
        "run train": (13, 20),
        "app.train": (15, 19),
        "app.epoch": (16, 18),
    }


def test_a_run_without_spans_of_its_own_begins_when_the_worker_began() -> None:
    log = Log()
    log.request(1, queued=3, sent=4, ended=9, ran=4)
    drawing = drawn(records(log))
    assert (drawing.named("request fit").at, drawing.named("request fit").ended) == (3, 9)
    assert (drawing.named("run fit").at, drawing.named("run fit").ended) == (4, 8)
    assert drawing.named("request fit").facts == {
        "snakepit.request.id": 1,
        "snakepit.pool": "p",
        "snakepit.command": "fit",
        "snakepit.outcome": "ok",
        "snakepit.queue.duration": 0.001,
    }
    assert drawing.named("run fit").facts == {"snakepit.worker.id": "p-0"}


def test_an_exception_is_told_by_its_type_and_places_alone() -> None:
    epoch = drawn(records(nested())).named("app.epoch")
    assert epoch.error == "OSError"
    told = {"exception.type": "OSError", "exception.stacktrace": 'File "a.py", line 3, in f'}
    assert epoch.notes == [("exception", 18, told)]
    assert "stacktrace" not in epoch.facts


def test_plain_events_and_exceptions_of_a_request_are_told_within_its_run() -> None:
    run = drawn(records(nested())).named("run train")
    assert [(name, at, facts["rows"]) for name, at, facts in run.notes] == [("app.note", 17, 3)]
    log = lived()
    log.events.sort(key=lambda event: event[2]["monotonic_ns"])
    drawing = drawn(records(log))
    crashed = [span for span in drawing.spans if span.error == "crashed"]
    assert [span.name for span in crashed] == ["request fit", "run fit"]
    ((name, _, facts),) = crashed[1].notes
    assert (name, facts["snakepit.classification"]) == ("snakepit.worker.crash", "segfault")
    asked = next(span for span in drawing.spans if span.facts.get("snakepit.request.id") == 1)
    assert [name for name, *_ in asked.notes] == ["snakepit.zero_copy.export", "snakepit.zero_copy.import"]


def test_what_failed_is_named_by_the_exceptions_type() -> None:
    log = Log()
    facts = {"python_type": "ValueError", "library": "numpy", "function": "mean", "error": "RemoteError"}
    log.request(1, 3, 4, 9, outcome="error")
    log.add(events.PYTHON_EXCEPTION_UNMAPPED, 8, {}, request_id=1, **facts)
    log.events.insert(2, log.events.pop())
    drawing = drawn(records(log))
    assert {span.error for span in drawing.spans} == {"ValueError"}
    assert [note[0] for note in drawing.named("run fit").notes] == ["snakepit.python.exception.unmapped"]


def test_a_request_that_nobody_ran_ends_without_a_run() -> None:
    log = Log()
    log.add(events.REQUEST_QUEUED, 3, {}, request_id=1, command="fit")
    log.add(events.REQUEST_WITHDRAWN, 5, {"queue_us": 2000}, request_id=1, command="fit", outcome="cancelled")
    (span,) = drawn(records(log)).spans
    assert (span.name, span.at, span.ended, span.error) == ("request fit", 3, 5, None)
    assert span.facts["snakepit.outcome"] == "cancelled"


def test_who_listens_late_sees_whole_spans_of_what_ends() -> None:
    log = nested()
    log.events = [event for event in log.events if event[0][-1] in {"stop", "executed"}]
    for _, measured, facts in log.events:
        measured.setdefault("duration", 5 * MS if "telemetry_span_context" in facts else 0)
    drawing = drawn(records(log))
    assert drawing.named("app.train").at == 14
    assert drawing.named("cell train").at == 15
    assert [(span.name, span.ended) for span in drawing.spans if span.ended is None] == []


def test_what_never_ends_is_ended_as_unfinished() -> None:
    log = nested()
    log.events = [event for event in log.events if event[0][-1] not in {"stop", "executed"}]
    drawing = drawn(records(log))
    unfinished = [span.name for span in drawing.spans if span.facts.get("snakepit.unfinished")]
    assert unfinished == ["cell train", "request train", "app.train"]


def test_events_fired_by_hand_are_no_spans() -> None:
    log = nested()
    for _, _, facts in log.events:
        facts["synthetic"] = True
    assert drawn(records(log)).spans == []


def test_a_clock_that_is_set_meanwhile_bends_no_span() -> None:
    log = nested()
    for name, _, facts in log.events:
        if name != events.CELL_START:
            facts["time_ns"] -= 3600 * 10**9
    assert {span.name: span.at for span in drawn(records(log)).spans}["app.train"] == 15


def test_of_too_many_the_oldest_are_ended_and_counted() -> None:
    drawing = Drawing()
    spans = Spans(drawing, most=3, remembered=2)
    log = Log()
    for number in range(10):
        cell(log, "start", number, f"c{number}")
        log.add(events.REQUEST_QUEUED, number, {}, request_id=number, command="f")
    for record in records(log):
        spans.take(record)
    assert spans.lost == 7
    assert len(spans) == 3 + 2 + 3
    late = Log()
    late.request(0, 0, 1, 12)  # long forgotten, and yet told whole at its end
    for record in records(late.events[2:]):
        spans.take(record)
    assert drawing.named("request fit").at == 0
    spans.close()
    assert len(spans) == 0
    assert all(span.ended is not None for span in drawing.spans)


STORY = nested().events + lived().events


@given(st.lists(st.sampled_from(STORY), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_in_any_order_spans_end_once_and_nothing_grows(story: list[Any], most: int, remembered: int) -> None:
    drawing = Drawing()
    spans = Spans(drawing, most=most, remembered=remembered)
    for record in records(story):
        spans.take(record)
        assert len(spans) <= 2 * most + 4 * remembered
    spans.close()
    assert drawing.broken == []
    assert all(span.ended is not None for span in drawing.spans)


@given(st.permutations(nested().events))
def test_in_any_order_all_that_was_told_is_drawn(story: list[Any]) -> None:
    # Before anything told what a request is called, it has no name.
    names = {span.name.replace("request train", "request") for span in drawn(records(story)).spans}
    assert {"cell train", "request", "app.train", "app.epoch"} <= names
    assert names & {"run", "run train"}


@settings(max_examples=40)
@given(ANY, st.lists(st.sampled_from(STORY), max_size=12), st.randoms())
def test_what_is_no_proper_event_breaks_no_rule(wrong: list[Any], right: list[Any], random: Any) -> None:
    drawing = Drawing()
    spans = Spans(drawing, most=3, remembered=3)
    story = [(name, measured, facts, 10**18, 10**9, 7, 0) for name, measured, facts in wrong] + records(right)
    random.shuffle(story)
    for record in story:
        with contextlib.suppress(Exception):  # the exporter logs it, and goes on
            spans.take(record)
    spans.close()
    assert drawing.broken == []
    assert all(span.ended is not None for span in drawing.spans)
    assert len(spans) <= 3
