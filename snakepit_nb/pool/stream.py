"""What a generator in a worker yields, as an iterator here: values as they come, and no more than are wanted.

*Rule:* a worker is never more than some values ahead of who takes them, so that memory stays bounded.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from snakepit_nb.pool.bell import Bell
from snakepit_nb.wire import codec, messages

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from snakepit_nb.pool.future import PoolFuture

T = TypeVar("T")


class Stream(Generic[T]):
    """Iterates over what a generator yields in a worker; `Pool.stream` makes it.

    `for` and `async for` take values as they come. Leaving the loop and closing the stream, or letting go of
    it, closes the generator in the worker.

    Attributes:
        future: Done when the generator is; its result is what that returned.

    Example:
        >>> from snakepit_nb import Pool
        >>> with Pool(1) as pool, pool.stream(iter, "abc") as stream:
        ...     list(stream)
        ['a', 'b', 'c']
    """

    def __init__(
        self,
        number: int,
        ahead: int,
        say: Callable[[int, bytes], None],
        check_may_wait: Callable[[], None],
    ) -> None:
        self.future: PoolFuture[Any]
        self.number = number
        self._ahead = ahead
        self._say = say
        self._check_may_wait = check_may_wait
        self._values: deque[T] = deque()
        self._taken = 0
        self._closed = False
        self._error: BaseException | None = None
        self._bell = Bell()
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], object]] = set()

    # For the pool

    def begins(self, future: PoolFuture[Any]) -> None:
        """The call is about to be submitted; the stream is not kept alive by it."""
        self.future = future
        future.add_done_callback(partial(_wake, weakref.ref(self)))

    def opening(self) -> bytes:
        """What the worker is told before the call."""
        return codec.encode(messages.Stream(self.number, self._ahead))

    @property
    def wants(self) -> bool:
        """Whether values are still taken."""
        return not self._closed

    def put(self, value: T) -> None:
        """A value came."""
        if not self._closed:
            self._values.append(value)
        self.wake()

    def fail(self, error: BaseException) -> None:
        """A value came that cannot be rebuilt here: the iteration ends with why, after those before it."""
        self._error = error
        self._stop()
        self.wake()

    def wake(self) -> None:
        """Have those who wait look again."""
        self._bell.ring()
        with self._lock:
            wakers = list(self._wakers)
        for waker in wakers:
            waker()

    # For its user

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        """The next value.

        Raises:
            StopIteration: the generator is through.
            PoolError: a done-callback or a handler of the pool asks, where nothing comes yet.
            Exception: what it raised.
        """
        while True:
            found = self._take()
            if found is not None:
                if self._values:
                    self._bell.ring()  # another thread may wait for those
                return found[0]
            try:
                over = self._is_over()
            except BaseException:
                self._bell.ring()  # others may wait, too
                raise
            if over:
                self._bell.ring()
                raise StopIteration
            self._check_may_wait()
            self._bell.wait()

    def _take(self) -> tuple[T] | None:
        try:
            value = self._values.popleft()
        except IndexError:
            return None
        self._taken += 1
        if self._taken * 2 >= self._ahead and not self._closed:
            # By halves: a message for each value would cost as much as the value.
            taken, self._taken = self._taken, 0
            self._say(self.number, codec.encode(messages.More(self.number, taken)))
        return (value,)

    def _is_over(self) -> bool:
        """Whether nothing more comes; raises the error that the stream ended with, once."""
        if self._closed and self._error is None:
            return True
        if self._error is None and not self.future.done():
            return False
        if self._values:
            return False  # they came before the end
        if self._error is None and not self._closed:
            self._closed = True
            self._error = None if self.future.cancelled() else self.future.exception()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        """The next value, without keeping the event loop from its other work."""
        import asyncio  # noqa: PLC0415 - only for those who await

        loop = asyncio.get_running_loop()
        came = asyncio.Event()

        def waker() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(came.set)

        with self._lock:
            self._wakers.add(waker)
        try:
            while True:
                came.clear()
                found = self._take()
                if found is not None:
                    return found[0]
                if self._is_over():
                    raise StopAsyncIteration
                await came.wait()
        finally:
            with self._lock:
                self._wakers.discard(waker)

    def close(self) -> None:
        """Take no more: the generator is closed in its worker, or never begun. Idempotent."""
        self._error = None
        self._stop()
        self._values.clear()
        self.wake()

    def _stop(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self.future.done():
            if self.future.running():
                self._say(self.number, codec.encode(messages.Enough(self.number)))
            else:
                self.future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: types.TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "future"):
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "done" if self.future.done() else "open"
        return f"<Stream of {self.future.command!r}: {state}, {len(self._values)} waiting>"


def _wake(stream: weakref.ref[Stream[Any]], _: object) -> None:
    found = stream()
    if found is not None:
        found.wake()
