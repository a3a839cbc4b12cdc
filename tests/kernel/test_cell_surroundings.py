"""What a cell finds around it is what the notebook has around it when the cell is launched."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernels import CellOutcome, Notebook


def value(cell: CellOutcome) -> object:
    return ast.literal_eval(cell.ok().value or "None")


def notes(cell: CellOutcome) -> list[str]:
    texts = [str(each["data"].get("text/plain")) for each in cell.displays]
    return [each for each in texts if each.startswith("snakepit: ")]


@pytest.fixture
def restored(shared: Notebook) -> Iterator[Notebook]:
    """The shared kernel, its warnings and logging as they were before the test."""
    shared.run(
        "import logging, warnings\n_filters = list(warnings.filters)\n"
        "_state = (logging.root.level, list(logging.root.handlers))"
    ).ok()
    yield shared
    shared.run(
        "warnings.resetwarnings()\nwarnings.filters[:] = _filters\nlogging.captureWarnings(False)\n"
        "logging.root.setLevel(_state[0])\nlogging.root.handlers[:] = _state[1]\nlogging.disable(0)"
    ).ok()


def test_a_cell_runs_in_the_folder_that_the_notebook_is_in_by_then(shared: Notebook) -> None:
    shared.run("import os\n_start = os.getcwd()\nos.mkdir('below')").ok()
    assert shared.run("%%snakepit\nimport os\nos.path.basename(os.getcwd())").ok().value == "'work'"
    shared.run("%cd below").ok()
    assert shared.run("%%snakepit\nimport os\nos.path.basename(os.getcwd())").ok().value == "'below'"
    shared.run("%%snakepit\nimport os\nos.chdir('/')").ok()
    assert shared.run("%%snakepit\nimport os\nos.path.basename(os.getcwd())").ok().value == "'below'"
    shared.run("os.chdir(_start)").ok()


def test_a_folder_that_is_gone_is_a_note_and_the_cell_runs(own: Notebook) -> None:
    own.run("import os, shutil\nos.mkdir('gone')\nos.chdir('gone')\nshutil.rmtree('../gone')").ok()
    assert own.run("%%snakepit\n6 * 7").ok().value == "42"


def test_variables_of_the_environment_reach_workers_that_run_already(shared: Notebook) -> None:
    shared.run("%env SNAKE_COLOUR=green").ok()
    look = (
        "%%snakepit\nimport os, subprocess\n"
        "os.environ.get('SNAKE_COLOUR'), subprocess.getoutput('echo $SNAKE_COLOUR')"
    )
    assert value(shared.run(look)) == ("green", "green")
    shared.run("%env SNAKE_COLOUR=brown").ok()
    assert value(shared.run(look)) == ("brown", "brown")
    shared.run("import os\ndel os.environ['SNAKE_COLOUR']").ok()
    assert value(shared.run(look)) == (None, "")


def test_values_of_the_environment_stand_in_no_event_error_or_log(own: Notebook) -> None:
    secret = "hush-4711"  # noqa: S105 - it is looked for, and opens nothing
    own.run(
        "import logging\nfrom snakepit_nb.testing import capture_events\n"
        "logging.basicConfig(filename='all.log', level=logging.DEBUG)\n"
        "events = capture_events()\nevents.__enter__()"
    ).ok()
    own.run(f"import os\nos.environ['SNAKE_TOKEN'] = '{secret}'").ok()
    failed = own.run("%%snakepit\nimport os\nlong = len(os.environ['SNAKE_TOKEN'])\n1 / 0")
    assert failed.error is not None
    assert failed.error.ename == "ZeroDivisionError"
    unpicklable = own.run("import threading\nlock = threading.Lock()")
    unpicklable = own.run("%%snakepit\nlock")
    killed = own.run("%%snakepit\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    for cell in (failed, unpicklable, killed):
        assert secret not in str(cell)
    seen = own.run(
        "events.__exit__(None, None, None)\n"
        "told = repr(list(events)) + open('all.log').read() + repr(get_ipython().history_manager is None)\n"
        "len(told) > 100, 'hush' + '-4711' in told"
    )
    assert value(seen) == (True, False)
    assert secret not in own.log()


def test_a_module_in_a_folder_that_the_notebook_added_to_the_path_is_found(shared: Notebook) -> None:
    shared.run(
        "import os, sys\nos.makedirs('lib', exist_ok=True)\n"
        "open('lib/snake_module.py', 'w').write('NAME = 5')\nsys.path.insert(0, os.path.abspath('lib'))"
    ).ok()
    assert shared.run("%%snakepit\nimport snake_module\nsnake_module.NAME").ok().value == "5"


def test_two_workers_draw_different_random_numbers(own: Notebook) -> None:
    own.run("from snakepit_nb import registry\npool = registry.get_pool()\npool.scale(2)\npool.start()").ok()
    draw = (
        "%%snakepit -b -n {}\nimport os, random, time\nimport numpy as np\ntime.sleep(0.3)\n"
        "os.getpid(), random.random(), np.random.rand()"
    )
    for name in ("one", "two"):
        own.run(draw.format(name)).ok()
    numbers = own.run(
        "a, b = one.result(), two.result()\n[x != y for x, y in zip(a, b)]",
    )
    assert value(numbers) == [True, True, True]


def test_numpy_prints_in_a_cell_as_in_the_notebook(shared: Notebook) -> None:
    shared.run("import numpy as np\nnp.set_printoptions(precision=2, threshold=4)").ok()
    cell = shared.run("%%snakepit\nimport numpy as np\nprint(np.arange(9) / 7)\nnp.arange(9) / 7").ok()
    assert cell.stdout == "[0.   0.14 0.29 ... 0.86 1.   1.14]\n"
    assert cell.value == "array([0.  , 0.14, 0.29, ..., 0.86, 1.  , 1.14], shape=(9,))"
    shared.run("np.set_printoptions(precision=8, threshold=1000)").ok()
    assert (
        shared.run("%%snakepit\nimport numpy as np\nprint(np.array([1 / 3]))").ok().stdout == "[0.33333333]\n"
    )


def test_precision_holds_for_what_a_cell_displays(shared: Notebook) -> None:
    shared.run("%precision 3").ok()
    cell = shared.run("%%snakepit\ndisplay(1 / 3)\n2 / 3").ok()
    assert (cell.displays[0]["data"]["text/plain"], cell.value) == ("0.333", "0.667")
    shared.run("%precision").ok()
    cell = shared.run("%%snakepit\ndisplay(1 / 3)").ok()
    assert cell.displays[0]["data"]["text/plain"] == "0.3333333333333333"


def test_a_frame_is_printed_displayed_and_given_back_with_the_notebooks_options(shared: Notebook) -> None:
    shared.run(
        "import pandas as pd\npd.set_option('display.max_rows', 4)\n"
        "pd.set_option('display.float_format', lambda number: f'<{number:.1f}>')"
    ).ok()
    frame = "%%snakepit\nimport pandas as pd\nframe = pd.DataFrame({'n': range(9), 'x': [0.25] * 9})\n"
    cell = shared.run(frame + "print(frame)\ndisplay(frame)\nframe").ok()
    assert cell.stdout.count("<0.2>") == 4
    assert str(cell.displays[0]["data"]["text/html"]).count("&lt;0.2&gt;") == 4
    assert (cell.value or "").count("<0.2>") == 4
    shared.run("pd.reset_option('display.max_rows')\npd.reset_option('display.float_format')").ok()
    assert shared.run(frame + "print(frame)").ok().stdout.count("0.25") == 9


def test_an_option_that_cannot_travel_is_a_note_once_and_the_others_hold(shared: Notebook) -> None:
    shared.run(
        "import pandas as pd, threading\n"
        "class Format:\n    lock = None\n    def __init__(self): self.lock = threading.Lock()\n"
        "    def __call__(self, number): return '?'\n"
        "pd.set_option('display.float_format', Format())\npd.set_option('display.max_rows', 3)"
    ).ok()
    show = "%%snakepit\nimport pandas as pd\nprint(pd.DataFrame({'x': [0.5] * 9}))"
    cell = shared.run(show).ok()
    assert notes(cell) == ["snakepit: pandas's display.float_format stays in the notebook: it cannot travel"]
    assert "..." in cell.stdout
    assert notes(shared.run(show).ok()) == []
    shared.run("pd.reset_option('display.float_format')\npd.reset_option('display.max_rows')").ok()


def test_a_style_and_a_format_of_figures_hold_in_cells_until_they_are_taken_back(shared: Notebook) -> None:
    shared.run(
        "import matplotlib.pyplot as plt\nplt.style.use('dark_background')\n"
        "%config InlineBackend.figure_formats = ['svg']"
    ).ok()
    plot = "%%snakepit\nimport matplotlib as mpl, matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
    cell = shared.run(plot + "mpl.rcParams['axes.facecolor']").ok()
    assert cell.value == "'black'"
    assert [set(each["data"]) for each in cell.displays] == [{"text/plain", "image/svg+xml"}]
    # What a cell sets is over with it.
    shared.run("%%snakepit\nimport matplotlib as mpl\nmpl.rcParams['axes.facecolor'] = 'red'").ok()
    assert (
        shared.run("%%snakepit\nimport matplotlib as mpl\nmpl.rcParams['axes.facecolor']").value == "'black'"
    )
    shared.run("plt.rcdefaults()\n%config InlineBackend.figure_formats = ['png']").ok()
    cell = shared.run(plot + "mpl.rcParams['axes.facecolor']").ok()
    assert cell.value == "'white'"
    assert [set(each["data"]) for each in cell.displays] == [{"text/plain", "image/png"}]


def test_retina_figures_are_chosen_by_either_way(shared: Notebook) -> None:
    shared.run(
        "from matplotlib_inline.backend_inline import set_matplotlib_formats\n"
        "set_matplotlib_formats('retina')"
    ).ok()
    cell = shared.run("%%snakepit\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);").ok()
    (shown,) = cell.displays
    assert set(shown["metadata"]["image/png"]) == {"width", "height"}
    shared.run("set_matplotlib_formats('png')").ok()


def test_where_the_notebook_shows_no_figures_cells_do_not_and_leave_none_to_others(own: Notebook) -> None:
    own.run("%matplotlib agg").ok()
    plot = "%%snakepit\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.get_fignums()"
    for _ in range(2):
        cell = own.run(plot).ok()
        assert (cell.displays, cell.value) == ([], "[1]")
    own.run("%matplotlib inline").ok()
    assert len(own.run(plot).ok().displays) == 1


def test_where_figures_are_widgets_those_of_cells_are_pictures_and_a_note_says_so(own: Notebook) -> None:
    own.run("%matplotlib notebook").ok()
    plot = "%%snakepit\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    cell = own.run(plot).ok()
    assert notes(cell) == [
        "snakepit: figures of workers come as pictures: notebook of matplotlib needs the notebook's process"
    ]
    assert "image/png" in cell.displays[-1]["data"]
    assert notes(own.run(plot).ok()) == []


def test_a_warning_is_shown_once_with_the_cells_own_line_as_in_a_plain_cell(shared: Notebook) -> None:
    body = "import warnings\ndef odd():\n    warnings.warn('odd')\nfor _ in range(3):\n    odd()"
    here, there = shared.run("# a line\n" + body).ok(), shared.run("%%snakepit\n" + body).ok()
    assert there.stderr == f"<In [{there.execution_count}]>:4: UserWarning: odd\n  warnings.warn('odd')\n"
    assert re.sub(r"^\S*?(?=:\d)", "", here.stderr) == re.sub(r"^<In \[\d+\]>", "", there.stderr)
    # Run again, it is told again, here as there.
    assert shared.run("\n" + body).ok().stderr.count("odd") == shared.run("%%snakepit\n" + body).stderr.count(
        "odd"
    )


def test_filters_of_warnings_hold_in_cells_and_those_of_a_cell_end_with_it(restored: Notebook) -> None:
    warn = "%%snakepit\nimport warnings\nwarnings.warn('odd')\nwarnings.warn('even')"
    restored.run("warnings.filterwarnings('ignore', message='odd')").ok()
    cell = restored.run(warn).ok()
    assert ("UserWarning: odd" in cell.stderr, "UserWarning: even" in cell.stderr) == (False, True)
    restored.run("warnings.simplefilter('error', UserWarning)").ok()
    assert restored.run(warn).error.ename == "UserWarning"  # type: ignore[union-attr]
    restored.run("warnings.resetwarnings()\nwarnings.filters[:] = _filters").ok()
    assert restored.run(warn).ok().stderr.count("UserWarning") == 2
    restored.run("%%snakepit\nimport warnings\nwarnings.simplefilter('ignore')").ok()
    assert restored.run(warn).ok().stderr.count("UserWarning") == 2


def test_a_filter_for_a_library_that_only_the_cell_loads_holds(restored: Notebook) -> None:
    restored.run(
        "from sklearn.exceptions import ConvergenceWarning\n"
        "warnings.filterwarnings('ignore', category=ConvergenceWarning)"
    ).ok()
    cell = restored.run(
        "%%snakepit\nimport warnings\nfrom sklearn.exceptions import ConvergenceWarning, FitFailedWarning\n"
        "warnings.warn('slow', ConvergenceWarning)\nwarnings.warn('bad', FitFailedWarning)"
    ).ok()
    assert ("slow" in cell.stderr.replace("'slow'", ""), "FitFailedWarning: bad" in cell.stderr) == (
        False,
        True,
    )


def test_what_is_logged_appears_below_the_cell_in_the_notebooks_format_and_once(restored: Notebook) -> None:
    log = (
        "%%snakepit\nimport logging\nlogging.getLogger('snake').info('slow')\n"
        "logging.getLogger().warning('quick')"
    )
    assert restored.run(log).ok().stderr == "quick\n"
    restored.run("logging.basicConfig(level=logging.INFO, format='%(levelname)s|%(name)s|%(message)s')").ok()
    cell = restored.run(log).ok()
    assert cell.stderr == "INFO|snake|slow\nWARNING|root|quick\n"
    # What a cell sets up is over with it, and is no second handler beside the notebook's.
    restored.run(
        "%%snakepit\nimport logging\nlogging.basicConfig(force=True, format='again %(message)s')"
    ).ok()
    assert restored.run(log).ok().stderr == "INFO|snake|slow\nWARNING|root|quick\n"
    restored.run("logging.getLogger('snake').setLevel(logging.ERROR)").ok()
    assert restored.run(log).ok().stderr == "WARNING|root|quick\n"
    restored.run("logging.getLogger('snake').setLevel(logging.NOTSET)\nlogging.disable(logging.WARNING)").ok()
    assert restored.run(log).ok().stderr == ""


def test_records_of_a_background_cell_appear_below_it(restored: Notebook) -> None:
    restored.run("logging.basicConfig(format='log %(message)s')").ok()
    job = restored.run(
        "%%snakepit -b -n job\nimport logging, os, time\n"
        "while not os.path.exists('go'):\n    time.sleep(0.01)\n"
        "logging.warning('late')"
    ).ok()
    other = restored.run("open('go', 'w').close()\njob.result()").ok()
    restored.wait_until(lambda: "late" in job.stderr, what="the record below the job's cell")
    assert (job.stderr, other.stderr) == ("log late\n", "")


def test_a_handler_that_writes_elsewhere_is_a_note_once(restored: Notebook) -> None:
    restored.run("logging.basicConfig(filename='notes.log')").ok()
    cell = restored.run("%%snakepit\nimport logging\nlogging.warning('here')").ok()
    (note,) = notes(cell)
    assert note.startswith("snakepit: the FileHandler of the root logger stays in the notebook")
    assert cell.stderr.endswith("here\n")
    assert notes(restored.run("%%snakepit\n1").ok()) == []


def test_warnings_go_to_the_log_where_the_notebook_says_so(restored: Notebook) -> None:
    restored.run("logging.basicConfig(format='%(name)s %(message)s')\nlogging.captureWarnings(True)").ok()
    cell = restored.run("%%snakepit\nimport warnings\nwarnings.warn('odd')").ok()
    assert cell.stderr.startswith(f"py.warnings <In [{cell.execution_count}]>:3: UserWarning: odd")


def test_a_session_and_a_single_expression_take_the_same_along(shared: Notebook) -> None:
    shared.run("%env SNAKE_SIZE=long").ok()
    assert shared.run("%%snakepit --session s\nimport os\nos.environ['SNAKE_SIZE']").ok().value == "'long'"
    shared.run("import os\n%env SNAKE_SIZE=short").ok()
    assert shared.run("%snakepit os.environ['SNAKE_SIZE']").ok().value == "'short'"


def test_cells_in_threads_of_one_worker_find_the_same(own: Notebook) -> None:
    own.run("%snakepit start threads --profile thread -w 2\nimport os\nimport numpy as np").ok()
    own.run("os.mkdir('below')\n%cd below\n%env SNAKE_SIZE=long\nnp.set_printoptions(precision=2)").ok()
    body = (
        "import os\nimport numpy as np\nprint(np.array([1 / 3]))\n"
        "(os.path.basename(os.getcwd()), os.environ['SNAKE_SIZE'])"
    )
    for _ in range(3):
        cell = own.run(f"%%snakepit threads\n{body}").ok()
        assert cell.stdout == "[0.33]\n"
        assert value(cell) == ("below", "long")
