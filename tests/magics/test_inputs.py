"""Jobs as inputs of later cells: what the cell has of them, when it is sent, and what becomes of it else."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics import inputs
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.magics.job import Job

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

TIMEOUT = 60


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """A job of `gated` ends when this file is there."""
    return tmp_path / "go"


def gated(shell: InteractiveShell, flag: Path, value: str, name: str = "job") -> Job:
    return job_of(
        shell, f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\n{value}", name
    )


def job_of(shell: InteractiveShell, body: str, name: str) -> Job:
    job = run_cell(shell, f"-b -n {name}", body)
    assert isinstance(job, Job)
    return job


def soon(flag: Path) -> threading.Timer:
    """Lets a gated job end while the test's own thread waits for it."""
    timer = threading.Timer(0.1, flag.touch)
    timer.start()
    return timer


def test_a_later_cell_waits_for_a_job_and_has_it_as_a_future_that_is_done(
    shell: InteractiveShell, flag: Path
) -> None:
    gated(shell, flag, "20")
    timer = soon(flag)
    assert run_cell(shell, "", "job.result() + 1, job.done(), repr(job)") == (21, True, "<Job 'job' done>")
    timer.join()
    assert run_cell(shell, "", "await job") == 20


def test_jobs_in_containers_objects_and_functions_are_waited_for_too(
    shell: InteractiveShell, flag: Path
) -> None:
    jobs = [gated(shell, flag, str(number), f"job{number}") for number in range(2)]
    shell.user_ns.update(jobs=jobs, named={"first": (jobs[0],)})
    exec("def both():\n    return job0.result() + job1.result()", shell.user_ns)  # noqa: S102 - a function of the notebook
    timer = soon(flag)
    assert run_cell(shell, "", "[job.result() for job in jobs]") == [0, 1]
    assert run_cell(shell, "", "named['first'][0].result(), both()") == (0, 1)
    timer.join()


def test_a_function_is_looked_into_for_the_jobs_it_reads(shell: InteractiveShell, flag: Path) -> None:
    gated(shell, flag, "3")
    exec("def read():\n    return job.result()", shell.user_ns)  # noqa: S102 - a function of the notebook
    timer = soon(flag)
    assert run_cell(shell, "", "read()") == 3
    timer.join()


def test_an_array_that_a_job_made_goes_on_without_a_copy_of_its_meaning(
    shell: InteractiveShell, flag: Path
) -> None:
    gated(shell, flag, "import numpy as np\nnp.arange(100_000)")
    timer = soon(flag)
    assert run_cell(shell, "", "int(job.result().sum())") == sum(range(100_000))
    timer.join()


def test_a_background_cell_returns_at_once_and_is_sent_when_its_job_is_done(
    shell: InteractiveShell, flag: Path
) -> None:
    first = gated(shell, flag, "made = 20\nmade")
    shell.user_ns["first"] = first
    second = job_of(shell, "later = first.result() + 1\nlater", "second")
    third = job_of(shell, "second.result() * 2", "third")
    assert repr(second) == "<Job 'second' waiting for job>"
    assert repr(third) == "<Job 'third' waiting for second>"
    assert not second.running()
    flag.touch()
    assert third.result(TIMEOUT) == 42
    assert shell.user_ns["later"] == 21
    assert (repr(second), repr(third)) == ("<Job 'second' done>", "<Job 'third' done>")


def test_a_waiting_cell_has_what_its_names_stood_for_when_it_was_run(
    shell: InteractiveShell, flag: Path
) -> None:
    gated(shell, flag, "1")
    shell.user_ns.update(rows=[1], name="before", array=np.zeros(3))
    waiting = job_of(shell, "job.result(), rows, name, array.tolist()", "waiting")
    shell.user_ns["rows"].append(2)
    shell.user_ns["name"] = "after"
    flag.touch()
    assert waiting.result(TIMEOUT) == (1, [1], "before", [0.0, 0.0, 0.0])


def test_a_failed_job_fails_the_cell_that_needs_it_and_is_the_cause(shell: InteractiveShell) -> None:
    failed = job_of(shell, "raise ValueError('no')", "failed")
    assert isinstance(failed.exception(TIMEOUT), ValueError)
    with pytest.raises(
        CaptureError, match=r"failed is a job that failed: ValueError: no; failed\.result\(\)"
    ) as e:
        run_cell(shell, "", "failed.result()")
    assert isinstance(e.value.__cause__, ValueError)
    shell.user_ns["several"] = {"it": failed}
    with pytest.raises(CaptureError, match=r"for several\['it'\] is a job 'failed' that failed"):
        run_cell(shell, "", "several['it'].result()")
    assert run_cell(shell, "", "if len('a'):\n    failed = 5\nfailed") == 5


def test_a_job_that_fails_while_a_cell_waits_for_it_fails_that_and_all_behind_it(
    shell: InteractiveShell, flag: Path
) -> None:
    gated(shell, flag, "1 / 0")
    second = job_of(shell, "job.result()", "second")
    third = job_of(shell, "second.result()", "third")
    flag.touch()
    with pytest.raises(CaptureError, match="job is a job that failed: ZeroDivisionError"):
        second.result(TIMEOUT)
    with pytest.raises(CaptureError, match="second is a job that failed: CaptureError") as e:
        third.result(TIMEOUT)
    assert isinstance(e.value.__cause__, CaptureError)
    assert isinstance(e.value.__cause__.__cause__, ZeroDivisionError)


def test_one_job_that_fails_is_enough_and_the_others_are_not_waited_for(
    shell: InteractiveShell, flag: Path
) -> None:
    slow = gated(shell, flag, "1")
    failed = job_of(shell, "import time\ntime.sleep(0.05)\n1 / 0", "failed")
    waiting = job_of(shell, "job.result() + failed.result()", "waiting")
    with pytest.raises(CaptureError, match="failed is a job that failed"):
        waiting.result(TIMEOUT)
    assert failed.done()
    assert not slow.done()
    flag.touch()
    assert slow.result(TIMEOUT) == 1


def test_a_cancelled_job_fails_the_cell_that_needs_it(shell: InteractiveShell, flag: Path) -> None:
    job = gated(shell, flag, "1")
    waiting = job_of(shell, "job.result()", "waiting")
    assert job.cancel()
    with pytest.raises(CaptureError, match="job is a job that was cancelled; run its cell again"):
        waiting.result(TIMEOUT)
    with pytest.raises(CaptureError, match="was cancelled"):
        run_cell(shell, "", "job.result()")


def test_a_waiting_cell_can_be_cancelled_and_is_never_sent(
    shell: InteractiveShell, flag: Path, tmp_path: Path
) -> None:
    job = gated(shell, flag, "1")
    waiting = job_of(shell, f"open({str(tmp_path / 'ran')!r}, 'w').close()\njob.result()", "waiting")
    assert waiting.cancel()
    assert waiting.cancelled()
    assert repr(waiting) == "<Job 'waiting' cancelled>"
    with pytest.raises(CancelledError):
        waiting.result(TIMEOUT)
    flag.touch()
    assert job.result(TIMEOUT) == 1
    assert run_cell(shell, "", "2") == 2
    assert not (tmp_path / "ran").exists()


def test_what_cannot_travel_is_refused_when_the_waiting_cell_is_run(
    shell: InteractiveShell, flag: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = gated(shell, flag, "1")
    shell.user_ns.update(lock=threading.Lock(), settings={"lock": threading.Lock()})
    with pytest.raises(CaptureError, match=r"settings cannot travel: settings\['lock'\] is a lock"):
        run_cell(shell, "-b", "job.result(), settings")
    assert run_cell(shell, "-b", "job.result()\nif len('a'):\n    lock = 5\nlock") is not None
    assert "lock was not taken along" in capsys.readouterr().out
    flag.touch()
    assert job.result(TIMEOUT) == 1


def test_an_array_changed_in_place_lands_although_its_cell_waited(
    shell: InteractiveShell, flag: Path
) -> None:
    gated(shell, flag, "7")
    shell.user_ns["x"] = x = np.zeros(1000)
    run_cell(shell, "-b -n filling --inout x", "x[:] = job.result()")
    flag.touch()
    shell.user_ns["filling"].result(TIMEOUT)
    assert x.sum() == 7000
    assert shell.user_ns["x"] is x


def test_a_job_that_is_not_done_does_not_travel_outside_of_cells(shell: InteractiveShell, flag: Path) -> None:
    from snakepit_nb import Pool

    job = gated(shell, flag, "1")
    with Pool(1) as pool:
        with pytest.raises(CaptureError, match="the job is not done yet"):
            pool.submit(id, job)
        flag.touch()
        assert job.result(TIMEOUT) == 1
        assert pool.submit(repr, job).result(TIMEOUT) == "<Job 'job' done>"


def test_a_snapshot_keeps_what_is_one_object_one_and_shares_arrays() -> None:
    array, rows = np.ones(10), [1]
    kept = inputs.snapshot({"a": rows, "b": {"rows": rows}, "array": [array], "function": len})
    rows.append(2)
    assert kept["a"] == [1]
    assert kept["b"] == {"rows": kept["a"]}
    assert kept["array"][0] is array  # type: ignore[index]
    assert kept["function"] is len


def test_nothing_keeps_a_value_alive_when_its_job_is_let_go(shell: InteractiveShell) -> None:
    gone = threading.Event()
    job = job_of(shell, "{1, 2}", "job")
    result = job.result(TIMEOUT)
    weakref.finalize(result, gone.set)
    del job, result
    del shell.user_ns["job"]
    assert gone.wait(TIMEOUT)


def test_a_job_does_not_keep_what_a_cell_was_given_that_waited_for_it(
    shell: InteractiveShell, flag: Path
) -> None:
    gone = threading.Event()
    job = gated(shell, flag, "1")
    shell.user_ns["given"] = given = np.zeros(100_000)
    weakref.finalize(given, gone.set)
    waiting = job_of(shell, "job.result() + given[0]", "waiting")
    del given, shell.user_ns["given"]
    flag.touch()
    assert waiting.result(TIMEOUT) == 1.0
    assert gone.wait(TIMEOUT)
    assert job.done()
