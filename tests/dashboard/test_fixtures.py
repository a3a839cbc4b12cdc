"""The messages that the front end's tests decode are those that the kernel writes."""

from __future__ import annotations

import json
from typing import Any

from snakepit_nb.dashboard.protocol import Kind
from tests.dashboard.fixtures import written


def test_the_fixtures_of_the_front_end_are_what_the_kernel_writes() -> None:
    for path, text in written():
        again = f"write them again: python -m tests.dashboard.fixtures ({path.name})"
        assert path.read_text() == text, again


def test_the_fixtures_have_something_of_everything() -> None:
    told: list[dict[str, Any]] = [each for _, text in written() for each in json.loads(text)["messages"]]
    assert {each["content"]["key"] for each in told} == {True, False}
    for count in ("rows", "density", "samples", "stats"):
        assert any(each["tables"][count] for each in told)
    assert any(each["content"]["open"] for each in told)
    kinds = {row["kind"] for each in told for row in each["tables"]["rows"]}
    assert {Kind.REQUEST, Kind.TAINTED, Kind.CRASH, Kind.SATURATED, Kind.CELL, Kind.USER} <= kinds
