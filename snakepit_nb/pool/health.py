"""Watches the workers that serve: age, memory and signs of life; and has them replaced in time.

*Rule:* it runs in the reactor's thread. At age and memory it looks only where a policy asks for it.

*Rule:* a sign of life comes from a thread in C, so it says that the process runs, whatever its Python does:
code that never lets go of Python's lock is busy and not ill. Without the library in C such code looks ill.

*Rule:* whoever looked too late has no opinion: this process may have been stopped, or the machine asleep.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from snakepit_nb import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.recycle import Policy

_SECOND: Final = 1_000_000_000
_LOOK_NS: Final = 250_000_000
_KB: Final = 1024
_MB: Final = 1_000_000
_SILENT: Final = "snakepit_nb: it missed {} health checks in a row (stopped, or starved?) and was ended\n"
_OWN: Final = ("Pss_Anon:", "Pss_File:", "SwapPss:")


class Health:
    """Has the workers of one pool recycled as its policy says."""

    def __init__(self, office: Office, recycle: Callable[[Iterable[str], str], None], policy: Policy) -> None:
        self._office = office
        self._have_recycled = recycle
        self._policy = policy
        chosen = office.options
        self._interval_ns = int(chosen.health_interval * _SECOND)
        self._timeout_ns = int(chosen.health_timeout * _SECOND)
        self._misses = chosen.health_misses

    def watch(self, worker: WorkerProcess) -> None:
        """Look after a worker that serves from now on."""
        seconds = self._policy.lifetime(random.random())  # noqa: S311 - no secret
        if seconds is not None:
            self._at(worker, int(seconds * _SECOND), lambda: self._recycle(worker, "ttl_expired"))
        if self._interval_ns:
            self._at(worker, self._interval_ns, lambda: self._probe(worker))
        if self._policy.max_memory is not None:
            self._at(worker, _LOOK_NS, lambda: self._look(worker))

    def _at(self, worker: WorkerProcess, wait_ns: int, job: Callable[[], object]) -> None:
        self._office.reactor.at(time.monotonic_ns() + wait_ns, job, lambda: worker.ended is None)

    # Signs of life

    def _probe(self, worker: WorkerProcess) -> None:
        if worker.ended is not None:
            return
        due = time.monotonic_ns() + self._timeout_ns
        if worker.probe():
            self._at(worker, self._timeout_ns, lambda: self._check(worker, due))
        else:
            self._missed(worker, "probe_error")
            self._at(worker, self._interval_ns, lambda: self._probe(worker))

    def _check(self, worker: WorkerProcess, due_ns: int) -> None:
        """See whether a probe was answered that had until `due_ns` to be."""
        if worker.ended is not None:
            return
        worker.feel()
        if worker.beats:
            worker.misses = 0
        elif time.monotonic_ns() - due_ns < self._timeout_ns:
            self._missed(worker, "worker_dead" if worker.dead else "timeout")
        self._at(worker, self._interval_ns, lambda: self._probe(worker))

    def _missed(self, worker: WorkerProcess, reason: str) -> None:
        office = self._office
        worker.misses += 1
        facts: dict[str, object] = {"worker_id": worker.worker_id, "pool": office.name, "reason": reason}
        office.tell(events.WORKER_HEALTH_CHECK_FAILED, {}, facts)
        if worker.misses >= self._misses and reason != "worker_dead":
            worker.last_words.written(_SILENT.format(worker.misses))
            worker.kill()
        office.flush()

    # Age and memory

    def _recycle(self, worker: WorkerProcess, reason: str) -> None:
        self._have_recycled([worker.worker_id], reason)

    def _look(self, worker: WorkerProcess) -> None:
        if worker.ended is not None:
            return
        nbytes = self.memory_of(worker)
        verdict = self._policy.on_memory(nbytes)
        if verdict != "fine":
            worker.memory_mb = nbytes / _MB
            worker.threshold_mb = self._policy.threshold_mb()
        if verdict == "kill":
            worker.over_limit = True
            worker.kill()
            return
        if verdict == "recycle":
            self._recycle(worker, "memory_threshold")
        self._at(worker, _LOOK_NS, lambda: self._look(worker))

    def memory_of(self, worker: WorkerProcess) -> int:
        """Bytes that a worker holds for itself: nothing of others, and not what the kernel has of it."""
        try:
            now = psutil.Process(worker.pid).memory_info()
        except psutil.Error:
            return 0
        arena = self._office.store.borrower.owners_bytes(worker.arena)
        rough = max(0, now.rss - now.shared) + arena
        if self._policy.on_memory(rough) == "fine":
            return rough
        # That was cheap, and counts what is shared with the nursery; this is exact, and takes longer.
        return own_bytes(worker.pid, rough - arena) + arena


def oom_kills() -> int:
    """How many processes the system has killed so far because memory was short; 0 where it does not tell.

    Example:
        >>> oom_kills() >= 0
        True
    """
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def own_bytes(pid: int, otherwise: int) -> int:
    """What a process holds of memory that is not shared; `otherwise` where the system does not tell.

    Example:
        >>> import os
        >>> own_bytes(os.getpid(), 0) > 0
        True
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return otherwise
    sizes = (line.split() for line in lines)
    found = [int(words[1]) * _KB for words in sizes if words and words[0] in _OWN]
    return sum(found) if found else otherwise
