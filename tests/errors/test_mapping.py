from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from snakepit_nb.errors import describe
from snakepit_nb.errors.mapping import RULES, Mapped, map_record, shapes_in
from snakepit_nb.errors.types import (
    DtypeMismatch,
    ImportFailed,
    MissingKey,
    NumericalError,
    OutOfMemory,
    RemoteError,
    ShapeMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.errors import ErrorRecord
    from snakepit_nb.errors.mapping import Rule

    Cell = Callable[..., BaseException]


def _mapped(error: BaseException) -> Mapped | None:
    return map_record(describe(error))


# What a user writes, and what the real library's error for it becomes.
RAISED: list[tuple[str, type[RemoteError], dict[str, object]]] = [
    ("np.ones(3) + np.ones(4)", ShapeMismatch, {"shapes": ((3,), (4,))}),
    ("np.where([True, False], np.ones(3), 1)", ShapeMismatch, {"shapes": ((2,), (3,), ())}),
    ("np.broadcast_to(np.ones(3), (4,))", ShapeMismatch, {"shapes": ((3,), (4,))}),
    ("x = np.ones(3); x += np.ones((2, 3))", ShapeMismatch, {"shapes": ((3,), (2, 3))}),
    ("x = np.ones(3); x[:] = np.ones(4)", ShapeMismatch, {"shapes": ((4,), (3,))}),
    ("np.ones((3, 2)) @ np.ones((4, 2))", ShapeMismatch, {"sizes": (2, 4)}),
    ("np.ones((3, 2)).dot(np.ones((4, 2)))", ShapeMismatch, {"shapes": ((3, 2), (4, 2))}),
    ("np.concatenate([np.ones((2, 3)), np.ones((2, 4))])", ShapeMismatch, {"sizes": (3, 4)}),
    ("np.vstack([np.ones(2), np.ones(3)])", ShapeMismatch, {"sizes": (2, 3)}),
    ("np.concatenate([np.ones((2, 3)), np.ones(2)])", ShapeMismatch, {}),
    ("np.stack([np.ones(2), np.ones(3)])", ShapeMismatch, {}),
    ("np.ones(6).reshape(4, 2)", ShapeMismatch, {"shapes": ((4, 2),)}),
    ("np.ones(6).reshape(4, -1)", ShapeMismatch, {}),
    ("np.linalg.inv(np.ones((2, 3)))", ShapeMismatch, {}),
    ("np.array(['a']) + 1", DtypeMismatch, {"dtypes": ("<U1", "int64")}),
    ("np.ones(2) < np.array(['a'])", DtypeMismatch, {"dtypes": ("float64", "str")}),
    ("x = np.ones(3, int); x += 0.5", DtypeMismatch, {"dtypes": ("float64", "int64")}),
    ("np.linalg.inv(np.zeros((2, 2)))", NumericalError, {}),
    ("np.linalg.solve(np.zeros((2, 2)), np.ones(2))", NumericalError, {}),
    ("np.linalg.cholesky(-np.eye(2))", NumericalError, {}),
    ("np.linalg.svd(np.full((2, 2), np.nan))", NumericalError, {}),
    ("np.zeros((10**7, 10**7))", OutOfMemory, {"asked_bytes": 8 * 10**14, "device": "cpu"}),
    ("np.ones((10**7, 10**7), np.uint8)", OutOfMemory, {"asked_bytes": 10**14, "device": "cpu"}),
    ("bytearray(10**15)", OutOfMemory, {"device": "cpu"}),
    ("import no_such_module", ImportFailed, {"module": "no_such_module", "package": "no_such_module"}),
    ("import no_such.module", ImportFailed, {"module": "no_such", "package": "no_such"}),
    ("import numpy.nope", ImportFailed, {"module": "numpy.nope", "package": None}),
    ("import bisect.nope", ImportFailed, {"module": "bisect.nope", "package": None}),
    ("{}['a']", MissingKey, {"key": "'a'"}),
    ("{}.pop(('a', 1))", MissingKey, {"key": "('a', 1)"}),
    ("[1][4]", MissingKey, {}),
    ("(1,)[4]", MissingKey, {}),
    ("[].pop()", MissingKey, {}),
    ("np.ones((3, 2))[1, 7]", MissingKey, {"key": "7", "axis": 1, "size": 2}),
    ("pd.DataFrame({'a': [1]})['b']", MissingKey, {"key": "'b'"}),
    ("pd.Series([1]).iloc[4]", MissingKey, {}),
]


@pytest.mark.parametrize(("source", "cls", "facts"), RAISED, ids=[source for source, *_ in RAISED])
def test_what_a_library_raises_becomes_its_class_with_its_facts(
    cell: Cell, source: str, cls: type[RemoteError], facts: dict[str, object]
) -> None:
    mapped = _mapped(cell(source, np=np, pd=pd))
    assert mapped is not None
    assert mapped.cls is cls
    assert mapped.facts == facts
    assert mapped.suggestion
    for name in facts:
        assert hasattr(cls, name)


# Near misses: the words or the type alone, or from the user's own hand.
MISSES = [
    "raise ValueError('operands could not be broadcast together with shapes (3,) (4,) ')",
    "raise ValueError('shapes (3,2) and (4,2) not aligned: 2 (dim 1) != 4 (dim 0)')",
    "raise ValueError('matmul: Input operand 1 has a mismatch in its core dimension 0, of mine')",
    "raise ValueError('all input arrays must have the same shape')",
    "raise ValueError('cannot reshape array of size 6 into shape (4,2)')",
    "raise RuntimeError('Singular matrix')",
    "raise ValueError('Singular matrix')",
    "raise RuntimeError('Unable to allocate 8.00 GiB for an array with shape (1,) and data type float64')",
    "raise ValueError('the room of the zoom is out of memory')",
    "raise ImportError(\"No module named 'x'\")",
    "from numpy import nope",
    "raise KeyError('mine')",
    "class Mine(KeyError):\n    pass\nraise Mine('a')",
    "class Mine(MemoryError):\n    pass\nraise Mine('a')",
    "raise IndexError('list index out of range')",
    "raise IndexError('index 7 is out of bounds for axis 1 with size 2')",
    "np.ones((3, 2))[1, 7, 2]",
    "np.ones(3)['a']",
    "np.array([1, 2]).sum(axis=3)",
    "np.ones(3, dtype='nope')",
    "np.cross(np.ones(3), np.ones(5))",
    "raise np.linalg.LinAlgError('Singular matrix, said the user')",
    "int('numpy')",
]


@pytest.mark.parametrize("source", MISSES)
def test_what_only_resembles_a_rule_is_left_alone(cell: Cell, source: str) -> None:
    assert _mapped(cell(source, np=np)) is None


@pytest.mark.parametrize(
    "rule", RULES, ids=lambda rule: f"{rule.library}-{rule.type}-{rule.pattern.pattern[:30]}"
)
def test_every_rule_is_met_by_a_real_error_and_missed_when_one_part_differs(cell: Cell, rule: Rule) -> None:
    hits = [record for record in _records(cell) if rule.fits(record)]
    assert hits, "no real error shows this rule"
    record = hits[0]
    other_type = replace(record, type=type(record.type)("builtins", "UserWarning"), bases=())
    assert not rule.fits(other_type)
    if record.message:
        longer = replace(record, message=f"so: {record.message}")
        assert not rule.fits(longer) or rule.pattern.pattern in {".*", ".+"}
    if rule.library not in {"*", record.type.root}:
        elsewhere = replace(record, library="elsewhere")
        owned = ":" in rule.type
        assert bool(rule.fits(elsewhere)) == owned


def _records(cell: Cell) -> list[ErrorRecord]:
    return [describe(cell(source, np=np, pd=pd)) for source, *_ in RAISED]


def test_a_missing_module_names_the_package_to_install() -> None:
    error = ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    mapped = _mapped(error)
    assert mapped is not None
    assert mapped.facts["package"] == "scikit-learn"
    assert "%pip install scikit-learn" in mapped.suggestion


def test_the_table_knows_no_library_by_import() -> None:
    module = importlib.import_module("snakepit_nb.errors.mapping")
    assert not {"numpy", "pandas", "torch"} & vars(module).keys()


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("(3,) (4,)", ((3,), (4,))),
        ("(2,3) ()", ((2, 3), ())),
        ("(2, 3)", ((2, 3),)),
        ("(dim 1) (4)", ()),
        ("f(3)", ()),
    ],
)
def test_shapes_are_told_from_other_parentheses(text: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    assert shapes_in(text) == shapes
