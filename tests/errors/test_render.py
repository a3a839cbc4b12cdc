from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb.errors import describe, render_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Sent = Callable[[BaseException], BaseException]
    Cell = Callable[..., BaseException]
    Caught = Callable[[Callable[[], object]], BaseException]


def _plain(error: BaseException) -> str:
    return render_text(describe(error), colour=False)


def _expected(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_a_cell_is_shown_by_its_number_with_the_failing_line_marked(cell: Cell) -> None:
    error = cell("a = 1\nb = 0\ndef f(x):\n    return x / b\n\nf(a)\n", number=7)
    assert _plain(error) == _expected("""
        Traceback (most recent call last):
          In [7], line 6
                 4 |     return x / b
                 5 |
            ---> 6 | f(a)
          In [7], line 4, in f
                 2 | b = 0
                 3 | def f(x):
            ---> 4 |     return x / b
                   |            ^^^^^
                 5 |
                 6 | f(a)
        ZeroDivisionError: division by zero
    """)


def test_library_frames_are_compact(cell: Cell) -> None:
    shown = _plain(cell("np.linalg.inv(np.zeros((2, 2)))", np=np))
    assert '  File "numpy/linalg/_linalg.py", line ' in shown
    assert "site-packages" not in shown
    assert shown.endswith("numpy.linalg.LinAlgError: Singular matrix")


def test_cause_and_context_are_joined_as_python_joins_them(caught: Caught) -> None:
    def direct() -> None:
        try:
            int("x")
        except ValueError as first:
            message = "second"
            raise KeyError(message) from first

    def during() -> None:
        try:
            int("x")
        except ValueError:
            [].pop()

    def silent() -> None:
        try:
            int("x")
        except ValueError:
            message = "new"
            raise OSError(message) from None

    shown = _plain(caught(direct))
    first, joint, second = shown.partition(
        "\n\nThe above exception was the direct cause of the following exception:\n\n"
    )
    assert joint
    assert first.endswith("ValueError: invalid literal for int() with base 10: 'x'")
    assert second.endswith("KeyError: 'second'")
    assert "\n\nDuring handling of the above exception, another exception occurred:\n\n" in _plain(
        caught(during)
    )
    assert "ValueError" not in _plain(caught(silent))


def test_a_group_shows_its_members(caught: Caught) -> None:
    def fail() -> None:
        message = "both"
        raise ExceptionGroup(message, [ValueError("one"), KeyError("two")])

    shown = _plain(caught(fail))
    assert "ExceptionGroup: both (2 sub-exceptions)\n" in shown
    assert "  +---------------- 1 ----------------\n  | ValueError: one\n" in shown
    assert "  | KeyError: 'two'\n" in shown


def test_notes_follow_the_message() -> None:
    error = ValueError("v")
    error.add_note("first note")
    assert _plain(error) == "ValueError: v\nfirst note"


def test_a_syntax_error_points_at_its_place(caught: Caught) -> None:
    shown = _plain(caught(lambda: compile("if True:\n    x = 1 +* 2\n", "<In [4]>", "exec")))
    assert shown.endswith("  In [4], line 2\n    x = 1 +* 2\n           ^\nSyntaxError: invalid syntax")


def test_a_deep_recursion_is_folded(cell: Cell) -> None:
    shown = _plain(cell("def f(n):\n    return f(n + 1)\nf(0)"))
    assert "frames left out ...]" in shown
    assert "[... the line above is repeated" in shown
    assert len(shown.splitlines()) < 60


def test_control_characters_are_shown_and_not_obeyed(cell: Cell) -> None:
    error = cell("raise ValueError('a\\x1b[2Jb\\u202ec\\ud800')")
    shown = _plain(error)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"a\x1b[2Jb\u202ec\ud800" in shown
    shown.encode("utf-8")


def test_colour_changes_nothing_but_colour(cell: Cell) -> None:
    record = describe(cell("x = 1\n1 / 0"))
    coloured = render_text(record, colour=True)
    assert coloured != render_text(record, colour=False)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_text(record, colour=False)


def test_a_note_that_was_added_in_the_kernel_is_shown(sent: Sent) -> None:
    arrived = sent(ValueError("v"))
    arrived.add_note("while loading")
    shown = arrived._render_traceback_()  # type: ignore[attr-defined]
    assert shown == ["ValueError: v", "while loading"]


def test_a_suggestion_comes_last() -> None:
    shown = render_text(describe(ValueError("v")), colour=False, suggestion="do this")
    assert shown == "ValueError: v\n\nTry: do this"


def test_ipython_shows_the_remote_traceback_and_not_our_frames(tmp_path: Path) -> None:
    # In a process of its own: a shell changes hooks and builtins, and leaves a thread behind.
    program = """
        import linecache
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config
        from snakepit_nb.errors import pack_exception, unpack_exception
        source = "x = 1\\n\\nx / 0"
        linecache.cache["<In [7]>"] = (9, None, source.splitlines(True), "<In [7]>")
        def failed():
            try:
                exec(compile(source, "<In [7]>", "exec"), {"__name__": "__main__"})
            except Exception as error:
                data = pack_exception(error)
            raise unpack_exception(data, worker_id="w1", pool="default", request_id=1, command="cell")
        shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
        shell.colors = "nocolor"
        shell.user_ns["failed"] = failed
        result = shell.run_cell("failed()")
        print(isinstance(result.error_in_exec, ZeroDivisionError))
    """
    env = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=True, text=True, env=env
    )
    shown = said.stdout
    assert "Traceback (most recent call last) in worker w1 of pool 'default':" in shown
    assert "In [7], line 3" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "failed()" not in shown
    assert "snakepit_nb/" not in shown
    assert shown.rstrip().endswith("True")
