"""The last failures of a pool: what each was, kept as plain data until somebody asks for its page.

*Rule:* no exception is kept, nor anything that it holds: neither its frames nor the user's values.
*Rule:* it is kept on the way of every request that fails, so nothing is rendered before it is asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.facts import Fact, own_facts
from snakepit_nb.errors.page import render_html, render_notice_html
from snakepit_nb.errors.remote import RemoteError
from snakepit_nb.errors.render import render_notice, render_text
from snakepit_nb.wire.travel import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.errors.record import ErrorRecord

KEPT: Final = 64
_LONGEST: Final = 8_000  # characters of a message: as many as a page shows at most
_DEEPEST: Final = 8
_MEMBERS: Final = 16


@dataclass(frozen=True, slots=True)
class Failure:
    """How one request failed.

    Attributes:
        title: The name of the error's type.
        sentence: What it says.
        record: What is known of what the user's code raised; None where an error of ours is all there is.
        facts: What the table of rules read from it, or the error's own attributes.
        suggestion: What to try.
        tail: The end of what the worker wrote to its stderr.
    """

    title: str
    sentence: str
    record: ErrorRecord | None = None
    facts: Mapping[str, object] | tuple[Fact, ...] = ()
    suggestion: str | None = None
    tail: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What is worth keeping of an error.

        Example:
            >>> Failure.of(ValueError("no")).sentence
            'no'
        """
        if isinstance(error, RemoteError):
            record = _cut(error.record)
            facts = dict(error.facts)
            return cls(record.type_name, record.message, record, facts, error.suggestion)
        tail = str(getattr(error, "stderr_tail", ""))[-_LONGEST:]
        known = tuple(own_facts(error))
        return cls(type(error).__name__, describe(error)[:_LONGEST], facts=known, tail=tail)

    def html(self) -> str:
        """The page of it, as below its cell; every text in it is escaped.

        Example:
            >>> "&lt;b&gt;" in Failure("ValueError", "<b>").html()
            True
        """
        if self.record is not None and not isinstance(self.facts, tuple):
            return render_html(self.record, facts=self.facts, suggestion=self.suggestion)
        return render_notice_html(self.title, self.sentence, self._own(), self.tail)

    def text(self) -> str:
        """The same as text.

        Example:
            >>> "no" in Failure("ValueError", "no").text()
            True
        """
        if self.record is not None and not isinstance(self.facts, tuple):
            return render_text(self.record, colour=False, facts=self.facts, suggestion=self.suggestion)
        return render_notice(self.title, self.sentence, self.tail, colour=False)

    def _own(self) -> tuple[Fact, ...]:
        return self.facts if isinstance(self.facts, tuple) else ()


class Failures:
    """The last failures, by the numbers of their requests.

    Args:
        kept: How many are kept.

    Example:
        >>> failures = Failures(kept=1)
        >>> failures.keep(1, ValueError("first")); failures.keep(2, ValueError("second"))
        >>> failures.get(1), failures.get(2).sentence
        (None, 'second')
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        # Reentrant: a finaliser may end another request while its thread is in here.
        self._lock = threading.RLock()
        self._by_number: OrderedDict[int, Failure] = OrderedDict()

    def keep(self, number: int, error: BaseException) -> None:
        """Keep how a request failed; the oldest goes where there are too many."""
        failure = Failure.of(error)
        with self._lock:
            self._by_number[number] = failure
            while len(self._by_number) > self._kept:
                self._by_number.popitem(last=False)

    def get(self, number: int) -> Failure | None:
        """How a request failed; None where it did not, or nobody remembers."""
        with self._lock:
            return self._by_number.get(number)


def _cut(record: ErrorRecord, depth: int = 0) -> ErrorRecord:
    """The record without what no page shows of it: messages of megabytes, causes without end."""
    cause, context, members = record.cause, record.context, record.members
    if depth == _DEEPEST:
        return replace(record, message=record.message[:_LONGEST], cause=None, context=None, members=())
    return replace(
        record,
        message=record.message[:_LONGEST],
        notes=tuple(note[:_LONGEST] for note in record.notes[:_MEMBERS]),
        cause=None if cause is None else _cut(cause, depth + 1),
        context=None if context is None else _cut(context, depth + 1),
        members=tuple(_cut(each, depth + 1) for each in members[:_MEMBERS]),
        omitted=record.omitted + max(0, len(members) - _MEMBERS),
    )
