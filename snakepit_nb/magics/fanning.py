"""A cell that runs many times: once for each item of `--map`, or once in every worker with `--all`.

*Rule:* items are taken as workers come free, so that a generator is never far ahead of them.
*Rule:* one run that fails costs no other; what an interrupt finds done is not lost either.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from snakepit_nb import options
from snakepit_nb.errors.types import CaptureError, PoolBroken, PoolClosed, PoolSaturated, RequestTimeout
from snakepit_nb.pool.interrupts import Uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from snakepit_nb.magics.progress import Bar
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool
    from snakepit_nb.worker.namespace import CellResult

Outcome: TypeAlias = "CellResult | Exception"

_TICK: Final = 0.1  # seconds that it waits at most before it looks at the bar and at a stop
_FOR_EACH: Final = 3  # runs on their way for each worker: one that runs, others that it can begin at once
_OURS: Final = f"{__package__.partition('.')[0]}."
_ENDS_ALL: Final = (PoolBroken, PoolClosed)


class Launch(Protocol):
    """Sends one run, with the seconds that are left to it, if they are limited."""

    def __call__(self, item: Mapping[str, object], seconds: float | None) -> PoolFuture[CellResult]:
        """Send it."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What came of the runs of a cell.

    Attributes:
        outcomes: A result or an exception for each run that was begun, in order.
        ended: What ended the whole before its time: an error of whoever gave the items, or of the pool.
        stopped: Whether the stop button did.
    """

    outcomes: list[Outcome]
    ended: BaseException | None = None
    stopped: bool = False


class Fan:
    """Sends the runs of one cell, as many at a time as the workers need, and collects what comes back.

    Args:
        pool: Whose workers run it.
        launch: Sends one run.
        items: The names that each run is given; asked for the next one when there is room for it.
        own: The names in `items`: a value there that cannot travel fails its own run and no other.
        bar: Is told how far it is.
        timeout: Seconds for all runs together.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        pool: Pool,
        launch: Launch,
        items: Iterator[Mapping[str, object]],
        *,
        own: tuple[str, ...],
        bar: Bar,
        timeout: float | None,
    ) -> None:
        self._pool, self._launch, self._items, self._own, self._bar = pool, launch, items, own, bar
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._over: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._flying: dict[int, PoolFuture[CellResult]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._failed = 0
        self._held: Mapping[str, object] | None = None  # an item that the pool had no room for
        self._more = True
        self._ended: BaseException | None = None
        self._stopped = threading.Event()

    def run(self) -> Runs:
        """Go through all items; returns when each that was begun is over.

        The stop button ends what runs: first politely, and when it is pressed again, with its worker.
        """
        # The button is looked at between steps: one that broke into a step could cost a run its outcome.
        with Uninterrupted() as guard:
            try:
                while (self._more or self._flying) and not guard.seen:
                    self._begin(guard)
                    guard.waiting = False
                    self._bar.update(len(self._outcomes), self._failed)
                    if self._flying:
                        self._wait(_TICK)
                    if self._stopped.is_set():
                        self._give_up()
            except KeyboardInterrupt:
                guard.seen = True
            is_stopped = guard.seen
            if is_stopped:
                self._interrupt(guard)
            over = "stopped" if is_stopped or self._ended is not None else "done"
            self._bar.close(len(self._outcomes), self._failed, over)
            outcomes = [self._outcomes[number] for number in sorted(self._outcomes)]
            guard.seen = False
            return Runs(outcomes, self._ended, stopped=is_stopped)

    def _interrupt(self, guard: Uninterrupted) -> None:
        guard.seen = guard.waiting = self._more = False
        for future in list(self._flying.values()):
            if not future.running():
                future.cancel()
        until = time.monotonic() + options.current().interrupt_grace
        while self._flying and time.monotonic() < until and not guard.seen:
            for future in list(self._flying.values()):
                self._pool.interrupt(future)
            self._wait(_TICK)
        self._give_up()

    def stop(self) -> None:
        """Have `run`, in another thread, end everything now."""
        self._stopped.set()
        self._over.put(None)

    def _begin(self, guard: Uninterrupted) -> None:
        window = _FOR_EACH * self._pool.max_workers
        while self._more and len(self._flying) < window and not self._stopped.is_set():
            seconds = None if self._until is None else self._until - time.monotonic()
            if seconds is not None and seconds <= 0:
                self._more = False
                self._ended = RequestTimeout(
                    seconds=self._timeout or 0.0, command="cell", pool=self._pool.name
                )
                return
            item, self._held = self._held, None
            # The items are the user's own code, and a launch may wait for room: both can be stopped.
            guard.waiting = not guard.seen
            try:
                item = next(self._items) if item is None else item
            except StopIteration:
                self._more = False
                return
            except Exception as error:  # noqa: BLE001 - it is the user's, and is raised when the rest is over
                self._more, self._ended = False, error.with_traceback(_of_the_user(error))
                return
            has_room = self._send(item, seconds)
            if not has_room or guard.seen:
                return

    def _send(self, item: Mapping[str, object], seconds: float | None) -> bool:
        """Send one run; whether there may be room for more."""
        number = len(self._outcomes) + len(self._flying)
        try:
            future = self._launch(item, seconds)
        except PoolSaturated as error:
            if self._flying:
                self._held = item  # it goes when one of these is over
            else:
                self._more, self._ended = False, error
            return False
        except CaptureError as error:
            if error.name not in self._own:
                self._more, self._ended = False, error
                return False
            self._take(number, error)
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised when the rest is over
            self._more, self._ended = False, error
            return False
        self._flying[number] = future
        future.add_done_callback(lambda _: self._over.put(number))
        return True

    def _wait(self, seconds: float) -> None:
        """Take what is over, and wait for it where nothing is yet."""
        try:
            number = self._over.get(timeout=seconds)
            while True:
                future = None if number is None else self._flying.pop(number, None)
                if future is not None and number is not None:
                    self._take(number, _outcome(future))
                number = self._over.get_nowait()
        except queue.Empty:
            return

    def _take(self, number: int, outcome: Outcome) -> None:
        self._outcomes[number] = outcome
        if isinstance(outcome, Exception):
            self._failed += 1
            if isinstance(outcome, _ENDS_ALL):
                self._more, self._ended = False, self._ended or outcome

    def _give_up(self) -> None:
        self._more = False
        for future in list(self._flying.values()):
            future.cancel()
        while self._flying:
            self._wait(_TICK)


class FanFuture(Future[Runs]):
    """The runs of a cell in the background: a thread takes the items and hands them out.

    Args:
        fan: What is to be run.
        name: What the thread is called.
    """

    def __init__(self, fan: Fan, name: str) -> None:
        super().__init__()
        self._fan = fan
        self._thread = threading.Thread(target=self._go, name=name, daemon=True)

    def begin(self) -> FanFuture:
        """Start the thread."""
        self._thread.start()
        return self

    def cancel(self) -> bool:
        """End all runs, those that wait and those that run."""
        cancelled = super().cancel()
        if cancelled:
            self._fan.stop()
        return cancelled

    def running(self) -> bool:
        """Whether it has not ended."""
        return not self.done()

    def _go(self) -> None:
        try:
            runs = self._fan.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits gets it
            if self.set_running_or_notify_cancel():
                self.set_exception(error)
            return
        if self.set_running_or_notify_cancel():
            self.set_result(runs)


def _of_the_user(error: Exception) -> TracebackType | None:
    """The frames below those of this package: the items' own."""
    trace = error.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(_OURS):
        trace = trace.tb_next
    return trace


def _outcome(future: PoolFuture[CellResult]) -> Outcome:
    """What a run that is over gave, or raised."""
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises, an exit of its own too
        return error
