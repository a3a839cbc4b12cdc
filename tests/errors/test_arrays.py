"""The arrays of the failing line arrive with an error: what they are, and nothing that they hold."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch

from snakepit_nb.errors import ArrayFacts, describe, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Cell = Callable[..., BaseException]


def _told(error: BaseException) -> dict[str, tuple[str, tuple[int, ...], str, str]]:
    return {each.name: (each.library, each.shape, each.dtype, each.device) for each in describe(error).arrays}


ARRAYS: dict[str, tuple[Callable[[], object], tuple[str, tuple[int, ...], str, str]]] = {
    "numpy": (lambda: np.ones((3, 2), "f4"), ("numpy", (3, 2), "float32", "cpu")),
    "numpy text": (lambda: np.array(["a"]), ("numpy", (1,), "<U1", "cpu")),
    "numpy records": (lambda: np.zeros(2, [("secret", "i4")]), ("numpy", (2,), "void32", "cpu")),
    "masked": (lambda: np.ma.ones(3), ("numpy", (3,), "float64", "cpu")),
    "torch": (lambda: torch.ones(2, 3), ("torch", (2, 3), "float32", "cpu")),
    "torch parameter": (lambda: torch.nn.Parameter(torch.ones(2)), ("torch", (2,), "float32", "cpu")),
    "torch meta": (lambda: torch.ones(2, device="meta"), ("torch", (2,), "float32", "meta")),
    "jax": (lambda: jnp.ones((2, 3)), ("jax", (2, 3), "float32", "cpu")),
    "pandas": (
        lambda: pd.DataFrame({"secret": [1], "b": ["x"]}),
        ("pandas", (1, 2), "int64, str", "cpu"),
    ),
    "categories": (
        lambda: pd.Series(["secret"], dtype="category"),
        ("pandas", (1,), "category", "cpu"),
    ),
    "index": (lambda: pd.Index([1, 2]), ("pandas", (2,), "int64", "cpu")),
    "polars": (
        lambda: pl.DataFrame({"a": [1], "b": ["x"]}, schema_overrides={"b": pl.Enum(["x", "secret"])}),
        ("polars", (1, 2), "Int64, Enum", "cpu"),
    ),
    "polars series": (lambda: pl.Series("a", [1.0]), ("polars", (1,), "Float64", "cpu")),
    "arrow": (
        lambda: pa.table({"a": [1], "b": [{"secret": 1}]}),
        ("pyarrow", (1, 2), "int64, struct", "cpu"),
    ),
    "arrow batch": (lambda: pa.record_batch({"a": [1]}), ("pyarrow", (1, 1), "int64", "cpu")),
    "arrow array": (lambda: pa.array([1.0]), ("pyarrow", (1,), "double", "cpu")),
    "arrow chunks": (lambda: pa.chunked_array([[1], [2]]), ("pyarrow", (2,), "int64", "cpu")),
    "sparse array": (lambda: sp.csr_array(np.eye(3)), ("scipy", (3, 3), "float64", "cpu")),
    "sparse matrix": (lambda: sp.csr_matrix(np.eye(3)), ("scipy", (3, 3), "float64", "cpu")),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_is_told_by_library_shape_dtype_and_device(cell: Cell, kind: str) -> None:
    make, facts = ARRAYS[kind]
    error = cell("x + 1 // 0", x=make())
    assert _told(error) == {"x": facts}
    assert "secret" not in to_json(describe(error))


def test_what_stands_in_the_failing_part_of_the_line_comes_first(cell: Cell) -> None:
    a, b, c = np.ones(1), np.ones(2), np.ones(3)
    error = cell("z = 1\ny = a[0] + (c + b).sum() + z\n", a=a, b=b, c=c)
    assert list(_told(error)) == ["c", "b", "a"]


def test_only_the_failing_line_counts_and_only_the_users_own(cell: Cell) -> None:
    source = """
def f(x, w, other):
    y = other.sum()
    return np.concatenate(
        [x, w],
    )
f(*given)"""
    given = (np.ones((2, 3)), np.ones((2, 4)), np.ones(5))
    error = cell(source, np=np, given=given)
    assert _told(error) == {
        "x": ("numpy", (2, 3), "float64", "cpu"),
        "w": ("numpy", (2, 4), "float64", "cpu"),
    }


def test_attributes_and_constant_keys_are_followed_where_they_lie_open(cell: Cell) -> None:
    model = torch.nn.Linear(3, 2)
    batch = {"ids": torch.ones(4)}
    error = cell("model.weight @ batch['ids']", model=model, batch=batch)
    assert _told(error) == {
        "model.weight": ("torch", (2, 3), "float32", "cpu"),
        "batch['ids']": ("torch", (4,), "float32", "cpu"),
    }


def test_where_the_line_names_none_a_library_s_error_tells_what_the_frame_holds(cell: Cell) -> None:
    source = "def f(x):\n    pair = [x, np.ones(4)]\n    return np.concatenate(\n        pair, axis=2)\nf(w)"
    assert list(_told(cell(source, np=np, w=np.ones(3)))) == ["x"]
    assert _told(cell("def f(x):\n    return {}['a']\nf(w)", w=np.ones(3))) == {}


def test_their_number_is_bounded(cell: Cell) -> None:
    names = {f"x{number}": np.ones(number) for number in range(2, 30)}
    assert len(describe(cell(f"np.hypot({', '.join(names)}, 0)[1 // 0]", np=np, **names)).arrays) == 8


def test_one_array_under_two_names_is_told_once(cell: Cell) -> None:
    x = np.ones(3)
    assert list(_told(cell("x + y + 1 // 0", x=x, y=x))) == ["x"]


def test_a_traced_array_is_told_without_its_device(cell: Cell) -> None:
    error = cell("def f(x):\n    return x @ jnp.ones(7)\njax.jit(f)(w)", jax=jax, jnp=jnp, w=jnp.ones(3))
    assert _told(error) == {"x": ("jax", (3,), "float32", "")}


def test_no_code_of_a_subclass_or_of_what_only_looks_like_an_array_runs(cell: Cell) -> None:
    def asked(*_: object, **__: object) -> Any:
        ran.append("code")
        return (1,)

    ran: list[str] = []
    lies = {"shape": property(asked), "dtype": property(asked), "__getattr__": asked}
    names = {
        "a": np.ones(3).view(type("Mine", (np.ndarray,), lies)),
        "b": torch.ones(3).as_subclass(
            type(
                "Mine", (torch.Tensor,), {"__torch_function__": classmethod(asked), "shape": property(asked)}
            )
        ),
        "c": type("Mine", (), {**lies, "__getattribute__": asked, "__class__": property(asked)})(),
        "d": type("Mine", (pd.DataFrame,), {"shape": property(asked)})({"a": [1]}),
    }
    ran.clear()
    error = cell("(a, b, c, d, 1 // 0)", **names)
    told = _told(error)
    assert ran == []
    assert {name: facts[:2] for name, facts in told.items()} == {
        "a": ("numpy", (3,)),
        "b": ("torch", (3,)),
        "d": ("pandas", (1, 1)),
    }


def test_arrays_of_cupy_are_told_with_their_card(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in: CuPy itself needs a card. Names and attributes are those of cupy.ndarray.
    class ndarray:  # noqa: N801 - as it is called there
        __module__ = "cupy"
        shape = property(lambda _self: (3, 2))
        dtype = property(lambda _self: np.dtype("f4"))
        device = property(lambda _self: types.SimpleNamespace(id=1))

    module = types.ModuleType("cupy")
    vars(module)["ndarray"] = ndarray
    monkeypatch.setitem(sys.modules, "cupy", module)
    assert _told(cell("x + 1 // 0", x=ndarray())) == {"x": ("cupy", (3, 2), "float32", "cuda:1")}


def test_the_facts_are_text_that_may_be_shown() -> None:
    assert ArrayFacts("x", "numpy", (3,), "float64", "cpu").text == "x: numpy (3,) float64"
