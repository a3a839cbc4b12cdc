"""What the user's failing line had in hand: the names that it reads, and the values behind them.

*Rule:* only names, open attributes and constant keys of plain dicts are looked up; nothing is evaluated.
"""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.origin import MISSING, local, looked_up, position, within

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

_NAMES: Final = ("NAME", "GLOBAL", "FAST", "DEREF")
# Between the reads of one chain, as in `box.rows["a"]`, nothing else stands but these.
_SILENT: Final = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL", "PRECALL", "RESUME"})
_MOST: Final = 200


class Held(NamedTuple):
    """A value, and how the line calls it (`"x"`, `"model.w"`, `"batch['ids']"`)."""

    name: str
    value: object


def held_by(step: types.TracebackType) -> list[Held]:
    """What the failing line of a frame reads; what stands in the failing part of the line comes first.

    Example:
        >>> def f(a, b):
        ...     return a / b
        >>> try:
        ...     f(1, 0)
        ... except ZeroDivisionError as error:
        ...     held_by(error.__traceback__.tb_next)
        [Held(name='a', value=1), Held(name='b', value=0)]
    """
    frame = step.tb_frame
    code = frame.f_code
    span = position(code, step.tb_lasti)
    lines = range(step.tb_lineno, step.tb_lineno + 1) if span is None else range(span.line, span.end_line + 1)
    inside: list[dis.Instruction] = []
    beside: list[dis.Instruction] = []
    for each in dis.get_instructions(code):
        there = each.positions
        if there is None or there.lineno not in lines:
            continue
        (inside if span is None or within(each, span) else beside).append(each)
    found: dict[str, object] = {}
    for held in (*_chains(frame, inside), *_chains(frame, beside)):
        found.setdefault(held.name, held.value)
        if len(found) >= _MOST:
            break
    return [Held(*each) for each in found.items()]


def held_around(step: types.TracebackType) -> list[Held]:
    """The local variables of a frame that its code names, in the order of the code.

    Example:
        >>> def f(a):
        ...     b = a
        ...     return 1 // 0
        >>> try:
        ...     f(3)
        ... except ZeroDivisionError as error:
        ...     held_around(error.__traceback__.tb_next)
        [Held(name='a', value=3), Held(name='b', value=3)]
    """
    frame = step.tb_frame
    code = frame.f_code
    own = (*code.co_varnames, *code.co_cellvars, *code.co_freevars) or code.co_names
    looked = ((name, local(frame.f_locals, name)) for name in own[:_MOST])
    return [Held(name, value) for name, value in looked if value is not MISSING]


def _chains(frame: types.FrameType, instructions: list[dis.Instruction]) -> Iterator[Held]:
    """Each name that is read, and each step on from it that lies open."""
    current: Held | None = None
    key: object = None
    for each in instructions:
        name = each.opname
        if name in _SILENT:
            continue
        if name.startswith("LOAD_") and any(part in name for part in _NAMES):
            current = None
            for read in each.argval if isinstance(each.argval, tuple) else (each.argval,):
                value = looked_up(frame, read) if isinstance(read, str) else MISSING
                if value is not MISSING:
                    current = Held(read, value)
                    yield current
        elif name == "LOAD_CONST":
            key = each.argval
            continue
        elif current is not None:
            current = _onward(current, each, key)
            if current is not None:
                yield current
        key = None


def _onward(held: Held, step: dis.Instruction, key: object) -> Held | None:
    if step.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
        given = step.argval[-1] if isinstance(step.argval, tuple) else step.argval
        value = _attribute(held.value, str(given))
        return None if value is MISSING else Held(f"{held.name}.{given}", value)
    # From Python 3.14 on a subscript is one of the binary operations.
    subscript = step.opname == "BINARY_SUBSCR" or step.argrepr == "[]"
    if not subscript or type(held.value) is not dict or type(key) is not str:
        return None
    value = held.value.get(key, MISSING)
    return None if value is MISSING else Held(f"{held.name}[{key!r}]", value)


def _attribute(value: object, name: str) -> object:
    """An attribute that lies open in an instance or a module; a torch module keeps its arrays apart."""
    try:
        state = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return MISSING
    if type(state) is not dict:
        return MISSING
    for place in (state, state.get("_parameters"), state.get("_buffers")):
        if type(place) is dict and name in place:
            return place[name]
    return MISSING
