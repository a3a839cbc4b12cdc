"""What the group of processes that this one is in may use: the limits of containers and of services.

Both versions of control groups (https://docs.kernel.org/admin-guide/cgroup-v2.html): a process is bounded by
its own group and by all above it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_UNLIMITED: Final = 1 << 60


def memory_limit() -> int | None:
    """How many bytes may be used; None where nothing limits them.

    Example:
        >>> memory_limit() is None or memory_limit() > 0
        True
    """
    found = []
    for folder in _folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # no such file; or it says "max"
                found.append(int((folder / name).read_text(encoding="ascii")))
    least = min(found, default=_UNLIMITED)
    return least if least < _UNLIMITED else None


def processors() -> float | None:
    """How many processors' time may be used; None where nothing limits it.

    Example:
        >>> processors() is None or processors() > 0
        True
    """
    found = []
    for folder in _folders("cpu"):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            found.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError):
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
            if int(quota) > 0:
                found.append(int(quota) / int(period))
    return min(found, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Where the limits of this process stand, its own group's and those above it."""
    bases = {"": _ROOT, controller: _ROOT / controller}
    yield from bases.values()
    try:
        lines = _OWN.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = next((bases[each] for each in controllers.split(",") if each in bases), None)
        # A path that leads out of the container is another's.
        if base is None or ".." in path:
            continue
        folder = base / path.strip("/")
        while folder != base:
            yield folder
            folder = folder.parent
