"""How far the runs of one cell are: a bar below the cell, redrawn in its place.

*Rule:* `Count` and what draws it are pure; `Bar` alone knows a clock and who is shown something.
"""

from __future__ import annotations

import html
import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.render import visible
from snakepit_nb.magics.status import in_time
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE: Final = 0.5  # seconds before a bar appears where nobody asked for one
_BETWEEN: Final = 0.2  # seconds between two redraws
_WIDTH: Final = 24
_PERCENT: Final = 100
_TENTHS_BELOW: Final = 10.0
_FACE: Final = (
    "display:flex; gap:8px; align-items:center; padding:2px 5px; font-size:0.9em; "
    "color:var(--jp-ui-font-color1, inherit); font-variant-numeric:tabular-nums"
)
_TRACK: Final = (
    "flex:0 0 160px; height:8px; border-radius:4px; overflow:hidden; "
    "background:var(--jp-layout-color3, #bbbbbb)"
)
_FILLED: Final = "height:100%; width:{0}%; background:var(--jp-brand-color1, #1976d2)"


@dataclass(frozen=True, slots=True)
class Count:
    """How far it is.

    Attributes:
        what: What is counted, `"items"` or `"workers"`.
        done: How many runs are over, well or not.
        failed: How many of these failed.
        total: How many there are to be; None where nobody knows.
        seconds: Since the first began.
        over: What became of it, once it is over: `""` while it is not, else `"done"` or `"stopped"`.

    Example:
        >>> Count("items", 10, 1, 40, 5.0).line()
        '10 of 40 items · 25 % · 2.0 a second · 1 failed · 15 s left'
        >>> Count("items", 40, 0, 40, 20.0, "done").line()
        '40 items in 20 s · 2.0 a second'
    """

    what: str
    done: int
    failed: int
    total: int | None
    seconds: float
    over: str = ""

    @property
    def rate(self) -> float:
        """How many runs are over in a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def percent(self) -> int | None:
        """How much of all is done; None where nobody knows how much there is."""
        if self.total is None:
            return None
        return _PERCENT if not self.total else self.done * _PERCENT // self.total

    def line(self) -> str:
        """Say it in one line."""
        return " · ".join(self._parts())

    def _parts(self) -> list[str]:
        if self.over == "done":
            parts = [f"{self.done:,} {self.what} in {in_time(self.seconds)}"]
        elif self.total is None:
            parts = [f"{self.done:,} {self.what}"]
        else:
            parts = [f"{self.done:,} of {self.total:,} {self.what}", f"{self.percent} %"]
        if self.over == "stopped":
            parts.append("stopped")
        if self.done:
            rate = self.rate
            parts.append(f"{rate:,.1f} a second" if rate < _TENTHS_BELOW else f"{rate:,.0f} a second")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if not self.over and self.total is not None and self.done:
            parts.append(f"{in_time((self.total - self.done) / self.rate)} left")
        return parts


def as_text(count: Count, label: str) -> str:
    """The bar for a terminal.

    Example:
        >>> as_text(Count("items", 1, 0, 2, 1.0), "sweep")
        'sweep [############            ] 1 of 2 items · 50 % · 1.0 a second · 1.0 s left'
    """
    percent = count.percent
    bar = "" if percent is None else f"[{'#' * (_WIDTH * percent // _PERCENT):<{_WIDTH}}] "
    return visible(f"{label} {bar}{count.line()}")


def as_html(count: Count, label: str) -> str:
    """The bar for a notebook.

    Example:
        >>> "width:50%" in as_html(Count("items", 1, 0, 2, 1.0), "sweep")
        True
    """
    percent = count.percent
    track = ""
    if percent is not None:
        told = f'role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"'
        track = f'<div style="{_TRACK}" {told}><div style="{_FILLED.format(percent)}"></div></div>'
    name, line = html.escape(visible(label)), html.escape(count.line())
    return f'<div style="{_FACE}"><span>{name}</span>{track}<span>{line}</span></div>'


class Bar:
    """The bar of one cell.

    Args:
        what: What is counted.
        total: How many there are to be; None where nobody knows.
        label: What stands before it.
        origin: The sink's token for the cell.
        wanted: Whether it is shown: None shows it where it takes long enough to be looked at.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913 - what a bar is made of
        self,
        what: str,
        total: int | None,
        label: str,
        origin: object,
        *,
        wanted: bool | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._label, self._origin = what, total, label, origin
        self._wanted, self._clock = wanted, clock
        self._id = uuid.uuid4().hex
        self._began = clock()
        self._drawn = 0.0
        self._there = False
        self._longest = 0

    def update(self, done: int, failed: int) -> None:
        """Draw it where it is time to."""
        now = self._clock()
        late = now - self._drawn >= _BETWEEN if self._there else now - self._began >= _PATIENCE
        if self._wanted is not False and (late or (self._wanted and not self._there)):
            self._draw(Count(self._what, done, failed, self._total, now - self._began))

    def close(self, done: int, failed: int, over: str) -> None:
        """Draw it for the last time; not at all where it never was there and nobody asked for it."""
        if self._wanted is not False and (self._there or self._wanted):
            self._draw(Count(self._what, done, failed, self._total, self._clock() - self._began, over))

    def _draw(self, count: Count) -> None:
        sink = output.sink()
        if not sink.redraws:
            self._write(count)
            return
        shown = {
            "type": "update_display_data" if self._there else "display_data",
            "data": {
                "text/plain": as_text(count, self._label),
                "text/html": as_html(count, self._label),
            },
            "metadata": {},
            "transient": {"display_id": self._id},
        }
        sink.display(self._origin, shown)
        if count.over or not self._there:
            sink.finish(self._origin)
        self._there, self._drawn = True, self._clock()

    def _write(self, count: Count) -> None:
        """Where nothing can be redrawn but the line of a terminal; elsewhere the last state alone is said."""
        alive = sys.stderr is not None and sys.stderr.isatty()
        if alive or count.over:
            text = as_text(count, self._label)
            self._longest = max(self._longest, len(text))
            start, end = "\r" if alive else "", "\n" if count.over else ""
            output.sink().stream(self._origin, "stderr", f"{start}{text:<{self._longest}}{end}")
        self._there, self._drawn = True, self._clock()
