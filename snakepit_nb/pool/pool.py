"""The pool: a `concurrent.futures.Executor` whose workers are processes of this kernel."""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from snakepit_nb import options, telemetry
from snakepit_nb.arrays.sharing import ORDINARY
from snakepit_nb.errors.types import PoolError
from snakepit_nb.pool import arguments as given
from snakepit_nb.pool import loans, output
from snakepit_nb.pool.calls import own_request, packed
from snakepit_nb.pool.future import PoolFuture
from snakepit_nb.pool.interrupts import in_glances
from snakepit_nb.pool.process import nesting
from snakepit_nb.pool.request import Request, next_number
from snakepit_nb.pool.session import Session
from snakepit_nb.pool.stream import Stream
from snakepit_nb.pool.supervisor import Supervisor
from snakepit_nb.wire.payload import run_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from snakepit_nb.arrays.sharing import Sharing
    from snakepit_nb.pool.facts import QueueFacts, Totals, WorkerFacts
    from snakepit_nb.pool.failures import Failure

T = TypeVar("T")
P = ParamSpec("P")

_EXIT_BUDGET: Final = 1.4
_ages: Final = itertools.count()
_alive: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()
_supervisors: Final[weakref.WeakSet[Supervisor]] = weakref.WeakSet()


class Pool(concurrent.futures.Executor):
    """Worker processes of this kernel, behind the interface of `concurrent.futures.Executor`.

    Args:
        max_workers: How many workers; by default one for each core that this process may use. They start when
            the first work comes.
        name: What the pool is called in `%%snakepit NAME`, events and errors.
        profile: `"process"`: each worker is a process that runs one request at a time. `"thread"`: one worker
            process runs `max_workers` requests at once, in threads, for code that releases Python's lock, or
            a Python without one. They share what they import; a crash costs all that run there, and one that
            is cancelled is only asked to end.
        initializer: Called once in each worker before its first request, with `initargs`. Where it fails the
            pool is broken.
        initargs: Arguments of `initializer`.
        preload: Modules that are imported once, before workers are forked from that process; a start then
            costs milliseconds whatever they are. Never a module that starts CUDA or threads.
        max_requests: After how many requests a worker is replaced by a new one.
        ttl: After how many seconds it is, less up to a tenth by chance.
        max_memory: From how many bytes of its own on it is, once it has answered: a number, or a text such as
            `"4GB"`. At half as much again it is killed at once, and its request fails. All three are
            None for what the options of the same names say, which is never.
        max_queue: How many requests may wait; None for what the option says, which is any number.
        when_full: What becomes of one more: `"block"` has its `submit` wait for room, `"reject"` raises
            `PoolSaturated`, `"grow"` starts another worker for it, up to `most_workers` (by default twice
            `max_workers`), and then raises.
        most_workers: See there.
        gpu: The number of the one graphics card that its workers see, counted among those that this process
            sees; None for all of them.

    Raises:
        ValueError, TypeError: an argument is not what is said above.
        PoolError: pools are nested too deep.

    Example:
        >>> with Pool(2, name="doc") as pool:
        ...     sorted(pool.map(abs, [-2, 1]))
        [1, 2]
    """

    def __init__(  # noqa: PLR0913 - all by name but the first
        self,
        max_workers: int | None = None,
        *,
        name: str = "default",
        profile: str = "process",
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[object] = (),
        preload: Sequence[str] = (),
        max_requests: int | None = None,
        ttl: float | None = None,
        max_memory: int | str | None = None,
        max_queue: int | None = None,
        when_full: str | None = None,
        most_workers: int | None = None,
        gpu: int | None = None,
    ) -> None:
        if max_workers is not None:
            given.count("max_workers", max_workers)
        given.check(name, profile, initializer, preload, gpu)
        policy = given.policy(options.current(), max_requests, ttl, max_memory)
        bounds = given.bounds(
            options.current(), max_queue, when_full, most_workers, max_workers or given.cores()
        )
        deepest = options.current().nesting
        if nesting() >= deepest:
            text = (
                f"a pool in a worker of a pool, {nesting()} deep: no more than {deepest} are allowed "
                "(option nesting); do the inner work in the cell itself"
            )
            raise PoolError(text)
        self._max_workers = max_workers or given.cores()
        self._profile = profile
        self._gpu = gpu
        threads = self._max_workers if profile == "thread" else 0
        self._name = name
        self._age = next(_ages)
        self._made_ns = time.monotonic_ns()
        first = None if initializer is None else own_request(initializer, tuple(initargs), "initializer")
        self._supervisor = Supervisor(
            name,
            1 if threads else self._max_workers,
            threads=threads,
            gpu=gpu,
            preload=tuple(preload),
            initializer=first,
            sink=output.sink,
            policy=policy,
            bounds=bounds,
        )
        _alive.add(self)
        _supervisors.add(self._supervisor)

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._name

    @property
    def made_ns(self) -> int:
        """When it was made, on the monotonic clock in ns: no event of it is older.

        Example:
            >>> Pool(1).made_ns <= time.monotonic_ns()
            True
        """
        return self._made_ns

    @property
    def max_workers(self) -> int:
        """How many requests the pool may run at once: how many workers it may have, or their threads."""
        return self._max_workers if self._profile == "thread" else self._supervisor.state.max_workers

    @property
    def profile(self) -> str:
        """`"process"` or `"thread"`."""
        return self._profile

    @property
    def gpu(self) -> int | None:
        """The number of the graphics card that the workers see alone; None where they see all.

        Example:
            >>> Pool(1).gpu is None
            True
        """
        return self._gpu

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> PoolFuture[T]:
        """Have a worker call `fn(*args, **kwargs)`.

        Arguments are packed before this returns; arrays that lie in shared memory are lent and not copied, so
        what is written to those afterwards may be seen by the worker.

        Raises:
            CaptureError: the function or an argument cannot travel; the message says which part of it.
            PoolClosed: the pool was shut down.
            PoolBroken: too many workers died.
            PoolSaturated: the queue is full, and `when_full` is not `"block"`.
            ArrayError: shared memory is used up.

        Example:
            >>> with Pool(1) as pool:
            ...     pool.submit(divmod, 7, 2).result()
            (3, 1)
        """
        return self.request(fn, args, kwargs)

    def request(  # noqa: PLR0913 - what apply() takes, and the rest by name
        self,
        fn: Callable[..., T],
        args: Sequence[object] = (),
        kwargs: dict[str, object] | None = None,
        *,
        timeout: float | None = None,
        command: str | None = None,
        alone: bool = False,
        sharing: Sharing = ORDINARY,
        retries: int = 0,
        retry_on: Sequence[type[BaseException]] = (Exception,),
        session: str | None = None,
        near: Hashable = None,
        keeps: str | None = None,
        stream: Stream[Any] | None = None,
        worker: str | None = None,
    ) -> PoolFuture[T]:
        """Like `submit`, for callers who want to say more.

        Args:
            fn: The function.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            timeout: Seconds from now after which the request ends with `RequestTimeout`, its worker killed.
            command: What the request is called in events and errors; by default the function's name.
            alone: Let no other request wait in this one's worker: it can then be interrupted by itself.
            sharing: How the arrays among the arguments are given; see `Sharing`. One that is given in place
                and does not lie in shared memory is a copy there.
            retries: How often it may be tried again after a failure: only for what may run twice. What it was
                given is kept until then, and every attempt begins with it.
            retry_on: After which exceptions; the death of its worker is `WorkerCrashed`.
            session: Run it in the worker that keeps this session, or is to; see `Session`.
            near: Prefer the worker of the last request that was near the same, where that is idle.
            keeps: The name under which the session keeps the result.
            stream: Takes what the function yields; see `stream`.
            worker: Run it in the worker of this id, and in no other.

        Raises:
            ValueError, TypeError: `timeout` is not a number of seconds above zero, `retries` no number from
                zero on, or `session` no name.
            SessionLost: the session's worker is gone, and what it kept; said once.
            CircuitOpen: too many workers died one after the other; see the option `breaker`.
            CheckoutTimeout: it found no room in the queue before `timeout`.
            PoolClosed, PoolBroken, PoolSaturated, CaptureError, ArrayError: as for `submit`.
        """
        if timeout is not None:
            timeout = given.seconds("timeout", timeout)
        repeat = given.repeat(retries, retry_on) if retries else None
        if session is not None:
            given.session(session)
        began = time.monotonic_ns()
        supervisor = self._supervisor
        if supervisor.state.closing or supervisor.state.broken is not None:
            supervisor.check_open()
        number = next_number() if stream is None else stream.number
        store = self._supervisor.store
        function, arguments = packed(fn, tuple(args), kwargs or {}, store, number, sharing)
        name = command or getattr(fn, "__name__", None) or type(fn).__name__
        future: PoolFuture[T] = PoolFuture(supervisor, number, name)
        origin = output.origin()
        request = Request(
            number, future, function, arguments, name, origin, began,
            alone=alone, timeout=timeout, group=output.sink().group(origin), session=session, near=near,
            keeps=keeps, repeat=repeat, stream=None if stream is None else weakref.ref(stream),
            worker=worker, parent=telemetry.current_span(),
        )  # fmt: skip
        if stream is not None:
            stream.begins(future)
        try:
            supervisor.submit(request)
        except BaseException:
            if number in supervisor.requests:
                # An interrupt came when the request was on its way, and nobody will ever hold its future.
                future.cancel()
            else:
                store.release(arguments.leases)
            raise
        return future

    def stream(self, fn: Callable[P, Iterable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """Have a worker call a generator function; what it yields comes as it comes.

        The worker is at most `stream_ahead` values ahead (an option). `fn` may also give any other iterable.

        Raises:
            CaptureError, PoolClosed, PoolBroken, PoolSaturated, ArrayError: as for `submit`.

        Example:
            >>> with Pool(1) as pool:
            ...     for number in pool.stream(range, 3):
            ...         print(number)
            0
            1
            2
        """
        supervisor = self._supervisor
        stream: Stream[T] = Stream(
            next_number(), options.current().stream_ahead, supervisor.say, supervisor.check_may_wait
        )
        self.request(fn, args, kwargs, alone=True, stream=stream)
        return stream

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Call `fn` for each set of items, on all workers; results come in order.

        Args:
            fn: The function.
            iterables: One iterable for each argument of `fn`; the shortest ends the map.
            timeout: Seconds from now after which the next result raises `TimeoutError`.
            chunksize: How many calls travel as one request.

        Raises:
            ValueError: `chunksize` is below one.

        Example:
            >>> with Pool(2) as pool:
            ...     list(pool.map(pow, [2, 3], [3, 2], chunksize=2))
            [8, 9]
        """
        if chunksize < 1:
            text = f"chunksize must be at least 1, got {chunksize}"
            raise ValueError(text)
        until = None if timeout is None else time.monotonic() + timeout
        name = getattr(fn, "__name__", None) or type(fn).__name__
        if chunksize == 1:
            futures: list[PoolFuture[Any]] = [
                self.submit(fn, *items) for items in zip(*iterables, strict=False)
            ]
        else:
            rows = zip(*iterables, strict=False)
            futures = []
            while chunk := list(itertools.islice(rows, chunksize)):
                futures.append(self.request(run_chunk, (fn, chunk), command=name))
        return _results(futures, until, chunked=chunksize > 1)

    def start(self, *, wait: bool = True, timeout: float | None = None) -> Pool:
        """Start all workers now instead of at the first request; gives the pool back.

        Raises:
            PoolClosed: the pool was shut down.
            PoolBroken: workers cannot start here; the message says why.
            TimeoutError: they are not all there after `timeout` seconds.
        """
        self._supervisor.start()
        loans.bear_here()
        if not wait or self._supervisor.reactor.here:
            return self
        if not self._supervisor.lifecycle.wait_ready(timeout):
            self._supervisor.check_open()
            text = f"the workers of pool {self._name!r} did not all start within {timeout} s"
            raise TimeoutError(text)
        return self

    def worker_of(self, future: PoolFuture[Any]) -> str:
        """The worker that has this request now; empty where none has.

        Example:
            >>> with Pool(1) as pool:
            ...     future = pool.submit(abs, -1)
            ...     future.result(), pool.worker_of(future)
            (1, '')
        """
        request = self._supervisor.requests.get(future.request_id)
        return "" if request is None else request.worker_id

    def cancel(self, request_id: int) -> bool:
        """End a request by its number, queued or running; whether there was one to end.

        For those who know requests from events and not by their futures. It waits for nothing: the future is
        cancelled at once or soon after.

        Example:
            >>> with Pool(1) as pool:
            ...     pool.cancel(0)
            False
        """
        return self._supervisor.cancel_request(request_id)

    def failure(self, request_id: int) -> Failure | None:
        """How a request failed, as data that can be shown; None where it did not, or nobody remembers.

        Example:
            >>> with Pool(1) as pool:
            ...     future = pool.submit(int, "one")
            ...     str(type(future.exception()).__name__), pool.failure(future.request_id).sentence
            ('ValueError', "invalid literal for int() with base 10: 'one'")
        """
        return self._supervisor.failures.get(request_id)

    def interrupt(self, future: PoolFuture[Any]) -> None:
        """Raise KeyboardInterrupt in the worker that runs this request; the worker lives on."""
        self._supervisor.interrupt(future)

    def scale(self, workers: int) -> None:
        """Have so many workers from now on: more start at once, those that go answer first what they have.

        Raises:
            ValueError, TypeError: `workers` is no number from one on.
            PoolClosed, PoolBroken: there are none any more.
            PoolError: its one worker runs all requests in threads.

        Example:
            >>> with Pool(1, name="doc") as pool:
            ...     pool.scale(2)
            ...     pool.max_workers
            2
        """
        given.count("workers", workers)
        if self._profile == "thread":
            text = f"pool {self._name!r} has one worker with threads; start another pool with more of them"
            raise PoolError(text, pool=self._name)
        self._supervisor.scale(workers)
        self._max_workers = workers

    def session(self, name: str, *, strict: bool = True) -> Session:
        """Calls that share what one worker keeps for them; see `Session`.

        Args:
            name: What it is called, an identifier.
            strict: Whether calls wait for that worker, rather than only prefer it.

        Raises:
            ValueError: `name` is none.

        Example:
            >>> with Pool(1) as pool:
            ...     session = pool.session("s")
            ...     session.keep("x", int, "4").result()
            ...     session.get("x").result()
            4
        """
        return Session(self, given.session(name), strict=strict)

    def names_of(self, session: str, now: Iterable[str] | None = None) -> set[str]:
        """What a session is known to keep; who has learnt what it keeps `now` says so."""
        with self._supervisor.lock:
            found = self._supervisor.sessions.names_of(session)
            if now is not None:
                found.clear()
                found.update(now)
            return set(found)

    def sessions(self) -> dict[str, str]:
        """The names of the sessions that there are, and the worker of each.

        Example:
            >>> Pool(1).sessions()
            {}
        """
        with self._supervisor.lock:
            return self._supervisor.sessions.now()

    def end_session(self, name: str) -> None:
        """Have a session's worker forget it; nothing where there is none."""
        self._supervisor.end_session(name)

    def recycle(self, worker_id: str | None = None) -> None:
        """Replace a worker, or all, by new ones; what they run and what waits is not lost.

        Each serves until its successor is ready, and that one takes over when the first has answered.

        Raises:
            PoolClosed, PoolBroken: there is nothing to replace any more.
            PoolError: no worker of this pool has that id.

        Example:
            >>> with Pool(1, name="doc") as pool:
            ...     before = pool.start().workers()[0].pid
            ...     pool.recycle()
            ...     pool.submit(abs, -1).result()
            1
        """
        self._supervisor.recycle(worker_id)

    def forward(self, prefix: telemetry.Name, rate: float = 1.0) -> None:
        """Have the workers send only some of the events whose names begin with `prefix`, from now on.

        Where several prefixes fit, the longest one decides. Of a span all events are sent or none; of others
        every n-th of a name, the first one included. An event that is one of several says so by
        `sample_rate` in its metadata. A worker follows at the latest from its next request on.

        What workers tell of themselves can be thinned as well: without `snakepit.zero_copy` the timeline
        lacks what was shared and copied there. What tells that events were lost, or that a handler failed, is
        always sent.

        Args:
            prefix: `"app.step"`, say; `""` for all events.
            rate: Which share of them is sent, from 0, none, to 1, all.

        Raises:
            TypeError, ValueError: `prefix` is no name, or `rate` no number from 0 to 1.
            PoolClosed, PoolBroken: there are no workers any more.

        Example:
            >>> with Pool(1) as pool:
            ...     pool.forward("app", 0)
            ...     pool.forward("app.epoch")
            ...     pool.forwarding()
            {'app': 0.0, 'app.epoch': 1.0}
        """
        self._supervisor.forward(prefix, rate)

    def forwarding(self) -> dict[str, float]:
        """What `forward` was told: by prefix the share that is sent. All events are where none fits.

        Example:
            >>> Pool(1).forwarding()
            {}
        """
        return self._supervisor.forwarding.rules.told()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base class's signature
        """Take no more work and end the workers when the last request is answered. Idempotent.

        Args:
            wait: Return only when all of that is done.
            cancel_futures: Cancel what no worker has begun.
        """
        self._supervisor.close(cancel_futures=cancel_futures)
        self._wait_finished(None if wait else 0.0)

    def kill(self) -> None:
        """End everything now: requests are cancelled, workers killed."""
        self._supervisor.abort()
        self._wait_finished(_EXIT_BUDGET)

    def _wait_finished(self, timeout: float | None) -> None:
        # A done-callback runs in the very thread that would have to finish.
        if not self._supervisor.reactor.here:
            in_glances(self._supervisor.finished.wait, timeout)

    @property
    def closed(self) -> bool:
        """Whether the pool takes no more work."""
        return self._supervisor.state.closing or self._supervisor.state.broken is not None

    @property
    def finished(self) -> bool:
        """Whether all of it is over: it is closed, and its last worker is gone.

        Example:
            >>> Pool(1).finished
            False
        """
        return self._supervisor.finished.is_set()

    @property
    def broken(self) -> str | None:
        """Why the pool cannot go on, or None where it can.

        Example:
            >>> Pool(1).broken is None
            True
        """
        return self._supervisor.state.broken

    def stats(self) -> dict[str, int]:
        """How many workers there are, start, are busy and idle, and how many requests wait.

        Example:
            >>> Pool(2).stats()["workers"]
            0
        """
        with self._supervisor.lock:
            return self._supervisor.state.census.counts()

    def workers(self) -> list[WorkerFacts]:
        """The workers that there are now, in the order of their slots.

        Example:
            >>> Pool(2).workers()
            []
        """
        return self._supervisor.lifecycle.workers_now()

    def waiting(self) -> QueueFacts:
        """How many requests wait and for how long the first has, what time limits are on the way, and more.

        Example:
            >>> Pool(2).waiting().circuit
            'off'
        """
        return self._supervisor.lifecycle.queue_now()

    def totals(self) -> Totals:
        """How many requests were answered, and how many workers served, crashed and were recycled.

        Example:
            >>> Pool(2).totals()
            Totals(answered=0, started=0, crashed=0, recycled=0)
        """
        return self._supervisor.lifecycle.totals()

    def __repr__(self) -> str:
        """What the pool is doing, in one line."""
        counts = self.stats()
        label = f"<Pool {self._name!r}"
        if self._supervisor.state.broken is not None:
            return f"{label} broken: {self._supervisor.state.broken}>"
        if self._supervisor.finished.is_set():
            return f"{label} closed>"
        if not counts["workers"]:
            return f"{label} up to {self._max_workers} workers, none started>"
        said = [f"{counts['busy']} busy", f"{counts['idle']} idle"]
        if counts["starting"]:
            said.append(f"{counts['starting']} starting")
        plural = "" if counts["workers"] == 1 else "s"
        text = f"{label} {counts['workers']} worker{plural}: {', '.join(said)}; {counts['queued']} queued"
        return f"{text}; closing>" if self._supervisor.state.closing else f"{text}>"

    def __del__(self) -> None:
        """A pool that nobody holds ends once what it was given is done."""
        supervisor = getattr(self, "_supervisor", None)
        if sys.is_finalizing():
            return  # the modules are being taken apart; the exit hook has ended the workers
        if supervisor is not None:
            supervisor.disown()


def _results(futures: list[PoolFuture[Any]], until: float | None, *, chunked: bool) -> Iterator[Any]:
    """Results in order; those that nobody will ask for any more are cancelled."""
    futures.reverse()
    try:
        while futures:
            left = None if until is None else until - time.monotonic()
            found = futures[-1].result(left)
            futures.pop()
            if chunked:
                yield from found
            else:
                yield found
    finally:
        for future in futures:
            future.cancel()


def live_pools() -> list[Pool]:
    """The pools of this process that still take work, oldest first.

    Example:
        >>> pool = Pool(1, name="doc_live")
        >>> pool in live_pools()
        True
        >>> pool.shutdown()
        >>> pool in live_pools()
        False
    """
    return sorted((pool for pool in list(_alive) if not pool.closed), key=lambda pool: pool._age)  # noqa: SLF001 - same room


def close_all() -> None:
    """End all pools now, those that nobody holds any more too; for the exit of the process."""
    supervisors = list(_supervisors)
    for each in supervisors:
        each.stop_reason = "exit"
        each.abort()
    until = time.monotonic() + _EXIT_BUDGET
    for each in supervisors:
        each.finished.wait(max(0.0, until - time.monotonic()))


def _abandon() -> None:
    """In a child that the user forked: the workers are the parent's, and do not know this process."""
    for each in list(_supervisors):
        each.abandon()


atexit.register(close_all)
os.register_at_fork(after_in_child=_abandon)
