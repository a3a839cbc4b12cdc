"""Too much of something: text, tasks, cancels, values; nothing is lost, and nothing is run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.chaos.stories.conftest import Story

LIVES = ("worker.crash", "worker.recycled", "worker.started")


def test_a_storm_of_cancels_ends_every_job_once(story: Story) -> None:
    pids = story.pids()
    story.run(
        "shell = get_ipython()\n"
        "for number in range(30):\n"
        "    shell.run_cell_magic('snakepit', f'-b -n job{number}', 'import time\\ntime.sleep(600)')\n"
        "jobs = [globals()[f'job{number}'] for number in range(30)]\n"
        "storm = [threading.Thread(target=lambda: [job.cancel() for job in jobs]) for _ in range(3)]\n"
        "for thread in storm: thread.start()\n"
        "for thread in storm: thread.join()"
    ).ok()
    assert story.value("[job.cancelled() for job in jobs]") == [True] * 30
    assert story.cell("1").ok().value == "1"
    # What ran was ended with its worker, and what waited never ran.
    executed = story.told("request.executed")
    assert {each["outcome"] for each in executed} == {"cancelled", "ok"}
    assert story.counts("worker.crash") == {}
    assert len(executed) - 1 == len(story.told("worker.recycled"))
    assert story.pids() & pids == set()
    story.run("del jobs, storm\nfor number in range(30): del globals()[f'job{number}']").ok()


def test_recycling_while_all_are_busy_loses_nothing(story: Story) -> None:
    story.run(
        "futures = [get_pool().submit(time.sleep, 0.002) for _ in range(400)]\n"
        "for _ in range(5):\n    get_pool().recycle()\n    futures.append(get_pool().submit(abs, -1))\n"
        "found = [future.result() for future in futures]"
    ).ok()
    assert story.value("found.count(None), found.count(1)") == (400, 5)
    executed = story.told("request.executed", 405)
    assert [each["outcome"] for each in executed] == ["ok"] * 405
    assert {each["reason"] for each in story.told("worker.recycled", 2)} == {"manual"}
    assert story.counts("worker.crash") == {}
    story.run("del futures, found").ok()


def test_more_and_fewer_workers_while_all_are_busy_lose_nothing(story: Story) -> None:
    story.run(
        "futures = [get_pool().submit(time.sleep, 0.002) for _ in range(300)]\n"
        "for workers in (4, 1, 3, 2):\n    get_pool().scale(workers)\n"
        "found = [future.result() for future in futures]"
    ).ok()
    assert story.value("found.count(None), get_pool().max_workers") == (300, 2)
    steps = [(each["previous"], each["workers"]) for each in story.told("pool.resized")]
    assert steps == [(2, 4), (4, 1), (1, 3), (3, 2)]
    assert [each["outcome"] for each in story.told("request.executed", 300)] == ["ok"] * 300
    assert story.counts("worker.crash") == {}
    story.run("del futures, found").ok()


def test_stopping_a_busy_pool_ends_what_runs_and_what_waits_and_the_next_cell_has_another(
    story: Story,
) -> None:
    running = [
        story.cell("import time\nprint('runs')\ntime.sleep(600)", f"-b -n run{n}").ok() for n in (0, 1)
    ]
    for cell in running:
        story.notebook.wait_until(lambda cell=cell: cell.stdout == "runs\n", what="the jobs to run")  # type: ignore[misc]
    story.run("waiting = [get_pool().submit(abs, -number) for number in range(100)]").ok()
    story.run("%snakepit stop").ok()
    assert story.value("run0.cancelled(), run1.cancelled(), {each.cancelled() for each in waiting}") == (
        True,
        True,
        {True},
    )
    assert [each["outcome"] for each in story.told("request.executed", 2)] == ["cancelled"] * 2
    assert story.told("pool.stopped", 1) == [{"reason": "shutdown"}]
    assert story.counts("worker.crash", "worker.recycled") == {}
    story.run("del waiting, run0, run1").ok()


def test_a_stream_of_arrays_that_nobody_takes_to_its_end_gives_its_memory_back(story: Story) -> None:
    story.run(
        "def arrays():\n    for number in range(10_000):\n        yield np.full(300_000, number)\n"
        "for array in get_pool().stream(arrays):\n    if array[0] == 5:\n        break\n"
        "kept = float(array.sum())\ndel array"
    ).ok()
    assert story.value("kept") == 1_500_000.0
    # The generator is closed in its worker, which serves on.
    assert [each["outcome"] for each in story.told("request.executed", 1)] == ["ok"]
    assert story.counts(*LIVES) == {}


@pytest.mark.parametrize("depth", [2_000, 200_000])
def test_a_result_that_is_too_deep_to_travel_stays_and_a_line_says_so(story: Story, depth: int) -> None:
    cell = story.cell(f"deep = []\nfor _ in range({depth}):\n    deep = [deep]\nflat = 5")
    assert story.value("flat") == 5
    assert "deep" in "".join(str(each["data"]) for each in cell.ok().displays) + cell.stdout + cell.stderr
    assert story.counts("worker.crash") == {}
