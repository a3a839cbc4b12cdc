"""What the soak's workers run: each call first notes the number of its ticket, to be counted by.

*Rule:* a note is one write of four bytes to the end of one file; it is whole however its process ends.
"""

from __future__ import annotations

import builtins
import ctypes
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

DEATHS: Final = ("segfault", "abort", "exit", "killed")
"""How a call may end its worker, by the classification that this is to get."""


def note(path: str, ticket: int) -> None:
    """Say that the call of a ticket has begun."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, ticket.to_bytes(4, "little"))
    os.close(fd)


def square(path: str, ticket: int, number: int) -> int:
    """A plain call."""
    note(path, ticket)
    return number * number


def naps(path: str, ticket: int, seconds: float) -> float:
    """A call that takes a while."""
    note(path, ticket)
    time.sleep(seconds)
    return seconds


def fails(path: str, ticket: int, number: int) -> None:
    """A call that raises."""
    note(path, ticket)
    raise LookupError(number)


def twice(path: str, ticket: int, array: np.ndarray) -> np.ndarray:
    """An array there, another one back."""
    note(path, ticket)
    array *= 2  # it is ours until we give it back
    return array


def doubles(path: str, ticket: int, array: np.ndarray) -> None:
    """An array is changed where it lies."""
    note(path, ticket)
    array *= 2


def ones(path: str, ticket: int, count: int) -> np.ndarray:
    """An array back."""
    note(path, ticket)
    return np.ones(count)


def dies(path: str, ticket: int, how: str) -> None:
    """A call that ends its worker."""
    note(path, ticket)
    _end(how)


def _end(how: str) -> None:
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)


def swells(path: str, ticket: int) -> None:
    """A call that takes memory until it is ended for it."""
    note(path, ticket)
    kept: Any = builtins
    kept.kept_by_the_soak = []
    while True:
        kept.kept_by_the_soak.append(b"x" * 20_000_000)


def hangs(path: str, ticket: int) -> None:
    """A call without end."""
    note(path, ticket)
    while True:
        time.sleep(3600)


def flaky(path: str, ticket: int, going_well: float) -> int:
    """A call that goes well, raises or ends its worker, by chance."""
    note(path, ticket)
    chance = int.from_bytes(os.urandom(2), "little") / 65536
    if chance < going_well:
        return ticket
    if chance < (1 + going_well) / 2:
        raise OSError(ticket)
    _end(DEATHS[ticket % len(DEATHS)])
    return -1


def counts(path: str, ticket: int, most: int, then: str) -> Iterator[np.ndarray]:
    """A generator: so many small arrays, and what comes then."""
    note(path, ticket)
    for number in range(most):
        yield np.full(2000, number)
    if then == "fails":
        raise LookupError(most)
    if then:
        _end(then)


def remembers(path: str, ticket: int, count: int) -> np.ndarray:
    """What a session is to keep."""
    note(path, ticket)
    return np.full(count, ticket % 1000)


def total(path: str, ticket: int, kept: np.ndarray) -> int:
    """Something about what a session keeps."""
    note(path, ticket)
    return int(kept.sum())
