from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.errors import describe
from snakepit_nb.errors.facts import Fact
from snakepit_nb.errors.page import LARGEST, render_html, render_notice_html
from snakepit_nb.errors.record import ArrayFacts, ErrorRecord, Frame, SyntaxFacts, TypeName
from snakepit_nb.errors.render import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    Cell = Callable[..., BaseException]
    Caught = Callable[[Callable[[], object]], BaseException]

ALLOWED: Final[dict[str, set[str]]] = {
    "b": {"style"},
    "details": {"open", "style"},
    "div": {"aria-label", "role", "style"},
    "mark": {"style"},
    "pre": {"style"},
    "span": {"aria-label", "role", "style"},
    "summary": {"style"},
    "table": {"aria-label", "style"},
    "tbody": set(),
    "td": {"style"},
    "th": {"scope", "style"},
    "thead": set(),
    "tr": {"style"},
    "u": set(),
}
HOSTILE: Final = (
    """<img src=x onerror=alert(1)>'" onclick="x" &lt;&#60; </pre></div><script>alert(2)</script>\x1b[31m\0"""
)


class Page(HTMLParser):
    """What a browser makes of a fragment, which has only the tags and attributes that are allowed."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.text = ""
        self.folded: list[str] = []
        self.marked: list[str] = []
        self._open: list[str] = []
        self.feed(fragment)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= ALLOWED[tag]
        styles = " ".join(value or "" for name, value in attrs if name == "style")
        assert re.fullmatch(r"[\w\s:;,.()#%-]*", styles)
        assert "url" not in styles
        self._open.append(tag)
        for kind, kept in (("summary", self.folded), ("mark", self.marked)):
            if tag == kind:
                kept.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        for kind, kept in (("summary", self.folded), ("mark", self.marked)):
            if kind in self._open:
                kept[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    handle_pi = unknown_decl = handle_comment


def page_of(error: BaseException, **options: object) -> Page:
    return Page(render_html(describe(error), **options))  # type: ignore[arg-type]


_text = st.text(st.characters(), max_size=30) | st.sampled_from(
    [HOSTILE, "<", "--->", "&amp;", "]]>", "<!--"]
)
_count = st.integers(-3, 10**6)
_frames = st.builds(
    Frame,
    file=_text,
    line=_count,
    function=_text,
    module=_text,
    source=_text,
    before=st.lists(_text, max_size=2).map(tuple),
    after=st.lists(_text, max_size=2).map(tuple),
    columns=st.none() | st.tuples(_count, _count),
    in_cell=st.booleans(),
    cell=st.none() | _count,
    skipped=_count,
)
_names = st.builds(TypeName, _text, _text)
_arrays = st.builds(ArrayFacts, _text, _text, st.lists(_count, max_size=3).map(tuple), _text, _text)


def _records(linked: st.SearchStrategy[ErrorRecord]) -> st.SearchStrategy[ErrorRecord]:
    return st.builds(
        ErrorRecord,
        type=_names,
        bases=st.just(()),
        message=_text,
        frames=st.lists(_frames, max_size=3).map(tuple),
        notes=st.lists(_text, max_size=2).map(tuple),
        cause=st.none() | linked,
        context=st.none() | linked,
        suppress_context=st.booleans(),
        members=st.just(()) | st.tuples(linked, linked),
        omitted=_count,
        library=_text,
        function=_text,
        syntax=st.none() | st.builds(SyntaxFacts, _text, _text, _count, _text, _count, _count, _count),
        arrays=st.lists(_arrays, max_size=2).map(tuple),
        worker_id=_text,
        pool=_text,
        request_id=st.none() | _count,
        command=_text,
    )


RECORDS = st.recursive(_records(st.nothing()), _records, max_leaves=4)
FACTS = st.dictionaries(_text, _text | _count | st.none() | st.lists(_text | _count, max_size=3).map(tuple))


@given(RECORDS, FACTS, st.none() | _text, st.booleans())
def test_whatever_a_record_holds_is_text(
    record: ErrorRecord,
    facts: dict[str, object],
    suggestion: str | None,
    ended: bool,  # noqa: FBT001 - Hypothesis gives it
) -> None:
    fragment = render_html(record, facts=facts, suggestion=suggestion, ended=ended)
    page = Page(fragment)
    message = (record.syntax and record.syntax.message) or record.message
    assert visible(message) in page.text
    assert visible(suggestion or "") in page.text
    # In a text in Markdown an empty line would end the HTML, and what follows would be markup.
    assert "\n" not in fragment
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", fragment)
    assert len(fragment.encode()) <= LARGEST


@given(_text, _text, st.lists(st.builds(Fact, _text, _text), max_size=3), _text)
def test_whatever_an_error_of_ours_says_is_text(
    title: str, sentence: str, facts: list[Fact], tail: str
) -> None:
    text = Page(render_notice_html(title, sentence, facts, tail)).text
    assert all(visible(each) in text for each in (title, sentence, tail.rstrip()))
    assert all(visible(name) in text and visible(told) in text for name, told in facts)


def test_the_failing_line_of_a_cell_has_a_sign_and_its_failing_part_is_underlined(cell: Cell) -> None:
    error = cell("a = 1\nb = 0\ny = 2 + a / b\n", number=7)
    fragment = render_html(describe(error))
    page = Page(fragment)
    assert page.marked == [" \N{BLACK RIGHT-POINTING TRIANGLE} 3 | y = 2 + a / b"]
    assert "<u>a / b</u></mark>" in fragment
    assert 'aria-label="the line that failed"' in fragment
    assert page.text.startswith(
        "ZeroDivisionError: division by zeroIn [7], line 3   1 | a = 1\n   2 | b = 0\n"
    )


def test_what_libraries_did_is_folded_and_what_the_cell_did_is_open(cell: Cell) -> None:
    page = page_of(cell("def f():\n    np.linalg.inv(np.zeros((2, 2)))\nf()", np=np))
    assert page.folded[0] == "2 steps in numpy"
    assert len(page.marked) == 2
    assert 'File "numpy/linalg/_linalg.py", line ' in page.text


def test_a_library_alone_is_open() -> None:
    frame = Frame("/venv/lib/python3.11/site-packages/numpy/a.py", 3, "f", "numpy.a", source="raise")
    record = ErrorRecord(TypeName("builtins", "ValueError"), (), "no", frames=(frame,))
    assert "<details open" in render_html(record)
    own = Frame("/home/me/project/mine.py", 3, "f", "mine", source="call()")
    fragment = render_html(replace(record, frames=(own, frame)))
    assert "<details open" not in fragment
    assert Page(fragment).folded[0] == "1 step in numpy"


def test_causes_and_members_are_folded_under_their_line(caught: Caught) -> None:
    def chained() -> None:
        try:
            int("x")
        except ValueError as first:
            message = "both"
            raise ExceptionGroup(message, [ValueError("one"), KeyError("two")]) from first

    def during() -> None:
        try:
            int("x")
        except ValueError:
            [].pop()

    folded = page_of(caught(chained)).folded
    assert folded[:2] == ["1 of 2: ValueError: one", "2 of 2: KeyError: 'two'"]
    assert folded[2] == "Caused by: ValueError: invalid literal for int() with base 10: 'x'"
    assert (
        "While handling: ValueError: invalid literal for int() with base 10: 'x'"
        in page_of(caught(during)).folded
    )


def test_facts_arrays_and_the_suggestion_are_told_in_tables() -> None:
    record = ErrorRecord(
        TypeName("builtins", "ValueError"),
        (),
        "no",
        arrays=(ArrayFacts("x", "numpy", (3, 4), "float64", "cpu"),),
        library="numpy",
        function="matmul",
        worker_id="w1",
        pool="a",
        request_id=7,
    )
    page = Page(render_html(record, facts={"sizes": (4, 5), "asked_bytes": 3_000_000}, suggestion="try `.T`"))
    told = "sizes4, 5asked3.0 MBraised bynumpy.matmulran inworker w1 of pool a, request 7"
    assert f"{told}arrayshapedtypedevicelibraryx(3, 4)float64cpunumpyTry: try `.T`" in page.text


def test_what_the_errors_own_lines_tell_is_left_to_them(cell: Cell) -> None:
    record = describe(cell("raise ValueError('no way')", number=3))
    shown, _, plain = Page(render_html(record, suggestion="yes", ended=True)).text.partition("Plain text")
    assert "no way" not in shown.replace("raise ValueError('no way')", "")
    assert "Try: " not in shown
    assert "ValueError: no way\n\nTry: yes" in plain


def test_the_plain_text_is_there_to_be_copied_and_one_click_selects_it(cell: Cell) -> None:
    fragment = render_html(describe(cell("raise ValueError('no')", number=3)))
    *_, block = re.findall(r'<pre style="([^"]*)">([^<]*)</pre>', fragment)
    assert "user-select:all" in block[0]
    assert block[1].endswith("ValueError: no")
    assert "In [3], line 1" in block[1]


def test_a_syntax_error_points_at_its_place(caught: Caught) -> None:
    page = page_of(caught(lambda: compile("if True:\n    x = 1 +* 2\n", "<In [4]>", "exec")))
    assert page.marked == [" \N{BLACK RIGHT-POINTING TRIANGLE} 2 |     x = 1 +* 2"]
    assert "SyntaxError: invalid syntax" in page.text


def test_the_size_is_bounded_and_what_is_left_out_is_counted() -> None:
    nasty = "<'\x1b\u202e&" * 400
    frames = tuple(
        Frame(f"<In [{n}]>", n, nasty, "m", nasty, (nasty, nasty), (nasty,), (0, 9), in_cell=True, cell=n)
        for n in range(60)
    )
    error = TypeName("builtins", "ValueError")
    part = ErrorRecord(error, (), nasty, frames=frames, notes=(nasty,) * 99, library=nasty, function=nasty)
    whole = replace(
        part, cause=replace(part, cause=part), members=(replace(part, frames=frames[:2]),) * 20, omitted=7
    )
    arrays = (ArrayFacts(nasty, nasty, tuple(range(10_000)), nasty, nasty),) * 500
    facts: dict[str, object] = {f"{nasty}{n}": (nasty,) * 50 for n in range(500)}
    fragment = render_html(
        replace(whole, arrays=arrays, worker_id=nasty, pool=nasty), facts=facts, suggestion=nasty
    )
    assert len(fragment.encode()) <= LARGEST
    text = Page(fragment).text
    for left_out in ("steps left out", "more notes", "more members", "more exceptions", "more arrays"):
        assert left_out in text, left_out
    assert "characters left out" in text


def test_a_long_message_shows_both_its_ends() -> None:
    record = ErrorRecord(TypeName("builtins", "ValueError"), (), f"first{'x' * 1_000_000}last")
    text = Page(render_html(record)).text
    assert "ValueError: firstxxx" in text
    assert "xxxlast" in text
    assert "[... 992,009 characters left out ...]" in text


def test_the_end_of_a_workers_stderr_is_folded() -> None:
    page = Page(render_notice_html("WorkerCrashed", "it died", [Fact("signal", "SIGSEGV")], "<b>boom</b>\n"))
    assert page.folded[0] == "The end of its stderr"
    assert page.text.startswith("WorkerCrashed: it diedsignalSIGSEGVThe end of its stderr<b>boom</b>")
