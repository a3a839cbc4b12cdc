"""An error of a cell arrives as its own type, with the cell's lines, and as `RemoteError`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.kernels import Notebook

if TYPE_CHECKING:
    from tests.kernels import CellOutcome


def shown(cell: CellOutcome) -> str:
    """The error as one reads it."""
    assert cell.status == "error"
    assert cell.error is not None, str(cell)
    return re.sub(r"\x1b\[[0-9;]*m", "", cell.error.text)


def test_the_traceback_shows_the_cells_lines_by_the_number_in_its_prompt(shared: Notebook) -> None:
    cell = shared.run("%%snakepit\nimport os\n\ndef half(n):\n    return n / 0\n\nhalf(3)")
    text = shown(cell)
    assert cell.error is not None
    assert (cell.error.ename, cell.error.evalue) == ("ZeroDivisionError", "division by zero")
    assert f"In [{cell.execution_count}], line 7\n" in text
    assert f"In [{cell.execution_count}], line 5, in half" in text
    assert "---> 5 |     return n / 0" in text
    assert "snakepit_nb/" not in text


def test_the_line_of_the_magic_is_line_one(shared: Notebook) -> None:
    text = shown(shared.run("%%snakepit -q\n1 / 0"))
    assert "1 | %%snakepit -q\n    ---> 2 | 1 / 0" in text


def test_a_function_of_another_cell_is_shown_with_that_cells_number(shared: Notebook) -> None:
    defined = shared.run("def inverse(n):\n    return 1 / n").ok()
    text = shown(shared.run("%%snakepit\ninverse(0)"))
    assert f"In [{defined.execution_count}], line 2, in inverse" in text


def test_a_syntax_error_looks_as_in_an_ordinary_cell_and_starts_no_worker() -> None:
    with Notebook() as notebook:
        notebook.run("%load_ext snakepit_nb").ok()
        for body in ("x =\ny", "return 1", "%time 1\nx = = 2", "if True:\npass"):
            ordinary = notebook.run(f"1\n{body}")
            ours = notebook.run(f"%%snakepit\n{body}")
            assert ours.error is not None
            assert ordinary.error is not None
            assert ours.error.ename == ordinary.error.ename
            number = f"In[{ordinary.execution_count}]", f"In[{ours.execution_count}]"
            assert shown(ours) == shown(ordinary).replace(*number)
        assert notebook.descendants() == []


def test_a_syntax_error_that_the_cell_raises_is_an_error_of_the_cell(shared: Notebook) -> None:
    text = shown(shared.run("%%snakepit\nexec('x =')"))
    assert "line 2\n" in text
    assert "SyntaxError: invalid syntax" in text
    assert "run_cell_magic" not in text


def test_cause_context_notes_and_groups_arrive(shared: Notebook) -> None:
    text = shown(
        shared.run(
            "%%snakepit\ntry:\n    {}['k']\nexcept KeyError as error:\n"
            "    failure = ValueError('no such thing')\n    failure.add_note('look elsewhere')\n"
            "    raise failure from error"
        )
    )
    assert text.index("KeyError: 'k'") < text.index("direct cause") < text.index("ValueError: no such thing")
    assert "look elsewhere" in text
    group = shown(shared.run("%%snakepit\nraise ExceptionGroup('both', [ValueError('a'), KeyError('b')])"))
    assert "ExceptionGroup: both" in group
    assert "| ValueError: a" in group
    assert "run_cell_magic" not in group


def test_unpicklable_and_hostile_exceptions_arrive_and_the_worker_serves_on(shared: Notebook) -> None:
    pid = shared.run("%%snakepit\nimport os\nos.getpid()").ok().value
    cell = shared.run(
        "%%snakepit\nimport threading\nclass Bad(Exception):\n"
        "    def __init__(self, *, lock): self.lock = lock\n    def __str__(self): raise RuntimeError\n"
        "raise Bad(lock=threading.Lock())"
    )
    assert "Bad" in shown(cell)
    assert shared.run("%%snakepit\nimport os\nos.getpid()").ok().value == pid


def test_the_notebooks_own_exception_is_caught_by_its_type(shared: Notebook) -> None:
    shared.run(
        "import snakepit_nb\nclass MyError(Exception):\n"
        "    def __init__(self, text, code):\n        super().__init__(text)\n        self.code = code\n"
        "def fail(code): raise MyError('it failed', code)"
    ).ok()
    cell = shared.run(
        "try:\n    snakepit_nb.get_pool().submit(fail, 7).result()\n"
        "except MyError as error:\n    is_remote = isinstance(error, snakepit_nb.RemoteError)\n"
        "    found = str(error), error.code, is_remote\nfound"
    ).ok()
    assert cell.value == "('it failed', 7, True)"
    assert "MyError: it failed" in shown(shared.run("%%snakepit\nfail(1)"))


def test_leaving_by_sys_exit_costs_neither_kernel_nor_worker(shared: Notebook) -> None:
    pid = shared.run("%%snakepit\nimport os\nos.getpid()").ok().value
    cell = shared.run("%%snakepit\nimport sys\nsys.exit(3)")
    assert cell.error is not None
    assert (cell.error.ename, cell.error.evalue) == ("SystemExit", "3")
    assert shared.run("%%snakepit\nimport os\nos.getpid()").ok().value == pid


def test_a_result_that_cannot_be_rebuilt_here_says_so_and_how_to_have_the_rest(shared: Notebook) -> None:
    body = "class Trap:\n    def __reduce__(self): return (int, ('x',))\ntrap, good = Trap(), 5"
    text = shown(shared.run(f"%%snakepit\n{body}"))
    assert text.startswith(
        "CaptureError: what the cell made could not be rebuilt in the notebook (ValueError"
    )
    shared.run(f"%%snakepit -o good\n{body}").ok()
    assert shared.run("good").ok().value == "5"


def test_a_users_own_way_of_showing_errors_stays(own: Notebook) -> None:
    own.run(
        "%unload_ext snakepit_nb\n"
        "def mine(shell, kind, error, trace, tb_offset=None): print('mine:', error)\n"
        "get_ipython().set_custom_exc((ValueError,), mine)\n%load_ext snakepit_nb"
    ).ok()
    assert own.run("%%snakepit\nint('x')").stdout.startswith("mine: invalid literal")
