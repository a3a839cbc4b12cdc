"""What appears below a cell: notes, values that only the worker could show, and the table of pools."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.arrays.store import Stats
    from snakepit_nb.pool.pool import Pool

_UNITS: Final = ("B", "KB", "MB", "GB", "TB")
_STEP: Final = 1000


def note(text: str) -> None:
    """Say something about the cell in one line below it."""
    sys.stderr.write(f"snakepit: {text}\n")
    sys.stderr.flush()


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
    """A last value as its worker showed it, for a value that the notebook itself could not show so.

    Example:
        >>> Shown(None, {"data": {"text/plain": "<thing>"}, "metadata": {}})
        <thing>
    """

    def __init__(self, value: object, bundle: Mapping[str, object]) -> None:
        self.value = value
        self._bundle = bundle

    @classmethod
    def of(cls, shell: InteractiveShell, value: object, bundle: Mapping[str, object]) -> object:
        """The value itself where this process shows it as richly, else the worker's picture of it."""
        if value is not None:
            data, _ = shell.display_formatter.format(value)
            offered = bundle.get("data")
            if isinstance(offered, dict) and set(offered) <= set(data):
                return value
        return cls(value, bundle)

    def __repr__(self) -> str:
        data = self._bundle.get("data")
        return str(data.get("text/plain", "")) if isinstance(data, dict) else ""

    def _repr_mimebundle_(self, **_: object) -> tuple[object, object]:
        return self._bundle.get("data", {}), self._bundle.get("metadata", {})


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
                f" · arrays to workers: {in_bytes(stats.shared_bytes)} shared, {in_bytes(stats.copied_bytes)} copied"
                f" · {stats.leases} lent, {in_bytes(stats.live_bytes)} of {in_bytes(stats.budget)} in use"
            )
        return text

    def __repr__(self) -> str:
        if not self._rows:
            return self._below()
        table = [_Row(*(field.replace("_", " ") for field in _Row._fields)), *self._rows]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([*lines, self._below()])

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<p>{html.escape(self._below())}</p>"
        head = "".join(f"<th style='text-align:left'>{field}</th>" for field in _Row._fields)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{html.escape(self._below())}</p>"


def _rows(pool: Pool) -> list[_Row]:
    workers = pool.workers()
    if not workers:
        return [_Row(pool.name, "-", "-", f"none of {pool.max_workers} started", "-", "-")]
    return [
        _Row(pool.name, each.worker_id, str(each.pid), each.state, str(each.request_count), f"{each.uptime_seconds:.0f} s")
        for each in workers
    ]
