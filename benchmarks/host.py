"""A process of its own for each contestant: what one leaves idle in its process does not weigh on another.

    python benchmarks/host.py snakepit_nb

It says what it is in one line of JSON, and then answers each line `trips N` or `burst N` with a list of
seconds, until its standard input ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, cast

from rounds import environment, settle, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contestants import Contestant

_SETTLING: Final = 10  # a burst is preceded by ones of a tenth of its length


class Host:
    """A contestant in another process.

    Attributes:
        name: What the tables call it.
        bursts: Whether it can be given many calls at once.
        share: The part of the calls that it is asked for.
    """

    def __init__(self, name: str, to: IO[str], of: IO[str]) -> None:
        self.name = name
        self._to = to
        self._of = of
        told = self._line()
        if "missing" in told:
            raise ImportError(name=str(told["missing"]))
        self.bursts = bool(told["bursts"])
        self.share = float(cast("float", told["share"]))

    def _line(self) -> dict[str, object]:
        line = self._of.readline()
        if not line:
            text = f"the process of {self.name!r} ended before it answered"
            raise RuntimeError(text)
        told: dict[str, object] = json.loads(line)
        return told

    def _ask(self, what: str, count: int) -> list[float]:
        print(what, count, file=self._to, flush=True)
        return cast("list[float]", self._line()["seconds"])

    def trips(self, calls: int) -> list[float]:
        """Seconds of each of so many calls, one after the other, once it has settled."""
        return self._ask("trips", calls)

    def burst(self, tasks: int) -> list[float]:
        """Seconds by task of so many calls at once, once it has settled."""
        return self._ask("burst", tasks)


@contextmanager
def hosted(name: str) -> Iterator[Host]:
    """The contestant of this name, in a process that ends with the block.

    Raises:
        ImportError: its library is not installed; `name` is what to install.
    """
    command = [sys.executable, __file__, name]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )
    with process:
        yield Host(name, cast("IO[str]", process.stdin), cast("IO[str]", process.stdout))


def _serve(contestant: Contestant) -> None:
    print(json.dumps({"bursts": contestant.burst is not None, "share": contestant.share}), flush=True)
    for line in sys.stdin:
        what, count = line.split()
        measure = _trips if what == "trips" else _burst
        print(json.dumps({"seconds": measure(contestant, int(count))}), flush=True)


def _trips(contestant: Contestant, calls: int) -> list[float]:
    settle(contestant.call)
    return [timed(contestant.call) for _ in range(calls)]


def _burst(contestant: Contestant, tasks: int) -> list[float]:
    burst = contestant.burst
    if burst is None:
        return []
    settle(lambda: burst(max(1, tasks // _SETTLING)))
    return [timed(lambda: burst(tasks)) / tasks]


def main(name: str) -> int:
    """Serve as one contestant until standard input ends."""
    from contestants import CONTESTANTS  # noqa: PLC0415 - who only asks needs no contestant in this process

    try:
        with CONTESTANTS[name]() as contestant:
            _serve(contestant)
    except ImportError as error:
        print(json.dumps({"missing": error.name}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
