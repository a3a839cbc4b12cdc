"""What was typed into a cell: as Python, what that does with names, and where it stands in the whole cell."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from IPython.core.error import UsageError

from snakepit_nb.magics.capture import CellNames, analyse
from snakepit_nb.magics.display import syntax_error
from snakepit_nb.magics.linemagics import spoken

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MAGIC: Final = "%%snakepit"
_TIME: Final = re.compile(r"\s*(%%time[ \t]*)(?:\n|$)")
_TEXTS_KEPT: Final = 128


def above(shell: InteractiveShell, line: str, body: str, magic: str = MAGIC) -> str:
    """The lines of the cell above the body: `%%snakepit` itself, and magics such as `%%time` above it."""
    typed = (shell.history_manager.input_hist_raw or [""])[-1] if shell.history_manager is not None else ""
    lines, found, below = typed.rpartition(body.rstrip("\n"))
    if found and not below.strip() and lines.endswith("\n") and magic in lines:
        return str(lines.rstrip("\n"))
    return f"{magic} {line}".rstrip()


class Source(NamedTuple):
    """A body as Python, what it does with names, and whether `%%time` stands above it."""

    python: str
    names: CellNames
    timed: bool = False


@lru_cache(maxsize=_TEXTS_KEPT)
def _plain(body: str) -> Source:
    return Source(body, analyse(body))


class Text:
    """What was typed: the body, the lines above it, and what tracebacks call it."""

    def __init__(self, shell: InteractiveShell, body: str, header: str, filename: str) -> None:
        self.header = header
        self.filename = filename
        self._shell = shell
        self._body = body

    def read(self) -> Source:
        """The body as Python, and its names.

        Raises:
            UsageError: It begins with another cell magic.
            Exception: It is not Python.
        """
        timed = _TIME.match(self._body)
        if timed:
            # An empty line in its place, so that the others keep their numbers.
            return self._read(self._body[: timed.start(1)] + self._body[timed.end(1) :])._replace(timed=True)
        return self._read(self._body)

    def _read(self, body: str) -> Source:
        # Python as it stands is by far the most frequent, and needs no look at its tokens.
        if not self._shell.input_transformers_post:
            try:
                return _plain(body)
            except (SyntaxError, ValueError):
                pass
        # IPython drops empty lines at the top; the lines below keep their numbers.
        python = "\n" * _empty_lines(body) + self._shell.transform_cell(body)
        try:
            return self._transformed(python)
        except (SyntaxError, ValueError):
            raise self._syntax_error(python) from None

    @staticmethod
    def _transformed(python: str) -> Source:
        names = analyse(python)
        said = spoken(python)
        if said.cell_magics:
            name = said.cell_magics[0]
            message = f"%%{name} cannot stand below %%snakepit; make %%{name} the first line of the cell"
            if name == "timeit":
                message += ", or write %timeit in a line, which times without the way there and back"
            if name == MAGIC.strip("%"):
                message = "a cell has one %%snakepit; put the second one into a cell of its own"
            raise UsageError(message)
        mentioned = (said.names - names.assigned) | (said.assigned - names.reads)
        public = {name for name in said.assigned if not name.startswith("_")}
        names = replace(
            names,
            reads=names.reads | mentioned,
            optional=names.optional | (mentioned - names.reads),
            assigned=names.assigned | said.assigned,
            writes=names.writes | public,
        )
        return Source(python, names)

    def _syntax_error(self, python: str) -> Exception:
        """The error with the lines of the whole cell, which its message may name, too."""
        above = self.header.count("\n") + 1 if self.header else 0
        error: SyntaxError | None = None
        try:
            analyse("\n" * above + python)
        except SyntaxError as found:
            error = found
        except ValueError as found:
            error = SyntaxError(str(found))
        whole = f"{self.header}\n{self._body}" if above else self._body
        return syntax_error(self._shell, error or SyntaxError("invalid syntax"), whole)


def _empty_lines(text: str) -> int:
    """How many empty lines a text begins with."""
    return text[: len(text) - len(text.lstrip())].count("\n")
