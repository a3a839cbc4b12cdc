"""The pool's timeline in the place of a bar: below a cell of many runs while they go on, then its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snakepit_nb.magics.progress import Bar, Count, as_text
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.board import Dashboard
    from snakepit_nb.pool.pool import Pool


class TimelineBar(Bar):
    """The timeline of one cell's runs; what a bar would say last is the plain text of the report.

    Args:
        pool: Where they run.
        what: What is counted.
        total: How many there are to be; None where nobody knows.
        label: What stands before the last line.
        origin: The sink's token for the cell.
    """

    def __init__(self, pool: Pool, what: str, total: int | None, label: str, origin: object) -> None:
        super().__init__(what, total, label, origin, wanted=True)
        self._pool = pool
        self._timeline: Dashboard | None = None

    def update(self, done: int, failed: int) -> None:
        """Show it, the first time; from then on it moves by itself."""
        del done, failed
        if self._timeline is None:
            # What widgets take to load is paid by who wants one.
            from snakepit_nb.board import Dashboard  # noqa: PLC0415

            self._timeline = Dashboard(self._pool, mini=True, history=False)
            self._timeline.show(self._show)

    def close(self, done: int, failed: int, over: str) -> None:
        """Leave the report."""
        count = Count(self._what, done, failed, self._total, self._clock() - self._began, over)
        if self._timeline is None:
            self._draw(count)
            return
        self._timeline.finish(as_text(count, self._label))

    def _show(self, data: Mapping[str, object], display_id: str) -> None:
        """Below the cell that asked, which is another one than runs now where it is in the background."""
        shown = {
            "type": "display_data",
            "data": dict(data),
            "metadata": {},
            "transient": {"display_id": display_id},
        }
        output.sink().display(self._origin, shown)
        output.sink().finish(self._origin)
