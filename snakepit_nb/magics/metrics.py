"""`%snakepit metrics`: what was counted of the events, as a table, and served for a Prometheus server.

*Rule:* counting begins with the first line that asks for it; what the bus still holds from before is counted
too, and the table says since when.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from snakepit_nb import registry
from snakepit_nb.exporters.aggregates import HEADS, Aggregates
from snakepit_nb.magics.tables import Column, as_html, as_text, block, paragraph
from snakepit_nb.magics.values import OFF

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.exporters.prometheus import PrometheusExporter
    from snakepit_nb.exporters.scraped import Endpoint

_COLUMNS: Final = tuple(Column(head, number=at > 1) for at, head in enumerate(HEADS))
_NOTHING: Final = "-"
_MODULE: Final = "snakepit_nb.exporters.aggregates"


class _Held:
    """What is kept from the first use on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counted: Aggregates | None = None
        self.since = ""
        self.exporter: PrometheusExporter | None = None
        self.endpoint: Endpoint | None = None


_held: Final = _Held()


class Figures:
    """The values of the metrics: text in a terminal, HTML in a notebook.

    Args:
        counted: What was counted.
        pool: The pool that it is about; None for all.
        since: When counting began, where that is to be told.
    """

    def __init__(self, counted: Aggregates, pool: str | None = None, since: str = "") -> None:
        self._about = "all pools" if pool is None else f"pool {pool}"
        # An empty name is that of the row above.
        self._rows = [(name, *(cell or _NOTHING for cell in rest)) for name, *rest in counted.rows(pool)]
        self._notes = [
            f"{name}: {count:,} events are counted under other, for there were too many label values"
            for name, count in counted.folded.items()
        ]
        if counted.dropped:
            self._notes.append(f"{counted.dropped:,} events were dropped: all is at least so much")
        if since:
            self._notes.append(f"counted since {since}; of what was before, what the bus still held")

    def __repr__(self) -> str:
        told = [as_text(_COLUMNS, self._rows)] if self._rows else ["nothing was counted so far"]
        return "\n".join([f"metrics of {self._about}", *told, *self._notes])

    def _repr_html_(self) -> str:
        table = as_html(_COLUMNS, self._rows) if self._rows else paragraph("nothing was counted so far")
        notes = [paragraph(note, faint=True) for note in self._notes]
        return block(paragraph(f"of {self._about}", title="metrics"), table, *notes)


def metrics(pool: str | None, serve: int | str | None = None) -> Figures | None:
    """Show the metrics, or serve them.

    Args:
        pool: The pool to show, or the one with which serving ends; None for all.
        serve: The port to serve at, 0 for one that is free, "off" to serve no more; None to show them.

    Raises:
        PoolError: there is no such pool, and there was none.
        UsageError: the port is taken, or another one is served at; or prometheus_client is missing.
    """
    with _held.lock:
        if serve == OFF:
            _stop_serving()
            return None
        if isinstance(serve, int):
            _check(pool)
            print(_served(pool, serve))  # noqa: T201 - the answer to the line
            return None
        if _held.counted is None:
            _held.since = time.strftime("%H:%M:%S")
            _held.counted = Aggregates().attach(replay=True)
        if not _held.counted.values(pool):
            _check(pool)
        return Figures(_held.counted, pool, _held.since)


def _check(pool: str | None) -> None:
    """Refuse a pool that is not there; the default one is as soon as it is asked for something."""
    if pool is not None and pool != registry.DEFAULT:
        registry.get_pool(pool)


def _served(pool: str | None, port: int) -> str:
    from snakepit_nb.exporters.prometheus import PrometheusExporter  # noqa: PLC0415 - only who serves needs it

    if _held.endpoint is not None and not _held.endpoint.closed:
        if port not in {0, _held.endpoint.port}:
            message = (
                f"metrics are served at {_held.endpoint.url} already; end that with "
                f"%snakepit metrics --serve {OFF}"
            )
            raise UsageError(message)
        return f"metrics for Prometheus: {_held.endpoint.url}, as before"
    try:
        if _held.exporter is None:
            _held.exporter = PrometheusExporter().attach(replay=True)
        _held.endpoint = _held.exporter.serve(port, pool=pool)
    except (ImportError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(text) from None
    until = "%snakepit metrics --serve off" if pool is None else f"pool {pool} stops"
    return f"metrics for Prometheus: {_held.endpoint.url}, until {until}"


def _stop_serving() -> None:
    exporter, _held.exporter, _held.endpoint = _held.exporter, None, None
    if exporter is not None:
        exporter.close()


def stop_serving() -> None:
    """Serve no more; what was counted for the table stays."""
    with _held.lock:
        _stop_serving()


def install(shell: InteractiveShell) -> None:
    """Have `Aggregates` that a user makes look in a notebook as the table here does."""
    if shell.display_formatter is None:
        return
    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type_by_name(_MODULE, "Aggregates", lambda counted: Figures(counted)._repr_html_())


def remove(shell: InteractiveShell) -> None:
    """Let go of all that was counted, and serve no more."""
    if shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].pop(f"{_MODULE}.Aggregates", None)
    with _held.lock:
        _stop_serving()
        counted, _held.counted = _held.counted, None
    if counted is not None:
        counted.close()
