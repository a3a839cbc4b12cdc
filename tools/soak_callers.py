"""The soak's threads: some call the pool in every way there is, one does harm to it.

*Rule:* every choice is the seed's; which thread is first is the machine's, and what workers do by chance is
their own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soak_tasks as tasks
from soak_books import Ticket, outcome_of

from snakepit_nb import Pool, SnakepitError
from snakepit_nb.arrays.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable

    from soak_books import Books

    from snakepit_nb.pool.future import PoolFuture

_numbers: Final = itertools.count(1)
_pools: Final = itertools.count(1)
_ANYWAY: Final = frozenset({"crashed", "saturated"})  # what faults from outside may do to any request
_OK: Final = _ANYWAY | {"ok"}
_MOST_OUT: Final = 60
_MOST_HELD: Final = 10
_SOME: Final = 0.3
_KINDS: Final = {
    "plain": 30, "burst": 4, "fails": 4, "array": 16, "ones": 8, "in_place": 6, "naps": 6, "session": 12,
    "stream": 8, "retry": 8, "timeout": 2, "hang": 1, "cancel": 10, "dies": 3, "swells": 0.05,
}  # fmt: skip
_HARM: Final = {"kill": 3, "recycle": 3, "recycle_all": 1, "scale": 3, "stop": 0.2, "nothing": 4}


def one_of(chance: random.Random, weights: dict[str, float]) -> str:
    """One of these, by its weight."""
    return chance.choices(list(weights), list(weights.values()))[0]


class Caller(threading.Thread):
    """Calls the pool until its time is over; some of what it asked for is out at any moment."""

    def __init__(self, pool: Pool, books: Books, seed: str, until: float) -> None:
        super().__init__(name=f"caller {seed}", daemon=True)
        self._pool = pool
        self._books = books
        self._path = str(books.notes)
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._until = until
        self._out: deque[Ticket] = deque()
        self._held: deque[tuple[np.ndarray, float]] = deque()
        self._session_name = f"s{seed.replace('.', '_')}"
        self._kept: int | None = None
        self._is_lost = False

    def run(self) -> None:
        """Call until the time is over."""
        try:
            self._pool.start(wait=False)  # so that arrays of this thread are born in shared memory, too
            while time.monotonic() < self._until:
                getattr(self, f"_{one_of(self._chance, _KINDS)}")()
                while len(self._out) > _MOST_OUT:
                    self._books.judge(self._out.popleft())
        except BaseException as error:  # noqa: BLE001 - it is reported
            self._books.fault(f"{self.name} ended with {error!r}")

    def settle(self) -> None:
        """Wait for all that is out, and let go of all that is held."""
        while self._out:
            self._books.judge(self._out.popleft())
        while self._session_call() in {"lost", "crashed", "saturated"}:
            pass
        self._pool.session(self._session_name).close()
        self._let_go(0)

    # Asking

    def _ask(
        self,
        kind: str,
        start: Callable[[int], PoolFuture[Any]],
        may: frozenset[str] = _OK,
        right: Callable[[Any], bool] = lambda _: True,
        retries: int = 0,
    ) -> Ticket:
        """Have a call made, which is told its ticket's number."""
        ticket = Ticket(next(_numbers), kind, may, right, retries=retries)
        try:
            ticket.future = start(ticket.number)
        except SnakepitError as error:
            self._books.end(ticket, error)
        return ticket

    def _leave(
        self,
        kind: str,
        function: Callable[..., Any],
        *arguments: object,
        may: frozenset[str] = _OK,
        right: Callable[[Any], bool] = lambda _: True,
        **how: Any,  # noqa: ANN401 - handed on
    ) -> None:
        """Have a call made, and look at its end later."""

        def start(number: int) -> PoolFuture[Any]:
            return self._pool.request(function, (self._path, number, *arguments), command=kind, **how)

        ticket = self._ask(kind, start, may, right, how.get("retries", 0))
        if ticket.future is not None:
            self._out.append(ticket)

    def _hold(self, array: np.ndarray, total: float) -> bool:
        """Keep an array that came back, for a while; whether it is right."""
        self._held.append((array, total))
        self._let_go(_MOST_HELD)
        return float(array.sum()) == total

    def _let_go(self, most: int) -> None:
        while len(self._held) > most:
            array, total = self._held.popleft()
            if float(array.sum()) != total:
                self._books.fault(f"an array changed while it was held: {array}, expected a sum of {total}")

    def _plain(self) -> None:
        number = self._chance.randrange(1000)
        self._leave("plain", tasks.square, number, right=lambda got: got == number * number)

    def _burst(self) -> None:
        for _ in range(self._chance.randrange(50, 150)):
            self._plain()

    def _fails(self) -> None:
        self._leave("fails", tasks.fails, 1, may=_ANYWAY | {"error"})

    def _array(self) -> None:
        count = int(2 ** self._chance.uniform(4, 20))
        array = np.full(count, 3.0)
        self._leave(
            "array",
            tasks.twice,
            array,
            right=lambda got: self._hold(got, 6.0 * count) and float(array.sum()) == 3.0 * count,
        )

    def _ones(self) -> None:
        count = int(2 ** self._chance.uniform(4, 20))
        self._leave("ones", tasks.ones, count, right=lambda got: self._hold(got, float(count)))

    def _in_place(self) -> None:
        count = int(2 ** self._chance.uniform(17, 19))  # such as are born in shared memory
        array = np.full(count, 3.0)
        self._leave(
            "in place",
            tasks.doubles,
            array,
            right=lambda _: float(array.sum()) == 6.0 * count,
            sharing=Sharing(modes={id(array): "in_place"}),
        )

    def _naps(self) -> None:
        self._leave("naps", tasks.naps, self._chance.uniform(0, 0.02))

    def _retry(self) -> None:
        going_well = self._chance.uniform(0.5, 1)
        retries = self._chance.randrange(1, 4)
        self._leave("retry", tasks.flaky, going_well, may=_OK | {"error"}, retries=retries)

    def _timeout(self) -> None:
        seconds = self._chance.uniform(0.001, 0.2)
        self._leave("timeout", tasks.naps, 0.1, may=_OK | {"timeout"}, timeout=seconds)

    def _hang(self) -> None:
        seconds = self._chance.uniform(0.01, 0.2)
        self._leave("hang", tasks.hangs, may=_ANYWAY | {"timeout"}, timeout=seconds)

    def _dies(self) -> None:
        self._leave("dies", tasks.dies, self._chance.choice(tasks.DEATHS), may=_ANYWAY)

    def _swells(self) -> None:
        self._leave("swells", tasks.swells, may=_ANYWAY)

    def _cancel(self) -> None:
        """Cancel something that is out, or something new at once that would not end by itself."""
        if self._chance.random() < _SOME:
            before = len(self._out)
            self._leave("cancelled", tasks.hangs, may=_ANYWAY)
            if len(self._out) == before:
                return
            ticket = self._out[-1]
        elif self._out:
            ticket = self._chance.choice(self._out)
        else:
            return
        if ticket.future is not None and not ticket.said_cancelled:
            ticket.said_cancelled = ticket.future.cancel()

    # Sessions: one call at a time, so that what is kept is known

    def _session(self) -> None:
        self._session_call()

    def _session_call(self) -> str:
        session = self._pool.session(self._session_name)
        if self._kept is None or self._chance.random() < _SOME:
            count = int(2 ** self._chance.uniform(4, 18))
            ticket = self._ask(
                "keep",
                lambda number: session.keep("kept", tasks.remembers, self._path, number, count),
                _OK | {"lost"},
            )
            now_kept: int | None = ticket.number % 1000 * count
        else:
            now_kept = self._kept
            ticket = self._ask(
                "kept",
                lambda number: session.submit(tasks.total, self._path, number, session["kept"]),
                _OK | {"lost"},
                lambda got: got == now_kept,
            )
        outcome = self._books.judge(ticket) if ticket.future is not None else ticket.outcome
        if self._is_lost and outcome not in {"lost", "saturated"}:
            self._books.fault(f"a session was lost, and its next call not told so: {ticket}")
        if outcome != "saturated":
            self._is_lost = outcome == "crashed"
            self._kept = now_kept if outcome == "ok" else None
        return outcome

    # Streams

    def _stream(self) -> None:
        most = self._chance.randrange(20)
        then = self._chance.choice(["", "", "", "", "fails", *tasks.DEATHS[:2]])
        leave = self._chance.randrange(20) if self._chance.random() < _SOME else 99
        made: list[Any] = []

        def start(number: int) -> PoolFuture[Any]:
            made.append(self._pool.stream(tasks.counts, self._path, number, most, then))
            future: PoolFuture[Any] = made[0].future
            return future

        may = (_ANYWAY | {"error"}) if then == "fails" else _ANYWAY if then else _OK
        ticket = self._ask("stream", start, may | {"ok", "cancelled"} if leave <= most else may)
        if ticket.future is None:
            return
        got = 0
        error: BaseException | None = None
        try:
            with made.pop() as stream:
                for array in stream:
                    if not (array == got).all():
                        self._books.fault(f"value {got} of {ticket} is {array}")
                    got += 1
                    if got > leave:
                        break
        except Exception as raised:  # noqa: BLE001 - the end of the stream
            error = raised
        ticket.said_cancelled = ticket.future.cancelled() if ticket.future.done() else None
        outcome = self._books.judge(ticket)
        if got <= leave and (outcome_of(error) != outcome or (outcome == "ok" and got != most)):
            self._books.fault(f"after {got} of {most} values {error!r}: {ticket}")


class Saboteur(threading.Thread):
    """Does harm to a pool until its time is over."""

    def __init__(self, pool: Pool, workers: int, seed: str, until: float) -> None:
        super().__init__(name=f"saboteur {seed}", daemon=True)
        self._pool = pool
        self._workers = workers
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._until = until

    def run(self) -> None:
        """Do harm."""
        while time.monotonic() < self._until:
            time.sleep(self._chance.uniform(0, 0.3))
            there = [worker for worker in self._pool.workers() if worker.pid]  # those that are a process yet
            worker = self._chance.choice(there) if there else None
            harm = one_of(self._chance, _HARM)
            if harm == "scale":
                self._pool.scale(self._chance.randint(1, 2 * self._workers))
            elif harm == "recycle_all":
                self._pool.recycle()
            elif worker is not None:
                with contextlib.suppress(SnakepitError, ProcessLookupError):  # it is gone already
                    if harm == "recycle":
                        self._pool.recycle(worker.worker_id)
                    elif harm != "nothing":
                        os.kill(worker.pid, signal.SIGKILL if harm == "kill" else signal.SIGSTOP)


def quick_pools(books: Books, seed: str, until: float) -> None:
    """Make pools that end while they are busy, one after the other, until the time is over."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    path = str(books.notes)
    while time.monotonic() < until:
        pool = Pool(chance.randint(1, 2), name=f"quick-{next(_pools)}")
        ending = chance.choice(["wait", "cancel", "kill", "drop"])
        may = frozenset({"ok", "cancelled"}) if ending in {"cancel", "kill"} else frozenset({"ok"})
        tickets = []
        for _ in range(chance.randrange(1, 30)):
            ticket = Ticket(next(_numbers), f"quick, {ending}", may)
            ticket.future = pool.submit(tasks.naps, path, ticket.number, chance.uniform(0, 0.01))
            tickets.append(ticket)
        if chance.random() < _SOME:
            pool.start(wait=True)
        if ending == "kill":
            pool.kill()
        elif ending != "drop":
            pool.shutdown(cancel_futures=ending == "cancel")
        del pool
        for ticket in tickets:
            books.judge(ticket)
