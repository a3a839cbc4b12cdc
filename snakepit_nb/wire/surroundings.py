"""What a cell finds around it besides its names, as the notebook had it when the cell was launched.

*Rule:* it is compared as bytes: what did not change is neither packed nor looked at again.

*Rule:* the values of the environment stand in no text: not in a repr, and in no error.
"""

from __future__ import annotations

import pickle
import re
import sys
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT: Final = -1

Filter = tuple[str, tuple[str, int] | None, tuple[str, str], tuple[str, int] | None, int]
"""A filter of warnings: action, message, module and name of the category, module, line.

Patterns are their text and flags, where flags of -1 say that it is plain text."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One of the notebook's log handlers that write below the cell.

    Attributes:
        logger: The name of its logger; "" for the root.
        stream: "stdout" or "stderr".
        level: From which level on it writes.
        formatter: How, as a pickled `logging.Formatter`; None for the default.
    """

    logger: str
    stream: str
    level: int
    formatter: bytes | None


@dataclass(frozen=True, slots=True)
class Logging:
    """How the notebook's logging is set up.

    Attributes:
        levels: Of the loggers that have one of their own, by name; "" is the root.
        silent: The names of those that do not hand their records on.
        disabled: The level up to which `logging.disable` silences all.
        warnings: Whether warnings are logged.
        handlers: Those that write below the cell.
    """

    levels: tuple[tuple[str, int], ...] = (("", 30),)
    silent: tuple[str, ...] = ()
    disabled: int = 0
    warnings: bool = False
    handlers: tuple[Handler, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The surroundings of a cell.

    Attributes:
        cwd: The working directory; None where it cannot be told.
        path: `sys.path`.
        environ: The variables of the environment that the notebook changed; None for those that are gone.
        filters: The filters of warnings.
        logging: How logging is set up.
        backend: What draws matplotlib's figures, where the notebook chose it.
        libraries: How libraries show things, by module; pickled, for a worker that may never load them.

    Example:
        >>> Surroundings(cwd="/data", environ=(("TOKEN", "secret"),))
        Surroundings(cwd='/data', 1 variables, 0 libraries)
    """

    cwd: str | None = None
    path: tuple[str, ...] = ()
    environ: tuple[tuple[str, str | None], ...] = ()
    filters: tuple[Filter, ...] = ()
    logging: Logging = field(default_factory=Logging)
    backend: str | None = None
    libraries: tuple[tuple[str, bytes], ...] = ()

    def __repr__(self) -> str:
        return (
            f"Surroundings(cwd={self.cwd!r}, {len(self.environ)} variables, {len(self.libraries)} libraries)"
        )


class Around(bytes):
    """Packed surroundings; its repr shows none of them.

    Example:
        >>> pack(Surroundings())
        <surroundings of a cell>
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<surroundings of a cell>"

    __str__ = __repr__


NOTHING = Around()
"""Surroundings of which nothing is known: a worker stays as it is."""


def pack(surroundings: Surroundings) -> Around:
    """The surroundings as bytes.

    Example:
        >>> unpack(pack(Surroundings(cwd="/data"))).cwd
        '/data'
    """
    # Compressed, it is short, and names such as `__main__` in it are not taken for the cell's own: what
    # refers to that travels by value, which takes longer.
    return Around(zlib.compress(pickle.dumps(surroundings, 5), 1))


def unpack(packed: bytes) -> Surroundings:
    """The surroundings that `pack` packed."""
    found: Surroundings = pickle.loads(zlib.decompress(packed))  # noqa: S301 - the kernel's own words
    return found


def plain_filter(entry: Sequence[object]) -> Filter | None:
    """One of `warnings.filters` as it travels; None for what is no filter that Python knows.

    Example:
        >>> import re
        >>> plain_filter(("ignore", re.compile("odd", re.I), UserWarning, None, 0))
        ('ignore', ('odd', 34), ('builtins', 'UserWarning'), None, 0)
    """
    action, message, category, module, line = entry
    if not isinstance(category, type) or not isinstance(line, int):
        return None
    where = (category.__module__, category.__qualname__)
    return str(action), _plain_pattern(message), where, _plain_pattern(module), line


def live_filter(plain: Filter) -> tuple[object, ...] | None:
    """The same for `warnings.filters` here; None where the module of its category is not loaded.

    Example:
        >>> live_filter(("error", None, ("builtins", "UserWarning"), ("__main__", -1), 0))
        ('error', None, <class 'UserWarning'>, '__main__', 0)
    """
    action, message, (where, name), module, line = plain
    category: object = sys.modules.get(where)
    for part in name.split("."):
        category = getattr(category, part, None)
    if not isinstance(category, type) or not issubclass(category, Warning):
        return None
    return action, _live_pattern(message), category, _live_pattern(module), line


def _plain_pattern(pattern: object) -> tuple[str, int] | None:
    if pattern is None:
        return None
    if isinstance(pattern, re.Pattern):
        return cast("str", pattern.pattern), pattern.flags
    return str(pattern), _TEXT


def _live_pattern(plain: tuple[str, int] | None) -> re.Pattern[str] | str | None:
    if plain is None:
        return None
    text, flags = plain
    return text if flags == _TEXT else re.compile(text, flags)
