"""Runs a real pool for minutes under a random workload with random faults, and sees whether all adds up.

    python tools/soak.py --minutes 10 --seed 1 --workers 2

Several threads call plain functions, pass arrays, keep things in sessions, take values from streams, have
requests tried again, let them run out of time and cancel them, while workers crash in every way, are killed,
stopped, recycled, become more and fewer. In rounds: after each one all is quiet, and then

- what the callers' futures say, what the events say, and what a file says that the calls append to, is
  compared request by request;
- nothing may have grown: descriptors, threads, memory, arrays in use, loans, processes, named shared memory.

It prints a table, and ends with 1 and a list where something disagrees.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from soak_books import PATIENCE, Books
from soak_callers import Caller, Saboteur, quick_pools

from snakepit_nb import Pool, options, registry, telemetry
from snakepit_nb.pool import loans, process

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUND: Final = 10.0  # seconds of work before a reckoning
WARM_UP: Final = 3  # rounds before what is held counts as what it takes
SOON: Final = 5.0  # seconds until what has ended has let go of everything
QUIET: Final = 30.0  # seconds that it may take until nothing runs any more
MB: Final = 1_000_000
GROWTH_MB: Final = 24.0
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - it is looked at
OPTIONS: Final = {
    "deaths": 1_000_000,  # it is to go on
    "taint": 0.02,
    "retry_base": 0.02,
    "health_interval": 1.0,
    "health_timeout": 1.0,
    "arena_warm_bytes": 64 << 20,
    "stream_ahead": 4,
}


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds when all is quiet; memory in MB, without what other processes share with it."""

    descriptors: int
    targets: Counter[str]
    threads: int
    memory: float
    live: float
    leases: int
    processes: int
    segments: int

    @classmethod
    def now(cls, pool: Pool | None) -> Held:
        """What it holds now; `pool` is the one that lives on."""
        gc.collect()
        here = psutil.Process()
        memory = here.memory_full_info()
        stats = loans.kernel_store().stats()
        ours = {worker.pid for worker in pool.workers()} if pool is not None else set()
        ours |= {each._process.pid for each in process._nurseries.values()}  # noqa: SLF001 - they have no other list
        names = [path.name for path in SHARED_MEMORY.iterdir()] if SHARED_MEMORY.is_dir() else []
        return cls(
            descriptors=here.num_fds(),
            targets=_targets(),
            threads=threading.active_count(),
            memory=memory.uss / MB,
            live=stats.live_bytes / MB,
            leases=stats.leases,
            processes=sum(child.pid not in ours for child in here.children(recursive=True)),
            segments=sum(name.startswith("snk_") or "snakepit" in name for name in names),
        )

    def beyond(self, before: Held) -> list[str]:
        """What is more than before and should not be."""
        found = []
        for name in ("descriptors", "threads", "leases", "segments"):
            was, is_now = getattr(before, name), getattr(self, name)
            if is_now > was:
                more = self.targets - before.targets if name == "descriptors" else ""
                found.append(f"{name} grew from {was} to {is_now} {more}")
        if self.processes:
            found.append(f"{self.processes} processes are none of the pool's workers")
        if self.memory > before.memory + GROWTH_MB:
            found.append(f"memory grew from {before.memory:.0f} to {self.memory:.0f} MB")
        if self.live > before.live + 1:
            found.append(f"arrays in use grew from {before.live:.1f} to {self.live:.1f} MB")
        return found


def _targets() -> Counter[str]:
    """What the descriptors of this process lead to, without numbers."""
    found: Counter[str] = Counter()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that the listing itself used
            found[re.sub(r"\d+", "", str(path.readlink()))] += 1
    return found


class Soak:
    """One run."""

    def __init__(self, seed: int, workers: int, folder: Path) -> None:
        notes = folder / "notes"
        notes.touch()
        self.seed = seed
        self.workers = workers
        self.books = Books(notes)
        self.told: Counter[str] = Counter()
        self.first: Held | None = None
        self.last: Held | None = None

    def run(self, seconds: float) -> list[str]:
        """Soak for so long; what disagreed."""
        telemetry.attach_prefix("soak", "snakepit", self.books.hear)
        try:
            with Pool(
                self.workers, name="soak", max_requests=400, ttl=20.0, max_memory="300MB",
                max_queue=200, when_full="reject",
            ).start() as pool:  # fmt: skip
                until = time.monotonic() + seconds
                number = 0
                while time.monotonic() < until and not self.books.faults:
                    self._round(pool, number, min(until, time.monotonic() + ROUND))
                    number += 1
                pool.shutdown()
            registry.shutdown()
            self.last = Held.now(None)
            if self.last.processes or self.last.leases:
                self.books.fault(f"after the end: {self.last}")
        finally:
            telemetry.detach("soak")
        return self.books.faults

    def _round(self, pool: Pool, number: int, until: float) -> None:
        seeds = [f"{self.seed}.{number}.{each}" for each in range(5)]
        callers = [Caller(pool, self.books, seed, until) for seed in seeds[:3]]
        saboteur = Saboteur(pool, self.workers, seeds[3], until)
        for thread in (*callers, saboteur):
            thread.start()
        quick_pools(self.books, seeds[4], until)
        for thread in (*callers, saboteur):
            thread.join(PATIENCE)
            if thread.is_alive():
                faulthandler.dump_traceback(all_threads=True)
                self.books.fault(f"{thread.name} hangs")
                return
        for caller in callers:
            caller.settle()
        self._calm(pool)
        self.told += self.books.reckon(len(callers))
        if number <= WARM_UP or self.first is None:
            self.first = self.last = Held.now(pool)
            return
        until = time.monotonic() + SOON
        # The pools that ended last may still be closing what they had.
        while grown := (held := Held.now(pool)).beyond(self.first):
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        self.last = held
        self.books.faults.extend(f"round {number}: {text}" for text in grown)

    def _calm(self, pool: Pool) -> None:
        """Wait until the pool has the workers that it is to have, all idle, and nothing is lent."""
        pool.scale(self.workers)
        until = time.monotonic() + QUIET
        while time.monotonic() < until:
            alive = {worker.worker_id for worker in pool.workers()}
            idle = sum(worker.state == "idle" for worker in pool.workers())
            leases = loans.kernel_store().stats().leases
            if idle == len(alive) == self.workers and not leases and alive == self.books.alive:
                return
            for _ in range(self.workers):
                pool.submit(abs, -1)  # what was lent may come back with an answer
            time.sleep(0.05)
        self.books.fault(
            f"no peace after {QUIET:g} s: {pool!r}, {pool.workers()}, {leases} leases, "
            f"lives that the events know: {sorted(self.books.alive)}"
        )

    def table(self) -> str:
        """What happened, in short."""
        heard = self.books.heard
        rows = [("requests", sum(self.told.values()))]
        rows += [(f"  {outcome}", count) for outcome, count in sorted(self.told.items())]
        rows += [
            (name, heard[name])
            for name in (
                "worker.started", "worker.recycled", "worker.crash", "worker.tainted", "worker.restarted",
                "worker.health_check_failed", "pool.resized", "pool.saturated", "pool.stopped",
                "retry.attempt", "retry.exhausted", "session.opened", "session.lost",
                "zero_copy.export", "zero_copy.fallback", "zero_copy.leaked",
            )
        ]  # fmt: skip
        lines = [f"{name:<28} {count:>9,}" for name, count in rows]
        if self.first is not None and self.last is not None:
            lines.append(f"{'held':<28} {'warm':>9} {'at last':>9}")
            for name in ("descriptors", "threads", "memory", "live", "leases", "processes", "segments"):
                was, is_now = getattr(self.first, name), getattr(self.last, name)
                lines.append(f"  {name:<26} {was:>9.0f} {is_now:>9.0f}")
        return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it from the command line; 0 where all adds up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: 5)")
    parser.add_argument("--seed", type=int, default=None, help="for the same choices again (default: any)")
    parser.add_argument("--workers", type=int, default=2, help="how many workers (default: 2)")
    asked = parser.parse_args(arguments)
    seed = int.from_bytes(os.urandom(3)) if asked.seed is None else asked.seed
    options.adopt(OPTIONS)
    print(f"soaking for {asked.minutes:g} minutes: --seed {seed} --workers {asked.workers}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(seed, asked.workers, Path(folder))
        faults = soak.run(asked.minutes * 60)
    print(soak.table())
    if faults:
        print(f"{len(faults)} things disagree:")
        for fault in faults[:30]:
            print(f"- {fault}")
        return 1
    print("all adds up, and nothing grew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
