"""What users' tests are given: captured events, assertions with good messages, events fired by hand."""

from __future__ import annotations

import threading

import pytest

from snakepit_nb import events, telemetry, testing


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
