"""Events as lines of the standard library's logging, each with its facts as structured extras."""

from __future__ import annotations

import json
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from snakepit_nb import events, telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from snakepit_nb.telemetry import EventName, Name, Record

_ENVELOPE = frozenset(("time_ns", "monotonic_ns", "pid"))

LEVELS: Final[Mapping[EventName, int]] = MappingProxyType(
    {
        events.WORKER_CRASH: logging.ERROR,
        events.TELEMETRY_HANDLER_FAILURE: logging.ERROR,
        **dict.fromkeys(
            (
                events.WORKER_HEALTH_CHECK_FAILED,
                events.WORKER_TAINTED,
                events.POOL_SATURATED,
                events.PYTHON_EXCEPTION_UNMAPPED,
                events.ZERO_COPY_LEAKED,
                events.RETRY_EXHAUSTED,
                events.CIRCUIT_BREAKER_OPENED,
                events.SESSION_LOST,
                events.TELEMETRY_DROPPED,
                events.ALERT_FIRED,
            ),
            logging.WARNING,
        ),
        **dict.fromkeys(
            (
                events.REQUEST_QUEUED,
                events.REQUEST_DISPATCHED,
                events.REQUEST_PROGRESS,
                events.REQUEST_EXECUTED,
                events.REQUEST_WITHDRAWN,
                events.ZERO_COPY_EXPORT,
                events.ZERO_COPY_IMPORT,
                events.ZERO_COPY_FALLBACK,
                events.ZERO_COPY_RELEASE,
                events.WORKER_STATS,
            ),
            logging.DEBUG,
        ),
    }
)
"""The level of each event that is not logged as INFO."""


class LogExporter:
    """Writes each event as one line, while attached.

    The record's extras are `event` (the dotted name), `measurements` and `metadata` (dicts, stamps included),
    for formatters that write JSON. The record's own time is that of the writing; the event's is `time_ns`.

    Args:
        prefix: Which events: those whose names begin with it.
        logger: Where they go; by default the logger `snakepit_nb.events`.
        levels: Levels of single events by name; they win over `LEVELS`, and what neither has is INFO.

    Raises:
        TypeError, ValueError: a name in `levels` that is none.

    Example:
        >>> import sys
        >>> logger = logging.Logger("doctest")
        >>> logger.addHandler(logging.StreamHandler(sys.stdout))
        >>> with LogExporter("app", logger=logger):
        ...     telemetry.execute("app.job.done", {"rows": 3}, {"job": "nightly import"})
        app.job.done count=1 rows=3 job="nightly import"
    """

    def __init__(
        self,
        prefix: Name = "snakepit",
        *,
        logger: logging.Logger | None = None,
        levels: Mapping[Name, int] | None = None,
    ) -> None:
        self._prefix = prefix
        self._logger = logger or logging.getLogger("snakepit_nb.events")
        self._levels = {
            **LEVELS,
            **{telemetry.as_name(name): level for name, level in (levels or {}).items()},
        }
        self._handler_id = f"snakepit_nb.exporters.log:{id(self):x}"

    def attach(self) -> None:
        """Begin to write.

        Raises:
            telemetry.AlreadyAttached: it is attached.
            TypeError, ValueError: the prefix is none.
        """
        telemetry.attach_records(self._handler_id, self._prefix, self._write)

    def detach(self) -> None:
        """Stop writing; nothing happens where it is not attached."""
        telemetry.detach(self._handler_id)

    def replay(self) -> int:
        """Write the recent events from before it was attached as well, and return how many there were.

        Raises:
            telemetry.NotAttached: it is not attached.
        """
        return telemetry.replay(self._handler_id)

    def __enter__(self) -> Self:
        self.attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _write(self, record: Record) -> None:
        level = self._levels.get(record[0], logging.INFO)
        if not self._logger.isEnabledFor(level):
            return
        event, measurements, metadata = telemetry.heard(record)
        name = telemetry.dotted(event)
        facts = {**measurements, **{key: value for key, value in metadata.items() if key not in _ENVELOPE}}
        line = " ".join([name, *(f"{key}={_shown(value)}" for key, value in facts.items())])
        extra = {"event": name, "measurements": measurements, "metadata": metadata}
        self._logger.log(level, "%s", line, extra=extra)


def _shown(value: object) -> str:
    """A value as it stands in a line: bare where that is clear, else as JSON, which has no line breaks."""
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and not set(' "=\\') & set(value)
        and value
    ):
        return value
    return json.dumps(value, default=repr)
