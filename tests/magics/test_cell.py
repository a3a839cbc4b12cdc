from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from IPython.core.error import UsageError

from snakepit_nb import registry
from snakepit_nb.errors.types import CaptureError, RemoteError, RequestTimeout
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.testing import capture_events

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def test_a_cell_leaves_what_it_assigns_and_gives_its_last_value(shell: InteractiveShell) -> None:
    shell.push({"x": np.arange(3.0)})
    assert run_cell(shell, "", "y = x * 2\ny.sum()\n") == 6.0
    np.testing.assert_array_equal(shell.user_ns["y"], [0.0, 2.0, 4.0])


def test_a_bad_line_or_body_asks_no_worker_and_changes_nothing(shell: InteractiveShell) -> None:
    shell.push({"x": 1})
    for line, body in (
        ("-t soon", "x = 2"),
        ("-i nothing", "x = 2"),
        ("nopool", "x = 2"),
        ("-o other", "x = 2"),
    ):
        with pytest.raises(UsageError):
            run_cell(shell, line, body)
    with pytest.raises(Exception, match="invalid syntax") as found:
        run_cell(shell, "", "x = = 2")
    assert found.type.__name__ == "SyntaxError"
    assert shell.user_ns["x"] == 1
    assert not any(pool.stats()["workers"] for pool in registry.pools())


def test_an_array_given_in_and_out_is_changed_where_it_lies(shell: InteractiveShell) -> None:
    whole = np.zeros(4)
    shell.push({"whole": whole})
    run_cell(shell, "--inout whole", "whole += 3")
    assert shell.user_ns["whole"] is whole
    np.testing.assert_array_equal(whole, 3.0)
    run_cell(shell, "--inout whole", "whole = whole[:2].astype(int)")
    assert shell.user_ns["whole"].dtype == int
    np.testing.assert_array_equal(whole, 3.0)


def test_what_cannot_be_changed_in_place_is_refused_by_name(shell: InteractiveShell) -> None:
    fixed = np.zeros(2)
    fixed.flags.writeable = False
    shell.push({"fixed": fixed, "masked": np.ma.masked_array([1], mask=[True]), "words": ["a"]})
    with pytest.raises(UsageError, match="--inout fixed: fixed is read-only; use -o fixed"):
        run_cell(shell, "--inout fixed", "fixed[0] = 1")
    with pytest.raises(UsageError, match="masked is a MaskedArray; use -o masked"):
        run_cell(shell, "--inout masked", "masked[0] = 1")
    with pytest.raises(UsageError, match="words is a list; use -o words"):
        run_cell(shell, "--inout words", "words")


def test_a_name_that_the_cell_may_not_need_stays_here_and_is_told(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"stuck": (n for n in "ab"), "no": False})
    assert run_cell(shell, "", "if no:\n    stuck = 1\n    print(stuck)\n5") == 5
    assert capsys.readouterr().out == ""
    assert run_cell(shell, "", "for _ in range(no):\n    stuck = 2\nif no:\n    print(stuck)\n6") == 6
    assert "stuck was not taken along: it cannot travel" in capsys.readouterr().out
    with pytest.raises(NameError) as found:
        run_cell(shell, "-q", "if no:\n    stuck = 3\nstuck")
    assert found.value.__notes__ == ["stuck is in the notebook and could not travel."]
    with pytest.raises(CaptureError, match="stuck"):
        run_cell(shell, "", "list(stuck)")


def test_only_an_output_that_was_bound_comes_back_and_only_a_name_that_is_gone_goes(
    shell: InteractiveShell,
) -> None:
    kept = ["as it was"]
    shell.push({"kept": kept, "gone": 1, "there": 2, "no": False})
    run_cell(shell, "", "if no:\n    kept = []\n    del there\ndel gone")
    assert shell.user_ns["kept"] is kept
    assert "gone" not in shell.user_ns
    assert shell.user_ns["there"] == 2


@pytest.mark.parametrize(
    "bind",
    [
        "kept = 'new'",
        "for kept in ['new']: pass",
        "import sys as kept",
        "def kept(): pass",
        "(kept := 'new')",
        "def f():\n    global kept\n    kept = 'new'\nf()",
    ],
)
def test_however_a_name_is_bound_on_a_way_that_was_taken_it_comes_back(
    shell: InteractiveShell, bind: str
) -> None:
    kept = ["as it was"]
    shell.push({"kept": kept, "yes": True})
    body = "\n".join(f"    {line}" for line in bind.splitlines())
    run_cell(shell, "", f"len(kept)\nif yes:\n{body}")
    assert shell.user_ns["kept"] is not kept
    assert shell.user_ns["kept"] != kept


def test_an_error_is_both_its_own_and_remote_and_nothing_of_the_cell_comes_back(
    shell: InteractiveShell,
) -> None:
    with pytest.raises(ZeroDivisionError) as found:
        run_cell(shell, "", "half = 1\n1 / 0")
    assert isinstance(found.value, RemoteError)
    assert found.value.record.frames[-1].line == 3
    assert "half" not in shell.user_ns


def test_a_time_limit_ends_the_cell_alone(shell: InteractiveShell) -> None:
    with pytest.raises(RequestTimeout):
        run_cell(shell, "-t 0.1", "import time\ntime.sleep(600)")
    assert run_cell(shell, "", "1") == 1


def test_a_cell_is_told_from_start_to_end(shell: InteractiveShell) -> None:
    with capture_events("snakepit.cell") as told:
        run_cell(shell, "-n job", "1")
        with pytest.raises(ZeroDivisionError):
            run_cell(shell, "", "1 / 0")
    assert [each.name[-1] for each in told] == ["start", "stop", "start", "exception"]
    assert {each.metadata["pool"] for each in told} == {"default"}
    assert [each.metadata["name"] for each in told] == ["job", "job", None, None]


def test_what_a_cell_asks_of_workers_names_it_as_its_parent_at_once_later_and_many_times(
    shell: InteractiveShell,
) -> None:
    shell.push({"n": 1})
    with capture_events("snakepit.cell", "snakepit.request") as captured:
        run_cell(shell, "-n now", "n + 1")
        job = run_cell(shell, "-b -n first", "n + 1")
        later = run_cell(shell, "-b -n later", "first.result() + 1")
        run_cell(shell, "--map i in range(2) -n runs --no-progress", "i")
        run_cell(shell, "-b --map i in range(2) -n far --no-progress", "i").result()  # type: ignore[attr-defined]
        assert later.result() == 3  # type: ignore[attr-defined]
        assert job.done()  # type: ignore[attr-defined]
        run_cell(shell, "-n last", "n")
    cells = {
        event.metadata["name"]: event.metadata["telemetry_span_context"]
        for event in captured.named("snakepit.cell.start")
    }
    assert len(set(cells.values())) == len(cells) == 6
    for kind in ("queued", "executed"):
        asked = [
            (event.metadata["command"], event.metadata["parent_span_context"])
            for event in captured.named(f"snakepit.request.{kind}")
        ]
        assert set(asked) == set(cells.items())
        assert len(asked) == 8
    assert not any("parent_span_context" in event.metadata for event in captured.named("snakepit.cell.start"))
