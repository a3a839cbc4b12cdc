"""Tables as text for a terminal and as HTML for a notebook.

*Rule:* whatever stands in a cell is text: markup in a name shows as itself.

*Rule:* a colour never says what a word or a shape does not, and is legible on light and dark pages. Styles
belong to the elements themselves, for a style sheet would be the whole page's.
"""

from __future__ import annotations

import html
import shutil
import textwrap
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from snakepit_nb.errors.render import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Tint: TypeAlias = Literal["good", "plain", "coming", "going", "bad"]

# Those of JupyterLab's theme; elsewhere ones with a contrast of three and more on white and on #1e1e1e.
_TINTS: Final[dict[Tint, str]] = {
    "good": "var(--jp-success-color1, #3a9a3a)",
    "plain": "var(--jp-ui-font-color2, #888888)",
    "coming": "var(--jp-info-color1, #2d8fe0)",
    "going": "var(--jp-warn-color1, #d97706)",
    "bad": "var(--jp-error-color1, #e04848)",
}
_FAINT: Final = "color:var(--jp-ui-font-color2, #888888)"
_CELL: Final = "text-align:left; vertical-align:top; padding:3px 8px"
_SHORT: Final = f"{_CELL}; white-space:nowrap"
_NUMBER: Final = f"{_SHORT.replace('text-align:left', 'text-align:right')}; font-variant-numeric:tabular-nums"
_LONG: Final = f"{_CELL}; white-space:pre-line; min-width:16em; max-width:60em"
_GROUP: Final = f"{_CELL}; padding-top:10px; font-weight:bold"
_TABLE: Final = "border-collapse:collapse; margin:4px 0 8px 0"
_USUAL_WIDTH: Final = 110
_WIDTHS: Final = (70, 160)
_NARROWEST: Final = 24


class Column(NamedTuple):
    """One column.

    Attributes:
        head: What stands above it.
        number: Whether it holds numbers, which end at one edge.
        long: Whether it holds sentences, which are broken into lines; the last one may.
    """

    head: str
    number: bool = False
    long: bool = False


class Marked(NamedTuple):
    """What a cell shows with a small shape before it, where shapes can have colours.

    Attributes:
        shape: One character.
        tint: Its colour, by what it says.
        text: The rest.
    """

    shape: str
    tint: Tint
    text: str


Cell: TypeAlias = "str | Marked"


def as_text(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> str:
    """A table in columns, as wide as the terminal.

    Args:
        columns: The columns.
        rows: The rows, as long as `columns`.

    Example:
        >>> print(as_text([Column("name"), Column("n", number=True)], [["one", "1"], ["ten", "10"]]))
        name   n
        one    1
        ten   10
    """
    table = [[column.head for column in columns], *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in cells) for cells in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, columns, strict=True)
        padded = [cell.rjust(width) if column.number else cell.ljust(width) for cell, width, column in cells]
        if columns[-1].long:
            before = "  ".join(padded[:-1]) + "  "
            lines.extend(hung(before, row[-1]))
        else:
            lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def hung(before: str, text: str) -> list[str]:
    """A text in lines that begin where its first does, after what stands before it.

    Example:
        >>> hung("a: ", "b c")
        ['a: b c']
    """
    narrowest, widest = _WIDTHS
    width = min(max(shutil.get_terminal_size((_USUAL_WIDTH, 24)).columns, narrowest), widest)
    room = max(_NARROWEST, width - len(before))
    broken = textwrap.wrap(visible(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{before if at == 0 else ' ' * len(before)}{line}".rstrip() for at, line in enumerate(broken)]


def as_html(columns: Sequence[Column], rows: Iterable[Sequence[Cell] | str]) -> str:
    """The same as HTML, in the colours of the page that it is shown on; a row that is one text is a heading.

    Example:
        >>> "&lt;b&gt;" in as_html([Column("name")], [["<b>"]])
        True
    """
    head = "".join(_cell("th", column, column.head) for column in columns)
    body = "".join(_row(columns, row) for row in rows)
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _row(columns: Sequence[Column], row: Sequence[Cell] | str) -> str:
    if isinstance(row, str):
        title = f'<th colspan="{len(columns)}" style="{_GROUP}">{escaped(row)}</th>'
        return f'<tr style="background:none">{title}</tr>'
    cells = (_cell("td", column, cell) for column, cell in zip(columns, row, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, column: Column, cell: Cell) -> str:
    style = _NUMBER if column.number else _LONG if column.long else _SHORT
    if isinstance(cell, Marked):
        return f'<{tag} style="{style}">{_shape(cell)} {escaped(cell.text)}</{tag}>'
    if cell == "-":
        style = f"{style}; {_FAINT}"
    return f'<{tag} style="{style}">{escaped(cell)}</{tag}>'


def _shape(marked: Marked) -> str:
    return f'<span style="color:{_TINTS[marked.tint]}" aria-hidden="true">{escaped(marked.shape)}</span>'


def paragraph(text: str, *, title: str = "", faint: bool = False) -> str:
    """A line of HTML above or below a table, its title in bold.

    Example:
        >>> "&lt;i&gt;" in paragraph("<i>", title="pool")
        True
    """
    bold = f"<b>{escaped(title)}</b> " if title else ""
    style = f"margin:2px 8px; {_FAINT}; font-size:0.9em" if faint else "margin:8px 8px 2px 8px"
    return f'<div style="{style}">{bold}{escaped(text)}</div>'


def marked_line(title: str, said: Marked) -> str:
    """A line of HTML by itself: a shape with its colour, a title in bold, and what is said of it.

    Example:
        >>> "<b>&lt;i&gt;</b> well" in marked_line("<i>", Marked("●", "good", "well"))
        True
    """
    return f'<div style="margin:2px 0">{_shape(said)} <b>{escaped(title)}</b> {escaped(said.text)}</div>'


def block(*parts: str) -> str:
    """All of it, which scrolls sideways by itself where the page is narrow.

    Example:
        >>> block("a", "b")
        '<div style="overflow-x:auto">ab</div>'
    """
    return f'<div style="overflow-x:auto">{"".join(parts)}</div>'


def escaped(text: str) -> str:
    """The text as HTML that shows it, its control characters written out.

    Example:
        >>> escaped("<b>")
        '&lt;b&gt;'
    """
    return html.escape(visible(text))


def _plain(cell: Cell) -> str:
    return visible(cell.text if isinstance(cell, Marked) else cell)
