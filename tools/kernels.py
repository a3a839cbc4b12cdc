"""Runs the tests that are about kernels on the other ipykernel: 6 where `.venv` has 7, else 7.

Usage: `.venv/bin/python tools/kernels.py [pytest's arguments]`

*Rule:* what `.venv` has stays as it is; the other release lies in a folder of its own that is searched first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# What differs between them: to which cell output belongs, the context that a cell runs in, and what a front
# end may ask.
TESTS: Final = (
    "tests/kernel/test_cell_output.py",
    "tests/kernel/test_routing_in_kernel.py",
    "tests/kernel/test_cell_surroundings.py",
    "tests/kernel/test_front_ends.py",
    "tests/kernel/test_dashboard_in_kernel.py",
)
ASKED: Final = "IPYKERNEL_OF_THE_TESTS"


def folder_of(major: int) -> Path:
    """Where the newest release of this major version lies, installed where it is not yet."""
    folder = Path(sys.prefix) / f"ipykernel-{major}"
    if not any(folder.glob("ipykernel-*.dist-info")):
        # It alone: what it is made of is in `.venv` already, but for the one that only ipykernel 6 uses.
        wanted = [f"ipykernel=={major}.*", "nest-asyncio"]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps"]
        done = subprocess.run([*pip, "--upgrade", "--target", str(folder), *wanted], check=False)
        if done.returncode != 0:
            sys.exit(f"pip could not install ipykernel {major}; see its words above. Is the network there?")
    return folder


def main(arguments: list[str]) -> int:
    """Runs the tests; pytest's exit status."""
    own = version("ipykernel")
    major = 6 if own.startswith("7.") else 7
    folder = folder_of(major)
    (found,) = folder.glob("ipykernel-*.dist-info")
    other = found.name.removeprefix("ipykernel-").removesuffix(".dist-info")
    print(f"These tests run on ipykernel {other}; all others ran on ipykernel {own}.", flush=True)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", *(arguments or TESTS)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path, ASKED: other}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
