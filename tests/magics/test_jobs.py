"""`%snakepit jobs` and `%snakepit cancel`."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError

from snakepit_nb.magics import joblist
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.magics.job import Job
from snakepit_nb.magics.jobs import JobTable
from snakepit_nb.magics.line import run_line

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.magics.jobfacts import JobFacts

TIMEOUT = 60
FOR_EVER = "import time\ntime.sleep(600)"


def job_of(shell: InteractiveShell, line: str, body: str) -> Job:
    job = run_cell(shell, f"-b {line}", body)
    assert isinstance(job, Job)
    return job


def rows(table: object) -> list[str]:
    """The lines of a table below its head, the times that they tell left out."""
    lines = [re.sub(r"\d\d:\d\d:\d\d +(\d+\.\d s|-)", "AT", line) for line in repr(table).split("\n")[1:]]
    return [" | ".join(re.split("  +", line.strip())) for line in lines]


def told(name: str) -> JobFacts:
    return next(each for each in reversed(joblist.told()) if each.name == name)


def test_the_table_has_what_is_on_its_way_and_what_is_over(shell: InteractiveShell) -> None:
    shell.run_line_magic("snakepit", "start -w 1")
    job_of(shell, "-n 'went well'", "1").result(TIMEOUT)
    job_of(shell, "-n failed", "raise ValueError('<b>no</b>')").exception(TIMEOUT)
    running = job_of(shell, "-n running", FOR_EVER)
    queued = job_of(shell, "-n queued", "1")
    waiting = job_of(shell, "-n waiting", "running.result()")
    table = run_line(shell, "jobs")
    assert isinstance(table, JobTable)
    assert rows(table)[-5:] == [
        "went well | In [0] | done | default | default-0 | AT",
        "failed | In [0] | failed | default | default-0 | AT | ValueError: <b>no</b>",
        "running | In [0] | running | default | default-0 | AT",
        "queued | In [0] | queued | default | - | AT",
        "waiting | In [0] | waiting | default | - | AT | waits for running",
    ]
    html = table._repr_html_()
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "<b>no</b>" not in html
    assert queued.cancel()
    assert running.cancel()
    assert waiting.exception(TIMEOUT) is not None
    assert (told("waiting").state, told("running").state) == ("failed", "cancelled")


def test_cancel_says_what_it_did(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("snakepit", "start -w 1")
    job = job_of(shell, "-n slow", FOR_EVER)
    run_line(shell, "cancel slow")
    assert job.cancelled()
    assert capsys.readouterr().out == "slow (In [0]) is cancelled: it ran on default-0\n"
    run_line(shell, "cancel slow")
    assert capsys.readouterr().out == "slow (In [0]) is over already: cancelled\n"
    assert told("slow").state == "cancelled"


def test_cancel_takes_a_cells_number_a_name_with_spaces_or_all(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, way in (("", "0"), ("", "In [0]"), ("", "In[0]"), ("-n 'my job'", "my job"), ("", "--all")):
        job = job_of(shell, line, FOR_EVER)
        run_line(shell, f"cancel {way}")
        assert job.cancelled(), way
        assert " is cancelled: " in capsys.readouterr().out
    run_line(shell, "cancel --all")
    assert capsys.readouterr().out == "no job is on its way\n"


def test_a_name_that_no_job_has_is_answered_with_those_there_are(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match="cancel nothing: there is no such job; no job is on its way"):
        run_line(shell, "cancel nothing")
    job = job_of(shell, "-n training", FOR_EVER)
    with pytest.raises(UsageError, match="there is no such job; did you mean training"):
        run_line(shell, "cancel trainin")
    with pytest.raises(UsageError, match="there is no such job; on their way are training"):
        run_line(shell, "cancel xyz")
    assert job.cancel()


def test_wait_comes_back_when_all_are_over(shell: InteractiveShell, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    job = job_of(
        shell, "-n gated", f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)"
    )
    behind = job_of(shell, "-n behind", "gated.result()\n5")
    timer = threading.Timer(0.1, flag.touch)
    timer.start()
    run_line(shell, "jobs --wait")
    assert (job.done(), behind.result(0)) == (True, 5)
    timer.join()


def test_wait_that_is_over_before_the_jobs_are_is_an_error_and_they_go_on(shell: InteractiveShell) -> None:
    job = job_of(shell, "-n slow", FOR_EVER)
    with pytest.raises(TimeoutError, match=r"after 0\.05 s job slow goes on; wait longer"):
        run_line(shell, "jobs --wait 0.05")
    assert not job.done()
    assert job.cancel()


def test_the_last_fifty_are_kept_and_none_of_their_values(shell: InteractiveShell) -> None:
    jobs = [job_of(shell, f"-n job{number}", str(number)) for number in range(60)]
    assert [job.result(TIMEOUT) for job in jobs] == list(range(60))
    assert joblist.live() == []
    assert len(joblist.told()) == joblist.KEPT < len(jobs)
