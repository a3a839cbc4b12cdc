"""Cells that share names in a worker, cells that may run again, and pools of threads, in a real kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kernels import Notebook


def test_names_stay_in_the_worker_from_cell_to_cell_and_only_o_brings_some_back(shared: Notebook) -> None:
    shared.run("%%snakepit --session model\nimport os\nweights = [1, 2]\npid = os.getpid()").ok()
    assert shared.run("'weights' in globals(), 'pid' in globals()").ok().value == "(False, False)"
    cell = shared.run("%%snakepit --session model -o total\ntotal = sum(weights)\nos.getpid() == pid").ok()
    assert cell.value == "True"
    assert shared.run("total").ok().value == "3"
    shared.run("%%snakepit --session model -o weights\npass").ok()
    assert shared.run("weights").ok().value == "[1, 2]"


def test_a_value_of_the_notebook_goes_along_anew_and_what_the_session_keeps_goes_before_it(
    shared: Notebook,
) -> None:
    shared.run("scale = 2\nkept = 'of the notebook'").ok()
    assert shared.run("%%snakepit --session fresh\nkept = 'of the session'\nscale").ok().value == "2"
    shared.run("scale = 3").ok()
    assert shared.run("%%snakepit --session fresh\nscale, kept").ok().value == "(3, 'of the session')"
    assert shared.run("%%snakepit --session fresh -i kept\nkept").ok().value == "'of the notebook'"


def test_functions_of_a_session_see_its_names_and_classes_can_be_pickled_there(shared: Notebook) -> None:
    shared.run(
        "%%snakepit --session code\n"
        "import pickle\n"
        "class Point:\n    def __init__(self, x):\n        self.x = x\n"
        "def double():\n    return factor * 2\n"
        "factor = 4"
    ).ok()
    cell = shared.run(
        "%%snakepit --session code\nfactor = 5\ndouble(), pickle.loads(pickle.dumps(Point(3))).x"
    )
    assert cell.ok().value == "(10, 3)"


def test_a_failed_cell_leaves_the_session_what_it_had_and_what_it_made(shared: Notebook) -> None:
    shared.run("%%snakepit --session tough\na = 1").ok()
    failed = shared.run("%%snakepit --session tough\nb = 2\n1 / 0")
    assert failed.error is not None
    assert failed.error.ename == "ZeroDivisionError"
    assert shared.run("%%snakepit --session tough\na + b").ok().value == "3"


def test_a_session_that_died_says_once_what_was_lost(own: Notebook) -> None:
    own.run("%%snakepit --session gone\nmodel = 1\nimport os").ok()
    crashed = own.run("%%snakepit --session gone\nos._exit(3)")
    assert crashed.error is not None
    assert crashed.error.ename == "WorkerCrashed"
    lost = own.run("%%snakepit --session gone\nmodel")
    assert lost.error is not None
    assert lost.error.ename == "SessionLost"
    assert "model" in lost.error.text
    assert own.run("%%snakepit --session gone\nmodel = 2\nmodel").ok().value == "2"


def test_a_cell_that_may_run_again_does_after_a_death(own: Notebook) -> None:
    flag = str(own.cwd / "died")
    body = (
        "import os\n"
        f"if not os.path.exists({flag!r}):\n    open({flag!r}, 'w').close()\n    os._exit(3)\n"
        "'served'"
    )
    cell = own.run(f"%%snakepit --retry 2 -n fragile\n{body}").ok()
    assert cell.value == "'served'"
    notes = [each["data"]["text/plain"] for each in cell.displays]
    assert notes == ["snakepit: fragile runs again, for its worker died: attempt 2 of 3"]
    (own.cwd / "died").unlink()
    assert own.run(f"%%snakepit --retry 2 -q\n{body}").ok().displays == []


def test_a_cell_whose_worker_dies_every_time_says_how_each_attempt_ended(own: Notebook) -> None:
    failed = own.run("%%snakepit --retry 1\nimport os\nos._exit(3)")
    assert failed.error is not None
    assert failed.error.ename == "WorkerCrashed"
    assert "It was tried 2 times, this is how the last ended. Before that:" in failed.error.text
    assert "1. WorkerCrashed: worker default-" in failed.error.text
    assert own.run("%%snakepit\n'served'").ok().value == "'served'"


def test_a_background_cell_runs_again_too_and_says_so_below_itself(own: Notebook) -> None:
    flag = str(own.cwd / "failed")
    cell = own.run(
        "%%snakepit --retry 1 -b -n later\n"
        "import os\n"
        f"if not os.path.exists({flag!r}):\n    open({flag!r}, 'w').close()\n    raise OSError('once')\n"
        "'served'"
    ).ok()
    assert own.run("later.result()").ok().value == "'served'"
    shown = [each["data"]["text/plain"] for each in cell.displays]
    notes = [each for each in shown if not each.startswith("<Job")]
    assert notes == ["snakepit: later runs again, for it raised an error: attempt 2 of 2"]


def test_a_cell_that_fails_every_time_says_how_often_it_was_tried(shared: Notebook) -> None:
    failed = shared.run("%%snakepit --retry 1\nraise OSError('no way')")
    assert failed.error is not None
    assert failed.error.ename == "OSError"
    assert "It was tried 2 times" in failed.error.text


def test_what_is_no_session_and_no_number_is_refused(shared: Notebook) -> None:
    for line, words in (
        ("--session 'a b'", "--session takes a name, as in --session model, got 'a b'"),
        ("--retry -1", "--retry takes how often, 0 or more, got '-1'"),
        ("--retry often", "--retry takes how often, 0 or more, got 'often'"),
    ):
        assert words in shared.run(f"%%snakepit {line}\n1").stderr


def test_cells_of_a_pool_of_threads_run_at_once_in_one_process(own: Notebook) -> None:
    own.run("%snakepit start threads --profile thread -w 2").ok()
    waits = (
        "%%snakepit threads -b -n {0} -o {0}_pid\n"
        "import builtins, os, threading\n"
        "vars(builtins).setdefault('meeting', threading.Barrier(2)).wait(30)\n"
        "print('from {0}')\n"
        "{0}_pid = os.getpid()"
    )
    first = own.run(waits.format("one")).ok()
    second = own.run(waits.format("two")).ok()
    own.run("one.result(), two.result()").ok()
    assert own.run("one_pid == two_pid").ok().value == "True"
    own.wait_until(
        lambda: (first.stdout, second.stdout) == ("from one\n", "from two\n"), what="each cell's output"
    )


def test_the_stop_button_ends_the_cell_of_a_thread_and_the_pool_serves_on(own: Notebook) -> None:
    own.run("%snakepit start threads --profile thread -w 2").ok()
    own.run("%%snakepit threads -o pid\nimport os\npid = os.getpid()").ok()
    cell = own.start("%%snakepit threads\nprint('begun', flush=True)\nwhile True:\n    pass")
    own.wait_until(lambda: cell.stdout == "begun\n", what="the cell begins")
    own.interrupt()
    own.finish(cell)
    assert cell.error is not None
    assert cell.error.ename == "KeyboardInterrupt"
    assert own.run("%%snakepit threads\nimport os\nos.getpid() == pid").ok().value == "True"
