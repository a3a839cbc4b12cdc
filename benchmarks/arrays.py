"""What it costs to pass arrays to a worker and back: us, our peers and plain copies in one run.

    python benchmarks/arrays.py --quick --json arrays.json

*Rule:* nothing here passes or fails. The aims are told beside what was measured, and the exit status is 0
whatever they say.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import array_measures as measures
import array_numpy
import host
import psutil
from array_contestants import CONTESTANTS, EXECUTOR, HERE, JOBLIB, RAY, US
from array_host import Host, hosted
from array_verdicts import GIB, MIB, NO_WARM, Tables, Told, aims, by_size, label, with_and_without
from contestants import PING_PONG
from rounds import in_turns, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WORKERS: Final = 2
PINGS: Final = 200
CROWD: Final = 8
PICKLED: Final = 3  # by worker: what it reads from the pipe, its array, and a part of the kernel's queue
# A peer has an array pickled, in a pipe's buffers and unpickled at the same time, and so its answer.
ROOM: Final = 8
PASSED: Final = (
    measures.IN,
    measures.IN_NEW,
    measures.READ,
    measures.OUT,
    measures.OUT_WRITTEN,
    measures.EXCHANGED,
    measures.DOUBLED,
)
HERE_TOO: Final = (measures.READ, measures.DOUBLED)
COPIES: Final = (measures.COPY, measures.COPY_TO_FRESH, measures.COPY_TO_FRESH_SHARED)
TITLES: Final = {
    measures.IN: "In: a worker gets the same array again, and looks at its ends",
    measures.IN_NEW: "In, new: the same, with an array that has not been passed before",
    measures.READ: "In, read whole: the same array again, and its sum",
    measures.OUT: "Out: a worker makes an array that nobody has written to",
    measures.OUT_WRITTEN: "Out, written: a worker's np.ones, less the time that making it took",
    measures.EXCHANGED: "In and out at once: an array goes, another one comes; beside a bare pair of sockets",
    measures.DOUBLED: "In and out: y = x * 2",
}


class Effort(NamedTuple):
    """How much is measured: `patience` is in seconds by call, sizes are in bytes."""

    rounds: int
    calls: int
    patience: float
    sizes: tuple[int, ...]
    numpy_sizes: tuple[int, ...]
    crowd: int


QUICK: Final = Effort(
    rounds=3,
    calls=20,
    patience=0.15,
    sizes=(1 << 10, MIB, 64 * MIB),
    numpy_sizes=(MIB, 8 * MIB, 64 * MIB),
    crowd=256 * MIB,
)
FULL: Final = Effort(
    rounds=3,
    calls=100,
    patience=1.0,
    sizes=(1 << 10, MIB, 64 * MIB, GIB),
    numpy_sizes=(MIB, 8 * MIB, 64 * MIB, 512 * MIB, GIB),
    crowd=GIB,
)


def left_out(what: str, why: str) -> None:
    """Say that something is not measured."""
    print(f"left out: {what} ({why})", file=sys.stderr)


def fits(nbytes: int, copies: int, what: str) -> bool:
    """Whether the memory that is free now holds so many arrays of this size; says so where it does not."""
    free = psutil.virtual_memory().available
    if free >= copies * nbytes:
        return True
    left_out(what, f"it takes {label(copies * nbytes)} of memory, {label(free)} are free")
    return False


def entered(stack: ExitStack, names: Sequence[str]) -> list[Host]:
    """Those of these contestants that are installed; this package first."""
    hosts = []
    for name in names:
        try:
            hosts.append(stack.enter_context(hosted(name, WORKERS)))
        except ImportError as error:
            left_out(name, f"pip install {error.name}")
    return hosts


def passing(effort: Effort, hosts: Sequence[Host]) -> Iterator[tuple[str, Told]]:
    """Tables of arrays that go to a worker and come back."""
    sizes = [each for each in effort.sizes if fits(each, ROOM, f"arrays of {label(each)}")]
    with ExitStack() as stack:
        players = [stack.enter_context(host.hosted(name)) for name in PING_PONG]
        for measure in PASSED:
            told: Told = {}
            part = [each for each in hosts if each.name != HERE or measure in HERE_TOO]
            for nbytes in sizes:
                turns: dict[str, Callable[[], list[float]]] = {
                    each.name: partial(each.ask, measure, nbytes, effort.calls, effort.patience)
                    for each in part
                }
                if measure == measures.EXCHANGED:
                    turns |= {each.name: partial(each.trips, PINGS) for each in players}
                for name, found in in_turns(effort.rounds, turns).items():
                    told.setdefault(name, {})[nbytes] = found
            yield measure, told


def copies(effort: Effort, hosts: Sequence[Host], without_warm: Host) -> Told:
    """The first share of an array that another allocator made, beside plain copies."""
    told: Told = {}
    by_name = {each.name: each for each in hosts}
    for nbytes in effort.sizes:
        if not fits(nbytes, ROOM, f"a foreign array of {label(nbytes)}"):
            continue

        asked = {
            US: (by_name[US], measures.IN_FOREIGN),
            NO_WARM: (without_warm, measures.IN_FOREIGN),
            **{copy: (by_name[HERE], copy) for copy in COPIES},
        }
        turns = {
            name: partial(each.ask, measure, nbytes, effort.calls, effort.patience)
            for name, (each, measure) in asked.items()
        }
        for name, found in in_turns(effort.rounds, turns).items():
            told.setdefault(name, {})[nbytes] = found
    return told


def numpy_work(effort: Effort) -> dict[str, Told]:
    """NumPy's own work in a kernel with its arrays born in shared memory, and without."""
    told: dict[str, Told] = {}
    for nbytes in effort.numpy_sizes:
        if not fits(nbytes, ROOM, f"NumPy's work on {label(nbytes)}"):
            continue
        for measure in array_numpy.MEASURES:
            turns = {
                mode: partial(array_numpy.seconds, mode, measure, nbytes, effort.calls, effort.patience)
                for mode in (array_numpy.OFF, array_numpy.ON)
            }
            for mode, each in in_turns(effort.rounds, turns).items():
                told.setdefault(measure, {}).setdefault(mode, {})[nbytes] = each
    return told


def crowds(effort: Effort, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Bytes of all processes together: before, and while eight workers at once hold one array.

    Nothing is kept warm or prepared: a copy that went into such memory would not show.
    """
    told = {}
    for name in (US, EXECUTOR, JOBLIB, RAY):
        if name not in names:
            continue
        room = PICKLED * CROWD if name == EXECUTOR else ROOM
        if not fits(effort.crowd, room, f"eight workers of {name}"):
            continue
        try:
            with hosted(name, CROWD, SNAKEPIT_NB_ARENA_WARM_BYTES="0") as each:
                before, during = each.ask("memory", effort.crowd, CROWD)
                told[name] = before, during
        except ImportError as error:
            left_out(name, f"pip install {error.name}")
    return told


def measured(effort: Effort, names: Sequence[str]) -> Tables:
    """Measure everything, and print each table as soon as it is there."""
    tables = Tables({}, {}, {}, {})

    def tell(text: str) -> None:
        print(text, end="\n\n", flush=True)

    with ExitStack() as stack:
        hosts = entered(stack, names)
        for measure, told in passing(effort, hosts):
            tables.passing[measure] = told
            tell(by_size(TITLES[measure], told))
        without_warm = stack.enter_context(hosted(US, WORKERS, SNAKEPIT_NB_ARENA_WARM_BYTES="0"))
        tables.copies.update(copies(effort, hosts, without_warm))
        tell(by_size("In, foreign: an array over a bytearray, which has to be copied", tables.copies))
    tables.numpy.update(numpy_work(effort))
    tell(with_and_without("NumPy here, arrays born in shared memory (and to malloc's)", tables.numpy))
    tables.crowds.update(crowds(effort, names))
    print(f"Memory of all processes while {CROWD} workers read one array of {label(effort.crowd)}")
    for name, (before, during) in tables.crowds.items():
        print(f"  {name:24}{label(during):>10}, {label(during - before)} more than before")
    print()
    return tables


def main(arguments: list[str]) -> int:
    """Run from a command line; the exit status."""
    parser = argparse.ArgumentParser(description="Measure what it costs to pass arrays to another process.")
    parser.add_argument("--quick", action="store_true", help="up to 64 MiB, fewer rounds and calls")
    parser.add_argument("--ours", action="store_true", help="without the peers, who take most of the time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    chosen = parser.parse_args(arguments)
    effort = QUICK if chosen.quick else FULL
    facts = {**machine(), "memory free": label(psutil.virtual_memory().available)}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), f"{effort.rounds} rounds\n", sep="; ")
    tables = measured(effort, (US, HERE) if chosen.ours else tuple(CONTESTANTS))
    found = list(aims(tables))
    for each in found:
        print(f"{'yes' if each.met else 'NO ':4}{each.aim}: {each.found}")
    if chosen.json is not None:
        result = {
            "machine": facts,
            "effort": effort._asdict(),
            **tables.as_json(),
            "aims": [each._asdict() for each in found],
        }
        chosen.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
