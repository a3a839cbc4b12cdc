"""What a worker keeps between the calls of one session: a `__main__` for each, by the session's name.

*Rule:* it lives until it is forgotten or its process ends; nothing in it goes back by itself.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


class _Home(NamedTuple):
    """One session: its module, and what cells were given of the notebook and left as it was."""

    main: types.ModuleType
    lent: dict[str, object]


_homes: Final[dict[str, _Home]] = {}


def _home(session: str) -> _Home:
    found = _homes.get(session)
    return _homes.setdefault(session, _Home(types.ModuleType("__main__"), {})) if found is None else found


def main_of(session: str) -> types.ModuleType:
    """The module that is `__main__` for a session's cells.

    Example:
        >>> main_of("doc") is main_of("doc")
        True
        >>> forget("doc")
    """
    return _home(session).main


class Kept(NamedTuple):
    """Stands for a value that a session keeps, where a call of that session is given it.

    Example:
        >>> Kept("model")
        Kept(name='model')
    """

    name: str


def namespace_of(session: str) -> dict[str, object]:
    """The names of a session; it begins with none.

    Example:
        >>> namespace_of("doc")["x"] = 1
        >>> names_of("doc")
        ('x',)
        >>> forget("doc")
    """
    return vars(_home(session).main)


def names_of(session: str) -> tuple[str, ...]:
    """What a session keeps: what its calls bound, not what its cells were given of the notebook.

    Example:
        >>> lend("doc", {"x": 1}, ())
        >>> names_of("doc")
        ()
        >>> forget("doc")
    """
    main, lent = _home(session)
    names = vars(main)
    return tuple(
        sorted(
            name
            for name in names
            if not (name.startswith("__") and name.endswith("__"))
            and not (name in lent and lent[name] is names[name])
        )
    )


def lend(session: str, inputs: Mapping[str, object], wanted: Collection[str]) -> None:
    """Give a session's cells values of the notebook, to be replaced by the next ones of their names.

    Args:
        session: The session's name.
        inputs: The values by name. What the session keeps itself under a name goes before them.
        wanted: Names that are replaced even so.

    Example:
        >>> namespace_of("doc")["x"] = "kept"
        >>> lend("doc", {"x": 1, "y": 2}, ())
        >>> namespace_of("doc")["x"], namespace_of("doc")["y"]
        ('kept', 2)
        >>> forget("doc")
    """
    main, lent = _home(session)
    names = vars(main)
    kept = set(names_of(session))
    for name, value in inputs.items():
        if name not in kept or name in wanted:
            names[name] = lent[name] = value


def forget(session: str) -> None:
    """Let go of all that a session kept; nothing where it kept nothing.

    Example:
        >>> forget("nobody")
    """
    found = _homes.pop(session, None)
    if found is not None:
        # Functions of its cells hold on to it.
        vars(found.main).clear()
        found.lent.clear()


def call_in(
    session: str,
    keep: str | None,
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> object:
    """Call a function with values that a session keeps in place of each `Kept`.

    Args:
        session: The session's name.
        keep: Under which name the session keeps the result, which is then not given back; or None.
        function: What to call.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Raises:
        NameError: the session keeps no such name.

    Example:
        >>> call_in("doc", "x", int, ("3",), {})
        >>> call_in("doc", None, pow, (Kept("x"), 2), {})
        9
        >>> forget("doc")
    """
    names = namespace_of(session)

    def found(value: object) -> object:
        if type(value) is not Kept:
            return value
        try:
            return names[value.name]
        except KeyError:
            there = ", ".join(names_of(session)) or "nothing"
            text = f"session {session!r} keeps no {value.name!r}; it keeps {there}"
            raise NameError(text, name=value.name) from None

    given = {name: found(value) for name, value in kwargs.items()}
    result = function(*map(found, args), **given)
    if keep is None:
        return result
    names[keep] = result
    return None
