"""What a cell reads and writes, and which of the notebook's values it is therefore given.

*Rule:* `analyse` knows only the code, `select` also the notebook; neither runs anything of the user's.
*Rule:* a value that the cell may turn out not to need never stops the cell from running.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import io
import re
import sys
import warnings
from collections.abc import (
    Container,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from dataclasses import dataclass, field
from inspect import CO_COROUTINE
from types import ModuleType
from typing import Final, NamedTuple

from IPython.core.error import UsageError

from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics.reading import find

_MODULE_NAMES: Final = frozenset({
    "__annotations__", "__builtin__", "__builtins__", "__doc__", "__loader__", "__name__", "__package__",
    "__spec__",
})  # fmt: skip
_SHELL_NAMES: Final = frozenset(
    {"In", "Out", "get_ipython", "exit", "quit", "_", "__", "___", "_dh", "_ih", "_oh"}
)
_HISTORY: Final = re.compile(r"_i{0,3}|_i?\d+|_exit_code")
_DYNAMIC: Final = frozenset({"exec", "get_ipython", "globals", "locals", "vars"})
_FRAME_METHODS: Final = frozenset({"insert", "pop", "update"})
_ARRAY_METHODS: Final = frozenset({"fill", "partition", "put", "resize", "sort"})
_FITTING: Final = frozenset({"fit", "partial_fit"})


class Change(NamedTuple):
    """A place where a cell changes an object in place: the code's form, and the method where it is a call."""

    form: str
    method: str | None


@dataclass(frozen=True, slots=True)
class CellNames:
    """What a cell's code does with the notebook's names.

    Attributes:
        reads: Names that it may read before it has bound them itself.
        optional: Those of `reads` that it may also have bound itself by then, or not need.
        assigned: Names that it may bind at top level, private ones too.
        writes: Public names that it may leave bound: what comes back by itself.
        settled: Names that it has bound when it ends, whatever way it took.
        deletes: Names that it may leave deleted by `del`.
        mutates: Where it changes, in place, an object that it may have been given.
        dotted: The dotted paths that it reads, as `np.linalg.norm`.
        imports: Modules that it imports, as written.
        awaits: Whether it must run in an event loop.
        last_expression: Whether it ends with an expression that no `;` silences.
        dynamic: Whether it can bind names that its code does not show (`exec`, `import *`, a magic).
    """

    reads: frozenset[str]
    optional: frozenset[str]
    assigned: frozenset[str]
    writes: frozenset[str]
    settled: frozenset[str]
    deletes: frozenset[str]
    mutates: Mapping[str, tuple[Change, ...]]
    dotted: frozenset[str]
    imports: frozenset[str]
    awaits: bool
    last_expression: bool
    dynamic: bool


@dataclass(frozen=True, slots=True)
class Captured:
    """What of the notebook goes with a cell.

    Attributes:
        values: The values that it is given, by name.
        modules: The modules, by the notebook's name for them: they travel as imports.
        submodules: Further modules that the cell reaches through one of `modules`, by the same names.
        optional: Names in `values` that the cell may not need: leave out those that cannot travel.
        missing: Names that the cell reads and that exist nowhere.
        excluded: Names that it reads and that exist, but that `-i` leaves out.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    submodules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    def imports(self) -> tuple[tuple[str, str], ...]:
        """The (name, module) pairs to import, in order: a name's last pair is what it is to be bound to.

        Example:
            >>> Captured(modules={"sp": "scipy"}, submodules={"sp": ("scipy.optimize",)}).imports()
            (('sp', 'scipy.optimize'), ('sp', 'scipy'))
        """
        return tuple(
            (alias, module)
            for alias, name in self.modules.items()
            for module in (*self.submodules.get(alias, ()), name)
        )


def analyse(source: str, filename: str = "<cell>") -> CellNames:
    r"""What a cell reads, writes, deletes and changes, from its code alone.

    Args:
        source: The cell as Python, magics already transformed; `await` at top level is fine.
        filename: What a `SyntaxError` calls it.

    Raises:
        SyntaxError: The source is not Python; with its line, as the notebook would show it.
        ValueError: It holds a null character.

    Example:
        >>> names = analyse("y = x @ w\ny.mean()")
        >>> sorted(names.reads), sorted(names.writes), names.last_expression
        (['w', 'x'], ['y'], True)
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    # Python's warnings about the code come from the worker, which compiles it to run it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, filename, "exec", flags, dont_inherit=True)
        tree = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    findings = find(tree)
    must = {use.name for use, needed in findings.uses.items() if needed and use.kind == "read"}
    reads = {use.name for use in findings.uses if use.kind == "read"}
    changes: dict[str, tuple[Change, ...]] = {}
    for use in findings.uses:
        if use.kind == "change":
            changes[use.name] = (*changes.get(use.name, ()), Change(use.detail, use.method))
    return CellNames(
        reads=frozenset(reads),
        optional=frozenset(reads - must),
        assigned=findings.assigned,
        writes=frozenset(name for name in findings.assigned - findings.gone if not name.startswith("_")),
        settled=findings.bound,
        deletes=findings.deleted - findings.bound,
        mutates=changes,
        dotted=frozenset(use.detail for use in findings.uses if use.kind == "read" and use.detail),
        imports=frozenset(_imports(tree)),
        awaits=bool(code.co_flags & CO_COROUTINE),
        last_expression=_shows_last(source, tree),
        dynamic=findings.star or not _DYNAMIC.isdisjoint(reads),
    )


def _imports(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _shows_last(source: str, tree: ast.Module) -> bool:
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or last.end_lineno is None:
        return False
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")[last.end_lineno - 1 :]
    lines[0] = lines[0].encode()[last.end_col_offset :].decode()
    return not re.match(r"(?:\s|\\\n)*;", "\n".join(lines))


def select(
    names: CellNames,
    namespace: Mapping[str, object],
    *,
    only: Sequence[str] | None = None,
    also: Sequence[str] = (),
    hidden: Container[str] = (),
) -> Captured:
    """Pick what a cell is given of the notebook's names.

    Args:
        names: What the cell reads.
        namespace: The notebook's names.
        only: The names of `-i`: nothing else goes, but for modules, which are only imported.
        also: The names of `--inout`, which go in any case.
        hidden: Names that belong to the shell; where it is a mapping to the shell's own values, a name that
            the user has bound anew is the user's.

    Raises:
        UsageError: `only` or `also` holds a name that the notebook does not have.
        CaptureError: A name that the cell needs is an open file.

    Example:
        >>> import math
        >>> captured = select(analyse("y = math.sqrt(x)"), {"x": 2.0, "math": math, "unread": 1})
        >>> captured.values, captured.modules
        ({'x': 2.0}, {'math': 'math'})
    """
    named = dict.fromkeys((*(only or ()), *also))
    for option, wanted in (("-i", only or ()), ("--inout", also)):
        for name in wanted:
            _check_input(option, name, namespace)
    wished = {name for name in names.reads if not _is_shells(name, namespace, hidden)}.union(named)
    found = {name: namespace[name] for name in sorted(wished) if name in namespace}
    imported = {name: _importable(value) for name, value in found.items()}
    modules = {name: module for name, module in imported.items() if module is not None}
    values = {name: value for name, value in found.items() if name not in modules}
    excluded = frozenset(values).difference(named) if only is not None else frozenset[str]()
    optional = names.optional.difference(named)
    for name in [name for name, value in values.items() if name not in excluded and _is_open_file(value)]:
        if name not in optional:
            raise _open_file(name, values[name])
        del values[name]
    absent = wished.difference(found, optional)
    return Captured(
        values={name: value for name, value in values.items() if name not in excluded},
        modules=modules,
        submodules=_submodules(names.dotted, modules),
        optional=optional.intersection(values).difference(excluded),
        missing=frozenset(name for name in absent if not hasattr(builtins, name)),
        excluded=excluded,
    )


def _is_shells(name: str, namespace: Mapping[str, object], hidden: Container[str]) -> bool:
    """Whether a name is IPython's or the module's own rather than the user's."""
    if name in _MODULE_NAMES or name in _SHELL_NAMES or _HISTORY.fullmatch(name):
        return True
    if name not in hidden:
        return False
    return not isinstance(hidden, Mapping) or name not in namespace or hidden[name] is namespace[name]


def _check_input(option: str, name: str, namespace: Mapping[str, object]) -> None:
    if name in _MODULE_NAMES or name in _SHELL_NAMES or _HISTORY.fullmatch(name):
        message = f"{option} {name}: IPython's own names stay here; give the value another first, x = {name}"
        raise UsageError(message)
    if name not in namespace:
        public = [each for each in namespace if not each.startswith("_")]
        message = f"{option} {name}: the notebook has no such name{_meant(name, public)}"
        raise UsageError(message)


def check_outputs(names: CellNames, sources: Sequence[str], kept: Iterable[str] = ()) -> None:
    """Check the names that `-o` asks a cell for.

    Args:
        names: What the cell's code does.
        sources: The cell's names that are to come back.
        kept: Names that the cell's session keeps.

    Raises:
        UsageError: The cell neither assigns a name nor is given it.

    Example:
        >>> check_outputs(analyse("total = sum(x)"), ["total"])
        >>> check_outputs(analyse("total = sum(x)"), ["totl"])
        Traceback (most recent call last):
        IPython.core.error.UsageError: -o totl: the cell never assigns it; did you mean total?
    """
    known = (names.assigned | names.reads).union(kept)
    for source in sources:
        if source not in known and not names.dynamic:
            choice = [*sorted(names.assigned), *sorted(names.reads)]
            message = f"-o {source}: the cell never assigns it{_meant(source, choice)}"
            raise UsageError(message)


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; assign it first or leave it out"


def _importable(value: object) -> str | None:
    """A module's name, where another process finds the module by it."""
    if not isinstance(value, ModuleType):
        return None
    name = vars(value).get("__name__")
    return name if isinstance(name, str) and sys.modules.get(name) is value else None


def _submodules(dotted: Iterable[str], modules: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Modules below a captured one that the cell names and that were imported by themselves: `xml.etree`."""
    found: dict[str, set[str]] = {}
    for path in dotted:
        alias, *attributes = path.split(".")
        module = sys.modules.get(modules.get(alias, ""))
        for attribute in attributes:
            # Not getattr(), which makes lazy packages import.
            module = vars(module).get(attribute) if module is not None else None
            name = _importable(module)
            if name is None or not isinstance(module, ModuleType):
                break
            found.setdefault(alias, set()).add(name)
    return {alias: tuple(sorted(names)) for alias, names in sorted(found.items())}


def _is_open_file(value: object) -> bool:
    return isinstance(value, io.IOBase) and not isinstance(value, io.BytesIO | io.StringIO)


def _open_file(name: str, value: object) -> CaptureError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    streams = {id(getattr(sys, each)): f"sys.{each}" for each in ("stdin", "stdout", "stderr")}
    stream = streams.get(id(value))
    way = f"write {stream} inside the cell" if stream else "open the file inside the cell"
    message = f"{name} is an open file ({kind}), which only this process can use; {way}"
    return CaptureError(message, name=name, path=name, type_name=kind, reason="an open file cannot travel")


def mutation_note(
    names: CellNames,
    captured: Captured,
    *,
    outputs: Container[str] | None = None,
    inout: Container[str] = (),
) -> str | None:
    """One line for changes in place that will stay in the worker, or None where there are none.

    Args:
        names: What the cell's code does.
        captured: What the cell is given.
        outputs: The cell's names that `-o` brings back; None where it brings back what it assigns.
        inout: The names of `--inout`.

    Example:
        >>> names = analyse("x.append(1)")
        >>> mutation_note(names, select(names, {"x": []}))
        "x.append(…) changes the worker's copy only; to have the changed object back: -o x"
    """
    back = names.writes if outputs is None else outputs
    forms, ways = [], []
    for name in sorted(names.mutates):
        if name in captured.values and name not in back and name not in inout:
            value = captured.values[name]
            form = next(
                (each.form for each in names.mutates[name] if _changes(value, each.method, each.form)), None
            )
            if form is not None:
                forms.append(form)
                ways.append(_way(name, value))
    if not forms:
        return None
    verb, whose = ("changes", "copy") if len(forms) == 1 else ("change", "copies")
    aim = (
        "to change the array itself"
        if all("--inout" in way for way in ways)
        else "to have the changed object back"
    )
    return f"{', '.join(forms)} {verb} the worker's {whose} only; {aim}: {' '.join(ways)}"


def _is_array(value: object) -> bool:
    return hasattr(type(value), "__array_interface__")


def _way(name: str, value: object) -> str:
    return f"--inout {name}" if _is_array(value) else f"-o {name}"


def _changes(value: object, method: str | None, form: str) -> bool:
    """Whether a form that looks like a change is one on this value: `text.partition(…)` is not."""
    kind = type(value)
    if method is None:
        return True
    if isinstance(value, MutableSequence | MutableMapping | MutableSet):
        return "[…]" in form or hasattr(kind, method)
    if "[…]" in form or not hasattr(kind, method):
        return False
    if method.endswith("_"):
        return hasattr(kind, "__dlpack__")
    if method in _FITTING:
        return hasattr(kind, "get_params")
    return method in (_ARRAY_METHODS if _is_array(value) else _FRAME_METHODS)
