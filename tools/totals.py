"""Counts a kernel's events for a summary: runs inside that kernel, leaves no name in its notebook.

*Rule:* the numbers are those of the events, from the first one on; nothing is estimated.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Final, cast

from snakepit_nb import telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

HANDLER: Final = "tools.totals"


class Totals:
    """What the events of a kernel add up to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # events come from several threads
        self._workers: set[object] = set()
        self._counts = dict.fromkeys(
            ("requests", "failed", "crashes", "shares", "shared_bytes", "copies", "copied_bytes"), 0
        )

    def hear(
        self,
        event: telemetry.EventName,
        measurements: dict[str, float],
        metadata: dict[str, object],
        config: object,
    ) -> None:
        """Handle one event of the bus."""
        del config
        with self._lock:
            counts = self._counts
            match telemetry.dotted(event):
                case "snakepit.worker.started":
                    self._workers.add((metadata.get("pool"), metadata.get("worker_id")))
                case "snakepit.worker.crash":
                    counts["crashes"] += 1
                case "snakepit.request.executed":
                    counts["requests"] += 1
                    counts["failed"] += not metadata.get("success")
                case "snakepit.zero_copy.export":
                    counts["shares"] += 1
                    counts["shared_bytes"] += int(measurements["bytes"])
                case "snakepit.zero_copy.fallback":
                    counts["copies"] += 1
                    counts["copied_bytes"] += int(measurements["bytes"])

    def summary(self) -> Mapping[str, int]:
        """The numbers so far."""
        with self._lock:
            return {"workers": len(self._workers), **self._counts}


def attach() -> None:
    """Begin to count; what the kernel emitted before is counted as well."""
    totals = Totals()
    telemetry.attach_prefix(HANDLER, "snakepit", totals.hear, totals)
    telemetry.replay(HANDLER)


def report() -> str:
    """The numbers as JSON.

    Raises:
        LookupError: nobody counts; the handler was detached or the notebook restarted its kernel.
    """
    for handler in telemetry.list_handlers():
        if handler.handler_id == HANDLER:
            return json.dumps(cast("Totals", handler.config).summary())
    message = f"the handler {HANDLER!r} is not attached"
    raise LookupError(message)
