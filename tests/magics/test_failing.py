"""How errors are shown by a shell of IPython: the hooks that are set and taken away, and what goes wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import magics, options
from snakepit_nb.errors import pack_exception, unpack_exception
from snakepit_nb.errors.types import CaptureError, PoolSaturated, RemoteError, SnakepitError
from snakepit_nb.magics import failing, frontend
from snakepit_nb.magics.routing import NotebookSink, TerminalSink
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def remote() -> BaseException:
    return unpack_exception(
        pack_exception(ValueError("no\nway")), worker_id="w1", pool="a", request_id=1, command="cell"
    )


def fail(error: BaseException) -> None:
    raise error


def fail_in(shell: InteractiveShell) -> BaseException:
    """Run a cell that ends with a worker's error. In a fixture, pytest would forget it before the test."""
    shell.push({"fail": fail, "error": remote()})
    raised = shell.run_cell("fail(error)").error_in_exec
    assert isinstance(raised, ValueError)
    return raised


def test_the_last_error_is_known_as_python_knows_it(shell: InteractiveShell) -> None:
    assert fail_in(shell) is sys.last_value
    assert sys.last_type is type(sys.last_value)


def test_tb_shows_it_again_in_the_mode_that_is_asked_for(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_in(shell)
    capsys.readouterr()
    shell.run_cell("%tb minimal")
    assert capsys.readouterr().out == "ValueError: no way\n"
    shell.run_cell("%tb plain")
    assert capsys.readouterr().out == "ValueError: no\nway\n"


def test_tb_of_another_error_is_ipythons(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    fail_in(shell)
    shell.run_cell("{}['key']")
    capsys.readouterr()
    shell.run_cell("%tb")
    assert "KeyError: 'key'" in capsys.readouterr().out.replace("\x1b[39m", "").replace("\x1b[31m", "")


def test_an_error_is_shown_where_no_file_can_be_opened_to_load_what_ipython_put_off(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(shell, "find_line_magic", no_room)
        fail_in(shell)
    told = capsys.readouterr()
    assert "ValueError" in told.out
    assert "Custom TB Handler failed" not in told.out + told.err
    with monkeypatch.context() as patch:
        patch.setattr(failing, "_lines", no_room)
        fail_in(shell)
    told = capsys.readouterr()
    assert told.out.endswith("ValueError: no way\n")
    shell.run_cell("%tb minimal")
    assert capsys.readouterr().out == "ValueError: no way\n"


def test_unloading_takes_everything_back_and_loading_sets_it_again(shell: InteractiveShell) -> None:
    fail_in(shell)
    lines = shell.magics_manager.magics["line"]
    ours = lines["tb"], lines["debug"]
    magics.unload(shell)
    assert shell.custom_exceptions == ()
    assert all(lines[name].__module__.startswith("IPython") for name in ("tb", "debug"))
    magics.load(shell)
    shell.run_cell("fail(error)")
    assert lines["tb"] not in ours
    assert lines["tb"].__module__ == failing.__name__


def test_what_the_user_put_in_place_of_a_magic_stays(shell: InteractiveShell) -> None:
    fail_in(shell)

    def mine(line: str) -> str:
        return line

    lines = shell.magics_manager.magics["line"]
    theirs = failing._before[id(shell)].tb
    lines["tb"] = mine
    try:
        magics.unload(shell)
        assert lines["tb"] is mine
    finally:
        lines["tb"] = theirs


def test_a_handler_of_the_users_own_stays(shell: InteractiveShell) -> None:
    magics.unload(shell)
    shell.set_custom_exc((ZeroDivisionError,), lambda *_, **__: None)
    try:
        magics.load(shell)
        magics.unload(shell)
        assert shell.custom_exceptions == (ZeroDivisionError,)
    finally:
        shell.set_custom_exc((), None)


def test_the_front_ends_that_show_pages_are_ones_that_can_be_told() -> None:
    told = {name for _, name in frontend._STARTERS} | {frontend._CODE}
    assert told >= frontend._WITH_HTML
    assert frontend.shows_html() is False


class Pages(NotebookSink):
    """The sink of a notebook, without a kernel."""

    def __init__(self) -> None:
        """Nothing is sent."""

    def flush(self) -> None:
        """Nothing is held back."""


@pytest.mark.parametrize(
    "error",
    [
        remote(),
        RemoteError(remote().record),  # type: ignore[attr-defined]
        CaptureError(name="m", path="m.lock", type_name="lock", reason="no"),
        PoolSaturated(pool="a", queue_size=4, max_queue_size=4),
    ],
    ids=lambda error: type(error).__name__,
)
def test_where_a_page_cannot_be_made_the_whole_is_text(
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: SnakepitError,
) -> None:
    def refuse(*_: object, **__: object) -> str:
        message = "out of paper"
        raise RuntimeError(message)

    for name in ("render_html", "render_notice_html"):
        monkeypatch.setattr(failing, name, refuse)
    shell.push({"fail": fail, "error": error})
    before = output.sink()
    output.set_sink(Pages())
    try:
        with options.override(error_view="html"):
            shell.run_cell("fail(error)")
    finally:
        output.set_sink(before)
    assert isinstance(before, TerminalSink)
    said = capsys.readouterr()
    assert str(error).split("\n")[0] in said.out
    assert "out of paper" not in said.out + said.err
    assert shell.custom_exceptions == (SnakepitError,)
