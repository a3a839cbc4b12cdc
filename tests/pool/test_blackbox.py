"""What is told of the place where native code ended a worker."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

from snakepit_nb import Pool, WorkerCrashed
from snakepit_nb.pool.blackbox import stack_of

DUMP = """Fatal Python error: Segmentation fault

Current thread 0x00007f0000000000 (most recent call first):
  File "/usr/lib/python3/ctypes/__init__.py", line 519 in string_at
  File "<In [3]>", line 3 in read
  File "<In [7]>", line 2 in <module>
  File "/somewhere/snakepit_nb/worker/namespace.py", line 310 in _execute
  File "<string>", line 1 in <module>

Extension modules: numpy._core._multiarray_umath, pandas._libs.lib (total: 2)
"""


def test_the_stack_is_told_down_to_the_cell_and_no_further() -> None:
    text, place = stack_of(DUMP)
    assert place == "In [3], line 3"
    assert text.splitlines()[-1] == '  File "<In [7]>", line 2 in <module>'
    assert "Extension modules" not in text


@pytest.mark.parametrize(
    "dump", ["", "\n", "Extension modules: a (total: 1)\n", "\x00\ufffd", "File <In [x]>"]
)
def test_what_is_no_stack_has_no_place(dump: str) -> None:
    assert stack_of(dump).place == ""


def _read_nothing() -> None:
    ctypes.string_at(0)


def test_a_death_in_native_code_says_which_function_called_it() -> None:
    with Pool(1, name="box") as pool:
        with pytest.raises(WorkerCrashed) as found:
            pool.submit(_read_nothing).result()
        assert "Segmentation fault" in found.value.stderr_tail
        assert "in _read_nothing" in found.value.stderr_tail
        assert "in string_at" in found.value.stderr_tail
        with pytest.raises(WorkerCrashed) as found:
            pool.submit(_abort).result()
        assert "in _abort" in found.value.stderr_tail


def _abort() -> None:
    os.write(2, b"giving up\n")
    os.abort()


def test_what_it_wrote_before_stands_first() -> None:
    with Pool(1, name="box") as pool, pytest.raises(WorkerCrashed) as found:
        pool.submit(_abort).result()
    assert found.value.stderr_tail.startswith("giving up\nFatal Python error: Aborted")


def _ends_at_once() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_who_is_killed_has_no_stack() -> None:
    with Pool(1, name="box") as pool, pytest.raises(WorkerCrashed) as found:
        pool.submit(_ends_at_once).result()
    assert (found.value.stderr_tail, found.value.place) == ("", "")
