"""Why an object cannot travel: the path to the part of it that pickle refuses."""

from __future__ import annotations

import sys
import threading
import types
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from snakepit_nb.wire.travel import describe, obstacle, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK = threading.Lock()


class Settings:
    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    def method(self) -> None:
        """Bound to what may not travel."""


class Refuses:
    def __reduce__(self) -> NoReturn:
        message = "I stay\nhere"
        raise RuntimeError(message)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


class HostileDict(dict[str, object]):
    def items(self) -> NoReturn:
        message = "not for you"
        raise RuntimeError(message)

    def __reduce__(self) -> NoReturn:
        message = "nor for pickle"
        raise RuntimeError(message)


def _closes_over(value: object) -> Callable[[], object]:
    def inner() -> object:
        return value

    return inner


def _reads_a_global() -> object:
    return LOCK


_reads_a_global.__module__ = "__main__"


@pytest.mark.parametrize(
    ("obj", "path", "type_name"),
    [
        (LOCK, "x", "lock"),
        ([1, LOCK], "x[1]", "lock"),
        ({"a": [1, {2: LOCK}]}, "x['a'][1][2]", "lock"),
        ({(1, 2): LOCK}, "x[<tuple>]", "lock"),
        ((Settings(lock=LOCK), 2), "x[0].lock", "lock"),
        ({Refuses()}, "x<member Refuses>", "Refuses"),
        ({Refuses(): 1}, "x<key Refuses>", "Refuses"),
        (Settings(a=1, b=Settings(c=(LOCK,))), "x.b.c[0]", "lock"),
        (Settings(lock=LOCK).method, "x.__self__.lock", "lock"),
        (_closes_over(LOCK), "x -> value", "lock"),
        (_closes_over([_closes_over(LOCK)]), "x -> value[0] -> value", "lock"),
        (_reads_a_global, "x -> LOCK", "lock"),
        (HostileDict(a=LOCK), "x", "HostileDict"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_path_leads_to_the_part_that_cannot_travel(obj: object, path: str, type_name: str) -> None:
    found = obstacle(obj, "x")
    assert found is not None
    assert (found.path, found.type_name) == (path, type_name)


def test_the_reason_is_pickle_s_own_in_one_line() -> None:
    found = obstacle([Refuses()], "x")
    assert found is not None
    assert found.reason == "I stay"


@pytest.mark.parametrize(
    "obj", [1, [1, 2], Settings(a=1), lambda: 1, sys, types.SimpleNamespace(a=1)], ids=repr
)
def test_what_travels_has_no_obstacle(obj: object) -> None:
    assert obstacle(obj, "x") is None
    assert refusal(obj) is None


def test_a_structure_that_holds_itself_is_searched_once() -> None:
    loop: list[Any] = [LOCK]
    loop.insert(0, loop)
    found = obstacle(loop, "x")
    assert found is not None
    assert found.path == "x[1]"


def test_a_needle_in_a_very_long_list_is_told_by_the_list() -> None:
    found = obstacle([*range(100_000), LOCK], "x")
    assert found is not None
    assert (found.path, found.type_name) == ("x", "list")


def test_an_object_too_deep_to_follow_is_told_by_what_was_reached() -> None:
    deep: object = LOCK
    for _ in range(50):
        deep = [deep]
    found = obstacle(deep, "x")
    assert found is not None
    assert found.path == "x" + "[0]" * 12


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TypeError("one\ntwo"), "one"),
        (TypeError(), "TypeError"),
        (Mute(), "Mute"),
        (TypeError("x" * 1000), "x" * 300),
    ],
    ids=["lines", "nothing", "mute", "long"],
)
def test_an_error_is_told_in_one_line_even_where_its_own_text_fails(error: BaseException, text: str) -> None:
    assert describe(error) == text
