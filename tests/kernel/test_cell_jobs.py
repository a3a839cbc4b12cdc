"""A cell in the background: a job at once, its output under its own cell, its results when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kernels import Notebook

WAIT = "import os, time\nwhile not os.path.exists({flag!r}):\n    time.sleep(0.01)\n"


def test_its_results_appear_when_it_is_done_and_its_output_lies_under_its_own_cell(shared: Notebook) -> None:
    flag = str(shared.cwd / "go")
    cell = shared.run(
        f"%%snakepit -b -n job\n{WAIT.format(flag=flag)}print('from the job')\nmade = 5\nmade * 2"
    ).ok()
    assert (cell.value or "").startswith("<Job 'job' ")
    assert shared.run("'made' in globals(), job.done()").ok().value == "(False, False)"
    other = shared.run(
        f"print('from the other cell')\nopen({flag!r}, 'w').close()\njob.result(), made, job"
    ).ok()
    assert other.value == "(10, 5, <Job 'job' done>)"
    assert other.stdout == "from the other cell\n"
    shared.wait_until(lambda: cell.stdout == "from the job\n", what="the job's output under its cell")


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
    assert shared.run("failing").ok().value == "<Job 'failing' failed: KeyError>"


def test_it_can_be_cancelled_and_another_serves_in_its_place(own: Notebook) -> None:
    own.run("%%snakepit -b -n slow\nimport time\ntime.sleep(600)").ok()
    assert (
        own.run("slow.cancel(), slow.cancelled(), slow").ok().value == "(True, True, <Job 'slow' cancelled>)"
    )
    assert own.run("%%snakepit\n1").ok().value == "1"


def test_it_stays_in_the_notebook_and_its_value_goes(shared: Notebook) -> None:
    shared.run("%%snakepit -b -n first\n20").ok()
    refused = shared.run("%%snakepit\nfirst")
    assert refused.error is not None
    assert "use its value: x = first.result()" in refused.error.text
    assert shared.run("value = first.result()\nvalue").ok().value == "20"
    assert shared.run("%%snakepit\nvalue + 1").ok().value == "21"


def test_what_stays_behind_is_said_under_its_own_cell(shared: Notebook) -> None:
    cell = shared.run("%%snakepit -b -n leaving\nimport threading\nlock = threading.Lock()").ok()
    later = shared.run("leaving.result()").ok()
    assert later.displays == []
    shared.wait_until(lambda: len(cell.displays) == 1, what="the note under the job's cell")


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
