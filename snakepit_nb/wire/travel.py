"""Why an object cannot travel: the smallest part of it that pickle refuses, by its path.

*Rule:* this is asked only after packing failed; it may be slow, and it never raises.
"""

from __future__ import annotations

import concurrent.futures
import io
import types
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST: Final = 12
_TRIES: Final = 2000


class Obstacle(NamedTuple):
    """What cannot travel: the `path` to it from the name it was reached by, its type, and pickle's reason."""

    path: str
    type_name: str
    reason: str


class _Nowhere(io.RawIOBase):
    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def refusal(obj: object) -> str | None:
    """Pickle's reason for refusing an object, or None where it travels.

    Example:
        >>> refusal([1, 2]) is None
        True
    """
    import cloudpickle  # noqa: PLC0415 - only after a failure

    try:
        cloudpickle.Pickler(_Nowhere(), 5, buffer_callback=lambda _: False).dump(obj)
    except Exception as error:  # noqa: BLE001 - a user's __reduce__ may raise anything
        return describe(error)
    return None


def describe(error: BaseException) -> str:
    """One line for an error whose own text may fail.

    Example:
        >>> describe(TypeError("cannot pickle"))
        'cannot pickle'
    """
    try:
        text = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - a user's __str__
        text = []
    return text[0][:300] if text else type(error).__name__


def obstacle(obj: object, name: str) -> Obstacle | None:
    """The part of `obj` that cannot travel, or None where all of it does.

    Example:
        >>> import threading
        >>> found = obstacle({"a": [1, threading.Lock()]}, "settings")
        >>> found.path, found.type_name
        ("settings['a'][1]", 'lock')
    """
    reason = refusal(obj)
    if reason is None:
        return None
    path, seen, tries = name, {id(obj)}, _TRIES
    for _ in range(_DEEPEST):
        found = None
        for suffix, part in _surely(_parts(obj)):
            tries -= 1
            if tries < 0:
                break
            if id(part) not in seen and (its_reason := refusal(part)) is not None:
                found = suffix, part, its_reason
                break
        if found is None:
            break
        suffix, obj, reason = found
        path += suffix
        seen.add(id(obj))
    return Obstacle(path, type(obj).__name__, reason)


def _surely(parts: Iterator[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """The parts up to where an object of the user's refuses to be looked at."""
    while True:
        try:
            part = next(parts)
        except Exception:  # noqa: BLE001 - their `items`, `__repr__` or `__dict__` may raise anything
            return
        yield part


def _parts(obj: object) -> Iterator[tuple[str, object]]:
    """What an object holds, with the text that leads there from it."""
    if isinstance(obj, dict):
        for key, value in list(obj.items()):
            named = isinstance(key, (str, int))
            yield f"[{key!r}]" if named else f"[<{type(key).__name__}>]", value
            if not named:
                yield f"<key {type(key).__name__}>", key
    elif isinstance(obj, (list, tuple)):
        yield from ((f"[{index}]", value) for index, value in enumerate(list(obj)))
    elif isinstance(obj, (set, frozenset)):
        yield from ((f"<member {type(value).__name__}>", value) for value in list(obj))
    elif isinstance(obj, types.MethodType):
        yield ".__self__", obj.__self__
    elif isinstance(obj, types.FunctionType):
        yield from _of_function(obj)
    # A future is refused as a whole: what it holds inside is nobody's to change.
    if not isinstance(obj, (types.FunctionType, types.ModuleType, type, concurrent.futures.Future)):
        held = getattr(obj, "__dict__", None)
        if isinstance(held, dict):
            yield from ((f".{attribute}", value) for attribute, value in list(held.items()))


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f" -> {variable}", cell.cell_contents
        except ValueError:
            continue
    for variable in function.__code__.co_names:
        if variable in function.__globals__:
            yield f" -> {variable}", function.__globals__[variable]
