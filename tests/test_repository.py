"""What the repository promises as a whole: a light import, a whole face, tools that say what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nbformat
import pytest

import snakepit_nb

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parent.parent
HEAVY: Final = ("IPython", "cloudpickle", "ipywidgets", "numpy", "pandas", "psutil", "pyarrow", "torch")
CONFIGURATION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def fresh(code: str) -> str:
    """What an interpreter of its own prints for this code."""
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str) -> list[str]:
    """The libraries that this code loads into a fresh interpreter."""
    return fresh(f"import sys\n{code}\nprint(*[name for name in {HEAVY} if name in sys.modules])").split()


def test_importing_the_package_loads_no_library() -> None:
    assert loaded_by("import snakepit_nb") == []


def test_importing_the_package_loads_none_of_its_own_rooms() -> None:
    rooms = fresh("import sys, snakepit_nb; print([n for n in sys.modules if n.startswith('snakepit_nb.')])")
    assert rooms == "[]"


def test_events_and_errors_need_no_library() -> None:
    assert loaded_by("from snakepit_nb import WorkerCrashed, events, options, telemetry") == []


def test_a_pool_loads_no_notebook_library() -> None:
    loaded = loaded_by("from snakepit_nb import Pool")
    assert not {"IPython", "ipywidgets", "pandas", "pyarrow", "torch"} & set(loaded)


@pytest.mark.parametrize("name", snakepit_nb.__all__)
def test_every_name_of_the_face_is_there(name: str) -> None:
    assert getattr(snakepit_nb, name) is not None
    assert name in dir(snakepit_nb)


def test_a_wrong_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"'snakepit_nb' has no attribute 'Pol'"):
        _ = snakepit_nb.Pol  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_project() -> None:
    assert snakepit_nb.__version__ == CONFIGURATION["project"]["version"]


def test_every_rule_of_ruff_that_is_ignored_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pep8-naming]")]
    codes = [line for line in section.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line)]
    assert codes
    assert [line for line in codes if not re.search(r"# \S.{9,}", line)] == []


def test_every_noqa_and_type_ignore_names_what_it_ignores() -> None:
    bare = re.compile(r"#\s*(noqa(?!: [A-Z])|type: ignore(?!\[))")
    places = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("snakepit_nb", "tests", "tools", "docs", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if bare.search(line) and "re.compile" not in line
    ]
    assert places == []


def test_every_folder_with_python_in_it_is_type_checked() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[a-z]*/**/*.py")}
    assert folders - {"build", "dist", "notebooks", "out", "widgets"} == set(
        CONFIGURATION["tool"]["mypy"]["files"]
    )


def test_every_listener_room_is_held_to_knowing_events_only() -> None:
    contracts = {
        contract["name"]: contract for contract in CONFIGURATION["tool"]["importlinter"]["contracts"]
    }
    held = contracts["Listeners know events, not pools"]["source_modules"]
    built = {
        f"snakepit_nb.{room}" for room in ("dashboard", "exporters") if (ROOT / "snakepit_nb" / room).is_dir()
    }
    assert built <= set(held)


def test_the_bus_is_forbidden_every_room_that_there_is() -> None:
    contracts = {
        contract["name"]: contract for contract in CONFIGURATION["tool"]["importlinter"]["contracts"]
    }
    forbidden = set(contracts["The bus knows nobody"]["forbidden_modules"])
    rooms = {
        f"snakepit_nb.{path.stem}"
        for path in (ROOT / "snakepit_nb").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists())
        and path.stem not in {"__init__", "telemetry"}
    }
    assert rooms - forbidden == set()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/index.md", "docs/glossary.md"]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_make_alone_lists_the_commands() -> None:
    listed = run("make")
    assert listed.returncode == 0
    assert {"make demo", "make test", "make lab"} <= {line[:9].strip() for line in listed.stdout.splitlines()}


def test_an_old_python_is_told_what_to_install(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 3.9\n", encoding="utf-8")
    old.chmod(0o755)
    code = (
        "import sys; sys.path.insert(0, 'tools'); import environment;"
        f"environment.NAMES = ({str(old)!r},); sys.executable = {str(old)!r}; environment.interpreter()"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 1
    assert f"needs Python 3.11 or newer; found {old} (3.9)" in done.stderr
    assert "apt-get install python3" in done.stderr


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_a_missing_debian_package_is_named_and_fails_only_where_ci_runs(ci: str, status: int) -> None:
    nowhere = {"PATH": "", "CI": ci}
    done = run(sys.executable, "tools/debian.py", "chromium", env=nowhere)
    assert done.returncode == status
    assert "Not installed: chromium (there is no apt-get here)" in done.stderr
    assert "apt-get install chromium" in done.stderr


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
@pytest.mark.parametrize(("node", "why"), [("", "there is no node"), ("v18.19.0", "is v18.19.0")])
def test_a_node_that_is_missing_or_old_is_told_and_fails_only_where_ci_runs(
    tmp_path: Path, node: str, why: str, ci: str, status: int
) -> None:
    if node:
        for name in ("node", "npm"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho {node}\n", encoding="utf-8")
            (tmp_path / name).chmod(0o755)
    done = run(sys.executable, "tools/widgets.py", env={"PATH": str(tmp_path), "CI": ci})
    assert done.returncode == status
    assert "needs Node 20 or newer" in done.stderr
    assert why in done.stderr
    assert "apt-get install nodejs npm" in done.stderr


def notebook(path: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbformat.write(made, path)
    return path


def executed(path: Path) -> list[Any]:
    return list(nbformat.read(path, as_version=4).cells)


EMIT: Final = """
from snakepit_nb import telemetry
telemetry.execute("snakepit.worker.started", {"startup_time_ms": 3}, {"pool": "default", "worker_id": "w1"})
telemetry.execute("snakepit.request.executed", {"duration_us": 9}, {"success": True})
telemetry.execute("snakepit.request.executed", {"duration_us": 9}, {"success": False})
telemetry.execute("snakepit.zero_copy.export", {"bytes": 8_000_000}, {})
telemetry.execute("snakepit.zero_copy.import", {"bytes": 8_000_000}, {})
telemetry.execute("snakepit.zero_copy.fallback", {"bytes": 4000}, {})
"""


def test_the_demo_counts_events_and_leaves_no_trace_in_the_notebook(tmp_path: Path) -> None:
    source = notebook(tmp_path / "small.ipynb", EMIT, "sorted(name for name in globals() if 'otals' in name)")
    done = run(sys.executable, "tools/run_notebook.py", source, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 workers started (0 crashed)\n2 requests executed (1 failed)\n" in done.stdout
    assert "1 arrays shared, 8 MB; 1 copied, 4 KB" in done.stdout
    assert "<pre>[]</pre>" in (tmp_path / "out" / "small.html").read_text(encoding="utf-8")
    cells = executed(tmp_path / "out" / "small.ipynb")
    assert [cell.execution_count for cell in cells] == [1, 2]
    assert cells[1].outputs[0].data["text/plain"] == "[]"
    assert executed(source)[0].outputs == []


def test_a_demo_whose_notebook_fails_says_which_cell_and_keeps_what_it_showed(tmp_path: Path) -> None:
    source = notebook(tmp_path / "small.ipynb", "'before'", "1 / 0", "'after'")
    done = run(sys.executable, "tools/run_notebook.py", source, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "cell 2 raised ZeroDivisionError: division by zero" in done.stderr
    cells = executed(tmp_path / "out" / "small.ipynb")
    assert cells[0].outputs[0].data["text/plain"] == "'before'"
    assert cells[2].outputs == []


def test_a_demo_whose_kernel_dies_says_so(tmp_path: Path) -> None:
    source = notebook(tmp_path / "small.ipynb", "import os", "os._exit(3)")
    done = run(sys.executable, "tools/run_notebook.py", source, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "cell 2: Kernel died" in done.stderr


LEAKS: Final = """
import os, subprocess, sys, threading

kept = []

def test_clean():
    with open(os.devnull): pass

def test_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_thread():
    end = threading.Event()
    kept.append(end)
    threading.Thread(target=end.wait, name="forgotten", daemon=True).start()

def test_descriptor():
    kept.append(open(os.devnull))

def test_segment():
    open("/dev/shm/snk_forgotten_%d" % os.getpid(), "w").close()

def test_after_a_leak_is_clean_again():
    pass

def test_tidy():
    os.unlink("/dev/shm/snk_forgotten_%d" % os.getpid())
    kept[0].kill()
    kept[0].communicate()
    kept[1].set()
"""


def test_a_test_that_leaks_fails_and_its_leak_is_named(tmp_path: Path) -> None:
    leaky = tmp_path / "test_leaks.py"
    leaky.write_text("import tests.conftest\ntests.conftest.PATIENCE = 0.1\n" + LEAKS, encoding="utf-8")
    options = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "-W", "default")
    done = run(sys.executable, "-m", "pytest", *options, leaky)
    assert "7 passed, 4 errors" in done.stdout, done.stdout
    assert re.search(r"process \d+: .*input\(\)", done.stdout)
    assert "thread 'forgotten' (daemon)" in done.stdout
    assert re.search(r"descriptor \d+: /dev/null", done.stdout)
    assert "shared memory /dev/shm/snk_forgotten_" in done.stdout
