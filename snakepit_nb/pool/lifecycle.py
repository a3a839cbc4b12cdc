"""Births and deaths: how workers of a pool come to be, and what is left to do when one is gone.

*Rule:* all of it happens in the reactor's thread, except what only asks or sends a signal.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from snakepit_nb import events
from snakepit_nb.arrays import founding
from snakepit_nb.arrays.handle import plain
from snakepit_nb.pool import devices, facts, loans
from snakepit_nb.pool.arguments import cores
from snakepit_nb.pool.crash import Crash
from snakepit_nb.pool.gauges import Gauges
from snakepit_nb.pool.health import Health, oom_kills
from snakepit_nb.pool.member import Phase
from snakepit_nb.pool.process import WorkerProcess
from snakepit_nb.pool.restart import Taints
from snakepit_nb.wire import codec, messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.pool import actions
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.reception import Reception
    from snakepit_nb.pool.recycle import Policy
    from snakepit_nb.pool.request import Request

_NUDGE: Final = codec.encode(messages.Nudge())
_STOP: Final = codec.encode(messages.Stop())
_SECOND: Final = 1_000_000_000
_GOES_ON: Final = (
    "snakepit_nb: {!r} does not end, and a thread cannot be made to: it goes on in {} until it returns; "
    "%snakepit recycle ends it\n"
)


class Lifecycle:
    """Starts, ends and buries the workers of one pool."""

    def __init__(
        self, office: Office, reception: Reception, preload: tuple[str, ...], policy: Policy
    ) -> None:
        self._office = office
        self._reception = reception
        self._preload = preload
        chosen = office.options
        warm = founding.warm_limit(chosen.arena_warm_bytes) // office.state.max_workers
        if policy.max_memory is not None:
            # What is only kept for the next array must not be what ends a worker.
            warm = min(warm, policy.max_memory // 4)
        # Threads that compute at once share the cores; processes have one each.
        share = max(1, cores() // office.threads) if office.threads else 1
        self._chosen = replace(chosen, arena_warm_bytes=warm, blas_threads=chosen.blas_threads or share)
        self._change = threading.Condition(office.lock)
        self._health = Health(office, self.recycle, policy)
        self._gauges = Gauges(office, self._health.memory_of)
        kinds = (each.strip() for each in chosen.taint_kinds.split(","))
        self._taints = Taints(chosen.taint, frozenset(kinds))
        self._tainted: dict[int, tuple[WorkerProcess, int]] = {}
        self._oom_kills = oom_kills()
        self._past = facts.Totals()  # without what the workers that are here answered

    # Births

    def start(self, action: actions.Start) -> None:
        """Start a worker, in the reactor's thread."""
        self._office.reactor.later(lambda: self._start(action))

    def _start(self, action: actions.Start) -> None:
        office = self._office
        try:
            worker = WorkerProcess(
                action.worker_id, office.name, office.store, self._preload, self._chosen, office.threads,
                office.gpu,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever keeps a worker from starting is the pool's reason to end
            with office.lock:
                office.act(office.state.broke(f"a worker cannot be started: {error}"))
                office.act(office.state.died(action.worker_id, [], time.monotonic()))
            return
        loans.watch(worker.peer, lambda: office.reactor.soon(lambda: self._send_returns(worker)))
        with office.lock:
            office.workers[action.worker_id] = worker
            self._reception.watch(worker, lambda: self.bury(worker))
            seen = office.state.workers.get(action.worker_id)
            if seen is None or seen.phase is not Phase.STARTING:
                self.kill(action.worker_id)
            overdue = time.monotonic_ns() + int(office.options.start_timeout * _SECOND)
            office.reactor.at(overdue, worker.kill, lambda: self._is_starting(worker))

    def accepted(self, worker: WorkerProcess) -> None:
        """A worker has said hello, and its initializer, if any, went well: it serves, or stands by."""
        office = self._office
        worker.ready_at = time.monotonic()
        known = {"worker_id": worker.worker_id, "pool": office.name}
        with office.lock:
            startup_ms = round((worker.ready_at - worker.began) * 1000)
            office.tell(
                events.WORKER_STARTED,
                {"startup_time_ms": startup_ms},
                {**known, "profile": office.profile, "capacity": max(1, office.threads)},
            )
            seen = office.state.workers.get(worker.worker_id)
            before, _ = self._tainted.pop(seen.slot, (None, 0)) if seen is not None else (None, 0)
            if before is not None and before.crash is not None:
                office.tell(events.WORKER_RESTARTED, {}, {**known, **before.crash.facts()})
            worker.started = True
            self._past = self._past._replace(started=self._past.started + 1)
            office.act(office.state.ready(worker.worker_id))
            office.changed()
        self._health.watch(worker)
        self._gauges.watch(worker)

    def _is_starting(self, worker: WorkerProcess) -> bool:
        seen = self._office.state.workers.get(worker.worker_id)
        return seen is not None and seen.phase is Phase.STARTING and worker.ended is None

    def _send_returns(self, worker: WorkerProcess) -> None:
        """Tell a worker which of its arrays are no longer used here."""
        store = self._office.store
        with self._office.lock:
            if worker.ended is not None:
                return
            leases = store.take_returns(worker.peer)
            if leases and not worker.channel.send(codec.encode(messages.Release(codec.pack_leases(leases)))):
                for lease in leases:
                    store.give_back(worker.peer, lease)

    # Ends that are asked for

    def kill(self, worker_id: str) -> None:
        """End a worker now; the lock is held."""
        worker = self._office.workers.get(worker_id)
        if worker is not None:
            worker.asked_to_end = True
            worker.kill()

    def stop(self, worker_id: str) -> None:
        """Ask a worker to end, and kill it if it does not; the lock is held."""
        office = self._office
        worker = office.workers.get(worker_id)
        if worker is None:
            return
        worker.asked_to_end = True
        try:
            sent = worker.channel.send(_STOP)
        except OSError:
            sent = False
        if sent:
            overdue = time.monotonic_ns() + int(office.options.stop_grace * _SECOND)
            office.reactor.at(overdue, worker.kill, lambda: worker.ended is None)
        else:
            worker.kill()

    def interrupt(self, action: actions.Interrupt) -> None:
        """Raise KeyboardInterrupt in what a worker runs; the lock is held."""
        office = self._office
        worker = office.workers.get(action.worker_id)
        if worker is None:
            return
        if action.request_id is None:
            worker.kill(signal.SIGINT)
            return
        with contextlib.suppress(OSError):  # one that is gone runs nothing
            worker.channel.send(codec.encode(messages.Interrupt(action.request_id)))
        request = office.requests.get(action.request_id)
        if request is not None:
            due = time.monotonic_ns() + int(office.options.interrupt_grace * _SECOND)
            office.reactor.at(due, lambda: self._overdue(worker, request), lambda: worker.ended is None)

    def _overdue(self, worker: WorkerProcess, request: Request) -> None:
        """A request that a thread runs was to end, and had its time."""
        office = self._office
        with office.lock:
            seen = office.state.workers.get(worker.worker_id)
            if seen is None or request.number not in seen.given_up:
                return
            decided = office.state.overdue(worker.worker_id)
            office.act(decided)
        if not decided:
            text = _GOES_ON.format(request.command, worker.worker_id)
            self._reception.output(worker, request.origin, "stderr", text)
        office.flush()

    def recycle(self, worker_ids: Iterable[str], reason: str) -> None:
        """Have workers replaced, without loss of what they run; in any thread."""
        office = self._office
        with office.lock:
            for worker_id in worker_ids:
                office.act(office.state.recycled(worker_id, reason))
        office.flush()

    # Deaths

    def bury(self, worker: WorkerProcess) -> None:
        """A worker is gone: hear its last words, say what became of its requests, have it replaced."""
        office = self._office
        worker.ended = worker.read_obituary()
        if worker.ended.exit_code is None:
            # Nobody reports its end because the nursery is gone too: it may have a last moment left.
            worker.kill()
        worker.nudge(_NUDGE)
        with worker.attending:
            while self._reception.drain(worker):
                pass
        self._reception.drain_pipes(worker)
        loans.unwatch(worker.peer)
        with office.lock:
            self._reception.forget(worker)
            unclaimed = self._unclaimed(worker)
            crashed = not worker.asked_to_end
            if crashed:
                before, self._oom_kills = self._oom_kills, oom_kills()
                starved = worker.over_limit or self._oom_kills > before
                crash = Crash.of(worker.ended.exit_code, str(worker.last_words), starved=starved)
                if crash.device is not None and office.gpu is not None:
                    # The only one that a process sees calls itself the first.
                    crash = crash._replace(device=devices.device(office.gpu))
                worker.crash = crash
            taint = self._taint_of(worker) if crashed else 0.0
            self._past = self._past._replace(
                answered=self._past.answered + worker.request_count,
                crashed=self._past.crashed + crashed,
                recycled=self._past.recycled + (worker.started and not crashed and not office.state.closing),
            )
            if crashed or not office.state.closing:
                self._reception.tell_death(worker, reason=self._why_it_ended(worker), taint=taint)
            device = taint > 0 and worker.crash is not None and worker.crash.device is not None
            decided = office.state.died(
                worker.worker_id, unclaimed, time.monotonic(), taint=taint > 0, device=device
            )
            office.act(decided)
            del office.workers[worker.worker_id]
            self._settle_loans(worker)
            worker.close()
            self._change.notify_all()

    def part_with(self, worker: WorkerProcess) -> None:
        """Let go of a worker that nobody will bury, and of its memory; the lock is held."""
        loans.unwatch(worker.peer)
        self._settle_loans(worker)
        worker.close()

    def _taint_of(self, worker: WorkerProcess) -> float:
        """For how long a crash taints the worker's slot, in seconds; has it cleared then."""
        office = self._office
        seen = office.state.workers.get(worker.worker_id)
        if seen is None or worker.crash is None or office.state.census.has_successor(worker.worker_id):
            return 0.0
        slot = seen.slot
        if seen.served:
            self._taints.served(slot)
        seconds = self._taints.after(slot, worker.crash.kind)
        if seconds:
            due = time.monotonic_ns() + int(seconds * _SECOND)
            self._tainted[slot] = worker, due
            office.reactor.at(due, lambda: self._clear(slot), lambda: not office.finished.is_set())
        return seconds

    def _clear(self, slot: int) -> None:
        office = self._office
        with office.lock:
            office.act(office.state.cleared(slot))

    def _why_it_ended(self, worker: WorkerProcess) -> str:
        """Why a worker was recycled that did not die by itself."""
        seen = self._office.state.workers.get(worker.worker_id)
        return seen.retiring if seen is not None and seen.retiring else "manual"

    def _unclaimed(self, worker: WorkerProcess) -> list[int]:
        """The requests that a worker was sent and never took, oldest first."""
        requests = self._office.requests
        found = []
        while (packet := worker.unclaimed()) is not None:
            for message in worker.channel.own(packet):
                if type(message) is messages.Call:
                    found.append(message.request_id)
                    request = requests.get(message.request_id)
                    if request is not None:
                        request.worker_id = ""
                        request.sent_ns = 0
        return found

    def _settle_loans(self, worker: WorkerProcess) -> None:
        """End the loans to a dead worker, but not of what goes to another one now, and forget its memory."""
        office = self._office
        store = office.store
        waiting = (each for each in office.requests.values() if not each.worker_id)
        store.hand({lease for each in waiting for lease in each.arguments.leases}, "")
        store.forget(worker.peer)
        if worker.arena:
            for other in office.workers.values():
                if not self._holds(other, worker.arena):
                    other.dismiss(worker.arena)
            store.detach(worker.arena)

    def _holds(self, worker: WorkerProcess, arena: str) -> bool:
        """Whether a request in a worker's hands names an arena: it may not have looked at it yet."""
        return any(
            plain(named) == arena
            for each in self._office.requests.values()
            if each.worker_id == worker.worker_id
            for named in each.arguments.arenas
        )

    # What may be asked

    def workers_now(self) -> list[facts.WorkerFacts]:
        """The workers that there are, in the order of their slots."""
        return facts.workers_now(self._office, self._health.memory_of, self._tainted)

    def queue_now(self) -> facts.QueueFacts:
        """What waits."""
        return facts.queue_now(self._office)

    def totals(self) -> facts.Totals:
        """What the pool has been through."""
        with self._office.lock:
            now = sum(worker.request_count for worker in self._office.workers.values())
            return self._past._replace(answered=self._past.answered + now)

    def changed(self) -> None:
        """Tell those who wait for workers to be ready that one is, or that none will be."""
        with self._change:
            self._change.notify_all()

    def wait_ready(self, timeout: float | None) -> bool:
        """Wait until every worker serves; False after `timeout` seconds, or where none will."""
        state = self._office.state

        def over() -> bool:
            return state.broken is not None or state.closing

        def all_serve() -> bool:
            serving = sum(worker.phase is Phase.SERVING for worker in state.workers.values())
            return serving >= state.max_workers

        with self._change:
            self._change.wait_for(lambda: over() or all_serve(), timeout)
            return not over() and all_serve()
