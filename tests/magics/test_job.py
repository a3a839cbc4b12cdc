from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.magics.job import Job
from snakepit_nb.pool import output

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


def test_jobs_work_with_what_awaits_several(shell: InteractiveShell, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    quick = job_of(shell, "1", "quick")
    wait = f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)"
    slow = job_of(shell, f"{wait}\n2", "slow")

    async def in_turn() -> list[object]:
        done, waiting = await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
        assert (done, waiting) == ({quick}, {slow})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 0.01)
        assert not slow.done()
        flag.touch()
        done, waiting = await asyncio.wait([quick, slow])  # type: ignore[type-var]
        assert (done, waiting) == ({quick, slow}, set())
        return [await each for each in asyncio.as_completed([quick, slow])]

    assert asyncio.run(in_turn()) in ([1, 2], [2, 1])
    both: list[concurrent.futures.Future[object]] = [quick, slow]
    assert {job.result() for job in concurrent.futures.as_completed(both, TIMEOUT)} == {1, 2}


def test_who_stops_awaiting_a_job_does_not_stop_it(shell: InteractiveShell, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    job = job_of(shell, f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\n2")

    async def stopped() -> None:
        task = asyncio.ensure_future(job)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert not job.done()
    flag.touch()
    assert job.result(TIMEOUT) == 2


def test_callbacks_are_called_once_and_can_be_taken_back(shell: InteractiveShell) -> None:
    called: list[str] = []
    job = job_of(shell, "import time\ntime.sleep(0.05)")
    job.add_done_callback(lambda _: called.append("kept"))
    taken = called.clear
    job.add_done_callback(lambda _: None)
    job.add_done_callback(taken)
    assert job.remove_done_callback(taken) == 1
    assert job.remove_done_callback(taken) == 0
    job.result(TIMEOUT)
    job.add_done_callback(lambda _: called.append("late"))
    assert called == ["kept", "late"]


def test_a_failed_job_says_so_in_one_line_and_its_result_raises(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(shell, "raise ValueError('first\\nsecond')")
    with pytest.raises(ValueError, match="first"):
        job.result(TIMEOUT)
    assert capsys.readouterr().err == "snakepit: job failed: ValueError: first; its result() shows where\n"
    assert repr(job) == "<Job 'job' failed: ValueError>"


def test_a_job_ends_although_its_failure_cannot_be_told(
    shell: InteractiveShell, caplog: pytest.LogCaptureFixture
) -> None:
    class Torn(output.ScriptSink):
        def finish(self, origin: object) -> None:
            del origin
            text = "the front end is gone"
            raise OSError(text)

    output.set_sink(Torn())
    try:
        job = job_of(shell, "raise ValueError('first')")
        with pytest.raises(ValueError, match="first"):
            job.result(TIMEOUT)
    finally:
        output.set_sink(None)
    assert "the front end is gone" in caplog.text


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
