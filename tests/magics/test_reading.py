from __future__ import annotations

import builtins
import importlib.util
import resource
import symtable
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snakepit_nb.magics.capture import analyse

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILTINS = frozenset(dir(builtins))


class _Spent(BaseException):
    pass


@contextmanager
def _little_memory() -> Iterator[None]:
    """Half a gigabyte and no more: a list that a cell doubles in a loop soon fills any machine."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    taken = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (taken + (512 << 20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


class _Anything:
    """Whatever a cell takes it for; its truth is a coin of the test's."""

    def __init__(self, coins: Iterator[bool]) -> None:
        self._coins = coins

    def __bool__(self) -> bool:
        return next(self._coins, False)

    def __call__(self, *_: object, **__: object) -> _Anything:
        return self

    def __iter__(self) -> Iterator[_Anything]:
        return iter([self, self] if self else [])

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _same(self, *_: object) -> _Anything:
        return self

    __add__ = __radd__ = __iadd__ = __getitem__ = _same

    def __setitem__(self, *_: object) -> None:
        pass


class _Notebook(dict[str, object]):
    """A namespace in which every name exists, and which remembers what it was asked for."""

    def __init__(self, coins: list[bool]) -> None:
        self.asked: set[str] = set()
        self.gone: set[str] = set()
        self.budget = 300
        self.anything = _Anything(iter(coins))
        super().__init__(__builtins__={**vars(builtins), "v": self._value}, __name__="__cell__")

    def _value(self, *_: object) -> _Anything:
        self.budget -= 1
        if self.budget < 0:
            raise _Spent
        return self.anything

    def __missing__(self, name: str) -> object:
        if name in {"v", "__annotations__"} | BUILTINS | self.gone:
            raise KeyError(name)
        self.asked.add(name)
        return self.anything

    def __delitem__(self, name: str) -> None:
        if name in self:
            super().__delitem__(name)
        elif name in self.gone:
            raise KeyError(name)
        else:
            self.asked.add(name)
        self.gone.add(name)

    def run(self, source: str) -> bool:
        """Whether the cell ran to its end; up to where it broke off, its answer is as good."""
        try:
            with _little_memory():
                exec(compile(source, "<cell>", "exec", dont_inherit=True), self)  # noqa: S102 - Python's own answer is the oracle
        except (_Spent, Exception):  # noqa: BLE001 - whatever the cell raises
            return False
        return True


NAMES = st.sampled_from("abcde")


@st.composite
def expressions(draw: st.DrawFn, depth: int = 1) -> str:
    name = draw(NAMES)
    if depth == 0:
        return name
    one, two = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    other = draw(NAMES)
    return draw(
        st.sampled_from([
            name,
            "v()",
            f"v({one}, {two})",
            f"({one} + {two})",
            f"({one} if v({two}) else {name})",
            f"(v() and {one} or {two})",
            f"({name} := v({one}))",
            f"[v({two}) for {name} in v({one})]",
            f"[({other} := {name}) for {name} in v({one}) if {two}]"
            if other != name
            else f"{{{name}: {two} for {name} in v()}}.get(1)",
            f"(lambda {name}: {one})({two})",
            f"(lambda {name}=v({one}): {two})()",
            f"f'{{{one}}}'",
            f"{name}({one})",
            f"{name}.m({one})[{two}]",
        ])
    )  # fmt: skip


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


@st.composite
def statements(  # noqa: C901, PLR0911 - one case for each statement of the language
    draw: st.DrawFn, depth: int = 2, *, loop: bool = False, straight: bool = False
) -> list[str]:
    name, other, value = draw(NAMES), draw(NAMES), draw(NAMES if straight else expressions())
    simple = [
        [f"{name} = {value}"],
        [f"{name} += {value}"],
        [f"{name}[0] = {value}"],
        [f"{name}, {other} = v(), {value}"],
        [f"del {name}"],
        [f"v({value})"],
        [f"{name}: {other} = {value}"],
        [f"import sys as {name}"],
        [f"with v({value}) as {name}: v({name})"],
    ]
    if straight:
        return draw(st.sampled_from(simple))
    simple += [["break"], ["continue"]] if loop else [[f"raise ValueError({name})"]]
    if depth == 0:
        return draw(st.sampled_from(simple))

    def block(*, in_loop: bool = loop) -> list[str]:
        parts = draw(st.lists(statements(depth - 1, loop=in_loop), min_size=1, max_size=3))
        return _indented([line for part in parts for line in part])

    kind = draw(
        st.sampled_from(["simple", "if", "for", "while", "try", "def", "global", "class", "match", "with"])
    )
    match kind:
        case "if":
            return [f"if v({value}):", *block(), "else:", *block()]
        case "for":
            return [f"for {name} in v({value}):", "    v()", *block(in_loop=True), "else:", *block()]
        case "while":
            test = draw(st.sampled_from(["v()", "True", f"({name} := v())"]))
            return [f"while {test}:", "    v()", *block(in_loop=True), "else:", *block()]
        case "try":
            caught = ["except Exception as " + name + ":", *block(), "else:", *block()]
            return ["try:", *block(), *draw(st.sampled_from([caught, []])), "finally:", *block(in_loop=False)]
        case "def":
            called = draw(st.sampled_from([[], [f"{name}()"]]))
            return [f"def {name}({other}={value}):", "    v()", *block(in_loop=False), *called]
        case "global":
            return [f"def {name}():", "    v()", f"    global {other}", *block(in_loop=False), f"{name}()"]
        case "class":
            method = [f"    def {other}(self):", "        v()", *_indented(block(in_loop=False))]
            return [f"class {name}:", *block(in_loop=False), *method, f"{name}().{other}()"]
        case "match":
            return [
                f"match v({value}):",
                f"    case [{name}, {other}] if v():" if name != other else "    case 1:",
                *_indented(block()),
                "    case _:",
                *_indented(block()),
            ]
        case "with":
            return [f"with v({value}) as {name}:", *block()]
        case _:
            return draw(st.sampled_from(simple))


@st.composite
def cells(draw: st.DrawFn, *, straight: bool = False) -> str:
    parts = draw(st.lists(statements(straight=straight), min_size=1, max_size=6))
    source = "\n".join(line for part in parts for line in part)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            compile(source, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        return "a"
    # Deletions of a name that an inner scope binds as global pass by the namespace's own methods.
    bound = {n for n in "abcde" if f"global {n}" in source or f"({n} := " in source}
    hidden = any(f"del {n}" in source or f"Exception as {n}" in source for n in bound)
    return "a" if hidden else source


@settings(max_examples=80, deadline=None)
@given(cells(), st.lists(st.booleans(), max_size=30))
def test_what_a_run_asks_for_was_captured_and_what_was_captured_is_global(
    source: str, coins: list[bool]
) -> None:
    names = analyse(source)
    notebook = _Notebook(coins)
    notebook.run(source)
    assert notebook.asked <= names.reads
    assert names.reads <= _globals(symtable.symtable(source, "<cell>", "exec"))[0]
    assert {name for name in notebook if not name.startswith("__")} - names.assigned <= set()


@settings(max_examples=100, deadline=None)
@given(cells(straight=True))
def test_a_cell_without_branches_captures_exactly_what_it_asks_for(source: str) -> None:
    names = analyse(source)
    notebook = _Notebook([])
    assume(notebook.run(source))
    assert names.reads - BUILTINS - {"v"} == notebook.asked
    assert not names.optional


def _globals(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """The global names that code mentions, and those of them that it binds."""
    mentioned, bound = set(), set()
    at_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if at_top or symbol.is_global() or (table.get_type() == "class" and not symbol.is_free()):
            mentioned.add(symbol.get_name())
        if (at_top or symbol.is_declared_global()) and (symbol.is_assigned() or symbol.is_imported()):
            bound.add(symbol.get_name())
    for child in table.get_children():
        inner = _globals(child)
        mentioned |= inner[0]
        bound |= inner[1]
    return mentioned, bound


def test_a_cell_that_fills_memory_breaks_off() -> None:
    notebook = _Notebook([])
    assert not notebook.run("a = 'x'\nwhile True:\n    v()\n    a += a")


@pytest.mark.parametrize(
    "module", ["dataclasses", "functools", "statistics", "asyncio.tasks", "pickle", "turtle", "ast"]
)
def test_the_standard_librarys_own_code_is_read_as_python_reads_it(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    table = symtable.symtable(source, module, "exec")
    mentioned, bound = _globals(table)
    found = analyse(source).reads
    assert found <= mentioned
    inside = {name for child in table.get_children() for name in _read_inside(child)}
    assert inside - bound - {"__class__"} <= found


def _read_inside(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if table.get_type() == "function" and symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _read_inside(child)
