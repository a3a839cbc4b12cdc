"""A traceback as the frames that its reader cares about, and the library that raised.

*Rule:* the machinery that called the user's code is not among them, and their number is bounded.
"""

from __future__ import annotations

import linecache
import os
import re
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors import origin, stack
from snakepit_nb.errors.hostile import BASE, exact, guarded
from snakepit_nb.errors.record import Frame

if TYPE_CHECKING:
    import types

# os.path and not pathlib, which a worker would have to import for this alone.
_HOUSE: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")  # noqa: PTH100, PTH118, PTH120 - see above
_CELL: Final = re.compile(r"<In \[(\d+|\*)\]>")
_LINE: Final = 1_000
_FRAMES_AT_EACH_END: Final = 30
_LINES_AROUND: Final = 2


def steps_of(exception: BaseException, *, remote: bool) -> list[types.TracebackType]:
    """The traceback without the machinery that called the user's code.

    Below machinery the event loop that ran a cell counts as machinery too. So does what the user's code was
    interrupted by or called of this package, where that raised. Of an exception that came out of a pool in
    here (`remote`), the way back through that pool's Future is left out as well.

    Example:
        >>> steps_of(ValueError(), remote=False)
        []
    """
    steps: list[types.TracebackType] = []
    step = BASE["__traceback__"].__get__(exception)
    while step is not None:
        # The frames that were rebuilt from a record are in that record already.
        if stack.MARK not in step.tb_frame.f_globals:
            steps.append(step)
        step = step.tb_next
    start = 0
    if steps and _house(steps[0]):
        while start < len(steps) and (
            _house(steps[start]) or _module(steps[start]).partition(".")[0] == "asyncio"
        ):
            start += 1
    end = len(steps)
    while end > start and (
        _house(steps[end - 1]) or (remote and _module(steps[end - 1]).startswith("concurrent."))
    ):
        end -= 1
    return steps[start:end]


def frames_of(steps: list[types.TracebackType]) -> tuple[Frame, ...]:
    """The steps as data; of a deep recursion both ends.

    Example:
        >>> frames_of([])
        ()
    """
    skipped = max(0, len(steps) - 2 * _FRAMES_AT_EACH_END)
    if not skipped:
        return tuple(_frame(step) for step in steps)
    head, tail = steps[:_FRAMES_AT_EACH_END], steps[-_FRAMES_AT_EACH_END:]
    return (*map(_frame, head), _frame(tail[0], skipped), *map(_frame, tail[1:]))


def raised_by(exception: BaseException, steps: list[types.TracebackType]) -> tuple[str, str]:
    """The library and the function that raised it.

    The library is `"builtins"` for Python's own operations, and `"python"` where the user's code raised.

    Example:
        >>> raised_by(ValueError(), [])
        ('python', '')
    """
    innermost = steps[-1] if steps else _last_step(exception)
    if innermost is None:
        return "python", ""
    native = guarded(lambda: origin.native(innermost), None)
    if native is not None:
        own = "builtins" if not steps or is_users(steps[-1]) else _module(steps[-1]).partition(".")[0]
        # Below a library's own frame only another library's native code is deeper than that frame.
        if own == "builtins" or native[0] not in {own, "builtins"}:
            return native
    for step in reversed(steps):
        if not is_users(step):
            return _module(step).partition(".")[0], _plain(step.tb_frame.f_code.co_name)
    return "python", ""


def _house(step: types.TracebackType) -> bool:
    return step.tb_frame.f_code.co_filename.startswith(_HOUSE)


def _module(step: types.TracebackType) -> str:
    return exact(dict.get(step.tb_frame.f_globals, "__name__")) or ""


def _frame(step: types.TracebackType, skipped: int = 0) -> Frame:
    code = step.tb_frame.f_code
    line = step.tb_lineno or 0
    cell = _CELL.fullmatch(code.co_filename)
    lines: list[str] = guarded(lambda: linecache.getlines(code.co_filename, step.tb_frame.f_globals), [])
    around = _LINES_AROUND if cell else 0
    return Frame(
        file=code.co_filename,
        line=line,
        function=code.co_name,
        module=_module(step),
        source=_row(lines, line),
        before=tuple(_row(lines, number) for number in range(max(1, line - around), line)),
        after=tuple(_row(lines, number) for number in range(line + 1, min(len(lines), line + around) + 1)),
        columns=guarded(lambda: _columns(step, _row(lines, line)), None),
        in_cell=cell is not None,
        cell=int(cell[1]) if cell and cell[1] != "*" else None,
        skipped=skipped,
    )


def _row(lines: list[str], number: int) -> str:
    if not 0 < number <= len(lines):
        return ""
    row = lines[number - 1].rstrip()
    return row if len(row) <= _LINE else f"{row[:_LINE]} [...]"


def _columns(step: types.TracebackType, source: str) -> tuple[int, int] | None:
    """The part of the line that failed, in characters; None where that is all of it, or not to be known."""
    span = origin.position(step.tb_frame.f_code, step.tb_lasti)
    if span is None or span.line != step.tb_lineno or len(source) > _LINE:
        return None
    encoded = source.encode("utf-8", "surrogatepass")
    last = span.end_column if span.end_line == span.line else len(encoded)
    start = len(encoded[: span.column].decode("utf-8", "replace"))
    end = len(encoded[:last].decode("utf-8", "replace"))
    whole = source[:start].strip() == "" and source[end:].strip() == ""
    return None if whole or end <= start else (start, end)


def _plain(name: str) -> str:
    # Cython names its functions in full.
    return name if name.startswith("<") else name.rpartition(".")[2]


def _last_step(exception: BaseException) -> types.TracebackType | None:
    step: types.TracebackType | None = BASE["__traceback__"].__get__(exception)
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step


def is_users(step: types.TracebackType) -> bool:
    """Whether a frame is the user's own code: a cell, or a function of the notebook.

    Example:
        >>> try:
        ...     [].index(1)
        ... except ValueError as error:
        ...     is_users(error.__traceback__)
        False
    """
    module = _module(step)
    return module in {"", "__main__"} or _CELL.fullmatch(step.tb_frame.f_code.co_filename) is not None
