"""Rows as columns of bytes, as `protocol` says, and back.

*Rule:* what is packed is unpacked to the same; the browser's `data/decoder.ts` is held to it by fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from snakepit_nb.dashboard.protocol import DENSITY_COLUMNS, ROW_COLUMNS, SAMPLE_COLUMNS, STAT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

Table: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
"""One of the kinds of rows: a structured array, one element for each row."""

ROW: Final = np.dtype(list(ROW_COLUMNS))
DENSITY: Final = np.dtype(list(DENSITY_COLUMNS))
SAMPLE: Final = np.dtype([(name, "<f8") for name in SAMPLE_COLUMNS])
STAT: Final = np.dtype([(name, "<f8") for name in STAT_COLUMNS])
KINDS: Final[tuple[np.dtype[Any], ...]] = (ROW, DENSITY, SAMPLE, STAT)
"""What the buffers of a batch hold, in their order."""

COUNTS: Final = ("rows", "density", "samples", "stats")
"""Which key of a batch says how many of them there are."""


def packed(table: Table) -> bytes:
    """A table as a buffer of a batch.

    Example:
        >>> packed(np.zeros(2, DENSITY)).hex()[:16], len(packed(np.zeros(2, ROW)))
        ('0000000000000000', 56)
    """
    if table.dtype in {SAMPLE, STAT}:
        return table.tobytes()
    return b"".join(table[name].tobytes() for name in table.dtype.names or ())


def unpacked(buffer: bytes | memoryview, kind: np.dtype[Any], rows: int) -> Table:
    """The table in a buffer.

    Raises:
        ValueError: the buffer's length is not that of so many rows.

    Example:
        >>> unpacked(bytes(28), ROW, 1)["kind"].tolist()
        [0]
    """
    if len(buffer) != rows * kind.itemsize:
        text = f"a buffer of {rows} rows has {rows * kind.itemsize} bytes, not {len(buffer)}"
        raise ValueError(text)
    if kind in {SAMPLE, STAT}:
        return np.frombuffer(buffer, kind).copy()
    table = np.empty(rows, kind)
    at = 0
    for name in kind.names or ():
        column = np.frombuffer(buffer, kind[name], rows, at)
        table[name] = column
        at += column.nbytes
    return table


def tables(content: Mapping[str, Any], buffers: list[bytes]) -> tuple[Table, Table, Table, Table]:
    """The rows, density, samples and stats of a batch.

    Raises:
        ValueError: the buffers are not what its content says.
    """
    rows, density, samples, stats = (
        unpacked(buffer, kind, content[count])
        for buffer, kind, count in zip(buffers, KINDS, COUNTS, strict=True)
    )
    return rows, density, samples, stats
