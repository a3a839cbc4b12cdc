"""The values on a magic's line: text in, what it means out, or a sentence that says what was expected."""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from IPython.core.error import UsageError

from snakepit_nb.pool import arguments

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS: Final = "--progress"
PROGRESSES: Final = ("bar", "timeline")
SERVE: Final = "--serve"
OFF: Final = "off"
"""What `--serve` takes to serve no more."""

Progress: TypeAlias = bool | Literal["timeline"]
_MOST_PORT: Final = 65535
_POOL: Final = re.compile(r"[^\W\d][\w.-]*")


class Output(NamedTuple):
    """A name that comes back: `dest` in the notebook is the cell's `source`."""

    dest: str
    source: str


def listed(option: str, item: Callable[[str, str], object]) -> Callable[[str], tuple[object, ...]]:
    """Reads a list joined by commas; an empty one, which only quotes can say, is deliberate."""

    def read(text: str) -> tuple[object, ...]:
        items = [each.strip() for each in text.split(",")]
        if items[-1] == "":
            items.pop()
        if "" in items or (text.strip() and not items):
            message = f"{option} takes names joined by single commas, got {text!r}"
            raise UsageError(message)
        return tuple(item(option, each) for each in items)

    return read


def identifier(option: str, text: str) -> str:
    """A name of Python.

    Raises:
        UsageError: It is none.
    """
    if not text.isidentifier():
        message = f"{option} takes names, as in {option} a,b, got {text!r}"
        if re.match(r"\w+\s*[.\[(]", text):
            message += "; give the value a name first"
        raise UsageError(message)
    if keyword.iskeyword(text):
        message = f"{option} takes names, and {text!r} is a word of Python's own"
        raise UsageError(message)
    # The form in which Python itself keeps identifiers.
    return unicodedata.normalize("NFKC", text)


def output(option: str, text: str) -> Output:
    """What comes back, as `x` or `best=y`.

    Raises:
        UsageError: It is neither.
    """
    dest, is_renamed, source = (part.strip() for part in text.partition("="))
    if not is_renamed:
        return Output(identifier(option, dest), identifier(option, dest))
    if not dest or not source:
        message = (
            f"{option} takes names, as in {option} x,best=y, got {text!r} with one side of its = missing"
        )
        raise UsageError(message)
    return Output(identifier(option, dest), identifier(option, source))


def module(option: str, text: str) -> str:
    """The dotted name of a module.

    Raises:
        UsageError: It is none.
    """
    for part in text.split("."):
        if not part.isidentifier() or keyword.iskeyword(part):
            message = f"{option} takes modules, as in {option} numpy,pandas, got {text!r}"
            raise UsageError(message)
    return text


def timer(option: str) -> Callable[[str], float]:
    """Reads a number of seconds above zero."""

    def read(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds > 0):
            message = f"{option} takes a number of seconds above zero, got {text!r}"
            raise UsageError(message)
        return seconds

    return read


def counter(option: str, wanted: str) -> Callable[[str], int]:
    """Reads a whole number from one on; `wanted` says of what."""

    def read(text: str) -> int:
        try:
            count = int(text)
        except ValueError:
            count = 0
        if count < 1:
            message = f"{option} takes {wanted}, 1 or more, got {text!r}"
            raise UsageError(message)
        return count

    return read


def size(text: str) -> str:
    """A size of memory, left as it is.

    Raises:
        UsageError: It is none.
    """
    try:
        arguments.size("--max-memory", text)
    except ValueError:
        message = f"--max-memory takes a size, as in --max-memory 4GB, got {text!r}"
        raise UsageError(message) from None
    return text


def pool_name(text: str) -> str:
    """The name of a pool.

    Raises:
        UsageError: It cannot be one.
    """
    if not _POOL.fullmatch(text):
        message = (
            f"a pool's name begins with a letter and has letters, digits, '-', '_' and '.' only, got {text!r}"
        )
        if "," in text:
            message += "; names that go in or out follow -i or -o"
        raise UsageError(message)
    return text


def job_name(text: str) -> str:
    """What a job is called.

    Raises:
        UsageError: It cannot be shown.
    """
    if not text.strip() or not text.isprintable():
        message = f"-n takes a name to call the job, got {text!r}"
        raise UsageError(message)
    return text.strip()


def session_name(text: str) -> str:
    """What a session is called.

    Raises:
        UsageError: It is no identifier.
    """
    try:
        return arguments.session(text)
    except ValueError:
        message = f"--session takes a name, as in --session model, got {text!r}"
        raise UsageError(message) from None


def retries(text: str) -> int:
    """How often a cell may run again.

    Raises:
        UsageError: It is no number, or below zero.
    """
    if not text.isdecimal():
        message = f"--retry takes how often, 0 or more, got {text!r}"
        raise UsageError(message)
    return int(text)


def card(text: str) -> int:
    """The number of a graphics card.

    Raises:
        UsageError: It is none.
    """
    if not text.isdecimal():
        message = f"--gpu takes the number of a card, as in --gpu 0, got {text!r}"
        raise UsageError(message)
    return int(text)


def progress(text: str) -> Progress:
    """What shows how far the runs of a cell are; True is a bar.

    Raises:
        UsageError: There is no such thing.
    """
    if text not in PROGRESSES:
        message = f"{PROGRESS} takes bar or timeline, got {text!r}"
        raise UsageError(message)
    return "timeline" if text == "timeline" else True


def is_port(text: str) -> bool:
    """Whether a word after `--serve` is meant as its value.

    Example:
        >>> is_port("9400"), is_port("off"), is_port("train")
        (True, True, False)
    """
    return text == OFF or text.lstrip("+-").isdecimal()


def port(text: str) -> int | str:
    """A port to listen on, or `off`.

    Raises:
        UsageError: It is neither.
    """
    if text == OFF:
        return OFF
    if not text.isdecimal() or int(text) > _MOST_PORT:
        message = f"{SERVE} takes a port from 0 to {_MOST_PORT}, or {OFF}, got {text!r}"
        raise UsageError(message)
    return int(text)


def profile(text: str) -> str:
    """How a pool runs requests.

    Raises:
        UsageError: There is no such way.
    """
    if text not in arguments.PROFILES:
        message = f"--profile takes {' or '.join(arguments.PROFILES)}, got {text!r}"
        raise UsageError(message)
    return text
