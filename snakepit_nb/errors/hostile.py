"""Reading from an exception whose class may do its worst.

*Rule:* nothing in here raises, and only `text_of` runs code of what it reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from snakepit_nb.errors.record import TypeName

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Read through the base's own descriptors, an exception cannot lie about these or fail to give them.
BASE: Final = vars(BaseException)
MRO: Final = vars(type)["__mro__"]
MESSAGE: Final = 20_000


def guarded(read: Callable[[], T], default: T) -> T:
    """What `read` gives, or the default where it raises anything at all.

    Example:
        >>> guarded(lambda: 1 // 0, 7)
        7
    """
    try:
        return read()
    except BaseException:  # noqa: BLE001 - the code of an exception's class may raise whatever it likes
        return default


def clip(text: str, limit: int) -> str:
    r"""The head and the tail of a text that is too long, and how much is missing between them.

    Example:
        >>> clip("a" * 50 + "b" * 50, 20)
        'aaaaaaaaaa\n[... 80 characters left out ...]\nbbbbbbbbbb'
    """
    if len(text) <= limit:
        return text
    head, tail = text[: limit - limit // 2], text[-(limit // 2) :]
    return f"{head}\n[... {len(text) - limit:,} characters left out ...]\n{tail}"


def names_of(exception: BaseException) -> tuple[type, ...]:
    """The type of an exception and its bases, whatever its metaclass says.

    Example:
        >>> names_of(KeyError())[:2]
        (<class 'KeyError'>, <class 'LookupError'>)
    """
    cls = type(exception)
    # A class that was made for a remote exception stands for the original.
    original = guarded(lambda: vars(cls).get("_original"), None)
    mro: tuple[type, ...] = MRO.__get__(original if isinstance(original, type) else cls)
    return mro


def type_name(cls: type) -> TypeName:
    """The importable name of a class, whatever its metaclass says.

    Example:
        >>> type_name(KeyError)
        TypeName(module='builtins', qualname='KeyError')
    """
    module = guarded(lambda: type.__getattribute__(cls, "__module__"), "")
    qualname = guarded(lambda: type.__getattribute__(cls, "__qualname__"), "")
    return TypeName(exact(module) or "unknown", exact(qualname) or "Exception")


def text_of(value: object, limit: int = MESSAGE) -> str | None:
    """What `str` makes of a value, exact and bounded; None where that fails.

    Example:
        >>> text_of(ValueError("no"))
        'no'
    """
    text = guarded(lambda: exact(str(value)), None)
    return None if text is None else clip(text, limit)


def state_of(exception: BaseException) -> dict[str, object]:
    """The attributes of an exception, without asking its class.

    Example:
        >>> error = ValueError(); error.code = 3
        >>> state_of(error)
        {'code': 3}
    """
    found: dict[str, object] = guarded(lambda: BASE["__dict__"].__get__(exception), {})
    return guarded(lambda: {name: value for name, value in dict.items(found) if type(name) is str}, {})


def exact(value: object) -> str | None:
    """The text as a plain `str`, whose length and encoding no subclass can lie about; None for other values.

    Example:
        >>> exact("a"), exact(3)
        ('a', None)
    """
    return str.__str__(value) if issubclass(type(value), str) else None
