"""Says once a second what each worker holds and how busy it is, while somebody listens.

*Rule:* it runs in the reactor's thread, and measures nothing that nobody wants to know.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psutil

from snakepit_nb import events, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.process import WorkerProcess

_SECOND: Final = 1_000_000_000
_UNHEARD: Final = 3 * _SECOND
_MB: Final = 1_000_000


class Gauges:
    """Measures the workers of one pool.

    Args:
        office: The pool's desk.
        memory_of: Tells how many bytes a worker holds for itself.
    """

    def __init__(self, office: Office, memory_of: Callable[[WorkerProcess], int]) -> None:
        self._office = office
        self._memory_of = memory_of

    def watch(self, worker: WorkerProcess) -> None:
        """Look at a worker that serves from now on."""
        try:
            process = psutil.Process(worker.pid)
            process.cpu_percent()  # the time that the next one counts from
        except psutil.Error:
            return
        self._later(worker, process)

    def _later(self, worker: WorkerProcess, process: psutil.Process) -> None:
        # Where nobody listens, an idle pool is not to be woken every second to find that out.
        wait = _SECOND if telemetry.wants(events.WORKER_STATS) else _UNHEARD
        due = time.monotonic_ns() + wait
        self._office.reactor.at(due, lambda: self._look(worker, process), lambda: worker.ended is None)

    def _look(self, worker: WorkerProcess, process: psutil.Process) -> None:
        if worker.ended is not None:
            return
        if telemetry.wants(events.WORKER_STATS):
            try:
                measured = {
                    "memory_mb": round(self._memory_of(worker) / _MB, 3),
                    "cpu_percent": process.cpu_percent(),
                }
            except psutil.Error:
                return
            facts = {"worker_id": worker.worker_id, "pool": self._office.name}
            telemetry.execute(events.WORKER_STATS, measured, facts)
        self._later(worker, process)
