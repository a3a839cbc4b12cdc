"""The arena in C under the eyes of the sanitizers and of valgrind, with random work from several threads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the arena library is made for Linux")

ROOT: Final = Path(__file__).parents[2]
ARRAYS: Final = ROOT / "snakepit_nb" / "arrays"
SOURCES: Final = sorted(path for path in ARRAYS.glob("*.c") if path.stem != "interpose")
WRAP: Final = "-Wl,--wrap=arena_memory_left"  # the program says itself what the machine has left
PROGRAM: Final = Path(__file__).parent / "c" / "stress.c"


def built(folder: Path, *flags: str) -> Path:
    """The stress program, compiled with these flags."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler (on Debian and Ubuntu: apt-get install gcc libc6-dev)")
    program = folder / "stress"
    common = ("-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{ARRAYS}", WRAP)
    command = [compiler, *common, *flags, *map(str, SOURCES), str(PROGRAM), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "cannot find" in done.stderr:
        pytest.skip("the compiler has no sanitizers (on Debian: apt-get install libasan8 libtsan2)")
    assert done.returncode == 0, done.stderr
    return program


def runs(*command: str | Path) -> None:
    """Run a program that must end well and say nothing on stderr."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert "blocks:" in done.stdout


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_work_from_four_threads_breaks_nothing(tmp_path: Path, seed: int) -> None:
    runs(built(tmp_path), str(seed), "4000", "4")


def test_random_work_in_an_arena_that_is_nearly_full_breaks_nothing(tmp_path: Path) -> None:
    runs(built(tmp_path), "4", "4000", "4", "16")


def test_the_address_and_undefined_behaviour_sanitizers_find_nothing(tmp_path: Path) -> None:
    program = built(tmp_path, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    runs(program, "5", "2000", "3")


def test_the_thread_sanitizer_finds_nothing(tmp_path: Path) -> None:
    runs(built(tmp_path, "-fsanitize=thread"), "6", "800", "3")


def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("there is no valgrind (on Debian and Ubuntu: apt-get install valgrind)")
    strict = ("-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite")
    runs(valgrind, *strict, "--show-leak-kinds=definite", built(tmp_path), "7", "400", "2")
