"""A worker's surroundings are made those of the notebook, and put right again before the next cell."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakepit_nb.worker import surroundings as room
from snakepit_nb.worker import timing

ROOT = Path(room.__file__).parents[2]

# Each in a process of its own: what is set is the process's own.
START = """
import json, logging, os, pickle, sys, warnings
from snakepit_nb.wire.surroundings import Around, Handler, Logging, Surroundings, pack
from snakepit_nb.worker import front, shell, surroundings

told = []
shell.install(lambda message: told.append(message["data"]["text/plain"]), lambda: None)

def enter(**given):
    surroundings.enter(pack(Surroundings(**given)))
    front.begin()

def library(**values):
    return tuple((name, pickle.dumps(each)) for name, each in values.items())
"""


def run(code: str, cwd: Path) -> object:
    """What a process that is a worker as far as that goes says at its end by `print(json.dumps(...))`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "HOME": str(cwd)}
    done = subprocess.run(
        [sys.executable, "-c", START + code],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_folder_that_is_not_there_is_told_and_the_rest_holds(tmp_path: Path) -> None:
    found = run(
        "enter(cwd='/no/such/folder', environ=(('A', '1'),))\nprint(json.dumps([told, os.environ['A']]))",
        tmp_path,
    )
    assert isinstance(found, list)
    ((line,), value) = found
    assert line.startswith("snakepit: the worker's folder is not the notebook's (FileNotFoundError: ")
    assert value == "1"


def test_what_a_cell_did_to_folder_and_variables_is_put_right_at_the_next(tmp_path: Path) -> None:
    found = run(
        f"given = dict(cwd={str(tmp_path)!r}, environ=(('A', '1'), ('B', None)))\nenter(**given)\n"
        "os.chdir('/'); os.environ['A'] = '2'; os.environ['B'] = '2'; os.environ['C'] = '2'\nenter(**given)\n"
        "print(json.dumps([os.getcwd(), os.environ['A'], os.environ.get('B'), os.environ['C'], told]))",
        tmp_path,
    )
    assert found == [str(tmp_path), "1", None, "2", []]


def test_folders_that_the_worker_added_to_the_path_stay_beside_those_of_the_notebook(tmp_path: Path) -> None:
    found = run(
        "before = list(sys.path)\nsys.path.insert(0, '/first'); sys.path.append('/last')\n"
        "enter(path=('/new', *before))\none = sys.path == ['/first', '/new', *before, '/last']\n"
        "enter(path=tuple(before))\nprint(json.dumps([one, sys.path == ['/first', *before, '/last']]))",
        tmp_path,
    )
    assert found == [True, True]


def test_settings_wait_for_a_library_that_is_imported_later_and_go_back(tmp_path: Path) -> None:
    found = run(
        "key, given = 'figure.dpi', library(matplotlib={'figure.dpi': 77.0})\n"
        "enter(libraries=given)\nimport matplotlib\nseen = [matplotlib.rcParams[key]]\n"
        "matplotlib.rcParams[key] = 1.0\nenter(libraries=given)\nseen.append(matplotlib.rcParams[key])\n"
        "enter()\nseen.append(matplotlib.rcParams[key] == matplotlib.rcParamsOrig[key])\n"
        "print(json.dumps([seen, told]))",
        tmp_path,
    )
    assert found == [[77.0, 77.0, True], []]


def test_what_an_initializer_had_set_before_the_first_cell_stays(tmp_path: Path) -> None:
    found = run(
        "import pandas\nkey = 'display.width'\npandas.set_option(key, 33)\nenter()\n"
        "pandas.set_option(key, 44)\nenter()\nprint(json.dumps(pandas.get_option(key)))",
        tmp_path,
    )
    assert found == 33


def test_a_setting_that_the_library_refuses_is_told_and_the_others_hold(tmp_path: Path) -> None:
    found = run(
        "import numpy\nenter(libraries=library(numpy={'precision': -1.5, 'threshold': 9}))\n"
        "print(json.dumps([told, numpy.get_printoptions()['threshold']]))",
        tmp_path,
    )
    assert isinstance(found, list)
    ((line,), threshold) = found
    assert line.startswith("snakepit: numpy's precision stays in the notebook (TypeError")
    assert threshold == 9


def test_loggers_have_the_notebooks_levels_until_it_takes_them_back(tmp_path: Path) -> None:
    found = run(
        "logging.getLogger('a').setLevel(40)\n"
        "enter(logging=Logging(levels=(('', 10), ('a', 20), ('b', 30)), silent=('b',)))\n"
        "def now():\n    return [[logging.getLogger(name).level for name in ('', 'a', 'b')], "
        "logging.getLogger('b').propagate]\n"
        "one = now()\nenter()\nprint(json.dumps([one, now()]))",
        tmp_path,
    )
    assert found == [[[10, 20, 30], False], [[logging.WARNING, 40, 0], True]]


def test_a_cell_without_surroundings_changes_nothing() -> None:
    before = (Path.cwd(), list(sys.path), dict(os.environ))
    room.enter(b"")
    assert (Path.cwd(), list(sys.path), dict(os.environ)) == before


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ns"),
        (5e-10, "0 ns"),
        (4.77e-6, "4.77 μs"),
        (59.94, "59.9 s"),
        (60.0, "1min"),
        (90_061.0, "1d 1h 1min 1s"),
    ],
)
def test_a_duration_is_told_as_ipython_tells_it(seconds: float, said: str) -> None:
    assert timing.duration(seconds) == said


def test_the_time_of_what_fails_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), timing.timed():
        _ = 1 / 0
    assert "Wall time" in capsys.readouterr().out
