from __future__ import annotations

import builtins
import importlib.util
import io
import symtable
import sys
import types
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.capture import Captured, CellNames, analyse, check_outputs, mutation_note, select

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILTINS = frozenset(dir(builtins))


def reads(source: str) -> str:
    return " ".join(sorted(analyse(source).reads - BUILTINS))


def optional(source: str) -> str:
    return " ".join(sorted(analyse(source).optional - BUILTINS))


def writes(source: str) -> str:
    return " ".join(sorted(analyse(source).writes))


# What a cell reads.


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("y = x @ w", "w x"),
        ("x = 1; y = x", ""),
        ("y = x; x = 1", "x"),
        ("x = x + 1", "x"),
        ("x += 1", "x"),
        ("x: int = y", "y"),
        ("x: T", "T"),
        ("x: T\nx", "T x"),
        ("from __future__ import annotations\nx: T = 1\ndef f(a: U) -> V: pass", ""),
        ("del x", "x"),
        ("x = 1\ndel x", ""),
        ("x = 1\ndel x\nx", ""),
        ("a, (b, *c) = d\na, b, c", "d"),
        ("x[i] = v", "i v x"),
        ("x.a.b = v", "v x"),
        ("x[i] += v", "i v x"),
        ("print(f'{x!r:>{width}} {y=}')", "width x y"),
        ("(y := x)\ny", "x"),
        ("a and (b := c)\nb", "a b c"),
        ("(b := c) and b", "c"),
        ("[a, b][c:d]", "a b c d"),
        ("x if c else y", "c x y"),
        ("import a.b as c, d.e\nc, d", ""),
        ("from m import a as b\nb", ""),
        ("from m import *\nx", "x"),
    ],
)
def test_statements_and_expressions_read_what_they_mention_and_did_not_bind(source: str, expected: str) -> None:
    assert reads(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a, *b, c=dflt, **d): return a, b, c, d, e", "dflt e"),
        ("def f(a: T, b: U = v) -> W: pass", "T U W v"),
        ("@wrap(k)\ndef f(): pass", "k wrap"),
        ("def f():\n  def g(): return x, y\n  x = 1\n  return g", "y"),
        ("def f():\n  x = 1\n  def g():\n    global x\n    return x\n  return g", "x"),
        ("def f():\n  x = 1\n  def g():\n    nonlocal x\n    x += 1\n  return g", ""),
        ("def f():\n  global x\n  x = 1\nf()\nx", "x"),
        ("def f():\n  global x\n  x += 1", "x"),
        ("def f():\n  del x", ""),
        ("lambda a, b=c: a + b + d", "c d"),
        ("[a + b for a in xs if a > c]", "b c xs"),
        ("{k: v for k, v in d.items()}", "d"),
        ("[x for x in x]", "x"),
        ("[y for x in xs for y in x]", "xs"),
        ("list(a for a in b for b in c)", "b c"),
        ("class A(B, metaclass=M):\n  x = y\n  z = x\n  def m(self): return x, super()", "B M x y"),
        ("class A:\n  x = 1\n  y = [x for _ in (1, 2)]", "x"),
        ("class A:\n  n = __qualname__, __module__\n  def m(self): return __class__", ""),
        ("async def f():\n  async with a as b:\n    return [c async for c in b]", "a"),
        ("match v:\n  case Color.RED: a\n  case {'k': b, **rest}: b, rest\n  case P(x=c): c\n  case [d, *e]: d, e", "Color P a v"),
        ("with a as b, b.c as d: d", "a"),
        ("for i in xs: i", "xs"),
        ("try: pass\nexcept E as e: e", "E"),
        ("try: pass\nexcept* E as e: e", "E"),
        ("while (line := f()): line", "f"),
        ("assert (a := b), a\na", "b"),
    ],
)
def test_each_scope_hides_its_own_names_only(source: str, expected: str) -> None:
    assert reads(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): return g()\ndef g(): return 1\nf()", ""),
        ("def f(): return x\nx = 1\nf()", ""),
        ("def f(): return x\nf()\nx = 1", "x"),
        ("def f(): return x\nh = f\nx = 1", "x"),
        ("def f(): return x\ng(lambda: f())\nx = 1", "g x"),
        ("def f(): return x", "x"),
        ("def even(n): return odd(n)\ndef odd(n): return even(n)\neven(2)", ""),
        ("@cache\ndef fib(n): return fib(n - 1)", "cache"),
        ("class A:\n  def m(self): return A, helper\ndef helper(): pass\nA().m()", ""),
        ("class A(B):\n  def m(self): return helper\ndef helper(): pass", "B helper"),
        ("for i in r:\n  if i: f()\n  def f(): return x\nx = 1", "f r x"),
    ],
)
def test_a_function_reads_when_it_can_first_be_called(source: str, expected: str) -> None:
    assert reads(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if c: x = 1\nx", "x"),
        ("if c: x = 1\nelse: x = 2\nx", ""),
        ("if c: x = 1\nelse: raise E\nx", ""),
        ("for x in xs: pass\nx", "x"),
        ("for i in xs: y = i\nelse: y = 1\ny", ""),
        ("for i in xs:\n  if i: break\nelse: y = 1\ny", "y"),
        ("while True:\n  x = f()\n  if x: break\nx", ""),
        ("while c: x = 1\nx", "x"),
        ("try: x = f()\nexcept E: pass\nx", "x"),
        ("try: x = f()\nexcept E: raise\nx", ""),
        ("try: x = f()\nexcept E: x = 1\nx", ""),
        ("try: x = f()\nfinally: x\nx", "x"),
        ("try: pass\nfinally: x = 1\nx", ""),
        ("match v:\n  case 1: x = 1\n  case _: x = 2\nx", ""),
        ("match v:\n  case 1: x = 1\nx", "x"),
        ("with open(p) as f: x = f.read()\nx", ""),
        ("with suppress(E): x = 1\nx", "x"),
        ("with pytest.raises(E) as i: x = 1\ni, x", "x"),
        ("[(x := i) for i in xs]\nx", "x"),
        ("from m import *\nx", "x"),
        ("def f(): return g\nf()\ndef g(): pass", "g"),
        ("if c: x\nif d: x = 1\nx", ""),
    ],
)
def test_a_read_that_the_cell_may_satisfy_itself_is_optional(source: str, expected: str) -> None:
    assert optional(source) == expected


def test_a_sum_of_a_thousand_terms_and_deeper_nesting_than_the_stack_are_still_analysed() -> None:
    assert reads("y = " + " + ".join(f"x{i}" for i in range(1000))).count("x") == 1000
    deep = "x" + ".a()" * 400
    assert reads(f"y = {deep}") == "x"


# What a cell writes.


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b = 1; c, *d = e; f: int = 1; g: int", "a b c d f"),
        ("import numpy as np, os.path; from m import x as y", "np os y"),
        ("def f(): inner = 1\nclass A: attr = 1", "A f"),
        ("for i, (j, k) in xs: pass", "i j k"),
        ("with a as b: pass", "b"),
        ("if c: x = 1", "x"),
        ("[last := v for v in vs]", "last"),
        ("def f():\n  global g\n  g = 1", "f g"),
        ("x += 1", "x"),
        ("x[0] = 1; x.a = 1", ""),
        ("x = 1; del x", ""),
        ("x = 1; del x; x = 2", "x"),
        ("_private = 1; __dunder__ = 2; public = 3", "public"),
        ("try: pass\nexcept E as e: pass", ""),
        ("e = 1\ntry: pass\nexcept E as e: pass", "e"),
        ("match v:\n  case [a, *b]: pass\n  case {**c}: pass\n  case D() as d: pass", "a b c d"),
        ("lambda: (x := 1)", ""),
        ("{k: v for k, v in d}", ""),
    ],
)
def test_every_way_of_binding_a_public_name_is_a_write(source: str, expected: str) -> None:
    assert writes(source) == expected


def test_private_names_can_be_asked_for_though_they_do_not_come_by_themselves() -> None:
    assert "_p" in analyse("_p = 1").assigned


@pytest.mark.parametrize(
    ("source", "expected"),
    [("del x", {"x"}), ("del x, (y, z)", {"x", "y", "z"}), ("del x; x = 1", set()), ("if c: del x", {"x"}), ("del x[0]", set())],
)
def test_deleted_names_are_those_that_may_be_gone_at_the_end(source: str, expected: set[str]) -> None:
    assert analyse(source).deletes == expected


def test_imports_are_told_as_written() -> None:
    source = "import numpy as np, os.path\nfrom a.b import c\ndef f(): from . import d"
    assert analyse(source).imports == {"numpy", "os.path", "a.b", "."}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await x", True),
        ("async for i in x: pass", True),
        ("async with x: pass", True),
        ("y = [i async for i in x]", True),
        ("async def f(): await x", False),
    ],
)
def test_only_what_waits_at_top_level_needs_an_event_loop(source: str, *, expected: bool) -> None:
    assert analyse(source).awaits is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x", True),
        ("x;", False),
        ("x ; # shown? no", False),
        ("x  # not silenced;", True),
        ("';'", True),
        ("'''\n;'''", True),
        ("(x\n)", True),
        ("(x)  ;\n\n# end", False),
        ("f('é'); 'ü' ;", False),
        ("x \\\n;", False),
        ("x\r\ny\r\n", True),
        ("y = x", False),
        ("await x", True),
        ("if c:\n    x", False),
        ("", False),
        ("# nothing", False),
    ],
)
def test_the_last_expression_is_shown_unless_a_semicolon_silences_it(source: str, *, expected: bool) -> None:
    assert analyse(source).last_expression is expected


@pytest.mark.parametrize(("source", "line"), [("x = 1\ny = (", 2), ("x = 1\n\nreturn x", 3), ("def f():\n  x\n  global x", 3)])
def test_a_syntax_error_names_the_line_and_the_file(source: str, line: int) -> None:
    with pytest.raises(SyntaxError) as caught:
        analyse(source, "<In [7]>")
    assert (caught.value.lineno, caught.value.filename) == (line, "<In [7]>")


# Against Python itself.


class _Spent(BaseException):
    pass


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

    def __enter__(self) -> _Anything:
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
        self.budget = 300
        self.anything = _Anything(iter(coins))
        super().__init__(__builtins__={**vars(builtins), "v": self._value}, __name__="__cell__")

    def _value(self, *_: object) -> _Anything:
        self.budget -= 1
        if self.budget < 0:
            raise _Spent
        return self.anything

    def __missing__(self, name: str) -> object:
        if name in {"v", "__annotations__"} or name in BUILTINS:
            raise KeyError(name)
        self.asked.add(name)
        return self.anything

    def __delitem__(self, name: str) -> None:
        if name in self:
            super().__delitem__(name)
        elif name not in self.asked:
            self.asked.add(name)

    def run(self, source: str) -> bool:
        """Whether the cell ran to its end; up to where it broke off, its answer is as good."""
        try:
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
def statements(draw: st.DrawFn, depth: int = 2, *, loop: bool = False, straight: bool = False) -> list[str]:
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

    kind = draw(st.sampled_from(["simple", "if", "for", "while", "try", "def", "global", "class", "match", "with"]))
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
            return [f"match v({value}):", f"    case [{name}, {other}] if v():" if name != other else "    case 1:", *_indented(block()), "    case _:", *_indented(block())]
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
    return source


@settings(max_examples=400, deadline=None)
@given(cells(), st.lists(st.booleans(), max_size=30))
def test_what_a_run_asks_for_was_captured_and_what_was_captured_is_global(source: str, coins: list[bool]) -> None:
    names = analyse(source)
    notebook = _Notebook(coins)
    notebook.run(source)
    assert notebook.asked <= names.reads
    assert names.reads <= _globals(symtable.symtable(source, "<cell>", "exec"))[0]
    assert {name for name in notebook if not name.startswith("__")} - names.assigned <= set()


@settings(max_examples=200, deadline=None)
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


@pytest.mark.parametrize("module", ["dataclasses", "functools", "statistics", "asyncio.tasks", "pickle", "turtle", "ast"])
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


# What the notebook gives.


def test_values_and_modules_go_their_own_ways_and_the_rest_stays() -> None:
    namespace = {"np": np, "x": np.ones(3), "other": 1}
    captured = select(analyse("y = np.sum(x) + z"), namespace)
    assert captured.values == {"x": namespace["x"]}
    assert captured.modules == {"np": "numpy"}
    assert captured.missing == {"z"}


def test_builtins_are_captured_only_where_the_user_has_bound_them_anew() -> None:
    assert select(analyse("list(len(x))"), {"x": [], "list": tuple}).values == {"x": [], "list": tuple}
    assert not select(analyse("list(len(x))"), {"x": []}).missing


@pytest.mark.parametrize("name", ["_", "__", "___", "_i", "_iii", "_12", "_i3", "In", "Out", "_oh", "get_ipython", "exit", "__name__"])
def test_the_shells_own_names_are_neither_captured_nor_missed(name: str) -> None:
    captured = select(analyse(f"y = {name}"), {name: 1})
    assert captured == Captured()
    assert not select(analyse(f"y = {name}"), {}).missing
    with pytest.raises(UsageError, match="x ="):
        select(analyse("y = 1"), {name: 1}, only=[name])


def test_private_names_of_the_user_are_captured_when_the_cell_reads_them() -> None:
    assert select(analyse("y = _cache[0] + _x1"), {"_cache": [1], "_x1": 2}).values == {"_cache": [1], "_x1": 2}


def test_a_hidden_name_is_captured_once_the_user_has_bound_it_anew() -> None:
    names, mine = analyse("open(x)"), object()
    assert select(names, {"open": io.open_code, "x": 1}, hidden={"open"}).values == {"x": 1}
    assert select(names, {"open": mine, "x": 1}, hidden={"open": io.open_code}).values == {"open": mine, "x": 1}
    assert select(names, {"open": mine, "x": 1}, hidden={"open": mine}).values == {"x": 1}


def test_submodules_that_the_cell_reaches_through_a_package_are_imported_too() -> None:
    import xml as package

    captured = select(analyse("t = x.etree.ElementTree.fromstring(s)"), {"x": package, "s": "<a/>"})
    assert ET.__name__ in captured.submodules["x"]
    assert captured.imports()[-1] == ("x", "xml")


def test_a_module_that_no_other_process_could_import_is_a_value() -> None:
    module = types.ModuleType("made_here")
    captured = select(analyse("made_here.x"), {"made_here": module})
    assert captured.values == {"made_here": module}


def test_an_open_file_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    with (tmp_path / "data.txt").open("w") as handle:
        with pytest.raises(CaptureError, match="open the file inside the cell") as caught:
            select(analyse("handle.write('x')"), {"handle": handle})
        assert caught.value.name == "handle"
        with pytest.raises(CaptureError, match="open the file"):
            select(analyse("1"), {"handle": handle}, only=["handle"])
        assert select(analyse("handle = open(p)\nhandle.read()"), {"handle": handle, "p": "p"}).values == {"p": "p"}


def test_an_open_file_that_the_cell_may_not_need_stays_behind_quietly(tmp_path: Path) -> None:
    with (tmp_path / "data.txt").open("w") as handle:
        assert select(analyse("if c: f = 1\nf"), {"f": handle, "c": True}).values == {"c": True}


def test_files_in_memory_are_values_and_standard_streams_have_a_sentence_of_their_own() -> None:
    memory = io.BytesIO(b"x")
    assert select(analyse("memory.read()"), {"memory": memory}).values == {"memory": memory}
    with pytest.raises(CaptureError, match=r"write sys\.stderr inside the cell"):
        select(analyse("log.write('x')"), {"log": sys.stderr})


def test_only_what_i_names_goes_but_modules_are_still_imported() -> None:
    captured = select(analyse("np.sum(x + y + z)"), {"np": np, "x": 1, "y": 2, "unread": 3}, only=["x", "unread"])
    assert captured.values == {"x": 1, "unread": 3}
    assert captured.modules == {"np": "numpy"}
    assert captured.excluded == {"y"}
    assert captured.missing == {"z"}


def test_inout_names_go_beside_those_of_i() -> None:
    assert select(analyse("y = a"), {"a": 1, "x": 2}, also=["x"]).values == {"a": 1, "x": 2}
    assert select(analyse("y = a"), {"a": 1, "x": 2}, only=[], also=["x"]).values == {"x": 2}


def test_an_unknown_input_is_refused_with_the_names_that_come_close() -> None:
    with pytest.raises(UsageError, match=r"-i imgs: the notebook has no such name; did you mean img or images\?"):
        select(analyse("1"), {"images": 1, "img": 2}, only=["imgs"])
    with pytest.raises(UsageError, match="--inout q: the notebook has no such name; assign it first"):
        select(analyse("1"), {"images": 1}, also=["q"])


def test_an_output_that_the_cell_never_assigns_is_refused_with_the_names_that_come_close() -> None:
    names = analyse("result = f(data)\n_private = 1")
    check_outputs(names, ["result", "_private", "data"])
    with pytest.raises(UsageError, match=r"-o reslt: the cell never assigns it; did you mean result\?"):
        check_outputs(names, ["result", "reslt"])


@pytest.mark.parametrize("source", ["exec('x = 1')", "globals()['x'] = 1", "from m import *", "get_ipython().run_cell_magic('time', '', 'x = 1')"])
def test_an_output_is_not_refused_where_the_code_cannot_show_it(source: str) -> None:
    check_outputs(analyse(source), ["x"])


# Changes in place.


class _Model:
    def get_params(self) -> dict[str, object]:
        return {}

    def fit(self, *_: object) -> None:
        pass


def note(source: str, namespace: dict[str, object], **back: tuple[str, ...]) -> str | None:
    names: CellNames = analyse(source)
    return mutation_note(names, select(names, namespace), **back)


@pytest.mark.parametrize(
    ("source", "value", "form", "way"),
    [
        ("x[0] = 1", np.ones(2), "x[…] = …", "--inout x"),
        ("x[0][1] += 1", np.ones((2, 2)), "x[…][…] += …", "--inout x"),
        ("x.sort()", np.ones(2), "x.sort()", "--inout x"),
        ("np.add(1, 2, out=x)", np.ones(2), "out=x", "--inout x"),
        ("x.append(1)", [], "x.append(…)", "-o x"),
        ("x['k'].append(1)", {"k": []}, "x[…].append(…)", "-o x"),
        ("x.update(a=1)", {}, "x.update(…)", "-o x"),
        ("x.a.b = 1", _Model(), "x.a.b = …", "-o x"),
        ("del x[0]", [1], "del x[…]", "-o x"),
        ("del x.a", _Model(), "del x.a", "-o x"),
        ("def f(): x[0] = 1\nf()", [1], "x[…] = …", "-o x"),
        ("x.drop(inplace=True)", _Model(), "x.drop(…)", "-o x"),
        ("x.fit(1)", _Model(), "x.fit(…)", "-o x"),
        ("for x[0] in (1, 2): pass", [0], "x[…] = …", "-o x"),
    ],
)
def test_a_change_in_place_is_told_with_the_way_to_keep_it(source: str, value: object, form: str, way: str) -> None:
    text = note(source, {"x": value, "np": np})
    assert text is not None
    assert text.startswith(f"{form} changes the worker's copy only")
    assert text.endswith(way)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = []; x.append(1)", [1]),
        ("x.partition(',')", "a,b"),
        ("x.add(1)", np.ones(1)),
        ("x.append(1); x = 2", []),
        ("x.sum()", np.ones(1)),
        ("x.drop(inplace=False)", _Model()),
        ("def f(x): x[0] = 1", [1]),
        ("x.path = 1", sys),
        ("[x.append(1) for x in []]", []),
    ],
)
def test_what_is_no_change_of_the_notebooks_object_is_not_told(source: str, value: object) -> None:
    assert note(source, {"x": value}) is None


def test_changes_that_come_back_are_not_told() -> None:
    assert note("x[0] = 1", {"x": np.ones(1)}, inout=("x",)) is None
    assert note("x[0] = 1", {"x": [1]}, outputs=("x",)) is None
    assert note("x[0] = 1; x = 2", {"x": [1]}, outputs=("y",)) is not None


def test_several_changes_are_told_in_one_line() -> None:
    text = note("a[0] = 1; d.append(2); d.append(3)", {"a": np.ones(1), "d": []})
    assert text == "a[…] = …, d.append(…) change the worker's copies only; to have the changed object back: --inout a -o d"
