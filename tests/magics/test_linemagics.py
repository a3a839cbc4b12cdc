from __future__ import annotations

import pytest

from snakepit_nb.magics.linemagics import spoken


@pytest.mark.parametrize(
    ("source", "names", "assigned"),
    [
        ("get_ipython().run_line_magic('timeit', '-n 10 f(x)')", {"n", "f", "x"}, set()),
        ("get_ipython().run_line_magic('time', 'y = f(x)')", {"y", "f", "x"}, {"y"}),
        ("get_ipython().run_line_magic('time', 'y == x')", {"y", "x"}, set()),
        ("get_ipython().system('cat $path {n + 1} plain')", {"path", "n"}, set()),
        ("files = get_ipython().getoutput('ls $folder')", {"folder"}, set()),
        ("get_ipython().run_line_magic('load_ext')", set(), set()),
        ("other().run_line_magic('time', 'x')", set(), set()),
        ("get_ipython().magic(x)", set(), set()),
    ],
)
def test_names_in_the_text_of_a_magic_are_found(source: str, names: set[str], assigned: set[str]) -> None:
    found = spoken(source)
    assert (set(found.names), set(found.assigned)) == (names, assigned)


def test_cell_magics_below_are_told() -> None:
    assert spoken("get_ipython().run_cell_magic('time', '', 'x')").cell_magics == ("time",)
