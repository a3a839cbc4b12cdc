"""What the code of a cell does with global names, in the order in which it runs: read, bind, delete, change.

*Rule:* Python's own scoping decides, never a name's looks; nothing of the cell is executed or imported.
*Rule:* where it depends on the run whether a name is bound first (branch, loop, `try`, a function called from
elsewhere), the name counts as read, for a value too many costs less than one that is missing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from snakepit_nb.magics.paths import Paths
from snakepit_nb.magics.scopes import (
    Bindings,
    Use,
    alias_name,
    all_arguments,
    dotted_path,
    is_item,
    named,
    operands,
    place,
    type_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snakepit_nb.magics.scopes import Comprehension, Function, TypeParameter

MUTATORS: Final = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "fill",
    "fit", "insert", "intersection_update", "partial_fit", "partition", "pop", "popitem", "popleft", "put",
    "remove", "resize", "reverse", "rotate", "setdefault", "sort", "symmetric_difference_update", "update",
})  # fmt: skip
"""Methods that change their object in place, on some types; whoever has the value can tell."""

_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.MatMult: "@", ast.Div: "/", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitOr: "|", ast.BitXor: "^", ast.BitAnd: "&", ast.FloorDiv: "//",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Findings:
    """What a cell does with global names.

    Attributes:
        uses: Each use of a name whose value may come from outside, and whether it must: false where the cell
            itself may have bound the name by then.
        assigned: Names that the cell may bind.
        deleted: Names that it may delete.
        bound: Names that are bound when it ends, whatever way it took.
        gone: Names that are unbound when it ends, whatever way it took.
        star: Whether it has a `from … import *`.
    """

    uses: dict[Use, bool]
    assigned: frozenset[str]
    deleted: frozenset[str]
    bound: frozenset[str]
    gone: frozenset[str]
    star: bool


def find(tree: ast.Module) -> Findings:
    """Follow a cell's code from its first statement to its last.

    Example:
        >>> findings = find(ast.parse("y = x + 1; z = y"))
        >>> [use.name for use in findings.uses], sorted(findings.assigned)
        (['x'], ['y', 'z'])
    """
    try:
        return _follow(tree)
    except RecursionError:
        return _all_names(tree)


def _follow(tree: ast.Module) -> Findings:
    bindings = Bindings.of(tree.body)
    outside = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    lazy = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    walker = _Walker("module", _Cell(frozenset(bindings.bound | outside), lazy))
    walker.follow(tree.body)
    walker.flush()
    state = walker.state
    return Findings(
        walker.uses,
        frozenset(walker.assigned),
        frozenset(walker.deleted),
        frozenset() if state.dead else frozenset(state.bound),
        frozenset() if state.dead else frozenset(state.gone),
        walker.star,
    )


def _all_names(tree: ast.Module) -> Findings:
    """For code that nests deeper than Python's stack: all that it mentions may be read, or bound."""
    mentioned, bound, deleted = set(), set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                mentioned.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Name(id=name):
                deleted.add(name)
            case ast.alias():
                bound.add(alias_name(node))
            case (
                ast.AsyncFunctionDef(name=name) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name))
            ):
                bound.add(name)
            case ast.AugAssign(target=ast.Name(id=name)) | ast.MatchMapping(rest=str(name)):
                mentioned.add(name)
                bound.add(name)
    uses = {Use(name): name not in bound for name in sorted(mentioned | deleted)}
    none = frozenset[str]()
    return Findings(uses, frozenset(bound - {"*"}), frozenset(deleted), none, none, star="*" in bound)


class _Cell(NamedTuple):
    """What holds for all scopes of a cell: the globals that it binds somewhere, and `from __future__`."""

    bound: frozenset[str]
    lazy_annotations: bool


class _Walker(Paths):
    """Follows one scope; what is not the scope's own ends in `uses`."""

    def __init__(
        self,
        kind: Literal["module", "class", "function", "comprehension"],
        cell: _Cell,
        bindings: Bindings | None = None,
    ) -> None:
        super().__init__()
        bindings = bindings or Bindings()
        self.uses: dict[Use, bool] = {}
        self.star = False
        self._kind = kind
        self._cell = cell
        self._globals = frozenset(bindings.globals)
        self._nonlocals = frozenset(bindings.nonlocals)
        self._locals = (
            frozenset(bindings.bound) if kind in {"function", "comprehension"} else frozenset[str]()
        )
        self.state.settled |= self._locals

    # -- names

    def flush(self) -> None:
        """Let all functions defined here be called by whoever holds them."""
        while self.state.pending:
            name = next(iter(self.state.pending))
            self._absorb(self.state.pending.pop(name), deferred=True)

    def _take(self, use: Use, *, nested: bool = False, deferred: bool = False) -> None:
        """Count a use, of this scope or of one nested in it; `deferred` where it is unknown when it runs."""
        name, state = use.name, self.state
        if name in self._globals:
            use = use._replace(is_global=True)
        is_local = name in self._locals and not use.is_global
        if use.kind in {"write", "delete"}:
            if not is_local:
                state.maybe.add(name)
                (self.assigned if use.kind == "write" else self.deleted).add(name)
                self.uses[use] = False
            return
        if not nested or self._kind != "class":
            called = state.pending.pop(name, ())
            self._absorb(called, deferred=True)
            if name in state.settled and (is_local or name not in self._locals):
                return
        must = name not in state.maybe and not self.star and not (deferred and name in self._cell.bound)
        self.uses[use] = self.uses.get(use, False) or must

    def _absorb(self, uses: Iterable[Use], *, deferred: bool = False) -> None:
        for use in uses:
            self._take(use, nested=True, deferred=deferred)

    def _defer(self, name: str, uses: Iterable[Use]) -> None:
        """Keep what a function uses until its name is read, the only way to call it."""
        if self._kind in {"module", "class"}:
            self.state.pending[name] = tuple(uses)
        else:
            self._absorb(uses, deferred=True)

    def bind(self, name: str) -> None:
        if name in self._globals or name in self._nonlocals:
            self._take(Use(name, "write"))
        super().bind(name)

    def visit_Name(self, node: ast.Name) -> None:
        match node.ctx:
            case ast.Load():
                self._take(Use(node.id))
            case ast.Store():
                self.bind(node.id)
            case _:
                self._take(Use(node.id))
                if node.id in self._globals or node.id in self._nonlocals:
                    self._take(Use(node.id, "delete"))
                self.deleted.add(node.id)
                self.unbind(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        if self._kind == "comprehension":
            self._take(Use(node.target.id, "write"))
            self.state.settled.add(node.target.id)
        else:
            self.bind(node.target.id)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.bind(alias_name(alias))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.star = True
            else:
                self.bind(alias_name(alias))

    # -- expressions

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.follow(operands(node))

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self.ways(node.values[1:], ())

    def visit_Compare(self, node: ast.Compare) -> None:
        self.follow((node.left, node.comparators[0]))
        self.ways(node.comparators[1:], ())

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.ways((node.body,), (node.orelse,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node, "del {}" if isinstance(node.ctx, ast.Del) else "{} = …")
        path = dotted_path(node) if isinstance(node.ctx, ast.Load) else None
        if path is None:
            self.visit(node.value)
        else:
            self._take(Use(path.partition(".")[0], detail=path))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node, "del {}" if isinstance(node.ctx, ast.Del) else "{} = …")
        self.follow((node.value, node.slice))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        for keyword in node.keywords:
            if keyword.arg == "out" and isinstance(keyword.value, ast.Name):
                self._take(Use(keyword.value.id, "change", f"out={keyword.value.id}"))
        function = node.func
        if not isinstance(function, ast.Attribute):
            return
        where, method = place(function.value), function.attr
        in_place = any(
            keyword.arg == "inplace"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in node.keywords
        )
        known = method in MUTATORS or (method.endswith("_") and not method.startswith("_"))
        if where is not None and (in_place or known) and is_item(function.value):
            brackets = "(…)" if node.args or node.keywords else "()"
            form = f"{where[1]}.{method}{brackets}"
            self._take(Use(where[0], "change", form, None if in_place else method))

    def _change(self, target: ast.expr, form: str) -> None:
        where = place(target)
        if where is not None:
            self._take(Use(where[0], "change", form.format(where[1])))

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.follow((*node.args.defaults, *node.args.kw_defaults))
        self._absorb(self._function_uses(node.args, (node.body,)), deferred=True)

    def _visit_comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        targets = Bindings.of(generator.target for generator in node.generators)
        inner = _Walker("comprehension", self._cell, targets)
        for index, generator in enumerate(node.generators):
            inner.follow((None if index == 0 else generator.iter, generator.target, *generator.ifs))
        inner.follow((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,))
        self._absorb(inner.uses)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    # -- definitions

    def visit_FunctionDef(self, node: Function) -> None:
        arguments = node.args
        self.follow((*node.decorator_list, *arguments.defaults, *arguments.kw_defaults))
        parameters = type_parameters(node)
        if not self._cell.lazy_annotations:
            annotations = [each.annotation for each in all_arguments(arguments)]
            self._follow_with(parameters, (*annotations, node.returns))
        uses = self._function_uses(arguments, node.body, parameters)
        self.bind(node.name)
        # A decorator may call the function at once.
        if node.decorator_list:
            self._absorb(uses, deferred=True)
        else:
            self._defer(node.name, uses)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.follow(node.decorator_list)
        parameters = type_parameters(node)
        self._follow_with(parameters, (*node.bases, *node.keywords))
        bindings = Bindings.of(node.body)
        body = _Walker("class", self._cell, bindings)
        body.state.settled |= {"__module__", "__qualname__"}
        body.follow(node.body)
        now = dict(body.uses)
        body.uses.clear()
        body.flush()
        # The compiler gives methods a cell of the name __class__.
        own = {"__class__"} | {parameter.name for parameter in parameters}
        self._absorb(use for use in now if use.name not in own)
        self.bind(node.name)
        later = [use for use in body.uses if use.name not in own]
        # A decorator, a base or a metaclass may call methods at once.
        if node.decorator_list or node.bases or node.keywords:
            self._absorb(later, deferred=True)
        else:
            self._defer(node.name, later)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        """Python 3.12: `type X = …`, whose right side waits until it is asked for."""
        name, value = node.name, node.value  # type: ignore[attr-defined]
        self.visit(name)
        self._follow_with(type_parameters(node), (value,))

    def _follow_with(self, parameters: Sequence[TypeParameter], nodes: Iterable[ast.AST | None]) -> None:
        """Visit expressions that see type parameters."""
        if not parameters:
            self.follow(nodes)
            return
        inner = _Walker("function", self._cell, named(parameters))
        inner.follow((*(getattr(each.node, "bound", None) for each in parameters), *nodes))
        self._absorb(inner.uses)

    def _function_uses(
        self, arguments: ast.arguments, body: Sequence[ast.AST], parameters: Sequence[TypeParameter] = ()
    ) -> tuple[Use, ...]:
        bindings = Bindings.of(body)
        bindings.bound |= {each.arg for each in all_arguments(arguments)}
        bindings.bound |= {each.name for each in parameters} - bindings.globals - bindings.nonlocals
        inner = _Walker("function", self._cell, bindings)
        inner.follow(body)
        return tuple(inner.uses)

    # -- statements

    def visit_Assign(self, node: ast.Assign) -> None:
        self.follow((node.value, *node.targets))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.follow((node.value,))
        if node.value is not None:
            self.visit(node.target)
        elif not isinstance(node.target, ast.Name):
            self.follow(ast.iter_child_nodes(node.target))
        if self._kind != "function" and not self._cell.lazy_annotations:
            self.visit(node.annotation)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            self._take(Use(target.id))
        else:
            self._change(target, f"{{}} {_OPERATORS[type(node.op)]}= …")
            self.follow(ast.iter_child_nodes(target))
        self.visit(node.value)
        if isinstance(target, ast.Name):
            self.bind(target.id)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self.ways((node.msg,), ())
