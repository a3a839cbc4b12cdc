"""Events on their way to the kernel: plain things arrive as they were, the rest as text, nothing runs."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.errors.types import ProtocolError
from snakepit_nb.wire.forwarding import pack_events, unpack_events

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
FACTS = st.dictionaries(st.text(), PLAIN | st.lists(PLAIN))
NAME = ("app", "job", "done")


@given(measurements=st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False)), metadata=FACTS)
def test_plain_events_arrive_as_they_were(measurements: dict[str, float], metadata: dict[str, Any]) -> None:
    data, dropped = pack_events([(NAME, measurements, metadata, 1, 2, 3)] * 2)
    assert dropped == 0
    stamps = {"time_ns": 1, "monotonic_ns": 2, "pool": "p", "request_id": 3}
    assert unpack_events(data, pool="p") == [(NAME, measurements, {**stamps, **metadata})] * 2


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Path("a"), "a"),
        ((1, 2), [1, 2]),
        ({"deep": [{"er": 1}]}, {"deep": [{"er": 1}]}),
        ([Path("a")], ["a"]),
        (np.float64(1.5), 1.5),
        (np.arange(2), "[0 1]"),
        ({1: 2}, {"1": 2}),
    ],
    ids=str,
)
def test_what_is_not_plain_arrives_as_json_would_have_it(value: object, arrives: object) -> None:
    data, dropped = pack_events([(NAME, {}, {"value": value}, 0, 0, 0)])
    ((_, _, metadata),) = unpack_events(data)
    assert (metadata["value"], dropped) == (arrives, 0)


def test_an_event_that_cannot_be_written_is_dropped_and_counted() -> None:
    circle: list[object] = []
    circle.append(circle)
    data, dropped = pack_events([(NAME, {}, {"a": circle}, 0, 0, 0), (NAME, {}, {"a": 1}, 0, 0, 0)])
    assert (dropped, [event[2]["a"] for event in unpack_events(data)]) == (1, [1])


class _Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return pytest.fail, ("it ran",)


@pytest.mark.parametrize(
    "data", [b"", b"junk", pickle.dumps(_Runs()), pickle.dumps([1]), pickle.dumps([(1, 2)])], ids=repr
)
def test_what_is_no_batch_is_refused_and_runs_nothing(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="events of a worker"):
        unpack_events(data)
