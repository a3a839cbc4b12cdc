"""What workers write reaches the sink of the one who asked: whole, in order, without holding anyone up."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from snakepit_nb.pool import output
from snakepit_nb.pool.output import ScriptSink
from tests.pool.conftest import HANG

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from snakepit_nb import Pool
    from tests.pool.conftest import Gate


class Listener:
    """Keeps what it is given, by who asked; or only counts it."""

    redraws = False

    def __init__(self, *, counting: bool = False) -> None:
        self.asking: object = None
        self.heard: list[tuple[object, str, str]] = []
        self.shown: list[tuple[object, Mapping[str, object]]] = []
        self.finished: list[object] = []
        self.characters = 0
        self._counting = counting

    def origin(self) -> object:
        return self.asking

    def group(self, origin: object) -> Hashable:
        return str(origin)

    def stream(self, origin: object, name: str, text: str) -> None:
        self.characters += len(text)
        if not self._counting:
            self.heard.append((origin, name, text))

    def display(self, origin: object, message: Mapping[str, object]) -> None:
        self.shown.append((origin, message))

    def finish(self, origin: object) -> None:
        self.finished.append(origin)

    def text(self, origin: object = None, name: str = "stdout") -> str:
        return "".join(text for asked, stream, text in self.heard if (asked, stream) == (origin, name))


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    output.set_sink(made)
    yield made
    output.set_sink(None)


def test_a_script_sees_what_its_workers_print() -> None:
    code = (
        "from snakepit_nb import Pool\n"
        "import sys\n"
        "with Pool(1) as pool:\n"
        "    pool.submit(print, 'out').result()\n"
        "    pool.submit(lambda: print('err', file=sys.stderr)).result()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG, check=True
    )
    assert (ran.stdout, ran.stderr) == ("out\n", "err\n")


def test_all_that_a_call_wrote_is_there_before_its_result(pool: Pool, listener: Listener) -> None:
    def writes() -> None:
        print("a", end="")
        print("b", end="", flush=True)
        sys.stderr.write("c")
        print("d", end="")

    pool.submit(writes).result()
    assert (listener.text(), listener.text(name="stderr")) == ("abd", "c")


def test_what_native_code_and_subprocesses_write_is_there_too(pool: Pool, listener: Listener) -> None:
    def writes() -> None:
        print("python", flush=True)
        os.write(1, b"native\n")
        os.system("echo shell >&2")  # noqa: S605, S607 - a program that knows nothing of us

    pool.request(writes, alone=True).result()
    # Two ways lead to the kernel, so which of the two comes first is not said.
    assert "python" in listener.text()
    assert "native\n" in listener.text()
    assert listener.text(name="stderr") == "shell\n"


def test_each_line_goes_to_the_one_who_asked(pool: Pool, listener: Listener) -> None:
    futures = []
    for number in range(40):
        listener.asking = f"cell {number}"
        futures.append(pool.submit(print, number))
    listener.asking = "somebody else"
    for future in futures:
        future.result(HANG)
    assert [listener.text(f"cell {number}") for number in range(40)] == [
        f"{number}\n" for number in range(40)
    ]


def test_a_message_cut_in_the_middle_of_a_character_arrives_whole(pool: Pool, listener: Listener) -> None:
    def writes() -> None:
        data = "\N{SNAKE}".encode()
        os.write(1, data[:2])
        os.write(1, data[2:])

    pool.request(writes, alone=True).result()
    assert listener.text() == "\N{SNAKE}"


def test_a_display_comes_after_the_text_before_it(pool: Pool, listener: Listener) -> None:
    def shows() -> None:
        from IPython.display import HTML, display

        print("before")
        display(HTML("<b>bold</b>"))

    listener.asking = "cell"
    pool.submit(shows).result(HANG)
    ((origin, message),) = listener.shown
    assert origin == "cell"
    assert message["data"]["text/html"] == "<b>bold</b>"  # type: ignore[index]
    assert listener.text("cell") == "before\n"


def test_figures_that_a_plain_function_leaves_open_are_shown_with_it(pool: Pool, listener: Listener) -> None:
    def plots() -> None:
        import IPython  # noqa: F401 - its import makes the shell, as a cell's display would
        import matplotlib.pyplot as plt

        get_ipython().run_line_magic("matplotlib", "inline")  # type: ignore[name-defined] # noqa: F821 - a builtin there
        plt.plot([1, 2])

    listener.asking = "plot"
    pool.request(plots, alone=True).result(HANG)
    shown = [origin for origin, message in listener.shown if "image/png" in str(message.get("data"))]
    assert shown == ["plot"]


def test_a_chatty_call_is_heard_whole_and_costs_no_memory(pool: Pool) -> None:
    listener = Listener(counting=True)
    output.set_sink(listener)
    try:

        def chatters() -> int:
            line = "x" * 9_999
            for _ in range(10_000):
                print(line)
            return 1

        pool.submit(print, "warm").result()
        before = psutil.Process().memory_info().rss
        assert pool.submit(chatters).result(HANG) == 1
        grown = psutil.Process().memory_info().rss - before
    finally:
        output.set_sink(None)
    assert listener.characters >= 100_000_000
    assert grown < 50_000_000


def test_a_chatty_worker_does_not_keep_others_from_being_heard(pool: Pool, gate: Gate) -> None:
    listener = Listener(counting=True)
    output.set_sink(listener)
    try:

        def chatters() -> None:
            while True:
                print("x" * 1_000)

        chatty = pool.submit(chatters)
        held = pool.submit(gate.task, "heard")
        gate.open_after_begin()
        assert held.result(HANG) == "heard"
        assert chatty.cancel()
        assert pool.submit(abs, -1).result(HANG) == 1
    finally:
        output.set_sink(None)


def test_a_sink_that_fails_costs_no_result(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    class Closed(Listener):
        def stream(self, origin: object, name: str, text: str) -> None:  # noqa: ARG002 - the role's signature
            text = "I/O operation on closed file"
            raise ValueError(text)

    output.set_sink(Closed())
    try:
        assert pool.submit(lambda: print("x") or 5).result() == 5
        assert pool.submit(lambda: print("x") or 6).result() == 6
    finally:
        output.set_sink(None)
    assert caplog.text.count("cannot be shown") == 1


def test_the_sink_hears_when_a_request_is_over(pool: Pool, listener: Listener) -> None:
    listener.asking = "cell 1"
    pool.request(print, ("x",), alone=True).result()
    assert listener.finished == ["cell 1"]


def test_the_script_sink_writes_displays_as_plain_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = ScriptSink()
    sink.display(None, {"data": {"text/plain": "Figure(1)", "image/png": "…"}})
    sink.display(None, {"data": {"image/png": "…"}})
    sink.display(None, {"type": "clear_output"})
    sink.stream(None, "stderr", "warned")
    assert capsys.readouterr() == ("Figure(1)\n", "warned")
    monkeypatch.setattr(sys, "stdout", None)
    sink.stream(None, "stdout", "into the void")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    sink.finish(None)
