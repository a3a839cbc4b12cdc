"""What the machine gives, for `%snakepit doctor`: the interpreter, processors, and what a process may do."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import sys
import sysconfig
from typing import Final

from snakepit_nb import options
from snakepit_nb.magics import containers
from snakepit_nb.magics.display import in_bytes
from snakepit_nb.magics.finding import Finding

_FEW_FILES: Final = 1024
_FEW_PROCESSES: Final = 256


def python() -> Finding:
    """The interpreter, and whether its threads run at the same time."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return Finding("Python", f"{found}, with a lock: for plain Python code use processes, not threads")
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        advice = "start Python with -X gil=0, or leave out the extension module that switched the lock on"
        return Finding("Python", f"{found}, free-threaded, but its lock is on", advice)
    return Finding("Python", f"{found}, free-threaded: a pool of threads computes on all cores")


def system() -> Finding:
    """The operating system and its kernel."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    libc = " ".join(platform.libc_ver()).strip()
    kernel = f"{platform.system()} {platform.release()}"
    return Finding("system", ", ".join(each for each in (name, kernel, platform.machine(), libc) if each))


def cores() -> Finding:
    """How many processors this process may use."""
    there = os.cpu_count() or 1
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    found = f"{count}" if there == count else f"{count} of the machine's {there}"
    quota = containers.processors()
    if quota is not None and quota < count:
        return Finding(
            "cores",
            f"{found}, and the container may use the time of {quota:g}",
            f"start pools with -w {max(1, int(quota))}: more workers would only take turns",
        )
    if count == 1:
        return Finding("cores", found, "workers are as safe as anywhere, but take turns with the notebook")
    return Finding("cores", found)


def linear_algebra() -> Finding:
    """The libraries that compute in threads of their own, as far as they are loaded here."""
    per = options.current().blas_threads
    said = f"{per} in each request" if per else "one; their share of the cores in a pool of threads"
    try:
        from threadpoolctl import threadpool_info  # noqa: PLC0415 - only who asks needs it
    except ImportError:
        return Finding("BLAS threads", f"in a worker {said}", "pip install threadpoolctl", grave=True)
    loaded = [
        f"{each['internal_api']} {each['version'] or ''}".strip() + f" with {each['num_threads']} threads"
        for each in threadpool_info()
    ]
    return Finding(
        "BLAS threads", f"{', '.join(loaded) or 'none loaded'} in the notebook; in a worker {said}"
    )


def limits() -> Finding:
    """What this process may open and start (its ulimits)."""
    said, advice, grave = [], "", False
    for name, limit in (
        ("open files", resource.RLIMIT_NOFILE),
        ("processes", resource.RLIMIT_NPROC),
    ):
        soft, hard = resource.getrlimit(limit)
        said.append(f"{_limit(soft)} {name}")
        few = _FEW_FILES if limit == resource.RLIMIT_NOFILE else _FEW_PROCESSES
        if soft != resource.RLIM_INFINITY and soft < few:
            flag = "n" if limit == resource.RLIMIT_NOFILE else "u"
            more = _limit(hard) if hard == resource.RLIM_INFINITY or hard > soft else "more, as root"
            advice, grave = f"ulimit -{flag} {more} before the notebook starts: a worker takes ten", True
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY:
        said.append(f"{in_bytes(space)} of address space")
        advice = advice or "ulimit -v unlimited: shared memory needs room to be mapped, used or not"
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    said.append(
        "locked memory unlimited"
        if locked == resource.RLIM_INFINITY
        else f"{in_bytes(locked)} of locked memory"
    )
    core, _ = resource.getrlimit(resource.RLIMIT_CORE)
    said.append("a core file for each crash" if core else "no core files")
    return Finding("limits", ", ".join(said), advice, grave)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def start_methods() -> Finding:
    """How processes can be started here."""
    found = ", ".join(multiprocessing.get_all_start_methods())
    if "fork" in found.split(", ") and hasattr(os, "pidfd_open"):
        return Finding("start methods", f"{found}; workers are forked from a process that imported for them")
    return Finding("start methods", found, "workers need Linux 5.3 or newer", grave=True)
