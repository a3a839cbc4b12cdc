"""`--map ITEM in ITEMS`: where it ends in a line, what it says, and the names that each run is given.

*Rule:* it means what Python's `for ITEM in ITEMS` means; ITEMS is the cell's own code, run in the notebook.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import CodeType

FLAG: Final = "--map"
_SHAPE: Final = "ITEM in ITEMS, as in --map x in xs"
_BEGINS: Final = re.compile(r"(?:^|(?<=\s))--map(?=[\s=]|$)")
_WORD: Final = re.compile(r"\S+")
_ITEM: Final = "__snakepit_item__"


@dataclass(frozen=True, slots=True)
class Each:
    """What `--map` says.

    Attributes:
        target: The ITEM as it was typed.
        names: The names that it binds.
        source: The ITEMS as they were typed.

    Example:
        >>> read("key, rows in table.groupby('key')").names
        ('key', 'rows')
    """

    target: str
    names: tuple[str, ...]
    source: str

    def values(self, namespace: dict[str, object], filename: str) -> Iterable[object]:
        """Evaluate ITEMS among the notebook's names.

        Raises:
            UsageError: What it gives cannot be iterated over.
            Exception: Whatever it raises.

        Example:
            >>> read("x in range(n)").values({"n": 2}, "<doc>")
            range(0, 2)
        """
        found = eval(compile(self.source, filename, "eval"), namespace)  # noqa: S307 - the user's own code, typed into the cell
        if not _is_iterable(found):
            kind = type(found).__name__
            text = f"--map {self.target} in {self.source}: expected something to go through, got one {kind}"
            raise UsageError(text)
        return found  # type: ignore[no-any-return]

    def bound(self, values: Iterable[object]) -> Iterator[dict[str, object]]:
        """The names of each run, one after the other, taken as they are asked for.

        Raises:
            Exception: Whatever iterating raises, or an item that does not fit the target.

        Example:
            >>> list(read("a, b in pairs").bound([(1, 2)]))
            [{'a': 1, 'b': 2}]
        """
        if self.target == self.names[0]:
            name = self.target
            for value in values:
                yield {name: value}
            return
        assign = _assignment(self.target)
        for value in values:
            scope: dict[str, object] = {_ITEM: value}
            exec(assign, scope)  # noqa: S102 - one assignment to plain names, made here
            yield {name: scope[name] for name in self.names}


def how_many(values: object) -> int | None:
    """How many items there are, where that is known.

    Example:
        >>> how_many(range(3)), how_many(n for n in [1])
        (3, None)
    """
    try:
        return operator.length_hint(values, 0) or (0 if hasattr(type(values), "__len__") else None)
    except Exception:  # noqa: BLE001 - a length that cannot be told is none
        return None


def read(text: str) -> Each:
    """Read what follows `--map`.

    Raises:
        UsageError: It is not `ITEM in ITEMS`.

    Example:
        >>> read("x in xs").source
        'xs'
    """
    loop = _loop(text)
    if loop is None:
        hint = f"--map takes {_SHAPE}, got {text!r}"
        if re.match(r"\w+\s*$", text):
            hint += f"; to go through it: --map x in {text.strip()}"
        elif _loop(text.rpartition(" ")[0]) is not None:
            hint += "; the pool goes before --map"
        raise UsageError(hint)
    if loop.ifs or loop.is_async:
        message = f"--map takes {_SHAPE}; to leave some out: --map x in [x for x in xs if …]"
        raise UsageError(message)
    target, source = loop.target, ast.unparse(loop.iter)
    names = tuple(node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    if not names or any(not _is_plain(node) for node in ast.walk(target)):
        message = f"--map takes names before its in, as in --map x in xs, got {ast.unparse(target)!r}"
        raise UsageError(message)
    if len(set(names)) < len(names):
        message = f"--map binds a name twice in {ast.unparse(target)!r}; give each a name of its own"
        raise UsageError(message)
    return Each(ast.unparse(target), names, source)


def as_one_word(line: str, flags: Collection[str]) -> str:
    """The line with what follows `--map` as one quoted word; it ends where an option of `flags` begins.

    Example:
        >>> as_one_word("-q --map x in [1, 2] -o y", {"-q", "-o", "--map"})
        "-q --map='x in [1, 2]' -o y"
    """
    found = _BEGINS.search(line)
    if found is None:
        return line
    before, rest = line[: found.start()], line[found.end() :].lstrip(" \t=")
    if rest[:1] in {"'", '"'} and _loop(rest.partition(rest[0])[2].partition(rest[0])[0]) is not None:
        return line
    ends = [word.start() for word in _WORD.finditer(rest) if _ends(word[0], flags)]
    for end in (*ends, len(rest)):
        text = rest[:end].strip()
        if _loop(text) is not None:
            return _joined(before, text, as_one_word(rest[end:], flags))
    text = rest[: ends[0]].strip() if ends else rest.strip()
    if not text:
        message = f"--map takes {_SHAPE}, got nothing"
        raise UsageError(message)
    return _joined(before, text, rest[ends[0] :] if ends else "")


def _joined(before: str, text: str, after: str) -> str:
    return f"{before}{FLAG}={shlex.quote(text)} {after}".rstrip()


def _ends(word: str, flags: Collection[str]) -> bool:
    return word.startswith("#") or word.partition("=")[0] in flags


def _loop(text: str) -> ast.comprehension | None:
    """The `for` that the text is the rest of, where it is that of one and no more."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(f"[0 for {text}\n]", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(tree, ast.ListComp) or len(tree.generators) != 1:
        return None
    return tree.generators[0]


def _is_plain(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Tuple | ast.List | ast.Starred | ast.expr_context)


def _assignment(target: str) -> CodeType:
    return compile(f"{target} = {_ITEM}", "<--map>", "exec")


def _is_iterable(value: object) -> bool:
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True
