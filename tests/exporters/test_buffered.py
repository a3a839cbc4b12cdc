"""Queues before slow sinks: order, bounds, drops that are told, and an end that waits for what is left."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from snakepit_nb import telemetry
from snakepit_nb.exporters.buffered import Attachment, Batches, Buffered
from snakepit_nb.testing import capture_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.telemetry import Record

ROOT = Path(__file__).parent.parent.parent
LONG = 30.0


class Sink:
    """Takes what comes, but not before it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, batch: list[Record]) -> None:
        self.entered.set()
        assert self.go_on.wait(LONG)
        self.batches.append([int(record[1]["number"]) for record in batch])

    @property
    def numbers(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


class Kept(Attachment):
    """An exporter that keeps what it takes."""

    def __init__(self, heard: list[str] | None = None, **options: Any) -> None:
        super().__init__(heard, name="kept", interval=0.01, **options)
        self.names: list[str] = []

    def take(self, batch: list[Record]) -> None:
        self.names += [telemetry.dotted(record[0]) for record in batch]


def record(number: int) -> Record:
    return ("app", "step"), {"number": number}, {}, 0, 0, 0, 0


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def queue(sink: Sink) -> Iterator[Batches]:
    made = Batches(sink, size=10, interval=0.01, name="slow")
    yield made
    sink.go_on.set()
    made.close()


def block(queue: Batches, sink: Sink) -> None:
    """Have the sink hold the number -1, and take no more."""
    sink.go_on.clear()
    sink.entered.clear()
    queue.put(record(-1))
    assert sink.entered.wait(LONG)


# Batches


def test_everything_is_written_once_and_in_order(queue: Batches, sink: Sink) -> None:
    for number in range(100):
        queue.put(record(number))
        if number % 10 == 9:
            assert queue.flush()
    assert sink.numbers == list(range(100))
    assert queue.dropped == 0


def test_a_sink_that_blocks_holds_up_nobody_and_what_does_not_fit_is_counted(
    queue: Batches, sink: Sink
) -> None:
    block(queue, sink)
    for number in range(1_000):
        queue.put(record(number))
    assert queue.dropped == 990
    sink.go_on.set()
    assert queue.flush()
    assert sink.numbers == [-1, *range(10)]


def test_drops_are_told_once_for_each_stretch(queue: Batches, sink: Sink) -> None:
    with capture_events("snakepit.telemetry.dropped") as captured:
        for _ in range(2):
            block(queue, sink)
            for number in range(15):
                queue.put(record(number))
            sink.go_on.set()
            assert queue.flush()
        queue.put(record(0))
        assert queue.flush()
    told = [(event.measurements["dropped"], event.metadata["queue"]) for event in captured]
    assert told == [(5, "slow"), (5, "slow")]


def test_a_queue_that_hears_of_its_own_drops_comes_to_rest() -> None:
    sink = Sink()

    def write(batch: list[Record]) -> None:
        sink([each for each in batch if each[0] == ("app", "step")])

    queue = Batches(write, size=3, interval=0.01, name="own")
    telemetry.attach_records("own drops", (), queue.put)
    with capture_events("snakepit.telemetry.dropped") as captured:
        try:
            sink.go_on.clear()
            telemetry.execute("app.step", {"number": 0})
            assert sink.entered.wait(LONG)
            for number in range(1, 10):
                telemetry.execute("app.step", {"number": number})
            sink.go_on.set()
            for _ in range(4):
                assert queue.flush()
            assert sink.numbers == [0, 1, 2, 3]
            # The news of the drops may find the queue full itself, once.
            assert queue.dropped in {6, 7}
            assert sum(event.measurements["dropped"] for event in captured) == queue.dropped
        finally:
            telemetry.detach("own drops")
            assert queue.close()


def test_a_sink_that_raises_is_told_once_in_a_row_and_the_next_batches_are_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written: list[int] = []

    def write(batch: list[Record]) -> None:
        for each in batch:
            number = int(each[1]["number"])
            if number < 3 or number == 5:
                raise SystemExit(number) if number == 1 else OSError(number)
            written.append(number)

    queue = Batches(write, interval=0.01, name="broken")
    with caplog.at_level(logging.ERROR, "snakepit_nb"):
        for number in range(7):
            queue.put(record(number))
            assert queue.flush()
    assert written == [3, 4, 6]
    assert len(caplog.records) == 2
    assert "the queue 'broken' could not write 1 events" in caplog.messages[0]
    assert queue.close()


def test_a_flush_gives_up_when_its_time_is_over(queue: Batches, sink: Sink) -> None:
    assert queue.flush()
    block(queue, sink)
    queue.put(record(0))
    assert not queue.flush(timeout=0.01)
    sink.go_on.set()
    assert queue.flush()
    assert sink.numbers == [-1, 0]


def test_a_close_gives_up_when_its_time_is_over_and_what_waits_is_written_later(
    queue: Batches, sink: Sink
) -> None:
    block(queue, sink)
    queue.put(record(0))
    assert not queue.close(timeout=0.01)
    queue.put(record(1))
    sink.go_on.set()
    assert queue.close()
    assert queue.close()
    assert sink.numbers == [-1, 0]
    assert queue.dropped == 1


def test_what_is_put_while_a_queue_closes_is_not_lost_unless_it_is_counted() -> None:
    sink = Sink()
    queue = Batches(sink, interval=0.001, name="racing")
    begin = threading.Barrier(3)

    def put(first: int) -> None:
        begin.wait(LONG)
        for number in range(first, first + 2_000):
            queue.put(record(number))

    threads = [threading.Thread(target=put, args=(first,)) for first in (0, 10_000)]
    for thread in threads:
        thread.start()
    begin.wait(LONG)
    assert queue.close(LONG)
    for thread in threads:
        thread.join(LONG)
    queue._turn()  # what a thread put just as the queue's own looked for the last time
    assert len(sink.numbers) + queue.dropped == 4_000


def test_a_flush_or_close_out_of_the_sink_itself_waits_for_nothing() -> None:
    answers: list[bool] = []
    queue: Batches

    def write(batch: list[Record]) -> None:
        del batch
        answers.extend((queue.flush(), queue.close()))

    queue = Batches(write, interval=0.01, name="self")
    queue.put(record(0))
    assert queue.flush()
    assert queue.close()
    assert answers == [False, True]


def test_a_queue_that_never_had_anything_to_do_has_no_thread() -> None:
    before = threading.active_count()
    queue = Batches(lambda batch: None, name="idle")  # noqa: ARG005 - a sink
    assert threading.active_count() == before
    assert queue.flush()
    assert queue.close()


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "many"])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="size: expected how many events may wait"):
        Batches(lambda batch: None, size=size)  # noqa: ARG005 - a sink


# Handlers


def test_a_handler_behind_a_queue_is_called_as_any_other_but_elsewhere() -> None:
    calls: list[tuple[Any, ...]] = []
    threads: set[int] = set()

    def handler(*arguments: Any) -> None:
        threads.add(threading.get_ident())
        calls.append(arguments)

    with Buffered(handler) as buffered:
        telemetry.attach("behind", "app.step", buffered, {"to": "there"})
        telemetry.execute("app.step", {"rows": 1}, {"who": "me"})
        telemetry.detach("behind")
        assert buffered.flush()
    ((event, measured, told, config),) = calls
    assert (event, measured, config) == (("app", "step"), {"count": 1, "rows": 1}, {"to": "there"})
    assert told["who"] == "me"
    assert told["pid"] > 0
    assert threading.get_ident() not in threads


def test_a_handler_that_fails_at_one_event_gets_the_others(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[float] = []

    def handler(event: Any, measured: dict[str, float], told: Any, config: Any) -> None:
        del event, told, config
        if measured["number"] in {1, 2}:
            raise ZeroDivisionError
        seen.append(measured["number"])

    with caplog.at_level(logging.ERROR, "snakepit_nb"), Buffered(handler) as buffered:
        telemetry.attach("failing", "app.step", buffered)
        for number in range(5):
            telemetry.execute("app.step", {"number": number})
        telemetry.detach("failing")
        assert buffered.flush()
        assert buffered.dropped == 0
    assert seen == [0, 3, 4]
    assert caplog.messages == ["a handler behind a queue failed at app.step"]


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="function: expected a handler to call, got 3"):
        Buffered(3)  # type: ignore[arg-type]


# Exporters


def test_an_exporter_hears_a_prefix_or_names_and_what_was_before_where_asked() -> None:
    telemetry.execute("app.before")
    with Kept(prefix="app").attach(replay=True) as kept, Kept(["app.one", "app.two"]) as named:
        for name in ("app.one", "app.two", "app.three", "other.one"):
            telemetry.execute(name)
        assert kept.flush()
        assert named.flush()
    assert kept.names[-4:] == ["app.before", "app.one", "app.two", "app.three"]
    assert named.names == ["app.one", "app.two"]


def test_detached_it_finishes_what_came_and_can_be_attached_again() -> None:
    kept = Kept(prefix="app").attach()
    with pytest.raises(telemetry.AlreadyAttached):
        kept.attach()
    telemetry.execute("app.one")
    kept.detach()
    kept.detach()
    telemetry.execute("app.missed")
    kept.attach()
    telemetry.execute("app.two")
    kept.close()
    kept.close()
    assert kept.names == ["app.one", "app.two"]
    with pytest.raises(RuntimeError, match="this kept was closed; make another one"):
        kept.attach()
    with pytest.raises(RuntimeError), kept:
        pass
    assert telemetry.list_handlers("app") == []


# The end


ENDING = """
import sys, threading
from snakepit_nb import telemetry
from snakepit_nb.exporters.buffered import Batches
stuck = threading.Event()
def write(batch):
    if "stuck" in sys.argv:
        stuck.wait()
    for record in batch:
        print(record[1]["number"], flush=True)
queue = Batches(write, interval=60, name="late")
telemetry.attach_records("late", "app", queue.put)
for number in range(3):
    telemetry.execute("app.step", {"number": number})
"""


def test_a_program_that_ends_without_closing_has_its_last_events_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "0\n1\n2\n"


def test_a_sink_that_is_stuck_does_not_keep_a_program_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, "stuck"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


INTERRUPTED = """
import signal, sys, threading, os
from snakepit_nb.exporters.buffered import Batches
entered, go_on = threading.Event(), threading.Event()
def write(batch):
    entered.set()
    go_on.wait()
    print(len(batch), flush=True)
queue = Batches(write, interval=0.001, name="interrupted")
queue.put((("app",), {}, {}, 0, 0, 0, 0))
entered.wait()
timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
timer.start()
try:
    queue.flush(timeout=60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
go_on.set()
queue.put((("app",), {}, {}, 0, 0, 0, 0))
print(queue.flush(), queue.close(), flush=True)
"""


def test_an_interrupt_ends_the_wait_and_not_the_queue() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "interrupted\n1\n1\nTrue True\n"


FORKED = """
import os
from snakepit_nb import telemetry
from snakepit_nb.exporters.buffered import Batches
def write(batch):
    for record in batch:
        os.write(1, b"%d\\n" % record[1]["number"])
queue = Batches(write, interval=60, name="forked")
telemetry.attach_records("forked", "app", queue.put)
telemetry.execute("app.step", {"number": 1})
child = os.fork()
if child == 0:
    telemetry.execute("app.step", {"number": 2})
    queue.flush()
    queue.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
telemetry.execute("app.step", {"number": 3})
queue.close()
"""


def test_a_fork_leaves_the_queue_and_what_waits_in_it_to_the_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "1\n3\n"
