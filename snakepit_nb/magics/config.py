"""`%snakepit config`: the options, what they mean, and how they are set.

*Rule:* a line is done whole or not at all; a value is parsed, never evaluated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from snakepit_nb import options, registry
from snakepit_nb.limits import Limits, wanted, written
from snakepit_nb.magics.tables import Column, Marked, as_html, as_text, block, paragraph
from snakepit_nb.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_COLUMNS: Final = (
    Column("option"),
    Column("value", number=True),
    Column("default", number=True),
    Column("set by"),
    Column("meaning", long=True),
)
_HOW: Final = (
    "%snakepit config NAME=VALUE sets one for pools that start from then on, --reset NAME sets it back; "
    "variables SNAKEPIT_NB_NAME of the environment set them for new kernels"
)
_SIGN: Final = re.compile(r"\s*=\s*")


class Settings:
    """Options as a table: text in a terminal, HTML in a notebook."""

    def __init__(self, settings: Sequence[options.Setting]) -> None:
        self._settings = list(settings)

    def __repr__(self) -> str:
        if len(self._settings) == 1:
            (one,) = self._settings
            return f"{_in_short(one)}\n{one.sentence}\nIt can be {_can_be(one.name)}."
        rows = [
            (
                each.name,
                _text(each.name, each.value),
                _text(each.name, each.default),
                each.source,
                each.sentence,
            )
            for each in self._settings
        ]
        return f"{as_text(_COLUMNS, rows)}\n\n{_HOW}"

    def _repr_html_(self) -> str:
        rows = (
            (
                each.name,
                _text(each.name, each.value),
                _text(each.name, each.default),
                each.source if each.source == "default" else Marked("●", "coming", each.source),
                each.sentence.replace("`", ""),
            )
            for each in self._settings
        )
        if len(self._settings) == 1:
            name = self._settings[0].name
            return block(as_html(_COLUMNS, rows), paragraph(f"{name} can be {_can_be(name)}", faint=True))
        return block(as_html(_COLUMNS, rows), paragraph(_HOW, faint=True))


def config(words: Sequence[str], *, reset: bool) -> Settings | None:
    """Show options, set them, or set them back.

    Args:
        words: Names, or NAME=VALUE; none for all.
        reset: Whether the options named, or all, get back what they were.

    Raises:
        UsageError: there is no such option, or a value is none of it; then nothing is changed.
    """
    # `NAME = VALUE` is meant, too.
    given = [word.partition("=") for word in _SIGN.sub("=", " ".join(words)).split()]
    try:
        if reset:
            _say(_reset(given))
            return None
        changes = [(name, options.parsed(name, text)) for name, sign, text in given if sign]
        shown = {options.known(name) for name, _, _ in given}
    except ValueError as error:
        text = f"%snakepit config: {error}"
        raise UsageError(text) from None
    if changes:
        _say(_change(changes))
        shown -= {name for name, _ in changes}
    if changes and not shown:
        return None
    return Settings([each for each in options.settings() if not shown or each.name in shown])


def _change(changes: Iterable[tuple[str, object]]) -> Iterator[str]:
    for name, value in changes:
        when = options.change(name, value)
        yield f"{name} = {_text(name, value)}, {when}"
    yield from _running()


def _reset(given: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for name, sign, _ in given:
        options.known(name)
        if sign:
            message = f"--reset takes names alone, got {name}=; leave out the value"
            raise ValueError(message)
    for name, _, _ in given:
        options.reset(name)
    if not given:
        options.reset()
    there = {each.name: each for each in options.settings()}
    yield from (_in_short(there[name]) for name, _, _ in given)
    if not given:
        yield "all options are what they were when the kernel started"
    yield from _running()


def _running() -> Iterator[str]:
    names = [pool.name for pool in registry.pools()]
    if names:
        have = "keeps what it has, until it is" if len(names) == 1 else "keep what they have, until they are"
        yield f"{', '.join(names)} {have} stopped and started again"


def _say(lines: Iterable[str]) -> None:
    for line in list(lines):
        print(line)  # noqa: T201 - the answer to the line


def _in_short(setting: options.Setting) -> str:
    name, value, default, source, _ = setting
    said = f"{name} = {_text(name, value)}"
    return (
        f"{said} (the default)"
        if source == "default"
        else (f"{said} (set by {source}; default {_text(name, default)})")
    )


def _text(name: str, value: object) -> str:
    return written(value, _limits(name))


def _can_be(name: str) -> str:
    return wanted(type(getattr(Options(), name)), _limits(name))


def _limits(name: str) -> Limits:
    return Options.limits()[name]
