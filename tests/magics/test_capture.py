from __future__ import annotations

import builtins
import io
import sys
import types
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest
from IPython.core.error import UsageError

from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.capture import Captured, CellNames, analyse, check_outputs, mutation_note, select

if TYPE_CHECKING:
    from pathlib import Path

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
def test_statements_and_expressions_read_what_they_mention_and_did_not_bind(
    source: str, expected: str
) -> None:
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
        (
            (
                "match v:\n  case Color.RED: a\n  case {'k': b, **rest}: b, rest\n"
                "  case P(x=c): c\n  case [d, *e]: d, e"
            ),
            "Color P a v",
        ),
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
    [
        ("del x", {"x"}),
        ("del x, (y, z)", {"x", "y", "z"}),
        ("del x; x = 1", set()),
        ("if c: del x", {"x"}),
        ("del x\ntry: pass\nfinally: x = 1", set()),
        ("x = 1\ntry:\n  del x\n  x = f()\nexcept E: pass", {"x"}),
        ("del x[0]", set()),
    ],
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


@pytest.mark.filterwarnings("error")
def test_warnings_about_the_code_are_left_to_the_run() -> None:
    assert reads(r"x = '\d' is y") == "y"


@pytest.mark.parametrize(
    ("source", "line"), [("x = 1\ny = (", 2), ("x = 1\n\nreturn x", 3), ("def f():\n  x\n  global x", 3)]
)
def test_a_syntax_error_names_the_line_and_the_file(source: str, line: int) -> None:
    with pytest.raises(SyntaxError) as caught:
        analyse(source, "<In [7]>")
    assert (caught.value.lineno, caught.value.filename) == (line, "<In [7]>")


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


@pytest.mark.parametrize(
    "name",
    ["_", "__", "___", "_i", "_iii", "_12", "_i3", "In", "Out", "_oh", "get_ipython", "exit", "__name__"],
)
def test_the_shells_own_names_are_neither_captured_nor_missed(name: str) -> None:
    captured = select(analyse(f"y = {name}"), {name: 1})
    assert captured == Captured()
    assert not select(analyse(f"y = {name}"), {}).missing
    with pytest.raises(UsageError, match="x ="):
        select(analyse("y = 1"), {name: 1}, only=[name])


def test_private_names_of_the_user_are_captured_when_the_cell_reads_them() -> None:
    assert select(analyse("y = _cache[0] + _x1"), {"_cache": [1], "_x1": 2}).values == {
        "_cache": [1],
        "_x1": 2,
    }


def test_a_hidden_name_is_captured_once_the_user_has_bound_it_anew() -> None:
    names, mine = analyse("open(x)"), object()
    assert select(names, {"open": io.open_code, "x": 1}, hidden={"open"}).values == {"x": 1}
    assert select(names, {"open": mine, "x": 1}, hidden={"open": io.open_code}).values == {
        "open": mine,
        "x": 1,
    }
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
        assert select(analyse("handle = open(p)\nhandle.read()"), {"handle": handle, "p": "p"}).values == {
            "p": "p"
        }


def test_an_open_file_that_the_cell_may_not_need_stays_behind_quietly(tmp_path: Path) -> None:
    with (tmp_path / "data.txt").open("w") as handle:
        assert select(analyse("if c: f = 1\nf"), {"f": handle, "c": True}).values == {"c": True}


def test_files_in_memory_are_values_and_standard_streams_have_a_sentence_of_their_own() -> None:
    memory = io.BytesIO(b"x")
    assert select(analyse("memory.read()"), {"memory": memory}).values == {"memory": memory}
    with pytest.raises(CaptureError, match=r"write sys\.stderr inside the cell"):
        select(analyse("log.write('x')"), {"log": sys.stderr})


def test_only_what_i_names_goes_but_modules_are_still_imported() -> None:
    captured = select(
        analyse("np.sum(x + y + z)"), {"np": np, "x": 1, "y": 2, "unread": 3}, only=["x", "unread"]
    )
    assert captured.values == {"x": 1, "unread": 3}
    assert captured.modules == {"np": "numpy"}
    assert captured.excluded == {"y"}
    assert captured.missing == {"z"}


def test_inout_names_go_beside_those_of_i() -> None:
    assert select(analyse("y = a"), {"a": 1, "x": 2}, also=["x"]).values == {"a": 1, "x": 2}
    assert select(analyse("y = a"), {"a": 1, "x": 2}, only=[], also=["x"]).values == {"x": 2}


def test_an_unknown_input_is_refused_with_the_names_that_come_close() -> None:
    with pytest.raises(
        UsageError, match=r"-i imgs: the notebook has no such name; did you mean img or images\?"
    ):
        select(analyse("1"), {"images": 1, "img": 2}, only=["imgs"])
    with pytest.raises(UsageError, match="--inout q: the notebook has no such name; assign it first"):
        select(analyse("1"), {"images": 1}, also=["q"])


def test_an_output_that_the_cell_never_assigns_is_refused_with_the_names_that_come_close() -> None:
    names = analyse("result = f(data)\n_private = 1")
    check_outputs(names, ["result", "_private", "data"])
    with pytest.raises(UsageError, match=r"-o reslt: the cell never assigns it; did you mean result\?"):
        check_outputs(names, ["result", "reslt"])


@pytest.mark.parametrize(
    "source",
    [
        "exec('x = 1')",
        "globals()['x'] = 1",
        "from m import *",
        "get_ipython().run_cell_magic('time', '', 'x = 1')",
    ],
)
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
def test_a_change_in_place_is_told_with_the_way_to_keep_it(
    source: str, value: object, form: str, way: str
) -> None:
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
    assert text == (
        "a[…] = …, d.append(…) change the worker's copies only; "
        "to have the changed object back: --inout a -o d"
    )
