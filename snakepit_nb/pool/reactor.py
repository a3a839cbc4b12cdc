"""The thread of a pool: it waits for descriptors, does jobs in order, and keeps time.

*Rule:* it knows nothing of workers, and nothing of what it calls. With nothing to do it sleeps without end.

A descriptor can be borrowed by a caller that reads it in its own thread. One that is borrowed again and again
is left alone in between, but for a look every millisecond: to watch it anew each time costs two system calls,
and where the two share a core, the answer is there before the caller has borrowed, and wakes this thread in
vain.
"""

from __future__ import annotations

import heapq
import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG: Final = logging.getLogger(__name__)
_SPARE: Final = 64
_ARMED: Final = select.EPOLLIN
_DISARMED: Final = 0
_LINGER_NS: Final = 50_000_000
_GLANCE: Final = 0.001
_OFTEN_NS: Final = 1_000_000


class _Timer(NamedTuple):
    when_ns: int
    number: int
    job: Callable[[], object]
    needed: Callable[[], bool]

    def run(self) -> None:
        """Do the job, unless what was done just before made it needless."""
        if self.needed():
            self.job()


class Reactor:
    """One thread that waits, made by `start` and gone after `stop`.

    Args:
        name: What the thread is called.
        between: Called before each wait.
        after: Called after each job and each descriptor's call.
        fault: Called with what a descriptor's call raised: nobody else would hear of it.

    Example:
        >>> done = threading.Event()
        >>> reactor = Reactor("doc", between=lambda: None, after=lambda: None, fault=print)
        >>> reactor.start()
        >>> reactor.later(done.set)
        >>> done.wait(10)
        True
        >>> reactor.stop()
    """

    def __init__(
        self,
        name: str,
        *,
        between: Callable[[], None],
        after: Callable[[], None],
        fault: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._between = between
        self._after = after
        self._fault = fault
        self._jobs: deque[Callable[[], object]] = deque()
        self._timers: list[_Timer] = []
        self._timer_number = 0
        self._crowded = _SPARE
        self._watched: dict[int, Callable[[], object]] = {}
        self._left_alone: set[int] = set()
        self._linger_until_ns = 0
        self._given_back_ns = 0
        self._lingering = False
        self._epoll: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._stopping = False
        self._wake = -1
        # Reentrant, and never a pool's: the end of an array, in any thread and under any lock, comes by here.
        self._lock = threading.RLock()

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread is not None

    @property
    def here(self) -> bool:
        """Whether the caller runs in the reactor's thread."""
        return threading.get_ident() == self._ident

    def start(self) -> None:
        """Make the thread.

        Raises:
            OSError: there is no descriptor left for it.
            RuntimeError: no thread can be started.
        """
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, _ARMED)
        self._thread = threading.Thread(target=self._run, name=f"snakepit_nb {self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread once the jobs that wait are done; its descriptors are closed then."""
        self._stopping = True
        self._wake_up()

    def abandon(self) -> None:
        """In a child that the user forked, where the thread is not: close what it left, and never start."""
        self._lock = threading.RLock()
        self._stopping = True
        self._jobs.clear()
        self._timers.clear()
        self._watched.clear()
        self._left_alone.clear()
        self._close()

    # Jobs and times

    def later(self, job: Callable[[], object]) -> None:
        """Have the thread do this; nothing where it is gone."""
        self._jobs.append(job)
        self._wake_up()

    def soon(self, job: Callable[[], object]) -> None:
        """Have the thread do this within a millisecond or two; nothing where it is gone.

        A thread that looks about every millisecond anyway is not woken up for it.
        """
        self._jobs.append(job)
        # Read after that: the thread looks at its jobs once more when it stops looking about.
        if not self._lingering:
            self._wake_up()

    def whatever_happens(self, job: Callable[[], object]) -> None:
        """Have the thread do this, or do it here where it is gone."""
        self._jobs.append(job)
        if not self._wake_up():
            self._do_jobs()

    def at(self, when_ns: int, job: Callable[[], object], needed: Callable[[], bool]) -> None:
        """Have the thread do this at a time of the monotonic clock, if it is still `needed` by then."""
        with self._lock:
            if len(self._timers) >= self._crowded:
                # Most deadlines are met long before they come, and would wait here for nothing.
                self._timers = [each for each in self._timers if each.needed()]
                heapq.heapify(self._timers)
                self._crowded = 2 * len(self._timers) + _SPARE
            self._timer_number += 1
            heapq.heappush(self._timers, _Timer(when_ns, self._timer_number, job, needed))
            first = self._timers[0].number == self._timer_number
        if first:
            self._wake_up()

    # Descriptors

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        """Call this in the thread whenever the descriptor can be read, until `forget`.

        The call says False where it found nothing to read because somebody had borrowed the descriptor.
        """
        self._watched[fd] = call
        if self._epoll is not None:
            self._epoll.register(fd, _ARMED)

    def forget(self, fd: int) -> None:
        """Watch a descriptor no more; nothing where it is not watched."""
        self._left_alone.discard(fd)
        if self._watched.pop(fd, None) is not None and self._epoll is not None:
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                return

    def borrow(self, fd: int) -> None:
        """Do not look at a descriptor until it is given back: the caller reads it."""
        try:
            self._left_alone.remove(fd)
        except KeyError:
            with self._lock:
                self._modify(fd, _DISARMED)

    def give_back(self, fd: int) -> None:
        """Look at a borrowed descriptor again, at once or within a millisecond."""
        now = time.monotonic_ns()
        often = now - self._given_back_ns < _OFTEN_NS
        self._given_back_ns = now
        with self._lock:
            if fd not in self._watched or not (self._lingering or often):
                self._modify(fd, _ARMED)
                return
            self._left_alone.add(fd)
            self._linger_until_ns = now + _LINGER_NS
            if not self._lingering:
                self._lingering = True
                self._wake_up()

    def _modify(self, fd: int, mask: int) -> None:
        if self._epoll is not None and fd in self._watched:
            try:
                self._epoll.modify(fd, mask)
            except (OSError, ValueError):
                return

    # The thread

    def _wake_up(self) -> bool:
        with self._lock:
            if self._wake < 0:
                return False
            os.eventfd_write(self._wake, 1)
            return True

    def _run(self) -> None:
        self._ident = threading.get_ident()
        epoll = self._epoll
        while epoll is not None:
            self._between()
            for fd, _ in epoll.poll(self._pause()):
                if fd == self._wake:
                    os.eventfd_read(fd)
                    continue
                call = self._watched.get(fd)
                if call is not None:
                    self._answer(call)
            if self._lingering:
                self._glance()
            self._do_jobs()
            if self._stopping:
                with self._lock:
                    if not self._jobs:
                        self._close()
                        return

    def _close(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    def _pause(self) -> float | None:
        if self._jobs:
            return 0.0
        with self._lock:
            longest = _GLANCE if self._lingering else None
            while self._timers and not self._timers[0].needed():
                heapq.heappop(self._timers)
            if not self._timers:
                return longest
            pause = max(0.0, (self._timers[0].when_ns - time.monotonic_ns()) / 1e9)
            return pause if longest is None else min(pause, longest)

    def _glance(self) -> None:
        """See to what was given back and left alone; when it is not borrowed any more, watch it as before."""
        with self._lock:
            # Taken at once: `borrow` takes one out without the lock.
            alone = tuple(self._left_alone)
            calls = [self._watched[fd] for fd in alone if fd in self._watched]
            if time.monotonic_ns() > self._linger_until_ns:
                self._lingering = False
                for fd in alone:
                    self._modify(fd, _ARMED)
                self._left_alone.clear()
        for call in calls:
            self._answer(call)

    def _answer(self, call: Callable[[], object]) -> None:
        try:
            if call() is False and not self._lingering:
                self._linger_until_ns = time.monotonic_ns() + _LINGER_NS
                self._lingering = True
            self._after()
        except BaseException as error:  # noqa: BLE001 - whatever it is, futures wait for this thread
            _LOG.exception("the thread of the pool %r failed", self._name)
            self._fault(error)

    def _do_jobs(self) -> None:
        with self._lock:
            now = time.monotonic_ns()
            while self._timers and self._timers[0].when_ns <= now:
                self._jobs.append(heapq.heappop(self._timers).run)
        for _ in range(len(self._jobs)):
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            try:
                job()
            except BaseException:  # noqa: BLE001 - as above
                _LOG.exception("a job of the pool %r failed", self._name)
            self._after()
