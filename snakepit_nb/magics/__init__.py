"""The magics `%%snakepit` and `%snakepit`, from the line that is typed to what appears below the cell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snakepit_nb import registry
from snakepit_nb.errors.types import RemoteError
from snakepit_nb.magics.arguments import help_text
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.magics.display import show_error
from snakepit_nb.magics.line import run_line
from snakepit_nb.magics.routing import sink_for
from snakepit_nb.pool import loans, output

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.magics.routing import NotebookSink, TerminalSink

_NAME: Final = "snakepit"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a shell was given, to be taken away again."""

    sink: NotebookSink | TerminalSink
    shows_errors: bool


_loaded: Final[dict[int, _Loaded]] = {}


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell. Idempotent."""
    if id(shell) in _loaded:
        return
    from IPython.core.magic import no_var_expand  # noqa: PLC0415 - the caller has IPython, this room's tests may not

    @no_var_expand
    def cell(line: str, body: str) -> object:
        return run_cell(shell, line, body)

    @no_var_expand
    def line_(line: str) -> object:
        return run_line(shell, line)

    cell.__doc__ = help_text("cell")
    line_.__doc__ = help_text("line")
    sink = sink_for(shell)
    output.set_sink(sink)
    register = shell.magics_manager.register_function
    register(cell, "cell", _NAME)
    register(line_, "line", _NAME)
    # There is one such handler to a shell; one of the user's own stays.
    shows_errors = not shell.custom_exceptions
    if shows_errors:
        shell.set_custom_exc((RemoteError,), show_error)
    # Arrays that the notebook makes from now on are there for workers already. Kernels may give each cell a
    # context of its own, so it is said again before each.
    loans.kernel_store()
    loans.bear_here()
    shell.events.register("pre_run_cell", _before_cell)
    _loaded[id(shell)] = _Loaded(sink, shows_errors)


def _before_cell(*_: object) -> None:
    loans.bear_here()


def unload(shell: InteractiveShell) -> None:
    """Take the magics away again, end the pools and let go of everything that was hooked. Idempotent."""
    loaded = _loaded.pop(id(shell), None)
    if loaded is None:
        return
    with contextlib.suppress(ValueError):  # somebody else took it away already
        shell.events.unregister("pre_run_cell", _before_cell)
    loans.bear_no_more()
    registry.shutdown()
    for kind in ("cell", "line"):
        shell.magics_manager.magics[kind].pop(_NAME, None)
    if loaded.shows_errors and shell.custom_exceptions == (RemoteError,):
        shell.set_custom_exc((), None)
    output.set_sink(None)
    loaded.sink.close()
