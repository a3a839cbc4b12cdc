"""A plain `%%snakepit` cell means what it would mean without its first line: names in, results out."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kernels import Notebook


def value(notebook: Notebook, expression: str) -> object:
    """What an ordinary cell says that an expression is."""
    return ast.literal_eval(notebook.run(expression).ok().value or "None")


def test_what_a_cell_reads_goes_along_and_what_it_assigns_comes_back(shared: Notebook) -> None:
    shared.run("import numpy as np\na = np.arange(6.0).reshape(2, 3)\nw = np.ones((3, 2))").ok()
    cell = shared.run(
        "%%snakepit\nimport os\nb = a @ w\nwhere = os.getpid()\n_hidden = 1\nfloat(b.mean())"
    ).ok()
    assert cell.value == "7.5"
    assert value(shared, "b.tolist()") == [[3.0, 3.0], [12.0, 12.0]]
    assert value(shared, "where == __import__('os').getpid(), '_hidden' in globals()") == (False, False)
    assert value(shared, "Out[max(Out)]") == (False, False)


def test_a_table_is_shown_as_in_any_cell_and_a_semicolon_silences_the_last_value(shared: Notebook) -> None:
    cell = shared.run("%%snakepit\nimport pandas as pd\nframe = pd.DataFrame({'n': [1, 2]})\nframe").ok()
    assert cell.result is not None
    assert "<table" in cell.result["text/html"]
    assert value(shared, "frame.n.tolist()") == [1, 2]
    assert shared.run("%%snakepit\n41 + 1;").ok().messages == []


def test_a_figure_as_last_value_is_drawn_and_out_is_the_figure(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nfrom matplotlib.figure import Figure\nimport matplotlib.pyplot as plt\n"
        "drawn, axes = plt.subplots()\naxes.plot([1, 2])\nplt.close()\ndrawn"
    ).ok()
    assert cell.result is not None
    assert cell.result["image/png"].startswith("iVBOR")
    assert value(shared, f"Out[{cell.execution_count}] is drawn") is True
    # The picture was for that cell; later ones show what this process can.
    assert "image/png" not in (shared.run("drawn").ok().result or {})


def test_i_and_o_say_what_goes_and_what_comes(shared: Notebook) -> None:
    shared.run("small, large = 2, 3").ok()
    shared.run("%%snakepit -i small -o twice=result\nresult = small * 2\nother = 1").ok()
    assert value(shared, "twice, 'result' in globals(), 'other' in globals()") == (4, False, False)
    failed = shared.run("%%snakepit -i small\nlarge")
    assert failed.error is not None
    assert failed.error.ename == "NameError"
    assert "-i leaves it out; to take it along: -i large" in failed.error.text
    assert "--no-capture leaves it there" in shared.run("%%snakepit --no-capture\nsmall").error.text  # type: ignore[union-attr]


def test_inout_changes_the_array_itself_and_all_views_of_it(shared: Notebook) -> None:
    shared.run(
        "whole = np.zeros(4) if 'np' in globals() else __import__('numpy').zeros(4)\npart = whole[:2]"
    ).ok()
    assert shared.run("%%snakepit --inout whole\nwhole[:] = 7").ok().displays == []
    assert value(shared, "part.tolist()") == [7.0, 7.0]
    refused = shared.run("words = ['a']\nget_ipython().run_cell_magic('snakepit', '--inout words', 'words')")
    assert "--inout words: expected a NumPy array, words is a list; use -o words" in refused.stderr


def test_a_change_in_place_stays_in_the_worker_and_one_quiet_line_says_so(shared: Notebook) -> None:
    shared.run("kept = [1]").ok()
    cell = shared.run("%%snakepit\nkept.append(2)\nlen(kept)").ok()
    assert cell.value == "2"
    assert cell.stderr == ""
    (note,) = cell.displays
    assert note["data"]["text/plain"].endswith("to have the changed object back: -o kept")
    assert value(shared, "kept") == [1]
    assert shared.run("%%snakepit -q\nkept.append(2)").ok().displays == []
    shared.run("%%snakepit -o kept\nkept.append(2)").ok()
    assert value(shared, "kept") == [1, 2]


def test_a_name_that_a_cell_may_bind_comes_back_only_where_it_did(shared: Notebook) -> None:
    shared.run("held = [1]\nalias = held\nyes, no = True, False").ok()
    shared.run("%%snakepit\nif no:\n    held = [2]\nseen = held[0]").ok()
    assert value(shared, "held is alias, seen") == (True, 1)
    shared.run("%%snakepit\nif yes:\n    held += [2]").ok()
    assert value(shared, "held, alias") == ([1, 2], [1])


def test_a_function_that_uses_a_name_which_the_cell_only_may_bind_still_finds_it(shared: Notebook) -> None:
    shared.run("factor, no = 3, False").ok()
    shared.run(
        "%%snakepit\nif no:\n    factor = 4\ndef times(n):\n    return n * factor\nhere = times(2)"
    ).ok()
    assert value(shared, "here, times(5)") == (6, 15)


def test_names_that_the_cell_deletes_are_gone_and_those_that_it_may_have_are_not(shared: Notebook) -> None:
    shared.run("first, second, no = 1, 2, False").ok()
    shared.run("%%snakepit\ndel first\nif no:\n    del second").ok()
    assert value(shared, "'first' in globals(), second") == (False, 2)


def test_functions_lambdas_and_classes_of_the_notebook_travel_and_keep_their_identity(
    shared: Notebook,
) -> None:
    shared.run(
        "import enum\n"
        "class Point:\n    def __init__(self, x): self.x = x\n    def double(self): return twice(self.x)\n"
        "class Colour(enum.Enum):\n    RED = 1\n"
        "def twice(n): return 2 * n\n"
        "add = lambda n: twice(n) + 1\n"
        "method = Point.double"
    ).ok()
    shared.run("%%snakepit\npoint = Point(4)\ncolour = Colour.RED\nvalues = point.double(), add(1)").ok()
    assert value(shared, "isinstance(point, Point), colour is Colour.RED, values") == (True, True, (8, 3))
    shared.run("def twice(n): return 20 * n").ok()
    assert value(shared, "Point.double is method, point.double()") == (True, 80)


def test_what_a_cell_defines_is_usable_here_and_in_later_cells(shared: Notebook) -> None:
    shared.run("step = 5").ok()
    shared.run(
        "%%snakepit\nimport math\nclass Walk:\n    def __init__(self): self.at = 0\n"
        "    def on(self): self.at += step; return self.at\n"
        "def root(n): return math.sqrt(n)\nwalk = Walk()"
    ).ok()
    assert value(shared, "isinstance(walk, Walk), walk.on(), Walk().on(), root(9)") == (True, 5, 5, 3.0)
    assert (
        shared.run("%%snakepit\nisinstance(walk, Walk), walk.on(), root(16)").ok().value == "(True, 10, 4.0)"
    )


def test_modules_and_submodules_are_imported_under_their_names(shared: Notebook) -> None:
    shared.run("import os.path as paths, xml.etree.ElementTree, numpy as np").ok()
    cell = shared.run(
        "%%snakepit\ntag = xml.etree.ElementTree.fromstring('<a/>').tag\n"
        "paths.join('a', 'b'), tag, float(np.linalg.norm([3, 4]))"
    ).ok()
    assert cell.value == "('a/b', 'a', 5.0)"


def test_what_cannot_travel_back_stays_and_a_line_says_which_and_why(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nimport threading, os\nlock = threading.Lock()\nfine = 1\n"
        "with open(os.devnull) as file:\n    pass"
    ).ok()
    (note,) = cell.displays
    assert "lock stayed in the worker: a _thread.lock cannot travel" in note["data"]["text/plain"]
    assert value(shared, "fine, 'lock' in globals()") == (1, False)
    asked = shared.run("%%snakepit -o lock,fine\nimport threading\nlock, fine = threading.Lock(), 2")
    assert asked.error is not None
    assert asked.error.ename == "CaptureError"
    assert value(shared, "fine") == 2
    shown = shared.run("%%snakepit\nimport threading\nthreading.Lock()").ok()
    assert (shown.value or "").startswith("<unlocked _thread.lock object")


def test_a_value_that_cannot_travel_in_is_named_by_its_path(shared: Notebook) -> None:
    shared.run("import threading\nsettings = {'a': [1, threading.Lock()]}").ok()
    cell = shared.run("%%snakepit\nsettings")
    assert cell.error is not None
    assert "settings['a'][1] is a lock" in cell.error.text
    assert shared.run("%%snakepit\n1").ok().value == "1"


def test_await_works_at_the_top_of_a_cell(shared: Notebook) -> None:
    cell = shared.run("%%snakepit\nimport asyncio\nawait asyncio.sleep(0)\nslept = True\n'awake'").ok()
    assert cell.value == "'awake'"
    assert value(shared, "slept") is True


def test_line_magics_and_shell_commands_work_and_know_the_notebooks_names(shared: Notebook) -> None:
    shared.run("import numpy as np\nnumbers = np.arange(5)\nwho = 'you'").ok()
    cell = shared.run(
        "%%snakepit\n%timeit -n 1 -r 1 numbers.sum()\n%time total = int(numbers.sum())\n"
        "said = !echo hello $who\n%matplotlib inline\nlist(said)"
    ).ok()
    assert "per loop" in cell.stdout
    assert cell.value == "['hello you']"
    assert value(shared, "total, list(said)") == (10, ["hello you"])
    missing = shared.run("%%snakepit\n%nosuchmagic")
    assert missing.error is not None
    assert "`%nosuchmagic` not found" in missing.error.text


def test_other_cell_magics_go_above_and_below_say_so(shared: Notebook) -> None:
    cell = shared.run("%%time\n%%snakepit\n6 * 7").ok()
    assert cell.value == "42"
    assert "Wall time" in cell.stdout
    failed = shared.run("%%time\n%%snakepit\n\n1 / 0")
    assert failed.error is not None
    assert f"In [{failed.execution_count}], line 4" in plain(failed.error.text)
    below = shared.run("%%snakepit\n%%capture\n1")
    assert "make %%capture the first line of the cell" in below.stderr


def test_an_indented_cell_and_empty_lines_at_its_top_keep_their_line_numbers(shared: Notebook) -> None:
    assert shared.run("%%snakepit\n    n = 1\n    n + 1").ok().value == "2"
    failed = shared.run("%%snakepit\n\n\n!true\n1 / 0")
    assert failed.error is not None
    assert f"In [{failed.execution_count}], line 5" in plain(failed.error.text)


def test_the_line_magic_evaluates_starts_stops_and_shows(shared: Notebook) -> None:
    shared.run("base = 4").ok()
    assert shared.run("got = %snakepit base * 10\ngot + 2").ok().value == "42"
    assert "default-0" in (shared.run("%snakepit status").ok().value or "")
    assert (
        shared.run("%snakepit start other -w 1").ok().value
        == "<Pool 'other' 1 worker: 0 busy, 1 idle; 0 queued>"
    )
    assert shared.run("%%snakepit other\n'there'").ok().value == "'there'"
    shared.run("%snakepit stop other").ok()
    assert "there is no pool 'other'" in shared.run("%%snakepit other\n1").stderr
    assert "did you mean %snakepit start?" in shared.run("%snakepit strt").stderr


def test_a_bad_line_says_what_was_meant_and_changes_nothing(shared: Notebook) -> None:
    shared.run("untouched = 1").ok()
    for line, says in {
        "nopool": "there is no pool 'nopool'",
        "--no-captur": "did you mean --no-capture?",
        "-t abc": "-t takes a number of seconds above zero, got 'abc'",
        "-t -1": "-t takes a number of seconds above zero, got '-1'",
        "-i untuched": "the notebook has no such name; did you mean untouched?",
        "-o nothing": "the cell never assigns it",
    }.items():
        cell = shared.run(f"%%snakepit {line}\nuntouched = 2")
        assert cell.status == "error"
        assert says in cell.stderr
    assert value(shared, "untouched") == 1
    assert "body is empty" in shared.run("%%snakepit").stderr


def test_help_is_made_from_the_parser(shared: Notebook) -> None:
    for name, says in {"%%snakepit": "usage: %%snakepit", "%snakepit": "%snakepit start"}.items():
        assert says in str(value(shared, f"get_ipython().object_inspect({name!r})['docstring']"))


def plain(text: str) -> str:
    """Without colours."""
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)
