"""Logging in a worker as the notebook has it, written below the cell that logs."""

from __future__ import annotations

import logging
import pickle
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from snakepit_nb.wire.surroundings import Handler, Logging


class Below(logging.StreamHandler[TextIO]):
    """Writes to whatever the standard stream of that name is at the moment."""

    def __init__(self, name: str, level: int) -> None:
        logging.Handler.__init__(self, level)
        self._name_of_stream = name

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # found anew at each use
        """The stream."""
        found: TextIO = getattr(sys, self._name_of_stream)
        return found


class Loggers:
    """Follows the notebook's set-up, and undoes what a cell did to the root logger.

    Example:
        >>> Loggers().follow(Logging())  # doctest: +SKIP
    """

    def __init__(self) -> None:
        root = logging.getLogger()
        self._root: Final = root
        self._before: Final = list(root.handlers)
        self._wanted: Logging | None = None
        self._ours: list[tuple[str, Below]] = []
        self._levels: dict[str, int] = {}
        self._silenced: set[str] = set()

    def follow(self, wanted: Logging) -> None:
        """Sets all that is not so yet."""
        if wanted != self._wanted:
            self._follow_levels(wanted)
            self._follow_handlers(wanted.handlers)
            logging.disable(wanted.disabled)
            logging.captureWarnings(wanted.warnings)
            self._wanted = wanted
        handlers = [*self._before, *(handler for name, handler in self._ours if not name)]
        if self._root.handlers != handlers:
            self._root.handlers[:] = handlers
        level = dict(wanted.levels).get("", logging.WARNING)
        if self._root.level != level:
            self._root.setLevel(level)

    def _follow_levels(self, wanted: Logging) -> None:
        levels = dict(wanted.levels)
        for name in self._levels.keys() - levels.keys():
            logging.getLogger(name).setLevel(self._levels.pop(name))
        for name, level in levels.items():
            logger = logging.getLogger(name)
            self._levels.setdefault(name, logger.level)
            logger.setLevel(level)
        for name in self._silenced.difference(wanted.silent):
            logging.getLogger(name).propagate = True
        for name in wanted.silent:
            logging.getLogger(name).propagate = False
        self._silenced = set(wanted.silent)

    def _follow_handlers(self, handlers: tuple[Handler, ...]) -> None:
        for name, handler in self._ours:
            logging.getLogger(name).removeHandler(handler)
        self._ours = []
        for each in handlers:
            handler = Below(each.stream, each.level)
            if each.formatter is not None:
                handler.setFormatter(pickle.loads(each.formatter))  # noqa: S301 - the kernel's own
            logging.getLogger(each.logger).addHandler(handler)
            self._ours.append((each.logger, handler))
