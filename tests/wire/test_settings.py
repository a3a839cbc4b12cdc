"""What libraries can be told: read and set in the same way, whatever is not to be had left alone."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from snakepit_nb.wire.settings import LIBRARIES, Library, same

if TYPE_CHECKING:
    from types import ModuleType

    import pytest


def library(module: str) -> Library:
    (found,) = [each for each in LIBRARIES if each.module == module]
    return found


class Stubborn:
    """A setting that cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError


def test_what_cannot_be_compared_is_another_value_unless_it_is_the_very_same() -> None:
    one = Stubborn()
    assert same(one, one)
    assert not same(one, Stubborn())
    assert not same(1, True)
    assert not same(np.arange(3), np.arange(3))


def test_numpy_takes_back_what_was_read() -> None:
    numpy = library("numpy")
    before = numpy.read(np)
    with np.printoptions():
        numpy.write(np, {"precision": 3, "threshold": 7})
        assert numpy.differences(numpy.read(np), before) == {"precision": 3, "threshold": 7}
        numpy.write(np, before)
        assert numpy.differences(numpy.read(np), before) == {}


def test_only_pandas_options_that_were_changed_differ_from_its_defaults() -> None:
    pandas = library("pandas")
    with pd.option_context("display.max_rows", 7, "styler.render.max_rows", 5):
        changed = pandas.differences(pandas.read(pd), pandas.defaults(pd))
        assert changed == {"display.max_rows": 7, "styler.render.max_rows": 5}
    assert pandas.differences(pandas.read(pd), pandas.defaults(pd)) == {}


def test_the_backend_is_no_setting_of_how_figures_look() -> None:
    drawing = {"backend": "agg", "interactive": True, "webagg.port": 1, "figure.dpi": 90}
    matplotlib = cast("ModuleType", SimpleNamespace(rcParams=drawing, rcParamsOrig={}))
    room = library("matplotlib")
    assert room.differences(room.read(matplotlib), room.defaults(matplotlib)) == {"figure.dpi": 90}


def test_what_the_inline_backend_was_told_before_it_was_loaded_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"InlineBackend": {"figure_formats": ["svg"]}}
    shell = SimpleNamespace(config=config)
    monkeypatch.setitem(
        sys.modules, "IPython", cast("ModuleType", SimpleNamespace(get_ipython=lambda: shell))
    )
    assert library("matplotlib_inline.backend_inline").ahead() == {"figure_formats": ["svg"]}


def test_a_library_without_a_shell_has_nothing_to_say() -> None:
    nobody = cast("ModuleType", SimpleNamespace(get_ipython=lambda: None))
    ipython = library("IPython")
    assert ipython.read(nobody) == {}
    ipython.write(nobody, {"float_precision": "3"})
