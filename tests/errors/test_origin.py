from __future__ import annotations

import json
import operator
from typing import TYPE_CHECKING

import jax
import jax.numpy
import numpy as np
import pandas as pd
import pytest

from snakepit_nb.errors import describe

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("source", "library", "function"),
    [
        ("x @ w", "numpy", "matmul"),
        ("x + np.ones(4)", "numpy", "add"),
        ("x += np.ones(4)", "numpy", "add"),
        ("y = (x + 1).reshape(7)", "numpy", "reshape"),
        ("np.concatenate([x, w])", "numpy", "concatenate"),
        ("np.linalg.inv(np.zeros((2, 2)))", "numpy", "_raise_linalgerror_singular"),
        ("x[5]", "numpy", "getitem"),
        ("x[5] = 1", "numpy", "setitem"),
        ("def f():\n    return x @ w\nf()", "numpy", "matmul"),
        ("[q.reshape(7) for q in [x]]", "numpy", "reshape"),
        ("box.x.reshape(7)", "numpy", "reshape"),
        ("json.loads('{')", "json", "raw_decode"),
        ("{}['a']", "builtins", "getitem"),
        ("int('x')", "builtins", "int"),
        ("open('/no such file')", "builtins", "open"),
        ("1 / 0", "builtins", "truediv"),
        ("import no_such_module", "builtins", "import"),
        ("raise ValueError('mine')", "python", ""),
        ("assert x is None", "python", ""),
        ("def f():\n    raise KeyError('mine')\nf()", "python", ""),
    ],
)
def test_library_and_function_are_those_of_whatever_raised(
    cell: Callable[..., BaseException], source: str, library: str, function: str
) -> None:
    class Box:
        x = None

        def __getattr__(self, name: str) -> object:
            pytest.fail(f"{name} was asked for, which runs the user's code")

    box = Box()
    box.__dict__["x"] = np.ones(3)
    names = {"np": np, "json": json, "x": np.ones(3), "w": np.ones((4, 2)), "box": box}
    record = describe(cell(source, **names))
    assert (record.library, record.function) == (library, function)


def test_what_the_user_raises_in_a_librarys_callback_is_told_by_that_library(
    cell: Callable[..., BaseException],
) -> None:
    source = "def hook(pairs):\n    raise ValueError('mine')\njson.loads('{}', object_pairs_hook=hook)"
    record = describe(cell(source, json=json))
    assert record.library == "json"


def test_an_error_at_the_end_of_a_very_long_cell_is_told_like_any_other(
    cell: Callable[..., BaseException],
) -> None:
    lines = [f"a{number} = (a{max(0, number - 1)}\n  + 1)" for number in range(8_000)]
    error = cell("\n".join(["a0 = 0", *lines, "x @ w"]), x=np.ones(3), w=np.ones(4))
    record = describe(error)
    assert (record.library, record.function) == ("numpy", "matmul")
    assert [each.name for each in record.arrays] == ["x", "w"]


def test_an_operation_that_a_library_hands_on_is_that_of_whose_values_they_are(
    cell: Callable[..., BaseException],
) -> None:
    record = describe(cell("operator.add(x, w)", operator=operator, x=np.ones(3), w=np.ones(4)))
    assert (record.library, record.function) == ("numpy", "add")
    record = describe(cell("pd.Series([1, 2]) + [1, 2, 3]", pd=pd))
    assert (record.library, record.function) == ("numpy", "add")
    record = describe(cell("operator.getitem({}, 'a')", operator=operator))
    assert (record.library, record.function) == ("builtins", "getitem")


def test_a_library_that_takes_its_own_frames_away_is_told_all_the_same(
    cell: Callable[..., BaseException],
) -> None:
    record = describe(cell("jax.vmap(lambda x, y: x + y)(jnp.ones(3), jnp.ones(4))", jax=jax, jnp=jax.numpy))
    assert record.library == "jax"


def test_a_function_that_was_called_by_another_name_keeps_its_own(cell: Callable[..., BaseException]) -> None:
    record = describe(cell("call(x, w)", call=np.add, x=np.ones(3), w=np.ones(4)))
    assert (record.library, record.function) == ("numpy", "add")
