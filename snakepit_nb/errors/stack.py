"""A record's frames as a traceback of this process, so that whoever prints one sees where it failed."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.errors.record import Frame

# The global that tells a rebuilt frame from one that ran here.
MARK: Final = "__remote_frame__"
_STUB: Final = compile("frame = here()", "<remote>", "exec")


def traceback_of(frames: Iterable[Frame]) -> types.TracebackType | None:
    """A traceback that runs through the frames; they hold no values.

    Example:
        >>> from snakepit_nb.errors.record import Frame
        >>> step = traceback_of([Frame("cell.py", 3, "f", "cell")])
        >>> step.tb_lineno, step.tb_frame.f_code.co_name
        (3, 'f')
    """
    following: types.TracebackType | None = None
    for frame in reversed(tuple(frames)):
        # A negative instruction says that the columns of the line are not known.
        following = types.TracebackType(following, _frame(frame), -1, max(1, frame.line))
    return following


def _frame(frame: Frame) -> types.FrameType:
    code = _STUB.replace(
        co_filename=frame.file,
        co_name=frame.function,
        co_qualname=frame.function,
        co_firstlineno=max(1, frame.line),
    )
    # The only way to a frame object is to be in it.
    scope: dict[str, object] = {"here": sys._getframe, "__name__": frame.module, MARK: True}  # noqa: SLF001 - see above
    exec(code, scope)  # noqa: S102 - the constant above, under another name
    del scope["here"]
    return scope.pop("frame")  # type: ignore[return-value]
