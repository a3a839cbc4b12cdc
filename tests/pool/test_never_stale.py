"""What a worker gets is what the notebook has when it is sent, whatever wrote to it before, in whatever way.

Copies are kept and lent again; programs of writes, calls, deletions and long loans find out whether one is
ever lent that is no longer true, or that somebody else goes on writing to.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pickle
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from snakepit_nb import options
from snakepit_nb.arrays.sharing import Sharing
from snakepit_nb.pool import loans
from snakepit_nb.pool.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LENGTH = 200_000  # of eight bytes: from one MiB on NumPy's copies are kept

kept_in_worker: dict[str, object] = {}


def fingerprint(value: Any) -> str:
    """What a value says of its content, here and there alike."""
    return hashlib.blake2b(_content(value), digest_size=8).hexdigest()


def _content(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, torch.Tensor):
        return value.detach().clone().numpy().tobytes()
    if isinstance(value, pl.DataFrame):
        return value.to_pandas().to_numpy().tobytes()
    if isinstance(value, pa.Table):
        return b"".join(column.to_numpy().tobytes() for column in value.columns)
    if isinstance(value, pd.DataFrame):
        return value.to_numpy().tobytes()
    return pickle.dumps(value, 5)


def look_and_scribble(value: object) -> str:
    """The fingerprint; then the worker writes to what it was given, for itself alone."""
    found = fingerprint(value)
    scribble(value)
    return found


def scribble(value: object) -> None:
    if isinstance(value, np.ndarray) and value.flags.writeable:
        value[...] = 123.0
    elif isinstance(value, torch.Tensor):
        value.fill_(123.0)


def keep(name: str, value: object) -> str:
    kept_in_worker[name] = value
    return fingerprint(value)


def look_again(name: str) -> str:
    return fingerprint(kept_in_worker[name])


def let_go(name: str) -> None:
    kept_in_worker.pop(name, None)


def give_back(value: object) -> object:
    return value


@dataclass
class Thing:
    """A value of the notebook, and the ways in which it can be written to; each takes a number to write."""

    value: Any
    ways: dict[str, Callable[[float], object]]
    copied: bool = True  # what is shared as it lies is no snapshot
    also: list[object] = field(default_factory=list)


@contextmanager
def elsewhere() -> Iterator[None]:
    """NumPy's arrays are born where they are without this package."""
    loans.bear_no_more()
    try:
        yield
    finally:
        loans.bear_here()


def by_memory(array: np.ndarray) -> dict[str, Callable[[float], object]]:
    """The ways to write to an array's memory."""
    place = array.ctypes.data
    raw = (ctypes.c_double * array.size).from_address(place)
    view = array.reshape(-1)[1:]
    flat = memoryview(array.reshape(-1))  # type: ignore[arg-type] # it is one
    again = np.frombuffer(memoryview(raw), np.float64)

    def at(number: float) -> int:
        return int(number * 7919) % (array.size - 1)

    return {
        "item": lambda number: array.reshape(-1).__setitem__(at(number), number),
        "all": lambda number: array.__setitem__(..., number),
        "last": lambda number: array.reshape(-1).__setitem__(-1, number),
        "view": lambda number: view.__setitem__(at(number), number),
        "memoryview": lambda number: flat.__setitem__(at(number), number),
        "ctypes": lambda number: raw.__setitem__(at(number), number),
        "frombuffer": lambda number: again.__setitem__(slice(at(number), None, 5), number),
        "ufunc": lambda number: np.add(array, number, out=array),
        "sign of zero": lambda _: raw.__setitem__(0, -0.0 if str(raw[0]) != "-0.0" else 0.0),
        "not a number": lambda _: raw.__setitem__(1, float("nan")),
    }


def plain() -> Thing:
    with elsewhere():
        array = np.arange(float(LENGTH))
    return Thing(array, by_memory(array))


def over_a_buffer() -> Thing:
    memory = bytearray(8 * LENGTH)
    array = np.frombuffer(memory, np.float64)
    return Thing(array, by_memory(array), also=[memory])


def fortran() -> Thing:
    with elsewhere():
        whole = np.arange(float(LENGTH))
        array = whole.reshape(1000, -1).T
    return Thing(array, by_memory(whole), also=[whole])


def strided() -> Thing:
    with elsewhere():
        whole = np.arange(3.0 * LENGTH).reshape(1000, -1)
    return Thing(whole[:, ::3], by_memory(whole), also=[whole])


def part() -> Thing:
    with elsewhere():
        whole = np.arange(3.0 * LENGTH)
    return Thing(whole[LENGTH : 2 * LENGTH], by_memory(whole), also=[whole])


def resized() -> Thing:
    with elsewhere():
        array = np.arange(float(LENGTH))

    def resize(number: float) -> None:
        with elsewhere():
            array.resize(LENGTH + int(number), refcheck=False)
        array[-1] = number

    return Thing(array, {"resize": resize, "item": lambda number: array.__setitem__(3, number)})


def tensor() -> Thing:
    made = torch.arange(float(LENGTH), dtype=torch.float64)
    raw = torch.ones(LENGTH, dtype=torch.float64)
    ways: dict[str, Callable[[float], object]] = {
        "item": lambda number: made.__setitem__(7, number),
        "in place": made.add_,
        "out": lambda number: torch.mul(raw, number, out=made),
        "view": lambda number: made[5:].__setitem__(1, number),
    }
    return Thing(made, ways, copied=False)


def tensor_that_numpy_sees() -> Thing:
    made = torch.arange(float(LENGTH), dtype=torch.float64)
    seen = made.numpy()
    ways = by_memory(seen) | {
        "in place": made.add_,
        "data": made.data.mul_,
        "no version": lambda number: torch.from_numpy(seen).fill_(number),
    }
    return Thing(made, ways, also=[seen])


def table() -> Thing:
    made = pa.table({"x": pa.array(np.arange(float(LENGTH)).tolist())})
    memory = np.frombuffer(made["x"].chunk(0).buffers()[1], np.float64)
    return Thing(made, by_memory(memory), also=[memory])


def table_over_numpy() -> Thing:
    with elsewhere():
        memory = np.arange(float(LENGTH))
    return Thing(pa.table({"x": pa.array(memory)}), by_memory(memory), also=[memory])


def polars_over_numpy() -> Thing:
    with elsewhere():
        memory = np.arange(float(LENGTH))
    made: Any = pl.from_arrow(pa.table({"x": pa.array(memory)}))
    ways = by_memory(memory) | {"polars": lambda number: made.__setitem__((3, "x"), number)}
    return Thing(made, ways, also=[memory])


def frame() -> Thing:
    with elsewhere():
        memory = np.arange(float(LENGTH)).reshape(-1, 4)
    made = pd.DataFrame(memory, columns=list("abcd"), copy=False)
    ways = by_memory(memory) | {"pandas": lambda number: made.iloc.__setitem__((3, 1), number)}
    return Thing(made, ways, also=[memory])


def pickled() -> Thing:
    made: dict[str, Any] = {"words": [str(number) for number in range(100)], "n": 0.0}

    def change(number: float) -> None:
        made["n"] = number
        made["words"][3] = str(number)

    return Thing(made, {"item": change})


MAKERS = (
    plain,
    over_a_buffer,
    fortran,
    strided,
    part,
    resized,
    tensor,
    tensor_that_numpy_sees,
    table,
    table_over_numpy,
    polars_over_numpy,
    frame,
    pickled,
)


class Notebook(RuleBasedStateMachine):
    """Things are made, written to, sent, kept by a worker, sent back, and deleted, in any order."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.things: dict[int, Thing] = {}
        self.held: dict[str, str] = {}
        self.count = 0

    def pick(self, data: st.DataObject, *, copied: bool = False) -> Thing | None:
        names = [name for name, thing in self.things.items() if thing.copied or not copied]
        return self.things[data.draw(st.sampled_from(names))] if names else None

    @rule(maker=st.sampled_from(MAKERS), place=st.integers(0, 2))
    def make(self, maker: Callable[[], Thing], place: int) -> None:
        """In the place of another, which is gone first: the new one may get its address and its identity."""
        self.things.pop(place, None)
        self.things[place] = maker()
        self.send(self.things[place])

    @precondition(lambda self: self.things)
    @rule(data=st.data(), number=st.integers(2, 1000))
    def write_and_send(self, data: st.DataObject, number: int) -> None:
        thing = self.pick(data)
        assert thing is not None
        thing.ways[data.draw(st.sampled_from(sorted(thing.ways)))](float(number))
        self.send(thing)

    @precondition(lambda self: self.things)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        thing = self.pick(data)
        assert thing is not None
        self.send(thing)

    def send(self, thing: Thing) -> None:
        seen = fingerprint(thing.value)
        calls = [self.pool.submit(look_and_scribble, thing.value) for _ in range(2)]
        assert [call.result() for call in calls] == [seen, seen]
        assert fingerprint(thing.value) == seen

    @precondition(lambda self: self.things)
    @rule(data=st.data())
    def lend_for_long(self, data: st.DataObject) -> None:
        thing = self.pick(data, copied=True)
        if thing is None:
            return
        self.count += 1
        name = f"kept_{self.count}"
        seen = fingerprint(thing.value)
        assert self.call(keep, name, thing.value) == seen
        self.held[name] = seen

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end_a_loan(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        assert self.call(look_again, name) == self.held.pop(name)
        self.call(let_go, name)

    @precondition(lambda self: self.held)
    @rule()
    def what_was_lent_for_long_is_as_it_was(self) -> None:
        for name, seen in self.held.items():
            assert self.call(look_again, name) == seen

    @precondition(lambda self: self.things)
    @rule(data=st.data(), number=st.integers(2, 1000))
    def have_it_back_and_write_to_that(self, data: st.DataObject, number: int) -> None:
        thing = self.pick(data, copied=True)
        if thing is None:
            return
        seen = fingerprint(thing.value)
        back = self.pool.submit(give_back, thing.value).result()
        assert fingerprint(back) == seen
        if isinstance(back, np.ndarray) and back.flags.writeable:
            back[...] = number
        elif isinstance(back, torch.Tensor):
            back.fill_(number)
        assert fingerprint(thing.value) == seen
        self.send(thing)

    @precondition(lambda self: self.things)
    @rule(data=st.data())
    def have_it_changed_in_place(self, data: st.DataObject) -> None:
        thing = self.pick(data, copied=True)
        if thing is None or type(thing.value) is not np.ndarray:
            return
        seen = fingerprint(thing.value)
        in_place = Sharing(modes={id(thing.value): "in_place"})
        self.pool.request(scribble, (thing.value,), sharing=in_place).result()
        assert fingerprint(thing.value) == seen
        self.send(thing)

    def call(self, function: Callable[..., Any], *args: object) -> Any:
        """In the one worker that keeps things."""
        return self.pool.request(function, args, session="keeper").result()

    def teardown(self) -> None:
        for name in self.held:
            self.call(let_go, name)
        self.things.clear()


EXAMPLES = int(os.environ.get("SNAKEPIT_TEST_EXAMPLES", "25"))


@pytest.mark.parametrize("reuse", [True, False])
def test_no_program_of_writes_makes_a_worker_see_what_the_notebook_does_not(reuse: bool) -> None:  # noqa: FBT001 - a parameter
    with options.override(reuse_copies=reuse), Pool(2, name="never_stale") as pool:
        run_state_machine_as_test(
            lambda: Notebook(pool),  # type: ignore[arg-type] # any maker of machines will do
            settings=settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None),
        )


def total(value: Any) -> float:
    return float(np.asarray(value).sum())


def test_an_array_of_jax_over_one_of_numpy_is_sent_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    jax = pytest.importorskip("jax", reason="pip install jax")
    memory = torch.ones(1 << 19, dtype=torch.float32)  # aligned as JAX wants it
    array = jax.dlpack.from_dlpack(memory)
    with Pool(1, name="never_stale") as pool:
        for number in (1, 2, 3):
            memory.fill_(number)
            assert float(np.asarray(array)[5]) == number
            assert pool.submit(total, array).result() == number * (1 << 19)


def test_a_table_of_arrow_is_taken_for_unchangeable_only_where_that_was_asked_for() -> None:
    made = pa.table({"x": pa.array(np.arange(float(LENGTH)).tolist())})
    memory = np.frombuffer(made["x"].chunk(0).buffers()[1], np.float64)
    assert memory.flags.writeable
    with Pool(1, name="never_stale") as pool:
        for trusting, number in ((False, 5.0), (False, 6.0), (True, 6.0)):
            memory[0] = number
            with options.override(trust_arrow=trusting):
                assert pool.submit(fingerprint, made).result() == fingerprint(made)
                assert pool.submit(fingerprint, made).result() == fingerprint(made)
