"""How the arrays of one message are to be given: what the other side may do to them, and they to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.arrays.handle import Mode


@dataclass(frozen=True, slots=True)
class Sharing:
    """How arrays are given along.

    Attributes:
        mode: `"copy_on_write"`: the other side may write to them, and this one does not see it. `"readonly"`:
            a write to a NumPy array there is an error; other libraries' arrays are copy-on-write, since not
            all of them ask before they write. `"in_place"`: both see what either writes.
        modes: Other modes for some objects, by their `id`.
        snapshot: Whether they are copied, so that what is written here later is not seen there.

    Example:
        >>> Sharing().mode
        'copy_on_write'
    """

    mode: Mode = "copy_on_write"
    modes: Mapping[int, Mode] = field(default_factory=dict)
    snapshot: bool = False


ORDINARY: Final = Sharing()
"""Copy-on-write, without a copy beforehand."""
