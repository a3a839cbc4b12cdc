"""Does what `state` decides: writes to workers, reads their answers, starts, kills and buries them.

*Rule:* state changes under the lock, futures are settled outside of it, and callbacks of users run in this
room's own thread alone, so that no lock of theirs can meet one of ours.

*Rule:* whoever holds a worker's `attending` lock is the only one who reads its channel: the supervisor's thread,
or a caller that waits for an answer and fetches it itself, which saves a change of thread on the way back.
"""

from __future__ import annotations

import heapq
import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snakepit_nb import events, options, telemetry
from snakepit_nb.errors.types import PoolBroken, PoolClosed, RequestTimeout
from snakepit_nb.pool import loans, state
from snakepit_nb.pool.interrupts import Uninterrupted
from snakepit_nb.pool.process import WorkerProcess
from snakepit_nb.pool.reception import Reception
from snakepit_nb.pool.restart import Intensity
from snakepit_nb.wire import codec, messages
from snakepit_nb.wire.payload import handles_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.output import OutputSink
    from snakepit_nb.pool.request import Request

_LOG: Final = logging.getLogger(__name__)
_NUDGE: Final = codec.encode(messages.Nudge())
_STOP: Final = codec.encode(messages.Stop())
_MANY: Final = 256
_NAP: Final = 0.0005
_FEW: Final = 64
_TURN: Final = 256
_DISARMED: Final = 0
_ARMED: Final = select.EPOLLIN


class WorkerFacts(NamedTuple):
    """One worker as `%snakepit status` shows it: `state` is starting, idle, busy or stopping."""

    worker_id: str
    pid: int
    state: str
    request_count: int
    uptime_seconds: float


class Supervisor:
    """Runs one pool's workers; the face of it is `Pool`."""

    def __init__(
        self,
        name: str,
        max_workers: int,
        *,
        preload: tuple[str, ...],
        initializer: Request | None,
        sink: Callable[[], OutputSink],
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
        )
        self.requests: dict[int, Request] = {}
        self.workers: dict[str, WorkerProcess] = {}
        self.initializer = initializer
        self.sink = sink
        self.finished = threading.Event()
        self.stop_reason = "shutdown"
        self._change = threading.Condition(self.lock)
        self._options = chosen
        self._preload = preload
        self._spin_ns = 0 if (os.cpu_count() or 1) == 1 else chosen.spin_us * 1000
        self._reception = Reception(self)
        self._jobs: deque[Callable[[], object]] = deque()
        self._outbox: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._timer_number = 0
        self._drained = 0
        self._watched: dict[int, tuple[WorkerProcess, str]] = {}
        self._thread: threading.Thread | None = None
        self._epoll: select.epoll | None = None
        self._wake = -1
        self._wake_lock = threading.RLock()

    # Called from any thread

    def submit(self, request: Request) -> None:
        """Take a request in; it goes straight to an idle worker's socket.

        Raises:
            PoolClosed: the pool was shut down.
            PoolBroken: too many of its workers died.
        """
        number = request.number
        with Uninterrupted():
            with self.lock:
                self.check_open()
                if self._thread is None:
                    self._run()
                self.requests[number] = request
                facts = {"pool": self.name, "command": request.command, "request_id": number}
                self._outbox.append(
                    (telemetry.execute, (events.REQUEST_QUEUED, {"queue_size": len(self.state.queue)}, facts))
                )
                if request.deadline_ns is not None:
                    self.at(request.deadline_ns, lambda: self._end(number, "timeout"))
                self.act(self.state.submitted(number, alone=request.alone))
            self.flush()

    def check_open(self) -> None:
        """Refuse new work where the pool takes none.

        Raises:
            PoolClosed: the pool was shut down.
            PoolBroken: too many of its workers died.
        """
        if self.state.broken is not None:
            raise PoolBroken(pool=self.name, reason=self.state.broken)
        if self.state.closing:
            raise PoolClosed(pool=self.name)

    def start(self) -> None:
        """Start all workers now."""
        with Uninterrupted():
            with self.lock:
                self.check_open()
                if self._thread is None:
                    self._run()
                self.act(self.state.started())
            self.flush()

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        """Fetch answers of the future's worker in this thread, until it is done; at most `timeout` seconds."""
        request = self.requests.get(future.request_id)
        worker = self.workers.get(request.worker_id) if request is not None else None
        if worker is None or self.state.queue:
            # With many on their way, one thread that takes in all of them is quicker than two that take turns.
            return
        until = None if timeout is None else time.monotonic() + timeout
        with Uninterrupted() as guard:
            if not worker.attending.acquire(blocking=False):
                return
            try:
                self._arm(worker, _DISARMED)
                while not future.done() and worker.ended is None:
                    found = worker.channel.spin(self._spin_ns)
                    if found is None:
                        left = None if until is None else until - time.monotonic()
                        if left is not None and left <= 0:
                            break
                        guard.waiting = True
                        try:
                            worker.channel.wait(left)
                        finally:
                            guard.waiting = False
                        found = worker.channel.receive()
                        if found is None:
                            continue
                    self._reception.take(worker, found)
            except EOFError:
                pass
            finally:
                worker.attending.release()
                self._arm(worker, _ARMED)

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
        import signal  # noqa: PLC0415 - only when the user presses stop

        with self.lock:
            request = self.requests.get(future.request_id)
            worker = self.workers.get(request.worker_id) if request is not None else None
            if worker is not None:
                worker.kill(signal.SIGINT)

    def close(self, *, cancel_futures: bool) -> None:
        """Take no more requests; end the workers once the last one is answered."""
        self._close(lambda: self.state.closed(cancel_futures=cancel_futures))

    def abort(self) -> None:
        """End everything now."""
        self._close(self.state.aborted)

    def _close(self, decide: Callable[[], list[state.Action]]) -> None:
        with Uninterrupted():
            with self.lock:
                if self._thread is None:
                    self.state.closing = True
                    self.finished.set()
                    return
                self.act(decide())
            self.flush()

    def workers_now(self) -> list[WorkerFacts]:
        """The workers that there are, in the order of their slots."""
        found = []
        now = time.monotonic()
        with self.lock:
            for seen in sorted(self.state.workers.values(), key=lambda each: each.slot):
                process = self.workers.get(seen.worker_id)
                if process is None:
                    continue
                serving = seen.phase is state.Phase.SERVING
                said = ("busy" if seen.hands else "idle") if serving else seen.phase.value
                uptime = now - process.began
                found.append(WorkerFacts(seen.worker_id, process.pid, said, process.request_count, uptime))
        return found

    # Doing what was decided; the lock is held

    def act(self, actions: Iterable[state.Action]) -> None:
        """Do these things, in order."""
        for action in actions:
            kind = type(action)
            if kind is state.Send:
                self._send(action.worker_id, action.request_id)  # type: ignore[union-attr]
            elif kind is state.Settle:
                self._settle(action)  # type: ignore[arg-type]
            elif kind is state.Reclaim:
                self._reclaim(action.worker_id, action.most)  # type: ignore[union-attr]
            elif kind is state.Start:
                self.later(lambda start=action: self._start(start))  # type: ignore[misc]
            elif kind is state.Kill:
                self._kill(action.worker_id)  # type: ignore[union-attr]
            elif kind is state.Stop:
                self._stop(action.worker_id)  # type: ignore[union-attr]
            elif kind is state.Saturated:
                self._tell_saturated()
            elif kind is state.Finished:
                self.later(self._finish)
            elif kind is state.Broken:
                self.changed()

    def tell(self, event: tuple[str, ...], measurements: dict[str, float], metadata: dict[str, object]) -> None:
        """Emit an event once the lock is free."""
        self._outbox.append((telemetry.execute, (event, measurements, metadata)))

    def flush(self) -> None:
        """Do what had to wait for the lock to be free: emit events, settle futures. The lock is not held."""
        outbox = self._outbox
        while outbox:
            try:
                call, arguments = outbox.popleft()
            except IndexError:
                return
            call(*arguments)

    def later(self, job: Callable[[], object]) -> None:
        """Have the supervisor's own thread do this."""
        self._jobs.append(job)
        self.wake()

    def wake(self) -> None:
        """Make the supervisor's thread look up."""
        # Not the pool's lock: the end of an array, in any thread and under any lock, comes by here.
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def at(self, when_ns: int, job: Callable[[], object]) -> None:
        """Have the supervisor's own thread do this at a time of the monotonic clock; the lock is held."""
        self._timer_number += 1
        heapq.heappush(self._timers, (when_ns, self._timer_number, job))
        if self._timers[0][1] == self._timer_number:
            self.wake()

    def _send(self, worker_id: str, number: int) -> None:
        worker = self.workers[worker_id]
        request = self.requests[number]
        function, arguments = request.function, request.arguments
        packet = codec.encode_call(number, function.key, arguments.data, arguments.buffers)
        if function.key not in worker.known:
            packet = codec.encode(messages.Define(function.key, function.data, b"")) + packet
        returns = self.store.take_returns(worker.peer)
        if returns:
            packet = codec.encode(messages.Release(codec.pack_leases(returns))) + packet
        try:
            if arguments.buffers:
                for handle in handles_of(arguments.buffers):
                    worker.introduce(self.store, handle.arena)
            sent = worker.channel.send(packet)
        except Exception as error:  # noqa: BLE001 - no room in the arena, or the worker is just dying
            self._could_not_send(worker, request, error)
            return
        if not sent:
            for lease in returns:
                self.store.give_back(worker.peer, lease)
            self.act(self.state.bounced(worker_id, number))
            return
        worker.known.add(function.key)
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

    def _could_not_send(self, worker: WorkerProcess, request: Request, error: Exception) -> None:
        del self.requests[request.number]
        self.store.release(request.arguments.leases)
        self._outbox.append((self._reception.settle, (request, None, error, "error", worker.worker_id, 0)))
        self.act(self.state.answered(worker.worker_id, request.number, 0))

    def _settle(self, action: state.Settle) -> None:
        request = self.requests.pop(action.request_id, None)
        if request is None:
            return
        if not action.worker_id:
            self.store.release(request.arguments.leases)
        error: Exception | None = None
        if action.outcome == "timeout":
            error = RequestTimeout(
                seconds=request.timeout, command=request.command, request_id=request.number, pool=self.name
            )
        elif action.outcome == "broken":
            error = PoolBroken(pool=self.name, reason=self.state.broken or "")
        elif action.outcome == "crashed":
            error = self._reception.crash_of(request, action.worker_id or "")
        worker_id = action.worker_id or request.worker_id
        run_ns = time.monotonic_ns() - request.sent_ns if request.sent_ns else 0
        self._outbox.append((self._reception.settle, (request, None, error, action.outcome, worker_id, run_ns)))
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.nudge(_NUDGE)

    def _reclaim(self, worker_id: str, most: int) -> None:
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
                    case messages.Define(key=key):
                        worker.known.discard(key)
                    case messages.Release(leases):
                        for lease in codec.unpack_leases(leases):
                            self.store.give_back(worker.peer, lease)
                    case _:
                        pass
        self.act(self.state.reclaimed(worker_id, taken))

    def _kill(self, worker_id: str) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.asked_to_end = True
            worker.kill()

    def _stop(self, worker_id: str) -> None:
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        worker.asked_to_end = True
        try:
            sent = worker.channel.send(_STOP)
        except OSError:
            sent = False
        if sent:
            self.at(time.monotonic_ns() + int(self._options.stop_grace * 1e9), lambda: self._kill(worker_id))
        else:
            worker.kill()

    def _tell_saturated(self) -> None:
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
                "max_queue_size": None,
            },
        )

    def _end(self, number: int, outcome: str) -> None:
        """Cancel or expire a request; first hear what its worker has said already, it may be answered."""
        request = self.requests.get(number)
        worker = self.workers.get(request.worker_id) if request is not None else None
        if worker is not None and worker.attending.acquire(blocking=False):
            try:
                self._drain(worker)
            finally:
                worker.attending.release()
        with self.lock:
            if number in self.requests:
                self.act(self.state.cancelled(number, outcome))
        self.flush()

    # The supervisor's own thread

    def _run(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._loop, name=f"snakepit_nb {self.name}", daemon=True)
        self._thread.start()
        self.tell(
            events.POOL_STARTED,
            {},
            {"pool": self.name, "workers": self.state.max_workers, "profile": "process"},
        )

    def _loop(self) -> None:
        epoll = self._epoll
        assert epoll is not None  # noqa: S101 - _run made it
        while not self.finished.is_set():
            if len(self.state.queue) > _MANY and self._drained < _FEW:
                # The workers have enough in their sockets; answers come in faster by the dozen than one by one.
                time.sleep(_NAP)
            self._drained = 0
            for fd, _ in epoll.poll(self._pause()):
                if fd == self._wake:
                    os.eventfd_read(fd)
                    continue
                found = self._watched.get(fd)
                if found is not None:
                    self._look(*found)
            self._do_jobs()
        with self._wake_lock:
            os.close(self._wake)
            self._wake = -1
        with self.lock:
            epoll.close()
            self._epoll = None

    def _pause(self) -> float | None:
        if self._jobs:
            return 0.0
        timers = self._timers
        return max(0.0, (timers[0][0] - time.monotonic_ns()) / 1e9) if timers else None

    def _do_jobs(self) -> None:
        now = time.monotonic_ns()
        while self._timers and self._timers[0][0] <= now:
            with self.lock:
                job = heapq.heappop(self._timers)[2]
            self._jobs.append(job)
        for _ in range(len(self._jobs)):
            job = self._jobs.popleft()
            try:
                job()
            except Exception:
                _LOG.exception("a job of the pool %r failed", self.name)
            self.flush()

    def _look(self, worker: WorkerProcess, what: str) -> None:
        if what == "channel":
            if worker.attending.acquire(blocking=False):
                try:
                    self._drain(worker)
                finally:
                    worker.attending.release()
        elif what == "obituary":
            self._bury(worker)
        else:
            self._reception.read_pipe(worker, what)
        self.flush()

    def _drain(self, worker: WorkerProcess) -> bool:
        """Take in what the worker has said so far; whether there may be more. `attending` is held."""
        try:
            for _ in range(_TURN):  # and no more: a chatty worker must not keep the others from being heard
                found = worker.channel.receive()
                if found is None:
                    return False
                self._drained += 1
                self._reception.take(worker, found)
        except (EOFError, OSError):
            return False
        except Exception as error:  # noqa: BLE001 - a worker that breaks the protocol is of no more use
            _LOG.error("worker %s broke the protocol and is killed: %s", worker.worker_id, error)  # noqa: TRY400 - the trace is ours, the fault is not
            worker.kill()
            return False
        return True

    def _arm(self, worker: WorkerProcess, mask: int) -> None:
        """Let the supervisor's thread watch the worker's channel, or not while somebody attends to it."""
        if self._epoll is not None and not worker.closed:
            try:
                self._epoll.modify(worker.channel.sock.fileno(), mask)
            except (OSError, ValueError):
                return

    # Births and deaths, in the supervisor's own thread

    def _start(self, start: state.Start) -> None:
        try:
            worker = WorkerProcess(start.worker_id, self.name, self.store, self._preload, self._options)
        except Exception as error:  # noqa: BLE001 - whatever keeps a worker from starting is the pool's reason to end
            with self.lock:
                self.act(self.state.died(start.worker_id, [], time.monotonic()))
                self.act(self.state.broke(f"a worker cannot be started: {error}"))
            return
        loans.watch(worker.peer, self._give_back_to(worker))
        epoll = self._epoll
        assert epoll is not None  # noqa: S101 - this thread runs because _run made it
        with self.lock:
            self.workers[start.worker_id] = worker
            for fd, what in (
                (worker.channel.sock.fileno(), "channel"),
                (worker.stdout, "stdout"),
                (worker.stderr, "stderr"),
                (worker.obituary, "obituary"),
            ):
                self._watched[fd] = (worker, what)
                epoll.register(fd, _ARMED)
            if start.worker_id not in self.state.workers or self.state.workers[start.worker_id].phase in {
                state.Phase.KILLED,
                state.Phase.STOPPING,
            }:
                self._kill(start.worker_id)
            deadline = time.monotonic_ns() + int(self._options.start_timeout * 1e9)
            self.at(deadline, lambda: self._start_overdue(worker))

    def _start_overdue(self, worker: WorkerProcess) -> None:
        with self.lock:
            seen = self.state.workers.get(worker.worker_id)
            if seen is not None and seen.phase is state.Phase.STARTING and worker.ended is None:
                worker.kill()

    def _give_back_to(self, worker: WorkerProcess) -> Callable[[], None]:
        return lambda: self.later(lambda: self._send_returns(worker))

    def _send_returns(self, worker: WorkerProcess) -> None:
        with self.lock:
            if worker.ended is not None:
                return
            leases = self.store.take_returns(worker.peer)
            if leases and not worker.channel.send(codec.encode(messages.Release(codec.pack_leases(leases)))):
                for lease in leases:
                    self.store.give_back(worker.peer, lease)

    def _bury(self, worker: WorkerProcess) -> None:
        """A worker is gone: hear its last words, say what became of its requests, replace it."""
        worker.ended = worker.read_obituary()
        worker.nudge(_NUDGE)
        with worker.attending:
            while self._drain(worker):
                pass
        for stream in ("stdout", "stderr"):
            while self._reception.read_pipe(worker, stream):
                pass
        loans.unwatch(worker.peer)
        with self.lock:
            for fd in [fd for fd, (each, _) in self._watched.items() if each is worker]:
                del self._watched[fd]
                self._epoll_forget(fd)
            unclaimed: list[int] = []
            while (packet := worker.unclaimed()) is not None:
                for message in worker.channel.own(packet):
                    if type(message) is messages.Call:
                        unclaimed.append(message.request_id)
            for number in unclaimed:
                request = self.requests.get(number)
                if request is not None:
                    request.worker_id = ""
                    request.sent_ns = 0
            crashed = not worker.asked_to_end
            if crashed:
                self._reception.tell_crash(worker)
            if not self.state.closing or crashed:
                self._reception.tell_recycled(worker, "worker_died" if crashed else "manual")
            self.act(self.state.died(worker.worker_id, unclaimed, time.monotonic()))
            del self.workers[worker.worker_id]
            kept = {
                lease
                for request in self.requests.values()
                if not request.worker_id
                for lease in request.arguments.leases
            }
            self.store.hand(kept, "")
            self.store.forget(worker.peer)
            if worker.arena:
                for other in self.workers.values():
                    self._dismiss(other, worker.arena)
                self.store.detach(worker.arena)
            worker.close()

    @staticmethod
    def _dismiss(other: WorkerProcess, arena: str) -> None:
        try:
            other.lane.dismiss(arena)
        except OSError:
            return

    def pipe_ended(self, worker: WorkerProcess, stream: str) -> None:
        """Nothing can come from this pipe any more (a call closed every descriptor): stop watching it."""
        fd = worker.stdout if stream == "stdout" else worker.stderr
        if self._watched.pop(fd, None) is not None:
            self._epoll_forget(fd)

    def changed(self) -> None:
        """Tell those who wait for workers to be ready that one is, or that none will be."""
        with self._change:
            self._change.notify_all()

    def wait_ready(self, timeout: float | None) -> bool:
        """Wait until every worker serves; False after `timeout` seconds, or where the pool broke."""

        def settled() -> bool:
            phases = [worker.phase for worker in self.state.workers.values()]
            serving = phases.count(state.Phase.SERVING)
            return self.state.broken is not None or self.state.closing or serving >= self.state.max_workers

        with self._change:
            done = self._change.wait_for(settled, timeout)
        return done and self.state.broken is None and not self.state.closing

    def _epoll_forget(self, fd: int) -> None:
        if self._epoll is not None:
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                return

    def _finish(self) -> None:
        with self.lock:
            if self.finished.is_set() or self.state.workers or self.workers:
                return
            reason = "broken" if self.state.broken is not None else self.stop_reason
            self.tell(events.POOL_STOPPED, {}, {"pool": self.name, "reason": reason})
        self.flush()
        self.finished.set()
