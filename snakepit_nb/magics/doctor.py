"""`%snakepit doctor`: what machine and installation give, and what to do where something is missing."""

from __future__ import annotations

import html
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb import options
from snakepit_nb.arrays import founding, native
from snakepit_nb.arrays.memory import SHARED_MEMORY, room_of_named
from snakepit_nb.magics.display import in_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_PACKAGES: Final = ("numpy", "pyarrow", "pandas", "polars", "torch", "cupy", "jax")


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        what: What was looked at.
        found: What is there.
        advice: What to do about it; empty where nothing needs to be done.
    """

    what: str
    found: str
    advice: str = ""


def findings() -> list[Finding]:
    """All findings, in the order in which they are shown.

    Example:
        >>> findings()[0].what
        'snakepit_nb'
    """
    return [each() for each in _CHECKS]


class Report:
    """Findings as a table: text in a terminal, HTML in a notebook."""

    def __init__(self, found: Sequence[Finding]) -> None:
        self._found = list(found)

    def __repr__(self) -> str:
        width = max(len(each.what) for each in self._found)
        lines = []
        for each in self._found:
            lines.append(f"{'!' if each.advice else ' '} {each.what.ljust(width)}  {each.found}")
            if each.advice:
                lines.append(f"  {' ' * width}  -> {each.advice}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{'!' if each.advice else ''}</td>"
            + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in each)
            + "</tr>"
            for each in self._found
        )
        heads = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("", "what", "found", "to do"))
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _release() -> Finding:
    return Finding("snakepit_nb", _version("snakepit_nb") or "not installed, used from its sources")


def _python() -> Finding:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return Finding("Python", f"{platform.python_implementation()} {platform.python_version()} on {system}")


def _front_end() -> Finding:
    versions = {name: _version(name) for name in ("ipykernel", "IPython", "ipywidgets", "anywidget")}
    return Finding("notebook", ", ".join(f"{name} {found}" for name, found in versions.items() if found))


def _libraries() -> Finding:
    versions = {name: _version(name) for name in _PACKAGES}
    return Finding("libraries", ", ".join(f"{name} {found}" for name, found in versions.items() if found))


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count == 1:
        return Finding("cores", "1", "workers are as safe as anywhere, but take turns with the notebook")
    return Finding("cores", str(count))


def _arrays() -> Finding:
    if not options.current().arena:
        return Finding(
            "arrays",
            "copied: shared memory is switched off",
            "unset SNAKEPIT_NB_ARENA, or set it to 1, and restart the kernel",
        )
    missing = native.available()
    if missing is not None:
        return Finding(
            "arrays",
            f"one copy on their way to a worker: {missing}",
            "install a C compiler (on Debian: apt-get install gcc) and snakepit_nb again",
        )
    return Finding("arrays", f"shared without a copy from {in_bytes(native.THRESHOLD)} on")


def _results() -> Finding:
    if not options.current().arena or native.available() is not None:
        return Finding("results", "one copy on their way back")
    if native.preload_environment():
        return Finding("results", "born in shared memory, whatever library makes them")
    return Finding(
        "results",
        "NumPy's are born in shared memory, those of other libraries are copied once",
        "malloc cannot be replaced in workers: the C library is not glibc, or another allocator is preloaded",
    )


def _nameless() -> Finding:
    size = room_of_named()
    if size is None:
        return Finding("shared memory", "memfd: bounded by the machine's memory alone")
    if not size:
        return Finding("shared memory", "none", "arrays are copied on this system")
    low = size < 1 << 30
    advice = "in a container: --shm-size=8g; arrays that do not fit are copied" if low else ""
    return Finding("shared memory", f"{SHARED_MEMORY}, {in_bytes(size)}", advice)


def _huge_pages() -> Finding:
    try:
        text = _HUGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return Finding("huge pages", "not for shared memory")
    chosen = text[text.find("[") + 1 : text.find("]")]
    if chosen in {"always", "within_size", "advise", "force"}:
        return Finding("huge pages", f"for shared memory: {chosen}")
    return Finding(
        "huge pages",
        f"for shared memory: {chosen}",
        "the first touch of a large array is slow; as root: echo advise > " + str(_HUGE_PAGES),
    )


def _memory() -> Finding:
    import psutil  # noqa: PLC0415 - only who asks needs it

    memory = psutil.virtual_memory()
    budget = in_bytes(founding.most() * options.current().arena_budget)
    return Finding(
        "memory",
        f"{in_bytes(memory.total)}, {in_bytes(memory.available)} free; arrays may take {budget}",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


_CHECKS: Final[tuple[Callable[[], Finding], ...]] = (
    _release,
    _python,
    _front_end,
    _libraries,
    _cores,
    _memory,
    _nameless,
    _huge_pages,
    _arrays,
    _results,
)
