"""Names that are there and look like the one that is missing: keys, columns, attributes, variables, modules.

*Rule:* names alone are looked at, so many at most, and nothing of the values that they name.
*Rule:* no object is asked for its names: they are read where they lie, in its dict and its classes'.
"""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.arrays import columns_of
from snakepit_nb.errors.held import held_by
from snakepit_nb.errors.hostile import BASE, MRO, exact, guarded, names_of
from snakepit_nb.errors.origin import names_in
from snakepit_nb.errors.rules.modules import PACKAGES

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Iterator

_LOOKED_AT: Final = 10_000
_SHOWN: Final = 3
_LONG: Final = 80
# A module is taken for a slip of the pen sooner than it should be: the other one may exist, and be another's.
_ALIKE: Final = 0.75
# What is said of a missing key by libraries that do not give the key alone.
_SAID: Final = re.compile(
    r'Field "(.+)" does not exist in schema'
    r"|Column '?(.+?)'? (?:does not exist in schema|not found)"
    r"|Column not found: (.+)"
    r"|\['(.+?)'.*\] not (?:in index|found in axis)"
    r"|None of \[(?:Index\(\[)?'(.+?)'.*"
    r'|unable to find column "(.+?)";.*'
    r'|"(.+?)" not found.*'
    r"|no field of name (.+)"
    r"|(?:Invalid sort key column: )?No match for FieldRef\.Name\((.+?)\) in.*"
    r"|name '(.+)' is not defined",
    re.DOTALL,
)
_IMPORT: Final = re.compile(r"cannot import name '(\w+)' from '([\w.]+)' .*", re.DOTALL)
# Of whom it is known that the missing key was looked for in what the line names.
_KEYED: Final = frozenset({"builtins", "collections", "pandas", "polars", "pyarrow", "numpy"})


def close_to(
    exception: BaseException, message: str, step: types.TracebackType, library: str
) -> tuple[str, ...]:
    """The names near the one that an exception misses; empty for exceptions that miss none.

    Example:
        >>> prices = {"apples": 3}
        >>> try:
        ...     prices["aples"]
        ... except KeyError as error:
        ...     close_to(error, str(error), error.__traceback__, "builtins")
        ('apples',)
    """
    if library == "python":
        return ()
    missing, names, alike = _sought(exception, message, step, library)
    if not missing or len(missing) > _LONG:
        return ()
    pool: dict[str, str] = {}
    for name in itertools.islice(names(), _LOOKED_AT):
        text = exact(name)
        if text and text != missing and len(text) <= _LONG:
            pool.setdefault(text.casefold(), text)
    return tuple(pool[each] for each in difflib.get_close_matches(missing.casefold(), pool, _SHOWN, alike))


class _Sought(NamedTuple):
    """A missing name, where it could have been, and how alike another has to be."""

    missing: str | None
    names: Callable[[], Iterable[object]] = tuple
    alike: float = 0.6


def _sought(exception: BaseException, message: str, step: types.TracebackType, library: str) -> _Sought:
    kinds = names_of(exception)
    if ModuleNotFoundError in kinds:
        module = _field(exception, ImportError, "name") or ""
        # One that is known is spelled as it should be, and only not installed.
        return _Sought(None if module in PACKAGES else module, lambda: _modules(module), _ALIKE)
    if ImportError in kinds and (found := _IMPORT.fullmatch(message)):
        name, module = found[1], found[2]
        return _Sought(name, lambda: _open(vars(sys.modules[module]), name))
    if kinds[0] is NameError:
        return _Sought(_field(exception, NameError, "name"), lambda: _variables(step))
    if AttributeError in kinds:
        return _Sought(_field(exception, AttributeError, "name"), lambda: _attributes(exception))
    known = library in _KEYED
    return _Sought(_missing_key(exception, message, kinds) if known else None, lambda: _keys(step))


def _field(exception: BaseException, owner: type, name: str) -> str | None:
    return exact(vars(owner)[name].__get__(exception))


def _missing_key(exception: BaseException, message: str, kinds: tuple[type, ...]) -> str | None:
    """The key, where it is a text; None where the exception is of another kind."""
    args = BASE["args"].__get__(exception)
    key = (exact(args[0]) if len(args) == 1 else None) if kinds[0] is KeyError else None
    if kinds[0] is KeyError and key is None:
        return None
    found = _SAID.fullmatch(message if key is None else key)
    return key if found is None else next(text for text in found.groups() if text)


def _keys(step: types.TracebackType) -> Iterator[object]:
    for held in held_by(step):
        # A namespace as a whole is no container that a key was looked for in.
        if dict in MRO.__get__(type(held.value)):
            yield from dict.keys(held.value)  # type: ignore[arg-type]
        else:
            yield from columns_of(held.value)


def _variables(step: types.TracebackType) -> Iterator[object]:
    frame = step.tb_frame
    for scope in (frame.f_locals, frame.f_globals, frame.f_builtins):
        yield from _open(names_in(scope), "")


def _attributes(exception: BaseException) -> Iterator[object]:
    value = vars(AttributeError)["obj"].__get__(exception)
    missing = _field(exception, AttributeError, "name") or ""
    classes = MRO.__get__(value) if isinstance(value, type) else MRO.__get__(type(value))
    states = [guarded(lambda: object.__getattribute__(value, "__dict__"), {}), *map(vars, classes)]
    for state in states:
        if isinstance(state, dict | type(vars(object))):
            yield from _open(state, missing)
    yield from columns_of(value)


def _open(names: Iterable[object], missing: str) -> Iterator[str]:
    """The names that are for everybody; the others too, where one of them is missing."""
    texts = (text for name in names if (text := exact(name)))
    return (text for text in texts if missing.startswith("_") or not text.startswith("_"))


def _modules(missing: str) -> Iterator[object]:
    """Modules that are loaded, Python's own, and well-known ones; inside of a package, its own."""
    package, dot, _ = missing.rpartition(".")
    if dot:
        yield from (name for name in tuple(sys.modules) if name.startswith(f"{package}."))
        return
    yield from _open(sys.stdlib_module_names, missing)
    yield from _open((name for name in tuple(sys.modules) if "." not in name), missing)
    yield from PACKAGES
