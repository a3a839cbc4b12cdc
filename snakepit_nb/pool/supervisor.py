"""Does what `state` decides: writes to workers, fetches their answers, settles futures.

*Rule:* state changes under the lock, futures are settled outside of it, and callbacks of users run in the
reactor's thread alone, so that no lock of theirs can meet one of ours.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import events, options, telemetry
from snakepit_nb.errors.types import PoolBroken, PoolClosed, PoolError
from snakepit_nb.pool import actions, loans, state
from snakepit_nb.pool.admission import Admission
from snakepit_nb.pool.attendance import Attendance
from snakepit_nb.pool.breaker import Breaker
from snakepit_nb.pool.dealing import Manner
from snakepit_nb.pool.dispatch import NUDGE, Dispatch
from snakepit_nb.pool.failures import Failures
from snakepit_nb.pool.forwarding import Forwarding
from snakepit_nb.pool.interrupts import Uninterrupted
from snakepit_nb.pool.lifecycle import Lifecycle
from snakepit_nb.pool.reactor import Reactor
from snakepit_nb.pool.reception import Reception
from snakepit_nb.pool.restart import Intensity
from snakepit_nb.pool.retry import Repeats
from snakepit_nb.pool.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snakepit_nb.pool.admission import Bounds
    from snakepit_nb.pool.bell import Bell
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.output import OutputSink
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.recycle import Policy
    from snakepit_nb.pool.request import Request

_SOON_NS: Final = 5_000_000
_MANY: Final = 256
_NAP: Final = 0.0005
_LONG_NAP: Final = 0.001
_FEW: Final = 64


class Supervisor:
    """Runs one pool's workers; the face of it is `Pool`."""

    def __init__(  # noqa: PLR0913 - all by name but two
        self,
        name: str,
        max_workers: int,
        *,
        preload: tuple[str, ...],
        initializer: Request | None,
        sink: Callable[[], OutputSink],
        policy: Policy,
        bounds: Bounds,
        threads: int = 0,
        gpu: int | None = None,
    ) -> None:
        chosen = options.current()
        self.name = name
        self.threads = threads
        self.gpu = gpu
        self.profile = "thread" if threads else "process"
        self.lock = threading.RLock()
        self.store = loans.kernel_store()
        self.state = state.PoolState(
            name,
            max_workers,
            Manner(chosen.ahead, chosen.ahead_below_us * 1000, threads, policy.max_requests),
            Intensity(chosen.deaths, chosen.deaths_within),
            group_of=lambda number: self.requests[number].group,
            session_of=lambda number: self.requests[number].session,
            target_of=lambda number: self.requests[number].worker,
            revives=lambda number: Repeats.revives(self.requests.get(number)),
        )
        self.requests: dict[int, Request] = {}
        self.workers: dict[str, WorkerProcess] = {}
        self.initializer = initializer
        self.sink = sink
        self.finished = threading.Event()
        self.stop_reason = "shutdown"
        self.options = chosen
        self.reception = Reception(self)
        self._dispatch = Dispatch(self, self.reception)
        self.lifecycle = Lifecycle(self, self.reception, preload, policy)
        self.reactor = Reactor(name, between=self._pace, after=self.flush, fault=self._collapse)
        self.admission = Admission(self, bounds)
        self.sessions = Sessions(self)
        self.repeats = Repeats(self)
        self.failures = Failures()
        self.forwarding = Forwarding(self)
        self.breaker = Breaker(self, chosen.breaker, chosen.breaker_reset)
        self.limited = bounds.max_queue is not None
        self._bounds = bounds
        attendance = Attendance(self, self.reception)
        self.attend = attendance.attend
        self.check_may_wait = attendance.check_may_wait
        self.later = self.reactor.later
        self.at = self.reactor.at
        self._outbox: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._foreign = False
        self._queued = 0
        self._doers: dict[type, Callable[[Any], object]] = {
            actions.Send: self._dispatch.send,
            actions.Settle: self._settle,
            actions.Reclaim: self._dispatch.reclaim,
            actions.Start: self.lifecycle.start,
            actions.Kill: lambda action: self.lifecycle.kill(action.worker_id),
            actions.Stop: lambda action: self.lifecycle.stop(action.worker_id),
            actions.Interrupt: self.lifecycle.interrupt,
            actions.Opened: self.sessions.opened,
            actions.Lost: self.sessions.lost,
            actions.Saturated: self._tell_saturated,
            actions.Finished: lambda _: self.later(self._finish),
            actions.Broken: lambda _: self.changed(),
        }

    # Called from any thread

    def submit(self, request: Request) -> None:
        """Take a request in; it goes straight to an idle worker's socket.

        Raises:
            PoolClosed: the pool was shut down.
            PoolBroken: too many of its workers died.
            PoolSaturated: its queue is full.
            CheckoutTimeout: its queue was full for all the time that the request had.
            CircuitOpen: its workers died one after the other, and it takes nothing for a while.
            SessionLost: the session of the request is gone; said once.
        """
        bell: Bell | None = None
        while True:
            with Uninterrupted() as guard:
                try:
                    with self.lock:
                        self.check_open()
                        if not self.reactor.started:
                            self._run()
                        if self.limited:
                            bell = self.admission.admit(bell)
                        if bell is None:
                            self._take_in(request)
                finally:
                    self.flush()
                if bell is None:
                    return
                self.admission.wait(bell, request, guard)

    def _take_in(self, request: Request) -> None:
        self.breaker.check()
        if request.session is not None:
            self.sessions.use(request.session)
        number = request.number
        self.requests[number] = request
        self.tell(
            events.REQUEST_QUEUED,
            {"queue_size": len(self.state.queue)},
            {"pool": self.name, "command": request.command, "request_id": number, **request.parent},
        )
        if request.deadline_ns is not None:
            self.at(
                request.deadline_ns,
                lambda: self._end(number, "timeout"),
                lambda: number in self.requests,
            )
        self.enter(request)

    def enter(self, request: Request) -> None:
        """Have a request dealt out, for the first time or again; the lock is held."""
        decided = self.state.submitted(
            request.number, alone=request.alone, session=request.session, near=request.near,
            worker=request.worker,
        )  # fmt: skip
        self.act(decided)

    def check_open(self) -> None:
        """Refuse new work where the pool takes none.

        Raises:
            PoolClosed: the pool was shut down.
            PoolBroken: too many of its workers died.
            PoolError: it belongs to the process that this one was forked from.
        """
        if self._foreign:
            raise _foreign_error(self.name)
        if self.state.broken is not None:
            raise PoolBroken(pool=self.name, reason=self.state.broken)
        if self.state.closing:
            raise PoolClosed(pool=self.name)

    def start(self) -> None:
        """Start all workers now."""
        with Uninterrupted():
            with self.lock:
                self.check_open()
                if not self.reactor.started:
                    self._run()
                self.act(self.state.started())
            self.flush()

    def say(self, number: int, packet: bytes) -> None:
        """Say something to the worker that runs a request; nothing where none does any more."""
        with self.lock:
            request = self.requests.get(number)
            worker = self.workers.get(request.worker_id) if request is not None else None
            if worker is None or worker.ended is not None:
                return
            try:
                sent = worker.channel.send(packet)
            except OSError:
                return  # it is gone, and is buried soon
        if not sent:
            soon = time.monotonic_ns() + _SOON_NS
            self.at(soon, lambda: self.say(number, packet), lambda: number in self.requests)

    def cancel(self, future: PoolFuture[Any]) -> bool:
        """End a request, queued or running; whether it is cancelled now."""
        with Uninterrupted():
            self._end(future.request_id, "cancelled")
        future.wait_settled()
        return future.cancelled()

    def cancel_request(self, number: int) -> bool:
        """End a request by its number; whether there was one. Its future is cancelled, here or soon after."""
        there = number in self.requests
        if there:
            with Uninterrupted():
                self._end(number, "cancelled")
        return there

    def running(self, future: PoolFuture[Any]) -> bool:
        """Whether a worker has the request."""
        request = self.requests.get(future.request_id)
        return request is not None and bool(request.worker_id)

    def interrupt(self, future: PoolFuture[Any]) -> None:
        """Raise KeyboardInterrupt in the worker that runs this request; nothing where none does."""
        with Uninterrupted():
            with self.lock:
                if future.request_id in self.requests:
                    self.act(self.state.interrupted(future.request_id))
            self.flush()

    def recycle(self, worker_id: str | None) -> None:
        """Have a worker, or all of them, replaced.

        Raises:
            PoolClosed, PoolBroken: the pool has no workers any more.
            PoolError: there is no such worker.
        """
        self.check_open()
        with self.lock:
            there = list(self.state.workers)
        if worker_id is not None and worker_id not in there:
            text = f"pool {self.name!r} has no worker {worker_id!r}: it has {', '.join(there) or 'none yet'}"
            raise PoolError(text, pool=self.name)
        with Uninterrupted():
            self.lifecycle.recycle(there if worker_id is None else [worker_id], "manual")

    def scale(self, workers: int) -> None:
        """Have more workers, or fewer: those that go answer first what they have.

        Raises:
            PoolClosed, PoolBroken: the pool has no workers any more.
        """
        with Uninterrupted():
            with self.lock:
                self.check_open()
                before = self.state.max_workers
                self.admission.grown = 0
                while self.state.max_workers < workers:
                    self.act(self.state.grown())
                while self.state.max_workers > workers:
                    self.act(self.state.shrunk())
                if workers != before:
                    facts: dict[str, object] = {"pool": self.name, "workers": workers, "previous": before}
                    self.tell(events.POOL_RESIZED, {}, facts)
                self.changed()
            self.flush()

    def forward(self, prefix: object, rate: object) -> None:
        """Have the workers send this share of the events whose names begin so.

        Raises:
            PoolClosed, PoolBroken: the pool has no workers any more.
            TypeError, ValueError: as for `Rules.set`.
        """
        self.check_open()
        with Uninterrupted():
            self.forwarding.set(prefix, rate)

    def end_session(self, name: str) -> None:
        """Have a session's worker forget it."""
        with Uninterrupted():
            with self.lock:
                if not self.state.closing and self.state.broken is None:
                    self.sessions.close(name)
            self.flush()

    def close(self, *, cancel_futures: bool) -> None:
        """Take no more requests; end the workers once the last one is answered."""
        self._close(lambda: self.state.closed(cancel_futures=cancel_futures))

    def abort(self) -> None:
        """End everything now."""
        self._close(self.state.aborted)

    def _close(self, decide: Callable[[], list[actions.Action]]) -> None:
        with Uninterrupted():
            with self.lock:
                if not self.reactor.started:
                    self.state.closing = True
                    self.finished.set()
                if self.finished.is_set():
                    return
                self.act(decide())
            self.flush()

    def disown(self) -> None:
        """Close once those that are here are done; in the reactor's thread, so at any moment."""
        if self.reactor.started:
            self.later(lambda: self.close(cancel_futures=False))

    def abandon(self) -> None:
        """In a child that the user forked: workers and requests are the parent's, nothing here ends them."""
        self._foreign = self.state.closing = True
        self.lock = threading.RLock()
        self.finished = threading.Event()
        self.finished.set()
        self._outbox.clear()
        self.reactor.abandon()
        workers, self.workers = self.workers, {}
        for worker in workers.values():
            worker.close()
        requests, self.requests = self.requests, {}
        for request in requests.values():
            request.future.abandon(_foreign_error(self.name))

    # Doing what was decided; the lock is held

    def changed(self) -> None:
        """Tell those who wait for workers to be ready that something about them changed."""
        self.lifecycle.changed()

    def act(self, decided: Iterable[actions.Action]) -> None:
        """Do these things, in order."""
        doers = self._doers
        for action in decided:
            doers[type(action)](action)
        if self.limited:
            self.admission.let_in()

    def tell(
        self, event: tuple[str, ...], measurements: dict[str, float], metadata: dict[str, object]
    ) -> None:
        """Emit an event once the lock is free."""
        self._outbox.append((telemetry.execute, (event, measurements, metadata)))

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Call this once the lock is free."""
        self._outbox.append((call, arguments))

    def flush(self) -> None:
        """Do what had to wait for the lock to be free: emit events, settle futures. The lock is not held."""
        outbox = self._outbox
        while outbox:
            try:
                call, arguments = outbox.popleft()
            except IndexError:
                return
            call(*arguments)

    def _settle(self, action: actions.Settle) -> None:
        request = self.requests.get(action.request_id)
        if request is None:
            return
        error = self.reception.error_of(request, action)
        if action.outcome == "crashed":
            self.breaker.failed()
            if self.repeats.again(request, error, "crashed"):
                return
            self.act(self.state.settled(request.number))
        else:
            self.breaker.let_go()
        self.repeats.over(request)
        del self.requests[action.request_id]
        if not action.worker_id:
            self.store.release(request.arguments.leases)
        worker_id = action.worker_id or request.worker_id or request.failed_at
        run_ns = time.monotonic_ns() - request.sent_ns if request.sent_ns else 0
        self.soon(self.reception.settle, request, None, error, action.outcome, worker_id, run_ns)
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.nudge(NUDGE)

    def _tell_saturated(self, _: actions.Saturated) -> None:
        counts = self.state.census.counts()
        size = counts["queued"]
        self.tell(
            events.POOL_SATURATED,
            {"queue_size": size},
            {
                "pool": self.name,
                "available_workers": counts["idle"],
                "busy_workers": counts["busy"],
                "queue_size": size,
                "outcome": "queued",
                "max_queue_size": self._bounds.max_queue,
            },
        )

    def _end(self, number: int, outcome: str) -> None:
        """Cancel or expire a request; first hear what its worker has said already, it may be answered."""
        request = self.requests.get(number)
        worker = self.workers.get(request.worker_id) if request is not None else None
        if worker is not None and worker.attending.acquire(blocking=False):
            try:
                self.reception.drain(worker)
            finally:
                worker.attending.release()
        with self.lock:
            if number in self.requests:
                self.act(self.state.cancelled(number, outcome))
        self.flush()

    # Called by the reactor

    def _run(self) -> None:
        self.reactor.start()
        self.tell(
            events.POOL_STARTED,
            {},
            {"pool": self.name, "workers": self.state.max_workers, "profile": self.profile},
        )

    def _pace(self) -> None:
        queued = len(self.state.queue)
        if queued > _MANY and self.state.census.supplied():
            if queued > self._queued:
                # Somebody submits as fast as they can: two threads that take turns at every step would be
                # slower than one after the other.
                time.sleep(_LONG_NAP)
            elif self.reception.heard < _FEW:
                # The workers have enough in their sockets; answers come in faster by the dozen.
                time.sleep(_NAP)
        self._queued = queued
        self.reception.heard = 0

    def _collapse(self, error: BaseException) -> None:
        """The pool's own machinery failed: rather than wait for ever, all that wait hear of it."""
        with self.lock:
            self.act(self.state.broke(f"its supervision failed: {error!r}"))
            for worker in self.workers.values():
                self.reception.forget(worker)
                worker.kill()
                self.lifecycle.part_with(worker)
            self.workers.clear()
            self.state.workers.clear()
            self.later(self._finish)
        self.flush()

    def _finish(self) -> None:
        with self.lock:
            if self.finished.is_set() or self.state.workers or self.workers:
                return
            reason = "broken" if self.state.broken is not None else self.stop_reason
            self.tell(events.POOL_STOPPED, {}, {"pool": self.name, "reason": reason})
        self.flush()
        self.reactor.stop()
        self.finished.set()


def _foreign_error(pool: str) -> PoolError:
    text = f"pool {pool!r} belongs to the process that this one was forked from; make a new Pool here"
    return PoolError(text, pool=pool)
