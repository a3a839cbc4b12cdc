from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.errors.types import (
    ArrayError,
    CaptureError,
    CheckoutTimeout,
    PoolBroken,
    PoolClosed,
    PoolError,
    PoolSaturated,
    ProtocolError,
    RemoteError,
    RequestTimeout,
    SnakepitError,
    WorkerCrashed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = [
    PoolError("no worker", pool="a"),
    PoolClosed(pool="a"),
    PoolClosed(pool="a", reason="the kernel ends"),
    PoolSaturated(pool="a", queue_size=4, max_queue_size=4),
    CheckoutTimeout(pool="a", seconds=0.5),
    PoolBroken(pool="a", reason="5 workers died within 30 s"),
    WorkerCrashed(
        worker_id="w1",
        pool="a",
        classification="segfault",
        signal=11,
        memory_mb=120.4,
        stderr_tail="boom\n",
        request_id=3,
        command="cell",
    ),
    WorkerCrashed(worker_id="w1", pool="a", classification="exit", exit_code=3),
    RequestTimeout(seconds=2, command="cell", request_id=3, worker_id="w1", pool="a"),
    CaptureError(name="m", path="m.lock", type_name="lock", reason="no"),
    CaptureError("a sentence of its own", name="m"),
    ProtocolError("bad frame"),
    ArrayError("bad handle"),
]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_survives_copy_and_pickle_with_all_its_facts(
    error: SnakepitError, again: Callable[[SnakepitError], SnakepitError]
) -> None:
    error.add_note("seen")
    other = again(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)
    assert other.args == error.args
    error.__notes__.clear()


@pytest.mark.parametrize(
    ("cls", "base"),
    [
        (PoolClosed, RuntimeError),
        (PoolClosed, PoolError),
        (PoolSaturated, PoolError),
        (CheckoutTimeout, TimeoutError),
        (PoolBroken, BrokenExecutor),
        (WorkerCrashed, BrokenExecutor),
        (RequestTimeout, TimeoutError),
        (CaptureError, TypeError),
        (RemoteError, SnakepitError),
    ],
)
def test_errors_are_caught_as_what_users_of_executors_know(
    cls: type[BaseException], base: type[BaseException]
) -> None:
    assert issubclass(cls, base)


def test_a_submit_after_shutdown_says_what_every_executor_says() -> None:
    assert "cannot schedule new futures" in str(PoolClosed(pool="a"))


def test_a_crash_says_who_how_and_what_to_do() -> None:
    crash = WorkerCrashed(
        worker_id="w1", pool="a", classification="segfault", signal=11, request_id=3, command="cell"
    )
    assert str(crash) == (
        "worker w1 of pool 'a' died of a segmentation fault in native code (SIGSEGV) while it ran 'cell' "
        "(request 3): only this request failed, the pool serves on; run it again, and look at the library "
        "that it called if it dies again"
    )
    assert (
        WorkerCrashed(worker_id="w", pool="a", classification="killed", signal=250).signal_name
        == "signal 250"
    )
    gpu = WorkerCrashed(worker_id="w", pool="a", classification="gpu", exit_code=1, device="cuda:1")
    assert "(exit code 1, device cuda:1)" in str(gpu)


def test_a_capture_error_names_the_part_that_cannot_travel() -> None:
    error = CaptureError(
        name="model", path="model.log.stream", type_name="TextIOWrapper", reason="an open file"
    )
    assert "model cannot travel: model.log.stream is a TextIOWrapper (an open file)" in str(error)
    assert CaptureError(name="m").path == "m"


def test_the_notebook_shows_errors_of_ours_without_our_frames() -> None:
    crash = ERRORS[6]
    shown = "\n".join(crash._render_traceback_())  # type: ignore[attr-defined]
    assert shown.startswith("WorkerCrashed: worker w1")
    assert shown.endswith("The end of its stderr:\n  boom")
    assert 'File "' not in shown


def test_importing_the_errors_imports_nothing_heavy() -> None:
    program = (
        "import sys; import snakepit_nb.errors; "
        "print([m for m in ('numpy', 'cloudpickle', 'IPython', 'pandas', 'asyncio') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "[]"
