"""What a notebook's user sees of output from threads: the right cell, the right order, never a flood."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.kernels import CellOutcome, Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
import threading
from snakepit_nb.magics.routing import sink_for
sink = sink_for(get_ipython())

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread
"""


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    with Notebook() as opened:
        opened.run(SETUP).ok()
        yield opened


def shown_under(notebook: Notebook, cell: CellOutcome, text: str) -> None:
    notebook.wait_until(lambda: text in cell.stdout, what=f"{text!r} under {cell.code!r}")


def test_text_of_a_background_job_lands_under_the_cell_that_started_it_while_another_runs(
    notebook: Notebook,
) -> None:
    first = notebook.run("""
here, go = sink.origin(), threading.Event()
def work():
    go.wait()
    sink.stream(here, "stdout", "from the job\\n")
    sink.stream(here, "stderr", "its complaint\\n")
    sink.finish(here)
job = in_thread(work)
""")
    assert first.ok().stdout == ""
    second = notebook.run("go.set(); job.join(); print('from the second cell')").ok()
    shown_under(notebook, first, "from the job")
    assert (first.stdout, first.stderr) == ("from the job\n", "its complaint\n")
    assert (second.stdout, second.stderr) == ("from the second cell\n", "")


def test_a_job_that_prints_on_after_its_cell_is_heard_live_under_it(notebook: Notebook) -> None:
    cell = notebook.run("""
here, steps, said = sink.origin(), threading.Semaphore(0), threading.Semaphore(0)
def work():
    for number in range(3):
        steps.acquire()
        sink.stream(here, "stdout", f"step {number}\\n")
        said.release()
job = in_thread(work)
""").ok()
    for number in range(3):
        later = notebook.run("steps.release(); said.acquire()").ok()
        shown_under(notebook, cell, f"step {number}\n")
        assert later.stdout == ""
    assert cell.stdout == "step 0\nstep 1\nstep 2\n"
    notebook.run("job.join()").ok()


def test_two_jobs_at_once_each_print_under_their_own_cell(notebook: Notebook) -> None:
    start = """
def work(here=sink.origin(), name={name!r}):
    for _ in range(200):
        sink.stream(here, "stdout", name + "\\n")
    sink.finish(here)
jobs = [*globals().get("jobs", []), in_thread(work)]
"""
    cells = {name: notebook.run(start.format(name=name)).ok() for name in ("left", "right")}
    notebook.run("for job in jobs: job.join()\nsink.flush()").ok()
    for name, cell in cells.items():
        wanted = [name] * 200
        notebook.wait_until(partial(lambda cell, wanted: cell.stdout.split() == wanted, cell, wanted))


def test_what_the_cell_printed_before_stands_above_and_what_it_prints_after_below(notebook: Notebook) -> None:
    cell = notebook.run("""
print("before")
here = sink.origin()
sink.stream(here, "stdout", "from the worker\\n")
sink.finish(here)
print("after")
here = sink.origin()
sink.stream(here, "stdout", "from the worker again\\n")
sink.finish(here)
print("at the end")
""").ok()
    assert cell.stdout.splitlines() == [
        "before",
        "from the worker",
        "after",
        "from the worker again",
        "at the end",
    ]


def test_text_and_displays_keep_the_order_in_which_the_worker_made_them(notebook: Notebook) -> None:
    cell = notebook.run("""
here = sink.origin()
for number in range(40):
    sink.stream(here, "stdout", f"text {number}\\n")
    sink.stream(here, "stdout", "")
    sink.display(here, {"type": "display_data", "data": {"text/plain": f"figure {number}"}})
sink.finish(here)
""").ok()
    seen = "".join(
        each.content["text"] if each.kind == "stream" else each.content["data"]["text/plain"] + "\n"
        for each in cell.of("stream", "display_data")
    )
    assert seen.splitlines() == [line for n in range(40) for line in (f"text {n}", f"figure {n}")]


def test_a_display_is_updated_and_cleared_in_place(notebook: Notebook) -> None:
    cell = notebook.run("""
here, same = sink.origin(), {"display_id": "the bar"}
sink.display(here, {"type": "display_data", "data": {"text/plain": "0 %"}, "transient": same})
sink.display(here, {"type": "update_display_data", "data": {"text/plain": "100 %"}, "transient": same})
sink.display(here, {"type": "clear_output", "wait": True})
sink.finish(here)
""").ok()
    kinds = [(each.kind, each.content.get("transient")) for each in cell.messages]
    same = {"display_id": "the bar"}
    assert kinds == [("display_data", same), ("update_display_data", same), ("clear_output", None)]
    assert cell.updates[0]["data"] == {"text/plain": "100 %"}
    assert cell.messages[-1].content == {"wait": True}


def test_many_small_prints_come_as_few_messages_and_none_is_lost(notebook: Notebook) -> None:
    cell = notebook.run("""
here = sink.origin()
for number in range(10_000):
    sink.stream(here, "stdout", f"{number}\\n")
sink.finish(here)
""").ok()
    assert cell.stdout.split() == [str(number) for number in range(10_000)]
    took = cell.messages[-1].at - cell.messages[0].at
    assert len(cell.messages) <= 2 + 10 * took + 1


def test_many_requests_that_each_print_a_line_come_as_few_messages_and_end_with_their_cell(
    notebook: Notebook,
) -> None:
    cell = notebook.run("""
for number in range(3_000):
    here = sink.origin()
    sink.stream(here, "stdout", f"{number}\\n")
    sink.finish(here)
""").ok()
    assert cell.stdout.split() == [str(number) for number in range(3_000)]
    took = cell.messages[-1].at - cell.messages[0].at
    assert len(cell.messages) <= 210 + 110 * took


def test_of_a_hundred_megabytes_the_head_and_the_tail_are_shown_and_the_rest_is_counted(
    notebook: Notebook,
) -> None:
    cell = notebook.run("""
here = sink.origin()
line = "x" * 93
total = 0
for start in range(0, 1_100_000, 1000):
    text = "".join(f"{number:07d}{line}\\n" for number in range(start, start + 1000))
    total += len(text)
    sink.stream(here, "stdout", text)
sink.finish(here)
total
""").ok()
    total = int(cell.value or 0)
    assert total > 100_000_000
    notes = re.findall(r"\[([\d,]+) bytes of stdout left out[^\]]*\]\n", cell.stdout)
    assert len(notes) == 1
    head, _, tail = re.split(r"(\[[\d,]+ bytes of stdout left out[^\]]*\]\n)", cell.stdout)
    assert head.startswith("0000000x")
    assert head.endswith("x\n")
    assert tail.endswith(f"1099999{'x' * 93}\n")
    assert len(head) > 100_000
    assert len(tail) > 10_000
    assert len(head) + len(tail) + int(notes[0].replace(",", "")) == total
    assert sum(len(text) for text in cell.texts("stdout")) < 1_000_000
    assert int(notebook.run("len(sink._cells[here.key].held)").value or -1) == 0


def test_a_progress_bar_redrawn_ten_thousand_times_is_a_bar_and_not_a_log(notebook: Notebook) -> None:
    cell = notebook.run("""
here = sink.origin()
for done in range(10_001):
    sink.stream(here, "stderr", f"\\r{done / 100:6.2f}%|{'#' * (done // 1000):10}| {done:5}/10000")
sink.stream(here, "stderr", "\\n")
sink.finish(here)
""").ok()
    assert cell.stderr.endswith("\r100.00%|##########| 10000/10000\n")
    assert "left out" not in cell.stderr
    assert "\n" not in cell.stderr[:-1]
    assert cell.stderr.count("\r") <= len(cell.texts("stderr"))


def test_text_that_is_no_unicode_and_a_line_without_end_arrive_and_the_kernel_lives(
    notebook: Notebook,
) -> None:
    cell = notebook.run("""
here = sink.origin()
sink.stream(here, "stdout", "bad \\udc80\\ud800 good \\U0001f40d\\n")
sink.stream(here, "stdout", "é" * 100_000 + "!")
sink.display(here, {"type": "display_data", "data": {"text/plain": "\\udcff", "image/png": b"\\x89PNG"},
                    "metadata": {"image/png": {"width": float("nan")}, 7: {1, 2}}})
sink.finish(here)
""").ok()
    first, second = cell.stdout.split("\n")
    assert first == "bad �� good \U0001f40d"
    assert second == "é" * 100_000 + "!"
    shown = cell.displays[0]
    assert shown["data"] == {"text/plain": "�", "image/png": "iVBORw=="}
    assert shown["metadata"]["7"] == [1, 2]


def test_capture_and_redirection_hold_for_what_a_cell_asked_for(notebook: Notebook) -> None:
    cell = notebook.run("""
from contextlib import redirect_stdout
from io import StringIO
from IPython.utils.capture import capture_output
def ask(text):
    here = sink.origin()
    sink.stream(here, "stdout", text)
    sink.display(here, {"type": "display_data", "data": {"text/plain": "a figure"}})
    sink.finish(here)
with redirect_stdout(StringIO()) as redirected:
    ask("redirected")
with capture_output() as captured:
    ask("captured")
ask("shown")
redirected.getvalue(), captured.stdout, len(captured.outputs)
""").ok()
    assert cell.value == "('redirected', 'captured', 1)"
    assert cell.stdout == "shown"
    assert len(cell.displays) == 2


def test_a_thread_that_knows_no_cell_asks_for_the_latest(notebook: Notebook) -> None:
    cell = notebook.run("""
def work():
    here = sink.origin()
    sink.stream(here, "stdout", "from a thread\\n")
    sink.finish(here)
in_thread(work).join()
""").ok()
    assert cell.stdout == "from a thread\n"


def test_closing_shows_what_was_held_back_and_leaves_no_thread_and_no_hook(notebook: Notebook) -> None:
    cell = notebook.run("""
hooks = get_ipython().events.callbacks["post_execute"]
before = len(hooks)
other = sink_for(get_ipython())
here = other.origin()
other.stream(here, "stdout", "first\\n")
other.stream(here, "stdout", "held back\\n")
running = other._thread
other.close()
other.close()
other.stream(here, "stdout", "late\\n")
running.is_alive(), len(hooks) - before
""").ok()
    assert cell.stdout == "first\nheld back\nlate\n"
    assert cell.value == "(False, 0)"


def test_a_restarted_kernel_starts_afresh_and_its_sink_works(notebook: Notebook) -> None:
    with Notebook() as other:
        other.run(SETUP).ok()
        other.restart()
        assert other.run("sink").error is not None
        other.run(SETUP).ok()
        cell = other.run("here = sink.origin(); sink.stream(here, 'stdout', 'again'); sink.finish(here)")
        assert cell.ok().stdout == "again"
    assert notebook.alive
