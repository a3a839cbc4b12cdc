"""An error as HTML for a notebook's page: a fragment that stands for itself.

*Rule:* what came with an exception is text: it is escaped, its control characters are written out, and only
this room's own tags and attributes are markup. No script, link, id or style sheet is among them.
*Rule:* a colour never says what a word or a sign does not. Styles belong to the elements; colours are the
theme's, and where there is none they are legible on light and dark.
*Rule:* the size is bounded whatever the record holds, and what is left out is counted.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.facts import Fact, places, told
from snakepit_nb.errors.hostile import clip
from snakepit_nb.errors.record import walk
from snakepit_nb.errors.render import folded, render_notice, render_text, short_place, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from snakepit_nb.errors.record import ArrayFacts, ErrorRecord, Frame, SyntaxFacts

LARGEST: Final = 100_000
"""Bytes of the largest fragment."""

# JupyterLab's names, then those of VS Code, then colours with a contrast of three and more on white and
# #1e1e1e.
_RED: Final = "color:var(--jp-error-color1, var(--vscode-errorForeground, #e04848))"
_FAINT: Final = "color:var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #808080))"
_PLACE: Final = "margin-top:3px; color:var(--jp-success-color1, var(--vscode-charts-green, #3a9a3a))"
_GROUND: Final = "background:var(--jp-rendermime-error-background, rgba(224, 72, 72, 0.2))"
_MARK: Final = f"color:inherit; font-weight:bold; {_GROUND}"
_LINE: Final = "var(--jp-border-color2, var(--vscode-panel-border, #808080))"
_MONO: Final = "font-family:var(--jp-code-font-family, var(--vscode-editor-font-family, monospace))"
_SMALL: Final = "font-size:var(--jp-code-font-size, 13px); line-height:1.4"
_ALL: Final = f"{_MONO}; {_SMALL}; padding:2px 8px 4px 8px; overflow-x:auto"
_PRE: Final = (
    f"{_MONO}; {_SMALL}; margin:0; padding:0; background:none; border:0; white-space:pre; overflow-x:auto"
)
_WRAPPED: Final = "white-space:pre-wrap; overflow-wrap:anywhere"
_INDENTED: Final = f"margin:2px 0 2px 6px; padding-left:12px; border-left:2px solid {_LINE}"
_TABLE: Final = "border-collapse:collapse; margin:4px 0; font-size:inherit; border:0"
_CELL: Final = "text-align:left; vertical-align:top; padding:1px 14px 1px 0; border:0; background:none"
_SELECTED: Final = f"{_MONO}; {_SMALL}; {_WRAPPED}; -webkit-user-select:all; user-select:all; margin:0"
_ARROW: Final = '<span role="img" aria-label="the line that failed">\N{BLACK RIGHT-POINTING TRIANGLE}</span>'
_NEWLINE: Final = "&#10;"
_LIBRARIES: Final = ("/site-packages/", "/dist-packages/", "/lib/python3", "/lib64/python3")
_COMPILED: Final = (".pyx", ".pxi", ".pxd")
_NAMED: Final = 3
_TITLE: Final = 160


class _Limits(NamedTuple):
    """How much is shown.

    Attributes:
        message: Characters of a message or a note.
        line: Characters of a line.
        frames: Steps of one exception.
        linked: Exceptions that hang on the one that is shown.
        rows: Facts, arrays, notes.
        plain: Characters of the plain text.
    """

    message: int
    line: int
    frames: int
    linked: int
    rows: int
    plain: int


_LADDER: Final = (
    _Limits(message=8_000, line=600, frames=40, linked=16, rows=40, plain=24_000),
    _Limits(message=4_000, line=300, frames=20, linked=8, rows=20, plain=8_000),
    _Limits(message=1_000, line=120, frames=8, linked=3, rows=10, plain=2_000),
    _Limits(message=400, line=60, frames=4, linked=1, rows=6, plain=800),
)


def render_html(
    record: ErrorRecord,
    *,
    facts: Mapping[str, object] | None = None,
    suggestion: str | None = None,
    ended: bool = False,
) -> str:
    """The error as a fragment of HTML of at most `LARGEST` bytes.

    The lines of cells and of the user's own files are open, those of libraries folded; so are causes, members
    of a group, and the whole as plain text.

    Args:
        record: What is known.
        facts: What the table of rules read from the message.
        suggestion: What to try.
        ended: Whether the lines of the error's own message follow: then the type, the message and the
            suggestion are left to them.

    Example:
        >>> from snakepit_nb.errors.observe import describe
        >>> "&lt;b&gt;" in render_html(describe(ValueError("<b>")))
        True
    """
    plain = render_text(record, colour=False, suggestion=suggestion, facts=facts)
    known = [*told(facts or {}), *places(record)]

    def page(limits: _Limits) -> str:
        return _Page(limits, record).whole(known, suggestion, plain, ended=ended)

    return _fitting(page)


def render_notice_html(
    title: str, sentence: str, facts: Sequence[Fact] = (), tail: str = "", *, ended: bool = False
) -> str:
    """An error of ours as a fragment of HTML; the end of the worker's stderr is folded.

    Example:
        >>> "exit &amp; code" in render_notice_html("WorkerCrashed", "it died", [Fact("exit & code", "3")])
        True
    """
    plain = render_notice(title, sentence, tail, colour=False)

    def page(limits: _Limits) -> str:
        parts = [_headline(title, sentence, limits)] if not ended else []
        parts.append(_facts(facts, limits))
        if tail.strip():
            text = f'<pre style="{_PRE}; {_WRAPPED}">{_text(tail.rstrip(), limits.plain)}</pre>'
            parts.append(_fold("The end of its stderr", text))
        return _whole(title, [*parts, _plain(plain, limits)])

    return _fitting(page)


def _fitting(page: Callable[[_Limits], str]) -> str:
    """The fullest page that is not too large."""
    for limits in _LADDER[:-1]:
        text = page(limits)
        if len(text.encode()) <= LARGEST:
            return text
    return page(_LADDER[-1])


class _Page:
    """One page in the making; it counts the exceptions that hang on the one that it is about."""

    def __init__(self, limits: _Limits, record: ErrorRecord) -> None:
        self._limits = limits
        self._record = record
        self._left = limits.linked

    def whole(self, facts: list[Fact], suggestion: str | None, plain: str, *, ended: bool) -> str:
        record, limits = self._record, self._limits
        where = f" in worker {record.worker_id}" if record.worker_id else ""
        parts = [*self._parts(record, headline=not ended)]
        known = _facts(facts, limits) + _arrays(record.arrays, limits)
        hint = (
            f'<div style="{_WRAPPED}"><b>Try:</b> {_text(suggestion, limits.message)}</div>'
            if suggestion and not ended
            else ""
        )
        return _whole(
            f"{record.type}{where}", [*parts, known, hint, *self._linked(record), _plain(plain, limits)]
        )

    def _parts(self, record: ErrorRecord, *, headline: bool) -> Iterator[str]:
        """What is told of one exception, those that hang on it left aside."""
        message = record.message if record.syntax is None else record.syntax.message or record.message
        if headline:
            yield _headline(str(record.type), message, self._limits)
        yield from _trace(record.frames, self._limits)
        if record.syntax is not None:
            yield _syntax(record.syntax, self._limits)
        for note in record.notes[: self._limits.rows]:
            yield f'<div style="{_WRAPPED}">{_text(note, self._limits.message)}</div>'
        yield _rest(len(record.notes) - self._limits.rows, "note")

    def _linked(self, record: ErrorRecord) -> Iterator[str]:
        """The exceptions that hang on one, each folded, as many as there is room for."""
        for number, member in enumerate(record.members, 1):
            if self._left <= 0:
                break
            yield self._folded(f"{number} of {len(record.members) + record.omitted}", member)
        else:
            number = len(record.members) + 1
        if record.members or record.omitted:
            yield _rest(len(record.members) - number + 1 + record.omitted, "member")
        earlier, how = record.cause, "Caused by"
        if earlier is None and not record.suppress_context:
            earlier, how = record.context, "While handling"
        if earlier is None:
            return
        if self._left > 0:
            yield self._folded(how, earlier)
        else:
            yield _rest(sum(1 for _ in walk(earlier)), "exception")

    def _folded(self, title: str, record: ErrorRecord) -> str:
        self._left -= 1
        arrays = _arrays(record.arrays, self._limits)
        inner = "".join([*self._parts(record, headline=True), arrays, *self._linked(record)])
        return _fold(f"{title}: {record.line()}", inner)


def _whole(label: str, parts: Iterable[str]) -> str:
    inner = "".join(parts)
    return f'<div role="group" aria-label="{_text(label, _TITLE)}" style="{_ALL}">{inner}</div>'


def _headline(title: str, message: str, limits: _Limits) -> str:
    joint = ": " if message else ""
    bold = f'<b style="{_RED}">{_text(title, limits.line)}</b>'
    return f'<div style="{_WRAPPED}">{bold}{joint}{_text(message, limits.message)}</div>'


def _trace(frames: Sequence[Frame], limits: _Limits) -> Iterator[str]:
    """The steps: those of the user's own code open, what libraries did between them folded."""
    steps = list(folded(frames))
    if len(steps) > limits.frames:
        head, tail = steps[: limits.frames // 4], steps[-(limits.frames - limits.frames // 4) :]
        steps = [*head, f"[... {len(steps) - limits.frames:,} steps left out ...]", *tail]
    nothing_own = all(isinstance(step, str) or _of_library(step) for step in steps)
    run: list[Frame | str] = []
    for step in steps:
        if isinstance(step, str) or _of_library(step):
            run.append(step)
            continue
        yield from _run(run, limits, unfolded=nothing_own)
        run = []
        yield _cell(step, limits) if step.in_cell else _step(step, limits)
    yield from _run(run, limits, unfolded=nothing_own)


def _of_library(frame: Frame) -> bool:
    if frame.in_cell:
        return False
    file = frame.file.replace("\\", "/")
    # Compiled modules tell their sources by the place that these had in the library.
    return file.startswith("<frozen ") or file.endswith(_COMPILED) or any(part in file for part in _LIBRARIES)


def _run(run: Sequence[Frame | str], limits: _Limits, *, unfolded: bool) -> Iterator[str]:
    """Steps of libraries, folded under what they are."""
    frames = [step for step in run if not isinstance(step, str)]
    inner = "".join(_faint(step) if isinstance(step, str) else _step(step, limits) for step in run)
    if not frames:
        yield inner
        return
    names = list(dict.fromkeys(frame.module.partition(".")[0] or "a library" for frame in frames))
    several = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    steps = "1 step" if len(frames) == 1 else f"{len(frames):,} steps"
    yield _fold(f"{steps} in {several}", inner, unfolded=unfolded)


def _step(frame: Frame, limits: _Limits) -> str:
    place = f'<div style="{_PLACE}; {_WRAPPED}">{_text(short_place(frame), limits.line)}</div>'
    row = frame.source.strip()
    return place + (f'<pre style="{_PRE}">    {_text(row, limits.line)}</pre>' if row else "")


def _cell(frame: Frame, limits: _Limits) -> str:
    """The lines of a cell; the one that failed has a sign and a ground, its failing part is underlined."""
    place = f'<div style="{_PLACE}">{_text(frame.place, limits.line)}</div>'
    if not (frame.source or frame.before or frame.after):
        return place
    first = frame.line - len(frame.before)
    width = len(str(frame.line + len(frame.after)))
    rows = []
    for number, row in enumerate((*frame.before, frame.source, *frame.after), first):
        label = f"{number:>{width}} | "
        if number == frame.line:
            rows.append(
                f'<mark style="{_MARK}"> {_ARROW} {label}{_underlined(row, frame.columns, limits)}</mark>'
            )
        else:
            rows.append(f'   <span style="{_FAINT}">{label}</span>{_text(row, limits.line)}')
    text = _NEWLINE.join(rows)
    return f'{place}<pre style="{_PRE}">{text}</pre>'


def _underlined(row: str, columns: tuple[int, int] | None, limits: _Limits) -> str:
    if columns is None or len(row) > limits.line:
        return _text(row, limits.line)
    start, end = columns
    before, part, after = (_text(each) for each in (row[:start], row[start:end], row[end:]))
    return f"{before}<u>{part}</u>{after}" if part else f"{before}{after}"


def _syntax(syntax: SyntaxFacts, limits: _Limits) -> str:
    if syntax.line <= 0:
        return ""
    file = syntax.file or "<string>"
    cell = f"In {file[4:-1]}" if file.startswith("<In [") else f'File "{file}"'
    place = f'<div style="{_PLACE}">{_text(f"{cell}, line {syntax.line}", limits.line)}</div>'
    row = syntax.text.rstrip("\n")
    if not row.strip():
        return place
    columns = None
    if syntax.offset > 0:
        start = min(syntax.offset - 1, len(row))
        end = syntax.end_offset - 1 if syntax.end_line in {0, syntax.line} else len(row)
        columns = (start, max(start + 1, end))
    line = f'<mark style="{_MARK}"> {_ARROW} {syntax.line} | {_underlined(row, columns, limits)}</mark>'
    return f'{place}<pre style="{_PRE}">{line}</pre>'


def _facts(facts: Sequence[Fact], limits: _Limits) -> str:
    if not facts:
        return ""
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{_CELL}; {_FAINT}; font-weight:normal">'
        f'{_text(name, limits.line)}</th><td style="{_CELL}; {_WRAPPED}">{_text(text, limits.line)}</td></tr>'
        for name, text in facts[: limits.rows]
    )
    rest = _rest(len(facts) - limits.rows, "fact")
    return f'<table aria-label="facts" style="{_TABLE}"><tbody>{rows}</tbody></table>{rest}'


def _arrays(arrays: Sequence[ArrayFacts], limits: _Limits) -> str:
    if not arrays:
        return ""
    head = "".join(
        f'<th scope="col" style="{_CELL}; {_FAINT}; font-weight:normal">{name}</th>'
        for name in ("array", "shape", "dtype", "device", "library")
    )
    rows = "".join(
        '<tr style="background:none">'
        + "".join(
            f'<td style="{_CELL}">{_text(text, limits.line)}</td>'
            for text in (array.name, _shape(array.shape), array.dtype, array.device, array.library)
        )
        + "</tr>"
        for array in arrays[: limits.rows]
    )
    rest = _rest(len(arrays) - limits.rows, "array")
    return (
        f'<table aria-label="arrays" style="{_TABLE}"><thead><tr style="background:none">{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{rest}"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"


def _plain(text: str, limits: _Limits) -> str:
    """The whole as plain text: without a script there is no button, but one click can select all of it."""
    block = f'<pre style="{_SELECTED}">{_text(text, limits.plain)}</pre>'
    return _fold("Plain text, to copy (one click selects it)", block)


def _fold(title: str, inner: str, *, unfolded: bool = False) -> str:
    opened = " open" if unfolded else ""
    summary = f'<summary style="{_FAINT}; cursor:pointer">{_text(title, _TITLE)}</summary>'
    return f'<details{opened} style="margin:2px 0">{summary}<div style="{_INDENTED}">{inner}</div></details>'


def _rest(count: int, what: str) -> str:
    if count <= 0:
        return ""
    return _faint(f"[... {count:,} more {what}{'' if count == 1 else 's'} ...]")


def _faint(text: str) -> str:
    return f'<div style="{_FAINT}">{_text(text, _TITLE)}</div>'


def _text(text: str, limit: int | None = None) -> str:
    """The only way of a text into the page."""
    # An empty line would end the HTML where the page becomes part of a text in Markdown.
    return html.escape(visible(text if limit is None else clip(text, limit))).replace("\n", _NEWLINE)
