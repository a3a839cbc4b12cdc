"""Surroundings travel as they are, and show none of the environment's values."""

from __future__ import annotations

import pickle
import re
import warnings

import pytest

from snakepit_nb.wire import surroundings as room
from snakepit_nb.wire.surroundings import Handler, Logging, Surroundings

SEEN = Surroundings(
    cwd="/data",
    path=("", "/lib"),
    environ=(("TOKEN", "hush-4711"), ("GONE", None), ("ODD", "\udcff")),
    filters=(("ignore", None, ("builtins", "UserWarning"), None, 0),),
    logging=Logging(handlers=(Handler("", "stderr", 10, None),)),
    backend="inline",
    libraries=(("numpy", b"."),),
)


def test_what_is_packed_comes_out_as_it_was() -> None:
    assert room.unpack(room.pack(SEEN)) == SEEN
    assert pickle.loads(pickle.dumps(room.pack(SEEN))) == room.pack(SEEN)


def test_no_value_of_the_environment_is_shown() -> None:
    for shown in (repr(SEEN), str(SEEN), repr(room.pack(SEEN)), str(room.pack(SEEN)), f"{room.pack(SEEN)}"):
        assert "hush" not in shown


@pytest.mark.parametrize(
    "entry",
    [
        ("ignore", re.compile("odd", re.IGNORECASE), Warning, re.compile("a\\.b"), 0),
        ("default", None, DeprecationWarning, "__main__", 0),
        ("error", None, pytest.PytestUnraisableExceptionWarning, None, 7),
    ],
)
def test_a_filter_of_warnings_is_the_same_after_the_way(entry: tuple[object, ...]) -> None:
    plain = room.plain_filter(entry)
    assert plain is not None
    assert room.live_filter(pickle.loads(pickle.dumps(plain))) == entry


def test_all_filters_that_python_has_now_can_go() -> None:
    assert [room.plain_filter(each) for each in warnings.filters].count(None) == 0


def test_a_filter_whose_category_is_not_loaded_here_waits() -> None:
    assert room.live_filter(("ignore", None, ("no.such.module", "OddWarning"), None, 0)) is None
    assert room.live_filter(("ignore", None, ("builtins", "int"), None, 0)) is None
