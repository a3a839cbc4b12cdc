"""Cells that run once for each item, or once in every worker: order, failures, arrays, generators."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from IPython.core.error import UsageError

from snakepit_nb import ItemsFailed, RequestTimeout, WorkerCrashed, events, options, registry, telemetry
from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.testing import capture_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell


def mapped(shell: InteractiveShell, line: str, body: str) -> Any:
    return run_cell(shell, f"--map {line}", body)


def failure(shell: InteractiveShell, line: str, body: str) -> ItemsFailed:
    with pytest.raises(ItemsFailed) as found:
        mapped(shell, line, body)
    return found.value


def test_the_last_values_come_in_the_order_of_the_items(shell: InteractiveShell) -> None:
    # The first ones take longest.
    body = "import time\ntime.sleep((5 - i) * 0.02)\ni * i"
    assert mapped(shell, "i in range(6)", body) == [0, 1, 4, 9, 16, 25]


def test_outputs_are_gathered_as_lists_and_nothing_else_comes_back(shell: InteractiveShell) -> None:
    shell.push({"scale": 10})
    assert mapped(shell, "n in [3, 1, 2] -o big,half=h", "big = n * scale\nh = n / 2\nother = 1") is None
    assert (shell.user_ns["big"], shell.user_ns["half"]) == ([30, 10, 20], [1.5, 0.5, 1.0])
    assert not {"other", "n", "h"} & set(shell.user_ns)


def test_a_name_of_the_notebook_s_is_not_touched_by_an_item_of_that_name(shell: InteractiveShell) -> None:
    shell.push({"x": "mine"})
    assert mapped(shell, "x in 'ab'", "x * 2") == ["aa", "bb"]
    assert shell.user_ns["x"] == "mine"


def _numbers() -> Iterator[int]:
    yield from (1, 2, 3)


@pytest.mark.parametrize(
    ("items", "body", "values"),
    [
        (range(3), "item + 1", [1, 2, 3]),
        ([], "item", []),
        (np.arange(6.0).reshape(3, 2), "float(item.sum())", [1.0, 5.0, 9.0]),
        (_numbers(), "item * 2", [2, 4, 6]),
        ({"a": 1, "b": 2}, "item", ["a", "b"]),
        (pd.DataFrame({"k": list("aab"), "v": [1, 2, 3]}).groupby("k"), "int(item[1].v.sum())", [3, 3]),
    ],
    ids=["range", "nothing", "array", "generator", "dictionary", "groups"],
)
def test_it_goes_through_whatever_a_loop_goes_through(
    shell: InteractiveShell, items: object, body: str, values: list[object]
) -> None:
    shell.push({"items": items})
    assert mapped(shell, "item in items", body) == values


def test_several_names_take_an_item_apart(shell: InteractiveShell) -> None:
    assert mapped(shell, "key, (a, b) in {'x': (1, 2)}.items()", "f'{key}{a + b}'") == ["x3"]


def test_one_that_fails_costs_no_other_and_the_error_has_all_the_rest(shell: InteractiveShell) -> None:
    body = "if i % 3 == 1: raise ValueError(f'no {i}')\ny = i * 2\ny"
    error = failure(shell, "i in range(6) -o y", body)
    assert str(error) == "2 of 6 items failed: item 1 with ValueError: no 1; item 4 with ValueError: no 4"
    assert list(error.failed) == [1, 4]
    assert [each for each in error.results if not isinstance(each, Exception)] == [0, 4, 6, 10]
    assert error.outputs["y"][5] == 10
    assert isinstance(error.outputs["y"][4], ValueError)
    assert "y" not in shell.user_ns


def test_the_errors_are_caught_by_their_own_type(shell: InteractiveShell) -> None:
    caught: list[Exception] = []
    try:
        mapped(shell, "i in range(3)", "if i: raise KeyError(i)")
    except* KeyError as group:
        caught.extend(group.exceptions)
    assert [each.args for each in caught] == [(1,), (2,)]


def test_a_death_of_a_worker_costs_its_own_item_alone(shell: InteractiveShell) -> None:
    body = "import os, signal\nif i == 2: os.kill(os.getpid(), signal.SIGKILL)\ni"
    error = failure(shell, "i in range(8)", body)
    assert list(error.failed) == [2]
    assert isinstance(error.failed[2], WorkerCrashed)
    assert error.results[3:] == [3, 4, 5, 6, 7]


def test_an_item_that_cannot_travel_fails_alone_and_says_why(shell: InteractiveShell) -> None:
    error = failure(shell, "i in [1, (n for n in 'a'), 3]", "i")
    assert isinstance(error.failed[1], CaptureError)
    assert "i cannot travel" in str(error)
    assert (error.results[0], error.results[2]) == (1, 3)


def test_a_value_that_all_need_and_that_cannot_travel_stops_it_before_anything_runs(
    shell: InteractiveShell,
) -> None:
    shell.push({"source": (n for n in "a")})
    with capture_events(events.REQUEST_EXECUTED) as seen, pytest.raises(CaptureError, match="source cannot"):
        mapped(shell, "i in range(4)", "next(source)")
    assert len(seen) == 0


def test_what_the_items_raise_comes_when_the_runs_before_are_over(shell: InteractiveShell) -> None:
    def source() -> Iterator[int]:
        yield from (1, 2)
        message = "the source broke"
        raise LookupError(message)

    shell.push({"source": source})
    with pytest.raises(LookupError, match="the source broke") as found:
        mapped(shell, "i in source()", "i * 10")
    assert found.value.results == [10, 20]  # type: ignore[attr-defined]
    assert "2 runs were done by then" in found.value.__notes__[0]


def test_a_generator_is_never_far_ahead_of_the_workers(shell: InteractiveShell) -> None:
    given: list[int] = []
    over: list[int] = []
    ahead: list[int] = []

    def source() -> Iterator[int]:
        for number in range(60):
            ahead.append(len(given) - len(over))
            given.append(number)
            yield number

    shell.push({"source": source})
    telemetry.attach("test.over", events.REQUEST_EXECUTED, lambda *_: over.append(1))
    try:
        mapped(shell, "i in source()", "i")
    finally:
        telemetry.detach("test.over")
    assert len(over) == 60
    workers = registry.get_pool().max_workers
    # A result is counted as over a moment before the map has seen it.
    assert max(ahead) <= 4 * workers


def test_an_array_is_filled_in_place_by_all_runs_however_small_it_is(shell: InteractiveShell) -> None:
    large = np.zeros((4, 300_000))
    shell.push({"small": np.zeros(8), "large": large})
    mapped(shell, "i in range(8) --inout small,large", "small[i] = i + 1\nif i < 4: large[i] = i")
    assert shell.user_ns["small"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert shell.user_ns["large"] is large
    assert large.sum(axis=1).tolist() == [0, 300_000, 600_000, 900_000]


def test_what_runs_that_went_well_wrote_in_place_stays_where_others_failed(shell: InteractiveShell) -> None:
    shell.push({"out": np.zeros(4)})
    failure(shell, "i in range(4) --inout out", "out[i] = 1\nif i == 2: raise ValueError")
    assert shell.user_ns["out"].tolist() == [1, 1, 1, 1]


def test_all_runs_together_have_the_time_that_the_line_gives(shell: InteractiveShell) -> None:
    with pytest.raises(RequestTimeout, match=r"was not done within 0\.5 s") as found:
        mapped(shell, "i in range(500) -t 0.5", "import time\ntime.sleep(600)")
    assert len(found.value.results) < 500  # type: ignore[attr-defined]
    assert registry.get_pool().submit(abs, -1).result() == 1


@pytest.mark.parametrize("policy", ["reject", "block"])
def test_a_short_queue_slows_it_down_and_loses_nothing(shell: InteractiveShell, policy: str) -> None:
    with options.override(max_queue=1, when_full=policy):
        assert mapped(shell, "i in range(40)", "i") == list(range(40))


def test_a_cell_without_a_last_value_says_how_to_have_what_it_made(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mapped(shell, "i in range(2)", "half = i / 2") is None
    assert "half stays in the workers; to gather lists: -o half" in capsys.readouterr().out


def test_runs_that_only_print_have_no_value(shell: InteractiveShell) -> None:
    assert mapped(shell, "i in range(2)", "print(i)") is None
    assert mapped(shell, "i in range(2)", "i or None") == [None, 1]


def test_a_table_says_that_a_loop_over_it_gives_names(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"frame": pd.DataFrame({"a": [1], "b": [2]})})
    assert mapped(shell, "column in frame", "column") == ["a", "b"]
    assert "column names; groups: df.groupby(…)" in capsys.readouterr().out


def test_what_is_no_sequence_or_unknown_is_refused_before_a_worker_starts(shell: InteractiveShell) -> None:
    shell.push({"n": 5})
    with pytest.raises(UsageError, match="expected something to go through, got one int"):
        mapped(shell, "i in n", "i")
    with pytest.raises(NameError, match="nothing"):
        mapped(shell, "i in nothing", "i")
    assert not any(pool.stats()["workers"] for pool in registry.pools())


def test_every_worker_runs_it_once(shell: InteractiveShell) -> None:
    pids = run_cell(shell, "--all", "import os\nos.getpid()")
    assert isinstance(pids, list)
    assert sorted(pids) == sorted(each.pid for each in registry.get_pool().workers())
    assert len(set(pids)) == registry.get_pool().max_workers


def test_a_worker_in_which_it_fails_is_named(shell: InteractiveShell) -> None:
    names = [each.worker_id for each in registry.get_pool().start().workers()]
    body = f"import os\nif os.getpid() == {registry.get_pool().workers()[1].pid}: raise OSError('full')"
    with pytest.raises(ItemsFailed) as found:
        run_cell(shell, "--all", body)
    assert str(found.value) == f"1 of {len(names)} workers failed: {names[1]} with OSError: full"


def test_in_the_background_it_is_a_job_like_any_other(shell: InteractiveShell) -> None:
    job: Any = run_cell(shell, "--map i in range(20) -b -n sweep -o sq", "sq = i * i\nsq")
    assert job.result(60) == [i * i for i in range(20)]
    assert shell.user_ns["sq"] == job.result()
    assert shell.user_ns["sweep"] is job


def test_jobs_may_be_items_and_are_waited_for(shell: InteractiveShell) -> None:
    for number in range(3):
        run_cell(shell, f"-b -n job{number}", f"import time\ntime.sleep(0.1)\n{number}")
    assert mapped(shell, "job in [job0, job1, job2]", "job.result() * 10") == [0, 10, 20]


def test_a_job_that_failed_costs_its_own_item(shell: InteractiveShell) -> None:
    good: Any = run_cell(shell, "-b -n good", "1")
    bad: Any = run_cell(shell, "-b -n bad", "1 / 0")
    assert (good.exception(), type(bad.exception()).__name__) == (None, "ZeroDivisionError")
    error = failure(shell, "job in [good, bad]", "job.result() + 1")
    assert error.results[0] == 2
    assert isinstance(error.failed[1], CaptureError)


def test_a_job_of_many_runs_that_is_cancelled_ends_them_all(shell: InteractiveShell) -> None:
    job: Any = run_cell(shell, "--map i in range(1000) -b", "import time\ntime.sleep(600)")
    assert job.cancel()
    assert job.cancelled()
    assert registry.get_pool().submit(abs, -1).result(60) == 1


def test_its_error_shows_the_first_failure_with_the_cell_s_own_line(shell: InteractiveShell) -> None:
    result = shell.run_cell(
        "%%snakepit --map i in range(3)\nif i == 1:\n    raise ValueError('<b>no</b>')\ni"
    )
    error = result.error_in_exec
    assert isinstance(error, ItemsFailed)
    text = "\n".join(error._render_traceback_())
    assert "1 of 3 items failed: item 1 with ValueError: <b>no</b>" in text
    assert "---> 3" in text
    assert "What the other 2 gave: import sys; sys.last_value.results" in text
    assert getattr(sys, "last_value", error).results[0] == 0
