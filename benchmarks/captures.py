"""What it costs to send large captures that lie outside shared memory, again and again: copied, and compared.

    python benchmarks/captures.py --mib 256

A copy that was made once is kept, and compared with its original before it is lent again. This shows where
that pays and where it does not; and for what is pickled, how little of the time could be saved at all.

*Rule:* each way is measured with the option on and off, in turns, in one process with one pool.
"""

from __future__ import annotations

import argparse
import pickle
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rounds

from snakepit_nb import Pool, options
from snakepit_nb.pool import loans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rounds import Figure

AT_ONCE: Final = 4
KEPT: Final = "kept and compared"
COPIED: Final = "copied each time"
TRUSTED: Final = "trusted"


def first(value: Any) -> object:  # noqa: ANN401 - an array, a tensor or a table
    """What a worker does with it: nearly nothing."""
    return len(value)


def first_then_wait(value: Any, milliseconds: int) -> object:  # noqa: ANN401 - as above
    """The same, while others are lent it, too."""
    import time  # noqa: PLC0415 - for a worker

    time.sleep(milliseconds / 1000)
    return len(value)


def elsewhere(nbytes: int) -> np.ndarray:
    """An array as it is where it was made before the pool."""
    loans.bear_no_more()
    try:
        return np.arange(nbytes // 8, dtype=np.float64)
    finally:
        loans.bear_here()


def one_by_one(pool: Pool, value: object, change: Callable[[], object] | None = None) -> list[float]:
    """Three calls, one after the other; each with a change before it that is not measured."""
    taken = []
    pool.submit(first, value).result()
    for _ in range(3):
        if change is not None:
            change()
        taken.append(rounds.timed(lambda: pool.submit(first, value).result()))
    return taken


def at_once(pool: Pool, value: object) -> list[float]:
    """Several calls that look at the same at the same time."""

    def calls() -> None:
        for call in [pool.submit(first_then_wait, value, 50) for _ in range(AT_ONCE)]:
            call.result()

    return [rounds.timed(calls)]


def held_at_once(pool: Pool, value: object) -> int:
    """How much shared memory that many calls take while they run, in bytes."""
    store = loans.kernel_store()
    for _ in range(2 * AT_ONCE):
        pool.submit(first, ()).result()  # brings home what workers are done with
    before = store.stats().live_bytes
    calls = [pool.submit(first_then_wait, value, 2000) for _ in range(AT_ONCE)]
    during = store.stats().live_bytes
    for call in calls:
        call.result()
    return during - before


def in_both_ways(
    repeats: int, measure: Callable[[], Sequence[float]], **ways: dict[str, bool]
) -> dict[str, Figure]:
    """The measure under each of several sets of options."""

    def under(chosen: dict[str, bool]) -> Callable[[], Sequence[float]]:
        def measured() -> Sequence[float]:
            with options.override(**chosen):
                return measure()

        return measured

    return rounds.in_turns(repeats, {name.replace("_", " "): under(chosen) for name, chosen in ways.items()})


def measured(mib: int, repeats: int) -> dict[str, dict[str, Figure]]:
    """Everything, told as it is done."""
    told: dict[str, dict[str, Figure]] = {}

    def tell(title: str, figures: dict[str, Figure], beside: str = COPIED) -> None:
        told[title] = figures
        print(rounds.table(title, figures, beside), flush=True)

    both = {"kept_and_compared": {"reuse_copies": True}, "copied_each_time": {"reuse_copies": False}}
    size = f"{mib} MiB"
    with Pool(AT_ONCE, name="captures") as pool:
        pool.submit(first, ()).result()
        array = elsewhere(mib << 20)
        strided = elsewhere(3 * mib << 20).reshape(1 << 10, -1)[:, ::3]
        tell(f"array, {size}, unchanged", in_both_ways(repeats, lambda: one_by_one(pool, array), **both))
        tell(
            f"array, {size}, one element changed",
            in_both_ways(
                repeats, lambda: one_by_one(pool, array, lambda: array.__setitem__(-1, array[-1] + 1)), **both
            ),
        )
        tell(
            f"array, {size}, all of it changed",
            in_both_ways(
                repeats, lambda: one_by_one(pool, array, lambda: np.add(array, 1, out=array)), **both
            ),
        )
        tell(
            f"array, {size}, {AT_ONCE} calls at once",
            in_both_ways(repeats, lambda: at_once(pool, array), **both),
        )
        for way, chosen in both.items():
            with options.override(**chosen):
                held = held_at_once(pool, elsewhere(mib << 20))
            print(f"  {way.replace('_', ' '):17} {held >> 20} MiB of shared memory meanwhile", flush=True)
        tell(f"every third column, {size}", in_both_ways(repeats, lambda: one_by_one(pool, strided), **both))
        _tables(tell, pool, array, repeats)
        _pickles(tell, pool, mib, repeats)
    return told


def _tables(tell: Callable[..., None], pool: Pool, array: np.ndarray, repeats: int) -> None:
    import pyarrow as pa  # noqa: PLC0415 - as light as it can be until then

    table = pa.table({"x": pa.concat_arrays([pa.array(array)])})
    figures = in_both_ways(
        repeats,
        lambda: one_by_one(pool, table),
        kept_and_compared={"reuse_copies": True},
        copied_each_time={"reuse_copies": False},
        trusted={"trust_arrow": True},
    )
    tell(f"Arrow table, {array.nbytes >> 20} MiB, unchanged", figures)


def _pickles(tell: Callable[..., None], pool: Pool, mib: int, repeats: int) -> None:
    words = [str(number) for number in range(mib << 12)]
    data = pickle.dumps(words, 5)
    store = loans.kernel_store()

    def place() -> None:
        store.release([store.put(data).lease])

    figures = rounds.in_turns(
        repeats,
        {
            "sent": lambda: [rounds.timed(lambda: pool.submit(first, words).result())],
            "pickled alone": lambda: [rounds.timed(lambda: pickle.dumps(words, 5))],
            "the pickle put into shared memory": lambda: [rounds.timed(place)],
            "unpickled alone": lambda: [rounds.timed(lambda: pickle.loads(data))],  # noqa: S301 - from above
        },
    )
    tell(f"a list of texts, {len(data) >> 20} MiB pickled", figures, "sent")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=256, help="the size of each array (default: 256)")
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds (default: 5)")
    given = parser.parse_args()
    print(rounds.machine())
    measured(max(2, given.mib), max(1, given.rounds))


if __name__ == "__main__":
    main()
