"""Time to pixels, for the picture that stays: idle stretches are cut short, ticks stand at round times.

*Rule:* a cut is always marked and labelled; on either side of it the scale is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

_CUT: Final = 26.0
"""Pixels of an idle stretch that is cut short."""
_IDLE: Final = 0.12
"""The part of what is shown, from which on nothing happening is cut short."""
_CUTS: Final = 6
_STEPS: Final = (
    *(
        0.001,
        0.002,
        0.005,
        0.01,
        0.02,
        0.05,
        0.1,
        0.2,
        0.5,
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        300,
        600,
        900,
        1800,
    ),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2419200),
)


class Cut(NamedTuple):
    """An idle stretch that is cut short: its middle in pixels, and how many seconds it is."""

    x: float
    seconds: float


class Tick(NamedTuple):
    """A round time: where it is, and what it is called."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a time stands; between the knots it is linear."""

    times: tuple[float, ...]
    pixels: tuple[float, ...]
    cuts: tuple[Cut, ...] = ()

    def __call__(self, t: Column | float) -> Column:
        """Pixels of times, kept within the picture."""
        pixels: Column = np.asarray(np.interp(t, self.times, self.pixels))
        return pixels

    @property
    def seconds(self) -> float:
        """What is shown, idle stretches included."""
        return self.times[-1] - self.times[0]

    def ticks(self, origin: float, apart: float = 84.0) -> list[Tick]:
        """Round local times, at least `apart` pixels from each other, cuts left out."""
        found: list[Tick] = []
        last = -np.inf
        drawn = [
            (a, b, x, y)
            for a, b, x, y in zip(self.times, self.times[1:], self.pixels, self.pixels[1:], strict=False)
            if not any(x <= cut.x <= y for cut in self.cuts)
        ]
        rate = max(((y - x) / (b - a) for a, b, x, y in drawn if b > a), default=1.0)
        step = next((each for each in _STEPS if each * rate >= apart), _STEPS[-1])
        for a, b, _, _ in drawn:
            for t in _round_times(origin, a, b, step):
                x = float(self(t))
                if x - last >= apart:
                    found.append(Tick(x, _clock(origin + t, step)))
                    last = x
        return found


def scale(begins: Column, ends: Column, now: float, left: float, right: float) -> Scale:
    """The scale for what lasted from `begins` to `ends` (moments: both the same), up to `now`.

    Example:
        >>> import numpy as np
        >>> shown = scale(np.array([0.0, 99.0]), np.array([1.0, 100.0]), 100.0, 0, 100)
        >>> [round(float(shown(t))) for t in (0, 1, 99, 100)], round(shown.cuts[0].seconds)
        ([0, 36, 64, 100], 98)
    """
    first = float(begins.min()) if len(begins) else min(0.0, now)
    last = max(now, float(ends.max()) if len(ends) else now)
    last = max(last, first + 0.001)
    gaps = _gaps(begins, ends, last)
    times, pixels, cuts = [first], [left], []
    room = right - left - len(gaps) * _CUT
    busy = (last - first) - sum(end - start for start, end in gaps)
    rate = room / max(busy, 1e-9)
    for start, end in gaps:
        x = pixels[-1] + (start - times[-1]) * rate
        times += [start, end]
        pixels += [x, x + _CUT]
        cuts.append(Cut(x + _CUT / 2, end - start))
    times.append(last)
    pixels.append(right)
    return Scale(tuple(times), tuple(pixels), tuple(cuts))


def _gaps(begins: Column, ends: Column, last: float) -> list[tuple[float, float]]:
    """The longest idle stretches, in order: each would make the rest of what is shown small."""
    if not len(begins):
        return []
    order = np.argsort(begins, kind="stable")
    starts = begins[order]
    until = np.maximum.accumulate(ends[order])
    edges = np.append(starts[1:], last)
    lengths = edges - until
    shown = last - float(starts[0])
    chosen: list[int] = []
    for place in np.argsort(-lengths, kind="stable")[:_CUTS]:
        if lengths[place] < max(_IDLE * shown, 1.0):
            break
        chosen.append(int(place))
        shown -= float(lengths[place])
    # A little of it stays on either side, so that what came last before it is not at its edge.
    margin = max(shown, 0.05) * 0.01
    return [
        (float(until[place]) + margin, float(edges[place]) - margin)
        for place in sorted(chosen)
        if lengths[place] > 4 * margin
    ]


def _round_times(origin: float, start: float, end: float, step: float) -> list[float]:
    """The times between two, since the origin, that are whole steps of the local day."""
    first = _local(origin + start)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    base = midnight.timestamp() - origin
    number = np.ceil((start - base) / step)
    count = int(min(max((end - base) / step - number + 1, 0), 200))
    return [float(base + (number + place) * step) for place in range(count)]


def _clock(moment: float, step: float) -> str:
    local = _local(moment)
    if step >= _STEPS[-4]:
        return f"{local:%d %b}"
    if step >= 60:  # noqa: PLR2004 - a minute
        return f"{local:%H:%M}"
    if step >= 1:
        return f"{local:%H:%M:%S}"
    digits = 1 if step >= 0.1 else 2 if step >= 0.01 else 3  # noqa: PLR2004 - tenths, hundredths, thousandths
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"[: 9 + digits]


def _local(moment: float) -> datetime:
    """Local time; a moment that no calendar has becomes the first of them."""
    try:
        # Half a millisecond, so that what a float lost does not show as one less.
        return datetime.fromtimestamp(moment + 0.0005, UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC).astimezone()


def clock(moment: float) -> str:
    """Local time of day of a Unix time, to the millisecond.

    Example:
        >>> clock(0.25)[-6:]
        '00.250'
    """
    local = _local(moment)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def when(moment: float) -> str:
    """Local date and time of a Unix time, with its zone.

    Example:
        >>> when(0)[:2] in ("19", "20")
        True
    """
    local = _local(moment)
    return f"{local:%Y-%m-%d %H:%M:%S} {local:%Z}".rstrip()
