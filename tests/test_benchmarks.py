"""The benchmarks run, and tell all that they promise; what the figures say is no matter of a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parent.parent
# The shortest run there can be: one round, a few calls.
SHORTEST: Final = """
import sys
sys.path.insert(0, "benchmarks")
if __name__ == "__main__":
    import dispatch
    dispatch.QUICK = dispatch.Effort(rounds=1, calls=2, burst=20, cells=1, forks=2)
    sys.exit(dispatch.main(["--quick", "--json", sys.argv[1]]))
"""
MISSING: Final = "raise ModuleNotFoundError(\"No module named 'pebble'\", name='pebble')\n"


class Run(NamedTuple):
    """What a run printed, and what it wrote as JSON."""

    printed: str
    warned: str
    written: dict[str, Any]


def run(code: str, folder: Path, *before: Path) -> Run:
    path = folder / "dispatch.json"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*before, ROOT)))},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(done.stdout, done.stderr, json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def shortest(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run without one of the peers."""
    missing = tmp_path_factory.mktemp("missing")
    (missing / "pebble.py").write_text(MISSING, encoding="utf-8")
    return run(SHORTEST, tmp_path_factory.mktemp("benchmarks"), missing)


def test_dispatch_measures_us_the_peers_and_the_references_side_by_side(shortest: Run) -> None:
    trips = shortest.written["seconds"]["round trip"]
    assert list(trips) == [
        "snakepit_nb",
        "ProcessPoolExecutor, fork",
        "multiprocessing.Pool",
        "ProcessPoolExecutor, forkserver",
        "loky",
        "joblib",
        "ping-pong, STREAM",
        "ping-pong, SEQPACKET",
        "ping-pong, polling",
        "os.fork and wait",
    ]
    assert all(0 < each["median"] <= each["p90"] for each in trips.values())
    for name in trips:
        assert name in shortest.printed


def test_a_peer_that_is_not_installed_is_left_out_with_a_line_that_says_so(shortest: Run) -> None:
    assert "left out: pebble (pip install pebble)" in shortest.warned
    assert "pebble" not in shortest.written["seconds"]["throughput"]


def test_every_aim_gets_a_verdict(shortest: Run) -> None:
    aims = shortest.written["aims"]
    assert len(aims) == 7
    for each in aims:
        assert f"{'yes' if each['met'] else 'NO '} {each['aim']}: {each['found']}" in shortest.printed


def test_the_tables_say_what_their_examples_say() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "doctest", "benchmarks/rounds.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The same of arrays, without the peers.
SHORTEST_OF_ARRAYS: Final = """
import sys
sys.path.insert(0, "benchmarks")
if __name__ == "__main__":
    import arrays
    arrays.QUICK = arrays.Effort(
        rounds=1, calls=2, patience=0.01, sizes=(1 << 10, 1 << 20, 2 << 20), numpy_sizes=(1 << 20,),
        crowd=4 << 20,
    )
    sys.exit(arrays.main(["--quick", "--ours", "--json", sys.argv[1]]))
"""


def test_arrays_are_measured_there_and_back_beside_plain_copies(tmp_path: Path) -> None:
    done = run(SHORTEST_OF_ARRAYS, tmp_path)
    seconds = done.written["seconds"]
    assert set(seconds["passing"]["in"]["snakepit_nb"]) == {"1024", "1048576", "2097152"}
    assert "memcpy, warm" in seconds["foreign"]
    assert "concatenate" in seconds["numpy"]
    aims = done.written["aims"]
    assert len(aims) == 10
    for each in aims:
        assert f"{'yes' if each['met'] else 'NO '} {each['aim']}: {each['found']}" in done.printed


# A second of each, with a browser where there is one.
SHORTEST_OF_TIMELINE: Final = """
import sys
sys.path.insert(0, "benchmarks")
if __name__ == "__main__":
    import timeline
    timeline.QUICK = timeline.Effort(pairs=2, events=10, seconds=0.5, calls=10)
    sys.exit(timeline.main(["--quick", "--json", sys.argv[1]]))
"""


def test_a_timeline_is_measured_in_the_kernel_and_in_a_browser(tmp_path: Path) -> None:
    done = run(SHORTEST_OF_TIMELINE, tmp_path)
    loads, pages = done.written["loads"], done.written["pages"]
    assert [each["wanted"] for each in loads] == [10_000, 100_000]
    assert [each["markers_shown"] for each in loads] == [each["markers"] for each in loads]
    if not pages:
        assert "left out: " in done.printed
    for page in pages:
        assert page["markers_held"] == page["markers"] > 0
        assert page["taken"] == page["messages"] > 0
        assert f"markers {page['markers']:,} of {page['markers']:,}, messages" in done.printed
    for each in done.written["aims"]:
        assert f"{'yes' if each['met'] else 'NO ':4}{each['aim']}: {each['found']}" in done.printed


# Some calls each.
SHORTEST_OF_TELEMETRY: Final = """
import sys
sys.path.insert(0, "benchmarks")
if __name__ == "__main__":
    import telemetry
    telemetry.QUICK = telemetry.Effort(rounds=1, events=10, pairs=2, seconds=0.03)
    sys.exit(telemetry.main(["--quick", "--json", sys.argv[1]]))
"""


def test_events_and_exporters_are_measured_beside_a_lookup_and_beside_nothing(tmp_path: Path) -> None:
    done = run(SHORTEST_OF_TELEMETRY, tmp_path)
    assert list(done.written["execute"]) == [
        "a dictionary look-up",
        "prometheus_client, labels().inc()",
        "execute, no handler",
        "execute, one handler",
        "execute, ten handlers",
        "execute, prometheus",
        "execute, recording",
        "execute, all exporters",
    ]
    calls = done.written["calls"]
    exporters = ["aggregates", "prometheus", "recording", "log", "alerts", "opentelemetry"]
    assert list(calls) == ["nothing", *exporters, "all of them"]
    assert all(each["within"]["median"] > 0 and each["median"] > 0 for each in calls.values())
    assert len(done.written["aims"]) == 3
    for each in done.written["aims"]:
        assert f"{'yes' if each['met'] else 'NO ':4}{each['aim']}: {each['found']}" in done.printed


def test_captures_are_measured_copied_and_compared() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/captures.py", "--mib", "2", "--rounds", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "unchanged",
        "4 calls at once",
        "of shared memory meanwhile",
        "Arrow table",
        "pickled alone",
    ):
        assert told in done.stdout
