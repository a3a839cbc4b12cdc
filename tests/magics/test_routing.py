"""The sinks apart from a kernel: which message is sent under which cell, and what a terminal gets."""

from __future__ import annotations

import atexit
import io
import sys
import threading
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from snakepit_nb.magics.routing import NotebookSink, TerminalSink, sink_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Front:
    """A shell in a kernel, and the front end that receives what is sent."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, dict[str, object]]] = []
        self.arrival = threading.Condition()
        self.hooks: list[Callable[[], None]] = []
        self.parent: dict[str, object] = {}
        self.failing: Exception | None = None
        self.kernel = SimpleNamespace(session=self, iopub_socket="iopub")
        self.display_pub = SimpleNamespace(publish=None, clear_output=None)
        self.events = SimpleNamespace(
            register=lambda _, hook: self.hooks.append(hook),
            unregister=lambda _, hook: self.hooks.remove(hook),
        )

    def get_parent(self) -> dict[str, object]:
        return self.parent

    def cell(self, name: str) -> None:
        """The user runs this cell."""
        self.parent = {"header": {"msg_id": name}, "content": {"code": "…"}}

    def send(
        self, socket: object, kind: str, content: dict[str, object], parent: dict[str, str], ident: bytes
    ) -> None:
        assert socket == "iopub"
        assert isinstance(ident, bytes)
        if self.failing is not None:
            raise self.failing
        with self.arrival:
            self.received.append((parent.get("msg_id", ""), kind, content))
            self.arrival.notify_all()

    def text(self, cell: str, name: str = "stdout") -> str:
        return "".join(
            str(content["text"])
            for under, kind, content in self.received
            if under == cell and kind == "stream" and content["name"] == name
        )

    def wait_for(self, predicate: Callable[[], object]) -> None:
        with self.arrival:
            assert self.arrival.wait_for(predicate, timeout=30), self.received


@pytest.fixture
def front() -> Front:
    front = Front()
    front.cell("one")
    return front


@pytest.fixture
def sink(front: Front) -> Iterator[NotebookSink]:
    # pytest's own capture would count as a redirection that the user made.
    sink = NotebookSink(front, clock=lambda: 0.0, kernel_stream=type(sys.stdout))
    yield sink
    sink.close()


def test_the_first_line_is_shown_at_once_and_what_follows_by_itself_a_moment_later(
    front: Front, sink: NotebookSink
) -> None:
    here = sink.origin()
    sink.stream(here, "stdout", "a\n")
    assert front.text("one") == "a\n"
    sink.stream(here, "stdout", "b")
    sink.stream(here, "stdout", "c")
    front.wait_for(lambda: front.text("one") == "a\nbc")
    assert [content["text"] for _, _, content in front.received] == ["a\n", "bc"]


def test_a_line_that_is_printed_in_two_pieces_is_shown_as_one_and_one_that_never_ends_all_the_same(
    front: Front, sink: NotebookSink
) -> None:
    here = sink.origin()
    sink.stream(here, "stdout", "a")
    sink.stream(here, "stdout", "\n")
    assert [content["text"] for _, _, content in front.received] == ["a\n"]
    sink.stream(here, "stderr", "50 %")
    front.wait_for(lambda: [each["text"] for _, _, each in front.received] == ["a\n", "50 %"])


def test_output_goes_to_the_cell_that_asked_and_not_to_the_one_that_runs(
    front: Front, sink: NotebookSink
) -> None:
    first = sink.origin()
    front.cell("two")
    second = sink.origin()
    sink.stream(first, "stdout", "of one\n")
    sink.stream(second, "stdout", "of two\n")
    sink.display(first, {"type": "display_data", "data": {"text/plain": "figure of one"}})
    assert (front.text("one"), front.text("two")) == ("of one\n", "of two\n")
    assert front.received[-1][:2] == ("one", "display_data")


def test_the_end_of_a_request_shows_the_rest_of_its_text_at_once(front: Front, sink: NotebookSink) -> None:
    here = sink.origin()
    for letter in "abc":
        sink.stream(here, "stdout", letter)
    sink.finish(here)
    assert front.text("one") == "abc"


def test_the_end_of_a_cell_shows_the_rest_of_everything(front: Front, sink: NotebookSink) -> None:
    here = sink.origin()
    for letter in "abc":
        sink.stream(here, "stdout", letter)
    [end_of_cell] = front.hooks
    end_of_cell()
    assert front.text("one") == "abc"


def test_ten_thousand_requests_that_each_print_stay_below_the_servers_limit(
    front: Front, sink: NotebookSink
) -> None:
    for _ in range(10_000):
        here = sink.origin()
        sink.stream(here, "stdout", ".")
        sink.finish(here)
    sink.flush()
    assert front.text("one") == "." * 10_000
    assert len(front.received) < 300


def test_a_hundred_floods_together_stay_below_the_servers_limit(front: Front, sink: NotebookSink) -> None:
    for number in range(100):
        front.cell(f"cell {number}")
        here = sink.origin()
        sink.stream(here, "stdout", "x" * 1_000_000)
        sink.finish(here)
    assert sum(len(str(content["text"])) for _, _, content in front.received) < 1_500_000
    assert all("left out" in front.text(f"cell {number}") for number in range(100))


def test_the_end_of_one_request_does_not_cut_the_flood_of_another_in_two(
    front: Front, sink: NotebookSink
) -> None:
    loud, quiet = sink.origin(), sink.origin()
    sink.stream(loud, "stdout", "x" * 1_000_000)
    sink.stream(quiet, "stdout", "a word")
    sink.finish(quiet)
    assert "left out" not in front.text("one")
    sink.stream(loud, "stdout", "x" * 1_000_000 + "the end")
    sink.finish(loud)
    assert front.text("one").count("left out") == 1
    assert front.text("one").endswith("the end")


def test_output_without_a_cell_is_sent_without_one(front: Front, sink: NotebookSink) -> None:
    front.parent = {}
    sink.stream(sink.origin(), "stdout", "at start-up\n")
    assert front.text("") == "at start-up\n"


def test_a_token_of_somebody_else_means_the_cell_that_runs(front: Front, sink: NotebookSink) -> None:
    sink.stream(None, "stdout", "x\n")
    sink.finish(None)
    assert front.text("one") == "x\n"


def test_a_front_end_that_is_gone_fails_no_request(front: Front, sink: NotebookSink) -> None:
    front.failing = OSError("socket closed")
    here = sink.origin()
    sink.stream(here, "stdout", "x")
    sink.display(here, {"type": "display_data", "data": {}})
    sink.finish(here)
    assert front.received == []


def test_a_redirection_that_was_closed_gives_the_text_to_the_cell(
    front: Front, sink: NotebookSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = io.StringIO()
    monkeypatch.setattr(sys, "stdout", target)
    here = sink.origin()
    sink.stream(here, "stdout", "into the file")
    assert target.getvalue() == "into the file"
    target.close()
    sink.stream(here, "stdout", "after it\n")
    assert front.text("one") == "after it\n"


def test_the_thread_ends_by_itself_when_there_is_nothing_to_send(front: Front, sink: NotebookSink) -> None:
    here = sink.origin()
    sink.stream(here, "stdout", "a")
    thread = sink._thread
    assert thread is not None
    assert thread.daemon
    thread.join(timeout=30)
    assert not thread.is_alive()
    sink.stream(here, "stdout", "b\n")
    assert front.text("one") == "ab\n"


def test_closing_ends_the_thread_and_takes_the_hook_away(front: Front, sink: NotebookSink) -> None:
    here = sink.origin()
    sink.stream(here, "stdout", "a")
    sink.stream(here, "stdout", "b")
    thread = sink._thread
    sink.close()
    assert front.text("one") == "ab"
    assert front.hooks == []
    assert thread is not None
    assert not thread.is_alive()
    sink.stream(here, "stdout", "c")
    assert front.text("one") == "abc"


def test_many_threads_print_at_once_and_each_keeps_its_own_order(front: Front, sink: NotebookSink) -> None:
    def work(name: str) -> None:
        for number in range(500):
            sink.stream(here, "stdout", f"{name}{number}\n")

    here = sink.origin()
    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.finish(here)
    lines = front.text("one").split()
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name}{number}" for number in range(500)]


def test_a_shell_in_a_kernel_gets_a_notebooks_sink_and_any_other_a_terminals(front: Front) -> None:
    sink = sink_for(front)
    assert isinstance(sink, NotebookSink)
    sink.close()
    assert isinstance(sink_for(None), TerminalSink)
    assert isinstance(sink_for(SimpleNamespace(display_pub=None)), TerminalSink)


def test_a_terminal_gets_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    sink = TerminalSink()
    here = sink.origin()
    sink.stream(here, "stdout", "out\r")
    sink.stream(here, "stderr", "err \udc80\n")
    sink.finish(here)
    sink.flush()
    sink.close()
    assert capsys.readouterr() == ("out\r", "err �\n")


def test_a_terminal_that_knows_only_ascii_shows_the_rest_escaped() -> None:
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    sink = TerminalSink()
    with redirect_stdout(screen):
        sink.stream(sink.origin(), "stdout", "é\n")
    assert screen.buffer.getvalue() == b"\\xe9\n"


def test_a_redirection_holds_for_the_requests_made_inside_it(capsys: pytest.CaptureFixture[str]) -> None:
    sink, target = TerminalSink(), io.StringIO()
    with redirect_stdout(target):
        here = sink.origin()
    sink.stream(here, "stdout", "redirected")
    target_text = target.getvalue()
    target.close()
    sink.stream(here, "stdout", "shown")
    assert (target_text, capsys.readouterr().out) == ("redirected", "shown")


def test_terminal_ipython_shows_displays_as_it_shows_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[tuple[object, object]] = []

    class Publisher:
        def publish(
            self, data: object, metadata: object = None, *, transient: object = None, update: bool = False
        ) -> None:
            shown.append((data, update))
            del metadata, transient

        def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's signature
            shown.append(("cleared", wait))

    sink = sink_for(SimpleNamespace(display_pub=Publisher()))
    sink.display(sink.origin(), {"type": "display_data", "data": {"text/plain": "fig", "image/png": b"\x00"}})
    sink.display(sink.origin(), {"type": "update_display_data", "data": {"text/plain": "fig 2"}})
    sink.display(sink.origin(), {"type": "clear_output", "wait": True})
    assert shown == [
        ({"text/plain": "fig", "image/png": "AA=="}, False),
        ({"text/plain": "fig 2"}, True),
        ("cleared", True),
    ]
    assert capsys.readouterr().out == ""


def test_a_real_terminal_shell_prints_the_plain_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    shell = cast("Any", InteractiveShell)(config=config)
    try:
        sink = sink_for(shell)
        sink.display(sink.origin(), {"type": "display_data", "data": {"text/plain": "<Figure>"}})
        assert capsys.readouterr().out == "<Figure>\n"
    finally:
        atexit.unregister(shell.atexit_operations)
        shell.atexit_operations()


def test_a_plain_script_prints_the_plain_text_of_displays(capsys: pytest.CaptureFixture[str]) -> None:
    sink = sink_for(None)
    sink.display(sink.origin(), {"type": "display_data", "data": {"text/plain": "<Figure>"}})
    sink.display(sink.origin(), {"type": "display_data", "data": {"image/png": b"\x00"}})
    sink.display(sink.origin(), {"type": "clear_output"})
    assert capsys.readouterr().out == "<Figure>\n"
