"""Doors: which types go through one, and what arrives of the memory that was lent there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from snakepit_nb.arrays import doors
from snakepit_nb.arrays.store import Store
from snakepit_nb.wire.payload import handles_of, pack, unpack
from tests.stores import KERNEL, born_in, checked_events, settle

if TYPE_CHECKING:
    from snakepit_nb.arrays.doors import Lender, Reduced

EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"
FALLBACK = "snakepit.zero_copy.fallback"


class Tape:
    """A value of some library, with two pieces of memory."""

    def __init__(self, front: Any, back: Any) -> None:
        self.front, self.back = front, back


def through(tape: object, lender: Lender) -> Reduced:
    assert isinstance(tape, Tape)
    back = lender.lend(tape.back, kind="arrow", dtype="int8", shape=(2, 3))
    front = lender.lend(tape.front)
    return Tape, (front, [back, back])


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doors.find
    monkeypatch.setattr(doors, "find", lambda kind: through if kind is Tape else real(kind))


@pytest.fixture
def both(small_inline: tuple[Store, Store]) -> tuple[Store, Store]:
    return small_inline


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("by_value", [False, True])
def test_what_a_door_lends_stands_where_the_door_put_it(both: tuple[Store, Store], by_value: bool) -> None:  # noqa: FBT001 - a parameter of the test
    kernel, worker = both
    tape = Tape(np.full(5000, 1, np.uint8), np.full(6000, 2, np.uint8))
    extra = (lambda: tape) if by_value else None
    with checked_events() as captured:
        packed = pack([tape, extra], kernel)
        found: Any = unpack(packed, worker, peer=KERNEL)[0]  # type: ignore[index]
    assert captured.names() == [FALLBACK, FALLBACK, IMPORT, IMPORT]
    assert captured[1].has({"kind": "arrow", "dtype": "int8", "shape": [2, 3], "bytes": 6000})
    assert (found.front.max(), found.front.nbytes, found.front.dtype) == (1, 5000, np.uint8)
    assert found.back[0] is found.back[1]
    assert found.back[0].min() == 2
    found.front[0] = 9
    del found
    settle(kernel, worker)


@pytest.mark.usefixtures("door")
def test_a_door_lends_as_it_lies_what_lies_in_shared_memory(both: tuple[Store, Store]) -> None:
    kernel, worker = both
    born = born_in(kernel, np.arange(10_000, dtype=np.uint8))
    tape = Tape(born, born[:6000])
    with checked_events() as captured:
        packed = pack(tape, kernel)
        assert len(packed.leases) == 1
        found: Any = unpack(packed, worker, peer=KERNEL)
    assert captured.names() == [EXPORT] * 2 + [IMPORT] * 2
    found.front[5] = 200
    assert found.back[0][5] == 200
    del found
    settle(kernel, worker)


@pytest.mark.usefixtures("door")
def test_a_door_s_memory_travels_inside_the_message_where_it_must(both: tuple[Store, Store]) -> None:
    for store in (Store("kernel", None), both[0]):
        tape = Tape(np.full(50, 1, np.uint8), np.full(60 if store.arena else 6000, 2, np.uint8))
        found: Any = unpack(pack(tape, store), both[1], peer=KERNEL)
        assert isinstance(found.front, (bytes, bytearray))
        assert bytes(found.front) == bytes(tape.front)
        assert bytes(found.back[1]) == bytes(tape.back)


@pytest.mark.usefixtures("door")
def test_an_object_s_mode_is_that_of_its_memory(both: tuple[Store, Store]) -> None:
    tape = Tape(*(born_in(both[0], np.zeros(5000, np.uint8)) for _ in range(2)))
    packed = pack([tape, np.zeros(5000)], both[0], modes={id(tape): "in_place"})
    modes = [each.mode for each in handles_of(packed.buffers) if each.memory == "arena"]
    assert modes == ["in_place", "in_place", "copy_on_write"]
    found: Any = unpack(packed, both[1], peer=KERNEL)
    found[0].front[0] = 1
    assert tape.front[0] == 1


@pytest.mark.usefixtures("door")
def test_a_lender_tells_what_lies_in_shared_memory_already(
    both: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def asks(tape: Any, lender: Lender) -> Reduced:
        told.extend((lender.reaches(tape.front), lender.reaches(tape.back)))
        return Tape, (b"", b"")

    monkeypatch.setattr(doors, "find", lambda kind: asks if kind is Tape else None)
    packed = pack(Tape(born_in(both[0], np.zeros(5000, np.uint8)), np.zeros(5000, np.uint8)), both[0])
    assert (told, packed.leases) == ([True, False], ())
    assert both[0].stats().live_bytes == 0


class OfTheNotebook:
    def __dlpack__(self) -> None: ...
    def __dlpack_device__(self) -> None: ...


@pytest.mark.parametrize(
    "kind", [int, list, dict, np.ndarray, np.float64, pd.DataFrame, pd.Series, Tape, type, type(None)]
)
def test_ordinary_types_need_no_door(kind: type) -> None:
    assert doors.find(kind) is None


def test_a_type_that_only_speaks_dlpack_has_a_door() -> None:
    assert doors.find(OfTheNotebook) is not None


def test_looking_for_a_door_imports_no_library() -> None:
    code = (
        "import sys; from snakepit_nb.arrays import doors\n"
        "doors.find(type('T', (), {'__module__': 'polars.frame'}))\n"
        "doors.find(type('T', (), {'__module__': 'torch', '__dlpack__': 1, '__dlpack_device__': 1}))\n"
        "doors.find(type('T', (), {'__arrow_c_stream__': 1}))\n"
        "print([name for name in ('torch', 'pyarrow', 'polars', 'pandas') if name in sys.modules])"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
