"""What a cell means in a worker: its `__main__`, its results, its errors, and that nothing of it stays."""

from __future__ import annotations

import linecache
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import numpy as np
import pytest

from snakepit_nb.worker import namespace as room
from snakepit_nb.worker.namespace import Cell, CellResult, LeftBehind, release

ROOT = Path(room.__file__).parents[2]


def cell(
    source: str,
    *outputs: str,
    filename: str = "<In [7]>",
    modules: tuple[tuple[str, str], ...] = (),
    optional: bool = True,
    show_last: bool = True,
) -> Cell:
    return Cell(source, filename, modules, tuple((name, name) for name in outputs), optional, show_last, None)


def run(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_cell_sees_its_inputs_and_brings_back_its_outputs_and_last_value() -> None:
    result = cell("y = x + 1\nz = 0\ny * 2", "y")({"x": 1})
    assert result == CellResult({"y": 2}, 4, True, None, ())


def test_a_cell_without_outputs_brings_back_only_its_last_value() -> None:
    result = Cell("y = 1\ny", "<In [1]>", (), None, True, True, None)({})
    assert (result.values, result.last) == ({}, 1)


def test_an_output_can_have_another_name_in_the_notebook() -> None:
    result = Cell("y = 1", "<In [1]>", (), (("total", "y"),), False, True, None)({})
    assert result.values == {"total": 1}


@pytest.mark.parametrize(
    ("source", "show_last"), [("y = 1", True), ("y = 1\ny", False), ("", True), ("# only a comment", True)]
)
def test_a_cell_that_shows_nothing_has_no_last_value(source: str, *, show_last: bool) -> None:
    result = cell(source, show_last=show_last)({})
    assert (result.has_last, result.last) == (False, None)


def test_a_last_value_of_none_is_still_a_last_value() -> None:
    assert cell("None")({}).has_last


def test_a_silenced_last_expression_is_run_all_the_same() -> None:
    seen: list[int] = []
    cell("seen.append(1)", show_last=False)({"seen": seen})
    assert seen == [1]


def test_an_output_found_by_analysis_that_was_not_bound_is_skipped() -> None:
    assert cell("if False: y = 1\nz = 2", "y", "z")({}).values == {"z": 2}


def test_an_output_asked_for_by_name_that_was_not_bound_is_an_error_that_says_which() -> None:
    with pytest.raises(NameError, match=r"-o asks for 'y', 'w'.*assign") as caught:
        cell("z = 2", "y", "z", "w", optional=False)({})
    assert caught.value.name == "y"


def test_modules_are_imported_before_the_cell_as_the_notebook_named_them() -> None:
    modules = (
        ("np", "numpy"),
        ("xml", "xml.etree.ElementTree"),
        ("ET", "xml.etree.ElementTree"),
        ("p", "os.path"),
    )
    source = "(np.arange(3).sum(), xml.etree.ElementTree is ET, xml.__name__, p.basename('a/b'))"
    assert cell(source, modules=modules)({}).last == (3, True, "xml", "b")


def test_a_module_that_the_worker_does_not_have_is_an_import_error_that_names_the_alias() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here") as caught:
        cell("1", modules=(("nsm", "no_such_module_here"),))({})
    assert "'nsm'" in caught.value.__notes__[0]


def test_a_cell_travels_as_a_pickle() -> None:
    original = cell("x + 1", modules=(("np", "numpy"),))
    assert pickle.loads(pickle.dumps(original)) == original
    assert pickle.loads(pickle.dumps(original))({"x": 1}).last == 2


def test_a_cell_called_again_starts_afresh() -> None:
    each = cell("try:\n    n += 1\nexcept NameError:\n    n = 1\nn")
    assert [each({}).last for _ in range(3)] == [1, 1, 1]


def test_main_is_the_cells_own_while_it_runs_and_the_old_one_afterwards() -> None:
    before = sys.modules["__main__"]
    source = "import __main__\nx = 5\n(__name__, __main__.x, vars(__main__) is globals())"
    assert cell(source)({}).last == ("__main__", 5, True)
    assert sys.modules["__main__"] is before
    with pytest.raises(ZeroDivisionError):
        cell("1/0")({})
    assert sys.modules["__main__"] is before


def test_what_looks_into_main_works_inside_a_cell() -> None:
    source = """
from __future__ import annotations
import pickle, typing, dataclasses
@dataclasses.dataclass
class Point:
    x: int
    other: Point | None = None
(pickle.loads(pickle.dumps(Point(1))) == Point(1), typing.get_type_hints(Point)["other"] == Point | None)
"""
    assert cell(source)({}).last == (True, True)


def test_a_process_started_in_a_cell_finds_the_cells_functions() -> None:
    done = run(
        "from snakepit_nb.worker.namespace import Cell\n"
        "source = '''\n"
        "import concurrent.futures, multiprocessing\n"
        "def square(n): return n * n\n"
        'with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:\n'
        "    squares = list(pool.map(square, range(4)))\n"
        "squares\n"
        "'''\n"
        "print(Cell(source, '<In [1]>', (), None, True, True, None)({}).last)\n"
    )
    assert done.stdout == "[0, 1, 4, 9]\n", done.stderr


def test_top_level_await_works_in_the_body_and_in_the_last_expression() -> None:
    source = """
import asyncio
async def double(n):
    await asyncio.sleep(0)
    return n * 2
y = await double(x)
async with asyncio.timeout(30):
    y += 1
[await double(n) for n in range(y)]
"""
    result = cell(source, "y")({"x": 1})
    assert (result.values, result.last) == ({"y": 3}, [0, 2, 4])


def test_all_cells_of_a_process_share_one_event_loop() -> None:
    source = "import asyncio\nawait asyncio.sleep(0)\nasyncio.get_running_loop()"
    assert cell(source)({}).last is cell(source + " ")({}).last


def test_tasks_that_a_cell_leaves_behind_are_cancelled() -> None:
    log: list[str] = []
    source = """
import asyncio
async def background():
    try:
        await asyncio.sleep(3600)
    finally:
        log.append("ended")
task = asyncio.create_task(background())
await asyncio.sleep(0)
"""
    cell(source)({"log": log})
    assert log == ["ended"]


INTERRUPT = """
import os, signal, asyncio
try:
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(3600)
finally:
    log.append("cleaned up")
"""


def raise_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("handler", [signal.default_int_handler, raise_interrupt])
def test_an_interrupt_cancels_the_running_coroutine_cleanly(handler: signal.Handlers) -> None:
    log: list[str] = []
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            cell(INTERRUPT)({"log": log})
    finally:
        signal.signal(signal.SIGINT, before)
    assert log == ["cleaned up"]
    assert cell("import asyncio\nawait asyncio.sleep(0, 'next')")({}).last == "next"


def test_an_interrupt_while_the_event_loop_waits_cancels_the_coroutine() -> None:
    done = run(
        "import os, signal, threading\n"
        "from snakepit_nb.worker.namespace import Cell\n"
        "def interrupt(number, frame): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGINT, interrupt)\n"
        "source = '''\n"
        "import asyncio, threading, os, signal\n"
        "loop = asyncio.get_running_loop()\n"
        "kill = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))\n"
        "loop.call_soon(kill.start)\n"
        "try:\n"
        "    await asyncio.sleep(3600)\n"
        "finally:\n"
        "    print('cleaned up')\n"
        "'''\n"
        "try:\n"
        "    Cell(source, '<In [1]>', (), None, True, True, None)({})\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    assert done.stdout == "cleaned up\ninterrupted\n", done.stderr


def test_a_traceback_shows_the_cells_line_under_the_notebooks_number() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        cell("\n\ndef f():\n    return 1 / 0\nf()")({})
    frames = [
        frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == "<In [7]>"
    ]
    assert [(frame.lineno, frame.line) for frame in frames] == [(5, "f()"), (4, "return 1 / 0")]


def test_inspect_shows_the_source_of_the_cells_functions_also_when_the_cell_runs_again() -> None:
    source = "import inspect\ndef f():\n    return '\\x0c'  # a\x0cb\ninspect.getsource(f)"
    each = cell(source)
    assert each({}).last == "def f():\n    return '\\x0c'  # a\x0cb\n"
    cell("other = 1")({})
    assert linecache.getline("<In [7]>", 1) == "other = 1\n"
    assert each({}).last.startswith("def f")  # type: ignore[attr-defined]


def test_a_syntax_error_is_the_cells_own() -> None:
    with pytest.raises(SyntaxError) as caught:
        cell("\nx = (")({})
    assert (caught.value.filename, caught.value.lineno) == ("<In [7]>", 2)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ValueError])
def test_what_a_cell_raises_comes_out_as_it_is(kind: type[BaseException]) -> None:
    error = kind("x")
    with pytest.raises(kind) as caught:
        cell("raise error")({"error": error})
    assert caught.value is error


def test_a_cell_that_replaced_the_standard_streams_does_not_take_them_from_the_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout
    cell("import io, sys\nsys.stdout = io.StringIO()\nprint('unseen')")({})
    assert sys.stdout is before
    cell("print('seen')")({})
    assert capsys.readouterr().out == "seen\n"


def test_settings_that_live_in_the_context_end_with_the_cell() -> None:
    source = "import numpy as np\nbefore = np.geterr()['divide']\nnp.seterr(divide='raise')\nbefore"
    assert [cell(source)({}).last for _ in range(2)] == ["warn", "warn"]


LEAKY = {
    "no function": "y = x.sum()",
    "a function": "def f():\n    return x.sum()\ny = f()",
    "a closure over it": "def f(x):\n    return lambda: x\ng = f(x)",
    "a default": "def f(a=x):\n    return a",
    "a class that holds it": "class A:\n    data = x",
    "itself in a list": "a = [x]\na.append(a)",
    "an exception kept": "try:\n    x.reshape(7)\nexcept ValueError as error:\n    kept = error",
    "a coroutine": "async def f():\n    return x\nawait f()",
    "a task": """
import asyncio
async def f(x):
    await asyncio.sleep(9)
t = asyncio.create_task(f(x))
await asyncio.sleep(0)
""",
}
FAILING = {
    "at the top": "1 / 0",
    "in a function": "def f(a):\n    b = a\n    1 / 0\nf(x)",
    "in a function that keeps it": """
def f(a):
    try:
        1 / 0
    except ZeroDivisionError as error:
        kept = error
        raise kept
f(x)
""",
    "with a context": "try:\n    x.reshape(7)\nexcept ValueError:\n    x.reshape(8)",
    "as the last exception": """
import sys
try:
    x.reshape(7)
except ValueError as error:
    sys.last_value = error
    raise
""",
    "of a coroutine": "async def f(a):\n    1 / 0\nawait f(x)",
    "by leaving": "def f(a):\n    raise SystemExit\nf(x)",
    "by interrupt": "def f(a):\n    raise KeyboardInterrupt\nf(x)",
}


@pytest.mark.parametrize("source", LEAKY.values(), ids=LEAKY)
def test_an_input_is_freed_when_the_cell_is_done(source: str) -> None:
    array = np.ones(10)
    freed = weakref.ref(array)
    inputs = {"x": array}
    del array
    cell(source)(inputs)
    del inputs
    release()
    assert freed() is None


@pytest.mark.parametrize("source", FAILING.values(), ids=FAILING)
def test_an_input_is_freed_when_the_cell_failed(source: str) -> None:
    array = np.ones(10)
    freed = weakref.ref(array)
    inputs = {"x": array}
    del array
    try:
        cell(source)(inputs)
    except BaseException as error:  # noqa: BLE001 - as the loop does
        described = repr(error)
    del inputs
    release()
    assert described
    assert freed() is None


def test_an_input_that_is_also_a_result_stays_with_the_result() -> None:
    result = cell("def f():\n    return x\ny = x\nx", "y")({"x": np.ones(3)})
    release()
    assert result.last is result.values["y"]
    assert result.last.sum() == 3  # type: ignore[attr-defined]


def test_a_thread_that_a_cell_left_running_keeps_its_names() -> None:
    go, done = threading.Event(), threading.Event()
    seen: list[int] = []
    source = """
import threading
def later():
    go.wait()
    seen.append(offset + 1)
    done.set()
offset = 1
thread = threading.Thread(target=later)
thread.start()
"""
    cell(source)({"go": go, "done": done, "seen": seen})
    release()
    go.set()
    assert done.wait(timeout=30)
    assert seen == [2]


def test_a_result_sheds_what_cannot_travel_and_names_it() -> None:
    def why_not(value: object) -> str | None:
        return None if isinstance(value, int) else "it is a lock"

    result = cell("import threading\na = 1\nb = threading.Lock()", "a", "b")({})
    shed = result.shed(why_not)
    assert shed.values == {"a": 1}
    assert shed.left_behind == (LeftBehind("b", "_thread.lock", "it is a lock"),)


def test_a_last_value_that_cannot_travel_is_shown_by_its_bundle() -> None:
    source = "class Rich:\n    def _repr_html_(self): return '<b>rich</b>'\nRich()"
    shed = cell(source)({}).shed(lambda _value: "no")
    assert (shed.has_last, shed.last, shed.left_behind) == (True, None, ())
    assert shed.last_bundle is not None
    assert shed.last_bundle["data"]["text/html"] == "<b>rich</b>"  # type: ignore[index]


def test_a_last_value_whose_repr_fails_is_shown_by_a_text_that_says_so() -> None:
    source = "class Bad:\n    def __repr__(self): raise ValueError\nBad()"
    shed = cell(source)({}).shed(lambda _value: "no")
    text = "<Bad object, whose repr raised ValueError>"
    assert shed.last_bundle == {"data": {"text/plain": text}, "metadata": {}}


def test_a_last_value_is_shown_as_text_where_ipython_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "IPython.core.formatters", None)
    shed = cell("open")({}).shed(lambda _value: "no")
    assert shed.last_bundle == {"data": {"text/plain": repr(open)}, "metadata": {}}


def test_a_last_value_that_can_travel_stays_a_value() -> None:
    shed = cell("a = open\n3", "a")({}).shed(lambda value: "no" if value is open else None)
    assert (shed.last, shed.last_bundle, len(shed.left_behind)) == (3, None, 1)


def test_the_worker_s_rooms_are_light() -> None:
    done = run(
        "import sys, snakepit_nb.worker.streams, snakepit_nb.worker.namespace as n\n"
        "n.Cell('y = x', '<In [1]>', (), (('y', 'y'),), True, True, None)({'x': 1})\n"
        "print({'IPython', 'ipywidgets', 'pyarrow', 'asyncio', 'numpy', 'traitlets'} & set(sys.modules))\n"
    )
    assert done.stdout == "set()\n", done.stderr
