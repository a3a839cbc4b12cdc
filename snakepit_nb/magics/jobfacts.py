"""What people are told of a job: its state, where it runs, for how long, and in one line what went wrong.

*Rule:* never a value, and of an error its one line, so that what is shown or kept here keeps nothing alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from snakepit_nb.magics.status import in_time
from snakepit_nb.magics.tables import Marked, marked_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snakepit_nb.magics.tables import Tint

State: TypeAlias = Literal["waiting", "queued", "running", "done", "failed", "cancelled", "ended"]

_LOOKS: Final[dict[State, tuple[str, Tint]]] = {
    "waiting": ("◌", "plain"),
    "queued": ("○", "coming"),
    "running": ("●", "good"),
    "done": ("✓", "good"),
    "failed": ("◆", "bad"),
    "cancelled": ("◇", "going"),
    "ended": ("◇", "bad"),
}
_NAMED: Final = 3
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One job at one moment.

    Attributes:
        name: What it is called.
        state: waiting (for other jobs), queued, running, done, failed, cancelled, or ended with the kernel.
        pool: The pool's name.
        cell: The number of its cell.
        worker: The worker that runs it, or ran it last; empty where none does.
        waits_for: The names of the jobs whose values it waits for.
        created: When its cell was run, in seconds of `time.time`.
        seconds: How long it has run, or ran; None where it did not.
        error: Its error in one line, as `ValueError: no`.
    """

    name: str
    state: State
    pool: str
    cell: int
    worker: str = ""
    waits_for: tuple[str, ...] = ()
    created: float = 0.0
    seconds: float | None = None
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in {"done", "failed", "cancelled", "ended"}

    def short(self) -> str:
        """As `repr` says it, without times.

        Example:
            >>> JobFacts("a", "running", "default", 1, worker="default-0").short()
            "<Job 'a' running on default-0>"
        """
        return f"<Job {clipped(self.name)!r} {self._state()}>"

    def line(self) -> str:
        """As the text of its line says it.

        Example:
            >>> JobFacts("a", "failed", "default", 1, seconds=3.2, error="ValueError: no").line()
            "<Job 'a' failed after 3.2 s: ValueError: no>"
        """
        return f"<Job {clipped(self.name)!r} {self._said()}>"

    def line_html(self) -> str:
        """As its line shows it in a notebook.

        Example:
            >>> "&lt;b&gt;" in JobFacts("<b>", "queued", "default", 1).line_html()
            True
        """
        return marked_line(clipped(self.name), Marked(*self.look(), self._said()))

    def look(self) -> tuple[str, Tint]:
        """The shape of its state, and the colour of that."""
        return _LOOKS[self.state]

    def _state(self) -> str:
        match self.state:
            case "waiting":
                return f"waiting for {listed(self.waits_for)}"
            case "running":
                return f"running on {self.worker}" if self.worker else "running"
            case "failed":
                return f"failed: {self.error.partition(':')[0]}"
            case "ended":
                return "ended with the kernel"
        return self.state

    def _said(self) -> str:
        took = "" if self.seconds is None else in_time(self.seconds)
        match self.state:
            case "running" if took:
                return f"{self._state()} · {took}"
            case "done" if took:
                return f"done in {took}"
            case "failed":
                return f"failed{f' after {took}' if took else ''}: {self.error}"
            case "cancelled" if took:
                return f"cancelled after {took}"
        return self._state()


def clipped(text: str) -> str:
    """A name that is no longer than a line has room for.

    Example:
        >>> clipped("short"), len(clipped("x" * 100))
        ('short', 60)
    """
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, of many the first few.

    Example:
        >>> listed("ab"), listed("abcde")
        ('a, b', 'a, b, c and 2 more')
    """
    all_names = [clipped(each) for each in names]
    more = len(all_names) - _NAMED
    shown = ", ".join(all_names[:_NAMED])
    return shown if more <= 0 else f"{shown} and {more} more"
