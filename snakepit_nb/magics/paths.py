"""The ways that code can take, and what is known about its names on each.

*Rule:* where it depends on the run whether a name is bound (branch, loop, `try`), it counts as perhaps bound.
*Rule:* the body of a `with` counts as run to its end, unless the manager's name says that it swallows errors.
"""

# ruff: noqa: D102 - what a visit_ method is for, ast says

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from snakepit_nb.magics.scopes import last_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snakepit_nb.magics.scopes import Loop, Use

_SWALLOWERS: Final = frozenset({"suppress", "raises", "assertRaises", "ExitStack", "AsyncExitStack"})


@dataclass(slots=True)
class State:
    """What is known at one point of the code.

    `settled` names have been bound or deleted, so that a value from outside no longer shows; `maybe` names
    on some of the ways that lead here. `pending` holds what functions defined so far will use once called.
    """

    settled: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    pending: dict[str, tuple[Use, ...]] = field(default_factory=dict)
    dead: bool = False

    def copy(self) -> State:
        return State(
            set(self.settled), set(self.maybe), set(self.bound), set(self.gone), dict(self.pending), self.dead
        )


def join(states: Sequence[State]) -> State:
    """What holds where several ways meet."""
    live = [state for state in states if not state.dead] or states[:1]
    pending: dict[str, tuple[Use, ...]] = {}
    for state in states:
        for name, uses in state.pending.items():
            pending[name] = tuple(dict.fromkeys(pending.get(name, ()) + uses))
    return State(
        set.intersection(*(state.settled for state in live)),
        set.union(*(state.maybe for state in states)),
        set.intersection(*(state.bound for state in live)),
        set.intersection(*(state.gone for state in live)),
        pending,
        live[0].dead,
    )


class Paths(ast.NodeVisitor):
    """Follows statements on all their ways; what they do with names is the subclass's to say."""

    def __init__(self) -> None:
        self.state = State()
        self.assigned: set[str] = set()
        self.deleted: set[str] = set()
        self._breaks: list[list[State]] = []
        self._continues: list[list[State]] = []

    def follow(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def bind(self, name: str) -> None:
        """The code gives the name a value, here and now."""
        self.assigned.add(name)
        state = self.state
        state.settled.add(name)
        state.maybe.add(name)
        state.bound.add(name)
        state.gone.discard(name)
        state.pending.pop(name, None)

    def unbind(self, name: str) -> None:
        state = self.state
        state.settled.add(name)
        state.maybe.add(name)
        state.bound.discard(name)
        state.gone.add(name)

    def visit_Raise(self, node: ast.Raise | ast.Return) -> None:
        self.generic_visit(node)
        self.state.dead = True

    def visit_Return(self, node: ast.Return) -> None:
        self.visit_Raise(node)

    def visit_Break(self, node: ast.Break) -> None:  # noqa: ARG002 - as ast.NodeVisitor calls it
        self._breaks[-1].append(self.state.copy())
        self.state.dead = True

    def visit_Continue(self, node: ast.Continue) -> None:  # noqa: ARG002 - as ast.NodeVisitor calls it
        self._continues[-1].append(self.state.copy())
        self.state.dead = True

    def ways(self, *ways: Iterable[ast.AST | None]) -> None:
        """Visit alternatives, each from here, and go on with what they have in common."""
        start, ends = self.state, []
        for way in ways:
            self.state = start.copy()
            self.follow(way)
            ends.append(self.state)
        self.state = join(ends)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.ways(node.body, node.orelse)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop(node, lambda: self.visit(node.target))

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._loop(node, lambda: None)

    def _loop(self, node: Loop, enter: Callable[[], None]) -> None:
        start = self.state.copy()
        self._breaks.append([])
        self._continues.append([])
        enter()
        self.follow(node.body)
        if self.state.pending.keys() - start.pending.keys():
            # A second round may call what the first one defined.
            self.state = join([start, self.state])
            enter()
            self.follow(node.body)
        self.state = join([start, self.state, *self._continues.pop()])
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            self.state.dead = True
        breaks = self._breaks.pop()
        self.follow(node.orelse)
        self.state = join([self.state, *breaks])

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        swallows = False
        for item in node.items:
            self.follow((item.context_expr, item.optional_vars))
            swallows = swallows or last_name(item.context_expr) in _SWALLOWERS
        if swallows:
            self.ways(node.body, ())
        else:
            self.follow(node.body)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.visit_With(node)

    def visit_Try(self, node: ast.Try) -> None:
        start = self.state.copy()
        self.follow(node.body)
        broken = join([start, self.state])
        # It may break off anywhere, so that only what held before still holds.
        broken.bound = start.bound - self.deleted
        self.follow(node.orelse)
        ends = [self.state]
        for handler in node.handlers:
            self.state = broken.copy()
            self._handle(handler)
            ends.append(self.state)
        if node.finalbody:
            self._finally(node.finalbody, join(ends), join([broken, *ends]))
        else:
            self.state = join(ends)

    def visit_TryStar(self, node: ast.AST) -> None:
        """`except*`: as `except`, where several may run."""
        self.visit_Try(node)  # type: ignore[arg-type]

    def _handle(self, handler: ast.ExceptHandler) -> None:
        self.follow((handler.type,))
        if not handler.name:
            self.follow(handler.body)
            return
        known = handler.name in self.assigned
        self.bind(handler.name)
        self.follow(handler.body)
        self.unbind(handler.name)
        if not known:
            self.assigned.discard(handler.name)

    def _finally(self, body: Sequence[ast.stmt], after: State, entry: State) -> None:
        """Follow a `finally`, which is reached from anywhere; go on from where all before it succeeded."""
        self.state = entry.copy()
        self.follow(body)
        out = self.state
        gone, bound = out.gone - entry.gone, out.bound - entry.bound
        self.state = State(
            after.settled | out.settled,
            after.maybe | out.maybe,
            (after.bound - gone) | bound,
            (after.gone - bound) | gone,
            out.pending,
            after.dead or out.dead,
        )

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        last = node.cases[-1]
        is_total = (
            isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None
        )
        self.ways(
            *((case.pattern, case.guard, *case.body) for case in node.cases), *(() if is_total else ((),))
        )

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        if node.name:
            self.bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self.visit_MatchAs(node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.bind(node.rest)
