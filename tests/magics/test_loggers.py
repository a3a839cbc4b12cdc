"""What of the notebook's logging stays there is told, unless it is a library's own business."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from snakepit_nb.magics.loggers import observed

if TYPE_CHECKING:
    from pathlib import Path


class Tracer(logging.Handler):
    """A handler that a library brings along for its own logger."""


Tracer.__module__ = "tracing.internal"


def told_of(name: str, handler: logging.Handler) -> list[str]:
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        return [each for each in observed()[1] if name in each]
    finally:
        logger.removeHandler(handler)
        handler.close()


def test_a_log_file_stays_in_the_notebook_and_a_line_says_so(tmp_path: Path) -> None:
    (line,) = told_of("my_project", logging.FileHandler(tmp_path / "log.txt"))
    assert line == (
        "the FileHandler of logger 'my_project' stays in the notebook: what is logged in a worker "
        "does not reach it"
    )


def test_what_a_library_made_for_its_own_logger_is_nothing_to_tell() -> None:
    assert told_of("tracing.steps", Tracer()) == []
    assert len(told_of("other", Tracer())) == 1
