"""What workers say, and what it means: answers become results, text reaches its cell, events reach the bus.

*Rule:* all of this runs outside the pool's lock: unpacking a result runs code of the user's classes.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from snakepit_nb import events, options, telemetry
from snakepit_nb.errors import unpack_exception
from snakepit_nb.errors.remote import STRUCTURED
from snakepit_nb.errors.types import (
    CaptureError,
    PoolBroken,
    PoolError,
    ProtocolError,
    RemoteError,
    RequestTimeout,
    WorkerCrashed,
)
from snakepit_nb.wire import classes, codec, messages
from snakepit_nb.wire.forwarding import unpack_events
from snakepit_nb.wire.messages import Phase, Side, follow
from snakepit_nb.wire.payload import Packed, decline, unpack
from snakepit_nb.wire.travel import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.pool import actions
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.output import OutputSink
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.request import Request

_LOG: Final = logging.getLogger(__name__)
_US: Final = 1000
_TURN: Final = 256
_SERVING: Final = Phase.SERVING
_SOON_NS: Final = 200_000_000
_UNHEARD: Final = "snakepit_nb: it closed the descriptor that its answer would have come by\n"
_UNRULY: Final = "snakepit_nb: it broke the protocol and was killed: {}\n"


class Reception:
    """Takes in what the workers of one pool say."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._name = office.name
        self._deaf = False
        self.heard = 0

    def watch(self, worker: WorkerProcess, bury: Callable[[], object]) -> None:
        """Hear what a worker says and writes, and of its death, after which `bury` is called."""
        watch = self._office.reactor.watch
        watch(worker.channel_fd, lambda: self._listen(worker))
        watch(worker.stdout, lambda: self.read_pipe(worker, "stdout"))
        watch(worker.stderr, lambda: self.read_pipe(worker, "stderr"))
        watch(worker.heart.fileno(), lambda: self._feel(worker))
        watch(worker.obituary, bury)

    def _feel(self, worker: WorkerProcess) -> None:
        if worker.feel() is None:
            self._office.reactor.forget(worker.heart.fileno())
            chosen = self._office.options
            patience = chosen.health_timeout * chosen.health_misses
            late = time.monotonic_ns() + int(patience * 1_000_000_000)
            self._office.reactor.at(late, lambda: self._unreported(worker), lambda: worker.ended is None)

    @staticmethod
    def _unreported(worker: WorkerProcess) -> None:
        """A worker is gone for long, and its nursery, which may be stopped, has not said how it ended."""
        if worker.ended is None and worker.dead:
            _LOG.error("nobody says how worker %s ended: its nursery is ended, too", worker.worker_id)
            worker.end_nursery()

    def forget(self, worker: WorkerProcess) -> None:
        """Hear nothing of a worker any more."""
        for fd in (worker.channel_fd, worker.stdout, worker.stderr, worker.heart.fileno(), worker.obituary):
            self._office.reactor.forget(fd)

    def _listen(self, worker: WorkerProcess) -> bool:
        """Take in what a worker says; False where a caller who waits was quicker."""
        if not worker.attending.acquire(blocking=False):
            return False
        heard = self.heard
        try:
            self.drain(worker)
        finally:
            worker.attending.release()
        return self.heard != heard

    def drain(self, worker: WorkerProcess) -> bool:
        """Take in some of what the worker has said; whether there may be more. `attending` is held."""
        try:
            for _ in range(_TURN):  # and no more: a chatty worker must not keep the others from being heard
                found = worker.channel.receive()
                if found is None:
                    return False
                self.heard += 1
                self.take(worker, found)
        except Exception as error:  # noqa: BLE001 - the worker's fault, not this thread's
            self.gave_up(worker, error)
            return False
        return True

    @staticmethod
    def gave_up(worker: WorkerProcess, error: Exception) -> None:
        """A worker that is gone is buried soon; one that breaks the protocol is of no more use."""
        if not isinstance(error, (EOFError, OSError)):
            _LOG.error("worker %s broke the protocol and is killed: %s", worker.worker_id, error)
            worker.last_words.written(_UNRULY.format(error))
            worker.kill()

    def take(self, worker: WorkerProcess, found: list[messages.Message]) -> None:
        """Take in the messages of one packet; the worker's `attending` lock is held, the pool's is not.

        Raises:
            ProtocolError: the worker may not say this now.
        """
        for message in found:
            if type(message) is messages.Value and worker.phase is _SERVING:
                self._value(worker, message)
                continue
            phase = follow(Side.WORKER, worker.phase, message)
            if phase is None:
                text = f"{type(message).__name__} is not said while {worker.phase.value}"
                raise ProtocolError(text)
            worker.phase = phase
            if type(message) is messages.Error:
                self._error(worker, message)
            else:
                self._other(worker, message)
        self._office.flush()

    def _other(self, worker: WorkerProcess, message: messages.Message) -> None:
        match message:
            case messages.Output(number, stream, text):
                if stream == "stderr":
                    worker.last_words.printed(text)
                self.output(worker, self._origin(worker, number), stream, text)
            case messages.Display(number, content):
                self.drain_pipes(worker)
                origin, shown = self._origin(worker, number), json.loads(content)
                self._show(lambda sink: sink.display(origin, shown))
            case messages.Item(number, value, buffers):
                self._item(worker, number, Packed(value, buffers, ()))
            case messages.Events(_, batch):
                self._events(worker, batch)
            case messages.Release(leases):
                self._office.store.release(codec.unpack_leases(leases))
            case messages.Hello(_, _, _, arena):
                self._hello(worker, arena)
            case messages.Broken(error):
                raised = unpack_exception(
                    error, worker_id=worker.worker_id, pool=self._name, request_id=0, command="start"
                )
                self._break(f"a worker cannot start: {_told(raised)}")
            case _:
                pass

    def _request_of(self, worker: WorkerProcess, number: int) -> Request | None:
        """The request of that number, or None where nobody waits for it any more; the pool's lock is held.

        Raises:
            ProtocolError: another worker has it: what this one says of it is not to be believed.
        """
        request = self._office.requests.get(number)
        if request is not None and request.worker_id != worker.worker_id:
            text = f"request {number} is not in the hands of {worker.worker_id}"
            raise ProtocolError(text)
        return request

    def _item(self, worker: WorkerProcess, number: int, packed: Packed) -> None:
        """One value of a stream came."""
        store = self._office.store
        with self._office.lock:
            request = self._request_of(worker, number)
        stream = request.stream() if request is not None and request.stream is not None else None
        if stream is None or not stream.wants:
            decline(packed.buffers, store, peer=worker.peer)
            return
        try:
            value = unpack(
                packed, store, peer=worker.peer, mode="in_place", request_id=number, keep_classes=True
            )
        except BaseException as raised:  # noqa: BLE001 - the user's classes may raise anything while they are rebuilt
            stream.fail(_not_rebuilt(raised, "a value of the stream"))
        else:
            stream.put(value)

    # Answers

    def _value(self, worker: WorkerProcess, message: messages.Value) -> None:
        office = self._office
        request = self._answered(worker, message.request_id, message.ended_ns - message.started_ns)
        if request is None:
            decline(message.buffers, office.store, peer=worker.peer)
            return
        value: object = None
        error: BaseException | None = None
        outcome = "ok"
        try:
            if request.repeat is not None:
                office.repeats.over(request)
            if message.buffers:
                packed = Packed(message.value, message.buffers, ())
                number = request.number
                value = unpack(
                    packed,
                    office.store,
                    peer=worker.peer,
                    mode="in_place",
                    request_id=number,
                    keep_classes=True,
                )
            else:
                value = classes.loads(message.value)
        except BaseException as raised:  # noqa: BLE001 - the user's classes may raise anything while they are rebuilt
            error = _not_rebuilt(raised, "the result")
            outcome = "error"
        run_ns = message.ended_ns - message.started_ns
        if request.keeps is not None and error is None:
            with office.lock:
                office.sessions.names_of(request.session or "").add(request.keeps)
        self.settle(request, value, error, outcome, worker.worker_id, run_ns, message.started_ns)

    def _error(self, worker: WorkerProcess, message: messages.Error) -> None:
        run_ns = message.ended_ns - message.started_ns
        failed = worker.initializing == message.request_id
        request = None if failed else self._answered(worker, message.request_id, run_ns, failed=True)
        if request is None and not failed:
            return
        error = unpack_exception(
            message.error,
            worker_id=worker.worker_id,
            pool=self._name,
            request_id=message.request_id,
            command=request.command if request is not None else "initializer",
        )
        if request is None:
            self._break(f"its initializer failed: {_told(error)}")
            return
        if isinstance(error, RemoteError):
            self._tell_exception(request, error)
        if request.repeat is not None and self._is_tried_again(request, error):
            return
        self.settle(request, None, error, "error", worker.worker_id, run_ns, message.started_ns)

    def _is_tried_again(self, request: Request, error: BaseException) -> bool:
        """Whether a request that failed goes on, or was ended in another way meanwhile."""
        office = self._office
        with office.lock:
            if office.requests.get(request.number) is not request:
                return True
            if office.repeats.again(request, error, "error"):
                return True
            del office.requests[request.number]
            office.repeats.over(request)
            office.act(office.state.settled(request.number))
        return False

    def _answered(
        self, worker: WorkerProcess, number: int, run_ns: int, *, failed: bool = False
    ) -> Request | None:
        """The request that a worker answered, or None where nobody waits for it any more."""
        office = self._office
        worker.request_count += 1
        with office.lock:
            request = self._request_of(worker, number)
            if request is not None:
                del office.requests[number]
            if office.breaker.failures:
                office.breaker.went_well()
            if request is None and worker.initializing == number:
                worker.initializing = 0
                office.lifecycle.accepted(worker)
                return None
            if failed and request is not None and request.repeat is not None:
                # It may not be over yet.
                office.requests[number] = request
                office.state.rested(number)
            actions = office.state.answered(worker.worker_id, number, run_ns)
            if actions or office.limited:
                office.act(actions)
        if request is not None:
            worker.known.used(request.function.key, len(request.function.data))
            worker.last_origin = request.origin
            if request.alone or worker.spoke:
                self.drain_pipes(worker)
        worker.last_words.forget()
        return request

    def settle(  # noqa: PLR0913, PLR0917 - one call for each end of a request, on the hot path
        self,
        request: Request,
        value: object,
        error: BaseException | None,
        outcome: str,
        worker_id: str,
        run_ns: int,
        started_ns: int = 0,
    ) -> None:
        """Give a request's future what it waits for, and tell how the request went."""
        if request.alone:
            self._show(lambda sink: sink.finish(request.origin))
        if error is not None:
            self._office.failures.keep(request.number, error)
        future = request.future
        waiting = future.settle_cancelled() if outcome == "cancelled" else future.settle(value, error)
        if waiting:
            self._office.reactor.whatever_happens(future.run_callbacks)
        if not worker_id:
            self._tell_withdrawn(request, outcome)
            return
        queued_until = started_ns or request.sent_ns or time.monotonic_ns()
        telemetry.execute(
            events.REQUEST_EXECUTED,
            {"duration_us": run_ns // _US, "queue_us": max(0, queued_until - request.submitted_ns) // _US},
            {
                "pool": self._name,
                "worker_id": worker_id,
                "command": request.command,
                "success": outcome == "ok",
                "outcome": "crashed" if outcome == "broken" else outcome,
                "request_id": request.number,
                **request.parent,
            },
        )

    def _tell_withdrawn(self, request: Request, outcome: str) -> None:
        telemetry.execute(
            events.REQUEST_WITHDRAWN,
            {"queue_us": max(0, time.monotonic_ns() - request.submitted_ns) // _US},
            {
                "pool": self._name,
                "command": request.command,
                "outcome": "crashed" if outcome == "broken" else outcome,
                "request_id": request.number,
                **request.parent,
            },
        )

    # Words and events

    def output(self, worker: WorkerProcess, origin: object, stream: str, text: str) -> None:
        """Pass text on to whoever asked."""
        worker.spoke = True
        self._show(lambda sink: sink.stream(origin, stream, text))

    def _show(self, how: Callable[[OutputSink], None]) -> None:
        try:
            how(self._office.sink())
        except BaseException:  # noqa: BLE001 - a closed stream of this process must not cost the worker its answer
            if not self._deaf:
                _LOG.exception("output of the pool %r cannot be shown", self._name)
            self._deaf = True

    def read_pipe(self, worker: WorkerProcess, stream: str) -> bool:
        """Take in what waits in a pipe; whether there was something."""
        text = worker.read(stream)
        if text is None:
            self._office.reactor.forget(worker.stdout if stream == "stdout" else worker.stderr)
            # It ends, and its obituary is on the way; or a call closed every descriptor and goes on.
            soon = time.monotonic_ns() + _SOON_NS
            self._office.reactor.at(soon, lambda: self._end_unheard(worker), lambda: worker.ended is None)
            return False
        if text:
            if stream == "stderr":
                worker.last_words.written(text)
            self.output(worker, self._origin(worker, 0), stream, text)
        return bool(text)

    @staticmethod
    def _end_unheard(worker: WorkerProcess) -> None:
        """End a worker whose answer can never come: its call might run for ever."""
        if worker.ended is None and not worker.can_answer():
            worker.last_words.written(_UNHEARD)
            worker.kill()

    def drain_pipes(self, worker: WorkerProcess) -> None:
        """Take in all that waits in a worker's pipes."""
        for stream in ("stdout", "stderr"):
            while self.read_pipe(worker, stream):
                pass

    def _origin(self, worker: WorkerProcess, number: int) -> object:
        requests = self._office.requests
        request = requests.get(number)
        if request is None:
            seen = self._office.state.workers.get(worker.worker_id)
            hands = seen.hands if seen is not None else ()
            request = requests.get(hands[0]) if hands else None
        return request.origin if request is not None else worker.last_origin

    def _events(self, worker: WorkerProcess, batch: bytes) -> None:
        known = {"pool": self._name, "worker_id": worker.worker_id, "pid": worker.pid}
        telemetry.execute_batch(partial(unpack_events, batch, **known))

    def _tell_exception(self, request: Request, error: RemoteError) -> None:
        record = error.record
        # Its own class is called as the original is.
        became = next((each for each in STRUCTURED if isinstance(error, each)), None)
        telemetry.execute(
            events.PYTHON_EXCEPTION_UNMAPPED if became is None else events.PYTHON_EXCEPTION_MAPPED,
            {},
            {
                "python_type": record.type_name,
                "library": record.library,
                "function": record.function,
                "error": (became or RemoteError).__name__,
                "request_id": request.number,
            },
        )

    # Births and deaths

    def _hello(self, worker: WorkerProcess, arena: str) -> None:
        office = self._office
        worker.arena = worker.channel.peer_arena = arena
        worker.lane.update(office.store)
        with office.lock:
            worker.greeted = True
            office.forwarding.tell(worker)
        initializer = office.initializer
        if initializer is not None:
            worker.initializing = initializer.number
            define = messages.Define(initializer.function.key, initializer.function.data, b"")
            packet = codec.encode_call(
                initializer.number, initializer.function.key, *initializer.arguments[:2]
            )
            worker.channel.send(codec.encode(define) + packet)
            return
        office.lifecycle.accepted(worker)

    def _break(self, reason: str) -> None:
        office = self._office
        with office.lock:
            office.act(office.state.broke(reason))

    def error_of(self, request: Request, action: actions.Settle) -> Exception | None:
        """What the future of a request raises that ended without an answer; None where it was cancelled."""
        if action.outcome == "timeout":
            return RequestTimeout(
                seconds=request.timeout or 0.0,
                command=request.command,
                request_id=request.number,
                pool=self._name,
            )
        if action.outcome == "broken":
            return PoolBroken(pool=self._name, reason=self._office.state.broken or "")
        if action.outcome == "session_lost":
            return self._office.sessions.why_lost(request.session or "")
        if action.outcome == "worker_gone":
            text = (
                f"worker {request.worker} of pool {self._name!r} is gone, and {request.command} was for it"
                " alone: run it again for those that there are now"
            )
            return PoolError(text, pool=self._name)
        if action.outcome == "crashed":
            return self._crash_of(request, action.worker_id or "")
        return None

    def _crash_of(self, request: Request, worker_id: str) -> WorkerCrashed:
        worker = self._office.workers.get(worker_id)
        ended = worker.ended if worker is not None else None
        exit_code = ended.exit_code if ended is not None else None
        crash = worker.crash if worker is not None else None
        return WorkerCrashed(
            signal=-exit_code if exit_code is not None and exit_code < 0 else None,
            exit_code=exit_code if exit_code is not None and exit_code >= 0 else None,
            classification=crash.kind if crash is not None else "killed",
            device=(crash.device if crash is not None else None) or "cpu",
            memory_mb=ended.memory_mb if ended is not None else None,
            stderr_tail=_tail(worker) if worker is not None else "",
            place=worker.stack.place if worker is not None else "",
            request_id=request.number,
            command=request.command,
            worker_id=worker_id,
            pool=self._name,
        )

    def tell_death(self, worker: WorkerProcess, *, reason: str, taint: float) -> None:
        """Emit the end of a worker's life, and before that what it looked like if nobody asked for it.

        Where it taints the worker's slot, `taint` says for how many seconds.
        """
        # One call, so that no other thread's events come between the two, nor the second before the first.
        self._office.soon(self._tell_death, worker, reason, taint)

    def _tell_death(self, worker: WorkerProcess, reason: str, taint: float) -> None:
        crash = worker.crash
        if crash is not None:
            facts = {"worker_id": worker.worker_id, "pool": self._name, **crash.facts()}
            telemetry.execute(events.WORKER_CRASH, {}, facts)
            if taint:
                duration = {"duration_ms": round(taint * 1000)}
                telemetry.execute(events.WORKER_TAINTED, duration, facts)
        # A life that never began has no end.
        if worker.started:
            self._tell_recycled(worker, "worker_died" if crash is not None else reason)

    def _tell_recycled(self, worker: WorkerProcess, reason: str) -> None:
        memory: dict[str, object] = {}
        if reason == "memory_threshold":
            memory = {"memory_mb": worker.memory_mb, "memory_threshold_mb": worker.threshold_mb}
        telemetry.execute(
            events.WORKER_RECYCLED,
            {},
            {
                "worker_id": worker.worker_id,
                "pool": self._name,
                "reason": reason,
                "uptime_seconds": round(time.monotonic() - worker.ready_at, 3),
                "request_count": worker.request_count,
                **memory,
            },
        )


def _tail(worker: WorkerProcess) -> str:
    """The last that is known of a worker that died: the end of its stderr, and where a signal met it."""
    words, stack = str(worker.last_words), worker.stack.text
    if not stack:
        return words
    most = options.current().stderr_tail
    stack = stack[: most // 2]
    said = words.rstrip("\n")[-(most - len(stack) - 1) :]
    return f"{said}\n{stack}" if said else stack


def _not_rebuilt(raised: BaseException, what: str) -> Exception:
    """What is told of a value that cannot be rebuilt here: nothing that would end whoever hears of it."""
    if isinstance(raised, Exception):
        return raised
    reason = f"{type(raised).__name__}: {describe(raised)}"
    message = f"{what} could not be rebuilt here ({reason})"
    return CaptureError(message, name="result", reason=reason)


def _told(error: BaseException) -> str:
    return f"{getattr(error, 'type_name', type(error).__name__)}: {describe(error)}"
