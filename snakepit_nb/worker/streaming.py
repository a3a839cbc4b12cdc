"""Sends what a generator yields, one value after the other, and never more than the other side will take.

*Rule:* the generator is closed when no more is wanted, as a `for` loop that is left would not do, and its
`finally` blocks run in this process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Outflow:
    """One stream on its way out.

    Args:
        credit: How many values may be sent unasked.
        send: Sends one value.
        listen: Takes in what the kernel said.
        wait: Waits until it says something, or `wake` is called.
        wake: Called where it said something and another thread listened.

    Example:
        >>> sent = []
        >>> Outflow(8, sent.append, bool, bool).run(iter("ab"))
        >>> sent
        ['a', 'b']
    """

    # Two counts that each have one writer, for who sends and who listens may be two threads.
    __slots__ = ("_enough", "_granted", "_listen", "_send", "_sent", "_wait", "wake")

    def __init__(
        self,
        credit: int,
        send: Callable[[object], None],
        listen: Callable[[], object],
        wait: Callable[[], object],
        wake: Callable[[], object] = bool,
    ) -> None:
        self._granted = credit
        self._sent = 0
        self._enough = False
        self._send = send
        self._listen = listen
        self._wait = wait
        self.wake = wake

    def more(self, credit: int) -> None:
        """So many more may be sent.

        Example:
            >>> Outflow(0, print, bool, bool).more(1)
        """
        self._granted += credit
        self.wake()

    def enough(self) -> None:
        """No more is wanted.

        Example:
            >>> Outflow(0, print, bool, bool).enough()
        """
        self._enough = True
        self.wake()

    def run(self, values: object) -> object:
        """Send all values; what the generator returns, or None where no more was wanted.

        Raises:
            TypeError: there are none, for this is nothing to go through.
        """
        if not isinstance(values, Iterable):
            text = f"stream: expected a function that yields or gives an iterable, it gave a {_kind(values)}"
            raise TypeError(text)
        iterator = iter(values)
        del values
        while True:
            try:
                value = next(iterator)
            except StopIteration as stop:
                return stop.value
            self._listen()
            while self._sent >= self._granted and not self._enough:
                self._wait()
                self._listen()
            if self._enough:
                break
            self._sent += 1
            self._send(value)
            del value
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        return None


def _kind(value: object) -> str:
    return type(value).__name__
