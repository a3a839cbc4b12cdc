"""Values that somebody wrote as text: what one can be, and how it is read.

*Rule:* a text is parsed, never evaluated; one that is refused is told what was expected.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

_SWITCHES: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
    "": False,
}
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d*)?)\s*(|[kmgt]i?)b?\s*", re.IGNORECASE)
_POWERS: Final = "kmgt"


class Limits(NamedTuple):
    """What a value can be.

    Attributes:
        least: The least number.
        most: The greatest number.
        choices: The words, one of which it is.
        several: Whether it may be several of them, joined by commas.
        is_size: Whether it is a number of bytes, and a text such as `4GB` is one, too.
        once: Whether it is chosen once for a kernel, at its first pool.
    """

    least: float = 0
    most: float = math.inf
    choices: tuple[str, ...] = ()
    several: bool = False
    is_size: bool = False
    once: bool = False


def read(text: str, kind: type, limits: Limits) -> object:
    """A value from its text.

    Args:
        text: The text.
        kind: bool, int, float or str.
        limits: What it can be.

    Raises:
        ValueError: it is none; the message says what was expected.

    Example:
        >>> read("1_000", int, Limits()), read("off", bool, Limits())
        (1000, False)
        >>> read("2", float, Limits(most=1))
        Traceback (most recent call last):
        ValueError: expected a number from 0 to 1, got '2'
    """
    text = text.strip()
    found: object
    if kind is bool:
        found = _SWITCHES.get(text.lower())
    elif kind is str:
        found = _words(text, limits)
    else:
        number = nbytes(text) if limits.is_size else _number(text, whole=kind is int)
        found = number if number is not None and limits.least <= number <= limits.most else None
    if found is None:
        message = f"expected {wanted(kind, limits)}, got {text!r}"
        raise ValueError(message)
    return found


def wanted(kind: type, limits: Limits) -> str:
    """What a value can be, in words.

    Example:
        >>> wanted(int, Limits(least=1))
        'a whole number, 1 or more'
    """
    if kind is bool:
        return "on or off"
    if kind is str:
        choices = ", ".join(limits.choices)
        return f"some of {choices}, joined by commas" if limits.several else f"one of {choices}"
    if limits.is_size:
        return "a number of bytes, or a size like 4GB or 512MiB"
    noun = "a whole number" if kind is int else "a number"
    if math.isfinite(limits.most):
        return f"{noun} from {limits.least:g} to {limits.most:g}"
    return f"{noun}, {limits.least:g} or more"


def written(value: object, limits: Limits) -> str:
    """A value as a text that `read` takes back.

    Example:
        >>> written(True, Limits()), written(2 << 30, Limits(is_size=True)), written(1_000_000, Limits())
        ('on', '2GiB', '1_000_000')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        exact = _in_units(value) if limits.is_size else None
        return exact or f"{value:_}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_units(value: int) -> str | None:
    """A number of bytes in the largest unit of which it is a whole number, if any."""
    for power in range(len(_POWERS), 0, -1):
        for base, unit in ((1024, "iB"), (1000, "B")):
            if value and value % base**power == 0:
                return f"{value // base**power}{_POWERS[power - 1].upper()}{unit}"
    return None


def nbytes(text: str) -> int | None:
    """A number of bytes from a text such as `4GB` (powers of 1000) or `4GiB` (of 1024), or None.

    Example:
        >>> nbytes("1.5GB"), nbytes("1 KiB"), nbytes("5"), nbytes("lots")
        (1500000000, 1024, 5, None)
    """
    found = _SIZE.fullmatch(text.replace("_", ""))
    if found is None:
        return None
    number, unit = found[1], found[2].lower()
    factor = (1024 if unit.endswith("i") else 1000) ** (_POWERS.find(unit[0]) + 1 if unit else 0)
    try:
        return int(number) * factor if number.isdecimal() else int(float(number) * factor)
    except (ValueError, OverflowError):  # more digits than Python takes
        return None


def _number(text: str, *, whole: bool) -> float | None:
    try:
        value: float = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _words(text: str, limits: Limits) -> str | None:
    words = [each.strip() for each in text.split(",") if each.strip()] if limits.several else [text]
    return ",".join(words) if set(words).issubset(limits.choices) else None
