"""A worker that runs several calls at once, each in a thread of its own.

*Rule:* the main thread listens and never runs user code: whatever the calls do, the kernel is heard.

*Rule:* an interrupt reaches the call that it names and no other one, whichever thread runs that, or will.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import traceback
from typing import TYPE_CHECKING

from snakepit_nb.wire import messages
from snakepit_nb.worker import errand, mains
from snakepit_nb.worker.errand import Errand
from snakepit_nb.worker.here import HereInThreads
from snakepit_nb.worker.loop import NOTHING, SOON, Worker
from snakepit_nb.worker.streaming import Outflow

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from snakepit_nb import telemetry
    from snakepit_nb.wire.payload import Packed, Prepared
    from snakepit_nb.worker.functions import Function


class ThreadWorker(Worker):
    """One worker process whose calls run in threads."""

    def __init__(
        self, spec: Mapping[str, object], sock: socket.socket, lane: socket.socket, heart: socket.socket
    ) -> None:
        super().__init__(spec, sock, lane, heart)
        self._here = HereInThreads()
        self._errands: dict[int, Errand] = {}
        self._work: queue.SimpleQueue[Errand] = queue.SimpleQueue()
        # What is taken out of the events has left before anybody's answer does. Re-entrant, as an event may
        # be told while events are sent.
        self._sending = threading.RLock()
        self._ended = threading.Condition(threading.Lock())
        self._free = 0
        self._made = 0

    def serve(self) -> None:
        """Run what the kernel sends until it says stop or is gone; what runs at a stop may end."""
        mains.one_for_each_thread()
        errand.start_threads_undisturbed()
        super().serve()
        with self._ended:
            self._ended.wait_for(lambda: not self._errands)

    def _note(self, message: messages.Message) -> bool:
        if not isinstance(message, messages.Interrupt):
            return super()._note(message)
        named = self._errands.get(message.request_id)
        if named is not None:
            named.interrupt()
        outflow = self._outflows.get(message.request_id)
        if outflow is not None:
            outflow.wake()
        return True

    def _take(self, call: messages.Call) -> None:
        given = Errand(call, self._function(call.key))
        with self._ended:
            self._errands[call.request_id] = given
            if self._free:
                self._free -= 1
            else:
                # A daemon: a call that never ends must not keep the process from ending.
                name = f"snakepit-call-{self._made}"
                threading.Thread(target=self._run_calls, name=name, daemon=True).start()
                self._made += 1
        self._work.put(given)

    def _run_calls(self) -> None:
        try:
            while True:
                self._run_next()
        except OSError:
            return  # the kernel is gone; the main thread hears of it, too
        except BaseException:  # noqa: BLE001 - a call without an answer would be waited for for ever
            traceback.print_exc()
            os._exit(1)

    def _run_next(self) -> None:
        try:
            given = self._work.get(timeout=SOON)
        except queue.Empty:
            self._when_idle()
            given = self._work.get()
        call, function = given.call, given.function
        given.call = given.function = None
        errand.mine.errand = given
        assert call is not None  # noqa: S101 - a call is handed out once
        try:
            self._perform(call, function)
        finally:
            errand.mine.errand = None
            with self._ended:
                del self._errands[call.request_id]
                self._free += 1
                self._ended.notify_all()

    def _outcome(
        self, call: messages.Call, function: Function | None
    ) -> tuple[Packed | Prepared, BaseException | None]:
        try:
            return super()._outcome(call, function)
        except KeyboardInterrupt as late:  # arrived while what it interrupted was wound up
            self._settle()
            return NOTHING, late

    def _begin(self) -> None:
        if errand.mine.errand is not None:
            errand.mine.errand.begin()

    def _settle(self) -> None:
        if errand.mine.errand is not None:
            errand.mine.errand.settle()

    def _outflow(self, credit: int) -> Outflow:
        news = threading.Event()

        def wait() -> None:
            news.wait()
            news.clear()

        return Outflow(credit, self._send_item, _hear_nothing, wait, news.set)

    def _reply(self, request_id: int, answer: bytes) -> None:
        with self._sending:
            super()._reply(request_id, answer)

    def _when_idle(self) -> None:
        with self._sending, contextlib.suppress(OSError):
            super()._when_idle()

    def _note_event(self, record: telemetry.Record) -> None:
        if self._forked:
            return  # and whoever held the lock is not in this process
        with self._sending:
            super()._note_event(record)


def _hear_nothing() -> None:
    """The main thread listens."""
