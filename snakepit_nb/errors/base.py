"""What every error of this package is: one that survives pickle and copy."""

from __future__ import annotations


def _revive(cls: type[SnakepitError], args: tuple[object, ...], state: dict[str, object]) -> SnakepitError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SnakepitError(Exception):
    """The base of every error of this package.

    Example:
        >>> str(SnakepitError("no"))
        'no'
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the facts and not a call of `__init__`, whose arguments have names of their own."""
        return _revive, (type(self), self.args, dict(self.__dict__))
