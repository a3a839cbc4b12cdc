"""A cell in the background: a job at once, its output under its own cell, its results when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kernels import CellOutcome, Notebook

WAIT = "import os, time\nwhile not os.path.exists({flag!r}):\n    time.sleep(0.01)\n"


def line_of(cell: CellOutcome) -> str:
    """The text of the line that stands for a job when its cell is over."""
    return str(cell.displays[0]["data"]["text/plain"])


def updates(notebook: Notebook, display_id: str) -> list[Mapping[str, Any]]:
    """What a display was told to become, by messages under any cell."""
    found = [each for cell in notebook.cells() for each in cell.updates]
    return [each for each in found if each["transient"]["display_id"] == display_id]


def last_line(notebook: Notebook, display_id: str) -> str:
    """The text that a job's line was told last."""
    found = updates(notebook, display_id)
    return str(found[-1]["data"]["text/plain"]) if found else ""


def test_its_results_appear_when_it_is_done_and_its_output_lies_under_its_own_cell(shared: Notebook) -> None:
    flag = str(shared.cwd / "go")
    cell = shared.run(
        f"%%snakepit -b -n job\n{WAIT.format(flag=flag)}print('from the job')\nmade = 5\nmade * 2"
    ).ok()
    assert cell.value is None
    assert line_of(cell).startswith("<Job 'job' running on default-")
    assert shared.run("'made' in globals(), job.done()").ok().value == "(False, False)"
    other = shared.run(
        f"print('from the other cell')\nopen({flag!r}, 'w').close()\njob.result(), made, job"
    ).ok()
    assert other.value == "(10, 5, <Job 'job' done>)"
    assert other.stdout == "from the other cell\n"
    shared.wait_until(lambda: cell.stdout == "from the job\n", what="the job's output under its cell")
    assert shared.run(f"Out[{cell.execution_count}] is job").ok().value == "True"


def test_it_can_be_awaited(shared: Notebook) -> None:
    shared.run("%%snakepit -b -n awaited\n'worth the wait'").ok()
    assert shared.run("await awaited").ok().value == "'worth the wait'"


def test_its_error_is_one_line_under_its_cell_and_whole_where_it_is_asked_for(shared: Notebook) -> None:
    cell = shared.run("%%snakepit -b -n failing\nkey = 'k'\n{}[key]").ok()
    later = shared.run("failing.result()")
    assert later.error is not None
    assert later.error.ename == "KeyError"
    assert f"In [{cell.execution_count}]" in later.error.text
    line = "snakepit: failing failed: KeyError: 'k'; its result() shows where\n"
    shared.wait_until(lambda: cell.stderr == line, what="the line about the failure")
    assert shared.run("[failing]").ok().value == "[<Job 'failing' failed: KeyError>]"


def test_it_can_be_cancelled_and_another_serves_in_its_place(own: Notebook) -> None:
    own.run("%%snakepit -b -n slow\nimport time\ntime.sleep(600)").ok()
    assert (
        own.run("slow.cancel(), slow.cancelled(), slow").ok().value == "(True, True, <Job 'slow' cancelled>)"
    )
    assert own.run("%%snakepit\n1").ok().value == "1"


def test_what_stays_behind_is_said_under_its_own_cell(shared: Notebook) -> None:
    cell = shared.run("%%snakepit -b -n leaving\nimport threading\nlock = threading.Lock()").ok()
    later = shared.run("leaving.result()").ok()
    assert later.displays == []
    shared.wait_until(lambda: len(cell.displays) == 2, what="the note under the job's cell")


def test_one_span_tells_the_whole_job(shared: Notebook) -> None:
    shared.run(
        "from snakepit_nb import telemetry\ntold = []\n"
        "telemetry.attach('told', 'snakepit.cell.stop', lambda event, numbers, facts, _: told.append(facts))"
    ).ok()
    cell = shared.run("%%snakepit -b -n timed\n1").ok()
    shared.run("timed.result()").ok()
    assert (
        shared.run("[(each['name'], each['cell']) for each in told]").ok().value
        == f"[('timed', {cell.execution_count})]"
    )
    shared.run("telemetry.detach('told')").ok()


def test_its_line_follows_it_in_place_and_says_no_value(shared: Notebook) -> None:
    flag = str(shared.cwd / "follow")
    cell = shared.run(f"%%snakepit -b -n followed\n{WAIT.format(flag=flag)}'the value'").ok()
    assert "running on default-" in line_of(cell)
    shared.run(f"open({flag!r}, 'w').close()\nfollowed.result()").ok()
    display_id = cell.displays[0]["transient"]["display_id"]
    shared.wait_until(
        lambda: "done in" in last_line(shared, display_id), what="the line that says it is done"
    )
    assert "the value" not in str(cell.displays)
    assert "the value" not in "".join(str(each["data"]) for each in updates(shared, display_id))
    # Shown again it has the same line, which says how it is now.
    again = shared.run("followed").ok()
    assert again.displays[0]["transient"]["display_id"] == display_id
    assert line_of(again).startswith("<Job 'followed' done in")
    assert shared.run("_ is followed").ok().value == "True"


def test_the_line_of_a_failed_job_shows_its_error_as_text(shared: Notebook) -> None:
    cell = shared.run("%%snakepit -b -n '<i>odd</i>'\nraise ValueError('<b>bold</b>\\x1b[31m')").ok()
    display_id = cell.displays[0]["transient"]["display_id"]
    shared.wait_until(lambda: "failed" in last_line(shared, display_id), what="the line that says it failed")
    html = str(updates(shared, display_id)[-1]["data"]["text/html"])
    assert "<b>&lt;i&gt;odd&lt;/i&gt;</b>" in html
    assert "ValueError: &lt;b&gt;bold&lt;/b&gt;\\x1b[31m" in html


def test_no_thread_is_left_when_no_job_is_on_its_way(own: Notebook) -> None:
    own.run("%%snakepit -b -n brief\n1").ok()
    own.run("brief.result()").ok()
    left = "import threading\nleft = [each for each in threading.enumerate() if 'jobs' in each.name]"
    own.run(f"{left}\n[each.join(30) for each in left]").ok()
    assert own.run(f"{left}\nleft").ok().value == "[]"


# Makes a file once the kernel's own thread waits: an interrupt that comes then ends the waiting.
ANNOUNCE = """
import pathlib, sys, threading
def announce(path, main=threading.get_ident()):
    files = set()
    while not any(name.endswith("bell.py") for name in files):
        frame, files = sys._current_frames()[main], set()
        while frame is not None:
            files.add(frame.f_code.co_filename)
            frame = frame.f_back
    pathlib.Path(path).touch()
threading.Thread(target=announce, args=({path!r},)).start()
"""


def test_the_stop_button_ends_the_waiting_for_a_job_and_not_the_job(own: Notebook) -> None:
    flag = str(own.cwd / "stop")
    own.run(f"%%snakepit -b -n job\n{WAIT.format(flag=flag)}5").ok()
    for number, (waiting, told) in enumerate(
        {
            "job.result()": "only the waiting was stopped: job goes on, and %snakepit cancel job ends it",
            "%snakepit jobs --wait": "only the waiting was stopped; job job goes on",
            "%%snakepit\njob.result()": "the cell was stopped while it waited for job, which goes on",
        }.items()
    ):
        path = own.cwd / f"waits{number}"
        own.run(ANNOUNCE.format(path=str(path))).ok()
        cell = own.start(waiting)
        own.wait_until(path.exists, what="the cell to wait")
        own.interrupt()
        own.finish(cell)
        assert cell.error is not None, waiting
        assert cell.error.ename == "KeyboardInterrupt"
        assert told in cell.error.text
    assert own.run("job.done()").ok().value == "False"
    assert own.run(f"open({flag!r}, 'w').close()\njob.result()").ok().value == "5"


def test_a_later_cell_waits_for_it_and_a_job_behind_it_runs_by_itself(shared: Notebook) -> None:
    flag = str(shared.cwd / "inputs")
    shared.run(f"%%snakepit -b -n first\n{WAIT.format(flag=flag)}20").ok()
    cell = shared.run("%%snakepit -b -n second\nprint('second runs')\nfirst.result() + 1").ok()
    assert line_of(cell) == "<Job 'second' waiting for first>"
    waiting = shared.start("%%snakepit\nsecond.result() * 2, second")
    Path(flag).touch()
    assert shared.finish(waiting).ok().value == "(42, <Job 'second' done>)"
    shared.wait_until(lambda: cell.stdout == "second runs\n", what="the output under the cell of the job")


def test_the_tab_key_offers_the_jobs_on_their_way(own: Notebook) -> None:
    own.run("%%snakepit -b -n endless\nimport time\ntime.sleep(600)").ok()
    assert "endless" in own.completions("%snakepit cancel ")
    assert own.completions("%snakepit cancel end") == ["endless"]
    assert "cancel" in own.completions("%snakepit c")
    assert own.completions("%snakepit jobs --w") == ["--wait"]
    assert "is cancelled: it ran on default-" in own.run("%snakepit cancel endless").ok().stdout
    assert "endless" not in own.completions("%snakepit cancel ")


def test_a_child_that_the_notebook_forks_knows_of_no_job(own: Notebook) -> None:
    own.run("%%snakepit -b -n parents\nimport time\ntime.sleep(600)").ok()
    forked = """
import os, warnings
from snakepit_nb.magics import joblist
warnings.simplefilter('ignore')
child = os.fork()
if not child:
    joblist._kernel_ends()
    os._exit(len(joblist.live()))
os.waitpid(child, 0)[1]"""
    assert own.run(forked).ok().value == "0"
    assert "the kernel ends before" not in own.log()
    assert own.run("parents.cancel()").ok().value == "True"
