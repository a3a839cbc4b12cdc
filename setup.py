"""Builds the libraries in C, where there is a compiler; all else about the package is in pyproject.toml.

*Rule:* they use no header of Python or NumPy and are loaded with ctypes, so one build serves every Python:
they have a plain name, and the wheel no Python's tag.

*Rule:* without a compiler, or off Linux, the package is built without them, and works.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ARRAYS = Path("snakepit_nb", "arrays")
FLAGS = ["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]


def library(name: str, *sources: str, **more: list[str]) -> Extension:
    """A library of `arrays/`; a failing build of it is a warning."""
    return Extension(
        f"snakepit_nb.arrays.{name}",
        [str(ARRAYS / f"{source}.c") for source in sources],
        depends=[str(path) for path in sorted(ARRAYS.glob("*.h"))],
        optional=True,
        **more,
    )


def libraries() -> list[Extension]:
    """What can be built for this platform."""
    if sys.platform != "linux":
        return []
    sources = ("pieces", "arena", "pointers", "forks", "reserve", "handler", "watch")
    threads = ["-pthread"]
    found = [library("_arena", *sources, extra_compile_args=FLAGS + threads, extra_link_args=threads)]
    # It calls the GNU C library by names that others do not have.
    if "gnu" in (sysconfig.get_config_var("MULTIARCH") or "gnu"):
        flags = [*FLAGS, "-fno-builtin"]
        found.append(library("_interpose", "interpose", extra_compile_args=flags, libraries=["dl"]))
    return found


class BuildLibraries(build_ext):
    """Gives the libraries names without a Python's tag."""

    def get_ext_filename(self, fullname: str) -> str:
        """The file of a library, from the root of the package."""
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def run(self) -> None:
        """Build them, and say what it means where that fails."""
        super().run()
        if any(not Path(self.get_ext_fullpath(each.name)).exists() for each in self.extensions):
            self.warn("snakepit_nb is built without its arena library; it works, and copies each array once")


class AnyPython(bdist_wheel):
    """A wheel for one platform and every Python 3; for every platform where nothing was built."""

    def get_tag(self) -> tuple[str, str, str]:
        """The three parts of the wheel's tag."""
        built = self.get_finalized_command("build_ext")
        if not any(Path(built.get_ext_fullpath(each.name)).exists() for each in built.extensions or []):
            self.root_is_pure = True
            return "py3", "none", "any"
        return "py3", "none", super().get_tag()[2]


setup(ext_modules=libraries(), cmdclass={"build_ext": BuildLibraries, "bdist_wheel": AnyPython})
