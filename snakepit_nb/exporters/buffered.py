"""A bounded queue between the bus and a sink that takes its time.

*Rule:* whoever emits only puts an event down; the sink is called in a thread of the queue's own.
*Rule:* what does not fit is counted and told as `telemetry.dropped`, never lost in silence.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from itertools import count, repeat
from typing import TYPE_CHECKING, Final, Self

from snakepit_nb import events, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from snakepit_nb.telemetry import EventName, Handler, Name, Record

_LOG: Final = logging.getLogger(__name__)
_SIZE: Final = 100_000
_GLANCE: Final = 0.25
_PAUSE: Final = 0.0002
_AT_EXIT: Final = 0.5  # seconds, of the 1.5 that a kernel has for all that ends
_ids: Final = count(1)
_alive: Final[weakref.WeakSet[Batches]] = weakref.WeakSet()


class Batches:
    """Collects records and hands them to a function in batches, in a thread of its own.

    The thread begins with the first record. While nothing comes, it sleeps.

    Args:
        write: Is called with the records since the last time, in order. What it raises is logged, once in a
            row, and the queue goes on.
        size: How many records may wait.
        interval: Seconds from the first record of a batch to the batch.
        name: What `telemetry.dropped` calls the queue.

    Attributes:
        dropped: How many records there was no room for.

    Example:
        >>> written = []
        >>> queue = Batches(written.extend, name="doc")
        >>> telemetry.attach_records("doc", "app", queue.put)
        >>> telemetry.execute("app.hello")
        >>> queue.flush()
        True
        >>> [record[0] for record in written]
        [('app', 'hello')]
        >>> telemetry.detach("doc"), queue.close()
        (True, True)
    """

    def __init__(
        self,
        write: Callable[[list[Record]], object],
        *,
        size: int = _SIZE,
        interval: float = 0.25,
        name: str = "exporter",
    ) -> None:
        if type(size) is not int or size < 1:
            message = f"size: expected how many events may wait, a whole number from 1 on, got {size!r}"
            raise ValueError(message)
        self.dropped = 0
        self._write, self._size, self._interval, self._name = write, size, interval, name
        self._told = 0
        self._begin()

    def _begin(self) -> None:
        self._waiting: deque[Record] = deque()
        self._flushes: deque[threading.Event] = deque()
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = self._failed = self._flushing = False
        self._asleep = True
        self._room = self._size

    def put(self, record: Record) -> None:
        """Take a record; for `telemetry.attach_records`. It never blocks and never raises."""
        waiting = self._waiting
        if len(waiting) < self._room:
            waiting.append(record)
            if self._asleep:
                self._wake()
        else:
            self.dropped += 1

    def _wake(self) -> None:
        self._asleep = False
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closed:
                    name = f"snakepit_nb queue {self._name}"
                    self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                    _alive.add(self)
                    self._thread.start()
        self._news.set()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was put so far is written; False where that is not so after `timeout` seconds.

        Called from the sink itself, it waits for nothing.
        """
        if self._thread is None or not self._thread.is_alive():
            return not self._waiting
        if self._thread is threading.current_thread():
            return False
        written = threading.Event()
        self._flushes.append(written)
        self._hurry.set()
        self._news.set()
        until = time.monotonic() + timeout
        # In glances: an interrupt that comes just before a wait ends no wait.
        while not written.wait(min(_GLANCE, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until or not self._thread.is_alive():
                return False
        return True

    def close(self, timeout: float = 10.0) -> bool:
        """Write what waits, and end; False where the sink still has its hands full after `timeout` seconds.

        What is put from here on is dropped. Idempotent.
        """
        self._closed = True
        self._room = 0
        thread = self._thread
        self._hurry.set()
        self._news.set()
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        if not thread.is_alive():
            _alive.discard(self)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            self._asleep = True
            # Whoever puts a record looks whether we sleep only after that, and we look for one only now.
            if not self._waiting and not self._closed and not self._flushes:
                self._news.wait()
            self._asleep = False
            self._news.clear()
            if not self._closed and not self._flushes:
                self._hurry.wait(self._interval)
            self._hurry.clear()
            self._turn()
            if self._closed and not self._waiting:
                return

    def _turn(self) -> None:
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        take = self._waiting.popleft
        batch = [take() for _ in repeat(None, len(self._waiting))]
        self._flushing = bool(flushes)
        try:
            if batch:
                self._write(batch)
            self._failed = False
        except BaseException:  # noqa: BLE001 - whatever the sink does, the next batch may go well
            if not self._failed:
                _LOG.exception("the queue %r could not write %d events", self._name, len(batch))
            self._failed = True
        self._tell_dropped()
        for each in flushes:
            each.set()

    def breathe(self) -> None:
        """Leave the interpreter to others for a moment; nothing where somebody waits for what is written.

        For a sink whose work is long, after each millisecond or so of it: who emits would wait for all of it.
        """
        if not (self._flushing or self._flushes or self._closed):
            time.sleep(_PAUSE)

    def _tell_dropped(self) -> None:
        lost = self.dropped - self._told
        if lost:
            self._told += lost
            telemetry.execute(events.TELEMETRY_DROPPED, {"dropped": lost}, {"queue": self._name})

    def after_fork(self) -> None:
        """This is another process now: the thread is not here, and what waits is the parent's to write."""
        self._begin()
        self._closed = True
        self._room = 0


class Buffered:
    """A handler that puts a bounded queue in front of another one, which may then take its time.

    It is used as any handler. The function behind it is called with the same four arguments, one event after
    the other, in a thread of the queue's own; one that raises is logged and goes on with the next event.

    Args:
        function: The slow handler.
        size: How many events may wait; what does not fit is dropped, counted and told.
        name: What `telemetry.dropped` calls the queue.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: `size` is not a whole number from 1 on.

    Example:
        >>> def slow(event, measurements, metadata, config):
        ...     print("posted", metadata["job"], "to", config)
        >>> with Buffered(slow, size=100) as handler:
        ...     telemetry.attach("slow", "app.job.done", handler, "a server")
        ...     telemetry.execute("app.job.done", {}, {"job": "import"})
        ...     _ = handler.flush(), telemetry.detach("slow")
        posted import to a server
    """

    def __init__(self, function: Handler, *, size: int = 10_000, name: str = "") -> None:
        given: object = function
        if not callable(given):
            message = f"function: expected a handler to call, got {given!r}"
            raise TypeError(message)
        self._function = function
        called = name or getattr(function, "__qualname__", type(function).__name__)
        self._batches = Batches(self._pass_on, size=size, interval=0.02, name=called)
        self._failed = False

    def __call__(
        self, event: EventName, measurements: dict[str, float], metadata: dict[str, object], config: object
    ) -> None:
        """Put the event down."""
        # The record's last places are not needed: the metadata has the stamps.
        self._batches.put((event, measurements, {"config": config, "metadata": metadata}, 0, 0, 0, 0))

    @property
    def dropped(self) -> int:
        """How many events there was no room for."""
        return self._batches.dropped

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that came so far is passed on; False where it is not after `timeout` seconds."""
        return self._batches.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Pass on what waits, and end; False where that is not done after `timeout` seconds. Detach first."""
        return self._batches.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pass_on(self, batch: list[Record]) -> None:
        for event, measurements, held, *_ in batch:
            try:
                self._function(event, measurements, held["metadata"], held["config"])  # type: ignore[arg-type]
            except Exception:  # noqa: BLE001 - one event more or less; the others are owed theirs
                if not self._failed:
                    _LOG.exception("a handler behind a queue failed at %s", telemetry.dotted(event))
                self._failed = True
            else:
                self._failed = False


class Attachment:
    """The life of an exporter that takes records in batches: attach, replay, flush, detach, close.

    A base for exporters: they implement `take`.

    Args:
        heard: The names of the events to hear; None for all that begin with `prefix`.
        prefix: What the names of the events begin with, where `heard` does not say them.
        name: What the exporter's queue is called.
        size: How many records may wait.
        interval: Seconds from the first record of a batch to the batch.
    """

    def __init__(
        self,
        heard: Iterable[Name] | None = None,
        *,
        prefix: Name = (),
        name: str,
        size: int = _SIZE,
        interval: float = 0.25,
    ) -> None:
        self._heard = None if heard is None else tuple(dict.fromkeys(map(telemetry.as_name, heard)))
        self._prefix = prefix
        self._name = name
        self._ended = False
        self._handler_id = f"snakepit_nb.{name}:{next(_ids)}"
        self._batches = Batches(self.take, size=size, interval=interval, name=name)

    def take(self, batch: list[Record]) -> None:
        """Do with the records what the exporter is for; in the queue's thread."""
        raise NotImplementedError

    @property
    def dropped(self) -> int:
        """How many events there was no room for."""
        return self._batches.dropped

    def attach(self, *, replay: bool = False) -> Self:
        """Begin to listen; with `replay` to the recent events from before as well.

        Raises:
            RuntimeError: it was closed.
            telemetry.AlreadyAttached: it is attached.
        """
        if self._ended:
            message = f"this {self._name} was closed; make another one"
            raise RuntimeError(message)
        if self._heard is None:
            telemetry.attach_records(self._handler_id, self._prefix, self._batches.put)
        else:
            telemetry.attach_many_records(self._handler_id, self._heard, self._batches.put)
        if replay:
            telemetry.replay(self._handler_id)
        return self

    def detach(self) -> None:
        """Listen no more; what came is still worked on. Nothing happens where it is not attached."""
        telemetry.detach(self._handler_id)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that came so far is worked on; False where it is not after `timeout` seconds."""
        return self._batches.flush(timeout)

    def close(self) -> None:
        """Listen no more, finish what came, and let go of everything. Idempotent."""
        self._ended = True
        self.detach()
        self._batches.close()

    def __enter__(self) -> Self:
        with suppress(telemetry.AlreadyAttached):  # by hand, to have a replay, say
            self.attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _close_all() -> None:
    until = time.monotonic() + _AT_EXIT
    for queue in list(_alive):
        queue.close(max(0.0, until - time.monotonic()))


atexit.register(_close_all)


def _after_fork() -> None:
    for queue in list(_alive):
        queue.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
