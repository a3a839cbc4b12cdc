"""For tests of what runs on snakepit_nb: see the events, assert on them, fire one by hand.

*Rule:* nothing here waits by sleeping; who waits for an event is woken by it.
*Rule:* a fact is compared by `==`, so that `pytest.approx(...)` and `unittest.mock.ANY` can stand for values.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as counter
from typing import TYPE_CHECKING, Self, overload

from snakepit_nb import events, telemetry
from snakepit_nb.telemetry import EventName, Name, as_name, dotted

if TYPE_CHECKING:
    from types import TracebackType

_ENVELOPE = frozenset(key.name for key in events.ENVELOPE_METADATA[:3])
_ids = counter(1)


@dataclass(frozen=True, slots=True)
class CapturedEvent:
    """One event as a handler gets it, envelope included.

    Example:
        >>> print(CapturedEvent(("app", "hello"), {"count": 1}, {"who": "world", "pid": 7}))
        app.hello count=1 who='world'
    """

    name: EventName
    measurements: Mapping[str, float]
    metadata: Mapping[str, object]

    def __str__(self) -> str:
        """The event in one line, without its stamps."""
        told = {**self.measurements, **{k: v for k, v in self.metadata.items() if k not in _ENVELOPE}}
        return " ".join([dotted(self.name), *(f"{key}={value!r}" for key, value in told.items())])

    def has(self, facts: Mapping[str, object]) -> bool:
        """Whether each of the facts is a key of the metadata, or else a measurement, with that value."""
        told = {**self.measurements, **self.metadata}
        return all(key in told and told[key] == value for key, value in facts.items())


class Captured(Sequence[CapturedEvent]):
    """The events captured so far, in the order of their delivery; it grows while the `with` block runs."""

    def __init__(self, prefixes: Sequence[EventName]) -> None:
        self._prefixes = prefixes
        self._events: list[CapturedEvent] = []
        self._ids: list[str] = []
        # Reentrant, as Condition's own lock is: a finaliser may emit an event while this thread holds it.
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        for prefix in self._prefixes:
            self._ids.append(f"snakepit_nb.testing.capture_events:{next(_ids)}")
            telemetry.attach_prefix(self._ids[-1], prefix, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._ids:
            telemetry.detach(self._ids.pop())

    def _take(
        self, event: EventName, measurements: dict[str, float], metadata: dict[str, object], _: object
    ) -> None:
        with self._changed:
            self._events.append(CapturedEvent(event, measurements, metadata))
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> CapturedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[CapturedEvent]: ...
    def __getitem__(self, index: int | slice) -> CapturedEvent | list[CapturedEvent]:
        return self._events[index]

    def __iter__(self) -> Iterator[CapturedEvent]:
        return iter(self._events.copy())

    def __repr__(self) -> str:
        return f"<Captured {len(self)} event{'' if len(self) == 1 else 's'}: {self._seen()}>"

    def named(self, name: Name) -> list[CapturedEvent]:
        """The captured events of exactly this name, in order."""
        wanted = as_name(name)
        return [event for event in self if event.name == wanted]

    def names(self) -> list[str]:
        """The dotted names of the captured events, in order."""
        return [dotted(event.name) for event in self]

    def clear(self) -> None:
        """Forget what was captured so far."""
        with self._changed:
            self._events.clear()

    def wait_for(
        self, name: Name, /, count: int = 1, timeout: float = 10.0, **facts: object
    ) -> list[CapturedEvent]:
        """Block until `count` events of a name, with these facts, were captured, and return them.

        Args:
            name: The event's exact name.
            count: How many are awaited, those captured already included.
            timeout: How long to wait, in seconds.
            **facts: Keys of the metadata, or measurements, and their values.

        Raises:
            AssertionError: they did not come in time; it lists what was seen instead.

        Example:
            >>> with capture_events("app") as captured:
            ...     telemetry.execute("app.hello", {}, {"who": "world"})
            ...     print(captured.wait_for("app.hello", who="world")[0])
            app.hello count=1 who='world'
        """
        __tracebackhide__ = True  # pytest shows the line that waits, and not this one
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [event for event in self.named(name) if event.has(facts)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                # Once capturing has ended nothing more can come: waiting on would only hide the reason.
                if left <= 0 or not self._ids:
                    break
                self._changed.wait(left)
        waited = f"within {timeout} s" if left <= 0 else "before capturing ended"
        message = (
            f"expected {count} {_wanted(name, facts)} {waited}, got {len(found)}; captured: {self._seen()}"
        )
        raise AssertionError(message)

    def _seen(self) -> str:
        return "; ".join(str(event) for event in self) or "nothing"


def capture_events(*names: Name) -> Captured:
    """Capture events inside a `with` block: those of these names and prefixes, or all where none is given.

    Raises:
        TypeError, ValueError: a name that is none.

    Example:
        >>> with capture_events("app.job") as captured:
        ...     telemetry.execute("app.job.done")
        ...     telemetry.execute("app.other")
        >>> captured.names()
        ['app.job.done']
    """
    prefixes = {() if name in ((), "") else as_name(name) for name in names} or {()}
    # An event is captured once, however many of the prefixes it begins with.
    inner = [p for p in prefixes if any(p != q and p[: len(q)] == q for q in prefixes)]
    return Captured(sorted(prefixes.difference(inner)))


def assert_event(captured: Sequence[CapturedEvent], name: Name, /, **facts: object) -> CapturedEvent:
    """Return the first captured event of a name whose metadata, or else measurements, hold these facts.

    Raises:
        AssertionError: there is none; it lists the events of that name, or all where there is none.

    Example:
        >>> with capture_events("app") as captured:
        ...     telemetry.execute("app.job.done", {"rows": 3}, {"job": "import"})
        >>> assert_event(captured, "app.job.done", job="import", rows=3).measurements["rows"]
        3
    """
    __tracebackhide__ = True
    wanted = as_name(name)
    same = [event for event in captured if event.name == wanted]
    for event in same:
        if event.has(facts):
            return event
    near = "; ".join(str(event) for event in same or captured) or "nothing"
    message = f"expected {_wanted(name, facts)}, captured: {near}"
    raise AssertionError(message)


def assert_no_event(captured: Sequence[CapturedEvent], name: Name, /, **facts: object) -> None:
    """Assert that no event of a name was captured whose metadata, or else measurements, hold these facts.

    It looks at what was captured so far: wait first for what has to be over by then.

    Raises:
        AssertionError: there is one; it lists them.

    Example:
        >>> with capture_events("app") as captured:
        ...     telemetry.execute("app.job.done", {"rows": 3}, {"job": "import"})
        >>> assert_no_event(captured, "app.job.done", job="export")
    """
    __tracebackhide__ = True
    wanted = as_name(name)
    found = "; ".join(str(event) for event in captured if event.name == wanted and event.has(facts))
    if found:
        message = f"expected no {_wanted(name, facts)}, captured: {found}"
        raise AssertionError(message)


def assert_in_order(captured: Sequence[CapturedEvent], *names: Name) -> list[CapturedEvent]:
    """Return captured events of these names that came in this order, whatever came before, after or between.

    Raises:
        AssertionError: they did not; it says which one is missing after which, and what was captured.

    Example:
        >>> with capture_events("app") as captured:
        ...     for name in ("app.start", "app.step", "app.stop"):
        ...         telemetry.execute(name)
        >>> len(assert_in_order(captured, "app.start", "app.stop"))
        2
    """
    __tracebackhide__ = True
    found: list[CapturedEvent] = []
    left = iter(captured)
    for name in names:
        wanted = as_name(name)
        event = next((each for each in left if each.name == wanted), None)
        if event is None:
            after = f" after {found[-1]}" if found else ""
            seen = ", ".join(dotted(each.name) for each in captured) or "nothing"
            message = f"expected {dotted(name)}{after}, captured in this order: {seen}"
            raise AssertionError(message)
        found.append(event)
    return found


def _wanted(name: Name, facts: Mapping[str, object]) -> str:
    return " ".join([dotted(name), *(f"{key}={value!r}" for key, value in facts.items())])


def synthetic(
    event: Name,
    measurements: Mapping[str, float] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Fire an event by hand, marked `synthetic: true`, so that alerts and metrics leave it out.

    An event of this package is checked against the catalogue, since a handler that is tested with a key that
    never comes is not tested; keys that the test does not need may be missing.

    Raises:
        events.UnknownEvent: a name of the namespace `snakepit` that the catalogue does not have.
        ValueError: a key that the event does not have, or a value that this key never has.

    Example:
        >>> with capture_events("snakepit.worker") as captured:
        ...     synthetic("snakepit.worker.recycled", {}, {"pool": "default", "reason": "manual"})
        >>> captured[0].metadata["synthetic"]
        True
    """
    if as_name(event)[0] == "snakepit":
        events.spec(event)
        wrong = events.check(event, measurements or {}, metadata or {}, whole=False)
        if wrong:
            message = f"there is no such event: {'; '.join(wrong)}"
            raise ValueError(message)
    telemetry.execute(event, measurements, {**(metadata or {}), "synthetic": True})
