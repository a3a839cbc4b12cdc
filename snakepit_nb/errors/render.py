"""A record as the text that a terminal, a notebook or a log shows.

*Rule:* text that came with an exception is shown, never obeyed: control characters are made visible.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.errors.record import ErrorRecord, Frame, SyntaxFacts

_CAUSE: Final = "The above exception was the direct cause of the following exception:"
_CONTEXT: Final = "During handling of the above exception, another exception occurred:"
_MEMBERS_SHOWN: Final = 15
_ALIKE_SHOWN: Final = 3
_RESET: Final = "\x1b[0m"
_STYLES: Final = {
    "type": "\x1b[1;31m",
    "place": "\x1b[32m",
    "mark": "\x1b[1;31m",
    "faint": "\x1b[2m",
    "hint": "\x1b[36m",
}
_CONTROL: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"},
    # Marks that turn the direction of the text around can make a line of source read as another.
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    **{code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)},
}


class _Ink:
    def __init__(self, *, colour: bool) -> None:
        self.colour = colour

    def __call__(self, style: str, text: str) -> str:
        text = visible(text)
        if not self.colour or not text:
            return text
        # Line by line, so that whoever cuts the text at its lines does not lose the colour.
        return "\n".join(f"{_STYLES[style]}{line}{_RESET}" if line else "" for line in text.split("\n"))


def visible(text: str) -> str:
    r"""The text with its control characters written out.

    Example:
        >>> visible("a\x1b[31mb")
        'a\\x1b[31mb'
    """
    return text.translate(_CONTROL)


def colours() -> bool:
    """Whether the shell that this runs in shows colours; False without one."""
    shell = sys.modules.get("IPython")
    try:
        running = shell.get_ipython() if shell is not None else None
        return running is not None and str(running.colors).lower() != "nocolor"
    except Exception:  # noqa: BLE001 - a shell of another make; without colours all is said too
        return False


def render_text(record: ErrorRecord, *, colour: bool, suggestion: str | None = None) -> str:
    """The traceback as text, the newest call last, as Python writes it; cells by number, with their lines.

    Example:
        >>> from snakepit_nb.errors.observe import describe
        >>> print(render_text(describe(ValueError("no")), colour=False))
        ValueError: no
    """
    ink = _Ink(colour=colour)
    lines = list(_chain(record, ink))
    if suggestion:
        lines += ["", ink("hint", f"Try: {suggestion}")]
    return "\n".join(lines)


def render_notice(title: str, sentence: str, tail: str = "", *, colour: bool) -> str:
    """An error of ours in short: its class, its sentence, and the end of the worker's stderr, if any.

    Example:
        >>> print(render_notice("WorkerCrashed", "worker w1 died", "boom", colour=False))
        WorkerCrashed: worker w1 died
        <BLANKLINE>
        The end of its stderr:
          boom
    """
    ink = _Ink(colour=colour)
    text = f"{ink('type', title)}: {visible(sentence)}"
    if tail.strip():
        shown = "\n".join(f"  {line}" for line in tail.rstrip().splitlines())
        text += f"\n\nThe end of its stderr:\n{ink('faint', shown)}"
    return text


def _chain(record: ErrorRecord, ink: _Ink) -> Iterator[str]:
    earlier, joint = record.cause, _CAUSE
    if earlier is None and not record.suppress_context:
        earlier, joint = record.context, _CONTEXT
    if earlier is not None:
        yield from _chain(earlier, ink)
        yield from ("", joint, "")
    yield from _one(record, ink)


def _one(record: ErrorRecord, ink: _Ink) -> Iterator[str]:
    if record.frames:
        where = f" in worker {record.worker_id} of pool {record.pool!r}" if record.worker_id else ""
        yield f"Traceback (most recent call last){visible(where)}:"
    alike = 0
    for index, frame in enumerate(record.frames):
        if frame.skipped:
            yield ink("faint", f"  [... {frame.skipped:,} frames left out ...]")
        before = record.frames[index - 1] if index else None
        alike = alike + 1 if before is not None and _same(before, frame) else 1
        if alike <= _ALIKE_SHOWN:
            yield from _frame(frame, ink)
            continue
        following = record.frames[index + 1] if index + 1 < len(record.frames) else None
        if following is None or following.skipped or not _same(frame, following):
            yield ink("faint", f"  [... the line above is repeated {alike - _ALIKE_SHOWN} more times ...]")
    message = record.message
    if record.syntax is not None:
        yield from _syntax(record.syntax, ink)
        message = record.syntax.message or message
    name = ink("type", str(record.type))
    yield f"{name}: {visible(message)}" if message else name
    yield from (visible(note) for note in record.notes)
    yield from _members(record, ink)


def _same(one: Frame, other: Frame) -> bool:
    return (one.file, one.line, one.function) == (other.file, other.line, other.function)


def _frame(frame: Frame, ink: _Ink) -> Iterator[str]:
    if not frame.in_cell:
        yield f"  {ink('place', _short(frame))}"
        if frame.source:
            text = frame.source.strip()
            yield f"    {visible(text)}"
        return
    yield f"  {ink('place', frame.place)}"
    if not (frame.source or frame.before or frame.after):
        return
    first = frame.line - len(frame.before)
    width = len(str(frame.line + len(frame.after)))
    for number, row in enumerate((*frame.before, frame.source, *frame.after), first):
        label = f"{number:>{width}}"
        if number != frame.line:
            yield ink("faint", f"         {label} | {row}".rstrip())
            continue
        yield f"    {ink('mark', f'---> {label}')} | {visible(row)}"
        if frame.columns is not None:
            start, end = frame.columns
            # Tabs and the written-out control characters take the room that they take in the line above.
            indent = "".join(char if char == "\t" else " " for char in visible(row[:start]))
            yield ink("mark", f"         {' ' * width} | {indent}{'^' * len(visible(row[start:end]))}")


def _short(frame: Frame) -> str:
    """The place, with the path of an installed library cut to what tells it."""
    for folder in ("site-packages", "dist-packages"):
        _, found, rest = frame.file.replace("\\", "/").rpartition(f"/{folder}/")
        if found:
            return frame.place.replace(frame.file, rest, 1)
    return frame.place


def _syntax(syntax: SyntaxFacts, ink: _Ink) -> Iterator[str]:
    if syntax.line <= 0:
        return
    file = syntax.file or "<string>"
    cell = f"In {file[4:-1]}" if file.startswith("<In [") else f'File "{file}"'
    yield f"  {ink('place', f'{cell}, line {syntax.line}')}"
    row = syntax.text.rstrip("\n").expandtabs(1)
    if not row.strip():
        return
    indent = len(row) - len(row.lstrip())
    yield f"    {visible(row.strip())}"
    if syntax.offset > 0:
        start = max(0, syntax.offset - 1 - indent)
        end = syntax.end_offset - 1 - indent if syntax.end_line in {0, syntax.line} else len(row.strip())
        yield f"    {' ' * start}{ink('mark', '^' * max(1, end - start))}"


def _members(record: ErrorRecord, ink: _Ink) -> Iterator[str]:
    shown = record.members[:_MEMBERS_SHOWN]
    for number, member in enumerate(shown, 1):
        yield f"  +---------------- {number} ----------------"
        yield from (f"  | {line}" for part in _chain(member, ink) for line in part.split("\n"))
    rest = len(record.members) - len(shown) + record.omitted
    if shown or rest:
        more = f" and {rest:,} more " if rest else ""
        yield f"  +{more:-^35}"
