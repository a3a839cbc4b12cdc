"""Real pools where something is short: shared memory, descriptors, the size of files, address space.

Each runs in a process of its own, which has less of it than this one; what it says is a line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from snakepit_nb.arrays import founding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Arrays of 1 to 64 MiB go and come, some results stay; then how many were right, and what became of them.
PROGRAM = """
import collections, json, os, resource, sys
import numpy as np
from snakepit_nb import Pool
from snakepit_nb.testing import capture_events

{before}
def ones(count):
    return np.ones(count)

def twice(array):
    return array * 2

right, held = 0, []
with Pool(2) as pool:
    pool.start()
    {short}
    with capture_events("snakepit") as seen:
        for mib in (1, 8, 16, 64):
            array = np.arange(mib * 131072.0)
            right += all(np.array_equal(pool.submit(twice, array).result(60), array * 2) for _ in range(2))
            held.append(pool.submit(ones, mib * 131072).result(60))
        right += sum(bool(each.min() == 1) for each in held)
    {after}
    right += pool.submit(abs, -1).result(60)
told = collections.Counter(each.metadata["reason"] for each in seen if each.name[-1] == "fallback")
told["shared"] = sum(each.name[-1] == "export" for each in seen)
told["crashed"] = sum(each.name[-1] == "crash" for each in seen)
print(json.dumps({"right": right, **told}))
"""


def outcome(  # what to do before the pool, and once it has started, and before it ends
    before: str = "", short: str = "", after: str = "", *, within: tuple[str, ...] = (), **environment: str
) -> Mapping[str, Any]:
    program = PROGRAM.replace("{before}", before).replace("{short}", short).replace("{after}", after)
    done = subprocess.run(
        [*within, sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["right"] == 9
    assert found["crashed"] == 0
    return found


@pytest.fixture
def needs_a_mount() -> None:
    """For tests that see another `/dev/shm` than the machine's."""
    command = ["unshare", "--mount", "true"]
    if (
        shutil.which(command[0]) is None
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("a mount of its own is not allowed to this user: run as root")


@pytest.mark.usefixtures("needs_a_mount")
@pytest.mark.parametrize("size", ["4k", "24m"])
def test_where_a_small_dev_shm_is_full_arrays_are_copied(size: str) -> None:
    mounted = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    found = outcome(within=("unshare", "--mount", "sh", "-c", mounted, "sh"), SNAKEPIT_NB_MEMFD="0")
    assert found["capacity"] > 0
    assert (found["shared"] > 0) == (size == "24m")


def test_where_no_descriptor_is_left_arrays_pass_as_always() -> None:
    found = outcome(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); import cloudpickle",
        # A duplicate has the lowest number that is free: the last one is the last.
        "taken = [os.dup(0)]\n    while taken[-1] < 255: taken.append(os.dup(0))",
        "[os.close(each) for each in taken]",
    )
    assert found["shared"] > 0


def test_where_files_must_be_small_arrays_are_copied() -> None:
    # The arena is a file, and has no name.
    limit = 256 << 20
    found = outcome(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))")
    assert found["platform"] > 0
    assert found["shared"] == 0


def test_where_the_budget_is_small_what_is_too_much_is_copied() -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = outcome(SNAKEPIT_NB_ARENA_BUDGET=str((40 << 20) / memory))
    assert found["capacity"] > 0
    assert found["shared"] > 0


def test_where_address_space_is_short_arrays_pass_somehow() -> None:
    limit = 12 << 30
    outcome(f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))")


@pytest.mark.parametrize(("said", "most"), [("1048576\n", 1 << 20), ("max\n", founding.most())])
def test_a_container_s_limit_counts_as_the_machine_s_memory(
    said: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(said)
    monkeypatch.setattr(founding, "_GROUPS", (limit, tmp_path / "not there"))
    assert founding.most() == most
    assert founding.warm_limit(1 << 40) == most // 4
