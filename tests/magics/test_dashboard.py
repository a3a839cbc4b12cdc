"""The timeline where there is no page to show it on: its report as text, and a bar in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError

from snakepit_nb.board import Dashboard
from snakepit_nb.magics.arguments import LineCommand, parse_line
from snakepit_nb.magics.presets import SnakepitMagics, as_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def test_the_line_takes_a_pool_or_none() -> None:
    assert parse_line("dashboard") == LineCommand("dashboard")
    assert parse_line("dashboard gpu") == LineCommand("dashboard", "gpu")


def test_in_a_terminal_a_dashboard_is_the_report_as_text(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%%snakepit\n1").raise_error()
    capsys.readouterr()
    shell.run_cell("board = %snakepit dashboard").raise_error()
    board = shell.user_ns["board"]
    assert isinstance(board, Dashboard)
    shell.run_cell("board").raise_error()
    assert "Pool default: running" in capsys.readouterr().out
    board.close()


def test_a_pool_that_is_not_there_is_told(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match="there is no pool 'nowhere'"):
        shell.run_line_magic("snakepit", "dashboard nowhere")


def test_in_a_terminal_a_bar_stands_for_the_timeline_of_many_runs(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%%snakepit --map n in range(3) --progress timeline\nn").raise_error()
    assert "3 items in" in capsys.readouterr().err


def test_it_can_be_what_cells_begin_with() -> None:
    assert SnakepitMagics(progress="timeline").found().progress == "timeline"
    assert as_line({"all": True, "progress": "timeline"}) == "--all --progress=timeline"
