"""`%snakepit doctor` says what there is, and what to do about what is not."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import resource
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snakepit_nb import options
from snakepit_nb.arrays import native
from snakepit_nb.arrays.memory import SHARED_MEMORY
from snakepit_nb.magics import containers, doctor, frontend, graphics, machine, memories, packages
from snakepit_nb.magics.doctor import Report, findings
from snakepit_nb.magics.finding import Finding

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


def found(what: str) -> Finding:
    return next(each for group in findings().values() for each in group if each.what == what)


# The report


def test_it_looks_at_all_that_matters() -> None:
    seen = {each.what for group in findings().values() for each in group}
    assert seen.issuperset(
        {"snakepit_nb", "Python", "system", "packages", "libraries", "kernel", "front end"}
    )
    assert seen.issuperset({"widgets", "cores", "BLAS threads", "start methods", "limits", "memory", "swap"})
    assert seen.issuperset({"memfd", "huge pages", "arrays", "results", "GPUs"})
    assert str(SHARED_MEMORY) in seen


def test_the_report_marks_what_needs_something_done_and_escapes_what_it_shows() -> None:
    report = Report(
        {
            "One": [Finding("fine", "all well"), Finding("<b>", "slow", "do <this>")],
            "Two": [Finding("bad", "not there", "get it", grave=True)],
        }
    )
    assert repr(report).splitlines() == [
        "One",
        "  fine  all well",
        "* <b>   slow",
        "        -> do <this>",
        "",
        "Two",
        "! bad   not there",
        "        -> get it",
        "",
        "1 problem (!), 1 note (*)",
    ]
    shown = report._repr_html_()
    assert ">&lt;b&gt;</td>" in shown
    assert "<b>" not in shown
    assert "slow\n→ do &lt;this&gt;</td>" in shown
    assert [shown.count(f"</span> {level}</td>") for level in ("ok", "note", "problem")] == [1, 1, 1]


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    report = Report({"One": [Finding("fine", "all well")]})
    assert repr(report).splitlines()[-1] == "nothing needs to be done"
    assert "→" not in report._repr_html_()


def test_a_check_that_fails_is_told_and_keeps_nobody_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_look() -> Finding:
        raise PermissionError(13, "not for you")

    monkeypatch.setattr(doctor, "_GROUPS", (doctor._Group("All", (broken_look, memories.swap)),))
    first, second = findings()["All"]
    assert first.what == "broken look"
    assert first.found == "could not be looked at: PermissionError: [Errno 13] not for you"
    assert first.level == "note"
    assert second.what == "swap"


def test_no_check_fails_where_the_system_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a bare machine: no file, no tool and no library is where it was looked for."""
    monkeypatch.setattr(containers, "_ROOT", tmp_path)
    monkeypatch.setattr(containers, "_OWN", tmp_path / "none")
    monkeypatch.setattr(memories, "_HUGE_PAGES", tmp_path / "none")
    monkeypatch.setattr(memories, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(graphics, "_NVML", "libnone.so")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    said = [each for group in findings().values() for each in group]
    assert [each for each in said if "could not be looked at" in each.found] == []
    assert found("BLAS threads").advice == "pip install threadpoolctl"
    assert found("GPUs").found == "none that NVIDIA's driver tells of"


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys\nfrom snakepit_nb.magics.doctor import Report, findings\nrepr(Report(findings()))\n"
        "print(sorted({'torch', 'cupy', 'pandas', 'jax', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Versions


def test_it_tells_the_versions_that_a_report_of_a_bug_needs() -> None:
    assert f"numpy {np.__version__}" in found("packages").found
    assert "ipykernel" in found("kernel").found


def test_a_package_that_is_too_old_is_a_problem_and_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        return {"numpy": "1.20"}.get(name) or importlib.metadata.version(name)

    monkeypatch.setattr(packages, "version", version)
    said = found("packages")
    assert said.level == "problem"
    assert said.advice.startswith("pip install 'numpy>=")


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("6.30.1", "when a cell has ended"),
        ("7.1.0", "at once, in a thread beside the cell"),
        ("7.4.0", "between cells and awaits"),
        ("8.0.0a1", "between cells and awaits"),
    ],
)
def test_what_a_release_of_the_kernel_means_is_said(release: str, words: str) -> None:
    assert frontend._heard(release) == words


# The page


@pytest.mark.parametrize(
    ("names", "arguments", "starters", "name"),
    [
        ([], [], [["python3", "/usr/bin/jupyter-lab", "x.ipynb"]], "JupyterLab"),
        ([], [], [["python3", "-m", "jupyterlab"]], "JupyterLab"),
        (["VSCODE_PID", "JPY_SESSION_NAME"], [], [["/bin/jupyter-notebook"]], "Jupyter Notebook"),
        ([], [], [["python", "/bin/jupyter-nbconvert", "--execute"], ["/bin/jupyter-lab"]], "nbconvert"),
        ([], [], [["python", "/bin/papermill", "a.ipynb", "b.ipynb"]], "papermill"),
        ([], ["launcher", "--f=/run/kernel-v3aff.json"], [["/usr/bin/node"]], "VS Code"),
        (["VSCODE_PID"], [], [["/bin/bash"]], "VS Code"),
        (["JPY_SESSION_NAME", "VSCODE_PID"], [], [["/bin/supervisor"]], "a Jupyter server"),
        ([], [], [["python", "/home/me/jupyterlab/run.py"]], ""),
        ([], [], [], ""),
    ],
)
def test_what_shows_the_page_is_found_by_what_started_the_kernel(
    names: list[str], arguments: list[str], starters: list[list[str]], name: str
) -> None:
    assert frontend.shown_by(names, arguments, starters) == name


def test_extensions_that_draw_widgets_are_looked_for_where_lab_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *parts: [str(tmp_path.joinpath(*parts))])
    monkeypatch.setattr("jupyter_core.paths.jupyter_config_path", lambda: [str(tmp_path)])
    assert "pip install ipywidgets anywidget" in found("widgets").advice
    for name in ("@jupyter-widgets/jupyterlab-manager", "anywidget"):
        folder = tmp_path / "labextensions" / name
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"version": "9.9"}))
    assert found("widgets") == Finding(
        "widgets", "JupyterLab draws them with @jupyter-widgets/jupyterlab-manager 9.9, anywidget 9.9"
    )
    (tmp_path / "labconfig").mkdir()
    settings = tmp_path / "labconfig" / "page_config.json"
    settings.write_text(json.dumps({"disabledExtensions": {"anywidget": True, "other": True}}))
    assert found("widgets").advice == "jupyter labextension enable anywidget"


# Arrays


def test_arrays_that_are_copied_because_of_an_option_are_told_with_the_way_back() -> None:
    with options.override(arena=False):
        said = found("arrays")
    assert said.found == "copied: shared memory is switched off"
    assert "SNAKEPIT_NB_ARENA" in said.advice


def test_a_missing_library_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: "it was built without a C compiler")
    with options.override(arena=True):
        said = found("arrays")
    assert "it was built without a C compiler" in said.found
    assert "C compiler" in said.advice


def test_with_the_library_nothing_needs_to_be_done_about_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: None)
    with options.override(arena=True):
        assert found("arrays").advice == ""


# The machine


def test_a_container_that_may_use_less_than_the_machine_has_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    inner = root / "system.slice" / "jupyter.service"
    inner.mkdir(parents=True)
    own.write_text("0::/system.slice/jupyter.service\n")
    monkeypatch.setattr(containers, "_ROOT", root)
    monkeypatch.setattr(containers, "_OWN", own)
    assert "container" not in found("memory").found
    assert "container" not in found("cores").found
    # The least of all groups above counts.
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1000000000\n")
    (inner / "cpu.max").write_text("50000 100000\n")
    (inner.parent / "cpu.max").write_text("max 100000\n")
    assert "the container may use 1.0 GB" in found("memory").found
    assert "the container may use the time of 0.5" in found("cores").found
    assert found("cores").advice.startswith("start pools with -w 1")


def test_the_older_control_groups_are_read_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n")
    for controller, name, text in (
        ("memory", "memory.limit_in_bytes", f"{GIB}"),
        ("cpu", "cpu.cfs_quota_us", "150000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
    ):
        folder = tmp_path / controller / "docker" / "a"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}")
    monkeypatch.setattr(containers, "_ROOT", tmp_path)
    monkeypatch.setattr(containers, "_OWN", own)
    assert (containers.memory_limit(), containers.processors()) == (GIB, 1.5)


def test_little_named_memory_is_a_problem_only_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    what = str(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(total=64 << 20, free=64 << 20)
    monkeypatch.setattr(memories, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(memories, "room_of_named", lambda: None)
    assert found(what).level == "ok"
    monkeypatch.setattr(memories, "room_of_named", lambda: 64 << 20)
    assert found(what).level == "problem"
    assert "--shm-size" in found(what).advice


def test_few_open_files_are_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(machine, "_FEW_PROCESSES", 0)
    said = found("limits")
    assert said.level == "problem"
    assert said.advice.startswith("ulimit -n 4096")


# Graphics cards


def test_graphics_cards_are_told_as_the_driver_tells_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Card One, 81559, 80000, 550.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    said = found("GPUs").found
    assert said.startswith("Card One, 80000 of 81559 MiB free, driver 550.1")
    assert said.endswith("CUDA_VISIBLE_DEVICES lets this notebook see 1 of 1")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert found("GPUs").level == "note"
    assert "nvidia-smi" in found("GPUs").advice


class FakeNvml:
    """NVML with one card; it fails where `answer` is not zero."""

    def __init__(self, answer: int = 0) -> None:
        self.answer = answer
        self.ended = False

    def nvmlInit_v2(self) -> int:  # noqa: N802 - the library's own names
        return 0

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.ended = True
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return self.answer

    def nvmlSystemGetDriverVersion(self, text: Any, _: object) -> int:  # noqa: N802
        text.value = b"550.1"
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, _: object, __: object) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetName(self, _: object, text: Any, __: object) -> int:  # noqa: N802
        text.value = b"Card Two"
        return 0

    def nvmlDeviceGetMemoryInfo(self, _: object, memory: Any) -> int:  # noqa: N802
        memory._obj.total, memory._obj.free = 8 << 30, 6 << 30
        return 0


def test_without_the_drivers_tool_its_library_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = FakeNvml()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert graphics.graphics().found.startswith("Card Two, 6144 of 8192 MiB free, driver 550.1")
    assert library.ended
    broken = FakeNvml(answer=9)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: broken)
    assert graphics.graphics().found == "the driver does not answer: NVML says 9"
    assert broken.ended
