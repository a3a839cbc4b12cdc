"""What users' tests are given: captured events, assertions with good messages, events fired by hand."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final
from unittest.mock import ANY

import pytest

from snakepit_nb import events, telemetry, testing

PAGE: Final = Path(__file__).parent.parent / "docs" / "testing.md"


def test_only_the_asked_for_events_are_captured_and_only_inside_the_block() -> None:
    telemetry.execute("app.job.done")
    with testing.capture_events("app.job", "web.request.stop") as captured:
        for name in ("app.job.start", "app.other", "web.request.start", "web.request.stop"):
            telemetry.execute(name)
    telemetry.execute("app.job.done")
    assert captured.names() == ["app.job.start", "web.request.stop"]


def test_without_names_everything_is_captured() -> None:
    with testing.capture_events() as captured:
        telemetry.execute("app.job")
        telemetry.execute("web.request")
    assert captured.names() == ["app.job", "web.request"]


def test_an_event_that_several_of_the_names_cover_is_captured_once() -> None:
    with testing.capture_events("app", "app.job", ("app", "job", "done"), "app.jobs") as captured:
        telemetry.execute("app.job.done")
    assert captured.names() == ["app.job.done"]


def test_captures_may_be_nested_and_leave_no_handler_behind_even_after_an_exception() -> None:
    before = telemetry.list_handlers()
    inner = testing.capture_events("app")

    def body() -> None:
        with inner:
            telemetry.execute("app.job")
            raise LookupError

    with testing.capture_events("app") as outer:
        with pytest.raises(LookupError):
            body()
        telemetry.execute("app.job")
    assert (len(inner), len(outer)) == (1, 2)
    assert telemetry.list_handlers() == before


def test_captured_events_are_a_sequence() -> None:
    with testing.capture_events("app") as captured:
        for n in range(3):
            telemetry.execute("app.job", {"n": n})
        assert [event.measurements["n"] for event in captured] == [0, 1, 2]
        assert captured[-1].measurements == {"count": 1, "n": 2}
        assert [event.measurements["n"] for event in captured[1:]] == [1, 2]
        assert len(captured.named("app.job")) == 3
        assert captured.named(("app", "other")) == []
        captured.clear()
        assert len(captured) == 0


def test_waiting_is_over_as_soon_as_another_thread_has_emitted_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captured = testing.capture_events("app")
    waiting = threading.Event()
    wait = captured._changed.wait  # replaced below: only so the events surely come after the wait has begun

    def tell_and_wait(timeout: float | None = None) -> bool:
        waiting.set()
        return wait(timeout)

    def emit() -> None:
        waiting.wait()
        for n in range(4):
            telemetry.execute("app.job", {}, {"even": n % 2 == 0, "n": n})

    monkeypatch.setattr(captured._changed, "wait", tell_and_wait)
    with captured:
        thread = threading.Thread(target=emit)
        thread.start()
        found = captured.wait_for("app.job", count=2, timeout=10_000, even=True)
        thread.join()
    assert [event.metadata["n"] for event in found][:2] == [0, 2]


def test_waiting_in_vain_says_what_was_awaited_and_what_was_seen() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.job", {"rows": 3}, {"job": "import"})
        with pytest.raises(AssertionError) as failure:
            captured.wait_for("app.job", count=2, timeout=0, rows=3)
    assert str(failure.value) == (
        "expected 2 app.job rows=3 within 0 s, got 1; captured: app.job count=1 rows=3 job='import'"
    )


def test_waiting_after_the_block_does_not_wait_for_what_cannot_come() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.job")
    assert len(captured.wait_for("app.job")) == 1
    with pytest.raises(AssertionError, match=r"before capturing ended.*captured: app\.job"):
        captured.wait_for("app.other", timeout=10_000)


def test_assert_event_returns_the_first_that_fits_by_metadata_or_measurement() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.job", {"rows": 1}, {"name": "a"})
        telemetry.execute("app.job", {"rows": 2}, {"name": "b"})
    assert testing.assert_event(captured, "app.job") is captured[0]
    assert testing.assert_event(captured, "app.job", name="b") is captured[1]
    assert testing.assert_event(captured, "app.job", rows=2) is captured[1]


def test_a_fact_may_be_anything_that_knows_what_it_equals() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.job", {"seconds": 0.3}, {"name": "a"})
    assert testing.assert_event(captured, "app.job", seconds=pytest.approx(0.3), name=ANY) is captured[0]
    with pytest.raises(AssertionError, match="missing"):
        testing.assert_event(captured, "app.job", missing=ANY)


def test_assert_no_event_shows_those_that_there_are() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.job", {"rows": 1}, {"name": "a"})
        telemetry.execute("app.job", {"rows": 2}, {"name": "a"})
        telemetry.execute("app.job", {"rows": 3}, {"name": "b"})
    testing.assert_no_event(captured, "app.job", name="c")
    testing.assert_no_event(captured, "app.jobs")
    testing.assert_no_event([], "app.job")
    with pytest.raises(AssertionError) as failure:
        testing.assert_no_event(captured, "app.job", name="a")
    assert str(failure.value) == (
        "expected no app.job name='a', "
        "captured: app.job count=1 rows=1 name='a'; app.job count=1 rows=2 name='a'"
    )


def test_the_order_of_events_is_what_counts_and_not_what_is_between_them() -> None:
    with testing.capture_events("app") as captured:
        for name in ("app.start", "app.step", "app.step", "app.stop"):
            telemetry.execute(name)
    found = testing.assert_in_order(captured, "app.start", ("app", "step"), "app.step", "app.stop")
    assert found == list(captured)
    assert testing.assert_in_order(captured, "app.stop") == [captured[-1]]
    assert testing.assert_in_order([]) == []


def test_a_wrong_order_is_told_with_the_one_there_was() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.stop", {}, {"n": 1})
        telemetry.execute("app.start")
    with pytest.raises(AssertionError) as failure:
        testing.assert_in_order(captured, "app.stop", "app.stop")
    assert str(failure.value) == (
        "expected app.stop after app.stop count=1 n=1, captured in this order: app.stop, app.start"
    )
    with pytest.raises(AssertionError, match=r"expected app\.step, captured in this order: nothing"):
        testing.assert_in_order([], "app.step")


def test_many_threads_may_emit_while_one_looks_and_none_of_their_events_is_lost() -> None:
    each, threads = 200, 4

    def emit(who: int) -> None:
        for n in range(each):
            telemetry.execute("app.job", {"n": n}, {"who": who})

    with testing.capture_events("app") as captured:
        started = [threading.Thread(target=emit, args=(who,)) for who in range(threads)]
        for thread in started:
            thread.start()
        while any(thread.is_alive() for thread in started):
            assert repr(captured).startswith("<Captured ")
            assert [event.name for event in captured if event.name != ("app", "job")] == []
        found = captured.wait_for("app.job", count=each * threads)
    for who in range(threads):
        assert [event.measurements["n"] for event in found if event.metadata["who"] == who] == list(
            range(each)
        )


def test_assert_event_shows_the_near_ones_when_it_fails() -> None:
    with testing.capture_events("app") as captured:
        telemetry.execute("app.job", {}, {"name": "a"})
        telemetry.execute("app.other")
    with pytest.raises(AssertionError) as failure:
        testing.assert_event(captured, "app.job", name="b", missing=None)
    assert str(failure.value) == "expected app.job name='b' missing=None, captured: app.job count=1 name='a'"
    with pytest.raises(AssertionError, match=r"captured: app\.job count=1 name='a'; app\.other count=1"):
        testing.assert_event(captured, "app.third")
    with pytest.raises(AssertionError, match="captured: nothing"):
        testing.assert_event([], "app.job")


def test_a_synthetic_event_is_marked_and_otherwise_like_a_real_one() -> None:
    metadata: dict[str, object] = {
        "worker_id": "test_worker",
        "pool": "test_pool",
        "reason": "manual",
        "uptime_seconds": 100,
        "request_count": 50,
    }
    with testing.capture_events("snakepit.worker.recycled") as captured:
        testing.synthetic(events.WORKER_RECYCLED, {}, metadata)
    (event,) = captured
    assert event.metadata["synthetic"] is True
    assert events.check(event.name, event.measurements, event.metadata) == []
    assert "synthetic" not in metadata


def test_a_synthetic_event_with_a_wrong_name_is_refused_and_fires_nothing() -> None:
    with testing.capture_events() as captured:
        with pytest.raises(events.UnknownEvent, match=r"snakepit\.worker\.recycled"):
            testing.synthetic("snakepit.worker.recycle")
        testing.synthetic("app.anything")
    assert captured.names() == ["app.anything"]


def test_a_synthetic_event_of_ours_has_keys_and_values_that_it_can_have() -> None:
    with testing.capture_events() as captured:
        with pytest.raises(ValueError, match=r"'resaon' of snakepit\.worker\.recycled: no such key"):
            testing.synthetic(events.WORKER_RECYCLED, {}, {"resaon": "manual"})
        with pytest.raises(ValueError, match=r"expected 'ttl_expired' or .*, got 'boredom'"):
            testing.synthetic(events.WORKER_RECYCLED, {}, {"reason": "boredom"})
        with pytest.raises(ValueError, match=r"measurement 'queue_size' .*: expected int, got 'many'"):
            testing.synthetic(events.POOL_SATURATED, {"queue_size": "many"})  # type: ignore[dict-item]
    assert len(captured) == 0


def test_the_tests_on_the_page_about_testing_pass_and_one_that_is_wrong_would_not(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    code = "\n\n".join(block for block in blocks if not block.startswith("%"))
    wrong = "def test_wrong(captured):\n    assert_event(captured, 'app.never')\n"
    (tmp_path / "test_page.py").write_text(f"{code}\n\n{wrong}", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    count = code.count("\ndef test_")
    assert count >= 5
    assert f"1 failed, {count} passed" in done.stdout, done.stdout + done.stderr
    assert "expected app.never, captured: nothing" in done.stdout
    # What is shown is the line of the test.
    assert "testing.py" not in done.stdout
