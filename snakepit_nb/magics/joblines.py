"""The lines of jobs in a notebook: each is shown once and then updated in place, wherever it stands.

*Rule:* a few messages a second for all jobs together: a change of state is told soon, and time at its ease.
*Rule:* the thread is there while a job is on its way that is shown, and no longer.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.magics.jobfacts import JobFacts

AT_ONCE: Final = 5
"""At most so many messages, and then a pause."""
PAUSE: Final = 0.25
_TICK: Final = 1.0
_BURST: Final = 100


class Told(Protocol):
    """What is shown: a job."""

    def facts(self) -> JobFacts:
        """How it is doing."""


class _Line:
    """The line of one job: its display's id, the job until it is over, and what was said last, and when."""

    __slots__ = ("at", "changed", "display_id", "facts", "job", "late")

    def __init__(self, job: Told, display_id: str) -> None:
        self.job: Told | None = job
        self.display_id = display_id
        self.facts = job.facts()
        self.at = time.monotonic()
        self.changed = False
        self.late = False


class _Lines:
    """The lines of jobs on their way, by their displays' ids; of others the ids alone, while they live."""

    def __init__(self) -> None:
        # Reentrant: a finaliser may end a job while its thread is in here.
        self.lock = threading.RLock()
        self.wake = threading.Condition(self.lock)
        self.live: dict[str, _Line] = {}
        self.ids: weakref.WeakKeyDictionary[Told, str] = weakref.WeakKeyDictionary()
        self.thread: threading.Thread | None = None
        self.between_cells = False
        self.closed = False


_lines: Final = _Lines()


def show(job: Told) -> None:
    """Show a job below the cell that runs now, and keep the line up to date.

    Raises:
        NotImplementedError: nothing here can be updated in place, as in a terminal; IPython shows `repr`.
    """
    if _updates() is None:
        raise NotImplementedError
    from IPython.display import display  # noqa: PLC0415 - only in a notebook

    with _lines.lock:
        display_id = _lines.ids.setdefault(job, f"snakepit-job-{uuid.uuid4().hex}")
        line = _Line(job, display_id)
        display(_bundle(line.facts), raw=True, display_id=display_id)
        if not line.facts.over and not _lines.closed:
            _lines.live.setdefault(display_id, line)
            _see_to_thread()


def changed(job: Told) -> None:
    """A job has another state: its line says so soon, where it has one."""
    with _lines.lock:
        line = _lines.live.get(_lines.ids.get(job, ""))
        if line is not None and not _lines.closed:
            line.changed = True
            _see_to_thread()
            _lines.wake.notify_all()


def flush() -> None:
    """Say now what has changed, for the cell that runs now is about to be over."""
    with _lines.lock:
        _say(_changed()[:_BURST])
        _lines.between_cells = True


def cell_begins() -> None:
    """Say again what was said while no cell ran, for some front ends hear nothing then."""
    with _lines.lock:
        _lines.between_cells = False
        for line in _lines.live.values():
            line.changed, line.late = line.changed or line.late, False
        if _changed():
            _see_to_thread()
            _lines.wake.notify_all()


def close() -> None:
    """Say of every job how it is, and from now on nothing: the kernel ends."""
    with _lines.lock:
        _say(list(_lines.live.values())[:_BURST])
        _lines.closed = True
        _lines.live.clear()
        _lines.wake.notify_all()


def _forget() -> None:
    """In a child that the user forked: the lines are the parent's, and so is the front end."""
    _lines.lock = threading.RLock()
    _lines.wake = threading.Condition(_lines.lock)
    _lines.live.clear()
    _lines.closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _updates() -> Callable[[Mapping[str, object]], None] | None:
    return getattr(output.sink(), "update", None)


def _bundle(facts: JobFacts) -> dict[str, str]:
    return {"text/plain": facts.line(), "text/html": facts.line_html()}


def _see_to_thread() -> None:
    if _lines.thread is not None and _lines.thread.is_alive():
        return
    thread = threading.Thread(target=_run, name="snakepit-jobs", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending and starts no more threads
        return
    _lines.thread = thread


def _run() -> None:
    with _lines.lock:
        while not _lines.closed and _is_restless():
            now = time.monotonic()
            due = [each for each in _lines.live.values() if each.job is not None and now - each.at >= _TICK]
            _say([*_changed(), *sorted(due, key=lambda each: each.at)][:AT_ONCE])
            # The pause bounds the rate; only after it does a change of state cut the wait short.
            _lines.wake.wait_for(lambda: _lines.closed, PAUSE)
            _lines.wake.wait_for(lambda: _lines.closed or _changed(), _TICK - PAUSE)
        _lines.thread = None


def _is_restless() -> bool:
    return any(line.job is not None or line.changed for line in _lines.live.values())


def _changed() -> list[_Line]:
    return [line for line in _lines.live.values() if line.changed]


def _say(lines: list[_Line]) -> None:
    update = _updates()
    for line in lines:
        facts = line.facts if line.job is None else line.job.facts()
        says_more = line.changed or facts.line() != line.facts.line()
        line.facts, line.changed, line.at = facts, False, time.monotonic()
        if says_more and update is not None:
            line.late = line.late or (facts.over and _lines.between_cells)
            update({"data": _bundle(facts), "transient": {"display_id": line.display_id}})
        if facts.over:
            line.job = None
            if not line.late:
                _lines.live.pop(line.display_id, None)
