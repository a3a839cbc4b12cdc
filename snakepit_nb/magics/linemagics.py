"""Line magics and shell commands inside a cell: what their text, which Python does not read, does with names.

*Rule:* the text of a magic is only looked at; a name found there is one that the cell may need, never must.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = re.compile(r"[^\W\d]\w*")
_EXPANDED: Final = re.compile(r"\$(\w+)|\{([^{}]*)\}")
_ASSIGNS: Final = re.compile(r"\s*([^\W\d]\w*)\s*=(?!=)")
_METHODS: Final = frozenset({"run_line_magic", "run_cell_magic", "system", "getoutput"})


class Spoken(NamedTuple):
    """What the magics of a cell mention.

    Attributes:
        names: Words in their text that may be names of the notebook.
        assigned: Names that they may bind, as `%time y = f(x)` does.
        cell_magics: Cell magics that the body itself begins with.
    """

    names: frozenset[str]
    assigned: frozenset[str]
    cell_magics: tuple[str, ...]


def spoken(source: str) -> Spoken:
    """Look through a cell that IPython has made Python of.

    Raises:
        SyntaxError: The source is not Python.

    Example:
        >>> spoken("get_ipython().run_line_magic('time', 'y = f(x)')").assigned
        frozenset({'y'})
    """
    names: set[str] = set()
    assigned: set[str] = set()
    cell_magics: list[str] = []
    for method, texts in _calls(ast.parse(source)):
        if method == "run_cell_magic":
            cell_magics.append(texts[0])
        elif method == "run_line_magic":
            text = texts[1] if len(texts) > 1 else ""
            names.update(_WORD.findall(text))
            if texts[0] == "time" and (found := _ASSIGNS.match(text)):
                assigned.add(found[1])
        else:
            for plain, braced in _EXPANDED.findall(texts[0]):
                names.update(_WORD.findall(plain or braced))
    return Spoken(frozenset(names), frozenset(assigned), tuple(cell_magics))


def _calls(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """The calls of `get_ipython()`'s methods, each with its texts."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=method), args=given
            ) if method in _METHODS:
                values = [each.value for each in given if isinstance(each, ast.Constant)]
                texts = [value for value in values if isinstance(value, str)]
                if texts:
                    yield method, texts
