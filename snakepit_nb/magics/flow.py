"""What a cell is shown of a worker's output, and when: pure bookkeeping, the sending is `routing`'s.

*Rule:* within one cell the order of text and displays is the worker's.
*Rule:* memory is bounded whatever the worker prints, and what is left out is counted and said.
*Rule:* everything that leaves here can be written as JSON in UTF-8.
"""

from __future__ import annotations

import base64
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

_KIB = 1 << 10
HEAD: Final = 256 * _KIB
"""Bytes of one stream of one cell that are shown as they come, before the rate counts."""
RATE: Final = 32 * _KIB
"""Bytes per second of one stream of one cell that are shown for as long as it lasts."""
TAIL: Final = 32 * _KIB
"""Bytes from the end of a flood that are shown."""
HOLD: Final = 30.0
"""Seconds after which a flood that goes on is shown its latest tail."""

_LEAST = _KIB
_HELD_DISPLAYS = 500
_HELD_BYTES = 32 * _KIB * _KIB
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Bucket:
    """How much may be sent now: a burst, and from then on a rate."""

    __slots__ = ("_clock", "_level", "_rate", "_seen", "_size")

    def __init__(self, size: float, rate: float, clock: Callable[[], float]) -> None:
        self._size, self._rate, self._clock = float(size), float(rate), clock
        self._level, self._seen = self._size, clock()

    def level(self) -> float:
        """How much may be sent now; below zero, how much was sent too early."""
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._seen) * self._rate)
        self._seen = now
        return self._level

    def take(self, amount: float) -> None:
        """Counts what was sent; a negative amount gives back."""
        self._level = self.level() - amount

    def full(self) -> bool:
        """Whether nothing was sent of late."""
        return self.level() >= self._size


@dataclass(frozen=True, slots=True)
class Display:
    """One display message, safe to send; `size` is roughly its bytes."""

    kind: str
    content: Mapping[str, object]
    size: int

    @classmethod
    def of(cls, message: Mapping[str, object]) -> Display:
        """From the plain form: "type", and "data", "metadata", "transient" or "wait"."""
        kind = str(message.get("type", "display_data"))
        if kind == "clear_output":
            return cls(kind, {"wait": bool(message.get("wait", False))}, 0)
        content = {part: json_safe(message.get(part) or {}) for part in ("data", "metadata", "transient")}
        data = cast("Mapping[str, object]", content["data"])
        return cls(kind, content, sum(len(each) for each in data.values() if isinstance(each, str)))

    @property
    def display_id(self) -> object:
        """By what an update finds the display, or None."""
        transient = self.content.get("transient")
        return transient.get("display_id") if isinstance(transient, Mapping) else None


class Text:
    """Text of one stream between two displays, its covered redraws left out."""

    __slots__ = ("name", "parts", "size")

    def __init__(self, name: str) -> None:
        self.name, self.size = name, 0
        self.parts: list[str] = []

    def add(self, text: str) -> int:
        """Appends; returns by how many bytes the whole grew, which redraws make negative."""
        before = self.size
        if "\r" in text:
            line = self.parts.pop() if self.parts else ""
            self.size -= _bytes(line)
            start = line.rfind("\n") + 1
            if start:
                self.parts.append(line[:start])
                self.size += _bytes(line[:start])
            text = collapse(line[start:] + text)
        self.parts.append(text)
        self.size += _bytes(text)
        return self.size - before

    def cut(self, limit: int) -> str:
        """Keeps whole lines of at most `limit` bytes where there are any; returns the rest."""
        whole = "".join(self.parts)
        head = whole.encode()[: max(limit, 0)].decode(errors="ignore")
        head = head[: head.rfind("\n") + 1] or head
        self.parts, self.size = [head], _bytes(head)
        return whole[len(head) :]


@dataclass(slots=True)
class Flow:
    """One stream of one cell: how much of it may be shown, and the last bytes of a flood."""

    bucket: Bucket
    flooded: bool = False
    since: float = 0.0
    stirred: bool = False
    mid_line: bool = False
    omitted: int = 0
    tail: deque[str] = field(default_factory=deque)
    tail_size: int = 0

    def keep(self, text: str) -> None:
        """Keeps the end of a flood; counts what goes."""
        self.stirred = True
        size = _bytes(text)
        if size > TAIL:
            kept = _last(text, TAIL)
            self.omitted += size - _bytes(kept)
            text, size = kept, _bytes(kept)
        self.tail.append(text)
        self.tail_size += size
        while self.tail_size - _bytes(self.tail[0]) >= TAIL:
            gone = _bytes(self.tail.popleft())
            self.tail_size -= gone
            self.omitted += gone


class Cell:
    """What one cell is still to be shown, in the worker's order."""

    def __init__(self, header: Mapping[str, object], clock: Callable[[], float], total: Bucket) -> None:
        self.header = header
        self.held: list[Text | Display] = []
        self.talkers: set[object] = set()
        self.fresh = True
        self._held_bytes = 0
        self._left_out = 0
        self._flows: dict[str, Flow] = {}
        self._clock = clock
        self._total = total

    @property
    def flooded(self) -> bool:
        """Whether some text waits for the end of a flood."""
        return any(flow.flooded for flow in self._flows.values())

    @property
    def restless(self) -> bool:
        """Whether the timer has to come back to this cell."""
        return bool(self.held) or not self.fresh or self.flooded

    @property
    def rested(self) -> bool:
        """Whether forgetting the cell would forget nothing."""
        return all(flow.bucket.full() for flow in self._flows.values())

    def add_text(self, name: str, text: str) -> None:
        """Takes text of one stream; what is more than may be shown waits as the end of a flood."""
        flow = self._flows.get(name)
        if flow is None:
            flow = self._flows[name] = Flow(Bucket(HEAD, RATE, self._clock))
        if flow.flooded:
            flow.keep(text)
            return
        item = self._open(name)
        grown = item.add(text)
        room = int(min(flow.bucket.level(), self._total.level()))
        if grown > room:
            whole = item.size
            flow.flooded, flow.since = True, self._clock()
            flow.keep(item.cut(whole - grown + room))
            grown -= whole - item.size
        flow.mid_line = not (item.parts[-1] or "\n").endswith("\n")
        flow.bucket.take(grown)
        self._total.take(grown)

    def add_display(self, shown: Display) -> None:
        """Takes a display; what it makes invisible before anybody saw it is dropped."""
        self.release_all()
        if shown.kind == "clear_output":
            self.held = [
                each for each in self.held if isinstance(each, Display) and each.kind == "update_display_data"
            ]
        elif shown.kind == "update_display_data" and shown.display_id is not None:
            self.held = [
                each
                for each in self.held
                if not (
                    isinstance(each, Display)
                    and each.kind == shown.kind
                    and each.display_id == shown.display_id
                )
            ]
        shows = [each for each in self.held if isinstance(each, Display)]
        if len(shows) >= _HELD_DISPLAYS or sum(each.size for each in shows) > _HELD_BYTES:
            self._left_out += 1
            return
        self.held.append(shown)

    def release_all(self) -> None:
        """Ends every flood: the count and the tail are ready to be sent."""
        for name, flow in self._flows.items():
            if flow.flooded:
                self._release(name, flow)

    def release_calm(self) -> None:
        """Shows the tail of a flood that stopped, or that has gone on unseen for long."""
        for name, flow in self._flows.items():
            if not flow.flooded:
                continue
            late = self._clock() - flow.since >= HOLD
            if late or (not flow.stirred and flow.bucket.level() > 0):
                self._release(name, flow)
            flow.stirred = False

    def take(self) -> Iterable[tuple[str, Mapping[str, object], bytes]]:
        """Gives what is to be sent, in order: message type, content, topic; then holds nothing."""
        if self._left_out:
            self._open("stdout").add(f"[{self._left_out:,} displays left out: too many at once]\n")
            self._left_out = 0
        held, self.held = self.held, []
        for each in held:
            if isinstance(each, Display):
                yield each.kind, each.content, b"display_data"
            elif text := "".join(each.parts):
                yield "stream", {"name": each.name, "text": text}, f"stream.{each.name}".encode()

    def _open(self, name: str) -> Text:
        for each in reversed(self.held):
            if isinstance(each, Display):
                break
            if each.name == name:
                return each
        opened = Text(name)
        self.held.append(opened)
        return opened

    def _release(self, name: str, flow: Flow) -> None:
        tail = "".join(flow.tail)
        shown = _last(tail, int(min(TAIL, max(_LEAST, self._total.level()))))
        omitted = flow.omitted + _bytes(tail) - _bytes(shown)
        note = ""
        if omitted:
            note = "\n" if flow.mid_line else ""
            note += f"[{omitted:,} bytes of {name} left out; write to a file to keep all]\n"
        grown = self._open(name).add(note + collapse(shown))
        flow.bucket.take(grown)
        self._total.take(grown)
        flow.flooded, flow.omitted, flow.tail_size = False, 0, 0
        flow.mid_line = not shown.endswith("\n")
        flow.tail.clear()


def collapse(text: str) -> str:
    r"""Leaves out the redraws of a line that a later redraw of it covers.

    Example:
        >>> collapse("\r 10%|#   |\r 50%|##  |\r100%|####|\ndone")
        '\r100%|####|\ndone'
        >>> collapse("a longer line\rshort")
        'a longer line\rshort'
    """
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if "\r" not in line:
            continue
        kept: list[str] = []
        first, *redraws = line.split("\r")
        for redraw in redraws:
            while kept and _columns(redraw) >= _columns(kept[-1]):
                kept.pop()
            kept.append(redraw)
        # What stands before the first return may go on from a line that was sent already; it stays.
        lines[index] = "\r".join([first, *kept])
    return "\n".join(lines)


def _columns(text: str) -> int:
    return len(_CONTROL.sub("", text) if "\x1b" in text else text)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _last(text: str, limit: int) -> str:
    """The end of a text, at most `limit` bytes; from the start of a line where one is near."""
    if _bytes(text) <= limit:
        return text
    tail = text[-limit:].encode()[-limit:].decode(errors="ignore")
    start = tail.find("\n") + 1
    return tail[start:] if start <= len(tail) // 2 else tail


def sendable(text: str) -> str:
    """The text without lone surrogates, which no wire format carries."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def json_safe(value: object) -> object:
    """The value as JSON can say it; bytes become base64, as IPython's own displays have them."""
    match value:
        case str():
            return sendable(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {sendable(str(key)): json_safe(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_safe(each) for each in value]
    return _plain(value)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    from jupyter_client.jsonutil import json_default  # noqa: PLC0415 - a display that needs it is rare

    try:
        return json_safe(json_default(value))
    except Exception:  # noqa: BLE001 - any object may stand in a bundle, and its own code runs here
        return f"<{type(value).__qualname__}>"
