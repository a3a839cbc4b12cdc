"""Figures as people read them, and a pool's life in a sentence: what picture, page and text say alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb.dashboard.protocol import Kind
from snakepit_nb.dashboard.signs import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.dashboard.snapshot import Snapshot

_THOUSAND: Final = 1000
_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


def amount(size: float) -> str:
    """An amount of memory.

    Example:
        >>> amount(0), amount(999), amount(1_234_567), amount(12e9)
        ('0 B', '999 B', '1.2 MB', '12 GB')
    """
    value = max(float(size), 0.0) if math.isfinite(size) else 0.0
    unit = _UNITS[0]
    for unit in _UNITS:  # noqa: B007 - the last one is what does not fit into any
        if value < _THOUSAND - 0.5:
            break
        value /= _THOUSAND
    else:
        value *= _THOUSAND
    return f"{_short(value)} {unit}"


def duration(seconds: float) -> str:
    """How long something took, in the unit that fits.

    Example:
        >>> [duration(each) for each in (0, 0.0000123, 0.0123, 12.3, 754, 7200, 200_000)]
        ['0 s', '12 µs', '12 ms', '12 s', '12 min 34 s', '2 h', '2 d 7 h']
    """
    if not math.isfinite(seconds) or seconds <= 0:
        return "0 s"
    if seconds < 0.0009995:  # noqa: PLR2004 - what is 1 ms when it is rounded
        return f"{_short(seconds * 1e6)} µs"
    if seconds < 0.9995:  # noqa: PLR2004 - what is 1 s when it is rounded
        return f"{_short(seconds * 1e3)} ms"
    if seconds < 59.95:  # noqa: PLR2004 - what is a minute when it is rounded
        return f"{_short(seconds)} s"
    whole = round(seconds)
    for unit, name, below, rest in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            more = whole % unit // below
            return f"{whole // unit} {name}" + (f" {more} {rest}" if more else "")
    return f"{whole} s"


def count(number: int, one: str, several: str = "") -> str:
    """A number and what it counts.

    Example:
        >>> count(1, "worker"), count(1234, "crash", "crashes")
        ('1 worker', '1,234 crashes')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def totals(shot: Snapshot) -> dict[str, int]:
    """Requests that ended, by outcome."""
    return {word: shot.figure("requests", word) for word, _ in OUTCOMES.values()}


def latencies(shot: Snapshot) -> tuple[float, float, float] | None:
    """p50, p95 and p99, in seconds, of the requests that are kept, queue and run together; None of none."""
    chosen = shot.rows["kind"] == Kind.REQUEST
    if not chosen.any():
        return None
    took = shot.rows["dur"][chosen] + shot.rows["extra"][chosen]
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    return float(p50), float(p95), float(p99)


def headline(shot: Snapshot) -> list[str]:
    """A pool's life in a few short parts, the most important first.

    Example:
        >>> from snakepit_nb.dashboard.snapshot import read
        >>> headline(read(({"summary": {"pool": "default", "requests": {"ok": 3, "error": 1}}}, [])))
        ['4 requests', '1 failed', 'nothing shared or copied']
    """
    return list(_parts(shot))


def _parts(shot: Snapshot) -> Iterator[str]:
    by_outcome = totals(shot)
    everything = sum(by_outcome.values())
    cancelled = by_outcome["cancelled"]
    failed = everything - by_outcome["ok"] - cancelled
    yield count(everything, "request")
    if failed:
        yield f"{failed:,} failed"
    if cancelled:
        yield f"{cancelled:,} cancelled"
    known = latencies(shot)
    if known is not None:
        yield f"half within {duration(known[0])}, 95 % within {duration(known[1])}"
    shared, copied = shot.figure("bytes_shared"), shot.figure("bytes_copied")
    if shared or copied:
        yield f"{amount(shared)} shared, {amount(copied)} copied"
    else:
        yield "nothing shared or copied"
    if crashes := shot.figure("crashes"):
        yield count(crashes, "crash", "crashes")
    if recycled := shot.figure("recycled"):
        yield f"{recycled:,} recycled"


def _short(value: float) -> str:
    """Two significant digits where there are fewer than two before the point."""
    return f"{value:.0f}" if value >= 9.95 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004
