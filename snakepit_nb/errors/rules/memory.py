"""Memory that is not there, the host's or a card's, with what was asked for and what is free."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import OutOfMemory
from snakepit_nb.errors.rules.rule import ANY, Mapped, nbytes, rule, shapes_in

if TYPE_CHECKING:
    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Rule

_SMALLER: Final = "work on pieces, use a smaller dtype, or free what is not needed any more"
_CARD: Final = (
    "use a smaller batch or dtype, free what is not needed any more, or let fewer workers share the card"
)
_ITEM_SIZE: Final = re.compile(r"(?:u?int|float|complex)(\d+)")
_SIZE: Final = r"(?:bytes|[KMGTPE]iB)"


def _of_host(record: ErrorRecord, asked: int | None) -> Mapped:
    facts = {"asked_bytes": asked, "free_bytes": record.free_bytes}
    known = {name: value for name, value in facts.items() if value is not None}
    return Mapped(OutOfMemory, {**known, "device": "cpu"}, _SMALLER)


def _array(match: re.Match[str], record: ErrorRecord) -> Mapped:
    (shape,) = shapes_in(match["shape"]) or ((),)
    size = _ITEM_SIZE.fullmatch(match["dtype"])
    if size is not None:
        # The message rounds to three digits; shape and dtype do not.
        asked = int(size[1]) // 8
        for length in shape:
            asked *= length
    else:
        asked = nbytes(match["size"], match["unit"])
    return _of_host(record, asked)


def _host(match: re.Match[str], record: ErrorRecord) -> Mapped:
    asked = match.groupdict().get("asked")
    return _of_host(record, None if asked is None else int(asked))


def _card(match: re.Match[str], record: ErrorRecord) -> Mapped:
    found = match.groupdict()
    facts: dict[str, object] = {"asked_bytes": nbytes(found["asked"], found.get("asked_unit") or "bytes")}
    if found.get("free"):
        facts["free_bytes"] = nbytes(found["free"], found["free_unit"])
    if found.get("card"):
        device = f"{'xpu' if match[0].startswith('XPU') else 'cuda'}:{found['card']}"
    else:
        there = [each.device for each in record.arrays if each.device not in {"cpu", ""}]
        device = there[0] if there else "cuda"
    return Mapped(OutOfMemory, {**facts, "device": device}, _CARD)


RULES: Final[tuple[Rule, ...]] = (
    rule(
        "numpy",
        "numpy:_ArrayMemoryError",
        rf"Unable to allocate (?P<size>[\d.]+) (?P<unit>{_SIZE}) for an array with shape "
        r"(?P<shape>\([\d, ]*\)) and data type (?P<dtype>.+)",
        _array,
    ),
    rule(
        "torch",
        "torch:OutOfMemoryError",
        rf"(?:CUDA|HIP|XPU) out of memory\. Tried to allocate (?P<asked>[\d.]+) (?P<asked_unit>{_SIZE})\. "
        rf"(?:GPU|Device) (?P<card>\d+) has a total capac?i?ty of [\d.]+ {_SIZE} of which (?P<free>[\d.]+) "
        rf"(?P<free_unit>{_SIZE}) is free\..*",
        _card,
    ),
    rule(
        "torch",
        "torch:OutOfMemoryError",
        rf"CUDA out of memory\. Tried to allocate (?P<asked>[\d.]+) (?P<asked_unit>{_SIZE}) "
        rf"\(GPU (?P<card>\d+); .*?(?P<free>[\d.]+) (?P<free_unit>{_SIZE}) free; .*",
        _card,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"\[enforce fail at alloc_cpu\.cpp:\d+\] .*DefaultCPUAllocator: (?:can't allocate memory|not enough "
        r"memory): you tried to allocate (?P<asked>\d+) bytes\..*",
        _host,
    ),
    rule(
        "cupy",
        "cupy:OutOfMemoryError",
        r"Out of memory allocating (?P<asked>[\d,]+) bytes(?: \(allocated so far: [\d,]+ bytes"
        r"(?:, limit set to: [\d,]+ bytes)?\)\.)?",
        _card,
    ),
    rule("pyarrow", "pyarrow:ArrowMemoryError", r"\w+ of size (?P<asked>\d+) failed", _host),
    rule(
        "jax",
        "jax:JaxRuntimeError",
        r"RESOURCE_EXHAUSTED: Out of memory (?:while trying to allocate|allocating) (?P<asked>\d+) bytes\..*",
        _host,
    ),
    rule(ANY, "MemoryError", r".*", _host),
)
