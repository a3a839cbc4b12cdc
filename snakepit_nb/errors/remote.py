"""What the user's code raised in a worker: `RemoteError`, and its children for what the rules know.

*Rule:* nothing of the original class stands between a caller and what is known of the error.
"""

# ruff: noqa: N818 - named for what went wrong, as Python's own KeyboardInterrupt is

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.base import SnakepitError
from snakepit_nb.errors.render import colours, render_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.errors.record import ErrorRecord


class RemoteError(SnakepitError):
    """What the user's code raised in a worker; the class raised also derives from the original type.

    `record` is everything that is known, as plain data; `facts` and `suggestion` are what the table of
    rules found (empty and None where no rule fits); `left_behind` names the attributes that could not travel.
    `worker_id`, `pool`, `request_id` and `command` say where it ran, except where the original type has an
    attribute of that name: then they are in the record alone.

    Example:
        >>> from snakepit_nb.errors import pack_exception, unpack_exception
        >>> data = pack_exception(ValueError("no"))
        >>> error = unpack_exception(data, worker_id="w1", pool="default", request_id=1, command="f")
        >>> isinstance(error, RemoteError), isinstance(error, ValueError), str(error)
        (True, True, 'no')
    """

    # An original type may bring its own ways of reading and writing attributes; none of them may stand
    # between a caller and the facts. Its __getattr__ still serves what is not found otherwise.
    __getattribute__ = object.__getattribute__
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(
        self,
        record: ErrorRecord,
        *,
        facts: Mapping[str, object] | None = None,
        suggestion: str | None = None,
    ) -> None:
        """Stand for a record alone, where there is no original type to derive from."""
        Exception.__init__(self, record.message)
        self.settle(record, facts or {}, suggestion, ())

    def settle(
        self,
        record: ErrorRecord,
        facts: Mapping[str, object],
        suggestion: str | None,
        left_behind: tuple[str, ...],
    ) -> None:
        """Take in what is known; whoever makes an instance without `__init__` calls this.

        Example:
            >>> from snakepit_nb.errors import describe
            >>> error = RemoteError(describe(ValueError("no")))
            >>> error.settle(error.record, {}, "say yes", ())
            >>> error.suggestion
            'say yes'
        """
        # Straight into __dict__: the original's attributes, there already, keep their names, and its
        # properties of the same name are not set off.
        state = self.__dict__
        for name in ("worker_id", "pool", "request_id", "command"):
            state.setdefault(name, getattr(record, name))
        for name, value in facts.items():
            state.setdefault(name, value)
        state["_remote"] = (record, dict(facts), suggestion, left_behind)

    def __init_subclass__(cls, **_options: object) -> None:
        """Keep the hooks of original types out: a registry or a veto there is not for stand-ins."""

    @property
    def record(self) -> ErrorRecord:
        """What is known of the exception and where it was raised, as plain data."""
        return self._known()[0]

    @property
    def facts(self) -> Mapping[str, object]:
        """What the rule that fits read from the message; each one is an attribute too."""
        return self._known()[1]

    @property
    def suggestion(self) -> str | None:
        """What to try, where a rule knows."""
        return self._known()[2]

    @property
    def left_behind(self) -> tuple[str, ...]:
        """The names of attributes and arguments of the original that could not travel."""
        return self._known()[3]

    @property
    def mapped(self) -> bool:
        """Whether a rule gave it one of the structured classes."""
        return issubclass(type(self), STRUCTURED)

    def _known(self) -> tuple[ErrorRecord, Mapping[str, object], str | None, tuple[str, ...]]:
        return self.__dict__["_remote"]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        """Give the text that the original had in the worker."""
        return self.record.message

    def __repr__(self) -> str:
        """Show the type and the arguments, as Python does."""
        try:
            return BaseException.__repr__(self)
        except Exception:  # noqa: BLE001 - an argument's own __repr__
            return f"{type(self).__name__}({self.record.message!r})"

    def _render_traceback_(self) -> list[str]:
        record = self.record
        # Notes may have been added since it arrived.
        notes = self.__dict__.get("__notes__", ())
        if type(notes) is list and all(type(note) is str for note in notes):
            record = replace(record, notes=tuple(notes))
        return render_text(record, colour=colours(), suggestion=self.suggestion).split("\n")


class ShapeMismatch(RemoteError):
    """Arrays whose shapes do not go together.

    `shapes` are theirs as far as the message tells; where it tells of one axis, `sizes` are the two lengths.

    Example:
        >>> ShapeMismatch.shapes
        ()
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    sizes: tuple[int, ...] = ()


class DtypeMismatch(RemoteError):
    """An operation that is not defined for these dtypes; `dtypes` are their names.

    Example:
        >>> DtypeMismatch.dtypes
        ()
    """

    dtypes: tuple[str, ...] = ()


class DeviceMismatch(RemoteError):
    """Arrays that live on different devices; `devices` are their names.

    Example:
        >>> DeviceMismatch.devices
        ()
    """

    devices: tuple[str, ...] = ()


class OutOfMemory(RemoteError):
    """No memory for an array; `asked_bytes` and `free_bytes` where known, `device` is `"cpu"` or `"cuda:0"`.

    Example:
        >>> OutOfMemory.device, OutOfMemory.asked_bytes
        ('cpu', None)
    """

    asked_bytes: int | None = None
    free_bytes: int | None = None
    device: str = "cpu"


class NumericalError(RemoteError):
    """A computation that has no answer for these numbers, such as the inverse of a singular matrix.

    Example:
        >>> issubclass(NumericalError, RemoteError)
        True
    """


class ImportFailed(RemoteError):
    """A module is missing in the worker; `module` is its name and `package` what to install, where known.

    Example:
        >>> ImportFailed.module
        ''
    """

    module: str = ""
    package: str | None = None


class MissingKey(RemoteError):
    """A key or an index that is not there; `key` is its text, `axis` and `size` where an array said them.

    Example:
        >>> MissingKey.key is None
        True
    """

    key: str | None = None
    axis: int | None = None
    size: int | None = None


STRUCTURED: Final[tuple[type[RemoteError], ...]] = (
    ShapeMismatch,
    DtypeMismatch,
    DeviceMismatch,
    OutOfMemory,
    NumericalError,
    ImportFailed,
    MissingKey,
)
