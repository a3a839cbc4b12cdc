"""The rooms beneath: strings, rings, columns, samples, and who looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import events
from snakepit_nb.dashboard import history, packing
from snakepit_nb.dashboard.audience import Audience
from snakepit_nb.dashboard.history import History, Ring
from snakepit_nb.dashboard.lanes import Lanes
from snakepit_nb.dashboard.names import MANY, Names, clean
from snakepit_nb.dashboard.protocol import DENSITY_COLUMNS, ROW_COLUMNS
from snakepit_nb.dashboard.pulse import Pulse
from tests.dashboard.story import SECOND, Story

# Strings


@given(st.text())
def test_a_clean_text_is_one_short_printable_line(text: str) -> None:
    shown = clean(text * 50)
    assert len(shown) <= 200
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\u061c\x1b\x00\n\t\r")


def test_a_string_has_one_number_and_hostile_twins_share_it() -> None:
    names = Names()
    assert names("a\nb") == names("a\\nb") == names("a\nb") == 2
    assert names.texts[2:] == ["a\\nb"]


def test_a_full_dictionary_says_so_rather_than_grow() -> None:
    names = Names()
    numbers = [names(str(number)) for number in range(70_000)]
    assert max(numbers) < 0xFFFF
    assert names.texts[numbers[-1]] == "…"


def test_a_dictionary_that_is_begun_anew_keeps_what_is_in_use_the_newest_first() -> None:
    names = Names()
    numbers = [names(str(number)) for number in range(MANY)]
    renumbered = names.shorten(np.array(numbers[::-1], "<u2"), [numbers[0]])
    assert len(names.texts) < MANY
    assert names.texts[renumbered[numbers[0]]] == "0"
    assert names.texts[renumbered[numbers[-1]]] == str(MANY - 1)
    assert names.texts[renumbered[numbers[5]]] == "…"
    assert names(str(MANY - 1)) == renumbered[numbers[-1]]
    assert names("new") == len(names.texts) - 1


def test_a_pool_of_ever_new_commands_goes_on() -> None:
    story = Story()
    kept = History()
    story.sent(0, 0.0, command="the first")
    for number in range(1, MANY + 100):
        story.ended(number, 1.0, command=str(number))
    kept.keep(story.tick(2.0))
    renumbered = story.tracks.shorten(lambda: np.array([2], "<u2"))
    assert renumbered is not None
    ((_, _, name, *_),) = story.told()["open"]
    assert story.tracks.names.texts[name] == "the first"
    story.ended(0, 3.0, command="the first")
    assert [row.name for row in story.rows()] == ["the first"]
    assert story.tracks.shorten(lambda: np.array([2], "<u2")) is None


# Columns


@pytest.mark.parametrize("kind", packing.KINDS)
@given(data=st.data())
def test_what_is_packed_is_unpacked_to_the_same(kind: np.dtype[np.void], data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 9))
    size = rows * kind.itemsize
    table = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), kind)
    packed = packing.packed(table)
    assert packing.unpacked(packed, kind, rows).tobytes() == table.tobytes()


@given(st.integers(0, 33))
def test_each_column_of_a_buffer_is_aligned(rows: int) -> None:
    for columns in (ROW_COLUMNS, DENSITY_COLUMNS):
        at = 0
        for _, kind in columns:
            assert at % np.dtype(kind).itemsize == 0
            at += rows * np.dtype(kind).itemsize


def test_a_buffer_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="has 56 bytes, not 55"):
        packing.unpacked(bytes(55), packing.ROW, 2)


# Rings


@given(st.lists(st.integers(0, 30)), st.integers(1, 20), st.integers(0, 200))
def test_a_ring_has_the_last_rows_in_order(sizes: list[int], size: int, since: int) -> None:
    ring = Ring(packing.SAMPLE, size)
    told: list[int] = []
    for count in sizes:
        rows = np.zeros(count, packing.SAMPLE)
        rows["t"] = range(len(told), len(told) + count)
        told.extend(range(len(told), len(told) + count))
        ring.extend(rows)
        kept = told[max(0, len(told) - size) :]
        assert ring.total == len(told)
        assert ring.first == len(told) - len(kept)
        assert ring.since(since)["t"].tolist() == [number for number in kept if number >= since]


def _memory(ring: Ring) -> int:
    beneath = ring.since(0).base
    assert beneath is not None
    return beneath.nbytes


def test_a_ring_takes_no_more_memory_than_it_needs() -> None:
    ring = Ring(packing.ROW, history.BARS)
    ring.extend(np.zeros(10, packing.ROW))
    assert _memory(ring) < 100_000
    for _ in range(50):
        ring.extend(np.zeros(10_000, packing.ROW))
    assert _memory(ring) == 2 * history.BARS * packing.ROW.itemsize


def test_events_are_found_by_the_numbers_of_their_rows_until_they_are_forgotten() -> None:
    story = Story()
    kept = History(events=10)
    story.tell(events.WORKER_HEALTH_CHECK_FAILED, 0.5, worker_id="p-0", reason="timeout")
    for request in range(30):
        story.sent(request, 1.0)
        story.tell(events.REQUEST_QUEUED, 1.0, {"queue_size": 0}, pool="other", request_id=1, command="fit")
        story.ended(request, 2.0)
        if request % 7 == 0:
            kept.keep(story.tick(2.0))
    kept.keep(story.tick(3.0))
    found = kept.event(1)
    assert found is not None
    assert found[2] == {
        "pool": "p", "worker_id": "p-0", "reason": "timeout", "time_ns": 0, "monotonic_ns": SECOND // 2,
        "pid": 1,
    }  # fmt: skip
    assert kept.event(2) is None
    last = kept.event(91)
    assert last is not None
    assert (last[0], last[2]["request_id"]) == (events.REQUEST_EXECUTED, 29)
    assert kept.event(92) is None
    assert kept.event(0) is None
    told = kept.events("p")
    assert told[0][0] == events.WORKER_HEALTH_CHECK_FAILED
    assert 1 < len(told) <= 11
    assert {event[2]["pool"] for event in told} == {"p"}


# Samples


def test_a_flat_line_is_told_at_both_its_ends_only() -> None:
    pulse = Pulse(0)
    told = []
    for half in range(1, 41):
        if half == 3:
            pulse.latencies.extend([2000.0] * 10)
        told += pulse.beat(half * SECOND // 2, 0)[["t", "throughput", "p50"]].tolist()
    shown = [(t, throughput, None if math.isnan(p50) else p50) for t, throughput, p50 in told]
    assert shown == [
        (0.5, 0, None), (1.0, 0, None), (1.5, 20, 2.0), (2.0, 0, 2.0), (11.5, 0, 2.0), (12.0, 0, None),
    ]  # fmt: skip


@given(st.lists(st.lists(st.integers(0, 10_000_000), max_size=100), min_size=1, max_size=20))
def test_percentiles_are_those_of_the_last_seconds_in_milliseconds(halves: list[list[int]]) -> None:
    pulse = Pulse(0)
    pulse.latencies.extend([1e9] * 3)
    pulse.beat(SECOND, 0)
    told = []
    for at, latencies in enumerate(halves):
        pulse.latencies.extend(latencies)
        told += list(pulse.beat(12 * SECOND + at * SECOND // 2, 0))
    every = [each for latencies in halves for each in latencies]
    found = [told[-1]["p50"], told[-1]["p95"], told[-1]["p99"]]
    if every:
        assert found == [value / 1000 for value in np.percentile(every, (50, 95, 99), method="inverted_cdf")]
    else:
        assert np.isnan(found).all()


def test_of_a_flood_each_part_counts_for_as_many_as_it_had() -> None:
    pulse = Pulse(0)
    pulse.latencies.extend(range(1_000_000))
    (sample,) = pulse.beat(SECOND, 7)
    assert sample["throughput"] == 1_000_000
    assert sample["queue"] == 7
    assert [sample["p50"], sample["p99"]] == pytest.approx([500, 990], rel=0.01)
    pulse.latencies.extend([5e6] * 200)  # slow ones, and few of them
    (sample,) = pulse.beat(2 * SECOND, 0)
    assert sample["p99"] == pytest.approx(990, rel=0.01)


# Lanes


def test_lanes_and_workers_are_bounded() -> None:
    lanes = Lanes("p")
    for number in range(20_000):
        lanes.worker(f"p-{number}")
    assert len(lanes.all) == 4096
    assert len(lanes.workers) <= 4096
    assert lanes.worker("p-19999").place == 0
    assert lanes.worker("p-1").place == 2


# Who looks


def test_a_view_that_was_not_heard_gets_keyframes_ever_more_rarely_and_then_every_half_minute() -> None:
    audience = Audience(100.0)
    at = [tenth / 10 for tenth in range(1300) if audience.wants_keyframe(100.0 + tenth / 10)]
    assert at == [0.5, 1, 2, 4, 8, 16, 30, 60, 90, 120]
    assert audience.looks()


def test_a_view_that_is_heard_asks_for_itself() -> None:
    audience = Audience(0.0)
    audience.heard("a", 0.1)
    assert audience.looks()
    assert not audience.wants_keyframe(1000.0)


def test_a_view_that_is_displayed_later_is_taken_to_be_there_until_one_is_heard() -> None:
    audience = Audience(0.0)
    audience.visible("a", on=False, now=1.0)
    assert not audience.looks()
    audience.shown(50.0)
    assert audience.looks()
    assert audience.wants_keyframe(50.6)


def test_anybody_looks_while_one_view_is_visible() -> None:
    audience = Audience(0.0)
    audience.visible("a", on=True, now=1.0)
    audience.visible("b", on=False, now=1.0)
    assert audience.looks()
    audience.visible("a", on=False, now=2.0)
    assert not audience.looks()


def test_a_page_that_was_reloaded_is_not_taken_for_two() -> None:
    audience = Audience(0.0)
    audience.heard("before", 1.0)
    audience.heard("after", 2.0)
    audience.visible("after", on=False, now=3.0)
    assert audience.looks()  # the other may still be there
    audience.heard("after", 30.0)
    assert not audience.looks()


def test_while_nobody_is_heard_nobody_is_gone() -> None:
    audience = Audience(0.0)
    audience.heard("a", 1.0)
    audience.heard("b", 2.0)
    assert audience.looks()
    audience.heard("a", 10_000.0)
    assert audience.looks()


def test_views_are_bounded() -> None:
    audience = Audience(0.0)
    for number in range(1000):
        audience.heard(str(number), 1.0)
    assert len(audience._views) <= 64
