"""The lines of jobs: few messages, the last state of each among them, and no thread when nothing runs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.magics import joblines
from snakepit_nb.magics.jobfacts import JobFacts
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE = 60


class Page(output.ScriptSink):
    """A front end that shows displays by their ids."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        self.messages: list[tuple[float, str]] = []
        self.arrival = threading.Condition()

    def update(self, message: Mapping[str, Mapping[str, str]]) -> None:
        with self.arrival:
            display_id = message["transient"]["display_id"]
            self.shown[display_id] = message["data"]["text/plain"]
            self.messages.append((time.monotonic(), display_id))
            self.arrival.notify_all()

    def wait_until_all_say(self, end: str) -> None:
        with self.arrival:
            said = self.arrival.wait_for(
                lambda: all(text.endswith(end) for text in self.shown.values()), PATIENCE
            )
        assert said, self.shown


class Stub:
    """A job as a line sees it."""

    def __init__(self) -> None:
        self.over = False

    def facts(self) -> JobFacts:
        return JobFacts("stub", "done" if self.over else "queued", "default", 1)

    def end(self) -> None:
        self.over = True
        joblines.changed(self)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page()

    def display(data: Mapping[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        page.shown[display_id] = data["text/plain"]

    monkeypatch.setattr("IPython.display.display", display)
    output.set_sink(page)
    yield page
    output.set_sink(None)


def the_thread_is_gone() -> bool:
    for thread in threading.enumerate():
        if thread.name == "snakepit-jobs":
            thread.join(PATIENCE)
            return not thread.is_alive()
    return True


def test_each_line_ends_with_what_became_of_its_job_and_the_thread_ends_with_the_last(page: Page) -> None:
    jobs = [Stub() for _ in range(12)]
    for job in jobs:
        joblines.show(job)
    assert len(page.shown) == len(jobs)
    for job in jobs:
        job.end()
    page.wait_until_all_say("done>")
    assert max(Counter(display_id for _, display_id in page.messages).values()) == 1
    # Never more than a few at once, with a pause behind them.
    times = [at for at, _ in page.messages]
    for first, later in zip(times, times[joblines.AT_ONCE :], strict=False):
        assert later - first >= joblines.PAUSE * 0.5
    assert the_thread_is_gone()


def test_a_job_that_is_shown_again_has_one_line_in_two_places(page: Page) -> None:
    job = Stub()
    joblines.show(job)
    joblines.show(job)
    assert len(page.shown) == 1
    job.end()
    page.wait_until_all_say("done>")
    assert len(page.messages) == 1
    joblines.show(job)
    assert len(page.shown) == 1
    assert the_thread_is_gone()


def test_a_job_that_is_shown_nowhere_makes_no_message(page: Page) -> None:
    Stub().end()
    assert page.messages == []
    assert the_thread_is_gone()


def test_what_changed_is_said_before_the_cell_is_over(page: Page) -> None:
    job = Stub()
    joblines.show(job)
    job.end()
    joblines.flush()
    joblines.cell_begins()
    assert set(page.shown.values()) == {"<Job 'stub' done>"}
    assert the_thread_is_gone()


def test_what_ended_between_two_cells_is_said_again_when_the_next_one_begins(page: Page) -> None:
    job = Stub()
    joblines.show(job)
    joblines.flush()
    job.end()
    page.wait_until_all_say("done>")
    before = len(page.messages)
    joblines.cell_begins()
    joblines.flush()
    joblines.cell_begins()
    assert len(page.messages) == before + 1
    assert the_thread_is_gone()


def test_a_terminal_shows_the_plain_repr() -> None:
    with pytest.raises(NotImplementedError):
        joblines.show(Stub())
