"""Tables of arrays by their size, and what they say about the aims.

*Rule:* an aim for more than one size is met only where it is met for each, and the worst is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import array_measures as measures
import array_numpy
from array_contestants import US
from contestants import PING_PONG
from dispatch import Aim
from rounds import Figure, duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# By contestant, by bytes.
Told = dict[str, dict[int, Figure]]

MIB: Final = 1 << 20
GIB: Final = 1 << 30
NO_WARM: Final = f"{US}, nothing warm"
GROWTH: Final = 2.0
TRIPS: Final = 5.0
WARM: Final = 1.3
COLD: Final = 1.2
# What two runs of the same differ by.
NOISE: Final = 1.05
ZEROS: Final = 1.2
TOUCH: Final = 2.0
SHARED: Final = 0.1 * GIB
_STEADY: Final = ("temporaries", "concatenate", "numerical script")
# With malloc zeros that nobody writes to are pages that were not made yet; here they are written at once,
# into memory that is ready, and so are there when they are needed.
_ZEROS: Final = ("np.zeros, written",)
_UNITS: Final = ((GIB, "GiB"), (MIB, "MiB"), (1 << 10, "KiB"), (1, "B"))


@dataclass(frozen=True, slots=True)
class Tables:
    """All that a run found.

    Attributes:
        passing: By measure.
        copies: Of foreign arrays.
        numpy: By measure, with modes in place of contestants.
        crowds: Bytes before and during.
    """

    passing: dict[str, Told]
    copies: Told
    numpy: dict[str, Told]
    crowds: dict[str, tuple[float, float]]

    def as_json(self) -> dict[str, object]:
        """The same as plain data."""

        def plain(told: Told) -> dict[str, dict[int, dict[str, float]]]:
            return {
                name: {nbytes: each._asdict() for nbytes, each in row.items()} for name, row in told.items()
            }

        return {
            "seconds": {
                "passing": {measure: plain(told) for measure, told in self.passing.items()},
                "foreign": plain(self.copies),
                "numpy": {measure: plain(told) for measure, told in self.numpy.items()},
            },
            "bytes": {
                name: {"before": before, "during": during} for name, (before, during) in self.crowds.items()
            },
        }


def label(nbytes: float) -> str:
    """Bytes as a person reads them.

    Example:
        >>> label(1 << 10), label(64 << 20), label(-3 << 29)
        ('1 KiB', '64 MiB', '-1.5 GiB')
    """
    size, unit = next((each for each in _UNITS if abs(nbytes) >= each[0]), _UNITS[-1])
    return f"{nbytes / size:.3g} {unit}"


def by_size(title: str, told: Told) -> str:
    """Medians as text: a row for each contestant, a column for each size.

    Example:
        >>> print(by_size("In", {"a": {1024: Figure(0.002, 0.003), MIB: Figure(0.004, 0.004)}}))
        In
                           1 KiB       1 MiB
          a                 2 ms        4 ms
    """
    sizes = sorted({nbytes for row in told.values() for nbytes in row})
    width = max(10, *map(len, told)) if told else 10
    lines = [title, f"  {'':{width}}" + "".join(f"{label(nbytes):>12}" for nbytes in sizes)]
    for name, row in told.items():
        cells = (duration(row[nbytes].median) if nbytes in row else "" for nbytes in sizes)
        lines.append(f"  {name:{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def with_and_without(title: str, told: Mapping[str, Told]) -> str:
    """Medians with arrays born in shared memory, and their ratios to the ones without.

    Example:
        >>> found = {"off": {MIB: Figure(0.002, 0.003)}, "on": {MIB: Figure(0.001, 0.001)}}
        >>> print(with_and_without("NumPy", {"sum": found}))
        NumPy
                                   1 MiB
          sum                1 ms (0.50)
    """
    sizes = sorted({nbytes for modes in told.values() for row in modes.values() for nbytes in row})
    width = max(10, *map(len, told)) if told else 10
    lines = [title, f"  {'':{width}}" + "".join(f"{label(nbytes):>20}" for nbytes in sizes)]
    for measure, modes in told.items():
        cells = (
            f"{duration(each.median)} ({each.median / modes[array_numpy.OFF][nbytes].median:.2f})"
            for nbytes, each in modes[array_numpy.ON].items()
        )
        lines.append(f"  {measure:{width}}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def aims(tables: Tables) -> Iterator[Aim]:
    """What this package aims at, beside what this run found; nothing where it was not measured."""
    yield from _growth(tables)
    yield from _trips(tables)
    yield from _first_share(tables)
    yield from _numpy(tables)
    if US in tables.crowds:
        before, during = tables.crowds[US]
        more = during - before
        yield Aim(f"workers share one array within {label(SHARED)}", f"{label(more)} more", more <= SHARED)


def _growth(tables: Tables) -> Iterator[Aim]:
    for measure in (measures.IN, measures.OUT, measures.OUT_WRITTEN):
        row = _ours(tables, measure)
        large = [nbytes for nbytes in row if nbytes > MIB]
        if MIB not in row or not large:
            continue
        largest, small = row[max(large)].median, row[MIB].median
        yield Aim(
            f"{measure!r} costs at {label(max(large))} within {GROWTH:g} times of {label(MIB)}",
            f"{largest / small:.2f} times {duration(small)}",
            largest <= GROWTH * small,
        )


def _trips(tables: Tables) -> Iterator[Aim]:
    row = _ours(tables, measures.EXCHANGED)
    if not row:
        return
    nbytes = max(row)
    # Of both kinds of socket and all rounds: on one core or on two, a ping-pong differs threefold.
    bare = median(
        each.median for name in PING_PONG for each in tables.passing[measures.EXCHANGED][name].values()
    )
    both = row[nbytes].median
    apart = sum(_ours(tables, measure)[nbytes].median for measure in (measures.IN, measures.OUT))
    yield Aim(
        f"an array of {label(nbytes)} in and another out under {TRIPS:g} bare round trips",
        f"{both / bare:.1f} times {duration(bare)} in one call, {apart / bare:.1f} in two",
        both < TRIPS * bare,
    )


def _first_share(tables: Tables) -> Iterator[Aim]:
    for name, copy, most in (
        (US, measures.COPY, WARM),
        (NO_WARM, measures.COPY_TO_FRESH_SHARED, COLD),
    ):
        row, beside = tables.copies.get(name, {}), tables.copies.get(copy, {})
        if not row:
            continue
        nbytes = max(row)
        ratio = row[nbytes].median / beside[nbytes].median
        yield Aim(
            f"first share of {label(nbytes)} ({name}) within {most:g} times of {copy}",
            f"{ratio:.2f} times {duration(beside[nbytes].median)}",
            ratio <= most,
        )


def _numpy(tables: Tables) -> Iterator[Aim]:
    for names, aim, most in (
        (_STEADY, f"NumPy no slower than with malloc (within {NOISE:g})", NOISE),
        (_ZEROS, f"np.zeros, written, within {ZEROS:g} times of malloc's", ZEROS),
        (
            (array_numpy.PREPARED,),
            f"first touch within {TOUCH:g} times of malloc's once memory is ready",
            TOUCH,
        ),
    ):
        ratios = {
            (each.median / modes[array_numpy.OFF][nbytes].median): (measure, nbytes)
            for measure, modes in tables.numpy.items()
            if measure in names
            for nbytes, each in modes[array_numpy.ON].items()
        }
        if ratios:
            worst = max(ratios)
            measure, nbytes = ratios[worst]
            yield Aim(aim, f"{worst:.2f} times at worst: {measure}, {label(nbytes)}", worst <= most)


def _ours(tables: Tables, measure: str) -> dict[int, Figure]:
    return tables.passing.get(measure, {}).get(US, {})
