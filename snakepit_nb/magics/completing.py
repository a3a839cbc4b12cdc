"""What the Tab key offers in the lines of the magics.

*Rule:* it looks at names that are there and starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from snakepit_nb import registry
from snakepit_nb.magics import joblist
from snakepit_nb.magics.grammar import COMMANDS, flags_of
from snakepit_nb.magics.items import FLAG
from snakepit_nb.magics.values import PROGRESS, PROGRESSES
from snakepit_nb.options import Options

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.magics.job import Job

_HOOK: Final = "complete_command"
_TAKE_NAMES: Final = frozenset({"-i", "--input", "-o", "--output", "--inout"})
_OF_POOLS: Final = frozenset({"stop", "status", "scale", "recycle", "dashboard", "metrics"})


class Event(Protocol):
    """What IPython tells of the line."""

    text_until_cursor: str
    symbol: str


def install(shell: InteractiveShell, name: str) -> None:
    """Offer words in lines of the magic of this name."""
    shell.set_hook(_HOOK, _line_words, str_key=f"%{name}")
    shell.set_hook(_HOOK, _cell_words, str_key=f"%%{name}")


def remove(shell: InteractiveShell, name: str) -> None:
    """Offer them no more."""
    for key in (f"%{name}", f"%%{name}"):
        shell.strdispatchers[_HOOK].strs.pop(key, None)


def _line_words(shell: InteractiveShell, event: Event) -> list[str]:
    before = _before(event)
    if not before:
        # Subcommands, or what an expression begins with: IPython offers no names in lines of magics.
        return [*COMMANDS, *_names(shell)]
    kind, wanted = before[0], event.symbol
    if kind not in COMMANDS:
        return []
    if wanted.startswith("-"):
        return flags_of(kind)
    if kind == "config":
        return _values(before[-1][:-1]) if before[-1].endswith("=") else list(Options.sentences())
    if kind == "cancel":
        return [] if len(before) > 1 else [_handle(job) for job in joblist.live()]
    names = [pool.name for pool in registry.pools()] if kind in _OF_POOLS else []
    if kind == "recycle":
        names += [worker.worker_id for pool in registry.pools() for worker in pool.workers()]
    return names


def _handle(job: Job) -> str:
    """One word that names a job."""
    return str(job.facts().cell) if len(job.name.split()) > 1 else job.name


def _values(option: str) -> list[str]:
    """What an option can be, where that is a word."""
    if isinstance(getattr(Options(), option, None), bool):
        return ["on", "off"]
    limits = Options.limits().get(option)
    return list(limits.choices) if limits is not None else []


def _cell_words(shell: InteractiveShell, event: Event) -> list[str]:
    if event.symbol.startswith("-"):
        return flags_of(None)
    before = _before(event)
    if before and before[-1] == PROGRESS:
        return [*PROGRESSES, *(pool.name for pool in registry.pools())]
    if before and (before[-1] in _TAKE_NAMES or before[-1].endswith((",", "=")) or _names_items(before)):
        return _names(shell)
    return [] if before else [pool.name for pool in registry.pools()]


def _names_items(before: list[str]) -> bool:
    """Whether ITEMS come next, as in `--map x in`."""
    return before[-1] == "in" and FLAG in before


def _names(shell: InteractiveShell) -> list[str]:
    """The notebook's own names."""
    hidden = shell.user_ns_hidden
    return [name for name in shell.user_ns if name not in hidden and not name.startswith("_")]


def _before(event: Event) -> list[str]:
    """The words between the magic's name and the one that is typed now."""
    text = event.text_until_cursor
    return text[: len(text) - len(event.symbol)].split()[1:]
