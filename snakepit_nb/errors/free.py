"""How much memory the machine had left when memory ran out."""

from __future__ import annotations

from typing import Final

from snakepit_nb.errors.hostile import guarded

# torch has no type of its own for it on the CPU.
_TORCH: Final = "[enforce fail at alloc_cpu.cpp:"


def free_bytes(kinds: tuple[type, ...], message: str) -> int | None:
    """What is free on the machine, where an error is one for want of memory; None for others.

    In a container it is the machine's, whatever the container may have of it.

    Example:
        >>> free_bytes((ValueError,), "no") is None
        True
    """
    if MemoryError not in kinds and not (RuntimeError in kinds and message.startswith(_TORCH)):
        return None
    return guarded(_available, None)


def _available() -> int | None:
    with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - pathlib would be imported for this
        for line in lines:
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return None
