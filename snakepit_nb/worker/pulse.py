"""Signs of life where the library in C cannot be had: a thread that sends back what comes by a socket.

It needs Python's lock, so a worker whose code never lets go of that looks dead to whoever asks.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_ROOM: Final = 64


def answer(heart: socket.socket, gone: Callable[[], object]) -> None:
    """Send back what comes by `heart` from now on, and call `gone` when its other end is.

    Example:
        >>> import socket
        >>> mine, theirs = socket.socketpair()
        >>> answer(theirs, lambda: None)
        >>> _ = mine.send(b".")
        >>> mine.recv(8)
        b'.'
        >>> mine.close(); theirs.close()
    """
    own = heart.dup()
    threading.Thread(target=_answer, args=(own, gone), name="snakepit_nb pulse", daemon=True).start()


def _answer(heart: socket.socket, gone: Callable[[], object]) -> None:
    with heart:
        try:
            while told := heart.recv(_ROOM):
                heart.send(told)
        except OSError:
            pass
    gone()
