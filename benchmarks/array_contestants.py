"""Who carries arrays to a worker and back: this package and its peers, each as its own manual says.

*Rule:* all run the same functions (`array_work`) on the same arrays, in pools that have been warmed up; each
pool lives in a process of its own (`array_host`).

*Rule:* a peer gets its best case: Ray's `put`, Dask's `scatter`, joblib's mapped copy and torch's shared
tensor are made once where one array is passed again and again, and they cost only where it is new.
"""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from array_work import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from array_work import Floats

    Work = Callable[..., object]

US: Final = "snakepit_nb"
EXECUTOR: Final = "ProcessPoolExecutor"
JOBLIB: Final = "joblib"
RAY: Final = "Ray, put"
HERE: Final = "in this process"
_WARM_UP: Final = 20


def as_it_is(x: Floats) -> object:
    """The array itself: most pools take it as an argument."""
    return x


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way of having another process work on an array.

    Attributes:
        call: A function and its arguments, to its answer.
        lend: What is passed in place of an array.
        at_once: A function to be called so many times at once with the same arguments, to the last answer;
            None where that is not measured.
        forget: Lets go of what it keeps of arrays that were passed.
    """

    call: Callable[..., object]
    lend: Callable[[Floats], object] = as_it_is
    at_once: Callable[..., object] | None = None
    forget: Callable[[], object] = lambda: None


def warmed_up(contestant: Contestant) -> Contestant:
    """The contestant, after its first calls: some pools start their processes only then."""
    lent = contestant.lend(np.ones(2))
    for _ in range(_WARM_UP):
        contestant.call(ends, lent)
    return contestant


def submitting(pool: concurrent.futures.Executor) -> Contestant:
    """Any executor."""

    def at_once(times: int, work: Work, *arguments: object) -> list[object]:
        return [each.result() for each in [pool.submit(work, *arguments) for _ in range(times)]]

    def call(work: Work, *arguments: object) -> object:
        return pool.submit(work, *arguments).result()

    return warmed_up(Contestant(call, at_once=at_once))


@contextmanager
def ours(workers: int) -> Iterator[Contestant]:
    """`snakepit_nb.Pool`."""
    from snakepit_nb import Pool  # noqa: PLC0415 - the processes of its peers do without it

    with Pool(workers, name="arrays") as pool:
        yield submitting(pool)


@contextmanager
def executor(workers: int) -> Iterator[Contestant]:
    """`concurrent.futures.ProcessPoolExecutor`; by which method it starts makes no difference to arrays."""
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield submitting(pool)


@contextmanager
def joblib_parallel(workers: int) -> Iterator[Contestant]:
    """`joblib.Parallel` over loky: arrays of 1 MB and more are copied into a file that its workers map."""
    import joblib  # noqa: PLC0415 - a peer that is not installed is left out

    with joblib.Parallel(n_jobs=workers, batch_size=1, pre_dispatch="all") as parallel:

        def at_once(times: int, work: Work, *arguments: object) -> list[object]:
            return list(parallel(joblib.delayed(work)(*arguments) for _ in range(times)))

        def call(work: Work, *arguments: object) -> object:
            return at_once(1, work, *arguments)[0]

        def forget() -> None:
            # Its files stay until the end of the block; its workers stay longer.
            parallel.__exit__(None, None, None)
            parallel.__enter__()

        yield warmed_up(Contestant(call, at_once=at_once, forget=forget))


@contextmanager
def dask_client(workers: int) -> Iterator[Contestant]:
    """`distributed.Client` over processes, with `scatter`; results come straight from the worker."""
    import distributed  # noqa: PLC0415 - a peer that is not installed is left out

    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, direct_to_workers=True) as client,
    ):

        def call(work: Work, *arguments: object) -> object:
            return client.submit(work, *arguments, pure=False).result()

        yield warmed_up(Contestant(call, lambda x: client.scatter(x, hash=False)))


def _torch_worker(tasks: multiprocessing.SimpleQueue, answers: multiprocessing.SimpleQueue) -> None:  # type: ignore[type-arg]
    import torch  # noqa: PLC0415 - a peer that is not installed is left out

    def plain(value: object) -> object:
        return value.numpy() if isinstance(value, torch.Tensor) else value

    def shared(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(map(shared, value))
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    while (task := tasks.get()) is not None:
        work, arguments = task
        answers.put(shared(work(*map(plain, arguments))))


@contextmanager
def torch_queues(workers: int) -> Iterator[Contestant]:
    """`torch.multiprocessing`: one worker, a queue to it and one back; tensors move into shared memory."""
    import torch.multiprocessing  # noqa: PLC0415 - a peer that is not installed is left out

    del workers  # a pair of queues has one
    context = torch.multiprocessing.get_context("spawn")
    tasks, answers = context.SimpleQueue(), context.SimpleQueue()
    process = context.Process(target=_torch_worker, args=(tasks, answers), daemon=True)
    process.start()

    def plain(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return value.numpy() if isinstance(value, torch.Tensor) else value

    def call(work: Work, *arguments: object) -> object:
        tasks.put((work, arguments))
        return plain(answers.get())

    yield warmed_up(Contestant(call, torch.from_numpy))
    tasks.put(None)
    process.join()


@contextmanager
def ray_tasks(workers: int, *, put: bool) -> Iterator[Contestant]:
    """Ray: arrays through `put`, or inline as arguments."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415 - a peer that is not installed is left out

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

    @ray.remote  # type: ignore[untyped-decorator,unused-ignore]
    def run(work: Work, *arguments: object) -> object:
        return work(*arguments)

    def call(work: Work, *arguments: object) -> object:
        return ray.get(run.remote(work, *arguments))

    def at_once(times: int, work: Work, *arguments: object) -> object:
        return ray.get([run.remote(work, *arguments) for _ in range(times)])

    yield warmed_up(Contestant(call, ray.put if put else as_it_is, at_once))
    ray.shutdown()


@contextmanager
def here(workers: int) -> Iterator[Contestant]:
    """No worker: what the work itself costs."""
    del workers
    yield Contestant(lambda work, *arguments: work(*arguments))


CONTESTANTS: Final[dict[str, Callable[[int], AbstractContextManager[Contestant]]]] = {
    US: ours,
    EXECUTOR: executor,
    JOBLIB: joblib_parallel,
    "Dask, scatter": dask_client,
    "torch.multiprocessing": torch_queues,
    RAY: lambda workers: ray_tasks(workers, put=True),
    "Ray, inline": lambda workers: ray_tasks(workers, put=False),
    HERE: here,
}
