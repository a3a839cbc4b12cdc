"""What a worker's streams promise: when text leaves, in which order, and what user code may do to them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self, cast

import pytest

from snakepit_nb.worker import streams as room
from snakepit_nb.worker.streams import LiveStreams

ROOT = Path(room.__file__).parents[2]


class Heard:
    """A kernel's ear: the pieces in order, and a way to wait until some text has come."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []
        self.threads: set[str] = set()
        self._news = threading.Condition()

    def __call__(self, name: str, text: str, _whose: int = 0) -> None:
        with self._news:
            self.pieces.append((name, text))
            self.threads.add(threading.current_thread().name)
            self._news.notify_all()

    def text(self, name: str | None = None) -> str:
        return "".join(text for stream, text in self.pieces if name in {None, stream})

    def wait_for(self, text: str) -> bool:
        with self._news:
            return self._news.wait_for(lambda: text in self.text(), timeout=10)


class Live:
    """Live streams for the length of a `with`; pytest changes `sys.stdout` between a fixture and its test."""

    def __init__(self) -> None:
        self.heard = Heard()

    def __enter__(self) -> Self:
        self.streams = LiveStreams(self.heard)
        return self

    def __exit__(self, *_details: object) -> None:
        self.streams.restore()


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_first_line_goes_at_once_and_by_the_writer_itself() -> None:
    with Live() as live:
        sys.stdout.write("first\n")
        assert live.heard.pieces == [("stdout", "first\n")]
        assert live.heard.threads == {threading.current_thread().name}


def test_what_follows_at_once_is_buffered_and_then_sent_by_the_flusher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Live() as live:
        monkeypatch.setattr(room, "_QUIET", 3600.0)
        sys.stdout.write("first\n")
        for word in ("second ", "third"):
            sys.stdout.write(word)
        assert live.heard.wait_for("first\nsecond third")
        assert live.heard.pieces[0] == ("stdout", "first\n")
        assert live.heard.threads == {threading.current_thread().name, "snakepit-streams"}


def test_the_parts_of_a_first_line_go_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with Live() as live:
        monkeypatch.setattr(room, "_LATEST", 3600.0)
        print("run", 7, "is", "over")
        assert live.heard.pieces == [("stdout", "run 7 is over\n")]


def test_a_lone_line_starts_no_thread() -> None:
    with Live():
        sys.stdout.write("x\n")
        assert "snakepit-streams" not in {each.name for each in threading.enumerate()}


def test_a_long_text_arrives_whole_in_pieces_of_at_most_32_ki_characters() -> None:
    with Live() as live:
        text = "".join(f"line {number}\n" for number in range(20_000))
        sys.stdout.write(text)
        live.streams.flush()
        assert live.heard.text() == text
        assert max(len(piece) for _, piece in live.heard.pieces) <= 32 * 1024


def test_many_small_writes_are_sent_when_32_ki_characters_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with Live() as live:
        monkeypatch.setattr(room, "_QUIET", 3600.0)
        monkeypatch.setattr(room, "_LATEST", 3600.0)
        sys.stdout.write("begin\n")
        for _ in range(32 * 1024):
            sys.stdout.write("x")
        assert live.heard.text() == "begin\n" + "x" * 32 * 1024
        assert len(live.heard.pieces) == 2


def test_both_streams_keep_the_order_in_which_they_were_written() -> None:
    with Live() as live:
        for number in range(100):
            print(number, file=sys.stdout if number % 2 else sys.stderr)
        live.streams.flush()
        assert live.heard.text() == "".join(f"{number}\n" for number in range(100))
        assert live.heard.text("stdout") == "".join(f"{number}\n" for number in range(1, 100, 2))


def test_flush_returns_only_when_all_text_has_left() -> None:
    with Live() as live:
        print("a")
        print("b", end="", flush=True)
        assert live.heard.text() == "a\nb"


def test_threads_that_write_at_once_lose_and_tear_nothing() -> None:
    with Live() as live:

        def chat(number: int) -> None:
            for turn in range(200):
                sys.stdout.write(f"<{number}:{turn}>")

        threads = [threading.Thread(target=chat, args=(number,)) for number in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        live.streams.flush()
        words = live.heard.text().removeprefix("<").removesuffix(">").split("><")
        assert sorted(words) == sorted(f"{number}:{turn}" for number in range(8) for turn in range(200))
        for number in range(8):
            assert [word for word in words if word.startswith(f"{number}:")] == [
                f"{number}:{n}" for n in range(200)
            ]


def test_surrogates_are_replaced() -> None:
    with Live() as live:
        print("a\ud800b", end="", flush=True)
        assert live.heard.text() == "a?b"


def test_only_text_can_be_written_to_a_text_stream() -> None:
    with Live() as live:
        with pytest.raises(TypeError, match="must be str, not int"):
            sys.stdout.write(cast("str", 1))
        with pytest.raises(TypeError, match="bytes-like"):
            sys.stdout.buffer.write("text")  # type: ignore[call-overload]
        assert not live.heard.pieces


def test_the_buffer_takes_utf8_cut_anywhere() -> None:
    with Live() as live:
        data = "grüße 🐍".encode()
        for at in range(len(data)):
            assert sys.stdout.buffer.write(data[at : at + 1]) == 1
        sys.stdout.buffer.write(memoryview(bytearray(b"!")))
        sys.stdout.buffer.flush()
        assert live.heard.text("stdout") == "grüße 🐍!"


def test_libraries_find_what_they_expect_of_a_stream() -> None:
    with Live():
        assert not sys.stdout.isatty()
        assert sys.stdout.encoding == "utf-8"
        assert (sys.stdout.fileno(), sys.stderr.fileno(), sys.stderr.buffer.fileno()) == (1, 2, 2)
        assert sys.stdout.writable()
        assert not sys.stdout.readable()
        stream: object = sys.stdout
        assert isinstance(stream, io.TextIOBase)
        assert getattr(stream, "name", None) == "<stdout>"
        cast("io.TextIOWrapper", stream).reconfigure(line_buffering=True)


def test_closing_a_stream_leaves_it_usable_for_the_next_cell() -> None:
    with Live() as live:
        with sys.stdout:
            print("before")
        sys.stdout.buffer.close()
        wrapper = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
        wrapper.write("wrapped\n")
        del wrapper
        print("after", flush=True)
        assert live.heard.text() == "before\nwrapped\nafter\n"


def test_prints_are_dropped_quietly_once_the_kernel_is_gone() -> None:
    def gone(_name: str, _text: str, _whose: int) -> None:
        raise BrokenPipeError

    streams = LiveStreams(gone)
    try:
        print("x" * 100_000)
        print("more", file=sys.stderr, flush=True)
    finally:
        streams.restore()


def test_an_interrupt_in_the_middle_of_a_send_reaches_the_user_and_later_text_the_kernel() -> None:
    heard: list[str] = []

    def send(_name: str, text: str, _whose: int) -> None:
        if not heard:
            heard.append("interrupted")
            raise KeyboardInterrupt
        heard.append(text)

    streams = LiveStreams(send)
    try:
        with pytest.raises(KeyboardInterrupt):
            sys.stdout.write("one\n")
        print("two", flush=True)
    finally:
        streams.restore()
    assert heard == ["interrupted", "two\n"]


def test_a_print_from_within_a_send_waits_its_turn() -> None:
    heard: list[str] = []

    def send(_name: str, text: str, _whose: int) -> None:
        if not heard:
            sys.stderr.write("from a finaliser")
        heard.append(text)

    streams = LiveStreams(send)
    try:
        sys.stdout.write("outer")
        streams.flush()
    finally:
        streams.restore()
    assert heard == ["outer", "from a finaliser"]


def test_restore_sends_what_waits_and_brings_back_the_streams_of_before() -> None:
    before = (sys.stdout, sys.stderr)
    heard = Heard()
    streams = LiveStreams(heard)
    print("one")
    print("two")
    streams.restore()
    streams.restore()
    assert (sys.stdout, sys.stderr) == before
    assert heard.text() == "one\ntwo\n"
    assert "snakepit-streams" not in {each.name for each in threading.enumerate()}


FORK = """
import os, sys
from snakepit_nb.worker.streams import LiveStreams
sent = []
LiveStreams(lambda name, text, whose: sent.append((os.getpid(), text)))
print("parent before")
print("still the parent's")
pid = os.fork()
if pid == 0:
    print("child out")
    print("child err", file=sys.stderr, flush=True)
    sys.stdout.buffer.write(b"child bytes\\n")
    os._exit(0 if "child" not in str(sent) else 3)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("parent after", flush=True)
text = "".join(text for _, text in sent)
assert text == "parent before\\nstill the parent's\\nparent after\\n", text
assert {sender for sender, _ in sent} == {os.getpid()}
sys.exit(status)
"""


def test_a_forked_child_writes_to_the_descriptors_and_never_to_the_kernel() -> None:
    done = run(FORK)
    assert (done.returncode, done.stdout, done.stderr) == (0, "child out\nchild bytes\n", "child err\n")


FORK_WHILE_THREADS_PRINT = """
import os, sys, threading
from snakepit_nb.worker.streams import LiveStreams
sent = []
streams = LiveStreams(lambda name, text, whose: sent.append(text))
stop = threading.Event()
def chat():
    print("chat")
    while not stop.is_set():
        print("chat")
thread = threading.Thread(target=chat)
thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        print("child")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
stop.set()
thread.join()
streams.flush()
assert set("".join(sent).split()) == {"chat"}
"""


def test_a_fork_while_another_thread_prints_neither_hangs_nor_mixes() -> None:
    done = run(FORK_WHILE_THREADS_PRINT, "-Wignore::DeprecationWarning")
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n" * 20, "")


MULTIPROCESSING = """
import multiprocessing, sys
from snakepit_nb.worker.streams import LiveStreams
sent = []
streams = LiveStreams(lambda name, text, whose: sent.append(text))
print("cell")
print("cell")
child = multiprocessing.get_context("fork").Process(target=print, args=("child",))
child.start()
child.join()
streams.flush()
assert "".join(sent) == "cell\\ncell\\n", sent
sys.exit(child.exitcode)
"""


def test_multiprocessing_in_a_cell_prints_through_the_descriptors() -> None:
    done = run(MULTIPROCESSING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n", "")


def test_the_interpreter_ends_while_text_is_on_its_way() -> None:
    done = run(
        "import os\n"
        "from snakepit_nb.worker.streams import LiveStreams\n"
        "LiveStreams(lambda name, text, whose: os.write(1, text.encode()))\n"
        "for number in range(1000): print(number)\n"
    )
    assert done.stdout == "".join(f"{number}\n" for number in range(1000))
    assert (done.returncode, done.stderr) == (0, "")
