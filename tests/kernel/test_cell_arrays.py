"""Arrays of a real notebook: born in shared memory, there and back without a copy, and in place."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.arrays import native
from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_library = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

WATCH = """
from snakepit_nb import telemetry
seen = []
telemetry.attach_prefix("seen", "snakepit.zero_copy", lambda e, n, m, c: seen.append((e[-1], n.get("bytes"))))
def moves():
    found = [each for each in seen if each[0] in ("export", "fallback")]
    seen.clear()
    return found
"""


def value(notebook: Notebook, expression: str) -> object:
    """What an ordinary cell says that an expression is."""
    return ast.literal_eval(notebook.run(expression).ok().value or "None")


@pytest.fixture(scope="module")
def watched() -> Iterator[Notebook]:
    """A kernel whose loans are noted; its first array is older than its pool."""
    with Notebook() as kernel:
        kernel.run("import numpy as np\n%load_ext snakepit_nb").ok()
        kernel.run(WATCH).ok()
        kernel.run("x = np.arange(1e6)").ok()
        kernel.run("%snakepit start").ok()
        yield kernel


@needs_library
def test_the_first_cell_of_a_notebook_copies_nothing_and_nor_does_its_result(watched: Notebook) -> None:
    watched.run("%%snakepit\ny = x * 2").ok()
    assert value(watched, "moves()") == [("export", 8_000_000), ("export", 8_000_000)]
    assert value(watched, "bool((y == x * 2).all())") is True
    watched.run("y += 1").ok()
    watched.run("%%snakepit\nz = y[::-1] + x").ok()
    assert value(watched, "moves()") == [("export", 8_000_000)] * 3


@needs_library
def test_arrays_of_later_cells_and_of_cells_that_await_are_born_there_too(watched: Notebook) -> None:
    watched.run("import asyncio\nawait asyncio.sleep(0)\nlate = np.ones(1_000_000)").ok()
    watched.run("later = np.concatenate([late, late])").ok()
    watched.run("%%snakepit\ntotal = late.sum() + later.sum()").ok()
    assert value(watched, "moves()") == [("export", 8_000_000), ("export", 16_000_000)]
    assert value(watched, "float(total)") == 3_000_000.0


@needs_library
def test_in_place_a_cell_and_the_notebook_see_each_other_write(watched: Notebook) -> None:
    watched.run("shared = np.zeros(1_000_000)").ok()
    job = "shared[0] = 1\nwhile shared[1] != 2:\n    time.sleep(0.001)\nshared[2] = 3"
    watched.run("import time").ok()
    watched.run(f"%%snakepit -b -n job --inout shared\n{job}").ok()
    watched.run("while shared[0] != 1:\n    time.sleep(0.001)\nshared[1] = 2\njob.result()").ok()
    assert value(watched, "shared[:3].tolist()") == [1.0, 2.0, 3.0]
    watched.run("moves()").ok()


@needs_library
def test_what_was_written_in_place_stays_when_the_cell_fails(watched: Notebook) -> None:
    watched.run("half = np.zeros(1_000_000)").ok()
    failed = watched.run("%%snakepit --inout half\nhalf[:10] = 1\n1 / 0")
    assert failed.error is not None
    assert failed.error.ename == "ZeroDivisionError"
    assert value(watched, "half[:12].tolist()") == [1.0] * 10 + [0.0] * 2
    watched.run("%%snakepit --inout half\nhalf[:] = 2").ok()
    assert value(watched, "float(half.min()), float(half.max())") == (2.0, 2.0)


def test_status_and_doctor_tell_of_arrays(watched: Notebook) -> None:
    status = watched.run("%snakepit status").ok()
    assert status.value is not None
    for word in ("shared", "copied", "lent", "cached", "in use"):
        assert word in status.value
    doctor = watched.run("%snakepit doctor").ok()
    assert doctor.value is not None
    assert "arrays" in doctor.value
    assert doctor.result is not None
    assert "<table" in doctor.result["text/html"]


@needs_library
def test_without_the_extension_numpy_allocates_as_ever(own: Notebook) -> None:
    own.run("import numpy as np\nfrom snakepit_nb.arrays import native").ok()
    assert value(own, "native.installed()") is True
    own.run("kept = np.ones(1_000_000)\n%unload_ext snakepit_nb").ok()
    assert value(own, "native.installed(), float(kept.sum())") == (False, 1_000_000.0)
    own.run("%load_ext snakepit_nb").ok()
    assert value(own, "native.installed()") is True


@pytest.mark.parametrize(
    "off", [{"SNAKEPIT_NB_ARENA": "0"}, {"SNAKEPIT_NB_MEMFD": "0"}], ids=["no arena", "no memfd"]
)
def test_where_memory_cannot_be_shared_so_a_cell_means_the_same(
    off: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in off.items():
        monkeypatch.setenv(name, text)
    with Notebook() as kernel:
        kernel.run("import numpy as np\n%load_ext snakepit_nb").ok()
        kernel.run("x, changed = np.arange(1e6), np.zeros(1_000_000)").ok()
        kernel.run("%%snakepit --inout changed\nx[0] = -1\ny = x * 2\nchanged[:] = 5").ok()
        assert value(kernel, "list(map(float, (x[0], y[0], y[-1], changed.min())))") == [0, -2, 1999998, 5]
