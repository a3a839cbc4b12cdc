"""Does what `state` decides: writes to workers, fetches their answers, settles futures.

*Rule:* state changes under the lock, futures are settled outside of it, and callbacks of users run in the
reactor's thread alone, so that no lock of theirs can meet one of ours.

*Rule:* whoever holds a worker's `attending` lock is the only one who reads its channel: the reactor's thread,
or a caller that waits for an answer and fetches it itself, which saves a change of thread on the way back.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import events, options, telemetry
from snakepit_nb.errors.types import PoolBroken, PoolClosed, PoolError
from snakepit_nb.pool import actions, loans, state
from snakepit_nb.pool.admission import Admission
from snakepit_nb.pool.interrupts import Uninterrupted
from snakepit_nb.pool.lifecycle import Lifecycle
from snakepit_nb.pool.reactor import Reactor
from snakepit_nb.pool.reception import Reception
from snakepit_nb.pool.restart import Intensity
from snakepit_nb.wire import codec, messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snakepit_nb.pool.admission import Bounds
    from snakepit_nb.pool.bell import Bell
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.output import OutputSink
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.recycle import Policy
    from snakepit_nb.pool.request import Request

_NUDGE: Final = codec.encode(messages.Nudge())
_MANY: Final = 256
_NAP: Final = 0.0005
_LONG_NAP: Final = 0.001
_FEW: Final = 64
_MOMENT: Final = 0.0002


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
    ) -> None:
        chosen = options.current()
        self.name = name
        self.lock = threading.RLock()
        self.store = loans.kernel_store()
        self.state = state.PoolState(
            name,
            max_workers,
            ahead=chosen.ahead,
            tiny_ns=chosen.ahead_below_us * 1000,
            intensity=Intensity(chosen.deaths, chosen.deaths_within),
            max_requests=policy.max_requests,
            group_of=lambda number: self.requests[number].group,
        )
        self.requests: dict[int, Request] = {}
        self.workers: dict[str, WorkerProcess] = {}
        self.initializer = initializer
        self.sink = sink
        self.finished = threading.Event()
        self.stop_reason = "shutdown"
        self.options = chosen
        self.reception = Reception(self)
        self.lifecycle = Lifecycle(self, self.reception, preload, policy)
        self.reactor = Reactor(name, between=self._pace, after=self.flush, fault=self._collapse)
        self.admission = Admission(self, bounds)
        self.limited = bounds.max_queue is not None
        self._bounds = bounds
        self.later = self.reactor.later
        self.at = self.reactor.at
        self._spin_ns = 0 if (os.cpu_count() or 1) == 1 else chosen.spin_us * 1000
        self._outbox: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._foreign = False
        self._queued = 0
        self._doers: dict[type, Callable[[Any], object]] = {
            actions.Send: self._send,
            actions.Settle: self._settle,
            actions.Reclaim: self._reclaim,
            actions.Start: self.lifecycle.start,
            actions.Kill: lambda action: self.lifecycle.kill(action.worker_id),
            actions.Stop: lambda action: self.lifecycle.stop(action.worker_id),
            actions.Interrupt: lambda action: self.lifecycle.interrupt(action.worker_id),
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
        number = request.number
        self.requests[number] = request
        self.tell(
            events.REQUEST_QUEUED,
            {"queue_size": len(self.state.queue)},
            {"pool": self.name, "command": request.command, "request_id": number},
        )
        if request.deadline_ns is not None:
            self.at(
                request.deadline_ns,
                lambda: self._end(number, "timeout"),
                lambda: number in self.requests,
            )
        self.act(self.state.submitted(number, alone=request.alone))

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

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        """Fetch answers of the future's worker in this thread until it is done; at most `timeout` seconds."""
        request = self.requests.get(future.request_id)
        if request is None:
            return
        if self.reactor.here:
            # The start and the death of workers wait for this very thread.
            text = "a done-callback or a handler cannot wait for a result of its pool: submit what comes next"
            raise PoolError(text, pool=self.name)
        worker = self.workers.get(request.worker_id)
        if worker is None or self.state.queue:
            # With many on their way, one thread that takes in all is quicker than two that take turns.
            return
        until = None if timeout is None else time.monotonic() + timeout
        with Uninterrupted() as guard:
            # The reactor's thread has it for a moment now and then, another caller for as long as they wait.
            if not worker.attending.acquire(timeout=_MOMENT):
                return
            try:
                self.reactor.borrow(worker.channel_fd)
                worker_id, channel = worker.worker_id, worker.channel
                while (
                    not (future.done() or guard.seen)
                    and worker.ended is None
                    and request.worker_id == worker_id
                ):
                    found = channel.spin(self._spin_ns) or self._sleep(worker, until, guard)
                    if found is None:
                        break
                    self.reception.take(worker, found)
            except Exception as error:  # noqa: BLE001 - the worker's fault, not the caller's
                self.reception.gave_up(worker, error)
            finally:
                worker.attending.release()
                self.reactor.give_back(worker.channel_fd)

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
            worker.channel.wait(left)
        finally:
            guard.waiting = False
        return worker.channel.receive() or []

    def cancel(self, future: PoolFuture[Any]) -> bool:
        """End a request, queued or running; whether it is cancelled now."""
        with Uninterrupted():
            self._end(future.request_id, "cancelled")
        future.wait_settled()
        return future.cancelled()

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

    def _send(self, action: actions.Send) -> None:
        worker_id, number = action
        worker = self.workers[worker_id]
        request = self.requests[number]
        function, arguments = request.function, request.arguments
        packet = codec.encode_call(number, function.key, arguments.data, arguments.buffers)
        if function.key not in worker.known:
            packet = codec.encode(messages.Define(function.key, function.data, b"")) + packet
        returns = self.store.take_returns(worker.peer)
        if returns:
            packet = codec.encode(messages.Release(codec.pack_leases(returns))) + packet
        sent = self._write(worker, request, packet)
        if not sent:
            for lease in returns:
                self.store.give_back(worker.peer, lease)
            if sent is False:
                self.state.bounced(worker_id, number)
            self.later(lambda: self._resume(worker_id))
            return
        now = time.monotonic_ns()
        request.sent_ns = now
        request.worker_id = worker_id
        if arguments.leases:
            self.store.hand(arguments.leases, worker.peer)
        self.tell(
            events.REQUEST_DISPATCHED,
            {"queue_us": (now - request.submitted_ns) // 1000},
            {"pool": self.name, "worker_id": worker_id, "command": request.command, "request_id": number},
        )

    def _write(self, worker: WorkerProcess, request: Request, packet: bytes) -> bool | None:
        """Write to a worker: whether it has the packet now, or None where the request itself is over."""
        try:
            for arena in request.arguments.arenas:
                worker.introduce(self.store, arena)
            return worker.channel.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            # It closed its descriptors: what it is sent never arrives, and nor would its answers.
            worker.kill()
            return False
        except Exception as error:  # noqa: BLE001 - there is no room in the arena, say
            del self.requests[request.number]
            self.store.release(request.arguments.leases)
            self._outbox.append((self.reception.settle, (request, None, error, "error", worker.worker_id, 0)))
            self.state.refused(worker.worker_id, request.number)
            return None

    def _resume(self, worker_id: str) -> None:
        with self.lock:
            self.act(self.state.resumed(worker_id))

    def _settle(self, action: actions.Settle) -> None:
        request = self.requests.pop(action.request_id, None)
        if request is None:
            return
        if not action.worker_id:
            self.store.release(request.arguments.leases)
        error = self.reception.error_of(request, action)
        worker_id = action.worker_id or request.worker_id
        run_ns = time.monotonic_ns() - request.sent_ns if request.sent_ns else 0
        self._outbox.append(
            (self.reception.settle, (request, None, error, action.outcome, worker_id, run_ns))
        )
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.nudge(_NUDGE)

    def _reclaim(self, action: actions.Reclaim) -> None:
        worker_id, most = action
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        taken: list[int] = []
        while len(taken) < most:
            packet = worker.unclaimed()
            if packet is None:
                break
            for message in worker.channel.own(packet):
                match message:
                    case messages.Call(request_id=number):
                        taken.append(number)
                        request = self.requests.get(number)
                        if request is not None:
                            request.worker_id = ""
                            request.sent_ns = 0
                    case messages.Release(leases):
                        for lease in codec.unpack_leases(leases):
                            self.store.give_back(worker.peer, lease)
                    case _:
                        pass
        if taken:
            # Whoever waits at this worker for one of them waits at the wrong place now.
            worker.nudge(_NUDGE)
        self.act(self.state.reclaimed(worker_id, taken))

    def _tell_saturated(self, _: actions.Saturated) -> None:
        counts = self.state.counts()
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
            {"pool": self.name, "workers": self.state.max_workers, "profile": "process"},
        )

    def _pace(self) -> None:
        queued = len(self.state.queue)
        if queued > _MANY and self.state.supplied():
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
                worker.close()
            self.workers.clear()
            self.state.workers.clear()
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
