"""What appears below a cell: notes, values as their worker showed them, errors, the table of pools."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.render import colours, render_notice
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.arrays.store import Stats
    from snakepit_nb.pool.pool import Pool

_UNITS: Final = ("B", "KB", "MB", "GB", "TB")
_STEP: Final = 1000
_FAINT: Final = "color: var(--jp-ui-font-color2, #757575); font-size: 0.9em; padding: 2px 5px"
_until_the_cell_is_over: Final[list[Callable[[], None]]] = []


def note(text: str, origin: object = None) -> None:
    """Say something about a cell in one line below it; not on stderr, which front ends show as an alarm.

    Args:
        text: The line.
        origin: The sink's token for the cell; by default that of the cell that runs now.

    Example:
        >>> note("nothing was lost")
        snakepit: nothing was lost
    """
    sink = output.sink()
    origin = sink.origin() if origin is None else origin
    line = f"snakepit: {text}"
    faint = f'<div style="{_FAINT}">{html.escape(line)}</div>'
    shown = {"text/plain": line, "text/html": faint}
    sink.display(origin, {"type": "display_data", "data": shown, "metadata": {}, "transient": {}})
    sink.finish(origin)


def cell_number(shell: InteractiveShell) -> int:
    """The number in the prompt of the cell that runs now.

    In newer releases of IPython the shell's own `execution_count` is one ahead by then; what `Out` goes by is
    right in all of them.
    """
    return int(shell.displayhook.prompt_count)


def in_bytes(nbytes: float) -> str:
    """A number of bytes for people, in powers of 1000.

    Example:
        >>> in_bytes(0), in_bytes(1_500_000)
        ('0 B', '1.5 MB')
    """
    value, unit = float(nbytes), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value /= _STEP
        unit += 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


class Shown:
    """Stands for a last value that cannot travel, and shows what its worker showed for it.

    Example:
        >>> Shown({"data": {"text/plain": "<thing>"}, "metadata": {}})
        <thing>
    """

    def __init__(self, bundle: Mapping[str, object]) -> None:
        self._bundle = bundle

    def __repr__(self) -> str:
        data = self._bundle.get("data")
        return str(data.get("text/plain", "")) if isinstance(data, dict) else ""

    def _repr_mimebundle_(self, **_: object) -> tuple[object, object]:
        return self._bundle.get("data", {}), self._bundle.get("metadata", {})


def show_as(shell: InteractiveShell, value: object, bundle: Mapping[str, object]) -> None:
    """Until the cell that runs now is over, show this one value as its worker did.

    What draws a figure is registered where matplotlib was set up, and that may be the worker alone.
    """
    if shell.display_formatter is None:
        return
    formatter, kind = shell.display_formatter.mimebundle_formatter, type(value)

    def bundle_of(other: object) -> object:
        if other is value:
            return bundle.get("data", {}), bundle.get("metadata", {})
        return None if before is None else before(other)

    def put_back() -> None:
        if before is None:
            formatter.pop(kind, None)
        else:
            formatter.for_type(kind, before)

    def cell_is_over(_result: object = None) -> None:
        shell.events.unregister("post_run_cell", cell_is_over)
        while _until_the_cell_is_over:
            _until_the_cell_is_over.pop()()

    before: Callable[[object], object] | None = formatter.for_type(kind, bundle_of)
    if not _until_the_cell_is_over:
        shell.events.register("post_run_cell", cell_is_over)
    _until_the_cell_is_over.append(put_back)


def show_error(
    shell: InteractiveShell,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> None:
    """Show an error of a worker as it renders itself, for IPython's `set_custom_exc`.

    IPython itself prints the kernel's stack for syntax errors and exception groups, whatever they render.
    """
    render = getattr(error, "_render_traceback_", None)
    if render is None:
        lines = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
    else:
        lines = render()
    shell._showtraceback(kind, error, lines)  # noqa: SLF001 - the hook that every front end's shell overrides


class _Told(BaseException):
    """An error that brings the lines that a front end shows for it."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self._lines = list(lines)

    def _render_traceback_(self) -> list[str]:
        return self._lines


class _Interrupted(_Told, KeyboardInterrupt):
    """The stop button, without the frames of whoever was waiting."""


_Interrupted.__name__ = _Interrupted.__qualname__ = "KeyboardInterrupt"


def syntax_error(shell: InteractiveShell, error: SyntaxError, text: str) -> Exception:
    """The error to raise in place of a SyntaxError of a cell, so that it looks as in an ordinary cell.

    Args:
        shell: The shell that the cell was typed into.
        error: What the compiler raised; its lines are those of `text`.
        text: The whole cell as it was typed.
    """
    # What it was caught beside is no part of what the user did.
    error.__context__ = error.__cause__ = None
    error.filename = shell.compile.cache(text, cell_number(shell))
    lines = shell.SyntaxTB.structured_traceback(type(error), error)
    line = f", line {error.lineno}" if error.lineno else ""
    # IPython prints the whole stack for a real one that is raised inside a magic; front ends go by the name.
    kind = type(type(error).__name__, (_Told, Exception), {"__doc__": "The text of a cell is not Python."})
    made: Exception = kind(f"{error.msg} (In [{cell_number(shell)}]{line})", lines)
    return made


def interrupted(text: str) -> KeyboardInterrupt:
    """A KeyboardInterrupt that says what became of the cell.

    Example:
        >>> print(interrupted("its worker was killed"))
        its worker was killed
    """
    return _Interrupted(text, render_notice("KeyboardInterrupt", text, colour=colours()).splitlines())


class _Row(NamedTuple):
    pool: str
    worker: str
    pid: str
    state: str
    requests: str
    uptime: str


class Status:
    """The pools and their workers as a table: text in a terminal, HTML in a notebook."""

    def __init__(self, pools: Sequence[Pool], arrays: Stats | None) -> None:
        self._rows = [row for pool in pools for row in _rows(pool)]
        self._arrays = arrays
        self._queued = sum(pool.stats()["queued"] for pool in pools)

    def _below(self) -> str:
        if not self._rows:
            return "no pool is running; the first %%snakepit cell starts one"
        text = f"{self._queued} queued"
        stats = self._arrays
        if stats is not None:
            text += (
                f" · arrays to workers: {in_bytes(stats.shared_bytes)} shared,"
                f" {in_bytes(stats.copied_bytes)} copied"
                f" · {stats.leases} lent ({in_bytes(stats.leased_bytes)}),"
                f" {in_bytes(stats.cached_bytes)} cached,"
                f" {in_bytes(stats.live_bytes)} of {in_bytes(stats.budget)} in use"
            )
        return text

    def __repr__(self) -> str:
        if not self._rows:
            return self._below()
        table = [_Row(*(field.replace("_", " ") for field in _Row._fields)), *self._rows]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
        return "\n".join([*("  ".join(row).rstrip() for row in padded), self._below()])

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<p>{html.escape(self._below())}</p>"
        head, *body = (
            _html_row(row, tag) for row, tag in [(_Row._fields, "th"), *((row, "td") for row in self._rows)]
        )
        below = html.escape(self._below())
        return f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table><p>{below}</p>"


def _html_row(cells: Sequence[str], tag: str) -> str:
    shown = (f"<{tag} style='text-align:left'>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{''.join(shown)}</tr>"


def _rows(pool: Pool) -> list[_Row]:
    workers = pool.workers()
    if not workers:
        return [_Row(pool.name, "-", "-", f"none of {pool.max_workers} started", "-", "-")]
    return [
        _Row(
            pool.name,
            each.worker_id,
            str(each.pid),
            each.state,
            str(each.request_count),
            f"{each.uptime_seconds:.0f} s",
        )
        for each in workers
    ]
