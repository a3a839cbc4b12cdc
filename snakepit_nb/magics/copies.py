"""The line below a cell that says what was copied rather than shared, and why, where that took long or much.

*Rule:* one line for a cell, when it is over. Only a cell in the background, which may run for hours, says at
once what it cost to send, and at its end what it cost to have the results back.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snakepit_nb import events, options, telemetry
from snakepit_nb.arrays.account import Account
from snakepit_nb.magics.display import in_bytes, note
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from snakepit_nb.options import Options
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.telemetry import EventName

_HANDLER: Final = "snakepit_nb.magics.copies"
_NAMED: Final = 3
_KEPT: Final = 1024

_ELSEWHERE: Final = "made before the pool started, or by a library that has memory of its own"
_HOW: Final = {
    "copied": _ELSEWHERE,
    "moved": f"{_ELSEWHERE}, but shared from now on",
    "kept": f"{_ELSEWHERE}, but its copy is kept and only compared the next time",
    "compared": f"{_ELSEWHERE}, but the copy that is kept of it is still true",
}
_WHY: Final = {
    "capacity": "shared memory is full",
    "platform": "this machine has no memory that processes can share",
    "disabled": "sharing is switched off by the option arena",
    "dtype": "arrays and columns of Python objects can only be pickled",
    "layout": "its layout in memory cannot be shared",
    "device": "it lies on another device",
    "unsupported": "its library cannot share it",
}
_PLAIN: Final = "no array or table, so it is pickled"
_RETURNED: Final = "the worker keeps it too, or made it outside shared memory"


class Copy(NamedTuple):
    """What one event says: `how` and `reason` are those of the catalogue; the time in milliseconds."""

    name: str
    how: str
    reason: str | None
    comes_back: bool
    nbytes: int
    ms: float


class _Found:
    """What was heard of requests that nobody has told of yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: dict[int, list[Copy]] = {}

    def hear(
        self, _: EventName, numbers: Mapping[str, float], facts: Mapping[str, Any], config: object
    ) -> None:
        del config
        number, comes_back = facts.get("request_id"), facts["direction"] == "to_kernel"
        if number is None:
            return
        how, reason = facts["how"], facts["reason"]
        copy = Copy(
            facts["name"], how, reason, comes_back, int(numbers["bytes"]), float(numbers["duration_ms"])
        )
        with self._lock:
            self._copies.setdefault(number, []).append(copy)
            while len(self._copies) > _KEPT:
                del self._copies[next(iter(self._copies))]

    def take(self, number: int) -> list[Copy]:
        if not self._copies:
            return []
        with self._lock:
            return self._copies.pop(number, [])

    def put_back(self, number: int, copies: list[Copy]) -> None:
        with self._lock:
            self._copies[number] = copies + self._copies.get(number, [])


_found: Final = _Found()


def listen() -> None:
    """Hear from now on what cells copy. Idempotent."""
    if not any(each.handler_id == _HANDLER for each in telemetry.list_handlers(events.CELL_COPIED)):
        telemetry.attach(_HANDLER, events.CELL_COPIED, _found.hear)


def listen_no_more() -> None:
    """Undo `listen`. Idempotent."""
    if any(each.handler_id == _HANDLER for each in telemetry.list_handlers(events.CELL_COPIED)):
        telemetry.detach(_HANDLER)


def named(values: Mapping[str, object]) -> dict[str, object]:
    """What a cell captured, so that it is noted for each name what it costs to send.

    Example:
        >>> named({"x": 1})
        {'x': 1}
    """
    return Account().names(values)


@contextmanager
def told(future: PoolFuture[Any], *, quiet: bool) -> Iterator[None]:
    """Say at the end of the block, however it ends, what the cell of this request copied."""
    try:
        yield
    finally:
        if not quiet:
            _tell(future.request_id, options.current())
        else:
            _found.take(future.request_id)


def tell_of_job(future: PoolFuture[Any], *, quiet: bool) -> None:
    """Say it of a cell in the background: now what was sent, and when it is over what came back."""
    number, origin, chosen = future.request_id, output.origin(), options.current()
    if quiet:
        future.add_done_callback(lambda _: _found.take(number))
        return
    _tell(number, chosen, so_far=True)
    # It is over in some other thread, for which the options that are in force here may not be.
    future.add_done_callback(lambda _: _tell(number, chosen, origin))


class Tally:
    """What the many runs of one cell copied, for one line when all are over.

    Args:
        quiet: Whether nothing is to be said.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._chosen = quiet, options.current()
        self._copies: dict[tuple[str, str, str | None, bool], Copy] = {}
        self._lock = threading.Lock()

    def add(self, future: PoolFuture[Any]) -> None:
        """A run is sent: count what that cost, and when it is over what it cost to have its results."""
        self._take(future.request_id)
        future.add_done_callback(lambda _: self._take(future.request_id))

    def _take(self, number: int) -> None:
        for each in _found.take(number):
            key = (each.name, each.how, each.reason, each.comes_back)
            with self._lock:
                known = self._copies.get(key)
                self._copies[key] = (
                    each
                    if known is None
                    else known._replace(nbytes=known.nbytes + each.nbytes, ms=known.ms + each.ms)
                )

    def tell(self, origin: object) -> None:
        """Say it below the cell with this token, where it is worth a line."""
        copies = list(self._copies.values())
        if not self._quiet and is_worth_a_line(copies, self._chosen):
            note(sentence(copies), origin)


def _tell(number: int, chosen: Options, origin: object = None, *, so_far: bool = False) -> None:
    copies = _found.take(number)
    if not copies:
        return
    if is_worth_a_line(copies, chosen):
        note(sentence(copies), origin)
    elif so_far:
        _found.put_back(number, copies)


def is_worth_a_line(copies: Sequence[Copy], chosen: Options) -> bool:
    """Whether these copies took longer, or are larger, than what the options let pass.

    Example:
        >>> is_worth_a_line([Copy("x", "pickled", None, False, 10, 20.0)], options.Options())
        False
    """
    took, nbytes = sum(each.ms for each in copies), _copied(copies)
    return took > chosen.report_copies_ms or nbytes > chosen.report_copies_bytes


def sentence(copies: Sequence[Copy]) -> str:
    """One line for the copies of a cell: how much, how long, and of the largest names why.

    Example:
        >>> sentence([Copy("words", "pickled", None, False, 70_000_000, 1400.0)])
        'words (70.0 MB) was copied in 1.4 s rather than shared: no array or table, so it is pickled'
    """
    by_name: dict[tuple[str, bool], list[Copy]] = {}
    for each in copies:
        by_name.setdefault((each.name, each.comes_back), []).append(each)
    groups = sorted(by_name.values(), key=lambda group: (-_copied(group), -sum(each.ms for each in group)))
    took = _in_time(sum(each.ms for each in copies))
    if len(groups) == 1:
        [group] = groups
        title = f"{_title(group[0])} ({in_bytes(_size(group))})"
        return f"{title} {_became(group)} in {took} rather than shared: {_why(group)}"
    shown = [
        f"{_title(group[0])}{' on its way back' if group[0].comes_back else ''} "
        f"({in_bytes(_size(group))}): {_why(group)}"
        for group in groups[:_NAMED]
    ]
    if len(groups) > _NAMED:
        shown.append(f"and {len(groups) - _NAMED} more")
    return f"{in_bytes(_copied(copies))} were copied in {took} rather than shared: {'; '.join(shown)}"


def _title(copy: Copy) -> str:
    return copy.name or "the last value"


def _became(group: Sequence[Copy]) -> str:
    if group[0].comes_back:
        return "came back as a copy"
    return "was copied" if _copied(group) else "was compared"


def _size(group: Sequence[Copy]) -> int:
    return sum(each.nbytes for each in group)


def _copied(group: Sequence[Copy]) -> int:
    return sum(each.nbytes for each in group if each.how != "compared")


def _why(group: Sequence[Copy]) -> str:
    """Each reason once, that of the most bytes first."""
    ordered = sorted(group, key=lambda copy: -copy.nbytes)
    return ", and ".join(dict.fromkeys(_reason(each) for each in ordered))


def _reason(copy: Copy) -> str:
    if copy.reason is None:
        return _PLAIN
    if copy.reason == "first_share":
        return _RETURNED if copy.comes_back else _HOW[copy.how]
    return _WHY[copy.reason]


def _in_time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004 - a second
