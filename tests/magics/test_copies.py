"""The line below a cell that says what was copied rather than shared: when it comes, and what it says."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb import events, options
from snakepit_nb.magics.cell import evaluate, run_cell
from snakepit_nb.magics.copies import Copy, is_worth_a_line, sentence
from snakepit_nb.pool import loans
from tests.stores import checked_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.testing import Captured

ELSEWHERE = "made before the pool started, or by a library that has memory of its own"
COPIED = "snakepit.cell.copied"
PICKLED = "no array or table, so it is pickled"
MB = 1_000_000
numbers = itertools.count(1)


@pytest.fixture
def told_all() -> Iterator[None]:
    """Every copy of a MiB is worth a line."""
    with options.override(report_copies_ms=10_000, report_copies_bytes=MB):
        yield


def elsewhere(length: int) -> np.ndarray:
    """An array whose content no other has: a copy that was kept of one at the same address is another's."""
    loans.bear_no_more()
    try:
        return np.full(length, float(next(numbers)))
    finally:
        loans.bear_here()


def words(number: int) -> list[str]:
    return [f"{each:032}" for each in range(number)]


def copied(found: Captured) -> list[tuple[Any, ...]]:
    """What was told of copies that are large; a small one may take long on a machine that is busy."""
    keys = ("name", "how", "reason", "direction")
    large = [each for each in found if each.measurements["bytes"] >= MB]
    return [tuple(each.metadata[key] for key in keys) for each in large]


@pytest.mark.usefixtures("told_all")
def test_one_line_names_what_was_copied_to_the_worker_and_back_with_the_reasons(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"x": elsewhere(500_000), "texts": words(100_000), "words": words, "n": 3})
    with checked_events(COPIED) as captured:
        run_cell(shell, "", "made = words(90_000)\n(x.sum(), len(texts), n)")
    shared = loans.kernel_store().arena is not None
    reason = "first_share" if shared else loans.kernel_store().lacking
    expected = [
        ("x", "kept" if shared else "pickled", reason, "to_worker"),
        ("texts", "pickled", None, "to_worker"),
        ("made", "pickled", None, "to_kernel"),
    ]
    assert sorted(copied(captured)) == sorted(expected)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("snakepit: ")
    assert "were copied in" in line
    # The pickler tells its place to 64 KiB.
    assert re.search(rf"texts \(3\.[456] MB\): {PICKLED}", line)
    assert re.search(rf"made on its way back \(3\.[012] MB\): {PICKLED}", line)
    assert "x (4.0 MB): " in line
    assert not shared or f"x (4.0 MB): {ELSEWHERE}" in line


@pytest.mark.usefixtures("told_all")
def test_a_name_that_is_met_twice_is_told_once(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = words(100_000)
    shell.push({"texts": texts, "again": texts, "inside": {"texts": texts}})
    run_cell(shell, "", "len(texts) + len(again) + len(inside)")
    [line] = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"snakepit: (texts|again|inside) \(3\.[456] MB\) was copied in .*", line)


@pytest.mark.usefixtures("told_all")
def test_the_last_value_counts_and_so_does_an_expression_of_a_line(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"words": words})
    run_cell(shell, "", "words(100_000)")
    assert re.search(r"the last value \(3\.[456] MB\) came back as a copy in", capsys.readouterr().out)
    evaluate(shell, "words(100_000)")
    assert re.search(r"the last value \(3\.[456] MB\) came back as a copy in", capsys.readouterr().out)


@pytest.mark.usefixtures("told_all")
def test_a_cell_that_fails_says_what_it_cost_too(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"texts": words(100_000)})
    with pytest.raises(ZeroDivisionError):
        run_cell(shell, "", "len(texts) / 0")
    assert re.search(r"texts \(3\.[456] MB\) was copied", capsys.readouterr().out)


@pytest.mark.usefixtures("told_all")
def test_a_cell_in_the_background_says_it_at_once_and_of_its_results_when_it_is_over(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"texts": words(100_000), "words": words})
    job: Any = run_cell(shell, "-b", "made = words(len(texts))")
    assert re.search(r"texts \(3\.[456] MB\) was copied", capsys.readouterr().out)
    job.result()
    assert re.search(r"made \(3\.[456] MB\) came back as a copy", capsys.readouterr().out)


def test_nothing_is_said_of_little_nor_of_a_quiet_cell(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"texts": words(100_000), "x": elsewhere(1000), "shared": np.ones(300_000)})
    with options.override(report_copies_ms=10_000):
        run_cell(shell, "", "len(texts), x.sum(), shared.sum()")
        assert capsys.readouterr().out == ""
    with options.override(report_copies_bytes=0):
        run_cell(shell, "-q", "len(texts)")
        assert capsys.readouterr().out == ""
        run_cell(shell, "-q -b", "len(texts)").result()  # type: ignore[attr-defined]
        assert capsys.readouterr().out == ""


def test_what_is_shared_is_no_copy(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    if loans.kernel_store().arena is None:
        pytest.skip("nothing is shared here: SNAKEPIT_NB_ARENA=0, or no memory that processes can share")
    shell.push({"x": np.ones(500_000), "pre": elsewhere(500_000)})
    with options.override(report_copies_bytes=0, report_copies_ms=10_000):
        run_cell(shell, "", "pre.sum()")
        assert "pre (4.0 MB) was copied in" in capsys.readouterr().out
        with checked_events(COPIED) as captured:
            run_cell(shell, "", "y = x * 2 + pre")
    assert copied(captured) == [("pre", "compared", "first_share", "to_worker")]
    assert capsys.readouterr().out == ""


def test_a_function_that_travels_by_value_does_not_hide_what_its_neighbours_cost(
    shell: InteractiveShell,
) -> None:
    shell.run_cell("def double(n):\n    return 2 * n")
    shell.push({"texts": words(100_000)})
    with checked_events(COPIED) as captured:
        assert run_cell(shell, "", "double(len(texts))") == 200_000
    assert copied(captured) == [("texts", "pickled", None, "to_worker")]
    assert 3 * MB < captured[0].measurements["bytes"] < 5 * MB


# The sentence


def a_copy(name: str, nbytes: int, ms: float = 1.0, **other: Any) -> Copy:
    facts: dict[str, Any] = {"how": "pickled", "reason": None, "comes_back": False}
    return Copy(name, nbytes=nbytes, ms=ms, **(facts | other))


def test_time_and_bytes_are_added_up_and_either_is_enough() -> None:
    assert not is_worth_a_line([a_copy("x", 30 * MB, 49), a_copy("y", 34 * MB, 51)], options.Options())
    assert is_worth_a_line([a_copy("x", 30 * MB, 50), a_copy("y", 1, 51)], options.Options())
    assert is_worth_a_line([a_copy("x", 30 * MB), a_copy("y", 35 * MB)], options.Options())
    compared = a_copy("x", 500 * MB, 90, how="compared", reason="first_share")
    assert not is_worth_a_line([compared], options.Options())


def test_the_largest_three_are_named_and_the_rest_is_counted() -> None:
    line = sentence([a_copy(name, size * MB) for name, size in zip("abcde", (1, 5, 3, 2, 4), strict=True)])
    assert line.startswith("15.0 MB were copied in 5 ms rather than shared: b (5.0 MB): ")
    assert [name for name in "abcde" if f"{name} (" in line] == ["b", "c", "e"]
    assert line.endswith("and 2 more")


def test_a_name_with_two_reasons_has_each_once() -> None:
    several = [
        a_copy("frame", 10 * MB, how="kept", reason="first_share"),
        a_copy("frame", 5 * MB, reason="dtype"),
        a_copy("frame", 1 * MB, reason="dtype"),
    ]
    line = sentence(several)
    assert line.startswith("frame (16.0 MB) was copied in 3 ms rather than shared: made before")
    assert line.count("can only be pickled") == 1


def test_every_reason_has_words_of_its_own_for_people() -> None:
    reasons = events.spec(events.ZERO_COPY_FALLBACK).metadata[-1].values
    lines = {sentence([a_copy("x", MB, how="copied", reason=reason)]) for reason in reasons}
    assert len(lines) == len(reasons) == 8
    assert not any("_" in line for line in lines)


@pytest.mark.parametrize("how", ["copied", "kept", "moved", "compared"])
def test_what_becomes_of_a_first_share_is_told(how: str) -> None:
    assert ELSEWHERE in sentence([a_copy("x", MB, how=how, reason="first_share")])
