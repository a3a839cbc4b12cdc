"""A process of its own for each way of carrying arrays: what one keeps mapped or warm is not another's.

    python benchmarks/array_host.py snakepit_nb 2

It says in one line of JSON that it is there, and then answers each line `[measure, bytes, calls, patience]`
with a list of numbers, until its standard input ends.

*Rule:* arrays are made in the ordinary way after the pool has started, outside the measured time, and what
is freed after an answer is freed outside of it too.

*Rule:* a turn begins with calls that do not count; who then needs longer than `patience` seconds for one is
asked no more often, and a turn of others ends after about twice that long.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, cast

from rounds import environment, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from array_contestants import Contestant

_LEAST: Final = 3
_LONG: Final = 0.05
_TURN: Final = 2.0


class Host:
    """A contestant in another process.

    Attributes:
        name: What the tables call it.
    """

    def __init__(self, name: str, to: IO[str], of: IO[str]) -> None:
        self.name = name
        self._to = to
        self._of = of
        self._slow: dict[tuple[str, int], list[float]] = {}
        told = cast("dict[str, str]", self._line())
        if "missing" in told:
            raise ImportError(name=told["missing"])

    def _line(self) -> object:
        line = self._of.readline()
        if not line:
            text = f"the process of {self.name!r} ended before it answered"
            raise RuntimeError(text)
        return json.loads(line)

    def ask(self, measure: str, nbytes: int, calls: int = 1, patience: float = 1.0) -> list[float]:
        """One turn; for who was too slow the last time, what it found then."""
        key = measure, nbytes
        if key not in self._slow:
            print(json.dumps([measure, nbytes, calls, patience]), file=self._to, flush=True)
            answer = cast("list[float]", self._line())
            if len(answer) != 1:
                return answer
            self._slow[key] = answer
        return self._slow[key]


@contextmanager
def hosted(name: str, workers: int, **variables: str) -> Iterator[Host]:
    """The contestant of this name, in a process with these variables that ends with the block.

    Raises:
        ImportError: its library is not installed; `name` is what to install.
    """
    command = [sys.executable, __file__, name, str(workers)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment(), **variables},
    )
    with process:
        yield Host(name, cast("IO[str]", process.stdin), cast("IO[str]", process.stdout))


def spent(call: Callable[[], object]) -> float:
    """The seconds to an answer, which is freed afterwards."""
    began = time.perf_counter()
    answer = call()
    seconds = time.perf_counter() - began
    del answer
    return seconds


def turn(once: Callable[[], float], calls: int, patience: float) -> list[float]:
    """The seconds of each of some calls, after those that do not count; of one alone if it was too slow."""
    once()
    second = once()
    if second > patience:
        return [second]
    if second < _LONG:
        settle(once)
    return [once() for _ in range(max(_LEAST, min(calls, int(_TURN * patience / second))))]


def _serve(contestant: Contestant) -> None:
    from array_measures import MEASURES, memory  # noqa: PLC0415 - who only asks needs no arrays in this process

    print("{}", flush=True)
    for line in sys.stdin:
        measure, nbytes, calls, patience = json.loads(line)
        if measure == "memory":
            answer = memory(contestant, nbytes, calls)
        else:
            with MEASURES[measure](contestant, nbytes) as once:
                answer = turn(once, calls, patience)
        contestant.forget()
        print(json.dumps(answer), flush=True)


def main(name: str, workers: int) -> int:
    """Serve as one contestant until standard input ends."""
    from array_contestants import CONTESTANTS  # noqa: PLC0415 - as above

    try:
        with CONTESTANTS[name](workers) as contestant:
            _serve(contestant)
    except ImportError as error:
        print(json.dumps({"missing": error.name}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
