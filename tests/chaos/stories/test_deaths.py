"""Workers that die while a notebook uses them: one cell is lost, with the reason, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from tests.chaos.stories.conftest import died, ended, error

if TYPE_CHECKING:
    from tests.chaos.stories.conftest import Story

LIVES = ("worker.crash", "worker.tainted", "worker.restarted", "worker.recycled", "worker.started")


def test_a_cell_that_closes_every_descriptor_and_goes_on_for_ever(story: Story) -> None:
    cell = story.cell("import os\nos.closerange(0, 4096)\nwhile True:\n    pass")
    died(cell)
    assert cell.error is not None
    assert "it closed the descriptor that its answer would have come by" in cell.error.text
    story.told("worker.started", 1)
    assert story.counts(*LIVES) == dict.fromkeys(("worker.crash", "worker.recycled", "worker.started"), 1)


def test_more_deaths_than_a_pool_bears_break_it_with_the_reason_and_the_next_cell_has_a_new_one(
    story: Story,
) -> None:
    story.run("doomed = [get_pool().submit(os._exit, 3) for _ in range(20)]\nwait(doomed)").ok()
    kinds = story.value("[type(each.exception()).__name__ for each in doomed]")
    # A worker may have died beside the last that was borne.
    assert kinds.count("WorkerCrashed") in {6, 7}
    assert kinds.count("PoolBroken") == 20 - kinds.count("WorkerCrashed")
    reason = "6 workers died within 30 s"
    assert story.value(
        "{each.exception().reason for each in doomed if 'Broken' in repr(each.exception())}"
    ) == {reason}
    assert story.told("pool.stopped", 1) == [{"reason": "broken"}]
    (note,) = story.cell("1").ok().displays
    assert reason in note["data"]["text/plain"]
    story.run("del doomed").ok()


def test_the_process_that_workers_start_from_is_killed_in_the_middle_of_a_cell(own_story: Story) -> None:
    story = own_story
    cell = story.notebook.start("%%snakepit\nimport time\nprint('runs')\ntime.sleep(600)")
    story.notebook.wait_until(lambda: cell.stdout == "runs\n", what="the cell to run")
    parents = [psutil.Process(pid) for pid in story.notebook.descendants()]
    (nursery,) = [each for each in parents if each.ppid() == story.notebook.pid]
    nursery.kill()
    died(story.notebook.finish(cell))
    assert ended(parents)
    story.told("worker.started", 2)
    assert len(story.told("worker.crash")) == 2


def test_what_a_dead_worker_gave_is_still_there(story: Story) -> None:
    story.cell("big = np.arange(1_000_000.0)\nview = big[::-2]").ok()
    story.cell("import os\nos._exit(3)")
    story.told("worker.started", 1)
    died(story.cell("import os\nos.kill(os.getppid(), 0)\nos._exit(3)"))
    story.told("worker.started", 2)
    assert story.value("float(big.sum()), float(view[0]), len(view)") == (499999500000.0, 999999.0, 500000)
    assert story.cell("float(big.sum() + view.sum())").ok().value == "749999500000.0"
    story.run("del big, view").ok()


def test_what_a_dead_worker_wrote_in_place_stays(story: Story) -> None:
    story.run("shared = np.zeros(1_000_000)").ok()
    died(story.cell("import os\nshared[:10] = 1\nos._exit(3)", "--inout shared"))
    assert story.value("float(shared.sum())") == 10.0
    story.cell("shared[:] = 2", "--inout shared").ok()
    assert story.value("float(shared.min())") == 2.0
    story.run("del shared").ok()


def test_a_session_whose_worker_dies_says_what_is_gone_once(story: Story) -> None:
    story.run("session = get_pool().session('s')\nsession.keep('model', np.arange, 300_000).result()").ok()
    assert error(story.run("session.submit(os._exit, 3).result()"))[0] == "WorkerCrashed"
    kind, text = error(story.run("session.get('model')"))
    assert kind == "SessionLost"
    assert "model is gone, make it again" in text
    assert error(story.run("session.get('model').result()"))[0] == "NameError"
    story.run("session.keep('model', np.arange, 3).result()").ok()
    assert story.value("session.get('model').result().tolist()") == [0, 1, 2]
    story.run("session.close()\ndel session").ok()
    assert story.counts("session.lost", "session.opened") == {"session.lost": 1, "session.opened": 2}


def test_a_stream_whose_worker_dies_gives_what_came_before(story: Story) -> None:
    story.run(
        "def numbers():\n    yield from range(3)\n    os.abort()\n"
        "got = []\ntry:\n    for number in get_pool().stream(numbers):\n        got.append(number)\n"
        "except Exception as error:\n    got.append(type(error).__name__)"
    ).ok()
    assert story.value("got") == [0, 1, 2, "WorkerCrashed"]
    story.told("worker.restarted", 1, classification="abort")
