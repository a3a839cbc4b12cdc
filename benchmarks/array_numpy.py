"""What NumPy's own work costs in a process whose arrays are born in shared memory, and in one without.

    python benchmarks/array_numpy.py on temporaries 8388608 20 1.0

*Rule:* both have a pool that was started before the first array; `off` is the option that leaves NumPy's
memory as it was (`SNAKEPIT_NB_ARENA=0`).

*Rule:* a measure runs in a process of its own: what one leaves warm, another does not find.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from array_host import turn
from array_work import ITEM
from rounds import fresh, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from array_work import Floats

    Work = Callable[[], object]

ON: Final = "on"
OFF: Final = "off"
_TOUCHES: Final = 3  # a process has one first touch: that many processes make a turn
_LOOKS: Final = 0.2
_LONGEST: Final = 30.0
_ROW: Final = 1 << 10
_CHUNK: Final = 16


def temporaries(n: int) -> Work:
    """`a * b + c - d`."""
    a, b, c, d = (np.full(n, value) for value in (1.0, 2.0, 3.0, 4.0))
    return lambda: a * b + c - d


def concatenate(n: int) -> Work:
    """Two halves into one."""
    a, b = np.ones(n // 2), np.zeros(n - n // 2)
    return lambda: np.concatenate([a, b])


def script(n: int) -> Work:
    """A few steps as scripts have them: standardised columns, a Jacobi sweep, a spectrum, a sorted part."""
    rows = max(4, n // _ROW)
    u = np.random.default_rng(0).standard_normal((rows, max(4, n // rows)))

    def steps() -> Floats:
        v = (u - u.mean(axis=0)) / (u.std(axis=0) + 1)
        inner = 0.25 * (v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:])
        power = np.abs(np.fft.rfft(inner, axis=1)) ** 2
        return np.sort(power.ravel()[: n // _CHUNK])

    return steps


def zeros(n: int) -> Work:
    """`np.zeros`, left as it is."""
    return lambda: np.zeros(n)


def zeros_written(n: int) -> Work:
    """`np.zeros`, then written."""
    return lambda: np.zeros(n).fill(1)


STEADY: Final[dict[str, Callable[[int], Work]]] = {
    "temporaries": temporaries,
    "concatenate": concatenate,
    "numerical script": script,
    "np.zeros": zeros,
    "np.zeros, written": zeros_written,
}
COLD: Final = "first touch, cold"
PREPARED: Final = "first touch, reserve ready"
MEASURES: Final = (*STEADY, COLD, PREPARED)


def first_touch(n: int, *, prepared: bool) -> list[float]:
    """Seconds of the first large array of a process, or of another once memory for it has been prepared."""
    arrays = []

    def make() -> None:
        arrays.append(np.empty(n))
        arrays[-1].fill(1)

    if prepared:
        make()
        _await_reserve()
    return [timed(make)]


def _await_reserve() -> None:
    """Wait until this process gets no more shared memory."""
    before, until = -1, time.monotonic() + _LONGEST
    while before != (now := _shared()) and time.monotonic() < until:
        before = now
        time.sleep(_LOOKS)


def _shared() -> int:
    """Resident shared memory, in KiB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssShmem:")), 0)


def seconds(mode: str, measure: str, nbytes: int, calls: int, patience: float) -> list[float]:
    """One turn, in a process of its own, or in several where each can be asked only once."""
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); from array_numpy import main; main(sys.argv[1:])"
    told = [
        json.loads(fresh(code, mode, measure, str(nbytes), str(calls), str(patience)))
        for _ in range(1 if measure in STEADY else _TOUCHES)
    ]
    return [float(each) for one in told for each in one]


def main(arguments: list[str]) -> None:
    """Measure, and print a list of seconds."""
    mode, measure, nbytes, calls, patience = arguments
    os.environ["SNAKEPIT_NB_ARENA"] = str(int(mode == ON))
    from snakepit_nb import Pool  # noqa: PLC0415 - it reads its options when it is imported

    n = int(nbytes) // ITEM
    with Pool(1, name="numpy") as pool:
        pool.submit(abs, 1).result()
        if measure in STEADY:
            work = STEADY[measure](n)
            print(json.dumps(turn(lambda: timed(work), int(calls), float(patience))))
        else:
            print(json.dumps(first_touch(n, prepared=measure == PREPARED)))


if __name__ == "__main__":
    main(sys.argv[1:])
