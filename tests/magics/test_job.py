from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.magics.job import Job

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

TIMEOUT = 60


def job_of(shell: InteractiveShell, body: str, name: str = "job") -> Job:
    job = run_cell(shell, f"-b -n {name}", body)
    assert shell.user_ns[name] is job
    assert isinstance(job, Job)
    return job


def test_a_job_is_a_future_whose_cell_has_landed_when_it_is_done(
    shell: InteractiveShell, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    job = job_of(
        shell,
        f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\nmade = 5\nmade * 2",
    )
    assert not job.done()
    assert "made" not in shell.user_ns
    flag.touch()
    assert job.result(TIMEOUT) == 10
    assert shell.user_ns["made"] == 5
    assert repr(job) == "<Job 'job' done>"


def test_jobs_work_with_what_takes_futures(shell: InteractiveShell) -> None:
    jobs = [job_of(shell, f"{number} ** 2", f"job{number}") for number in range(3)]
    done, waiting = concurrent.futures.wait(jobs, TIMEOUT)
    assert not waiting
    assert {job.result() for job in done} == {0, 1, 4}

    async def both() -> list[object]:
        return await asyncio.gather(*jobs)

    assert asyncio.run(both()) == [0, 1, 4]


def test_a_failed_job_says_so_in_one_line_and_its_result_raises(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(shell, "raise ValueError('first\\nsecond')")
    with pytest.raises(ValueError, match="first"):
        job.result(TIMEOUT)
    assert capsys.readouterr().err == "snakepit: job failed: ValueError: first; its result() shows where\n"
    assert repr(job) == "<Job 'job' failed: ValueError>"


def test_a_cancelled_job_is_cancelled_at_once_and_nothing_lands(shell: InteractiveShell) -> None:
    job = job_of(shell, "import time\nlate = 1\ntime.sleep(600)")
    assert job.cancel()
    assert job.cancelled()
    assert repr(job) == "<Job 'job' cancelled>"
    with pytest.raises(concurrent.futures.CancelledError):
        job.result(TIMEOUT)
    assert "late" not in shell.user_ns
    assert job.cancel()


def test_an_asked_for_output_that_stays_behind_fails_the_job_and_the_others_land(
    shell: InteractiveShell,
) -> None:
    job = run_cell(shell, "-b -o lock,fine", "import threading\nlock, fine = threading.Lock(), 1")
    assert isinstance(job, Job)
    with pytest.raises(CaptureError, match="lock cannot travel"):
        job.result(TIMEOUT)
    assert shell.user_ns["fine"] == 1


def test_a_job_without_a_name_is_called_by_its_cell_and_one_with_an_odd_name_is_not_a_variable(
    shell: InteractiveShell,
) -> None:
    unnamed, odd = run_cell(shell, "-b", "1"), run_cell(shell, "-b -n 'my job'", "2")
    assert isinstance(unnamed, Job)
    assert isinstance(odd, Job)
    assert unnamed.name.startswith("In [")
    assert odd.name == "my job"
    assert (unnamed.result(TIMEOUT), odd.result(TIMEOUT)) == (1, 2)
