"""Something runs out: descriptors, processes, memory, room. It is an error that says so, and passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.conftest import Story


def test_where_no_descriptor_is_left_cells_run_on_and_a_new_worker_comes_when_there_are_some(
    own_story: Story,
) -> None:
    own_story.notebook.run(
        "import resource\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "hoard = []\n"
        "try:\n    while True:\n        hoard.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError as full:\n    why = full.strerror"
    ).ok()
    assert own_story.value("why") == "'Too many open files'"
    assert own_story.notebook.run("%%snakepit\nanswer['n'] + 1").ok().value == "43"
    own_story.notebook.run(
        "for each in hoard: os.close(each)\nresource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))"
    ).ok()
    own_story.goes_wrong("%%snakepit\nimport os; os._exit(3)", "WorkerCrashed")
    own_story.goes_on()


def test_a_worker_that_cannot_be_started_breaks_the_pool_with_the_reason_and_not_the_notebook(
    own_story: Story,
) -> None:
    own_story.notebook.run(
        "import resource\nlimits = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "used = len(os.listdir('/proc/self/fd'))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (used + 3, limits[1]))"
    ).ok()
    cell = own_story.notebook.run("%snakepit start more -w 4")
    own_story.notebook.run("resource.setrlimit(resource.RLIMIT_NOFILE, limits)").ok()
    text = cell.error.text if cell.error is not None else cell.stderr
    assert "a worker cannot be started" in text
    assert "open files" in text
    own_story.goes_on()


def test_a_cell_that_uses_up_its_own_descriptors_fails_and_the_next_one_runs(story: Story) -> None:
    body = "import os\nheld = []\nwhile True:\n    held.append(os.open('/dev/null', os.O_RDONLY))"
    story.goes_wrong(f"%%snakepit\n{body}", "OSError", "Too many open files")
    assert story.told("worker.crash") == {"worker.crash": 0}
    story.notebook.run("%snakepit recycle").ok()  # what it opened by number stays open in its worker
    story.wait_told("worker.recycled", 2)
    story.goes_on()


def test_an_array_that_is_larger_than_what_a_worker_may_address_is_an_error_of_its_cell(story: Story) -> None:
    story.goes_wrong("%%snakepit\nimport numpy as np\nnp.zeros(1 << 50)", "MemoryError", "8.00 PiB")
    assert story.told("worker.crash") == {"worker.crash": 0}
    story.goes_on()


def test_a_full_disk_is_an_error_of_the_cell(story: Story) -> None:
    story.goes_wrong(
        "%%snakepit\nwith open('/dev/full', 'w') as file:\n    file.write('x' * 100_000)",
        "OSError",
        "No space left",
    )
    story.goes_on()
