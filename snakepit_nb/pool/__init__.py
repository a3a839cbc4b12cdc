"""Pools of workers: what to do is decided by pure rooms, and done by the supervisor."""

import sys

if sys.platform != "linux":
    # Said here, and not by whatever system call is the first to be missing.
    _text = (
        f"snakepit_nb runs its workers on Linux for now, and this is {sys.platform}: "
        "run the notebook's kernel on a Linux machine, in a container or in WSL"
    )
    raise ImportError(_text)
