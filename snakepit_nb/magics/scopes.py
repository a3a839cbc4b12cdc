"""What one scope of Python code binds, and how code names a place: `x`, `x.a.b`, `x[…]`.

*Rule:* Python's own scoping decides, never a name's looks.
"""

# ruff: noqa: D102 - what a visit_ method is for, ast says

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Loop: TypeAlias = ast.For | ast.AsyncFor | ast.While
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


class Use(NamedTuple):
    """One thing that code does with a name that is not its scope's own.

    `detail` is the dotted path of a read (`np.linalg.norm`) or the form of a change (`x[…] = …`); `method` is
    the method called where a change is a call; `is_global` marks a name that a `global` statement made so.
    """

    name: str
    kind: Literal["read", "write", "delete", "change"] = "read"
    detail: str = ""
    method: str | None = None
    is_global: bool = False


class Bindings(ast.NodeVisitor):
    """The names that one scope binds, by whatever statement, without the scopes nested in it."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self._comprehensions = 0

    @classmethod
    def of(cls, nodes: Iterable[ast.AST]) -> Bindings:
        self = cls()
        for node in nodes:
            self.visit(node)
        self.bound -= self.globals | self.nonlocals
        return self

    def _visit_all(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        for operand in operands(node):
            self.visit(operand)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) and not self._comprehensions:
            self.bound.add(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.bound.add(node.target.id)
        self.visit(node.value)

    def visit_FunctionDef(self, node: Function) -> None:
        self.bound.add(node.name)
        self._visit_all(*node.decorator_list, *node.args.defaults, *node.args.kw_defaults)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bound.add(node.name)
        self._visit_all(*node.decorator_list, *node.bases, *node.keywords)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_all(*node.args.defaults, *node.args.kw_defaults)

    def _visit_comprehension(self, node: Comprehension) -> None:
        self._comprehensions += 1
        self.generic_visit(node)
        self._comprehensions -= 1

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.bound.update(alias_name(alias) for alias in node.names if alias.name != "*")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.visit_Import(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self.visit_MatchAs(node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.bound.add(node.rest)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.nonlocals.update(node.names)


class TypeParameter(NamedTuple):
    """One of the `T` of `def f[T](…)`, Python 3.12."""

    name: str
    node: ast.AST


def type_parameters(node: ast.AST) -> tuple[TypeParameter, ...]:
    """The type parameters of a definition; none before Python 3.12."""
    return tuple(TypeParameter(each.name, each) for each in getattr(node, "type_params", ()))


def named(parameters: Iterable[TypeParameter]) -> Bindings:
    """The scope that type parameters make."""
    bindings = Bindings()
    bindings.bound = {parameter.name for parameter in parameters}
    return bindings


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """The arguments of all kinds."""
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


def operands(node: ast.BinOp) -> list[ast.expr]:
    """The operands from left to right, without one level of recursion for each `+` of a long sum."""
    found: list[ast.expr] = []
    here: ast.expr = node
    while isinstance(here, ast.BinOp):
        found.append(here.right)
        here = here.left
    return [here, *reversed(found)]


def alias_name(alias: ast.alias) -> str:
    """The name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def dotted_path(node: ast.expr) -> str | None:
    """`a.b.c` where the code says just that."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def place(node: ast.expr) -> tuple[str, str] | None:
    """The name at the root of `x.a[0].b`, and how to write the place."""
    text = ""
    while isinstance(node, ast.Attribute | ast.Subscript):
        text = (f".{node.attr}" if isinstance(node, ast.Attribute) else "[…]") + text
        node = node.value
    return (node.id, node.id + text) if isinstance(node, ast.Name) else None


def is_item(node: ast.expr) -> bool:
    """Whether this is a name or an item of one: of attributes nobody can tell what their methods change."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)


def last_name(node: ast.expr) -> str:
    """`raises` of `pytest.raises(…)`; empty where there is none."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
