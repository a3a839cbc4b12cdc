"""Whether a copy still is what it was copied from, byte by byte, and making it so again.

*Rule:* every byte of the original is read, at each question: no other sign of a change can be trusted, since
memory is written to through views, buffers and addresses that nobody counts. So an answer is as true as a new
copy would be.
"""

from __future__ import annotations

from typing import Final

from snakepit_nb.arrays.memory import copy_bytes, same_bytes

# Long enough that a call costs nothing beside it; short enough to be interrupted in between, and that little
# is copied where little was changed.
_STEP: Final = 1 << 20


def update(copy: int, original: int, nbytes: int, *, writing: bool) -> int | None:
    """Make a copy the same as its original again.

    Args:
        copy: Its address.
        original: That of the original.
        nbytes: How long both are.
        writing: Whether the copy may be written to.

    Returns:
        How many bytes were copied; None where one differs and the copy may not be written to.

    Example:
        >>> import numpy as np
        >>> copy, original = np.zeros(3), np.arange(3.0)
        >>> places = copy.ctypes.data, original.ctypes.data, 24
        >>> update(*places, writing=False) is None, update(*places, writing=True)
        (True, 24)
        >>> update(*places, writing=False)
        0
    """
    copied, position, step = 0, 0, _STEP
    while position < nbytes:
        length = min(step, nbytes - position)
        if same_bytes(copy + position, original + position, length):
            step = _STEP
        elif not writing:
            return None
        else:
            copy_bytes(copy + position, original + position, length)
            copied += length
            # Where all was changed, it is copied in pieces as long as copying likes best.
            step *= 2
        position += length
    return copied
