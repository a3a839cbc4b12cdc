"""The benchmark of the timeline runs and tells all that it promises; its figures are no matter of a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SHORTEST: Final = """
import sys
sys.path.insert(0, "benchmarks")
if __name__ == "__main__":
    import timeline
    timeline.QUICK = timeline.Effort(pairs=2, events=10, seconds=0.5, calls=20)
    sys.exit(timeline.main(["--quick", "--json", sys.argv[1]]))
"""


def test_it_tells_what_a_timeline_costs_and_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    done = subprocess.run(
        [sys.executable, "-c", SHORTEST, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(path.read_text())
    assert [each["wanted"] for each in told["loads"]] == [10_000, 100_000]
    for each in told["loads"]:
        assert each["markers_shown"] == each["markers"] > 0
        assert each["requests_shown"] == each["requests"] > 0
        assert 0 < each["share"] < 1
    assert len(told["seconds"]["record"][0]) == 2
    assert len(told["aims"]) == 5
    for aim in told["aims"]:
        assert f"{aim['aim']}: {aim['found']}" in done.stdout
