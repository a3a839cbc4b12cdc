"""An exception, whatever it is, seen as a record.

*Rule:* nothing in here raises, and no code of the exception's own class runs except its `__str__`, once.
*Rule:* the size of a record is bounded, however large the message or deep the recursion; what is left out is said.
"""

from __future__ import annotations

import itertools
import linecache
import os
import re
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from snakepit_nb.errors import origin, stack
from snakepit_nb.errors.record import DEEPEST, ErrorRecord, Frame, SyntaxFacts, TypeName

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_HOUSE: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")  # noqa: PTH118, PTH120, PTH100 - pathlib is not imported in a worker otherwise
_CELL: Final = re.compile(r"<In \[(\d+|\*)\]>")
_MESSAGE: Final = 20_000
_NOTE: Final = 4_000
_LINE: Final = 1_000
_NOTES: Final = 50
_MEMBERS: Final = 200
_EXCEPTIONS: Final = 500
_FRAMES_AT_EACH_END: Final = 30
_LINES_AROUND: Final = 2

# Read through the base's own descriptors, an exception cannot lie about these or fail to give them.
_BASE: Final = vars(BaseException)
_MRO: Final = vars(type)["__mro__"]


@dataclass(slots=True)
class Node:
    """An exception and those that hang on it, as a tree: no exception is in it twice."""

    exception: BaseException
    cause: Node | None = None
    context: Node | None = None
    members: list[Node] = field(default_factory=list)
    omitted: int = 0


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
    """The head and the tail of a text that is too long, and how much is missing between them.

    Example:
        >>> clip("a" * 50 + "b" * 50, 20)
        'aaaaaaaaaa\\n[... 80 characters left out ...]\\nbbbbbbbbbb'
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
    mro: tuple[type, ...] = _MRO.__get__(original if isinstance(original, type) else cls)
    return mro


def survey(exception: BaseException) -> Node:
    """The exception with its cause, context and members; circles are cut where they close.

    Example:
        >>> survey(ExceptionGroup("both", [ValueError(), KeyError()])).members[1].exception
        KeyError()
    """
    return _survey(exception, {id(exception)}, 0)


def _survey(exception: BaseException, seen: set[int], depth: int) -> Node:
    node = Node(exception)
    if depth >= DEEPEST:
        return node

    def fresh(other: BaseException | None) -> Node | None:
        if other is None or id(other) in seen or len(seen) >= _EXCEPTIONS:
            return None
        seen.add(id(other))
        return _survey(other, seen, depth + 1)

    # Not isinstance: that asks the exception for its `__class__`.
    if issubclass(type(exception), BaseExceptionGroup):
        members: tuple[BaseException, ...] = guarded(lambda: vars(BaseExceptionGroup)["exceptions"].__get__(exception), ())
        for member in members[:_MEMBERS]:
            found = fresh(member)
            if found is not None:
                node.members.append(found)
        node.omitted = len(members) - len(node.members)
    cause = _BASE["__cause__"].__get__(exception)
    context = _BASE["__context__"].__get__(exception)
    node.cause = fresh(cause)
    node.context = fresh(context)
    return node


def describe(exception: BaseException) -> ErrorRecord:
    """An exception as plain data.

    Never raises, whatever the exception's class does.

    Example:
        >>> try:
        ...     {}["a"]
        ... except KeyError as error:
        ...     record = describe(error)
        >>> record.type.name, record.message
        ('KeyError', "'a'")
    """
    return guarded(lambda: record_of(survey(exception)), None) or minimal(exception)


def minimal(exception: BaseException) -> ErrorRecord:
    """The least that can be said of an exception, where even that much memory was short.

    Example:
        >>> minimal(ValueError("no")).message
        '<nothing more could be found out about this ValueError>'
    """
    name = type_name(type(exception))
    bases = tuple(type_name(base) for base in names_of(exception)[1:])
    return ErrorRecord(name, bases, f"<nothing more could be found out about this {name.name}>")


def record_of(node: Node) -> ErrorRecord:
    """The record of a surveyed exception.

    Example:
        >>> record_of(survey(ValueError("no"))).message
        'no'
    """
    exception = node.exception
    cls, *bases = names_of(exception)
    inner = _record_inside(exception)
    steps: list[types.TracebackType] = guarded(lambda: _steps(exception, remote=inner is not None), [])
    frames: tuple[Frame, ...] = guarded(lambda: _frames(steps), ())
    message, notes = _texts(exception, cls)
    if inner is not None:
        source = (inner.library, inner.function)
        frames = (*frames, *inner.frames)
        message = inner.message
    else:
        source = guarded(lambda: _source(exception, steps), ("python", ""))
    return ErrorRecord(
        type=type_name(cls) if inner is None else inner.type,
        bases=tuple(type_name(base) for base in bases) if inner is None else inner.bases,
        message=message,
        frames=frames,
        notes=notes,
        cause=None if node.cause is None else record_of(node.cause),
        context=None if node.context is None else record_of(node.context),
        context_is_cause=node.cause is not None
        and _BASE["__context__"].__get__(exception) is _BASE["__cause__"].__get__(exception),
        suppress_context=_BASE["__suppress_context__"].__get__(exception),
        members=tuple(record_of(member) for member in node.members),
        omitted=node.omitted,
        library=source[0],
        function=source[1],
        syntax=guarded(lambda: _syntax(exception), None),
        worker_id="" if inner is None else inner.worker_id,
        pool="" if inner is None else inner.pool,
        request_id=None if inner is None else inner.request_id,
        command="" if inner is None else inner.command,
    )


def type_name(cls: type) -> TypeName:
    """The importable name of a class, whatever its metaclass says.

    Example:
        >>> type_name(KeyError)
        TypeName(module='builtins', qualname='KeyError')
    """
    module = guarded(lambda: type.__getattribute__(cls, "__module__"), "")
    qualname = guarded(lambda: type.__getattribute__(cls, "__qualname__"), "")
    return TypeName(_exact(module) or "builtins", _exact(qualname) or "Exception")


def text_of(value: object, limit: int = _MESSAGE) -> str | None:
    """What `str` makes of a value, exact and bounded; None where that fails.

    Example:
        >>> text_of(ValueError("no"))
        'no'
    """
    text = guarded(lambda: _exact(str(value)), None)
    return None if text is None else clip(text, limit)


def state_of(exception: BaseException) -> dict[str, object]:
    """The attributes of an exception, without asking its class.

    Example:
        >>> error = ValueError(); error.code = 3
        >>> state_of(error)
        {'code': 3}
    """
    found: dict[str, object] = guarded(lambda: _BASE["__dict__"].__get__(exception), {})
    return guarded(lambda: {name: value for name, value in dict.items(found) if type(name) is str}, {})


def _exact(value: object) -> str | None:
    # A subclass of str may lie about its length or refuse to be encoded.
    return str.__str__(value) if issubclass(type(value), str) else None  # type: ignore[arg-type]


def _record_inside(exception: BaseException) -> ErrorRecord | None:
    inside = state_of(exception).get("_remote")
    first = inside[0] if type(inside) is tuple and inside else None
    return first if type(first) is ErrorRecord else None


def _texts(exception: BaseException, cls: type) -> tuple[str, tuple[str, ...]]:
    message = text_of(exception)
    if message is None:
        message = f"<the str() of this {type_name(cls).name} failed>"
    given = state_of(exception).get("__notes__")
    if given is None:
        return message, ()
    several = given if type(given) in {list, tuple} else [given]
    notes = [
        text_of(note, _NOTE) or "<a note whose str() failed>"
        for note in itertools.islice(several, _NOTES)  # type: ignore[call-overload]
    ]
    if len(several) > _NOTES:  # type: ignore[arg-type]
        notes.append(f"[... {len(several) - _NOTES:,} notes left out ...]")  # type: ignore[arg-type]
    return message, tuple(notes)


def _syntax(exception: BaseException) -> SyntaxFacts | None:
    if not issubclass(type(exception), SyntaxError):
        return None
    fields = vars(SyntaxError)

    def text(name: str) -> str:
        return clip(_exact(fields[name].__get__(exception)) or "", _LINE)

    def number(name: str) -> int:
        value = fields[name].__get__(exception)
        return value if type(value) is int else 0

    return SyntaxFacts(
        message=text("msg"),
        file=text("filename"),
        line=number("lineno"),
        text=text("text"),
        offset=number("offset"),
        end_line=number("end_lineno"),
        end_offset=number("end_offset"),
    )


def _house(step: types.TracebackType) -> bool:
    return step.tb_frame.f_code.co_filename.startswith(_HOUSE)


def _module(step: types.TracebackType) -> str:
    return _exact(dict.get(step.tb_frame.f_globals, "__name__")) or ""


def _steps(exception: BaseException, *, remote: bool) -> list[types.TracebackType]:
    """The traceback without the machinery that called the user's code.

    Below machinery the event loop that ran a cell counts as machinery too. Of an exception that came out of a
    pool in here (`remote`), the way back through that pool's Future is left out as well.
    """
    steps: list[types.TracebackType] = []
    step = _BASE["__traceback__"].__get__(exception)
    while step is not None:
        # The frames that were rebuilt from a record are in that record already.
        if stack.MARK not in step.tb_frame.f_globals:
            steps.append(step)
        step = step.tb_next
    start = 0
    if steps and _house(steps[0]):
        while start < len(steps) and (_house(steps[start]) or _module(steps[start]).partition(".")[0] == "asyncio"):
            start += 1
    end = len(steps)
    if remote:
        while end > start and (_house(steps[end - 1]) or _module(steps[end - 1]).startswith("concurrent.")):
            end -= 1
    return steps[start:end]


def _frames(steps: list[types.TracebackType]) -> tuple[Frame, ...]:
    skipped = max(0, len(steps) - 2 * _FRAMES_AT_EACH_END)
    if not skipped:
        return tuple(_frame(step) for step in steps)
    head, tail = steps[:_FRAMES_AT_EACH_END], steps[-_FRAMES_AT_EACH_END:]
    return (*map(_frame, head), _frame(tail[0], skipped), *map(_frame, tail[1:]))


def _frame(step: types.TracebackType, skipped: int = 0) -> Frame:
    code = step.tb_frame.f_code
    line = step.tb_lineno or 0
    cell = _CELL.fullmatch(code.co_filename)
    lines: list[str] = guarded(lambda: linecache.getlines(code.co_filename, step.tb_frame.f_globals), [])
    around = _LINES_AROUND if cell else 0
    return Frame(
        file=code.co_filename,
        line=line,
        function=code.co_name,
        module=_module(step),
        source=_row(lines, line),
        before=tuple(_row(lines, number) for number in range(max(1, line - around), line)),
        after=tuple(
            _row(lines, number) for number in range(line + 1, min(len(lines), line + around) + 1)
        ),
        columns=guarded(lambda: _columns(step, _row(lines, line)), None),
        in_cell=cell is not None,
        cell=int(cell[1]) if cell and cell[1] != "*" else None,
        skipped=skipped,
    )


def _row(lines: list[str], number: int) -> str:
    if not 0 < number <= len(lines):
        return ""
    row = lines[number - 1].rstrip()
    return row if len(row) <= _LINE else f"{row[:_LINE]} [...]"


def _columns(step: types.TracebackType, source: str) -> tuple[int, int] | None:
    """The part of the line that failed, in characters; None where that is all of it, or not to be known."""
    span = origin.position(step.tb_frame.f_code, step.tb_lasti)
    if span is None or span.line != step.tb_lineno or len(source) > _LINE:
        return None
    encoded = source.encode("utf-8", "surrogatepass")
    last = span.end_column if span.end_line == span.line else len(encoded)
    start = len(encoded[: span.column].decode("utf-8", "replace"))
    end = len(encoded[:last].decode("utf-8", "replace"))
    whole = source[:start].strip() == "" and source[end:].strip() == ""
    return None if whole or end <= start else (start, end)


def _source(exception: BaseException, steps: list[types.TracebackType]) -> tuple[str, str]:
    """The library and the function that raised it."""
    innermost = steps[-1] if steps else _last_step(exception)
    if innermost is None:
        return "python", ""
    native = guarded(lambda: origin.native(innermost), None)
    if native is not None:
        own = "builtins" if not steps or _is_users(steps[-1]) else _module(steps[-1]).partition(".")[0]
        # Below a library's own frame only another library's native code is deeper than that frame.
        if own == "builtins" or native[0] not in {own, "builtins"}:
            return native
    for step in reversed(steps):
        if not _is_users(step):
            return _module(step).partition(".")[0], _plain(step.tb_frame.f_code.co_name)
    return "python", ""


def _plain(name: str) -> str:
    # Cython names its functions in full.
    return name if name.startswith("<") else name.rpartition(".")[2]


def _last_step(exception: BaseException) -> types.TracebackType | None:
    step: types.TracebackType | None = _BASE["__traceback__"].__get__(exception)
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step


def _is_users(step: types.TracebackType) -> bool:
    module = _module(step)
    return module in {"", "__main__"} or _CELL.fullmatch(step.tb_frame.f_code.co_filename) is not None
