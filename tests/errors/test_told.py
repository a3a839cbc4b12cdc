"""What is told of an exception on the bus: its class, and the library and the function that raised it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest

from snakepit_nb import Pool, events, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_SINGULAR = ("numpy", "_raise_linalgerror_singular")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, name="told") as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """The pool stays for the tests of this file; its own end is tested elsewhere."""


def broadcast() -> object:
    return np.ones(3) + np.ones(4)


def inverts() -> object:
    return np.linalg.inv(np.zeros((2, 2)))


def missing_column() -> object:
    table = pd.DataFrame({"price_that_is_secret": [1]})
    return table["price_that_is_secre"]


def missing_file() -> object:
    return open("/no/such")  # noqa: PTH123 - it cannot be opened


def no_member() -> object:
    return np.no_such_function  # type: ignore[attr-defined]


def recursion(depth: int = 0) -> object:
    return recursion(depth + 1)


def says_the_same() -> object:
    message = "operands could not be broadcast together with shapes (3,) (4,) "
    raise ValueError(message)


class Told(NamedTuple):
    """What an event says of a task's exception."""

    task: Callable[[], object]
    fate: str
    kind: str
    source: tuple[str, str]
    error: str


TOLD = [
    Told(broadcast, "mapped", "ValueError", ("numpy", "add"), "ShapeMismatch"),
    Told(inverts, "mapped", "numpy.linalg.LinAlgError", _SINGULAR, "NumericalError"),
    Told(missing_column, "mapped", "KeyError", ("pandas", "get_loc"), "MissingKey"),
    # A function of a module, as this one, is not the user's cell.
    Told(missing_file, "mapped", "FileNotFoundError", ("tests", "missing_file"), "FileMissing"),
    Told(no_member, "mapped", "AttributeError", ("numpy", "__getattr__"), "MissingName"),
    Told(recursion, "mapped", "RecursionError", ("tests", "recursion"), "TooDeep"),
    Told(says_the_same, "unmapped", "ValueError", ("tests", "says_the_same"), "RemoteError"),
]


@pytest.mark.parametrize("each", TOLD, ids=lambda each: each.task.__name__)
def test_an_event_names_who_raised_and_what_it_became(pool: Pool, each: Told) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    names = (events.PYTHON_EXCEPTION_MAPPED, events.PYTHON_EXCEPTION_UNMAPPED)
    telemetry.attach_many(
        "told", names, lambda name, _numbers, known, _config: told.append((name[-1], dict(known)))
    )
    assert pool.submit(each.task).exception() is not None
    assert telemetry.detach("told")
    ((seen, facts),) = told
    assert (seen, facts["python_type"], facts["error"]) == (each.fate, each.kind, each.error)
    assert (facts["library"], facts["function"]) == each.source
    assert "secret" not in repr(told)
