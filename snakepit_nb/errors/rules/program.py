"""What the program itself did: recursion without an end, and assertions that do not hold."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import FailedAssertion, TooDeep
from snakepit_nb.errors.rules.rule import ANY, USER, Mapped, rule

if TYPE_CHECKING:
    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Rule

_ASSERTS: Final = re.compile(r"\s*assert\b\s*")


def _deep(_match: re.Match[str], record: ErrorRecord) -> Mapped:
    counted = Counter(frame.function for frame in record.frames if frame.function != "<module>")
    most, times = counted.most_common(1)[0] if counted else ("", 0)
    depth = sum(frame.skipped for frame in record.frames) + len(record.frames)
    if times <= 1:
        hint = "the value is nested too deep, or holds itself"
        return Mapped(TooDeep, {"depth": depth}, hint)
    hint = f"{most}() calls itself without an end: look at the condition that stops it, or use a loop"
    return Mapped(TooDeep, {"function": most, "depth": depth}, hint)


def _assertion(_match: re.Match[str], record: ErrorRecord) -> Mapped | None:
    last = record.frames[-1] if record.frames else None
    if last is None:
        return None
    found = _ASSERTS.match(last.source)
    if found is None:
        return None
    asserted = last.source[found.end() :].strip()
    hint = "the condition is false: look at the values that it compares"
    return Mapped(FailedAssertion, {"asserted": asserted}, hint)


RULES: Final[tuple[Rule, ...]] = (
    rule(ANY, "RecursionError", r"maximum recursion depth exceeded(?: .*)?", _deep),
    rule(USER, "AssertionError", r".*", _assertion),
)
