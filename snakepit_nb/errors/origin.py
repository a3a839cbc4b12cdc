"""Which library raised, where that was native code: NumPy's broadcasting leaves no frame of NumPy's.

The failing instruction says what was called or combined; the names that it read, looked up in the frame, say
whose it was.

*Rule:* only names of the frame and attributes of modules are looked up; nothing is evaluated.
"""

from __future__ import annotations

import dis
import itertools
import sys
import types
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING: Final = object()
_NOBODY: Final = frozenset({"", "builtins"})
# Halves of a library that have a name of their own.
_HOMES: Final = {"jaxlib": "jax", "posix": "os", "nt": "os"}
_RAISES: Final = frozenset({"RAISE_VARARGS", "RERAISE"})
_OPERATORS: Final = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "truediv",
    "//": "floordiv",
    "%": "mod",
    "**": "pow",
    "@": "matmul",
    "&": "and",
    "|": "or",
    "^": "xor",
    "<<": "lshift",
    ">>": "rshift",
    "[]": "getitem",
}
_OPCODES: Final = {
    "BINARY_SUBSCR": "getitem",
    "BINARY_SLICE": "getitem",
    "STORE_SUBSCR": "setitem",
    "STORE_SLICE": "setitem",
    "DELETE_SUBSCR": "delitem",
    "COMPARE_OP": "compare",
    "CONTAINS_OP": "contains",
    "UNARY_NEGATIVE": "neg",
    "UNARY_INVERT": "invert",
    "LOAD_ATTR": "getattr",
    "LOAD_METHOD": "getattr",
    "STORE_ATTR": "setattr",
    "IMPORT_NAME": "import",
    "IMPORT_FROM": "import",
    "LOAD_NAME": "name",
    "LOAD_GLOBAL": "name",
    "GET_ITER": "iter",
    "FOR_ITER": "next",
    "UNPACK_SEQUENCE": "unpack",
    "UNPACK_EX": "unpack",
}


class Span(NamedTuple):
    """A stretch of source: lines count from 1, columns are byte offsets from 0."""

    line: int
    end_line: int
    column: int
    end_column: int


def position(code: types.CodeType, offset: int) -> Span | None:
    """Where the instruction at a byte offset stands in the source; None where the code does not say.

    Example:
        >>> position(compile("1 + x", "f", "eval"), 0) is None
        True
    """
    if offset < 0:
        return None
    found = next(itertools.islice(code.co_positions(), offset // 2, None), (None,) * 4)
    return _span(*found)


def _span(line: int | None, end_line: int | None, column: int | None, end_column: int | None) -> Span | None:
    if line is None or end_line is None or column is None or end_column is None or end_line == 0:
        return None
    if (column, end_column) == (0, 0):
        return None
    return Span(line, end_line, column, end_column)


def native(step: types.TracebackType) -> tuple[str, str] | None:
    """The library and function of the native code that a frame was in; None where the frame itself raised.

    Example:
        >>> try:
        ...     int("x")
        ... except ValueError as error:
        ...     native(error.__traceback__)
        ('builtins', 'int')
    """
    frame = step.tb_frame
    instructions = list(_visible(frame.f_code))
    # The last one that began: a traceback that a library made may point into what belongs to an instruction.
    failed = next((each for each in reversed(instructions) if each.offset <= step.tb_lasti), None)
    if failed is None or failed.opname in _RAISES:
        return None
    span = position(frame.f_code, failed.offset)
    inside = [failed]
    if span is not None:
        inside = [each for each in instructions if within(each, span)]
    if failed.opname.startswith("CALL") and span is not None:
        return _called(frame, inside, span)
    name = _OPERATORS.get(failed.argrepr.removesuffix("="), "") or _OPCODES.get(failed.opname, "")
    return _owner(frame, inside), name


def within(instruction: dis.Instruction, span: Span) -> bool:
    """Whether an instruction stands in a stretch of source.

    Example:
        >>> [each.opname for each in dis.get_instructions("1 + x") if within(each, Span(1, 1, 4, 5))]
        ['LOAD_NAME']
    """
    there = None if instruction.positions is None else _span(*instruction.positions)
    return (
        there is not None
        and (span.line, span.column) <= (there.line, there.column)
        and (there.end_line, there.end_column) <= (span.end_line, span.end_column)
    )


def library_of(value: object) -> str:
    """The top-level package that a value, its type, or the function that it is comes from.

    Example:
        >>> library_of(dis), library_of(dis.dis), library_of({}), library_of(itertools.count())
        ('dis', 'dis', 'builtins', 'itertools')
    """
    if isinstance(value, types.ModuleType):
        name = value.__dict__.get("__name__")
    elif type(value) in {types.FunctionType, types.BuiltinFunctionType}:
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            return library_of(owner)
        name = getattr(value, "__module__", None) or "builtins"
    else:
        cls = value if isinstance(value, type) else type(value)
        name = type.__getattribute__(cls, "__module__")
    # A leading underscore is the native half of a standard module: `_json` is json.
    root = name.partition(".")[0].lstrip("_") if type(name) is str and name != "__main__" else ""
    return _HOMES.get(root, root)


def _visible(code: types.CodeType) -> Iterator[dis.Instruction]:
    return (each for each in dis.get_instructions(code) if each.opname != "CACHE")


def _loaded(frame: types.FrameType, instruction: dis.Instruction) -> list[object]:
    """The values of the names that an instruction reads."""
    name = instruction.opname
    if not (name.startswith("LOAD_") and any(part in name for part in ("NAME", "GLOBAL", "FAST", "DEREF"))):
        return []
    given = instruction.argval
    names = given if isinstance(given, tuple) else (given,)
    values = [looked_up(frame, each) for each in names if isinstance(each, str)]
    return [value for value in values if value is not MISSING]


def looked_up(frame: types.FrameType, name: str) -> object:
    """The value of a name as the frame's code would find it; `MISSING` where there is none.

    Example:
        >>> import sys
        >>> frame = sys._getframe()
        >>> looked_up(frame, "len") is len, looked_up(frame, "no such name") is MISSING
        (True, True)
    """
    for scope in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if (value := local(scope, name)) is not MISSING:
            return value
    return MISSING


def local(scope: object, name: str) -> object:
    """A name's value in one scope, which from Python 3.13 on may be a view of a function's variables.

    Example:
        >>> local({"a": 1}, "a"), local([], "a") is MISSING
        (1, True)
    """
    if isinstance(scope, dict):
        return dict.get(scope, name, MISSING)
    return scope.get(name, MISSING) if type(scope) is _VIEW else MISSING  # type: ignore[attr-defined]


def names_in(scope: object) -> list[object]:
    """The names in one scope.

    Example:
        >>> names_in({"a": 1}), names_in(3)
        (['a'], [])
    """
    if isinstance(scope, dict):
        return list(dict.keys(scope))
    return list(scope) if type(scope) is _VIEW else []  # type: ignore[call-overload]


def _view() -> type:
    return type(sys._getframe().f_locals)  # noqa: SLF001 - the only way to a frame


_VIEW: Final = _view()


def _owner(frame: types.FrameType, reads: list[dis.Instruction]) -> str:
    """The first library, other than Python itself, that owns one of the values read."""
    owners = (library_of(value) for each in reads for value in _loaded(frame, each))
    return next((owner for owner in owners if owner not in _NOBODY), "builtins")


def _called(frame: types.FrameType, inside: list[dis.Instruction], span: Span) -> tuple[str, str]:
    """Library and name of the function that a call names.

    The reads that make up the function all start where the call starts, and the last one is the longest.
    """
    chain = [
        each
        for each in inside
        if each.opname.startswith("LOAD_")
        and each.opname != "LOAD_CONST"
        and each.positions is not None
        and (each.positions.lineno, each.positions.col_offset) == (span.line, span.column)
    ]
    if not chain:
        return "builtins", ""
    names = [each.argval[0] if isinstance(each.argval, tuple) else each.argval for each in chain]
    value = looked_up(frame, names[0])
    if value is MISSING or not _loaded(frame, chain[0]):
        before = [each for each in inside if each.offset < chain[-1].offset]
        return _owner(frame, before), str(names[-1])
    if value is frame.f_builtins.get(names[0], MISSING):
        return "builtins", str(names[-1])
    for name in names[1:]:
        value = _attribute(value, name)
    library = library_of(value)
    if library == "operator":
        # It stands for the operation of what it is given.
        library = _owner(frame, [each for each in inside if each not in chain])
    if len(names) == 1:
        # A plain name may be an argument that holds the function, as where machinery calls it.
        names.append(_name_of(value) or names[0])
    return "builtins" if library in _NOBODY else library, str(names[-1])


def _attribute(value: object, name: object) -> object:
    """An attribute that lies open in a module or an instance; else the value, whose owner it shares."""
    if isinstance(value, type) or not hasattr(type(value), "__dict__"):
        return value
    try:
        state = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return value
    return state.get(name, value) if type(state) is dict else value


def _name_of(value: object) -> str | None:
    if type(value) in {types.FunctionType, types.BuiltinFunctionType} or isinstance(value, type):
        name = type(value).__getattribute__(value, "__name__")
    else:
        # NumPy's ufuncs and the like are no functions, but have a name of their own.
        found = getattr(type(value), "__name__", None)
        name = getattr(value, "__name__", None) if found == "ufunc" else None
    return name if type(name) is str else None
