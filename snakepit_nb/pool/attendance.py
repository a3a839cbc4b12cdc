"""Callers that wait for an answer fetch it themselves, which saves a change of thread on the way back.

*Rule:* whoever holds a worker's `attending` lock is the only one who reads its channel: the reactor's thread,
or one caller that waits.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb.errors.types import PoolError
from snakepit_nb.pool.interrupts import Uninterrupted, in_glances

if TYPE_CHECKING:
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.reception import Reception
    from snakepit_nb.wire import messages

_MOMENT: Final = 0.0002


class Attendance:
    """Lets callers wait at the workers of one pool."""

    def __init__(self, office: Office, reception: Reception) -> None:
        self._office = office
        self._reception = reception
        self._spin_ns = 0 if (os.cpu_count() or 1) == 1 else office.options.spin_us * 1000

    def check_may_wait(self) -> None:
        """Refuse to wait in the reactor's thread: the starts and the deaths of workers wait for that.

        Raises:
            PoolError: this is it.
        """
        if self._office.reactor.here:
            text = "a done-callback or a handler cannot wait for a result of its pool: submit what comes next"
            raise PoolError(text, pool=self._office.name)

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        """Fetch answers of the future's worker in this thread until it is done; at most `timeout` seconds."""
        request = self._office.requests.get(future.request_id)
        if request is None:
            return
        self.check_may_wait()
        worker = self._office.workers.get(request.worker_id)
        if worker is None or self._office.state.queue:
            # With many on their way, one thread that takes in all is quicker than two that take turns.
            return
        until = None if timeout is None else time.monotonic() + timeout
        with Uninterrupted() as guard:
            # The reactor's thread has it for a moment now and then, another caller for as long as they wait.
            if not worker.attending.acquire(timeout=_MOMENT):
                return
            try:
                self._office.reactor.borrow(worker.channel_fd)
                worker_id, channel = worker.worker_id, worker.channel
                while (
                    not (future.done() or guard.seen)
                    and worker.ended is None
                    and request.worker_id == worker_id
                ):
                    found = channel.spin(self._spin_ns) or self._sleep(worker, until, guard)
                    if found is None:
                        break
                    self._reception.take(worker, found)
            except Exception as error:  # noqa: BLE001 - the worker's fault, not the caller's
                self._reception.gave_up(worker, error)
            finally:
                worker.attending.release()
                self._office.reactor.give_back(worker.channel_fd)

    @staticmethod
    def _sleep(
        worker: WorkerProcess, until: float | None, guard: Uninterrupted
    ) -> list[messages.Message] | None:
        """Sleep until a worker says something; None where time is up, or an interrupt came just before."""
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            return None
        guard.waiting = True
        try:
            # One that came before this line did not raise, one that comes after does.
            if guard.seen:
                return None
            in_glances(worker.channel.wait, left)
        finally:
            guard.waiting = False
        return worker.channel.receive() or []
