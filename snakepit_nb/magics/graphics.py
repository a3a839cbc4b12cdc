"""The graphics cards, for `%snakepit doctor`, as their driver tells of them.

*Rule:* nothing is imported for it, and no card is touched: who computes on one is started by that.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from snakepit_nb.magics.finding import Finding
from snakepit_nb.magics.packages import version_of
from snakepit_nb.pool.devices import VISIBLE, seen_here

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUERY: Final = ("--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits")
_PATIENCE: Final = 10.0
_NVML: Final = "libnvidia-ml.so.1"
_NAME_LENGTH: Final = 96
_known: Final[list[int]] = []


class _Memory(ctypes.Structure):
    """`nvmlMemory_t`."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def graphics() -> Finding:
    """The cards, what they have free, and what this notebook sees of them."""
    tool = shutil.which("nvidia-smi")
    try:
        cards = _by_tool(tool) if tool is not None else _by_library()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding(
            "GPUs", f"the driver does not answer: {error}", "run nvidia-smi in a terminal to see what it says"
        )
    if not cards:
        return Finding("GPUs", "none that NVIDIA's driver tells of")
    found = "; ".join(cards)
    seen = seen_here(os.environ)
    if seen is not None:
        found += f"; {VISIBLE} lets this notebook see {len(seen)} of {len(cards)}"
    if version_of("torch").endswith("+cpu"):
        return Finding("GPUs", found, "the torch that is installed is a build without CUDA")
    return Finding("GPUs", found)


def check_card(gpu: int) -> None:
    """Refuse a card that is not here.

    Raises:
        UsageError: It is not, or the driver does not say.
    """
    if gpu < _cards_here():
        return
    seen = seen_here(os.environ)
    allowed = "" if seen is None else f"; {VISIBLE} lets this notebook see {len(seen)}"
    text = (
        f"--gpu {gpu}: NVIDIA's driver tells of {_cards_here() or 'no'} cards here, counted from 0{allowed}; "
        "%snakepit doctor says more"
    )
    raise UsageError(text)


def _cards_here() -> int:
    """How many cards this notebook may use; asked once, for the driver takes its time."""
    if not _known:
        tool = shutil.which("nvidia-smi")
        try:
            cards = _by_tool(tool) if tool is not None else _by_library()
        except (OSError, subprocess.SubprocessError, ValueError):
            return 0
        if not cards:
            return 0
        _known.append(len(cards))
    seen = seen_here(os.environ)
    return _known[0] if seen is None else min(len(seen), _known[0])


def _by_tool(tool: str) -> Sequence[str]:
    asked = subprocess.run(  # noqa: S603 - the driver's own tool, with arguments of ours
        [tool, *_QUERY], capture_output=True, text=True, timeout=_PATIENCE, check=True
    )
    cards = []
    for line in asked.stdout.strip().splitlines():
        name, total, free, driver = (each.strip() for each in line.split(","))
        cards.append(_told(name, total, free, driver))
    return cards


def _by_library() -> Sequence[str]:
    """The same from NVML (https://docs.nvidia.com/deploy/nvml-api), for containers without the tool."""
    try:
        nvml = ctypes.CDLL(_NVML)
    except OSError:
        return []
    _check(nvml.nvmlInit_v2())
    try:
        count, driver = ctypes.c_uint(), ctypes.create_string_buffer(_NAME_LENGTH)
        _check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        _check(nvml.nvmlSystemGetDriverVersion(driver, ctypes.c_uint(_NAME_LENGTH)))
        cards = []
        for index in range(count.value):
            card, memory = ctypes.c_void_p(), _Memory()
            name = ctypes.create_string_buffer(_NAME_LENGTH)
            _check(nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(card)))
            _check(nvml.nvmlDeviceGetName(card, name, ctypes.c_uint(_NAME_LENGTH)))
            _check(nvml.nvmlDeviceGetMemoryInfo(card, ctypes.byref(memory)))
            total, free = str(memory.total >> 20), str(memory.free >> 20)
            cards.append(_told(name.value.decode(), total, free, driver.value.decode()))
        return cards
    finally:
        nvml.nvmlShutdown()


def _check(answer: int) -> None:
    if answer:
        message = f"NVML says {answer}"
        raise OSError(message)


def _told(name: str, total: str, free: str, driver: str) -> str:
    return f"{name}, {free} of {total} MiB free, driver {driver}"
