"""`--map ITEM in ITEMS` on a line: where it ends, what it takes, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from snakepit_nb.magics import items
from snakepit_nb.magics.arguments import CellOptions, parse_cell

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("line", "target", "source"),
    [
        ("--map x in xs", "x", "xs"),
        ("train --map x in xs -o y", "x", "xs"),
        ("--map x in ['a b', \"c -b\"] -q", "x", "['a b', 'c -b']"),
        ("--map key, rows in frame.groupby('key') # each group", "(key, rows)", "frame.groupby('key')"),
        ("--map x in f(a, -b) -t 3", "x", "f(a, -b)"),
        ("--map i in range(2 - 1, 9)", "i", "range(2 - 1, 9)"),
        ("--map='x in xs' -q", "x", "xs"),
        ("--map=x in xs -q", "x", "xs"),
        ('--map "x in xs" -q', "x", "xs"),
        ("--map a, (b, *c) in rows", "(a, (b, *c))", "rows"),
    ],
)
def test_it_takes_all_that_belongs_to_the_items_and_no_more(line: str, target: str, source: str) -> None:
    each = parse_cell(line).each
    assert each is not None
    assert (each.target, each.source) == (target, source)


def test_what_stands_around_it_is_read_as_ever() -> None:
    chosen = parse_cell("train --map x in [1, 2] -o a,best=y -n sweep -q")
    assert chosen == CellOptions(
        pool="train",
        outputs=parse_cell("-o a,best=y").outputs,
        name="sweep",
        quiet=True,
        each=items.read("x in [1, 2]"),
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--map", "--map takes ITEM in ITEMS, as in --map x in xs, got nothing"),
        ("--map -q", "got nothing"),
        ("--map xs", "got 'xs'; to go through it: --map x in xs"),
        ("--map x in xs gpu", "got 'x in xs gpu'; the pool goes before --map"),
        ("--map x in xs if x", "to leave some out: --map x in [x for x in xs if …]"),
        ("--map x.y in xs", "takes names before its in, as in --map x in xs, got 'x.y'"),
        ("--map x[0] in xs", "takes names before its in"),
        ("--map x, x in xs", "binds a name twice"),
        ("--map x in xs] + [0 for y in ys", "--map takes ITEM in ITEMS"),
        ("--map x in xs --map y in ys", "--map is given twice"),
        ("--map x in xs --all", "keep one of them"),
        ("--map x in xs --session s", "--map runs in many workers, --session s in one"),
        ("--all --session s", "--all runs in many workers, --session s in one"),
        ("--map x in xs -i x", "-i x: --map gives each run its own; leave x out of -i"),
        ("--map x in xs --inout x", "--inout x: --map gives each run its own"),
        ("--progress", "--progress is for cells with --map or --all; leave it out"),
        ("--no-progress", "--no-progress is for cells with --map or --all"),
    ],
)
def test_what_it_cannot_be_is_refused_with_what_to_write_instead(line: str, sentence: str) -> None:
    with pytest.raises(UsageError) as found:
        parse_cell(line)
    assert sentence in str(found.value)


@given(st.text(alphabet="xin [](){}'\"\\,:;#=-*\tab\n1if_", max_size=30))
def test_no_text_is_read_as_anything_but_one_loop_or_refused(text: str) -> None:
    try:
        each = items.read(text)
    except UsageError:
        return
    assert all(name.isidentifier() for name in each.names)
    assert items.read(f"{each.target} in {each.source}") == each


def test_items_are_taken_one_at_a_time() -> None:
    asked: list[int] = []

    def source() -> Iterator[int]:
        for number in range(3):
            asked.append(number)
            yield number

    given_ = items.read("n in source").bound(source())
    assert next(given_) == {"n": 0}
    assert asked == [0]


def test_rows_of_an_array_are_views_and_not_copies() -> None:
    table = np.zeros((3, 2))
    rows = [each["row"] for each in items.read("row in table").bound(table)]
    assert all(np.shares_memory(row, table) for row in rows)


def test_an_item_that_does_not_fit_the_names_says_so_as_python_does() -> None:
    with pytest.raises(ValueError, match="not enough values to unpack"):
        list(items.read("a, b in pairs").bound([(1,)]))


@pytest.mark.parametrize(
    ("values", "many"),
    [
        (range(4), 4),
        ([], 0),
        (np.zeros((5, 2)), 5),
        ((n for n in "ab"), None),
        ({"a": 1}, 1),
        (iter([1, 2]), 2),
    ],
)
def test_how_many_there_are_is_known_where_that_can_be(values: object, many: int | None) -> None:
    assert items.how_many(values) == many


def test_what_cannot_be_gone_through_is_refused_by_its_kind() -> None:
    with pytest.raises(UsageError, match="--map x in n: expected something to go through, got one int"):
        items.read("x in n").values({"n": 3}, "<test>")
