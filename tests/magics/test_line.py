from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError

from snakepit_nb import registry
from snakepit_nb.magics.line import run_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def test_an_expression_is_evaluated_in_a_worker_with_the_notebooks_names(shell: InteractiveShell) -> None:
    shell.push({"numbers": [1, 2, 3]})
    assert run_line(shell, "sum(numbers) * 2") == 12
    assert run_line(shell, "__import__('os').getpid()") != __import__("os").getpid()


def test_pools_are_started_shown_and_stopped(shell: InteractiveShell) -> None:
    pool = run_line(shell, "start named -w 1")
    assert repr(pool) == "<Pool 'named' 1 worker: 0 busy, 1 idle; 0 queued>"
    assert "named-0" in repr(run_line(shell, "status named"))
    with pytest.raises(UsageError, match="there is a pool 'named': %snakepit stop named first"):
        run_line(shell, "start named")
    run_line(shell, "stop named")
    with pytest.raises(UsageError, match="there is no pool 'named' to stop"):
        run_line(shell, "stop named")
    with pytest.raises(UsageError, match="there is no pool 'named'"):
        run_line(shell, "status named")
    run_line(shell, "start other -w 1")
    run_line(shell, "stop --all")
    assert registry.pools() == []


def test_a_misspelt_subcommand_is_no_expression_unless_the_notebook_has_that_name(
    shell: InteractiveShell,
) -> None:
    with pytest.raises(UsageError, match="did you mean %snakepit status"):
        run_line(shell, "statsu")
    shell.push({"statsu": 5})
    assert run_line(shell, "statsu") == 5
