"""A worker of threads, spoken to by hand: who runs what, who is interrupted, and whose text it is."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.errors import unpack_exception
from snakepit_nb.wire import messages
from snakepit_nb.worker.errand import Errand
from snakepit_nb.worker.namespace import Cell
from tests.conversation import HANG, Conversation, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWERS = (messages.Value, messages.Error)


@pytest.fixture
def spoken() -> Iterator[Conversation]:
    with worker(threads=4) as conversation:
        yield conversation


def answers(spoken: Conversation, count: int) -> dict[int, object]:
    """The next answers, by request: a value or an exception."""
    found: dict[int, object] = {}
    while len(found) < count:
        said = spoken.hear()
        if isinstance(said, messages.Value):
            found[said.request_id] = pickle.loads(said.value)
        elif isinstance(said, messages.Error):
            told = {"worker_id": "w", "pool": "p", "request_id": said.request_id, "command": "c"}
            found[said.request_id] = unpack_exception(said.error, **told)  # type: ignore[arg-type]
    return found


def meeting(parties: int) -> Callable[[int], int]:
    """A task that ends when so many run at once."""

    def meets(number: int) -> int:
        import builtins

        barrier = vars(builtins).setdefault("meeting_of_a_test", threading.Barrier(parties))
        barrier.wait(HANG)
        return number

    return meets


def says_and_spins() -> None:
    print("begun", flush=True)
    while True:
        pass


def says_and_sleeps() -> None:
    print("begun", flush=True)
    time.sleep(3600)


def wait_for_text(spoken: Conversation, text: str) -> None:
    while text not in spoken.expect(messages.Output).text:
        pass


def test_calls_run_at_the_same_time_and_the_main_thread_runs_none(spoken: Conversation) -> None:
    for number in range(4):
        spoken.call(number, meeting(4), number)
    assert answers(spoken, 4) == {number: number for number in range(4)}
    spoken.call(5, lambda: threading.current_thread() is threading.main_thread())
    assert answers(spoken, 1) == {5: False}


def test_threads_serve_one_call_after_the_other(spoken: Conversation) -> None:
    for number in range(100):
        spoken.call(number, threading.active_count)
        (active,) = answers(spoken, 1).values()
        assert isinstance(active, int)
        assert active < 10


def test_text_of_calls_at_once_is_told_apart(spoken: Conversation) -> None:
    together = meeting(4)

    def talks(number: int) -> None:
        together(number)
        for _ in range(200):
            print(number, end=" ")
            print(number, end=" ", file=sys.stderr)

    for number in range(1, 5):
        spoken.call(number, talks, number)
    texts: dict[tuple[int, str], str] = defaultdict(str)
    ended: list[int] = []
    while len(ended) < 4:
        said = spoken.hear()
        if isinstance(said, messages.Output):
            assert said.request_id not in ended, "text came after its answer"
            texts[said.request_id, said.stream] += said.text
        elif isinstance(said, messages.Value):
            ended.append(said.request_id)
    expected = {(n, stream): f"{n} " * 200 for n in range(1, 5) for stream in ("stdout", "stderr")}
    assert texts == expected


def test_events_of_a_call_leave_before_its_answer(spoken: Conversation) -> None:
    together = meeting(4)

    def tells(number: int) -> None:
        from snakepit_nb import telemetry

        together(number)
        for _ in range(1200):
            telemetry.execute("app.done", {"n": number})

    for number in range(1, 5):
        spoken.call(number, tells, number)
    from snakepit_nb.wire.forwarding import unpack_events

    told: dict[int, int] = defaultdict(int)
    ended = 0
    while ended < 4:
        said = spoken.hear()
        if isinstance(said, messages.Events):
            for name, measurements, mark in unpack_events(said.events):
                assert (name, measurements) == (("app", "done"), {"n": mark["request_id"]})
                told[int(str(mark["request_id"]))] += 1
        elif isinstance(said, messages.Value):
            assert told[said.request_id] == 1200
            ended += 1


def test_an_interrupt_ends_the_call_that_it_names_and_no_other(spoken: Conversation) -> None:
    for number in (1, 2):
        spoken.call(number, says_and_spins)
        wait_for_text(spoken, "begun")
    spoken.say(messages.Interrupt(2))
    (found,) = answers(spoken, 1).items()
    assert found[0] == 2
    assert isinstance(found[1], KeyboardInterrupt)
    spoken.say(messages.Interrupt(1))
    assert list(answers(spoken, 1)) == [1]
    spoken.call(3, abs, -3)
    assert answers(spoken, 1) == {3: 3}


def test_interrupts_never_reach_a_later_call(spoken: Conversation) -> None:
    for number in range(1, 400):
        spoken.call(number, sum, range(number))
        spoken.say(messages.Interrupt(number))
        spoken.say(messages.Interrupt(number - 1))
        (answer,) = answers(spoken, 1).values()
        # It may meet the call that it names, and then that says so.
        assert answer == sum(range(number)) or isinstance(answer, KeyboardInterrupt)
    spoken.call(1000, abs, -1)
    assert answers(spoken, 1) == {1000: 1}


def test_an_interrupt_that_comes_before_its_call_has_a_thread_is_not_lost() -> None:
    errand = Errand(None, None)
    errand.interrupt()
    with pytest.raises(KeyboardInterrupt):
        errand.begin()
    errand.settle()


def test_an_interrupt_that_has_not_arrived_when_its_call_ends_never_does() -> None:
    errand = Errand(None, None)
    begun, ended, over = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        errand.begin()
        begun.set()
        ended.wait(HANG)  # blocks: the interrupt cannot arrive
        errand.settle()
        for _ in range(1000):
            abs(-1)
        over.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(HANG)
    errand.settle()  # what the thread does as soon as it can, too
    errand.interrupt()
    ended.set()
    thread.join(HANG)
    assert over.is_set()


def test_a_call_that_waits_outside_python_is_interrupted_when_it_comes_back(spoken: Conversation) -> None:
    reading, writing = os.pipe()
    path = f"/proc/{os.getpid()}/fd/{reading}"

    def waits() -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            print("begun", flush=True)
            os.read(fd, 1)
        except KeyboardInterrupt:  # it came before the wait did, or at its end
            os.read(fd, 1)
            raise
        while True:
            pass

    spoken.call(1, waits)
    wait_for_text(spoken, "begun")
    spoken.say(messages.Interrupt(1))
    spoken.call(2, abs, -2)
    assert answers(spoken, 1) == {2: 2}
    os.write(writing, b"xx")
    assert isinstance(answers(spoken, 1)[1], KeyboardInterrupt)
    os.close(reading)
    os.close(writing)


def test_an_interrupt_never_ends_a_thread_that_its_call_starts(spoken: Conversation) -> None:
    def starts() -> None:
        print("begun", flush=True)
        while True:
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

    for number in range(1, 60):
        spoken.call(number, starts)
        wait_for_text(spoken, "begun")
        spoken.say(messages.Interrupt(number))
        assert isinstance(answers(spoken, 1)[number], KeyboardInterrupt)


def test_streams_of_two_calls_are_steered_apart(spoken: Conversation) -> None:
    for number in (1, 2):
        spoken.say(messages.Stream(number, 2))
        spoken.call(number, range, number * 100, number * 100 + 5)
    items: dict[int, list[object]] = defaultdict(list)

    def listen(until: Callable[[], bool]) -> None:
        while not until():
            said = spoken.hear()
            if isinstance(said, messages.Item):
                items[said.request_id].append(pickle.loads(said.value))
            elif isinstance(said, messages.Value):
                items[said.request_id].append("end")

    listen(lambda: len(items[1]) == len(items[2]) == 2)
    spoken.say(messages.More(2, 10))
    listen(lambda: "end" in items[2])
    assert items == {1: [100, 101], 2: [200, 201, 202, 203, 204, "end"]}
    spoken.say(messages.Enough(1))
    listen(lambda: "end" in items[1])
    assert items[1] == [100, 101, "end"]


def test_a_stream_that_waits_for_its_reader_can_be_interrupted(spoken: Conversation) -> None:
    spoken.say(messages.Stream(1, 1))
    spoken.call(1, range, 5)
    assert spoken.expect(messages.Item).request_id == 1
    spoken.say(messages.Interrupt(1))
    assert isinstance(answers(spoken, 1)[1], KeyboardInterrupt)


def test_cells_at_once_have_a_main_a_loop_and_names_of_their_own(spoken: Conversation) -> None:
    source = """
import asyncio, dataclasses, pickle, sys, threading
import builtins
vars(builtins).setdefault("meeting_of_a_test", threading.Barrier(2)).wait(60)
@dataclasses.dataclass
class Mine:
    number: int
await asyncio.sleep(0)
back = pickle.loads(pickle.dumps(Mine(number)))
barrier = vars(builtins)["meeting_of_a_test"]
barrier.wait(60)
ours = sys.modules["__main__"].number == number and __import__("__main__").Mine is Mine
barrier.wait(60)
"""
    cell = Cell(source, "<In [1]>", (), (("back", "back"), ("ours", "ours")), False, False, None)

    def run(number: int) -> tuple[object, object]:
        result = cell({"number": number})
        return result.values["back"].number, result.values["ours"]  # type: ignore[attr-defined]

    for number in (1, 2):
        spoken.call(number, run, number)
    assert answers(spoken, 2) == {1: (1, True), 2: (2, True)}


def test_a_stream_that_a_cell_replaced_is_put_back_when_no_cell_runs(spoken: Conversation) -> None:
    cell = Cell("import sys, io; sys.stdout = io.StringIO()", "<In [1]>", (), None, False, False, None)
    spoken.call(1, lambda: cell({}).values)
    assert answers(spoken, 1) == {1: {}}
    spoken.call(2, lambda: print("heard", end=""))
    assert spoken.expect(messages.Output).text == "heard"


def test_a_function_is_unpacked_once_for_calls_at_once(spoken: Conversation) -> None:
    class Counts:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return _count_up, ()

    counted = Counts()
    together = meeting(3)
    key = b"k" * 16

    def uses(number: int) -> object:
        together(number)
        return counted

    from snakepit_nb.wire.payload import pack

    spoken.say(messages.Define(key, pack(uses, spoken.store).data, b""))
    for number in range(3):
        spoken.say(messages.Call(number, key, pack(((number,), {}), spoken.store).data, b""))
    assert set(answers(spoken, 3).values()) == {1}


def _count_up() -> int:
    import builtins

    counts = vars(builtins)
    counts["count_of_a_test"] = counts.get("count_of_a_test", 0) + 1
    return int(counts["count_of_a_test"])


def test_stop_waits_for_the_calls_that_run(spoken: Conversation) -> None:
    together = meeting(2)
    spoken.call(1, together, 1)
    spoken.call(2, together, 2)
    spoken.say(messages.Stop())
    assert answers(spoken, 2) == {1: 1, 2: 2}
    assert spoken.exit_code() == 0


def test_a_worker_whose_kernel_is_gone_waits_for_no_thread() -> None:
    with worker(threads=2) as spoken:
        spoken.call(1, says_and_sleeps)
        wait_for_text(spoken, "begun")
        spoken.worker.far.close()
        spoken.worker.channel.sock.shutdown(1)
        assert spoken.exit_code() not in {None, 0}


def test_a_process_that_a_call_forks_says_nothing_in_its_name(spoken: Conversation) -> None:
    def forks() -> int:
        pid = os.fork()
        if pid == 0:
            print("from the child")
            return -1
        return os.waitpid(pid, 0)[1]

    spoken.call(1, forks)
    said = spoken.hear()
    assert isinstance(said, ANSWERS), said
    assert pickle.loads(said.value) == 0  # type: ignore[union-attr]
