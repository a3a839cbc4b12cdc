"""The report that stays: small, text and never markup, readable without a kernel, whatever happened."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakepit_nb.dashboard.picture import as_svg
from snakepit_nb.dashboard.protocol import Kind, Outcome
from snakepit_nb.dashboard.report import LARGEST, as_html, as_text
from tests.dashboard.frames import NAN, Frames

if TYPE_CHECKING:
    from snakepit_nb.dashboard.snapshot import Frame

SVG: Final = "{http://www.w3.org/2000/svg}"
MARKUP: Final = "<img src=x onerror=alert(1)>&\"'</text><script>alert(2)</script>"
ALLOWED: Final = {"div", "p", "b", "img", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
ATTRIBUTES: Final = {"style", "alt", "src", "width"}


class Page(HTMLParser):
    """What a page is made of; its tags must close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.cells: list[list[str]] = []
        self.folds: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")
        if tag == "summary":
            self.folds.append("")
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] in (["td"], ["th"]):
            self.cells[-1][-1] += data
        if self._open[-1:] == ["summary"]:
            self.folds[-1] += data

    def attribute(self, name: str) -> str:
        return next(value for each, value in self.attributes if each == name)

    def picture(self) -> ET.Element:
        head, _, data = self.attribute("src").partition(",")
        assert head == "data:image/svg+xml;base64"
        return ET.fromstring(base64.b64decode(data, validate=True))  # noqa: S314 - made two lines above


def check(frame: Frame) -> Page:
    """What holds for every report."""
    page = as_html(frame, title=MARKUP)
    assert len(page.encode()) <= LARGEST
    read = Page(page)
    assert set(read.tags) <= ALLOWED
    assert {name for name, _ in read.attributes} <= ATTRIBUTES
    styles = {value for name, value in read.attributes if name == "style"}
    assert styles <= {"text-align:left", "max-width:100%"}
    assert "\n\n" not in page
    sound(read.picture())
    as_text(frame).encode()
    return read


def sound(picture: ET.Element) -> None:
    """What holds for every picture: it draws, and does and fetches nothing."""
    names = {each.tag.removeprefix(SVG) for each in picture.iter()}
    assert names <= {"svg", "title", "style", "defs", "pattern", "path", "rect", "text"}
    for each in picture.iter():
        for name, value in each.attrib.items():
            assert not name.startswith("on")
            assert "href" not in name
            assert "nan" not in value.lower() or name == "aria-label", value
            assert "inf" not in value.lower(), value
        assert "//" not in (each.text or "") or each.tag in {f"{SVG}text", f"{SVG}title"}


def texts(picture: ET.Element, css: str = "") -> list[str]:
    return [
        each.text or ""
        for each in picture.iter(f"{SVG}text")
        if not css or css in (each.get("class") or "").split()
    ]


def rectangles(picture: ET.Element, css: str) -> list[tuple[float, float, float, float]]:
    """Where the rectangles of a class are, those of the legend left out: x, y, width, height."""
    found = []
    for each in picture.iter(f"{SVG}path"):
        if each.get("class") == css:
            for x, y, width, height in re.findall(
                r"M([-\d.]+) ([-\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z", each.get("d") or ""
            ):
                found.append((float(x), float(y), float(width), float(height)))
    return found


def picture(frames: Frames, **options: Any) -> ET.Element:
    return ET.fromstring(as_svg(frames.frame(), **options))  # noqa: S314 - made in this line


def busy() -> Frames:
    """A pool that ran, failed, crashed and was recycled."""
    frames = Frames(now=20.0)
    frames.row(Kind.POOL_STARTED, 0.0)
    frames.row(Kind.STARTED, 0.1, lane=1, life=1, extra=0.004)
    frames.row(Kind.STARTED, 0.1, lane=2, life=1, extra=0.004)
    frames.request(1.0, 2.0, lane=1, name="train", wait=0.5)
    frames.request(3.5, 1.0, lane=1, outcome=Outcome.ERROR, name="evaluate")
    frames.row(Kind.EXCEPTION, 4.5, lane=1, life=1, name="ValueError")
    frames.request(1.0, 6.0, lane=2, outcome=Outcome.CRASHED, name="explode")
    frames.row(Kind.CRASH, 7.0, lane=2, life=1, name="segfault")
    frames.row(Kind.TAINTED, 7.0, lane=2, life=1, dur=5.0, name="segfault")
    frames.row(Kind.RESTARTED, 12.0, lane=2, life=2)
    frames.row(Kind.STARTED, 12.0, lane=2, life=2, extra=0.003)
    frames.row(Kind.EXPORT, 1.0, lane=1, extra=8e9)
    frames.row(Kind.FALLBACK, 3.5, lane=1, extra=3e6, name="dtype")
    frames.row(Kind.RECYCLED, 15.0, lane=1, life=1, name="max_requests", extra=14.9)
    frames.request(13.0, 1.0, lane=2, life=2, name="again")
    frames.row(Kind.POOL_STOPPED, 19.0, name="shutdown")
    frames.samples = [(second, second % 3, 2.0, 5.0, 9.0, 12.0) for second in range(20)]
    frames.stats = [(second, 1, 100.0 + second, 50.0, NAN) for second in range(20)]
    return frames


def test_the_summary_tells_requests_workers_memory_and_latency() -> None:
    page = check(busy().frame())
    table = {row[0]: row[1] for row in page.cells if len(row) == 2}
    assert table["pool"] == "default, stopped (shutdown)"
    assert table["requests"] == "4: 2 ok, 1 error, 1 crashed"
    assert table["queue and run"].startswith("p50 1.8 s")
    assert table["memory"] == "8 GB shared without a copy, 3 MB copied"
    assert table["workers"] == "2 workers aimed at, 3 started, 1 recycled, 1 crash, 1 exception"


def test_folds_tell_lives_failures_the_slowest_and_markers() -> None:
    page = check(busy().frame())
    assert page.folds == ["3 worker lives", "Failures: 4", "The slowest 4 requests", "Markers: 11"]
    rows = {tuple(row) for row in page.cells}
    assert any(row[0] == "default-2 #1" and row[3:] == ("1", "1", "crash: segfault") for row in rows)
    assert any(row[0] == "default-1 #1" and row[3:] == ("2", "1", "max_requests") for row in rows)
    assert any(row[1:] == ("default-2", "crashed", "explode", "6 s") for row in rows)
    assert any(row[1:] == ("default-1", "copied instead of shared", "dtype", "3 MB") for row in rows)
    slowest = page.cells[page.cells.index(["time", "lane", "outcome", "name", "ran", "waited"]) + 1]
    assert slowest[3:5] == ["explode", "6 s"]


def test_the_picture_is_described_for_who_cannot_see_it() -> None:
    page = check(busy().frame())
    said = page.attribute("alt")
    assert said.startswith("Timeline of pool 'default' (stopped): 4 requests, 2 failed, ")
    assert page.picture()[0].text == said


def test_a_bar_is_as_long_as_its_request_and_stands_in_its_lane() -> None:
    drawn = picture(busy())
    train, again = sorted(rectangles(drawn, "o"))[-2:]
    assert train[2] == pytest.approx(again[2] * 2, rel=0.03)
    assert train[1] < again[1]


def test_what_failed_is_drawn_by_outcome_with_a_hatch_of_its_own() -> None:
    drawn = picture(busy())
    ((_, _, error, _),) = rectangles(drawn, "e")
    ((_, _, crashed, _),) = rectangles(drawn, "k")
    assert crashed == pytest.approx(error * 6, rel=0.03)
    hatches = {each.get("id") for each in drawn.iter(f"{SVG}pattern")}
    assert hatches == {"e", "t", "k", "x"}
    style = next(drawn.iter(f"{SVG}style")).text or ""
    assert ".e{fill:url(#e)}.t{fill:url(#t)}.k{fill:url(#k)}" in style


def test_the_legend_names_what_is_in_the_picture_and_nothing_else() -> None:
    words = texts(picture(busy()), "f")
    assert {
        "ok 2",
        "error 1",
        "crashed 1",
        "tainted",
        "crash 1",
        "worker recycled 1",
        "shared without a copy 1",
    } <= set(words)
    assert not [word for word in words if word.startswith(("timeout", "rejected", "saturated"))]


def test_charts_are_drawn_for_which_there_are_figures() -> None:
    assert {"waiting", "requests/s", "latency", "memory", "CPU"} <= set(texts(picture(busy()), "i"))
    assert "GPU memory" not in texts(picture(busy()))


def test_a_long_idle_stretch_is_cut_short_and_says_how_long_it_was() -> None:
    frames = Frames(now=7_210.0)
    frames.request(0.0, 4.0)
    frames.request(7_204.0, 4.0)
    drawn = picture(frames)
    assert "idle 2 h" in texts(drawn)
    first, second = rectangles(drawn, "o")[:2]
    assert first[2] == pytest.approx(second[2], abs=1)
    assert first[2] > 200


def test_markers_that_stand_close_become_one_with_their_number() -> None:
    frames = Frames(now=10.0)
    frames.request(0.0, 10.0)
    for number in range(40):
        frames.row(Kind.EXCEPTION, 5 + number * 0.001, lane=1, name="ValueError")
    assert texts(picture(frames), "k1") == ["40"]


def test_however_many_markers_there_are_none_is_lost() -> None:
    frames = Frames(workers=8, now=1_000.0)
    for number in range(5_000):
        frames.row(Kind.EXPORT, number / 5, lane=1 + number % 8, extra=1e6)
    drawn = picture(frames, largest=20_000)
    drawn_marks = [
        each.get("d") or "" for each in drawn.iter(f"{SVG}path") if (each.get("class") or "").startswith("m")
    ]
    single = sum(marks.count("M") for marks in drawn_marks) - 1  # the legend's
    counted = [int(number) for number in texts(drawn, "k1")]
    assert single - len(counted) + sum(counted) == 5_000


def test_overlapping_requests_of_a_thread_worker_are_drawn_below_each_other() -> None:
    frames = Frames(workers=1, now=10.0)
    for number in range(3):
        frames.request(1.0 + number / 10, 5.0)
    heights = {y for _, y, _, _ in rectangles(picture(frames), "o")[:3]}
    assert len(heights) == 3


def test_a_request_that_still_runs_reaches_to_now() -> None:
    frames = Frames(now=10.0, state="running")
    frames.request(0.0, 1.0)
    frames.open = [[7, 1, frames.text("train"), 1, 5.0, 0.0, 12]]
    drawn = picture(frames)
    x, _, width, _ = rectangles(drawn, "p")[0]
    assert x + width == pytest.approx(960 - 20, abs=2)


def test_what_is_known_by_sums_only_is_drawn_as_high_as_it_was_busy() -> None:
    frames = Frames(workers=1, now=20.0)
    frames.density = [(0.0, 10.0, 1.0, 500, 0, 1), (10.0, 10.0, 0.25, 100, 50, 1)]
    drawn = picture(frames)
    full, quarter = rectangles(drawn, "o")[:2]
    assert quarter[3] == pytest.approx(full[3] / 4, abs=0.6)
    assert rectangles(drawn, "e")


def test_the_ground_is_light_dark_or_left_to_the_reader() -> None:
    light, dark = as_svg(busy().frame()), as_svg(busy().frame(), dark=True)
    either = as_svg(busy().frame(), dark=None)
    assert "#fbfcfd" in light
    assert "#171b21" not in light
    assert "#171b21" in dark
    assert "#fbfcfd" not in dark
    assert "@media(prefers-color-scheme:dark){.g{fill:#171b21" in either


def test_hostile_texts_are_texts_and_cut() -> None:
    frames = Frames(pool=MARKUP, labels=[MARKUP, "x" * 10_000_000])
    hostile = "\x1b[31m\u202egnp.exe\ufffe\ud800" + MARKUP + "y" * 10_000_000
    frames.request(1.0, 8.0, outcome=Outcome.ERROR, name=hostile)
    frames.request(1.0, 8.0, lane=2, name=MARKUP * 100)
    frames.row(Kind.CELL, 0.0, dur=9.0, name=hostile)
    frames.summary = {"reason": hostile, "state": MARKUP}
    page = check(frames.frame())
    assert any("\\x1b[31m\\u202egnp.exe" in cell for row in page.cells for cell in row)
    assert "script" not in page.tags
    assert len(as_text(frames.frame())) < 4_000


def test_an_empty_frame_is_a_picture_and_a_table() -> None:
    page = check(Frames(now=0.0).frame())
    assert page.folds == []
    assert check(({}, [])).cells[0] == ["pool", "?, "]


def test_the_largest_history_is_small_and_its_failures_are_seen() -> None:
    many = 100_000
    generator = np.random.default_rng(7)
    frames = Frames(workers=16, now=1_000.0)
    begins = np.sort(generator.random(many)) * 990
    durations = generator.exponential(0.05, many)
    name = frames.text("work")
    for number in range(many):
        kind = Kind.REQUEST if number % 10 else generator.integers(1, 27)
        outcome = Outcome.OK if number % 7 else Outcome(2 + number % 4)
        lane = 1 + number % 16
        frames.rows.append(
            (begins[number], durations[number], 0.01, number, lane, name, 1 + number % 50, int(kind), outcome)
        )
    page = check(frames.frame())
    assert rectangles(page.picture(), "e")


HOSTILE = st.text(max_size=30) | st.sampled_from([MARKUP, "\x00\x1b\u202e\ufffe", "\ud800"])
NUMBER = st.floats(width=32) | st.floats(0, 100, width=32)
ROW = st.tuples(
    st.floats() | st.floats(-5, 100),
    NUMBER,
    NUMBER,
    st.integers(0, 2**32 - 1),
    st.integers(0, 40) | st.integers(0, 2**16 - 1),
    st.integers(0, 8),
    st.integers(0, 2**16 - 1),
    st.sampled_from([int(kind) for kind in Kind]),
    st.sampled_from([int(outcome) for outcome in Outcome]),
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROW, max_size=60),
    times=st.integers(1, 300),
    density=st.lists(
        st.tuples(st.floats(), NUMBER, NUMBER, *[st.integers(0, 2**32 - 1)] * 2, st.integers(0, 40)),
        max_size=10,
    ),
    figures=st.lists(st.tuples(*[st.floats()] * 6), max_size=10),
    strings=st.lists(HOSTILE, max_size=8),
    labels=st.lists(HOSTILE, min_size=1, max_size=60),
    now=st.floats() | st.floats(0, 1e6),
    origin=st.floats(allow_nan=False) | st.just(1.79e9),
)
def test_any_frame_becomes_a_sound_and_small_report(  # noqa: PLR0913, PLR0917 - what a frame is made of
    rows: list[tuple[Any, ...]],
    times: int,
    density: list[tuple[Any, ...]],
    figures: list[tuple[float, ...]],
    strings: list[str],
    labels: list[str],
    now: float,
    origin: float,
) -> None:
    frames = Frames(labels=labels, strings=list(strings), now=now, origin=origin / 1000)
    frames.rows = rows * times
    frames.density = density
    frames.samples = figures
    frames.stats = [each[:5] for each in figures]
    frames.open = [[1, 1, 0, 1, now, now, 1]]
    frames.summary = {"bytes_shared": now, "requests": {"ok": len(rows)}, "reason": labels[0]}
    with np.errstate(over="ignore"):  # of the columns that are made here
        frame = frames.frame()
    check(frame)


def test_a_worker_that_lives_on_has_lived_until_now() -> None:
    frames = Frames(now=60.0, state="running")
    frames.row(Kind.STARTED, 1.0, lane=1, life=1)
    frames.row(Kind.RECYCLED, 11.0, lane=1, life=1, name="manual")
    frames.row(Kind.STARTED, 12.0, lane=1, life=2)
    page = check(frames.frame())
    lived = {row[0]: row[2] for row in page.cells if row[0].startswith("default-1 #")}
    assert lived == {"default-1 #1": "10 s", "default-1 #2": "48 s"}


def test_spans_of_the_users_own_are_drawn_in_their_lane() -> None:
    frames = Frames(now=10.0)
    frames.row(Kind.USER, 2.0, lane=1, dur=5.0, name="app.epoch")
    drawn = picture(frames)
    assert rectangles(drawn, "u")
    assert "span of yours" in texts(drawn, "f")
