"""A record as the text that a terminal, a notebook or a log shows.

*Rule:* text that came with an exception is shown, never obeyed: control characters are made visible.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.facts import in_line, told
from snakepit_nb.errors.hostile import clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from snakepit_nb.errors.record import ErrorRecord, Frame, SyntaxFacts

_CAUSE: Final = "The above exception was the direct cause of the following exception:"
_CONTEXT: Final = "During handling of the above exception, another exception occurred:"
_MEMBERS_SHOWN: Final = 15
_ALIKE_SHOWN: Final = 3
_MESSAGE_IN_SHORT: Final = 4_000
_RESET: Final = "\x1b[0m"
_STYLES: Final = {
    "bold": "\x1b[1m",
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
    def __init__(self, *, colour: bool, around: bool = True) -> None:
        self.colour = colour
        self.around = around

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


def render_text(
    record: ErrorRecord,
    *,
    colour: bool,
    suggestion: str | None = None,
    facts: Mapping[str, object] | None = None,
    around: bool = True,
) -> str:
    """The traceback as text, the newest call last, as Python writes it; cells by number, with their lines.

    Args:
        record: What is known.
        colour: Whether the terminal's colours are used.
        suggestion: What to try.
        facts: What the table of rules read from the message.
        around: Whether a cell's lines around the failing one are shown, too.

    Example:
        >>> from snakepit_nb.errors.observe import describe
        >>> print(render_text(describe(ValueError("no")), colour=False))
        ValueError: no
    """
    ink = _Ink(colour=colour, around=around)
    lines = list(_chain(record, ink))
    known = in_line(told(facts or {}))
    if known or suggestion or record.arrays:
        lines.append("")
    if known:
        lines.append(ink("faint", f"Facts: {known}"))
    lines += [ink("faint", f"Array {array.text}") for array in record.arrays]
    if suggestion:
        lines.append(ink("hint", f"Try: {suggestion}"))
    return "\n".join(lines)


def render_line(record: ErrorRecord) -> str:
    r"""The error in one line that forges no other, for a log.

    Example:
        >>> from snakepit_nb.errors.observe import describe
        >>> print(render_line(describe(ValueError("no\nway \x1b[31m"))))
        ValueError: no way \x1b[31m
    """
    return " ".join(visible(record.line()).split())


def render_end(record: ErrorRecord, *, colour: bool, suggestion: str | None = None) -> str:
    """The error in two or three lines: what it is, where in the cell, and what to try.

    Example:
        >>> from snakepit_nb.errors.observe import describe
        >>> print(render_end(describe(ValueError("no")), colour=False))
        ValueError: no
    """
    ink = _Ink(colour=colour)
    message = record.message if record.syntax is None else record.syntax.message or record.message
    lines = [render_title(str(record.type), message, colour=colour)]
    cell = next((frame for frame in reversed(record.frames) if frame.in_cell), None)
    if cell is not None:
        lines.append(f"at {visible(cell.place)}")
    if suggestion:
        lines.append(f"{ink('bold', 'Try:')} {visible(suggestion)}")
    return "\n".join(lines)


def render_title(title: str, text: str, *, colour: bool) -> str:
    """A class and what it says, for grounds of front ends' own: only bold can be read on all of them.

    Example:
        >>> print(render_title("ValueError", "no", colour=False))
        ValueError: no
    """
    name = _Ink(colour=colour)("bold", title)
    return f"{name}: {visible(clip(text, _MESSAGE_IN_SHORT))}" if text else name


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
    for step in folded(record.frames):
        if isinstance(step, str):
            yield ink("faint", f"  {step}")
        else:
            yield from _frame(step, ink)
    message = record.message
    if record.syntax is not None:
        yield from _syntax(record.syntax, ink)
        message = record.syntax.message or message
    name = ink("type", str(record.type))
    yield f"{name}: {visible(message)}" if message else name
    yield from (visible(note) for note in record.notes)
    yield from _members(record, ink)


def folded(frames: Iterable[Frame]) -> Iterator[Frame | str]:
    """The frames, and a line in place of those that were left out or repeat what stands before them.

    Example:
        >>> from snakepit_nb.errors.record import Frame
        >>> [step for step in folded([Frame("a.py", 3, "f", "a")] * 5) if isinstance(step, str)]
        ['[... the line above is repeated 2 more times ...]']
    """
    before: Frame | None = None
    alike = 0
    for frame in frames:
        same = before is not None and not frame.skipped and _same(before, frame)
        if not same:
            yield from _repeated(alike)
            alike = 0
        if frame.skipped:
            yield f"[... {frame.skipped:,} frames left out ...]"
        alike += 1
        if alike <= _ALIKE_SHOWN:
            yield frame
        before = frame
    yield from _repeated(alike)


def _repeated(alike: int) -> Iterator[str]:
    if alike > _ALIKE_SHOWN:
        yield f"[... the line above is repeated {alike - _ALIKE_SHOWN} more times ...]"


def _same(one: Frame, other: Frame) -> bool:
    return (one.file, one.line, one.function) == (other.file, other.line, other.function)


def _frame(frame: Frame, ink: _Ink) -> Iterator[str]:
    if not frame.in_cell:
        yield f"  {ink('place', short_place(frame))}"
        if frame.source:
            text = frame.source.strip()
            yield f"    {visible(text)}"
        return
    yield f"  {ink('place', frame.place)}"
    if not (frame.source or frame.before or frame.after):
        return
    before, after = (frame.before, frame.after) if ink.around else ((), ())
    first = frame.line - len(before)
    width = len(str(frame.line + len(after)))
    for number, row in enumerate((*before, frame.source, *after), first):
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


def short_place(frame: Frame) -> str:
    """The place, with the path of an installed library cut to what tells it.

    Example:
        >>> from snakepit_nb.errors.record import Frame
        >>> short_place(Frame("/usr/lib/python3.11/site-packages/numpy/a.py", 3, "f", "numpy.a"))
        'File "numpy/a.py", line 3, in f'
    """
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
