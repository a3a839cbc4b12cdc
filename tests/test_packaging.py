"""What is installed: from sources and from a wheel, with a C compiler and without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
LIBRARIES: Final = {"snakepit_nb/arrays/_arena.so", "snakepit_nb/arrays/_interpose.so"}

SHARES: Final = """
import numpy as np
import snakepit_nb
from snakepit_nb.arrays import native
from snakepit_nb.testing import capture_events

print(snakepit_nb.__file__)
print(native.available())
with snakepit_nb.Pool(1) as pool:
    pool.start()
    array = np.ones(1_000_000)
    with capture_events("snakepit.zero_copy.export", "snakepit.zero_copy.fallback") as captured:
        result = pool.submit(np.multiply, array, 2).result()
    print(result.sum(), [each.name[-1] for each in captured])
"""


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """What a program printed, both ways; it must end well."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sources")
    build = "from setuptools.build_meta import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
    copy = folder / "copy"
    shutil.copytree(ROOT / "snakepit_nb", copy / "snakepit_nb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "widgets", copy / "widgets", ignore=shutil.ignore_patterns("node_modules"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-c", build, folder, cwd=copy)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (each for each in folder.glob("snakepit_nb-*") if each.is_dir())
    return unpacked


def wheel(sources: Path, folder: Path, **env: str) -> Path:
    """A wheel of these sources."""
    copy = folder / "build"
    shutil.copytree(sources, copy)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    run(sys.executable, "-c", build, folder, cwd=copy, **env)
    (made,) = folder.glob("*.whl")
    return made


def installed_shares(made: Path, folder: Path) -> list[str]:
    """What the program above prints with this wheel installed."""
    place = folder / "place"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps")
    run(*pip, "--target", place, made, cwd=folder)
    lines = run(sys.executable, "-c", SHARES, cwd=folder, PYTHONPATH=str(place)).splitlines()
    assert Path(lines[0]).is_relative_to(place)
    return lines[1:]


BUNDLE: Final = {"snakepit_nb/dashboard/static/timeline.js", "snakepit_nb/dashboard/static/timeline.css"}


def test_the_front_ends_bundle_is_in_the_source_distribution_and_in_the_wheel(
    sources: Path, tmp_path: Path
) -> None:
    assert {name for name in BUNDLE if not (sources / name).is_file()} == set()
    assert (sources / "widgets" / "src" / "index.ts").is_file()
    assert not (sources / "widgets" / "node_modules").exists()
    made = wheel(sources, tmp_path, CC="there-is-no-compiler-of-this-name")
    with zipfile.ZipFile(made) as packed:
        names = set(packed.namelist())
        assert names >= BUNDLE
        for name in BUNDLE:
            assert packed.read(name) == (ROOT / name).read_bytes()
    assert not {name for name in names if name.startswith("widgets/") or "node_modules" in name}


def test_an_editable_installation_finds_the_bundle(tmp_path: Path) -> None:
    show = (
        "from snakepit_nb.dashboard import page; print(*sorted(each.name for each in page._STATIC.iterdir()))"
    )
    assert run(sys.executable, "-c", show, cwd=tmp_path).split() == ["timeline.css", "timeline.js"]


def test_the_source_distribution_has_the_sources_in_c_and_nothing_built(sources: Path) -> None:
    names = {each.name for each in (sources / "snakepit_nb" / "arrays").iterdir()}
    assert {"arena.c", "arena.h", "interpose.c", "py.typed"} - names == {"py.typed"}
    assert not {name for name in names if name.endswith(".so")}


@pytest.mark.skipif(sys.platform != "linux", reason="the libraries in C are made for Linux")
@pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc")),
    reason="there is no C compiler (on Debian and Ubuntu: apt-get install gcc libc6-dev)",
)
def test_a_wheel_brings_the_libraries_for_every_python_of_its_platform(sources: Path, tmp_path: Path) -> None:
    made = wheel(sources, tmp_path)
    assert made.name.startswith("snakepit_nb-")
    assert "-py3-none-linux_" in made.name
    with zipfile.ZipFile(made) as packed:
        names = set(packed.namelist())
    assert names >= LIBRARIES
    assert "snakepit_nb/py.typed" in names
    assert not {name for name in names if name.endswith((".c", ".h"))}
    assert installed_shares(made, tmp_path) == ["None", "2000000.0 ['export', 'export']"]


def test_without_a_compiler_it_is_installed_all_the_same_and_copies_once(
    sources: Path, tmp_path: Path
) -> None:
    made = wheel(sources, tmp_path, CC="there-is-no-compiler-of-this-name")
    assert made.name.endswith("-py3-none-any.whl")
    why, result = installed_shares(made, tmp_path)
    assert why.startswith("the arena library was not built: no C compiler was found")
    assert result == "2000000.0 ['fallback', 'fallback']"
