"""What it costs to have another process do nothing: us, our peers and bare system calls in one run.

    python benchmarks/dispatch.py --quick --json dispatch.json

*Rule:* nothing here passes or fails. The aims are told beside what was measured, and the exit status is 0
whatever they say.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cell
import numpy as np
from contestants import BATCHED, CONTESTANTS, FLOOR, FORK, PING_PONG, US, WORKERS, forks
from host import Host, hosted
from rounds import Figure, duration, figure, fresh, in_turns, machine, table, timed

from snakepit_nb import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Measures = dict[str, Callable[[], Sequence[float]]]

SECOND_START: Final = f"{US}, second start"
IMPORT: Final = "import snakepit_nb"
EMPTY: Final = ("an empty cell", "an empty %%snakepit cell")
TIMES: Final = 2.5
START: Final = 20e-3
CELL: Final = 5e-3
FACE: Final = 30e-3
UNWANTED: Final = ("IPython", "ipywidgets", "pyarrow")


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    calls: int
    burst: int
    cells: int
    forks: int


QUICK: Final = Effort(rounds=3, calls=200, burst=5_000, cells=60, forks=20)
FULL: Final = Effort(rounds=7, calls=500, burst=10_000, cells=200, forks=50)


class Aim(NamedTuple):
    """What this package aims at, what this run says about it, and whether it is so here."""

    aim: str
    found: str
    met: bool


def entered(stack: ExitStack) -> list[Host]:
    """All contestants that are installed; this package first."""
    hosts = []
    for name in CONTESTANTS:
        try:
            hosts.append(stack.enter_context(hosted(name)))
        except ImportError as error:
            print(f"left out: {name} (pip install {error.name})", file=sys.stderr)
    return hosts


def round_trips(contestants: Sequence[Host], effort: Effort) -> dict[str, Figure]:
    """One call after the other, each to its answer."""

    def of(each: Host) -> Callable[[], list[float]]:
        return lambda: each.trips(max(10, int(effort.calls * each.share)))

    measures: Measures = {each.name: of(each) for each in contestants}
    measures[FORK] = lambda: forks(effort.forks)
    return in_turns(effort.rounds, measures)


def bursts(contestants: Sequence[Host], effort: Effort) -> dict[str, Figure]:
    """Many calls at once, each a task of its own: the time of a batch by its number of tasks."""

    def of(each: Host) -> Callable[[], list[float]]:
        return lambda: each.burst(int(effort.burst * each.share))

    return in_turns(effort.rounds, {each.name: of(each) for each in contestants if each.bursts})


_COLD: Final = """
import time, numpy
from snakepit_nb import Pool
began = time.perf_counter()
with Pool(2) as pool:
    for each in [pool.submit(numpy.zeros, 1) for _ in range(2)]:
        each.result()
    print(time.perf_counter() - began)
"""


def starts(effort: Effort) -> dict[str, Figure]:
    """From no worker to the answers of two that have numpy."""

    def first_answers(
        make: Callable[[], concurrent.futures.Executor], times: int = 1
    ) -> Callable[[], list[float]]:
        def once() -> float:
            pool: list[concurrent.futures.Executor] = []

            def start() -> None:
                pool.append(make())
                for each in [pool[0].submit(np.zeros, 1) for _ in range(WORKERS)]:
                    each.result()

            seconds = timed(start)
            pool[0].shutdown()
            return seconds

        return lambda: [once() for _ in range(times)]

    def peer(method: str) -> Callable[[], list[float]]:
        context = multiprocessing.get_context(method)
        return first_answers(lambda: concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context))

    second = first_answers(lambda: Pool(WORKERS, name="starts").start(), times=5)
    second()
    return in_turns(
        effort.rounds,
        {
            SECOND_START: second,
            f"{US}, first start": lambda: [float(fresh(_COLD))],
            "ProcessPoolExecutor, fork": peer("fork"),
            "ProcessPoolExecutor, forkserver": peer("forkserver"),
            "ProcessPoolExecutor, spawn": peer("spawn"),
            'python -c "import numpy"': lambda: [timed(lambda: fresh("import numpy"))],
            f"{FORK}, with numpy": lambda: forks(effort.forks, "import numpy"),
        },
    )


_IMPORT: Final = "import time, numpy; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def imports(effort: Effort) -> dict[str, Figure]:
    """What an import adds in a process that has numpy."""

    def of(statement: str) -> Callable[[], list[float]]:
        return lambda: [float(fresh(_IMPORT.format(statement)))]

    statements = (IMPORT, "from snakepit_nb import Pool", "import concurrent.futures.process")
    return in_turns(effort.rounds, {statement: of(statement) for statement in statements})


def cells(effort: Effort) -> dict[str, Figure]:
    """A cell in a notebook's kernel, from request to idle: an ordinary one, and one in a worker."""
    ordinary, ours = cell.measure(effort.cells)
    return {
        name: figure([each / 1000 for each in ms]) for name, ms in zip(EMPTY, (ordinary, ours), strict=True)
    }


def loaded_by_a_worker() -> list[str]:
    """Which of the libraries that a worker should not have before a cell needs them it has."""
    with Pool(1, name="loaded") as pool:
        return list(pool.submit(eval, f"[n for n in {UNWANTED} if n in __import__('sys').modules]").result())


def aims(told: Mapping[str, Mapping[str, Figure]], loaded: Sequence[str]) -> Iterator[Aim]:
    """The aims, beside what this run found."""
    trips, tasks = told["round trip"], told["throughput"]
    us, bare = trips[US].median, min(trips[name].median for name in PING_PONG)
    yield Aim(
        f"a round trip within {TIMES} times a bare ping-pong",
        f"{us / bare:.2f} times {duration(bare)}",
        us <= TIMES * bare,
    )
    references = {*PING_PONG, FLOOR, FORK, US}
    best = min((name for name in trips if name not in references), key=lambda name: trips[name].median)
    yield Aim(
        "a round trip below every peer",
        f"{duration(us)}, {best} {duration(trips[best].median)}",
        us < trips[best].median,
    )
    ours_, theirs = 1 / tasks[US].median, 1 / tasks[BATCHED].median
    yield Aim(f"more tasks a second than {BATCHED}", f"{ours_:,.0f}, {theirs:,.0f}", ours_ > theirs)
    start = told["start"][SECOND_START].median
    yield Aim(
        f"a second start of two workers with numpy under {duration(START)}", duration(start), start < START
    )
    more = told["cell"][EMPTY[1]].median - told["cell"][EMPTY[0]].median
    yield Aim(
        f"an empty %%snakepit cell under {duration(CELL)} more than an empty cell",
        duration(more),
        more < CELL,
    )
    face = told["import"][IMPORT].median
    yield Aim(f"import snakepit_nb under {duration(FACE)} beyond numpy", duration(face), face < FACE)
    yield Aim(f"a worker loads none of {', '.join(UNWANTED)}", ", ".join(loaded) or "none", not loaded)


def measured(effort: Effort) -> tuple[dict[str, dict[str, Figure]], list[Aim]]:
    """Measure everything, and print each table as soon as it is there."""
    told: dict[str, dict[str, Figure]] = {}

    def tell(title: str, key: str, *beside: str, rate: bool = False) -> None:
        print(table(title, told[key], *beside, rate=rate), end="\n\n", flush=True)

    with ExitStack() as stack:
        contestants = entered(stack)
        told["round trip"] = round_trips(contestants, effort)
        tell("One call after the other", "round trip", US, PING_PONG[1])
        told["throughput"] = bursts(contestants, effort)
        tell("Many separate calls at once, by call", "throughput", US, rate=True)
    told["start"] = starts(effort)
    tell("From no worker to the answers of two", "start", SECOND_START)
    told["cell"] = cells(effort)
    tell("A cell in a notebook's kernel", "cell", EMPTY[0])
    told["import"] = imports(effort)
    tell("An import, beyond numpy", "import")
    return told, list(aims(told, loaded_by_a_worker()))


def main(arguments: list[str]) -> int:
    """Run from a command line; the exit status."""
    parser = argparse.ArgumentParser(description="Measure what a call to another process costs.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and calls: a minute, not several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    chosen = parser.parse_args(arguments)
    effort = QUICK if chosen.quick else FULL
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), f"{effort.rounds} rounds\n", sep="; ")
    told, found = measured(effort)
    for each in found:
        print(f"{'yes' if each.met else 'NO ':4}{each.aim}: {each.found}")
    if chosen.json is not None:
        figures = {key: {name: each._asdict() for name, each in rows.items()} for key, rows in told.items()}
        result = {"machine": facts, "effort": effort._asdict(), "seconds": figures}
        chosen.json.write_text(json.dumps({**result, "aims": [each._asdict() for each in found]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
