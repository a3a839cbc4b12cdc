"""Measures in rounds, and tells figures as tables: what all benchmarks share.

*Rule:* contestants take turns, round after round (A B C, A B C, ...), so that a noisy minute of the machine
falls on all of them.

*Rule:* a turn begins with calls that do not count (`settle`): the system takes some milliseconds to find the
processes of a turn their cores, and whose turn it is should not pay for whose turn it was.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT: Final = Path(__file__).parent.parent
_NINE_TENTHS: Final = 9 / 10
_SETTLING: Final = 0.1
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (0.0, "ns"))


class Figure(NamedTuple):
    """Seconds: the median over all rounds of each round's median, and of each round's 90th percentile."""

    median: float
    p90: float


def figure(seconds: Sequence[float]) -> Figure:
    """The figure of one round.

    Example:
        >>> figure([3.0, 1.0, 2.0])
        Figure(median=2.0, p90=3.0)
    """
    ordered = sorted(seconds)
    return Figure(statistics.median(ordered), ordered[int(len(ordered) * _NINE_TENTHS)])


def in_turns(rounds: int, measures: Mapping[str, Callable[[], Sequence[float]]]) -> dict[str, Figure]:
    """The figure of each measure over all rounds, each measured once in every round.

    Example:
        >>> in_turns(3, {"a": lambda: [1.0, 2.0, 3.0]})
        {'a': Figure(median=2.0, p90=3.0)}
    """
    runs: dict[str, list[Figure]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            gc.collect()  # what the one before left behind is not this one's to clear away
            runs[name].append(figure(measure()))
    return {
        name: Figure(*(statistics.median(column) for column in zip(*each, strict=True)))
        for name, each in runs.items()
    }


def settle(call: Callable[[], object]) -> None:
    """Call for a tenth of a second, and once at least."""
    until = time.perf_counter() + _SETTLING
    call()
    while time.perf_counter() < until:
        call()


def timed(call: Callable[[], object]) -> float:
    """The seconds that one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def environment() -> dict[str, str]:
    """The environment for a Python of its own that is to use this very checkout."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def fresh(code: str, *arguments: str) -> str:
    """What a Python of its own prints for this code."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment()).stdout


def machine() -> dict[str, str]:
    """What the figures depend on; `load` says how busy others keep it."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": str(cores),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    Example:
        >>> duration(0.0000315), duration(0.25), duration(-0.002)
        ('31.5 µs', '250 ms', '-2 ms')
    """
    size, unit = next(each for each in _UNITS if abs(seconds) >= each[0])
    return f"{seconds / (size or 1e-9):.3g} {unit}"


def table(title: str, figures: Mapping[str, Figure], *beside: str, rate: bool = False) -> str:
    """Figures as text: for each its ratio to the ones named in `beside`, where they took part.

    Args:
        title: What was measured.
        figures: The rows.
        beside: The rows to compare with.
        rate: Whether to tell calls a second in place of the 90th percentile.

    Example:
        >>> print(table("Calls", {"a": Figure(0.002, 0.003), "b": Figure(0.004, 0.004)}, "a"))
        Calls
                        median       p90     to a
          a               2 ms      3 ms     1.00
          b               4 ms      4 ms     2.00
    """
    beside = tuple(name for name in beside if name in figures)
    width = max(10, *map(len, figures))
    sizes = [max(9, len(name) + 5) for name in beside]
    heads = "".join(f"{'to ' + name:>{size}}" for name, size in zip(beside, sizes, strict=True))
    second = "a second" if rate else "p90"
    lines = [title, f"  {'':{width}}{'median':>10}{second:>10}{heads}"]
    for name, each in figures.items():
        second = f"{1 / each.median:,.0f}" if rate else duration(each.p90)
        ratios = "".join(
            f"{each.median / figures[other].median:>{size}.2f}"
            for other, size in zip(beside, sizes, strict=True)
        )
        lines.append(f"  {name:{width}}{duration(each.median):>10}{second:>10}{ratios}")
    return "\n".join(lines)
