"""What a front end may ask of the kernel: each message is held against the lists of `protocol`, or refused.

*Rule:* nothing of a message is evaluated, imported or looked up as an attribute; what is on no list is
refused with a sentence, and nothing happens.
*Rule:* every number has bounds and every text a length, so that no message can ask for much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snakepit_nb.dashboard.protocol import ACTIONS, FORMATS, VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_VIEW: Final = 64
LONGEST_WORKER: Final = 200
MOST_WORKERS: Final = 256
_LARGEST: Final = 2**53 - 1  # JavaScript counts no further without a gap
_SHOWN: Final = 40
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "ask": (0, _LARGEST),
    "id": (0, 2**32 - 1),
    "request": (0, _LARGEST),
    "workers": (1, MOST_WORKERS),
}
_LENGTHS: Final[Mapping[str, int]] = {"view": LONGEST_VIEW, "worker": LONGEST_WORKER}


class Refused(ValueError):  # noqa: N818 - named for what becomes of the message
    """A message of a front end that is on no list; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One message that was found in order; what its verb does not have is left as it is here.

    Attributes:
        verb: One of `protocol.VERBS`.
        view: Which view asks.
        on: Whether it is looked at.
        ask: The number that the answer is to carry.
        id: The event that `details` are wanted of.
        action: One of `protocol.ACTIONS`.
        format: One of `protocol.FORMATS`.
        workers: For `scale`: how many.
        worker: For `recycle`: which; None for all.
        request: For `cancel`: which.
    """

    verb: str
    view: str = ""
    on: bool = False
    ask: int = 0
    id: int = 0
    action: str = ""
    format: str = ""
    workers: int = 0
    worker: str | None = None
    request: int = 0


def read(content: object) -> Asked:
    """The message, where it is one.

    Raises:
        Refused: It is none; nothing of it is to be done.

    Example:
        >>> read({"verb": "do", "ask": 1, "action": "scale", "workers": 3}).workers
        3
        >>> read({"verb": "do", "ask": 1, "action": "scale", "workers": True})
        Traceback (most recent call last):
        snakepit_nb.dashboard.controls.Refused: scale: workers is a number from 1 to 256, got True
    """
    if not isinstance(content, Mapping):
        text = f"a message is an object with a verb, got {_told(content)}"
        raise Refused(text)
    verb = content.get("verb")
    if not isinstance(verb, str) or verb not in VERBS:
        text = f"there is no verb {_told(verb)}; there are {', '.join(VERBS)}"
        raise Refused(text)
    wanted = {name: _kinds(kind) for name, kind in VERBS[verb].items()}
    label = verb
    if verb == "do":
        action = content.get("action")
        if not isinstance(action, str) or action not in ACTIONS:
            text = f"do: there is no action {_told(action)}; there are {', '.join(ACTIONS)}"
            raise Refused(text)
        wanted.update(ACTIONS[action])
        label = action
    given = {name: value for name, value in content.items() if name != "verb"}
    _check_names(label, given, wanted)
    for name, kinds in wanted.items():
        _check(label, name, given[name], kinds)
    return Asked(verb, **given)


def number_of(content: object) -> int | None:
    """The number under which a refusal can be answered; None where the message has none.

    Example:
        >>> number_of({"verb": "do", "ask": 7, "action": "explode"})
        7
    """
    ask = content.get("ask") if isinstance(content, Mapping) else None
    return ask if type(ask) is int and 0 <= ask <= _LARGEST else None


def _kinds(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _check_names(label: str, given: Iterable[object], wanted: Iterable[str]) -> None:
    expected = set(wanted)
    missing = sorted(expected.difference(given))
    if missing:
        text = f"{label}: {missing[0]} is missing"
        raise Refused(text)
    strange = next((name for name in given if name not in expected), None)
    if strange is not None:
        text = f"{label} takes no {_told(strange)}"
        raise Refused(text)


def _check(label: str, name: str, value: object, kinds: tuple[type, ...]) -> None:
    # By type and not by isinstance: True is an int for Python, and no number of workers.
    if type(value) not in kinds:
        text = f"{label}: {name} is {_expected(name, kinds)}, got {_told(value)}"
        raise Refused(text)
    low, high = _RANGES.get(name, (0, _LARGEST))
    if type(value) is int and not low <= value <= high:
        text = f"{label}: {name} is {_expected(name, kinds)}, got {_told(value)}"
        raise Refused(text)
    if isinstance(value, str):
        longest = _LENGTHS.get(name, LONGEST_WORKER)
        if len(value) > longest:
            text = f"{label}: {name} has at most {longest} characters, got {len(value):,}"
            raise Refused(text)
        if name == "format" and value not in FORMATS:
            text = f"{label}: there is no format {_told(value)}; there are {', '.join(FORMATS)}"
            raise Refused(text)


def _expected(name: str, kinds: tuple[type, ...]) -> str:
    words = {int: "a number", str: "a text", bool: "true or false", type(None): "null"}
    said = " or ".join(words.get(kind, kind.__name__) for kind in kinds)
    if int in kinds and name in _RANGES:
        low, high = _RANGES[name]
        said += f" from {low} to {high}"
    return said


def _told(value: object) -> str:
    """A value of a stranger, in a few characters; what contains others by its type alone."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value) if _small(value) else "a number"
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"a {type(value).__name__}"


def _small(value: object) -> bool:
    """Python refuses to write out a whole number of many thousand digits."""
    return not isinstance(value, int) or abs(value) <= _LARGEST * _LARGEST
