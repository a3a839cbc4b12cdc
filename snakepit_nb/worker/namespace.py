"""Runs a cell: a fresh `__main__`, the cell's inputs in it, and out of it what comes back.

*Rule:* when a cell is over, however it ended, nothing in this room keeps an input alive; arrays are on loan.

*Rule:* cells of several threads have nothing in common but the process (see `mains`): each has a `__main__`,
an event loop and a past of its own.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import contextvars
import importlib
import io
import linecache
import sys
import threading
import types
import weakref
from dataclasses import dataclass, field, replace
from functools import lru_cache
from inspect import CO_COROUTINE
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from snakepit_nb.arrays.account import Account
from snakepit_nb.wire import sessions
from snakepit_nb.wire.surroundings import NOTHING, Around
from snakepit_nb.worker import front, mains, shell, surroundings, timing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import CodeType

_CACHED_CELLS: Final = 256
_LENDERS: Final = ("__dlpack__", "__array_interface__", "__arrow_c_array__", "__arrow_c_stream__")


class _Past(threading.local):
    """What a cell leaves to the next one of its thread: an event loop, and until `release()` a rest."""

    over: _Over | None = None
    runner: asyncio.Runner | None = None


_past: Final = _Past()


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A name whose value could not travel to the kernel, the value's type, and why."""

    name: str
    type_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell brings back.

    Attributes:
        values: The outputs by the names that they get in the notebook.
        last: The value of the last expression, where one was asked for and can travel.
        has_last: Whether a last expression was evaluated.
        last_bundle: `{"data": …, "metadata": …}` of a last value that only the worker can show: a figure,
            whose value travels too, or a value that cannot travel, and `last` is None.
        left_behind: The outputs that cannot travel.
        deleted: Which of the cell's `deletes` are gone.
        kept: What the cell's session keeps now.
        figures: Display messages of what is shown below the last value.

    What is packed of each value is accounted for under its name; of the last one, under no name.
    """

    values: dict[str, object]
    last: object
    has_last: bool
    last_bundle: Mapping[str, object] | None
    left_behind: tuple[LeftBehind, ...]
    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    figures: tuple[Mapping[str, object], ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        account = Account()
        last = account.names({"": self.last})
        told = (self.has_last, self.last_bundle, self.left_behind, self.deleted, self.kept, self.figures)
        return _result, (account.names(self.values), last, *told)

    def shed(self, why_not: Callable[[object], str | None]) -> CellResult:
        """The same result without what cannot travel.

        Args:
            why_not: Says why a value cannot travel, or None where it can.

        Example:
            >>> result = CellResult({"n": 1, "f": open}, None, False, None, ())
            >>> result.shed(lambda value: "no way" if value is open else None).left_behind
            (LeftBehind(name='f', type_name='builtin_function_or_method', reason='no way'),)
        """
        values: dict[str, object] = {}
        left = list(self.left_behind)
        for name, value in self.values.items():
            reason = why_not(value)
            if reason is None:
                values[name] = value
            elif not (isinstance(value, io.IOBase) and value.closed):  # what `with open(…) as file` leaves
                left.append(LeftBehind(name, _type_name(value), reason))
        last, bundle = self.last, self.last_bundle
        if self.has_last and last is not None and why_not(last) is not None:
            last, bundle = None, bundle or shell.format_bundle(last)
        return replace(self, values=values, last=last, last_bundle=bundle, left_behind=tuple(left))


def _result(values: dict[str, object], last: Mapping[str, object], *told: Any) -> CellResult:  # noqa: ANN401 - the rest of its fields
    return CellResult(values, last[""], *told)


@dataclass(frozen=True, slots=True)
class Cell:
    r"""A cell as the kernel submits it: a function of its inputs that can be pickled and called many times.

    Attributes:
        source: The body as Python.
        filename: What tracebacks call it, `<In [7]>`.
        modules: (name, module) pairs that are imported first. As with `import a.b`, the name `a` for the
            module `a.b` binds `a`; any other name binds the module itself.
        outputs: (name in the notebook, name in the cell) pairs to bring back; None brings nothing.
        optional_outputs: Whether an output that the cell did not bind after all is skipped; otherwise it is
            an error.
        show_last: Whether the last expression's value is wanted.
        name: What the user calls the cell.
        header: The lines of the notebook's cell above the body: they count, and tracebacks show them.
        rebinds: Inputs that are outputs only where the cell binds them anew; otherwise the notebook's own
            value stays, in place of a copy of it.
        deletes: Names that the cell may delete.
        session: The session whose names it reads, binds and leaves; None for a `__main__` of its own.
        wanted: Inputs that go before what the session keeps under their names.
        shown: Whether the kernel shows the last value: a figure is then shown as that, and not also as one
            that the cell left open.
        timed: Whether it tells how long it took.
        around: What the notebook has around it; see `surroundings`.

    Example:
        >>> cell = Cell("y = x * 2\ny + 1", "<In [1]>", (), (("y", "y"),), True, True, None)
        >>> result = cell({"x": 4})
        >>> result.values, result.last
        ({'y': 8}, 9)
    """

    source: str
    filename: str
    modules: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...] | None
    optional_outputs: bool
    show_last: bool
    name: str | None
    header: str = ""
    rebinds: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    session: str | None = None
    wanted: tuple[str, ...] = ()
    shown: bool = False
    timed: bool = False
    around: Around = field(default=NOTHING, repr=False)

    def __call__(self, inputs: Mapping[str, object]) -> CellResult:
        """Runs the cell in a `__main__` that holds `inputs`: a fresh one, or that of its session.

        Raises:
            SyntaxError: The source is not Python.
            ImportError: One of `modules` cannot be imported in this process.
            NameError: The cell did not define an output that was asked for by name.
            BaseException: Whatever the cell raises, `SystemExit` and `KeyboardInterrupt` included, as it is.
        """
        front.begin()
        surroundings.enter(self.around)
        program = _compile(self.source, self.filename, self.show_last, self.header)
        linecache.cache[self.filename] = program.lines
        behind: dict[str, object] = {}
        if self.session is not None:
            main = sessions.main_of(self.session)
            vars(main)["__builtins__"] = builtins
            sessions.lend(self.session, inputs, self.wanted)
        else:
            main = types.ModuleType("__main__")
            behind = self._put_in(vars(main), inputs)
        namespace = vars(main)
        del inputs
        show = True
        before = mains.enter(main)
        try:
            # In a copy of the context, so that what a cell sets there (numpy.errstate, decimal) ends with it.
            return self._ended(contextvars.copy_context().run(self._run, program, namespace, behind))
        except (KeyboardInterrupt, SystemExit):
            show = False
            raise
        finally:
            try:
                shell.after_cell(show=show, keep=self.session is not None)
            finally:
                mains.leave(before)

    def _ended(self, result: CellResult) -> CellResult:
        """The result with the figures that were left open, where a last value is to be shown before them."""
        if not self.shown or result.last is None:
            return result
        with front.held() as figures:
            shell.after_cell(keep=self.session is not None)
        return replace(result, figures=tuple(figures)) if figures else result

    def _put_in(self, namespace: dict[str, object], inputs: Mapping[str, object]) -> dict[str, object]:
        """Gives a fresh namespace the inputs; those that count as outputs only where they are bound anew."""
        namespace["__builtins__"] = builtins
        namespace.update(inputs)
        behind: dict[str, object] = {name: namespace.pop(name) for name in self.rebinds if name in inputs}
        if behind:
            # Found where builtins are, after the cell's own names: a name that is among those at the end was
            # bound by the cell, in whatever way.
            namespace["__builtins__"] = behind = {**vars(builtins), **behind}
        _past.over = _Over(namespace, behind, tuple(_lent(inputs.values())))
        return behind

    def _run(
        self, program: _Program, namespace: dict[str, object], behind: Mapping[str, object]
    ) -> CellResult:
        self._import_modules(namespace)
        with timing.timed() if self.timed else contextlib.nullcontext():
            last = _await(program, namespace) if program.awaits else _execute(program, namespace)
        has_last = program.last is not None
        values = self._collect(namespace)
        for name in self.rebinds:
            if name in behind:
                # Functions that the cell made travel with the globals that they use.
                namespace.setdefault(name, behind[name])
        deleted = tuple(name for name in self.deletes if name not in namespace)
        kept = () if self.session is None else sessions.names_of(self.session)
        bundle = shell.own_bundle(last)
        if self.shown and bundle is not None:
            shell.close_figure(last)
        return CellResult(values, last, has_last, bundle, (), deleted, kept)

    def _import_modules(self, namespace: dict[str, object]) -> None:
        for alias, name in self.modules:
            try:
                module = importlib.import_module(name)
            except ImportError as error:
                error.add_note(f"The cell uses {alias!r}, which is the module {name!r} in the notebook.")
                raise
            top = name.partition(".")[0]
            namespace[alias] = sys.modules[top] if alias == top else module

    def _collect(self, namespace: dict[str, object]) -> dict[str, object]:
        wanted = self.outputs or ()
        missing = [source for _, source in wanted if source not in namespace]
        if missing and not self.optional_outputs:
            names = ", ".join(repr(source) for source in missing)
            message = f"-o asks for {names}, which the cell did not define; assign it or leave it out of -o"
            raise NameError(message, name=missing[0])
        return {name: namespace[source] for name, source in wanted if source in namespace}


def left_over() -> bool:
    """Whether a cell ran since the last `release()`.

    Example:
        >>> release()
        >>> left_over()
        False
    """
    return _past.over is not None


def release() -> None:
    """Lets go of what the last cell's namespace holds; for the loop, once the cell's answer is packed.

    A function or class that the cell defined refers to its namespace and so keeps it alive, with its inputs,
    until some later garbage collection; inputs are on loan and cannot wait for that. The caller must itself
    have dropped inputs, result and exception, or the search for whoever else holds an input is wasted time.

    A thread that still runs the cell's code keeps its namespace.
    """
    over, _past.over = _past.over, None
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    if over is None or _is_running(over.namespace):
        return
    over.namespace.clear()
    over.behind.clear()
    if any(reference() is not None for reference in over.lent):
        import gc  # noqa: PLC0415 - a builtin module, needed here and rarely

        gc.collect()


class _Over(NamedTuple):
    """What is left of a cell: its namespace, what was put behind it, and the inputs that are on loan."""

    namespace: dict[str, object]
    behind: dict[str, object]
    lent: tuple[weakref.ref[object], ...]


class _Program(NamedTuple):
    """A compiled cell: all but the last expression, that expression, and its entry for linecache."""

    body: CodeType
    last: CodeType | None
    awaits: bool
    lines: tuple[int, None, list[str], str]


@lru_cache(maxsize=_CACHED_CELLS)
def _compile(source: str, filename: str, show_last: bool, header: str) -> _Program:  # noqa: FBT001 - as the cache keys it
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    above = header.count("\n") + 1 if header else 0
    tree = compile("\n" * above + source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    last: CodeType | None = None
    if show_last and tree.body and isinstance(tree.body[-1], ast.Expr):
        expression = ast.Expression(tree.body.pop().value)
        last = compile(expression, filename, "eval", flags, dont_inherit=True)
    body = compile(tree, filename, "exec", flags, dont_inherit=True)
    # Not splitlines(), which breaks at form feeds and the like where Python's line numbers do not.
    shown = f"{header}\n{source}" if header else source
    lines = [line + "\n" for line in shown.rstrip("\n").split("\n")]
    awaits = any(code.co_flags & CO_COROUTINE for code in (body, last) if code is not None)
    return _Program(body, last, awaits, (len(source), None, lines, filename))


def _execute(program: _Program, namespace: dict[str, object]) -> object:
    exec(program.body, namespace)  # noqa: S102 - running the user's code is what a worker is for
    return None if program.last is None else eval(program.last, namespace)  # noqa: S307 - as above


async def _execute_on_loop(program: _Program, namespace: dict[str, object]) -> object:
    # Both parts in one go: an `await` in either gives the other a running loop, too.
    last: object = None
    for code in (program.body, program.last):
        if code is not None:
            last = eval(code, namespace)  # noqa: S307 - as in _execute
            if code.co_flags & CO_COROUTINE:
                last = await cast("Awaitable[object]", last)
    return None if program.last is None else last


def _await(program: _Program, namespace: dict[str, object]) -> object:
    import asyncio  # noqa: PLC0415 - tens of milliseconds that only a cell with await pays

    runner = _past.runner
    if runner is None:
        runner = _past.runner = asyncio.Runner()
    loop = runner.get_loop()
    try:
        return runner.run(_execute_on_loop(program, namespace), context=contextvars.copy_context())
    finally:
        # An interrupt can leave the cell's own task unfinished; no task runs once the cell is over.
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _lent(values: Iterable[object]) -> Iterator[weakref.ref[object]]:
    """Weak references to those that can stand for another process's memory."""
    for value in values:
        if any(hasattr(type(value), name) for name in _LENDERS):
            with contextlib.suppress(TypeError):
                yield weakref.ref(value)


def _is_running(namespace: dict[str, object]) -> bool:
    for frame in sys._current_frames().values():  # noqa: SLF001 - documented, underscore or not
        here: types.FrameType | None = frame
        while here is not None:
            if here.f_globals is namespace:
                return True
            here = here.f_back
    return False


def _type_name(value: object) -> str:
    kind = type(value)
    if kind.__module__ in {"builtins", "__main__"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
