"""What it costs to send named values: which of them were copied rather than shared, why, and in what time.

*Rule:* who copies notes it here when it does, under the name whose value is being packed then; where values
have no names nothing is noted, and that costs nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from snakepit_nb import events, telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

Stays = Literal["", "kept", "moved", "compared"]

# Less than both of these is not worth an event: for the pickler tells its place to 64 KiB only.
_WORTH_BYTES: Final = 1 << 20
_WORTH_SECONDS: Final = 0.05
_SMALL: Final = frozenset({type(None), bool, int, float, complex})
_TEXTS: Final = frozenset({str, bytes})


class Name(str):
    """A name that a value travels under, and whose account its cost goes to. It arrives as a plain string."""

    __slots__ = ("account",)
    account: Account


@dataclass(slots=True)
class _Entry:
    """One name's share.

    Attributes:
        seconds: What it took to pack its value.
        pickled: How many bytes of the pickle it is.
        inside: Why memory of it travels in the pickle, where a loan was tried.
        copies: The bytes that were copied, by why, and by what becomes of the copy.
    """

    seconds: float = 0.0
    pickled: int = 0
    inside: str | None = None
    copies: dict[tuple[str, Stays], int] = field(default_factory=dict)


class Account:
    """The account of one message.

    Example:
        >>> account = Account()
        >>> account.names({"x": 1})
        {'x': 1}
        >>> account.begin("x", 0)
        >>> account.end(0)
    """

    __slots__ = ("_began", "_entries", "_from", "name")

    def __init__(self) -> None:
        self.name = ""
        self._entries: dict[str, _Entry] = {}
        self._from = 0
        self._began = 0.0

    def names(self, values: Mapping[str, object]) -> dict[str, object]:
        """The same values; what is packed of each is noted here under its name.

        What cannot cost anything goes without: most names of most cells are numbers and short texts.
        """
        named: dict[str, object] = {}
        for name, value in values.items():
            kind = type(value)
            if kind in _SMALL or (kind in _TEXTS and len(value) < _WORTH_BYTES):  # type: ignore[arg-type]
                named[name] = value
                continue
            key = Name(name)
            key.account = self
            named[key] = value
        return named

    def begin(self, name: str, position: int) -> None:
        """The value of a name comes next; so many bytes of the pickle are written."""
        now = time.perf_counter()
        if self._began:
            self._close(now, position)
        self.name, self._from, self._began = name, position, now

    def end(self, position: int) -> None:
        """The pickle is complete; it is so long."""
        if self._began:
            self._close(time.perf_counter(), position)

    def restart(self) -> None:
        """The pickle is begun anew; the time that is lost stays lost."""
        for entry in self._entries.values():
            entry.pickled = 0
        self._began = 0.0

    def _close(self, now: float, position: int) -> None:
        entry = self._entries.setdefault(self.name, _Entry())
        entry.seconds += now - self._began
        entry.pickled += max(0, position - self._from)
        self._began = 0.0

    def inside(self, reason: str) -> None:
        """An array of the name at hand travels in the pickle, for this reason."""
        self._entries.setdefault(self.name, _Entry()).inside = reason

    def copied(self, name: str, reason: str, nbytes: int, stays: Stays) -> None:
        """Memory was copied; the copy is of use for one message, or `"kept"` for the next ones.

        `"compared"` is for what was not copied after all: an earlier copy of it is still true.
        """
        copies = self._entries.setdefault(name, _Entry()).copies
        copies[reason, stays] = copies.get((reason, stays), 0) + nbytes

    def spent(self, name: str, seconds: float) -> None:
        """Something else took time for this name."""
        self._entries.setdefault(name, _Entry()).seconds += seconds

    def tell(self, direction: str, request_id: int | None) -> None:
        """One event for each name and reason that is worth it; the time goes with the most bytes."""
        for name, entry in self._entries.items():
            shares: list[tuple[int, str, str | None]] = [
                (nbytes, stays or "copied", reason) for (reason, stays), nbytes in entry.copies.items()
            ]
            if entry.pickled:
                shares.append((entry.pickled, "pickled", entry.inside))
            seconds = entry.seconds
            for nbytes, how, reason in sorted(shares, key=lambda share: -share[0]):
                if nbytes < _WORTH_BYTES and seconds < _WORTH_SECONDS:
                    continue
                facts: dict[str, object] = {
                    "name": name,
                    "how": how,
                    "reason": reason,
                    "direction": direction,
                }
                if request_id is not None:
                    facts["request_id"] = request_id
                measured = {"duration_ms": seconds * 1e3, "bytes": nbytes}
                telemetry.execute(events.CELL_COPIED, measured, facts)
                seconds = 0.0
