"""IPython in a worker: nothing until a cell asks, then displays, figures and magics as in the notebook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from snakepit_nb.worker import shell as room

ROOT = Path(room.__file__).parents[2]

# Stands for the worker's loop: runs the cells given as JSON on its command line, and writes, as JSON, what
# the kernel would have received, text and displays in their order.
WORKER = """
import importlib, json, os, sys
if sys.argv[2]:
    importlib.import_module(sys.argv[2])
from snakepit_nb.worker import namespace, shell, streams

received = []
out = os.dup(1)

def receive(name, text, whose):
    if received and received[-1][0] == name:
        received[-1][1] += text
    else:
        received.append([name, text])

def display(message):
    received.append(["display", json.loads(json.dumps(message, allow_nan=False))])

live = streams.LiveStreams(receive)
shell.install(display, live.flush)
results = []
for number, source in enumerate(json.loads(sys.argv[1]), 1):
    cell = namespace.Cell(source, f"<In [{number}]>", (), None, True, True, None)
    try:
        result = cell({})
        results.append([repr(result.last), result.last_bundle])
        del result
    except BaseException as error:
        results.append([f"{type(error).__name__}: {error}", None])
    live.flush()
    received.append(["end", number])
    namespace.release()
loaded = sorted({"IPython", "sqlite3", "ipywidgets", "traitlets"} & set(sys.modules))
os.write(out, json.dumps([received, results, loaded]).encode())
"""


class Told(NamedTuple):
    """What the kernel would have received, what each cell gave, and what was loaded in the end."""

    received: list[tuple[str, object]]
    results: list[tuple[str, dict[str, dict[str, object]] | None]]
    loaded: list[str]
    home: Path

    @property
    def displays(self) -> list[dict[str, dict[str, object]]]:
        return [what for kind, what in self.received if kind == "display"]  # type: ignore[misc]

    @property
    def text(self) -> str:
        return "".join(str(what) for kind, what in self.received if kind in {"stdout", "stderr"})


class Worker:
    """Runs cells in a fresh worker process, as the kernel's environment would have it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *cells: str, preload: str = "") -> Told:
        inline = "module://matplotlib_inline.backend_inline"
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.home), "MPLBACKEND": inline}
        env.pop("IPYTHONDIR", None)
        sources = json.dumps([textwrap.dedent(each) for each in cells])
        done = subprocess.run(
            [sys.executable, "-c", WORKER, sources, preload],
            cwd=self.home,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # What forked children wrote to descriptor 1 stands before the report.
        before, bracket, report = done.stdout.partition("[[")
        received, results, loaded = json.loads(bracket + report)
        if before:
            received.append(("descriptor", before))
        return Told([tuple(each) for each in received], [tuple(each) for each in results], loaded, self.home)


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_a_cell_that_does_not_ask_for_ipython_does_not_load_it(worker: Worker) -> None:
    told = worker("print('x')\nimport pandas\npandas.DataFrame({'a': [1]})")
    assert told.loaded == []


def test_display_works_without_an_import_and_keeps_its_place_between_prints(worker: Worker) -> None:
    told = worker("print('before')\ndisplay({'a': 1})\nprint('after')")
    message = {"type": "display_data", "data": {"text/plain": "{'a': 1}"}, "metadata": {}, "transient": {}}
    assert told.received == [
        ("stdout", "before\n"),
        ("display", message),
        ("stdout", "after\n"),
        ("end", 1),
    ]


def test_a_shell_leaves_no_files_and_no_history_behind(worker: Worker) -> None:
    told = worker(
        "get_ipython().run_cell('2')\nget_ipython().db['a'] = 1\nget_ipython().history_manager.enabled"
    )
    assert told.results[0][0] == "False"
    assert list(told.home.iterdir()) == []


def test_displays_can_be_updated_and_cleared(worker: Worker) -> None:
    told = worker(
        """
        from IPython.display import HTML, clear_output, update_display
        handle = display(HTML("<b>1</b>"), display_id="one")
        handle.update(HTML("<b>2</b>"))
        update_display(3, display_id="one")
        clear_output(wait=True)
        """
    )
    first, second, third, clear = told.displays
    kinds: list[object] = [each["type"] for each in told.displays[:3]]
    assert kinds == ["display_data", "update_display_data", "update_display_data"]
    assert (first["data"]["text/html"], second["data"]["text/html"]) == ("<b>1</b>", "<b>2</b>")
    assert third["data"] == {"text/plain": "3"}
    assert {each["transient"]["display_id"] for each in (first, second, third)} == {"one"}
    assert clear == {"type": "clear_output", "wait": True}


def test_what_is_displayed_is_plain_json_and_binary_data_base64(worker: Worker) -> None:
    told = worker(
        """
        import datetime, numpy
        display({"image/png": b"\\x89PNG", "application/json": {
            "n": numpy.int64(1), "f": numpy.float32(0.5), "nan": float("nan"), "t": (1, None, True),
            "d": datetime.date(2024, 1, 2), 3: numpy.arange(2),
        }}, raw=True, metadata={"image/png": {"width": numpy.int64(5)}})
        """
    )
    (message,) = told.displays
    assert message["data"]["image/png"] == "iVBORw=="
    assert message["data"]["application/json"] == {
        "n": 1, "f": 0.5, "nan": "nan", "t": [1, None, True], "d": "2024-01-02", "3": [0, 1],
    }  # fmt: skip
    assert message["metadata"] == {"image/png": {"width": 5}}


def test_figures_left_open_are_shown_at_the_end_of_their_cell_and_closed(worker: Worker) -> None:
    told = worker(
        """
        import matplotlib.pyplot as plt
        plt.plot([1, 2, 3])
        print("drawn");
        """,
        "import matplotlib.pyplot as plt\nplt.get_fignums()",
    )
    assert [kind for kind, _ in told.received] == ["stdout", "display", "end", "end"]
    assert str(told.displays[0]["data"]["image/png"]).startswith("iVBORw0KG")
    assert told.results[1][0] == "[]"


def test_show_in_the_middle_of_a_cell_keeps_its_place(worker: Worker) -> None:
    told = worker("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('after')")
    assert [kind for kind, _ in told.received] == ["display", "stdout", "end"]


def test_figures_of_a_cell_that_fails_are_shown_and_those_of_an_interrupted_one_closed(
    worker: Worker,
) -> None:
    told = worker(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n1 / 0",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nraise KeyboardInterrupt",
        "import matplotlib.pyplot as plt\nplt.get_fignums()",
    )
    assert [kind for kind, _ in told.received] == ["display", "end", "end", "end"]
    assert [repr_ for repr_, _ in told.results] == [
        "ZeroDivisionError: division by zero",
        "KeyboardInterrupt: ",
        "[]",
    ]


def test_a_figure_that_cannot_be_drawn_says_so_and_the_cell_keeps_its_result(worker: Worker) -> None:
    told = worker("import matplotlib.pyplot as plt\nplt.title(r'$\\frac{$')\n42")
    assert told.results[0][0] == "42"
    assert "ParseException" in told.text or "ParseFatalException" in told.text or "ValueError" in told.text


def test_a_last_value_that_only_the_worker_can_draw_comes_with_its_picture(worker: Worker) -> None:
    told = worker("import matplotlib.pyplot as plt\nfigure, _ = plt.subplots()\nfigure", "display(1)\n'text'")
    bundle = told.results[0][1]
    assert bundle is not None
    assert str(bundle["data"]["image/png"]).startswith("iVBORw0KG")
    assert told.results[1] == ("'text'", None)


def test_pandas_frames_and_stylers_are_rich(worker: Worker) -> None:
    told = worker("import pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})\ndisplay(frame, frame.style)")
    assert ["<table" in str(each["data"]["text/html"]) for each in told.displays] == [True, True]


WIDE = """
import pandas
frame = pandas.DataFrame({f"a_column_{number:02}": [number] for number in range(20)})
print(frame)
display(frame)
"""


@pytest.mark.parametrize("preload", ["", "pandas", "IPython.display"])
def test_wide_frames_are_shown_in_full_as_in_a_notebook(worker: Worker, preload: str) -> None:
    told = worker(WIDE, preload=preload)
    assert [f"a_column_{number:02}" in told.text for number in range(20)] == [True] * 20
    html = str(told.displays[0]["data"]["text/html"])
    assert [f"a_column_{number:02}" in html for number in range(20)] == [True] * 20


def test_tqdm_auto_draws_its_bar_with_text_also_once_ipython_is_loaded(worker: Worker) -> None:
    bar = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass"
    told = worker(bar, "display(1)", bar)
    assert told.text.count("3/3") == 2
    assert "ipywidgets" not in told.loaded
    assert told.results[0][0] == told.results[2][0]
    assert "Error" not in told.results[0][0]


def test_tqdm_auto_draws_with_text_where_ipython_came_first(worker: Worker) -> None:
    told = worker("import IPython\nfrom tqdm.auto import tqdm\nlist(tqdm(range(3)))")
    assert told.results[0][0] == "[0, 1, 2]"
    assert "3/3" in told.text


def test_widgets_say_that_they_cannot_work_here(worker: Worker) -> None:
    told = worker("import ipywidgets", "import ipywidgets\nipywidgets.IntSlider()", "1")
    assert told.results[0][0] == "None"
    assert told.results[1][0].startswith("RuntimeError: widgets cannot work in a worker")
    assert told.results[2][0] == "1"


def test_line_magics_see_the_names_of_the_cell_and_only_of_this_cell(worker: Worker) -> None:
    told = worker(
        "value = 41\nget_ipython().run_line_magic('timeit', '-n1 -r1 value + 1')",
        "get_ipython().run_cell_magic('time', '', 'other = 1\\nother + 1')",
        "get_ipython().run_line_magic('timeit', '-n1 -r1 value + 1')",
        "get_ipython().run_line_magic('who_ls', '')",
        "a = get_ipython().getoutput('echo hello')\na[0]",
    )
    assert "per loop" in told.text
    assert told.results[1][0] == "2"
    assert told.results[2][0] == "NameError: name 'value' is not defined"
    assert told.results[3][0] == "[]"
    assert told.results[4][0] == "'hello'"


def test_matplotlib_inline_may_be_asked_for_and_an_event_loop_may_not(worker: Worker) -> None:
    told = worker(
        """
        get_ipython().run_line_magic('matplotlib', 'inline')
        import matplotlib.pyplot as plt
        plt.plot([1]);
        """,
        "get_ipython().enable_gui('qt')",
    )
    assert len(told.displays) == 1
    assert told.results[1][0].startswith("RuntimeError: a worker has no qt event loop")


def test_a_cell_run_by_the_shell_shows_its_last_value_and_captured_output_stays_captured(
    worker: Worker,
) -> None:
    told = worker(
        "x = 2\nget_ipython().run_cell('x + 1')\nNone",
        """
        get_ipython().run_cell_magic('capture', 'seen', 'print(1)\\ndisplay(2)\\n3')
        (seen.stdout, len(seen.outputs))
        """,
    )
    assert [each["data"] for each in told.displays] == [{"text/plain": "3"}]
    assert told.results[1][0] == "('1\\n', 2)"


@pytest.mark.parametrize(
    ("source", "name"), [("input('? ')", "input"), ("import getpass\ngetpass.getpass()", "getpass")]
)
def test_asking_the_user_says_what_to_do_instead(worker: Worker, source: str, name: str) -> None:
    told = worker(source)
    advice = "is not available in a worker; ask in an ordinary cell and use the value here"
    assert told.results[0][0] == f"RuntimeError: {name}() {advice}"


def test_a_process_forked_by_a_cell_displays_as_text_and_not_over_its_parents_connection(
    worker: Worker,
) -> None:
    told = worker(
        """
        import os
        display("parent")
        pid = os.fork()
        if pid == 0:
            display("child")
            os._exit(0)
        os.waitpid(pid, 0)[1]
        """
    )
    assert [each["data"]["text/plain"] for each in told.displays] == ["'parent'"]
    assert told.received[-1] == ("descriptor", "'child'\n")
    assert told.results[0][0] == "0"


def test_the_shell_keeps_nothing_of_a_cell(worker: Worker) -> None:
    told = worker(
        """
        import builtins, weakref, numpy
        x = numpy.ones(3)
        builtins.seen = weakref.ref(x)
        display(x)
        get_ipython().run_cell("x")
        get_ipython().run_cell("1 / 0")
        """,
        "seen() is None",
    )
    assert told.results[1][0] == "True"


def test_a_function_outside_any_cell_may_display_too() -> None:
    code = (
        "from snakepit_nb.worker import shell\n"
        "import getpass, comm, IPython\n"
        "messages = []\n"
        "shell.install(messages.append, lambda: None)\n"
        "display(1)\n"
        "shell.after_cell()\n"
        "print(messages[0]['data'], get_ipython() is IPython.get_ipython() is not None)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "{'text/plain': '1'} True\n", done.stderr


def test_a_worker_that_had_ipython_preloaded_displays_too(worker: Worker) -> None:
    told = worker("display(1)", preload="IPython")
    assert [each["data"] for each in told.displays] == [{"text/plain": "1"}]


def test_an_import_hook_that_failed_once_works_the_next_time(worker: Worker) -> None:
    told = worker(
        """
        import sys
        sys.modules["IPython.core"] = None
        try:
            import IPython
        except ImportError:
            print("refused")
        del sys.modules["IPython.core"]
        """,
        "display(1)",
    )
    assert told.text == "refused\n"
    assert [each["data"] for each in told.displays] == [{"text/plain": "1"}]
