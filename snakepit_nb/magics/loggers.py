"""How the notebook's logging is set up, as far as a worker can do the same.

*Rule:* a handler that writes below the cell has its like in the worker, which writes below the same cell; one
that writes elsewhere stays alone with what it writes to.
"""

from __future__ import annotations

import io
import logging
import pickle
import sys
from typing import Final

import cloudpickle

from snakepit_nb.wire.surroundings import Handler, Logging

_FRONT_END: Final = ("IPKernelApp", "tornado", "traitlets", "asyncio", "Comm", "snakepit_nb")


def observed() -> tuple[Logging, list[str]]:
    """The set-up, and in a sentence each what of it stays here.

    Example:
        >>> observed()[0].levels[0][0]
        ''
    """
    root = logging.getLogger()
    levels: list[tuple[str, int]] = [("", root.level)]
    silent: list[str] = []
    handlers: list[Handler] = []
    strange: list[str] = []
    _add_handlers("", root, handlers, strange)
    # A copy: a thread may make a logger meanwhile.
    for name, logger in list(root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or name.partition(".")[0] in _FRONT_END:
            continue
        if logger.level:
            levels.append((name, logger.level))
        if not logger.propagate:
            silent.append(name)
        if logger.handlers:
            _add_handlers(name, logger, handlers, strange)
    found = Logging(
        levels=tuple(levels),
        silent=tuple(silent),
        disabled=root.manager.disable,
        warnings=getattr(logging, "_warnings_showwarning", None) is not None,
        handlers=tuple(handlers),
    )
    return found, strange


def _add_handlers(name: str, logger: logging.Logger, handlers: list[Handler], strange: list[str]) -> None:
    for handler in logger.handlers:
        stream = _stream_of(handler)
        if stream is not None:
            handlers.append(Handler(name, stream, handler.level, _packed(handler.formatter)))
        elif not isinstance(handler, logging.NullHandler) and not _is_a_library_s(name, handler):
            whose = f"logger {name!r}" if name else "the root logger"
            strange.append(
                f"the {type(handler).__name__} of {whose} stays in the notebook: what is logged in a worker "
                "does not reach it"
            )


def _is_a_library_s(name: str, handler: logging.Handler) -> bool:
    """Whether it writes to nobody in particular, or a library has made it for its own logger."""
    kind = type(handler)
    return kind is logging.StreamHandler or kind.__module__.partition(".")[0] == name.partition(".")[0]


def _stream_of(handler: logging.Handler) -> str | None:
    """Which of the cell's streams a handler writes to."""
    if type(handler) is not logging.StreamHandler:
        return None
    stream = handler.stream
    for name in ("stdout", "stderr"):
        # What `%%capture` put in its place is no place for later cells, and the stream of a kernel is kept
        # by its handlers also while another one stands in for it.
        if stream is getattr(sys, name) or (
            type(stream).__module__ == "ipykernel.iostream" and getattr(stream, "name", None) == name
        ):
            return name
    return None


def _packed(formatter: logging.Formatter | None) -> bytes | None:
    if formatter is None:
        return None
    try:
        if type(formatter) is logging.Formatter:
            return pickle.dumps(formatter, 5)
        file = io.BytesIO()
        cloudpickle.Pickler(file, 5).dump(formatter)
    except Exception:  # noqa: BLE001 - a formatter may hold anything; a plain one stands in
        return None
    return file.getvalue()
