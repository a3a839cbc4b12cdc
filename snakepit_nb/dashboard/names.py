"""The dictionary of strings: a row tells a name by its number, and the browser is told each name once.

*Rule:* a name is cut and shown, never obeyed: what it holds of control characters is written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snakepit_nb.errors.render import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.dashboard.packing import Table

LONGEST: Final = 200
MANY: Final = 65_000
"""From so many strings on, the dictionary is to be begun anew."""

_MOST: Final = 65_535
_KEPT: Final = 30_000
_NOTHING: Final = 0
_FORGOTTEN: Final = 1
# On top of what `visible` writes out: a name is one line, and is read in its own direction.
_MORE: Final = {
    ord("\n"): "\\n",
    ord("\t"): "\\t",
    **{code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF)},
}


def clean(text: str, longest: int = LONGEST) -> str:
    r"""A text in one line, cut, its control characters written out.

    Example:
        >>> clean("a\nb\x1b" + "c" * 300, 8)
        'a\\nb\\x1…'
    """
    shown = visible(text[: longest + 1]).translate(_MORE)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


class Names:
    """Numbers texts.

    Attributes:
        texts: Each at its number. The first two are the empty one, and the one that stands for the forgotten.

    Example:
        >>> names = Names()
        >>> names("fit"), names("predict"), names("fit")
        (2, 3, 2)
    """

    def __init__(self) -> None:
        self.texts = ["", "…"]
        self.known: dict[str, int] = {"": _NOTHING}

    def __call__(self, text: object) -> int:
        """The number of a text.

        Raises:
            TypeError: it is none.
        """
        if type(text) is not str:
            message = f"a name is a string, got {type(text).__name__}"
            raise TypeError(message)
        number = self.known.get(text)
        if number is not None:
            return number
        shown = clean(text)
        number = self.known.get(shown)
        if number is None:
            number = len(self.texts)
            if number >= _MOST:
                return _FORGOTTEN
            self.texts.append(shown)
            self.known[shown] = number
        return number

    def shorten(self, newest_first: Table, also: Iterable[int]) -> Table:
        """Forget all names but those that are asked for, and number those anew.

        Args:
            newest_first: Numbers that are in use; of too many, the first are kept.
            also: More of them, which are kept in any case.

        Returns:
            An array with the new number of each old one.
        """
        used, first = np.unique(newest_first, return_index=True)
        kept = [*dict.fromkeys((_NOTHING, _FORGOTTEN, *also, *used[np.argsort(first)][:_KEPT].tolist()))]
        renumbered = np.full(_MOST + 1, _FORGOTTEN, "<u2")
        renumbered[kept] = np.arange(len(kept))
        self.texts = [self.texts[number] for number in kept]
        self.known = {text: number for number, text in enumerate(self.texts) if number != _FORGOTTEN}
        return renumbered
