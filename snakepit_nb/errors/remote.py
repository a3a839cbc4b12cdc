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

    @property
    def noted(self) -> ErrorRecord:
        """The record with the notes that were added since it arrived."""
        record = self.record
        notes = self.__dict__.get("__notes__", ())
        if type(notes) is list and all(type(note) is str for note in notes):
            return replace(record, notes=tuple(notes))
        return record

    def _render_traceback_(self) -> list[str]:
        facts, suggestion = self.facts, self.suggestion
        return render_text(self.noted, colour=colours(), facts=facts, suggestion=suggestion).split("\n")


class ShapeMismatch(RemoteError):
    """Arrays whose shapes do not go together.

    `shapes` are those that the message tells, else those of the arrays on the failing line; where it tells of
    one axis, `sizes` are the two lengths.

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
    """No memory for an array; `asked_bytes` where known, `device` is `"cpu"` or such as `"cuda:0"`.

    `free_bytes` is what was free: on the card, as the message says, or on the machine.

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

    Where the module is there and something in it is not, that is `member`; `close` are names that look like
    it.

    Example:
        >>> ImportFailed.module
        ''
    """

    module: str = ""
    package: str | None = None
    member: str | None = None
    close: tuple[str, ...] = ()


class MissingKey(RemoteError):
    """A key, a column or an index that is not there; `key` is its text, `close` are those that look like it.

    `axis` and `size` are those of the array, where it said them.

    Example:
        >>> MissingKey.key is None, MissingKey.close
        (True, ())
    """

    key: str | None = None
    axis: int | None = None
    size: int | None = None
    close: tuple[str, ...] = ()


class MissingName(RemoteError):
    """A name that is not defined, or an attribute that is not there; `owner` is what should have had it.

    `close` are names that are there and look like it.

    Example:
        >>> MissingName.name, MissingName.owner
        ('', '')
    """

    name: str = ""
    owner: str = ""
    close: tuple[str, ...] = ()


class FileMissing(RemoteError):
    """A file or a folder that is not there, as a worker sees it; `path` as it was given.

    Example:
        >>> FileMissing.path
        ''
    """

    path: str = ""


class NotPermitted(RemoteError):
    """A file that may not be read or written; `path` as it was given.

    Example:
        >>> NotPermitted.path
        ''
    """

    path: str = ""


class WrongKindOfFile(RemoteError):
    """A folder where a file was wanted, a file where a folder was, or anything where nothing was.

    `path` is as it was given.

    Example:
        >>> WrongKindOfFile.path
        ''
    """

    path: str = ""


class DiskFull(RemoteError):
    """No room left on the disk; `path` where the message has it.

    Example:
        >>> DiskFull.path
        ''
    """

    path: str = ""


class TooDeep(RemoteError):
    """Calls without an end: `function` is the one that is called most, `depth` how many calls there were.

    Example:
        >>> TooDeep.function, TooDeep.depth
        ('', 0)
    """

    function: str = ""
    depth: int = 0


class FailedAssertion(RemoteError):
    """An `assert` of the user's code that did not hold; `asserted` is the rest of the line that it begins.

    Example:
        >>> FailedAssertion.asserted
        ''
    """

    asserted: str = ""


class NotFitted(RemoteError):
    """A model that was used before it was fitted; `estimator` is its class.

    Example:
        >>> NotFitted.estimator
        ''
    """

    estimator: str = ""


STRUCTURED: Final[tuple[type[RemoteError], ...]] = (
    ShapeMismatch,
    DtypeMismatch,
    DeviceMismatch,
    OutOfMemory,
    NumericalError,
    ImportFailed,
    MissingKey,
    MissingName,
    FileMissing,
    NotPermitted,
    WrongKindOfFile,
    DiskFull,
    TooDeep,
    FailedAssertion,
    NotFitted,
)
