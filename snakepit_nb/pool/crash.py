"""What a worker's end means: pure, from its exit status."""

from __future__ import annotations

import signal
from typing import Final

_KINDS: Final = {
    signal.SIGSEGV: "segfault",
    signal.SIGBUS: "segfault",
    signal.SIGABRT: "abort",
}


def classify(exit_code: int | None) -> str:
    """The class of a crash: segfault, abort, exit or killed (oom and gpu need more facts than the exit code).

    Args:
        exit_code: As `subprocess` gives it: negative for a signal; None where nobody could tell.

    Example:
        >>> classify(-11), classify(3), classify(-9), classify(None)
        ('segfault', 'exit', 'killed', 'killed')
    """
    if exit_code is None:
        return "killed"
    if exit_code >= 0:
        return "exit"
    return _KINDS.get(signal.Signals(-exit_code), "killed") if -exit_code in set(signal.Signals) else "killed"


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
