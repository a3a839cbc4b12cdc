"""What a worker's end means: pure, from its exit status and what is known beside it."""

from __future__ import annotations

import re
import signal
from typing import Final, NamedTuple

_KINDS: Final = {
    signal.SIGSEGV: "segfault",
    signal.SIGBUS: "segfault",
    signal.SIGABRT: "abort",
    signal.SIGILL: "abort",
    signal.SIGFPE: "abort",
    signal.SIGTRAP: "abort",
    signal.SIGSYS: "abort",
}
_OUT_OF_MEMORY: Final = re.compile(r"out of memory|bad_alloc|cannot allocate memory", re.IGNORECASE)
_DEVICE: Final = re.compile(r"\bcuda:(\d+)|\bdevice (?:ordinal |id )?(\d+)|\bGPU[ -]?(\d+)", re.IGNORECASE)
_GPU: Final = re.compile(r"\bCUDA (driver )?error\b|\bcudaError\w+|\bCUBLAS_STATUS_\w+|\bNVRM: Xid\b")


def classify(exit_code: int | None, *, starved: bool = False, last_words: str = "") -> str:
    """The class of a crash: segfault, abort, oom, gpu, exit or killed.

    Args:
        exit_code: As `subprocess` gives it: negative for a signal; None where nobody could tell.
        starved: Whether it was killed because memory was short, or at its own limit.
        last_words: The end of what it wrote to its stderr.

    Example:
        >>> classify(-11), classify(3), classify(-9), classify(None)
        ('segfault', 'exit', 'killed', 'killed')
        >>> classify(-9, starved=True), classify(-6, last_words="std::bad_alloc")
        ('oom', 'oom')
    """
    number = -exit_code if exit_code is not None and exit_code < 0 else 0
    if starved and (exit_code is None or number == signal.SIGKILL):
        return "oom"
    if exit_code is None:
        return "killed"
    kind = "exit" if exit_code >= 0 else _KINDS.get(number, "killed")  # type: ignore[call-overload]
    if kind in {"abort", "exit"}:
        if _OUT_OF_MEMORY.search(last_words) and kind == "abort":
            return "oom"
        if _GPU.search(last_words):
            return "gpu"
    return str(kind)


def signal_name(exit_code: int | None) -> str | None:
    """The name of the signal that ended a process, or None where it exited by itself.

    Example:
        >>> signal_name(-11), signal_name(0)
        ('SIGSEGV', None)
    """
    if exit_code is None or exit_code >= 0:
        return None
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


class Crash(NamedTuple):
    """A death that nobody asked for.

    Attributes:
        exit_code: As `subprocess` gives it.
        kind: Its class.
        device: Which graphics card it was about; None where it was about none.

    Example:
        >>> Crash.of(-11, "", starved=False).facts()["reason"]
        'SIGSEGV'
    """

    exit_code: int | None
    kind: str
    device: str | None = None

    @classmethod
    def of(cls, exit_code: int | None, last_words: str, *, starved: bool) -> Crash:
        """What a worker died of; the arguments are those of `classify`.

        Example:
            >>> Crash.of(3, "", starved=False).kind
            'exit'
            >>> Crash.of(1, "CUDA error: device-side assert triggered on cuda:1", starved=False).device
            'cuda:1'
        """
        kind = classify(exit_code, starved=starved, last_words=last_words)
        return cls(exit_code, kind, _device(last_words) if kind == "gpu" else None)

    def facts(self) -> dict[str, object]:
        """The same as metadata of events.

        Example:
            >>> Crash.of(-9, "", starved=True).facts()["classification"]
            'oom'
        """
        name = signal_name(self.exit_code)
        return {
            "reason": name or self.kind,
            "exit_code": self.exit_code,
            "device": self.device,
            "signal": name,
            "classification": self.kind,
        }


def _device(last_words: str) -> str:
    """The card that the last words name; the first where they name none."""
    found = _DEVICE.search(last_words)
    return f"cuda:{next((each for each in found.groups() if each), '0') if found else '0'}"
