"""Frames of functions that the notebook defined, told by their cell; this runs in the kernel."""

from __future__ import annotations

import linecache
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from snakepit_nb.errors.record import ErrorRecord, Frame

_AROUND: Final = 2
_NUMBER: Final = re.compile(r"In ?\[(\d+)\]")


def localised(record: ErrorRecord) -> ErrorRecord:
    """The record with cell numbers and source lines for the notebook's code that a worker knows by value.

    Example:
        >>> from snakepit_nb.errors.record import ErrorRecord, TypeName
        >>> localised(ErrorRecord(TypeName("builtins", "OSError"), (), "no")).message
        'no'
    """
    return replace(
        record,
        frames=tuple(_localised(frame) for frame in record.frames),
        cause=None if record.cause is None else localised(record.cause),
        context=None if record.context is None else localised(record.context),
        members=tuple(localised(member) for member in record.members),
    )


def _localised(frame: Frame) -> Frame:
    if frame.in_cell or frame.source or frame.module != "__main__":
        return frame
    lines = linecache.getlines(frame.file)
    if not 0 < frame.line <= len(lines):
        return frame
    rows = [line.rstrip() for line in lines]
    cell = _cell(frame.file)
    around = 0 if cell is None else _AROUND
    return replace(
        frame,
        source=rows[frame.line - 1],
        before=tuple(rows[max(0, frame.line - 1 - around) : frame.line - 1]),
        after=tuple(rows[frame.line : frame.line + around]),
        in_cell=cell is not None,
        cell=cell,
    )


def _cell(file: str) -> int | None:
    """The number of the cell that IPython compiled under this name."""
    shell = sys.modules.get("IPython")
    if shell is None:
        return None
    try:
        _, name = shell.get_ipython().compile.format_code_name(file)
    except Exception:  # noqa: BLE001 - no shell runs, not a cell, or a shell of another make
        return None
    found = _NUMBER.fullmatch(str(name))
    return int(found[1]) if found else None
