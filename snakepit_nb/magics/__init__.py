"""The magics `%%snakepit` and `%snakepit`, from the line that is typed to what appears below the cell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from IPython.core.magic import no_var_expand

from snakepit_nb import registry
from snakepit_nb.dashboard import publishing
from snakepit_nb.magics import completing, copies, failing, frontend, joblines, metrics, presets, surroundings
from snakepit_nb.magics.arguments import help_text, parse_found
from snakepit_nb.magics.cell import run_cell
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
    made: set[str] = field(default_factory=set)


_loaded: Final[dict[int, _Loaded]] = {}


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell. Idempotent."""
    if id(shell) in _loaded:
        return

    @no_var_expand
    def cell(line: str, body: str) -> object:
        return run_cell(shell, line, body)

    @no_var_expand
    def line_(line: str) -> object:
        return run_line(shell, line)

    presets.configured(shell)
    cell.__doc__ = help_text("cell")
    line_.__doc__ = help_text("line")
    sink = sink_for(shell)
    output.set_sink(sink)
    register = shell.magics_manager.register_function
    register(cell, "cell", _NAME)
    register(line_, "line", _NAME)
    completing.install(shell, _NAME)
    failing.install(shell)
    metrics.install(shell)
    # Arrays that the notebook makes from now on are there for workers already. Kernels may give each cell a
    # context of its own, so it is said again before each.
    loans.kernel_store()
    loans.bear_here()
    surroundings.observe()
    shell.events.register("pre_run_cell", _before_cell)
    shell.events.register("post_execute", joblines.flush)
    copies.listen()
    publishing.set_watched(frontend.has_page)
    _loaded[id(shell)] = _Loaded(sink)


def new_magic(name: str, **chosen: object) -> None:
    r"""Make a cell magic of your own: `%%snakepit` with these options, where its line does not say otherwise.

    Args:
        name: What it is called: `"on_gpu"` makes `%%on_gpu`.
        chosen: Options of `%%snakepit` by their long names, with `_` for `-`: `gpu=0`, `timeout=60`,
            `inout=["out"]`, `quiet=True`; and `pool="train"`.

    Raises:
        RuntimeError: There is no notebook or IPython here.
        ValueError: The name is none, or is taken; or an option is none, or does not take that.

    In a notebook::

        import snakepit_nb
        snakepit_nb.new_magic("on_gpu", gpu=0)

    and then `%%on_gpu` is `%%snakepit --gpu=0`.
    """
    from IPython import get_ipython  # noqa: PLC0415 - who calls this is in IPython

    shell = get_ipython()
    if shell is None:
        text = "new_magic needs a notebook or IPython; in a script, make a Pool with what it is to have"
        raise RuntimeError(text)
    line = presets.as_line(chosen)
    load(shell)
    made = _loaded[id(shell)].made
    if not name.isidentifier() or (name in shell.magics_manager.magics["cell"] and name not in made):
        why = "there is a cell magic of that name" if name.isidentifier() else "it is no name"
        text = f"new_magic({name!r}): {why}; choose another"
        raise ValueError(text)
    preset = parse_found(line)

    @no_var_expand
    def cell(line: str, body: str) -> object:
        return run_cell(shell, line, body, magic=f"%%{name}", preset=preset)

    cell.__doc__ = f"`%%{name}` is `%%snakepit {line}`".rstrip() + ".\n\n" + help_text("cell")
    shell.magics_manager.register_function(cell, "cell", name)
    completing.install(shell, name)
    made.add(name)


def _before_cell(*_: object) -> None:
    loans.bear_here()
    joblines.cell_begins()
    loans.tidy()


def unload(shell: InteractiveShell) -> None:
    """Take the magics away again, end the pools and let go of everything that was hooked. Idempotent."""
    loaded = _loaded.pop(id(shell), None)
    if loaded is None:
        return
    with contextlib.suppress(ValueError):  # somebody else took it away already
        shell.events.unregister("pre_run_cell", _before_cell)
        shell.events.unregister("post_execute", joblines.flush)
    loans.bear_no_more()
    registry.shutdown()
    presets.forget(shell)
    for name in (_NAME, *loaded.made):
        completing.remove(shell, name)
        for kind in ("cell", "line"):
            shell.magics_manager.magics[kind].pop(name, None)
    failing.remove(shell)
    metrics.remove(shell)
    if not _loaded:
        copies.listen_no_more()
    output.set_sink(None)
    loaded.sink.close()
