"""How long a cell took, told as `%%time` tells it, without the time that it takes to load IPython."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "μs"), (1e-9, "ns"))
_PARTS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MINUTE: Final = 60.0


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """Prints what was spent inside, on the processors and by the clock, however it ends."""
    began, before = time.perf_counter(), os.times()
    try:
        yield
    finally:
        wall, now = time.perf_counter() - began, os.times()
        user, system = now.user - before.user, now.system - before.system
        spent = f"user {duration(user)}, sys: {duration(system)}, total: {duration(user + system)}"
        print(f"CPU times: {spent}\nWall time: {duration(wall)}")  # noqa: T201 - what the cell asked for


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(0.00123), duration(0), duration(3_725)
        ('1.23 ms', '0 ns', '1h 2min 5s')
    """
    if seconds >= _MINUTE:
        left, said = int(seconds), []
        for each, unit in _PARTS:
            if left >= each:
                said.append(f"{left // each}{unit}")
                left %= each
        return " ".join(said)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "0 ns"
