from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.magics.display import Shown, in_bytes, interrupted, note, show_as, syntax_error

if TYPE_CHECKING:
    from IPython.core.formatters import DisplayFormatter
    from IPython.core.interactiveshell import InteractiveShell


def display_formatter(shell: InteractiveShell) -> DisplayFormatter:
    assert shell.display_formatter is not None
    return shell.display_formatter


def shown(shell: InteractiveShell, value: object) -> dict[str, str]:
    data: dict[str, str] = display_formatter(shell).format(value)[0]
    return data


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1_500_000, "1.5 MB"), (3e15, "3000.0 TB")],
)
def test_bytes_are_told_as_people_tell_them(nbytes: float, text: str) -> None:
    assert in_bytes(nbytes) == text


def test_a_note_is_one_line_and_no_alarm(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    del shell
    note("x[…] = … stays <here>")
    assert capsys.readouterr() == ("snakepit: x[…] = … stays <here>\n", "")


def test_a_value_that_stayed_behind_shows_what_its_worker_showed(shell: InteractiveShell) -> None:
    data, metadata = display_formatter(shell).format(
        Shown(
            {
                "data": {"text/plain": "<thing>", "text/html": "<b>"},
                "metadata": {"text/html": {"isolated": True}},
            }
        )
    )
    assert data == {"text/plain": "<thing>", "text/html": "<b>"}
    assert metadata == {"text/html": {"isolated": True}}


class Thing:
    """Something that only a worker can draw."""


def test_one_value_is_shown_as_its_worker_did_until_the_cell_is_over(shell: InteractiveShell) -> None:
    thing, other = Thing(), Thing()
    show_as(shell, thing, {"data": {"text/plain": "drawn"}, "metadata": {}})
    show_as(shell, thing, {"data": {"text/plain": "drawn again"}, "metadata": {}})
    shell.push({"thing": thing, "other": other})
    assert shown(shell, thing) == {"text/plain": "drawn again"}
    assert shown(shell, other)["text/plain"].startswith("<")
    assert shell.run_cell("1", store_history=True).success
    assert "drawn" not in shown(shell, thing)["text/plain"]
    with pytest.raises(KeyError):
        display_formatter(shell).mimebundle_formatter.lookup_by_type(Thing)


def test_a_printer_of_the_users_own_comes_back_after_the_cell(shell: InteractiveShell) -> None:
    formatter = display_formatter(shell).mimebundle_formatter
    formatter.for_type(Thing, lambda _: {"text/plain": "mine"})
    thing = Thing()
    try:
        show_as(shell, thing, {"data": {"text/plain": "drawn"}, "metadata": {}})
        assert shown(shell, Thing()) == {"text/plain": "mine"}
        shell.run_cell("1", store_history=True)
        assert shown(shell, thing) == {"text/plain": "mine"}
    finally:
        formatter.pop(Thing)


def test_a_syntax_error_is_named_as_it_is_and_no_subclass_of_it(shell: InteractiveShell) -> None:
    whole = "%%snakepit\nif x:\ny"
    try:
        compile("\nif x:\ny", "<cell>", "exec")
    except SyntaxError as error:
        made = syntax_error(shell, error, whole)
    assert type(made).__name__ == "IndentationError"
    assert not isinstance(made, SyntaxError)
    lines = "\n".join(made._render_traceback_())  # type: ignore[attr-defined]
    assert "line 3" in lines
    assert "y" in lines


def test_an_interrupt_says_what_became_of_the_cell_and_shows_no_frames() -> None:
    error = interrupted("its worker was killed")
    assert isinstance(error, KeyboardInterrupt)
    assert type(error).__name__ == "KeyboardInterrupt"
    (line,) = error._render_traceback_()  # type: ignore[attr-defined]
    assert re.sub(r"\x1b\[[0-9;]*m", "", line) == "KeyboardInterrupt: its worker was killed"
