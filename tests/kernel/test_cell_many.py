"""Cells of many runs in a real kernel: what is shown below them, and what the stop button does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kernels import CellOutcome, Notebook


def bars(cell: CellOutcome) -> list[tuple[str, str]]:
    """What was drawn of a bar: the kind of message, and its text."""
    return [
        (each.kind, each.content["data"]["text/plain"])
        for each in cell.messages
        if each.kind in {"display_data", "update_display_data"} and "items" in str(each.content["data"])
    ]


def test_what_the_runs_print_appears_below_the_cell_that_launched_them(shared: Notebook) -> None:
    cell = shared.run("%%snakepit --map i in range(4)\nprint('run', i)").ok()
    assert sorted(cell.stdout.split("\n"))[1:] == ["run 0", "run 1", "run 2", "run 3"]


def test_a_bar_is_redrawn_in_its_place_and_ends_with_the_count(shared: Notebook) -> None:
    cell = shared.run("%%snakepit --map i in range(4) --progress\ni").ok()
    drawn = bars(cell)
    assert drawn[0][0] == "display_data"
    assert {kind for kind, _ in drawn[1:]} == {"update_display_data"}
    assert re.search(r"4 items in [\d.]+ s", drawn[-1][1])


def test_quiet_and_no_progress_leave_it_out(shared: Notebook) -> None:
    for option in ("-q", "--no-progress"):
        cell = shared.run(f"%%snakepit --map i in range(3) {option}\nimport time; time.sleep(0.4); i").ok()
        assert bars(cell) == []


def test_the_stop_button_ends_all_runs_keeps_what_is_done_and_the_workers(own: Notebook) -> None:
    pids = own.run("%%snakepit --all\nimport os; os.getpid()").ok().value
    body = "import time\nif i > 1:\n    print('waits', flush=True)\n    time.sleep(600)\ni"
    cell = own.start(f"%%snakepit --map i in range(1000)\n{body}")
    own.wait_until(lambda: cell.stdout.count("waits") >= 2, what="runs that wait")
    own.interrupt()
    over = own.finish(cell)
    assert over.error is not None
    assert over.error.ename == "KeyboardInterrupt"
    assert "what 2 of them gave: import sys; sys.last_value.results" in over.error.evalue
    assert "snakepit_nb/" not in over.error.text
    assert own.run("%%snakepit --all\nimport os; os.getpid()").ok().value == pids


def test_what_was_done_when_it_was_stopped_can_be_had(own: Notebook) -> None:
    body = "import time\nif i > 1:\n    print('waits', flush=True)\n    time.sleep(600)\ni + 10"
    cell = own.start(f"%%snakepit --map i in range(1000)\n{body}")
    own.wait_until(lambda: cell.stdout.count("waits") >= 2, what="runs that wait")
    own.interrupt()
    own.finish(cell)
    assert own.run("import sys; sys.last_value.results[:2]").ok().value == "[10, 11]"


def test_a_second_press_ends_runs_that_hear_nothing(own: Notebook) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf', flush=True)"
    cell = own.start(f"%%snakepit --map i in range(4)\n{deaf}\nwhile True:\n    pass")
    own.wait_until(lambda: cell.stdout.count("deaf") >= 2, what="runs that hear nothing")
    own.interrupt()
    own.interrupt()
    over = own.finish(cell)
    assert over.error is not None
    assert over.error.ename == "KeyboardInterrupt"
    assert own.run("%%snakepit\n'served'").ok().value == "'served'"


def test_a_background_map_prints_below_its_own_cell_while_others_run(own: Notebook) -> None:
    own.run("from threading import Event; go = Event()").ok()
    items = "items = iter(lambda: 'next' if go.wait(60) else None, None)\nimport itertools"
    own.run(items).ok()
    first = own.run(
        "%%snakepit --map each in itertools.islice(items, 3) -b -n sweep\nprint('from', each)"
    ).ok()
    second = own.run("go.set(); sweep.result()").ok()
    own.wait_until(lambda: first.stdout.count("from next") == 3, what="the lines of the first cell")
    assert "from next" not in second.stdout
