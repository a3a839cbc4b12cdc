"""`%snakepit doctor` says what there is, and what to do about what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb import options
from snakepit_nb.arrays import native
from snakepit_nb.magics.doctor import Finding, Report, findings

if TYPE_CHECKING:
    import pytest


def found(what: str) -> Finding:
    return next(each for each in findings() if each.what == what)


def test_it_tells_the_versions_that_a_report_of_a_bug_needs() -> None:
    assert f"numpy {np.__version__}" in found("libraries").found
    assert "ipykernel" in found("notebook").found


def test_arrays_that_are_copied_because_of_an_option_are_told_with_the_way_back() -> None:
    with options.override(arena=False):
        said = found("arrays")
    assert said.found == "copied: shared memory is switched off"
    assert "SNAKEPIT_NB_ARENA" in said.advice


def test_a_missing_library_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: "it was built without a C compiler")
    with options.override(arena=True):
        said = found("arrays")
    assert "it was built without a C compiler" in said.found
    assert "C compiler" in said.advice


def test_with_the_library_nothing_needs_to_be_done_about_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: None)
    with options.override(arena=True):
        assert found("arrays").advice == ""


def test_the_report_marks_what_needs_something_done_and_escapes_what_it_shows() -> None:
    report = Report([Finding("fine", "all well"), Finding("<b>", "bad", "do <this>")])
    assert repr(report) == "  fine  all well\n! <b>   bad\n        -> do <this>"
    shown = report._repr_html_()
    assert "<td style='text-align:left'>&lt;b&gt;</td>" in shown
    assert "do &lt;this&gt;" in shown
