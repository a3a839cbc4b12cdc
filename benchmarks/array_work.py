"""What workers are asked to do with arrays: functions that every process can import by name."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

ITEM: Final = 8


def ends(x: Floats) -> float:
    """Of an array, its first and its last value."""
    return float(x[0] + x[-1])


def total(x: Floats) -> float:
    """The sum of an array: every page of it is read."""
    return float(x.sum())


def untouched(nbytes: int) -> Floats:
    """A new array that nobody has written to."""
    return np.empty(nbytes // ITEM)


def written(nbytes: int) -> tuple[Floats, float]:
    """A new array, and the seconds that making and writing it took."""
    began = time.perf_counter()
    y = np.ones(nbytes // ITEM)
    return y, time.perf_counter() - began


def exchanged(x: Floats) -> Floats:
    """Another array for this one, as long and untouched."""
    return np.empty(len(x) + 0 * int(x[-1]))


def doubled(x: Floats) -> Floats:
    """Twice the array."""
    return x * 2


def held(x: Floats, path: str) -> float:
    """Read all of an array, say so at the socket `path`, and keep the array until that hangs up."""
    found = total(x)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(path)
        door.sendall(os.getpid().to_bytes(8, "big"))
        door.recv(1)
    return found
