"""What is known of an exception, as plain data that JSON carries.

*Rule:* a record holds text and numbers only; no value of the user's is in it except as part of a message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# As deep as a chain may be written; json itself recurses, so that more would be a way to make it fail.
DEEPEST: Final = 40


class TypeName(NamedTuple):
    """The importable name of a type.

    Example:
        >>> str(TypeName("json.decoder", "JSONDecodeError")), str(TypeName("builtins", "KeyError"))
        ('json.decoder.JSONDecodeError', 'KeyError')
    """

    module: str
    qualname: str

    @property
    def name(self) -> str:
        """The last part, which is what `__name__` says."""
        return self.qualname.rpartition(".")[2]

    @property
    def root(self) -> str:
        """The top-level package."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        """Name it as Python's tracebacks do."""
        return self.qualname if self.module in {"builtins", "__main__"} else f"{self.module}.{self.qualname}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One step of a traceback.

    `source` is the line that failed, `before` and `after` are lines around it, `columns` the part of the line
    that failed, as character offsets; `in_cell` says that it is a notebook's cell, `cell` which one (None
    where nobody knows); `skipped` counts the frames that were left out just before this one.

    Example:
        >>> Frame("<In [7]>", 3, "<module>", "__main__", source="y = x @ w", in_cell=True, cell=7).place
        'In [7], line 3'
    """

    file: str
    line: int
    function: str
    module: str
    source: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    columns: tuple[int, int] | None = None
    in_cell: bool = False
    cell: int | None = None
    skipped: int = 0

    @property
    def place(self) -> str:
        """Where it is, in words; a function is named where there is one."""
        inside = "" if self.function in {"<module>", ""} else f", in {self.function}"
        if self.in_cell:
            return f"In [{'*' if self.cell is None else self.cell}], line {self.line}{inside}"
        return f'File "{self.file}", line {self.line}{inside}'


@dataclass(frozen=True, slots=True)
class SyntaxFacts:
    """Where a `SyntaxError` is: lines and offsets count from 1, as Python's do; 0 where unknown.

    Example:
        >>> SyntaxFacts("invalid syntax", "<In [2]>", 1, "1 +", 3).offset
        3
    """

    message: str
    file: str = ""
    line: int = 0
    text: str = ""
    offset: int = 0
    end_line: int = 0
    end_offset: int = 0


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """An array that the failing frame held, without its values.

    `name` is what the line calls it, `library` whose array it is; `dtype` names at most a few where it has
    several, as a table has; `device` is such as `"cpu"` or `"cuda:0"`, and empty where it has none.

    Example:
        >>> ArrayFacts("model.w", "torch", (3, 2), "float32", "cuda:0").text
        'model.w: torch (3, 2) float32 on cuda:0'
    """

    name: str
    library: str
    shape: tuple[int, ...]
    dtype: str
    device: str

    @property
    def text(self) -> str:
        """All of it in a line; that it is on the CPU goes without saying."""
        place = "" if self.device in {"cpu", ""} else f" on {self.device}"
        return f"{self.name}: {self.library} {self.shape} {self.dtype}{place}"


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An exception as plain data.

    `bases` are the type's, nearest first; `frames` run from the outermost to the innermost; `library` and
    `function` are those of the innermost frame that is not the user's cell, `"builtins"` where Python's own
    operation raised it and `"python"` where the user's code did; `members` are a group's, of which `omitted`
    were too many; `context_is_cause` says that both are one exception, which is then the cause alone;
    `arrays` are those that the failing line of the user's code names, and `close` are names that are there
    and near the one that is missing; `free_bytes` is what memory the machine had left where that is what an
    error is about. The last four say where it ran and are set by the kernel.

    Example:
        >>> record = ErrorRecord(TypeName("builtins", "ValueError"), (), "no")
        >>> from_json(to_json(record)) == record
        True
    """

    type: TypeName
    bases: tuple[TypeName, ...]
    message: str
    frames: tuple[Frame, ...] = ()
    notes: tuple[str, ...] = ()
    cause: ErrorRecord | None = None
    context: ErrorRecord | None = None
    context_is_cause: bool = False
    suppress_context: bool = False
    members: tuple[ErrorRecord, ...] = ()
    omitted: int = 0
    library: str = "python"
    function: str = ""
    syntax: SyntaxFacts | None = None
    arrays: tuple[ArrayFacts, ...] = ()
    close: tuple[str, ...] = ()
    free_bytes: int | None = None
    worker_id: str = ""
    pool: str = ""
    request_id: int | None = None
    command: str = ""

    @property
    def types(self) -> tuple[TypeName, ...]:
        """The type and its bases."""
        return (self.type, *self.bases)

    @property
    def type_name(self) -> str:
        """The type's name as Python's tracebacks write it."""
        return str(self.type)

    def line(self) -> str:
        r"""Say it in one line, for a log.

        Example:
            >>> ErrorRecord(TypeName("builtins", "ValueError"), (), "no\nway").line()
            'ValueError: no way'
        """
        text = " ".join(self.message.split())
        return f"{self.type}: {text}" if text else str(self.type)


def walk(record: ErrorRecord) -> Iterator[ErrorRecord]:
    """The record and all that hang on it (cause, context, members), in one fixed order.

    Example:
        >>> [r.message for r in walk(ErrorRecord(TypeName("builtins", "OSError"), (), "a"))]
        ['a']
    """
    yield record
    for linked in (record.cause, record.context, *record.members):
        if linked is not None:
            yield from walk(linked)


def located(record: ErrorRecord, *, worker_id: str, pool: str, request_id: int, command: str) -> ErrorRecord:
    """The record with the place where it ran, in everything that hangs on it too.

    A part that has a place already (it came from a pool inside the worker) keeps it.

    Example:
        >>> at = located(ErrorRecord(TypeName("builtins", "OSError"), (), ""), worker_id="w1", pool="p",
        ...              request_id=1, command="f")
        >>> at.worker_id
        'w1'
    """

    def place(part: ErrorRecord | None) -> ErrorRecord | None:
        if part is None:
            return None
        return located(part, worker_id=worker_id, pool=pool, request_id=request_id, command=command)

    return replace(
        record,
        cause=place(record.cause),
        context=place(record.context),
        members=tuple(member for member in map(place, record.members) if member is not None),
        worker_id=record.worker_id or worker_id,
        pool=record.pool or pool,
        request_id=request_id if record.request_id is None else record.request_id,
        command=record.command or command,
    )


def to_data(record: ErrorRecord) -> dict[str, object]:
    """The record as what JSON knows, defaults left out.

    Example:
        >>> to_data(ErrorRecord(TypeName("builtins", "ValueError"), (), "no"))["type"]
        ['builtins', 'ValueError']
    """
    data: dict[str, object] = {
        "type": list(record.type),
        "bases": [list(base) for base in record.bases],
        "message": record.message,
        "frames": [_shed(frame, Frame) for frame in record.frames],
        "notes": list(record.notes),
        "library": record.library,
        "function": record.function,
    }
    for name in ("cause", "context"):
        linked = getattr(record, name)
        if linked is not None:
            data[name] = to_data(linked)
    if record.members:
        data["members"] = [to_data(member) for member in record.members]
    if record.syntax is not None:
        data["syntax"] = _shed(record.syntax, SyntaxFacts)
    if record.arrays:
        data["arrays"] = [[a.name, a.library, list(a.shape), a.dtype, a.device] for a in record.arrays]
    plain = ("context_is_cause", "suppress_context", "omitted", "close", "worker_id", "pool", "command")
    data.update((name, value) for name in plain if (value := getattr(record, name)))
    known = ("free_bytes", "request_id")
    data.update((name, value) for name in known if (value := getattr(record, name)) is not None)
    return data


def to_json(record: ErrorRecord) -> str:
    """The record as JSON, in ASCII, so that lone surrogates of a message survive.

    Example:
        >>> to_json(ErrorRecord(TypeName("builtins", "ValueError"), (), "no"))[:33]
        '{"type":["builtins","ValueError"]'
    """
    return json.dumps(to_data(record), separators=(",", ":"))


def from_json(text: str) -> ErrorRecord:
    """A record from its JSON.

    Raises:
        ValueError: it is not the JSON of a record; the message names the field.

    Example:
        >>> from_json('{"type": ["builtins", "ValueError"], "bases": [], "message": "no"}').message
        'no'
    """
    try:
        data = json.loads(text)
    except RecursionError as error:
        message = "a record is nested too deep"
        raise ValueError(message) from error
    return from_data(data)


def from_data(data: object, depth: int = 0) -> ErrorRecord:
    """A record from what `to_data` gave; every field is checked.

    Raises:
        ValueError: a field is missing or of the wrong type.

    Example:
        >>> from_data({"type": ["builtins", "ValueError"], "bases": [], "message": 3})
        Traceback (most recent call last):
        ...
        ValueError: a record's 'message' is not of type str
    """
    if depth > 2 * DEEPEST:
        message = "a record is nested too deep"
        raise ValueError(message)
    fields = _object(data, "record")

    def linked(name: str) -> ErrorRecord | None:
        return from_data(fields[name], depth + 1) if name in fields else None

    return ErrorRecord(
        type=_type_name(fields.get("type")),
        bases=_each(fields, "bases", _type_name),
        message=_get(fields, "message", str),
        frames=_each(fields, "frames", _frame),
        notes=_each(fields, "notes", _text),
        cause=linked("cause"),
        context=linked("context"),
        context_is_cause=_get(fields, "context_is_cause", bool, default=False),
        suppress_context=_get(fields, "suppress_context", bool, default=False),
        members=_each(fields, "members", lambda item: from_data(item, depth + 1)),
        omitted=_get(fields, "omitted", int, default=0),
        library=_get(fields, "library", str, default="python"),
        function=_get(fields, "function", str, default=""),
        syntax=_syntax(fields["syntax"]) if "syntax" in fields else None,
        arrays=_each(fields, "arrays", _array),
        close=_each(fields, "close", _text),
        free_bytes=_get(fields, "free_bytes", int) if "free_bytes" in fields else None,
        worker_id=_get(fields, "worker_id", str, default=""),
        pool=_get(fields, "pool", str, default=""),
        request_id=_get(fields, "request_id", int) if "request_id" in fields else None,
        command=_get(fields, "command", str, default=""),
    )


def _shed(value: Frame | SyntaxFacts, cls: type[Frame | SyntaxFacts]) -> dict[str, object]:
    data: dict[str, object] = {}
    for name, field in cls.__dataclass_fields__.items():
        given = getattr(value, name)
        if given != field.default:
            data[name] = given
    return data


def _refuse(name: str, expected: str) -> NoReturn:
    message = f"a record's {name!r} is not of type {expected}"
    raise ValueError(message)


def _object(data: object, name: str) -> dict[str, object]:
    if not isinstance(data, dict):
        _refuse(name, "object")
    return data


def _get(fields: dict[str, object], name: str, expected: type[T], *, default: T | None = None) -> T:
    value = fields.get(name, default)
    if type(value) is not expected:
        _refuse(name, expected.__name__)
    return value


def _each(fields: dict[str, object], name: str, read: Callable[[object], T]) -> tuple[T, ...]:
    return tuple(read(item) for item in _get(fields, name, list, default=[]))


def _text(data: object) -> str:
    if type(data) is not str:
        _refuse("text", "str")
    return data


def _type_name(data: object) -> TypeName:
    match data:
        case [str(module), str(qualname)]:
            return TypeName(module, qualname)
    _refuse("type", "[module, qualname]")


def _array(data: object) -> ArrayFacts:
    match data:
        case [str(name), str(library), [*lengths], str(dtype), str(device)]:
            shape = tuple(length for length in lengths if type(length) is int)
            if len(shape) == len(lengths):
                return ArrayFacts(name, library, shape, dtype, device)
    _refuse("arrays", "[name, library, shape, dtype, device]")


def _frame(data: object) -> Frame:
    fields = _object(data, "frame")
    columns = fields.get("columns")
    pair: tuple[int, int] | None = None
    match columns:
        case None:
            pass
        case [int(start), int(end)]:
            pair = (start, end)
        case _:
            _refuse("columns", "[start, end]")
    return Frame(
        file=_get(fields, "file", str),
        line=_get(fields, "line", int),
        function=_get(fields, "function", str),
        module=_get(fields, "module", str),
        source=_get(fields, "source", str, default=""),
        before=_each(fields, "before", _text),
        after=_each(fields, "after", _text),
        columns=pair,
        in_cell=_get(fields, "in_cell", bool, default=False),
        cell=_get(fields, "cell", int) if "cell" in fields else None,
        skipped=_get(fields, "skipped", int, default=0),
    )


def _syntax(data: object) -> SyntaxFacts:
    fields = _object(data, "syntax")
    return SyntaxFacts(
        message=_get(fields, "message", str),
        file=_get(fields, "file", str, default=""),
        line=_get(fields, "line", int, default=0),
        text=_get(fields, "text", str, default=""),
        offset=_get(fields, "offset", int, default=0),
        end_line=_get(fields, "end_line", int, default=0),
        end_offset=_get(fields, "end_offset", int, default=0),
    )
