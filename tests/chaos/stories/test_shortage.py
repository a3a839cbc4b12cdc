"""What everything needs runs short in the middle of a notebook: shared memory, descriptors, memory, disk."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.chaos.stories.conftest import Story, died, error, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

LIVES = ("worker.crash", "worker.recycled", "worker.started")
MOUNT = 'mount -t tmpfs -o size=96m tmpfs /dev/shm && exec "$@"'
TAKE_DESCRIPTORS = """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, hard))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError as error:
    number = error.errno
"""
GIVE_DESCRIPTORS = """
for each in taken:
    os.close(each)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
"""


@pytest.fixture
def small() -> Iterator[Story]:
    """A notebook on a machine of its own `/dev/shm` of 96 MB, and no other shared memory."""
    within = ("unshare", "--mount", "sh", "-c", MOUNT, "sh")
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("a mount of its own is not allowed to this user: run as root")
    for story, _ in opened(env={"SNAKEPIT_NB_MEMFD": "0"}, within=within):
        story.begin()
        yield story
        story.as_before()
        story.well_told()


def moves(story: Story) -> list[tuple[str, object]]:
    """What became of the arrays since the last time: shared, or copied and why."""
    found = story.value(
        "[(e.name[-1], e.metadata.get('reason')) for e in _seen if e.name[-1] in ('export', 'fallback')]"
    )
    story.run("_seen.clear()").ok()
    return list(found)


def test_others_fill_dev_shm_in_the_middle_of_a_notebook_and_go_again(small: Story) -> None:
    story = small
    story.run("big = np.arange(1_000_000.0)").ok()
    story.cell("there = big * 2").ok()
    assert moves(story) == [("export", None), ("export", None)]
    story.run(
        "with open('/dev/shm/others', 'wb', buffering=0) as full:\n"
        "    try:\n        while full.write(bytes(1 << 16)): pass\n"
        "    except OSError as error:\n        number = error.errno"
    ).ok()
    assert story.value("number") == 28
    # What is shared stays so, and what is new is copied.
    story.run("later = np.arange(2_000_000.0)").ok()
    story.cell("total = float(big.sum() + there.sum() + later.sum())\nback = later + 1").ok()
    assert story.value("total") == 3 * 499999500000.0 + 1999999000000.0
    assert story.value("bool((back == later + 1).all())") is True
    found = moves(story)
    assert found.count(("export", None)) == 2
    assert {each for each in found if each[0] == "fallback"} == {("fallback", "capacity")}
    story.run("os.unlink('/dev/shm/others')\ndel later, back").ok()
    story.run("fresh = np.arange(1_000_000.0)").ok()
    story.cell("again = fresh * 2").ok()
    assert moves(story) == [("export", None), ("export", None)]
    assert story.value("float(again.sum())") == 999999000000.0
    assert story.counts("worker.crash") == {}


def test_no_descriptor_is_left_in_the_kernel_when_a_worker_dies(own_story: Story) -> None:
    story = own_story
    story.run("get_ipython().history_manager.enabled = False").ok()
    story.run(TAKE_DESCRIPTORS).ok()
    assert story.value("number") == 24
    # Workers that are there serve on.
    assert [story.cell("double(x[3])").ok().value for _ in range(3)] == ["np.float64(6.0)"] * 3
    died(story.cell("import os\nos._exit(3)"))
    assert story.told("pool.stopped", 1) == [{"reason": "broken"}]
    # No other can be started, so the pool ends. What it had open is enough for a new one.
    cell = story.cell("double(x[3])").ok()
    assert cell.value == "np.float64(6.0)"
    (note,) = cell.displays
    assert "a worker cannot be started: [Errno 24] Too many open files" in note["data"]["text/plain"]
    story.run(GIVE_DESCRIPTORS).ok()


def test_a_cell_takes_every_descriptor_of_its_worker_and_keeps_them(story: Story) -> None:
    pids = story.pids()
    body = (
        "import builtins, os, resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\nbuiltins.taken = taken = []\n"
        "while True:\n    taken.append(os.open('/dev/null', os.O_RDONLY))"
    )
    assert error(story.cell(body)) == ("OSError", "[Errno 24] Too many open files: '/dev/null'")
    for _ in pids:
        cell = story.cell("print('heard')\ny = x * 2\nfloat(y.sum())").ok()
        assert (cell.value, cell.stdout) == ("39999800000.0", "heard\n")
    assert story.value("float(y.sum())") == 39999800000.0
    assert story.counts(*LIVES) == {}, story.value("[str(event) for event in _seen]")
    assert story.pids() == pids
    story.run("del y").ok()


def test_a_worker_over_its_memory_is_replaced_once_it_has_answered(story: Story) -> None:
    story.begin("max_memory='200MB'", hard_memory=100.0)
    cell = story.cell("import builtins\nbuiltins.hoard = b'x' * 300_000_000\nlen(builtins.hoard)").ok()
    assert cell.value == "300000000"
    (recycled,) = story.told("worker.recycled", 1)
    assert recycled["reason"] == "memory_threshold"
    assert recycled["memory_threshold_mb"] == 200
    assert recycled["memory_mb"] > 200
    story.told("worker.started", 1)
    assert story.counts(*LIVES) == {"worker.recycled": 1, "worker.started": 1}
    assert story.cell("import builtins\nhasattr(builtins, 'hoard')").ok().value == "False"
