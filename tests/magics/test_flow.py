"""What a cell is shown and what is held back, left out or counted: the bookkeeping, without a kernel."""

from __future__ import annotations

import json
import re
from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.magics.flow import HEAD, HOLD, TAIL, Bucket, Cell, Display, collapse, json_safe, sendable


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_cell(clock: Clock, total: int = 100 * HEAD) -> Cell:
    return Cell({}, clock, Bucket(total, 0, clock))


def taken(cell: Cell) -> list[tuple[str, str]]:
    """What leaves the cell: a stream's name and its text, or a display's kind and its plain text."""
    left = []
    for kind, content, _ in cell.take():
        data = content.get("data")
        if kind == "stream":
            left.append((str(content["name"]), str(content["text"])))
        else:
            left.append((kind, str(data.get("text/plain", "")) if isinstance(data, dict) else ""))
    return left


def screen(text: str) -> list[str]:
    """The lines that a front end draws, each return going back to the line's start."""
    lines = []
    for line in text.split("\n"):
        drawn = ""
        for redraw in line.split("\r"):
            drawn = redraw + drawn[len(redraw) :]
        lines.append(drawn)
    return lines


@given(st.text("ab\r\n", max_size=60))
def test_collapsing_redraws_changes_nothing_that_is_seen(text: str) -> None:
    collapsed = collapse(text)
    assert screen(collapsed) == screen(text)
    assert len(collapsed) <= len(text)


@given(st.lists(st.text("ab\r\n", max_size=20), max_size=8))
def test_text_that_comes_in_pieces_is_seen_as_if_it_came_in_one(pieces: list[str]) -> None:
    cell = a_cell(Clock())
    for piece in pieces:
        cell.add_text("stdout", piece)
    shown = "".join(text for _, text in taken(cell))
    assert screen(shown) == screen("".join(pieces))


def test_a_shorter_redraw_keeps_what_shows_behind_it() -> None:
    assert collapse("\rlonger\rshort") == "\rlonger\rshort"


def test_colours_take_no_room_when_redraws_are_compared() -> None:
    assert collapse("\r\x1b[31mabcd\x1b[0m\rabcd") == "\rabcd"
    assert collapse("\rabcd\r\x1b[31mab\x1b[0m") == "\rabcd\r\x1b[31mab\x1b[0m"


def test_windows_line_ends_stay() -> None:
    assert collapse("one\r\ntwo\r\n") == "one\r\ntwo\r\n"


def test_neighbouring_text_is_one_message_for_each_stream() -> None:
    cell = a_cell(Clock())
    for number in range(5):
        cell.add_text("stdout", f"{number}")
        cell.add_text("stderr", f"e{number}")
    assert taken(cell) == [("stdout", "01234"), ("stderr", "e0e1e2e3e4")]


def test_a_display_divides_the_text_before_it_from_the_text_after_it() -> None:
    cell = a_cell(Clock())
    cell.add_text("stdout", "before")
    cell.add_display(Display.of({"type": "display_data", "data": {}}))
    cell.add_text("stdout", "after")
    assert taken(cell) == [("stdout", "before"), ("display_data", ""), ("stdout", "after")]


def test_of_many_updates_of_one_display_the_last_counts() -> None:
    cell = a_cell(Clock())
    for number in range(100):
        for name in ("left", "right"):
            cell.add_display(
                Display.of(
                    {
                        "type": "update_display_data",
                        "data": {"text/plain": f"{name} {number}"},
                        "transient": {"display_id": name},
                    }
                )
            )
    assert taken(cell) == [("update_display_data", "left 99"), ("update_display_data", "right 99")]


def test_clearing_drops_what_nobody_has_seen_yet_but_no_update_of_another_display() -> None:
    cell = a_cell(Clock())
    cell.add_text("stdout", "gone")
    cell.add_display(Display.of({"type": "display_data", "data": {}}))
    cell.add_display(
        Display.of({"type": "update_display_data", "data": {}, "transient": {"display_id": "x"}})
    )
    cell.add_display(Display.of({"type": "clear_output", "wait": True}))
    cell.add_text("stdout", "here")
    assert taken(cell) == [("update_display_data", ""), ("clear_output", ""), ("stdout", "here")]


def test_more_displays_than_can_be_held_are_counted_and_said() -> None:
    cell = a_cell(Clock())
    for _ in range(1_500):
        cell.add_display(Display.of({"type": "display_data", "data": {"text/plain": "x"}}))
    shown = taken(cell)
    assert shown[-1] == ("stdout", "[1,000 displays left out: too many at once]\n")
    assert shown[:-1] == [("display_data", "x")] * 500


def test_big_displays_are_held_by_their_bytes() -> None:
    cell = a_cell(Clock())
    for _ in range(100):
        cell.add_display(Display.of({"type": "display_data", "data": {"image/png": "x" * 1_000_000}}))
    assert 30 <= len(cell.held) <= 40


def with_counts(shown: str) -> tuple[int, int]:
    """Bytes of a stream that are shown, and bytes that its notes say were left out."""
    notes = re.compile(r"\[([\d,]+) bytes of stdout left out; write to a file to keep all\]\n")
    counted = sum(int(each.replace(",", "")) for each in notes.findall(shown))
    return len(notes.sub("", shown).encode()), counted


@given(st.lists(st.integers(1, 3 * TAIL), min_size=1, max_size=60), st.sampled_from(["x", "é", "\U0001f40d"]))
def test_what_is_shown_and_what_is_counted_make_up_all_that_was_printed(
    sizes: list[int], letter: str
) -> None:
    cell, printed = a_cell(Clock()), ""
    for size in sizes:
        line = letter * size + "\n"
        cell.add_text("stdout", line)
        printed += line
    cell.release_all()
    shown = "".join(text for _, text in taken(cell))
    seen, counted = with_counts(shown)
    # A note that would begin in the middle of a line brings one line end of its own.
    assert seen + counted - len(printed.encode()) in {0, 1}
    assert seen <= HEAD + TAIL + 1
    assert shown.endswith(printed[-1000:])


def test_a_flood_is_held_in_bounded_memory() -> None:
    cell = a_cell(Clock())
    for _ in range(2_000):
        cell.add_text("stdout", "é" * 5_000)
    flow = cell._flows["stdout"]
    assert sum(len(part.encode()) for part in flow.tail) < TAIL + 10_001
    assert cell.held[0].size <= HEAD


def test_one_huge_line_shows_its_start_and_its_end() -> None:
    cell = a_cell(Clock())
    cell.add_text("stdout", "<" + "é" * HEAD + ">")
    cell.release_all()
    [(_, shown)] = taken(cell)
    head, _, rest = shown.partition("\n")
    assert head == "<" + "é" * ((HEAD - 1) // 2)
    assert sum(with_counts(shown)) == len(("<" + "é" * HEAD + ">").encode()) + len("\n")
    assert rest.endswith("é>")


def test_a_stream_that_is_flooded_leaves_the_other_as_it_is() -> None:
    cell = a_cell(Clock())
    cell.add_text("stdout", "x" * (2 * HEAD))
    cell.add_text("stderr", "a warning\n")
    assert ("stderr", "a warning\n") in taken(cell)


def test_a_flood_that_goes_on_is_shown_its_tail_now_and_then() -> None:
    clock = Clock()
    cell = a_cell(clock)
    cell.add_text("stdout", "x\n" * HEAD)
    taken(cell)
    for _ in range(5):
        cell.add_text("stdout", "more\n" * TAIL)
        cell.release_calm()
        assert taken(cell) == []
    clock.now += HOLD
    cell.add_text("stdout", "latest\n")
    cell.release_calm()
    [(_, shown)] = taken(cell)
    assert "left out" in shown
    assert shown.endswith("latest\n")


def test_a_flood_that_stops_shows_its_tail_though_its_request_goes_on() -> None:
    clock = Clock()
    cell = a_cell(clock)
    cell.add_text("stdout", "x\n" * HEAD)
    cell.release_calm()
    clock.now += 1
    cell.release_calm()
    assert any("left out" in text for _, text in taken(cell))
    assert not cell.flooded


def test_a_little_more_than_may_be_shown_is_only_late() -> None:
    clock = Clock()
    cell = a_cell(clock)
    cell.add_text("stdout", "x" * HEAD + "\n")
    cell.add_text("stdout", "and a little more\n")
    cell.release_all()
    assert "".join(text for _, text in taken(cell)) == "x" * HEAD + "\nand a little more\n"


def test_a_display_in_a_flood_comes_after_the_text_that_was_before_it() -> None:
    cell = a_cell(Clock())
    cell.add_text("stdout", "x\n" * HEAD + "just before\n")
    cell.add_display(Display.of({"type": "display_data", "data": {}}))
    shown = taken(cell)
    assert shown[-1] == ("display_data", "")
    assert shown[-2][1].endswith("just before\n")


@given(st.text(st.characters(), max_size=40))
def test_any_string_can_be_sent_and_whole_ones_are_unchanged(text: str) -> None:
    sent = sendable(text)
    sent.encode()
    assert sendable("whole \U0001f40d é") == "whole \U0001f40d é"


def test_anything_in_a_bundle_becomes_json_as_ipython_has_it() -> None:
    class Odd:
        pass

    bundle = {
        "image/png": b"\x00\xff",
        "view": memoryview(b"ab"),
        "numbers": (np.int64(3), np.float32(0.5), True, None, float("inf")),
        "day": date(2024, 2, 29),
        "odd": Odd(),
        "items": range(3),
    }
    assert json.loads(json.dumps(json_safe(bundle), allow_nan=False)) == {
        "image/png": "AP8=",
        "view": "YWI=",
        "numbers": [3, 0.5, True, None, "inf"],
        "day": "2024-02-29",
        "odd": f"<{Odd.__qualname__}>",
        "items": [0, 1, 2],
    }
