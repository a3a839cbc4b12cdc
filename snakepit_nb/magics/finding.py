"""What `%snakepit doctor` says of one thing that it looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        what: What was looked at.
        found: What is there.
        advice: What to do about it; empty where nothing needs to be done.
        grave: Whether something does not work as it is, rather than less well.

    Example:
        >>> Finding("memory", "4 GB").level, Finding("memory", "none", "buy some", grave=True).level
        ('ok', 'problem')
    """

    what: str
    found: str
    advice: str = ""
    grave: bool = False

    @property
    def level(self) -> Level:
        """Whether all is well, could be better, or is not well."""
        if self.grave:
            return "problem"
        return "note" if self.advice else "ok"
