"""The soak runs, all adds up, and where something does not, it says so."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from snakepit_nb import WorkerCrashed, events

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parent.parent
CRASH: Final = WorkerCrashed(worker_id="p-0", pool="p", classification="exit", exit_code=3)


def test_a_few_seconds_of_everything_add_up() -> None:
    done = subprocess.run(
        [sys.executable, "tools/soak.py", "--minutes", "0.1", "--seed", "7", "--workers", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all adds up, and nothing grew" in done.stdout
    for row in ("requests", "  cancelled", "  crashed", "worker.recycled", "session.lost", "retry.attempt"):
        assert f"\n{row} " in done.stdout


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Empty books."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import soak_books

    notes = tmp_path / "notes"
    notes.touch()
    return soak_books.Books(notes)


def ticket(books: Any, number: int, value: object = None, error: BaseException | None = None) -> None:
    """A call that ended so for its caller."""
    import soak_books

    future: Any = Future()
    future.request_id = number
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
    may = frozenset({"ok", "crashed"})
    books.judge(soak_books.Ticket(number, "call", may, lambda got: got == 1, future))


def ran(books: Any, *numbers: int) -> None:
    """What the calls themselves said."""
    books.notes.write_bytes(b"".join(number.to_bytes(4, "little") for number in numbers))


def told(books: Any, number: int, outcome: str) -> None:
    """What the bus said."""
    facts = {
        "pool": "p",
        "worker_id": "p-0",
        "command": "call",
        "success": outcome == "ok",
        "outcome": outcome,
        "request_id": number,
    }
    books.hear(events.REQUEST_EXECUTED, {"duration_us": 1, "queue_us": 1}, facts, None)


def test_books_in_which_all_agree_have_no_faults(books: Any) -> None:
    ticket(books, 1, value=1)
    told(books, 1, "ok")
    ran(books, 1)
    assert dict(books.reckon(0)) == {"ok": 1}
    assert books.faults == []


def lost_event(books: Any) -> None:
    ticket(books, 1, value=1)
    ran(books, 1)


def another_end(books: Any) -> None:
    ticket(books, 1, value=1)
    told(books, 1, "error")
    ran(books, 1)


def twice(books: Any) -> None:
    ticket(books, 1, value=1)
    told(books, 1, "ok")
    ran(books, 1, 1)


def wrong(books: Any) -> None:
    ticket(books, 1, value=2)
    told(books, 1, "ok")
    ran(books, 1)


def unasked(books: Any) -> None:
    ran(books, 5)


def without_a_death(books: Any) -> None:
    ticket(books, 1, error=CRASH)
    told(books, 1, "crashed")
    ran(books, 1)


def of_no_kind(books: Any) -> None:
    ticket(books, 1, error=KeyError("of no kind"))
    told(books, 1, "error")
    ran(books, 1)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lost_event, "ran 1 times, events []"),
        (another_end, "ran 1 times, events ['error']"),
        (twice, "ran 2 times in 1 attempts"),
        (wrong, "a wrong result"),
        (unasked, "calls of 1 tickets ran of which nobody heard"),
        (without_a_death, "1 requests and 0 attempts were lost to a crash, in 0 crashes"),
        (of_no_kind, "may not end so"),
    ],
)
def test_what_disagrees_is_said(books: Any, what: Callable[[Any], None], said: str) -> None:
    what(books)
    books.reckon(0)
    (fault,) = books.faults
    assert said in fault
