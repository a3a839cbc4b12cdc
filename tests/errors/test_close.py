"""What is near a missing name: told where it lies open, bounded, and without asking anybody's object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from snakepit_nb.errors import describe
from snakepit_nb.errors.mapping import map_record

if TYPE_CHECKING:
    from collections.abc import Callable

    Cell = Callable[..., BaseException]


def _close(error: BaseException) -> tuple[str, ...]:
    return describe(error).close


def test_at_most_three_are_told_the_nearest_first(cell: Cell) -> None:
    rows = {f"column_{number}": number for number in range(9)}
    assert len(_close(cell("rows['colum_1']", rows=rows))) == 3
    assert _close(cell("rows['colum_1']", rows=rows))[0] == "column_1"


def test_case_does_not_count(cell: Cell) -> None:
    assert _close(cell("rows['id']", rows={"ID": 1, "Name": 2})) == ("ID",)


def test_what_is_alike_in_nothing_is_not_told(cell: Cell) -> None:
    error = cell("rows['zebra']", rows={"price": 1})
    assert _close(error) == ()
    mapped = map_record(describe(error))
    assert mapped is not None
    assert "close" not in mapped.facts
    assert "did you mean" not in mapped.suggestion


@pytest.mark.parametrize("key", ["1", "('alpha',)", "None", "b'alpha'"])
def test_only_texts_are_near_texts(cell: Cell, key: str) -> None:
    assert _close(cell(f"rows[{key}]", rows={"alpha": 1, "1": 2, "None": 3})) == ()


def test_of_very_many_keys_the_first_are_looked_at_and_long_ones_are_left_out(cell: Cell) -> None:
    many = {f"{number:09d}": 0 for number in range(200_000)} | {"alpha": 1}
    assert _close(cell("rows['alpah']", rows=many)) == ()
    assert _close(cell("rows['alpah' * 100]", rows={"alpha" * 100: 1})) == ()
    wide = pd.DataFrame(np.ones((1, 20_000)), columns=[f"{number:09d}" for number in range(20_000)])
    assert _close(cell("df['000000x01']", df=wide))


def test_only_what_the_failing_line_names_is_looked_at(cell: Cell) -> None:
    source = "def f(mine):\n    other['alpha']\n    return mine['alpah']\nf({})"
    assert _close(cell(source, other={"alpha": 1})) == ()


def test_a_variable_that_a_function_knows_is_told_before_those_of_the_notebook(cell: Cell) -> None:
    error = cell("def f():\n    learning_rate = 3\n    return lerning_rate\nf()", learn=1)
    assert _close(error)[0] == "learning_rate"


def test_names_with_a_leading_underscore_are_for_those_who_miss_one(cell: Cell) -> None:
    source = "class A:\n    _alpha = 1\n{}"
    assert _close(cell(source.format("A().alpha"))) == ()
    assert _close(cell(source.format("A()._alpah"))) == ("_alpha",)


def test_slots_are_attributes_too(cell: Cell) -> None:
    assert _close(cell("class A:\n    __slots__ = ('alpha',)\nA().alhpa")) == ("alpha",)


def test_the_attributes_of_what_a_library_made_are_told(cell: Cell) -> None:
    assert _close(cell("np.ones(3).reshpe(3)", np=np))[0] == "reshape"
    assert _close(cell("np.linalg.invv", np=np))[0] == "inv"


def test_no_code_of_an_object_runs_and_no_object_is_hurt(cell: Cell) -> None:
    def asked(*_: object, **__: object) -> Any:
        ran.append("code")
        message = "asked"
        raise RuntimeError(message)

    ran: list[str] = []
    lies: dict[str, Any] = {
        "__dir__": asked,
        "__iter__": asked,
        "keys": asked,
        "__len__": asked,
        "__contains__": asked,
    }
    lies["__module__"] = "__main__"
    rows = type("Rows", (dict,), lies)(alpha=1)
    thing = type("Thing", (), {**lies, "alpha": property(asked), "__eq__": asked, "__hash__": asked})()
    text = type(
        "Text", (str,), {"__len__": asked, "__eq__": asked, "__hash__": str.__hash__, "casefold": asked}
    )
    assert _close(cell("rows['alpah']", rows=rows)) == ("alpha",)
    assert _close(cell("thing.alpah", thing=thing)) == ("alpha",)
    ran.clear()
    assert _close(cell("rows['omega']", rows={text("alpha"): 1})) == ()
    assert ran == []


def test_keys_that_change_while_they_are_read_are_no_obstacle(cell: Cell) -> None:
    class Row(dict[str, int]):
        def __missing__(self, key: str) -> int:
            self.clear()
            raise KeyError(key)

    assert describe(cell("rows['alpah']", rows=Row(alpha=1))).type.name == "KeyError"


def test_a_missing_module_has_no_near_ones_where_it_is_known_and_only_not_installed(cell: Cell) -> None:
    error = cell("raise_it('umap')", raise_it=_import)
    assert _close(error) == ()


def _import(name: str) -> None:
    message = f"No module named {name!r}"
    raise ModuleNotFoundError(message, name=name)
