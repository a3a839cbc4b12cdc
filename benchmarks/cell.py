"""What an empty `%%snakepit` cell costs in a real kernel, beside an empty ordinary cell.

    python benchmarks/cell.py --pairs 200

*Rule:* the two take turns, so that a noisy minute of the machine falls on both; the figure is the median of
the differences of neighbours.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Final

from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

ORDINARY: Final = "pass"
IN_A_WORKER: Final = "%%snakepit\npass"
WARM_UP: Final = 20
TIMEOUT: Final = 60.0


def timed(client: BlockingKernelClient, code: str) -> float:
    """Run a cell to its end; milliseconds from its request to the kernel's being idle again.

    Raises:
        RuntimeError: the cell failed.
    """
    began = time.perf_counter()
    reply = client.execute_interactive(code, timeout=TIMEOUT, allow_stdin=False)
    took = 1000 * (time.perf_counter() - began)
    if reply["content"]["status"] != "ok":
        message = f"the cell {code!r} failed"
        raise RuntimeError(message)
    return took


def measure(pairs: int) -> tuple[list[float], list[float]]:
    """Run that many pairs of cells in a kernel of its own; what each took, in ms."""
    manager, client = start_new_kernel(stderr=subprocess.DEVNULL)
    try:
        timed(client, "%load_ext snakepit_nb")
        for _ in range(WARM_UP):
            timed(client, ORDINARY)
            timed(client, IN_A_WORKER)
        taken = [(timed(client, ORDINARY), timed(client, IN_A_WORKER)) for _ in range(pairs)]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
    return [ordinary for ordinary, _ in taken], [ours for _, ours in taken]


def main() -> None:
    """Measure, and print both and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=200, help="how many pairs of cells (default: 200)")
    ordinary, ours = measure(max(1, parser.parse_args().pairs))
    differences = [mine - plain for plain, mine in zip(ordinary, ours, strict=True)]
    for name, values in (
        ("an empty cell", ordinary),
        ("an empty %%snakepit cell", ours),
        ("difference", differences),
    ):
        print(f"{name:25} {statistics.median(values):7.2f} ms")


if __name__ == "__main__":
    main()
