"""A worker's life: say hello, run one call after the other, answer each, end when the kernel does.

*Rule:* user code runs in the main thread and nothing else does (see `threads` for workers of the other kind);
what a call wrote, emitted and gave back is on its way before its answer is.

*Rule:* an answer leaves at once, so that the first call without an answer is the one that a death cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn, cast

from snakepit_nb import events, options, telemetry
from snakepit_nb.arrays import founding
from snakepit_nb.arrays.store import Store
from snakepit_nb.errors import pack_exception
from snakepit_nb.errors.types import ArrayError, CaptureError, ProtocolError
from snakepit_nb.wire import codec, messages, travel
from snakepit_nb.wire.channel import Channel
from snakepit_nb.wire.forwarding import pack_events
from snakepit_nb.wire.kept import Kept
from snakepit_nb.wire.lane import DescriptorLane
from snakepit_nb.wire.payload import Packed, Prepared, prepare, unpack
from snakepit_nb.wire.sampling import Rules, Sampler
from snakepit_nb.worker import namespace, pulse, shell
from snakepit_nb.worker.functions import Function
from snakepit_nb.worker.here import Here
from snakepit_nb.worker.streaming import Outflow
from snakepit_nb.worker.streams import LiveStreams

if TYPE_CHECKING:
    import socket
    import types
    from collections.abc import Mapping

    from snakepit_nb.wire.forwarding import Noted

KERNEL: Final = "kernel"
_EVENTS: Final = 500
_PYPLOT: Final = "matplotlib.pyplot"
NOTHING: Final = Packed(pickle.dumps(None, 5), b"", ())
EXIT_CHANNEL_LOST: Final = 75
SOON: Final = 0.02


class Worker:
    """One worker process, from hello to exit."""

    def __init__(
        self, spec: Mapping[str, object], sock: socket.socket, lane: socket.socket, heart: socket.socket
    ) -> None:
        self._id = str(spec["worker_id"])
        self._lane = DescriptorLane(lane)
        self._heart = heart
        chosen = options.current()
        self._spin_ns = 0 if (os.cpu_count() or 1) == 1 else chosen.spin_us * 1000
        found, lacking = founding.from_options()
        founding.bear_here(found)
        founding.bear_everywhere(found)
        self._store = Store(
            "worker",
            found,
            inline_bytes=chosen.inline_bytes,
            on_unknown=lambda: self._lane.update(self._store),
            lacking=lacking,
        )
        self._channel = Channel(sock, self._store, KERNEL, self._lane)
        self._channel.peer_arena = str(spec["arena"])
        self._functions: dict[bytes, Function] = {}
        self._kept = Kept(chosen.ahead + 2)  # the call that runs, and an initializer, are on their way too
        self._here = Here()
        self._running = False
        self._forked = False
        self._events: deque[Noted] = deque()
        self._sampler: Sampler | None = None
        self._streams: LiveStreams | None = None
        self._outflows: dict[int, Outflow] = {}

    def greet(self) -> None:
        """Say hello, after handing over the descriptor of this process's arena."""
        own = self._store.arena
        if own is not None:
            self._lane.introduce(own.id, own.fd, own.nbytes)
        hello = messages.Hello(os.getpid(), own.nbytes if own else 0, self._id, own.id if own else "")
        self._channel.send(codec.encode(hello), wait=True)

    def serve(self) -> None:
        """Run what the kernel sends until it says stop or is gone."""
        self._streams = LiveStreams(self._send_output, lambda: self._here.request_id)
        shell.install(self._send_display, self._streams.flush)
        telemetry.forward_to(self._note_event, self._passes)
        signal.signal(signal.SIGINT, self._interrupted)
        os.register_at_fork(after_in_child=self._abandon)
        channel = self._channel
        # A call that never lets go of Python's lock would not notice by itself that the kernel is gone.
        if not founding.watch(self._heart.fileno(), EXIT_CHANNEL_LOST):
            pulse.answer(self._heart, lambda: os._exit(EXIT_CHANNEL_LOST))
        channel.wait(None)
        # The kernel's arena came before its first word: a call might leave no descriptor for it.
        self._lane.update(self._store)
        while True:
            found = channel.spin(self._spin_ns)
            if found is None:
                if not channel.wait(SOON):
                    self._when_idle()
                    channel.wait(None)
                found = channel.receive() or []
            for message in found:
                if type(message) is messages.Call:
                    self._take(message)
                elif not self._note(message):
                    return

    def _note(self, message: messages.Message) -> bool:
        """Take a message that is not a call; False ends the worker."""
        match message:
            case messages.Define(key, function, buffers):
                if key not in self._functions:
                    self._functions[key] = Function(Packed(function, buffers, ()))
                for dropped in self._kept.used(key, len(function)):
                    del self._functions[dropped]
            case messages.Release(leases):
                self._store.release(codec.unpack_leases(leases))
            case messages.Stream(request_id, credit):
                self._outflows[request_id] = self._outflow(credit)
            case messages.More() | messages.Enough():
                self._steer(message)
            case messages.Forward(rules):
                self._sampler = Sampler(Rules.unpack(rules))
            case messages.Stop():
                return False
            case _:
                text = f"the kernel may not say {type(message).__name__} to a serving worker"
                raise ProtocolError(text)
        return True

    def _outflow(self, credit: int) -> Outflow:
        return Outflow(credit, self._send_item, self._listen, lambda: self._channel.wait(None))

    def _steer(self, message: messages.More | messages.Enough) -> None:
        """What the kernel says of a stream that is over by now is late and means nothing."""
        outflow = self._outflows.get(message.request_id)
        if outflow is None:
            return
        if isinstance(message, messages.More):
            outflow.more(message.credit)
        else:
            outflow.enough()

    def _take(self, call: messages.Call) -> None:
        self._perform(call, self._function(call.key))

    def _function(self, key: bytes) -> Function | None:
        """The function of a call that came; what is not kept is let go of with the call."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._functions.get(key)
        return self._functions.pop(key, None)

    def _perform(self, call: messages.Call, function: Function | None) -> None:
        """Run a call and answer it."""
        request_id = self._here.request_id = call.request_id
        started = time.monotonic_ns()
        packed, error = self._outcome(call, function)
        if self._forked:
            _leave(error)
        ended = time.monotonic_ns()
        del function
        answer = b""
        if error is not None:
            answer = codec.encode(messages.Error(request_id, started, ended, _told(error)))
            error = None
        if namespace.left_over():
            namespace.release()
        if not answer:
            # Only now is it seen which memory nobody here holds any more.
            answer = self._seal(packed, request_id, started, ended)
        if self._streams is not None:
            self._streams.flush()
        try:
            self._reply(request_id, answer)
        except ArrayError as full:
            failure = messages.Error(request_id, started, ended, pack_exception(full))
            self._channel.send(codec.encode(failure), wait=True)

    def _reply(self, request_id: int, answer: bytes) -> None:
        before = self._before_answer(request_id)
        self._channel.send(before + answer if before else answer, wait=True)

    def _seal(self, packed: Packed | Prepared, request_id: int, started: int, ended: int) -> bytes:
        """The answer to a call that returned; its memory is lent."""
        try:
            if isinstance(packed, Prepared):
                packed = packed.seal(moving=True)
                self._store.hand(packed.leases, KERNEL)
        except Exception as failed:  # noqa: BLE001 - there is no memory left, say; the worker lives on
            return codec.encode(messages.Error(request_id, started, ended, pack_exception(failed)))
        return codec.encode_value(request_id, started, ended, packed.data, packed.buffers)

    def _outcome(
        self, call: messages.Call, function: Function | None
    ) -> tuple[Packed | Prepared, BaseException | None]:
        """Run a call: its packed value, or what it raised."""
        try:
            # An interrupt is raised from `_begin` to `_settle`, also between any two steps of this block.
            try:
                self._begin()
                value = self._run(call, function)
                if self._outflows:
                    outflow = self._outflows.get(call.request_id)
                    if outflow is not None:
                        value = outflow.run(value)
                if _PYPLOT in sys.modules:
                    shell.after_cell()
            finally:
                self._settle()
            del function
            return (NOTHING if value is None else self._pack(value)), None
        except BaseException as raised:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of a call are answers too
            self._settle()
            return NOTHING, raised
        finally:
            if self._outflows:
                self._outflows.pop(call.request_id, None)

    def _begin(self) -> None:
        self._running = True

    def _settle(self) -> None:
        self._running = False

    def _run(self, call: messages.Call, function: Function | None) -> object:
        request_id = call.request_id
        if function is None:
            text = "the kernel named a function that it had not sent"
            raise ProtocolError(text)
        run = function.ready or function.unpacked(self._store, KERNEL, request_id)
        if not call.arguments:
            return run()
        packed = Packed(call.arguments, call.buffers, ())
        given = unpack(packed, self._store, peer=KERNEL, request_id=request_id)
        args, kwargs = cast("tuple[tuple[object, ...], dict[str, object]]", given)
        del given
        return run(*args, **kwargs)

    def _pack(self, value: object) -> Packed | Prepared:
        try:
            return prepare(value, self._store, request_id=self._here.request_id)
        except Exception as refused:  # noqa: BLE001 - a user's __reduce__ may raise anything
            shed = getattr(value, "shed", None)
            if shed is not None:
                return prepare(shed(travel.refusal), self._store, request_id=self._here.request_id)
            found = travel.obstacle(value, "result")
            path = found.path if found else "result"
            type_name = found.type_name if found else type(value).__name__
            reason = found.reason if found else travel.describe(refused)
            raise CaptureError(name="result", path=path, type_name=type_name, reason=reason) from None

    def _before_answer(self, request_id: int) -> bytes:
        """What has to be with the kernel before the answer: events, and the leases that ended."""
        parts: list[messages.Message] = []
        while self._events:
            parts.append(messages.Events(request_id, self._batch()))
        leases = self._store.take_returns(KERNEL)
        if leases:
            parts.append(messages.Release(codec.pack_leases(leases)))
        return codec.encode_all(parts) if parts else b""

    def _batch(self) -> bytes:
        """The next events; of one that cannot be written it is told that it was dropped."""
        batch: list[Noted] = []
        try:
            while len(batch) < _EVENTS:
                batch.append(self._events.popleft())
        except IndexError:
            pass  # that was the last one, or another thread took it
        data, dropped = pack_events(batch)
        if dropped:
            telemetry.execute(events.TELEMETRY_DROPPED, {"dropped": dropped}, {"queue": "worker"})
        return data

    def _when_idle(self) -> None:
        with contextlib.suppress(ArrayError):  # the call that needs it is told why
            self._lane.update(self._store)
        before = self._before_answer(0)
        if before:
            self._channel.send(before, wait=True)

    def _send_output(self, stream: str, text: str, request_id: int) -> None:
        self._channel.send(codec.encode(messages.Output(request_id, stream, text)), wait=True)

    def _send_item(self, value: object) -> None:
        """Send one value of a stream, after what was printed until then."""
        packed = self._pack(value)
        del value
        if isinstance(packed, Prepared):
            packed = packed.seal(moving=True)
            self._store.hand(packed.leases, KERNEL)
        if self._streams is not None:
            self._streams.flush()
        item = messages.Item(self._here.request_id, packed.data, packed.buffers)
        self._channel.send(codec.encode(item), wait=True)

    def _listen(self) -> None:
        """Take in what the kernel says while a call runs, which is no other call."""
        # An interrupt in the middle would lose what was said; it is repeated until the call ends.
        self._running = False
        try:
            for message in self._channel.receive() or ():
                self._note(message)
        finally:
            self._running = True

    def _send_display(self, content: Mapping[str, object]) -> None:
        data = json.dumps(content, default=str).encode()
        self._channel.send(codec.encode(messages.Display(self._here.request_id, data)), wait=True)

    def _note_event(self, record: telemetry.Record) -> None:
        if self._forked:
            return  # a process that a call forked inherits this, and not the right to our socket
        name, measurements, metadata, wall, clock, _, _ = record
        if self._sampler is not None:
            rate = self._sampler.rate(name, metadata)
            if not rate:
                return
            if rate < 1:
                metadata = {**metadata, "sample_rate": rate}
        self._events.append((name, measurements, metadata, wall, clock, self._here.request_id))
        if len(self._events) >= _EVENTS:
            self._channel.send(codec.encode(messages.Events(self._here.request_id, self._batch())), wait=True)

    def _passes(self, name: telemetry.EventName) -> bool:
        return self._sampler is None or self._sampler.passes(name)

    def _abandon(self) -> None:
        """In a process that a call forked: the conversation with the kernel is its parent's."""
        self._forked = True
        self._channel.close()
        self._lane.close()
        self._heart.close()

    def _interrupted(self, _signal: int, _frame: types.FrameType | None) -> None:
        if self._running:
            self._running = False
            raise KeyboardInterrupt


def _leave(error: BaseException | None) -> NoReturn:
    """End a process that a call forked, and that came back from the call as if it were the worker."""
    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        status = 1
        traceback.print_exception(error)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _told(error: BaseException) -> bytes:
    """An exception as it travels; what its traceback holds is let go of, for arrays there are only lent."""
    told = pack_exception(error)
    traceback.clear_frames(error.__traceback__)
    if _PYPLOT in sys.modules:
        # What a failed call left open would surface below a later one.
        with contextlib.suppress(Exception):
            shell.after_cell(show=False)
    return told


def _kind(spec: Mapping[str, object]) -> type[Worker]:
    if spec.get("profile") != "thread":
        return Worker
    from snakepit_nb.worker.threads import ThreadWorker  # noqa: PLC0415 - it is made of this module

    return ThreadWorker


def main(spec: Mapping[str, object], sock: socket.socket, lane: socket.socket, heart: socket.socket) -> int:
    """Live as a worker; the exit status to end with.

    A worker whose channel is gone (the kernel's end, or because a call closed every descriptor) has nobody to
    serve: it ends without another word.
    """
    try:
        given = spec.get("options")
        if isinstance(given, dict):
            options.adopt(given)
        worker = _kind(spec)(spec, sock, lane, heart)
        worker.greet()
    except Exception as error:  # noqa: BLE001 - told to the kernel, whatever it is
        with contextlib.suppress(OSError):
            sock.send(codec.encode(messages.Broken(pack_exception(error))))
        return 1
    try:
        worker.serve()
    except (EOFError, OSError):
        return EXIT_CHANNEL_LOST
    except ProtocolError as error:
        sys.__stderr__.write(f"snakepit_nb worker: {error}\n")  # type: ignore[union-attr]
        return EXIT_CHANNEL_LOST
    return 0
