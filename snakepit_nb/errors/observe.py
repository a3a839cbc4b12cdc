"""An exception, whatever it is, seen as a record.

*Rule:* nothing in here raises, and no code of the exception's own class runs except its `__str__`, once.
*Rule:* a record's size is bounded, however large the message or deep the recursion; what is left out is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.arrays import arrays_of
from snakepit_nb.errors.close import close_to
from snakepit_nb.errors.frames import frames_of, is_users, raised_by, steps_of
from snakepit_nb.errors.free import free_bytes
from snakepit_nb.errors.hostile import BASE, clip, exact, guarded, names_of, state_of, text_of, type_name
from snakepit_nb.errors.record import DEEPEST, ErrorRecord, SyntaxFacts

if TYPE_CHECKING:
    import types

    from snakepit_nb.errors.record import ArrayFacts, Frame

_NOTE: Final = 4_000
_LINE: Final = 1_000
_NOTES: Final = 50
_MEMBERS: Final = 200
_EXCEPTIONS: Final = 500


@dataclass(slots=True)
class Node:
    """An exception and those that hang on it, as a tree: no exception is in it twice."""

    exception: BaseException
    cause: Node | None = None
    context: Node | None = None
    members: list[Node] = field(default_factory=list)
    omitted: int = 0


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
        members: tuple[BaseException, ...] = guarded(
            lambda: vars(BaseExceptionGroup)["exceptions"].__get__(exception), ()
        )
        for member in members[:_MEMBERS]:
            found = fresh(member)
            if found is not None:
                node.members.append(found)
        node.omitted = len(members) - len(node.members)
    cause = BASE["__cause__"].__get__(exception)
    context = BASE["__context__"].__get__(exception)
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
    steps: list[types.TracebackType] = guarded(lambda: steps_of(exception, remote=inner is not None), [])
    frames: tuple[Frame, ...] = guarded(lambda: frames_of(steps), ())
    message, notes = _texts(exception, cls)
    arrays: tuple[ArrayFacts, ...] = ()
    close: tuple[str, ...] = ()
    if inner is not None:
        source = (inner.library, inner.function)
        arrays, close = inner.arrays, inner.close
        frames = (*frames, *inner.frames)
        message = inner.message
    else:
        source = guarded(lambda: raised_by(exception, steps), ("python", ""))
        own = next((step for step in reversed(steps) if is_users(step)), None)
        if own is not None:
            arrays = guarded(lambda: arrays_of(own, source[0]), ())
            close = guarded(lambda: close_to(exception, message, own, source[0]), ())
    return ErrorRecord(
        type=type_name(cls) if inner is None else inner.type,
        bases=tuple(type_name(base) for base in bases) if inner is None else inner.bases,
        message=message,
        frames=frames,
        notes=notes,
        cause=None if node.cause is None else record_of(node.cause),
        context=None if node.context is None else record_of(node.context),
        context_is_cause=node.cause is not None
        and BASE["__context__"].__get__(exception) is BASE["__cause__"].__get__(exception),
        suppress_context=BASE["__suppress_context__"].__get__(exception),
        members=tuple(record_of(member) for member in node.members),
        omitted=node.omitted,
        library=source[0],
        function=source[1],
        syntax=guarded(lambda: _syntax(exception), None),
        arrays=arrays,
        close=close,
        free_bytes=free_bytes((cls, *bases), message) if inner is None else inner.free_bytes,
        worker_id="" if inner is None else inner.worker_id,
        pool="" if inner is None else inner.pool,
        request_id=None if inner is None else inner.request_id,
        command="" if inner is None else inner.command,
    )


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
    several: tuple[object, ...] = tuple(given) if type(given) in {list, tuple} else (given,)  # type: ignore[arg-type]
    told = (text_of(note, _NOTE) for note in several[:_NOTES])
    notes = ["<a note whose str() failed>" if note is None else note for note in told]
    if len(several) > _NOTES:
        notes.append(f"[... {len(several) - _NOTES:,} notes left out ...]")
    return message, tuple(notes)


def _syntax(exception: BaseException) -> SyntaxFacts | None:
    if not issubclass(type(exception), SyntaxError):
        return None
    fields = vars(SyntaxError)

    def text(name: str) -> str:
        return clip(exact(fields[name].__get__(exception)) or "", _LINE)

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
