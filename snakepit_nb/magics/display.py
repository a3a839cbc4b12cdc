"""What appears below a cell: notes, values as their worker showed them, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.render import colours, render_notice
from snakepit_nb.pool import output
from snakepit_nb.wire.notes import quiet_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell


_UNITS: Final = ("B", "KB", "MB", "GB", "TB")
_STEP: Final = 1000
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
    origin = output.origin() if origin is None else origin
    sink.display(origin, quiet_line(text))
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


def show_below(shell: InteractiveShell, messages: Sequence[Mapping[str, object]]) -> None:
    """Show what a worker sent for the place below the last value of the cell that runs now."""

    def cell_is_over(_result: object = None) -> None:
        shell.events.unregister("post_run_cell", cell_is_over)
        sink = output.sink()
        origin = output.origin()
        for message in messages:
            sink.display(origin, message)
        sink.finish(origin)

    shell.events.register("post_run_cell", cell_is_over)


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
