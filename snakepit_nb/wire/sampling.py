"""Which events a worker sends to its kernel, by what their names begin with, and how many of them.

*Rule:* of the prefixes that fit a name the longest one decides.
*Rule:* a span is sent whole or not at all: its context decides, and so the same for each of its events.
*Rule:* what tells of losses and failures is always sent.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from snakepit_nb import events
from snakepit_nb.errors.types import ProtocolError
from snakepit_nb.telemetry import EventName, as_name, dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDS: Final = frozenset(("start", "stop", "exception"))
_CONTEXT: Final = "telemetry_span_context"
_ALWAYS: Final = frozenset((events.TELEMETRY_DROPPED, events.TELEMETRY_HANDLER_FAILURE))
_NAMES_KEPT: Final = 4096  # as on the bus: names made up at run time must not grow memory without end


@dataclass(frozen=True, slots=True)
class Rules:
    """What share of the events is sent, by prefix; all where none of them fits.

    Example:
        >>> rules = Rules().set("app", 0).set("app.epoch", 0.5)
        >>> rules.rate(("app", "step")), rules.rate(("app", "epoch", "done")), rules.rate(("other",))
        (0.0, 0.5, 1.0)
    """

    rates: Mapping[EventName, float] = field(default_factory=lambda: MappingProxyType({}))

    def set(self, prefix: object, rate: object) -> Rules:
        """These rules with another one.

        Raises:
            TypeError: the prefix is no name, or the rate no number.
            ValueError: the prefix is not one of a name, or the rate is not from 0 to 1.

        Example:
            >>> Rules().set("", 1).rates
            mappingproxy({(): 1.0})
        """
        start = () if prefix in ((), "") else as_name(prefix)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            message = f"rate: expected which share of the events is sent, from 0 to 1, got {rate!r}"
            raise TypeError(message)
        if not 0 <= rate <= 1:
            message = f"rate: expected a share from 0, none, to 1, all, got {rate!r}"
            raise ValueError(message)
        return Rules(MappingProxyType({**self.rates, start: float(rate)}))

    def rate(self, name: EventName) -> float:
        """The share of the events of this name that is sent."""
        if name in _ALWAYS:
            return 1.0
        starts = (name[:length] for length in range(len(name), -1, -1))
        return next((self.rates[start] for start in starts if start in self.rates), 1.0)

    def pack(self) -> bytes:
        """The rules as bytes.

        Example:
            >>> Rules.unpack(Rules().set("app.step", 0.1).pack()).told()
            {'app.step': 0.1}
        """
        return json.dumps([[dotted(prefix), rate] for prefix, rate in self.rates.items()]).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Rules:
        """Undo `pack`.

        Raises:
            ProtocolError: the bytes are not what it writes.
        """
        rules = cls()
        try:
            for prefix, rate in json.loads(data):
                rules = rules.set(prefix, rate)
        except (TypeError, ValueError) as error:
            message = f"the rules for what is sent cannot be read: {error}"
            raise ProtocolError(message) from error
        return rules

    def told(self) -> dict[str, float]:
        """The rules, for people: by dotted prefix the share; `""` is that of all events."""
        return {dotted(prefix): rate for prefix, rate in sorted(self.rates.items())}


ALL: Final = Rules()
"""Everything is sent."""


class Sampler:
    """Decides for one event after the other whether it is sent.

    Of events that are no spans every n-th of a name is, the first one included.

    Example:
        >>> sampler = Sampler(Rules().set("app", 0.5))
        >>> [sampler.rate(("app", "step"), {}) for _ in range(4)]
        [0.5, 0.0, 0.5, 0.0]
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._rates: dict[tuple[EventName, bool], float] = {}
        self._owed: dict[EventName, float] = {}

    def rate(self, name: EventName, metadata: Mapping[str, object]) -> float:
        """At which rate the event is sent, and 0 where this one is not."""
        # What ends a span has another name than what begins it, and the same rule.
        spans = _CONTEXT in metadata and name[-1] in _ENDS
        rate = self._rates.get((name, spans))
        if rate is None:
            rate = self._rules.rate(name[:-1] if spans else name)
            if len(self._rates) < _NAMES_KEPT:
                self._rates[name, spans] = rate
        if rate in {0.0, 1.0}:
            return rate
        if spans:
            share = zlib.crc32(str(metadata[_CONTEXT]).encode("utf-8", "replace")) / 2**32
            return rate if share < rate else 0.0
        owed = self._owed.get(name, 1.0 - rate) + rate
        # Sums of tenths fall short of one by a hair.
        sent = owed > 1.0 - 1e-9
        if name in self._owed or len(self._owed) < _NAMES_KEPT:
            self._owed[name] = owed - 1.0 if sent else owed
        return rate if sent else 0.0

    def passes(self, name: EventName) -> bool:
        """Whether an event of this name may be sent at all.

        Example:
            >>> Sampler(Rules().set("app", 0)).passes(("app", "step"))
            False
        """
        return self._rules.rate(name) > 0 or (name[-1] in _ENDS and self._rules.rate(name[:-1]) > 0)
