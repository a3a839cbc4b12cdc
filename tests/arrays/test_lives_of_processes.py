"""Loans between this process and real workers that may be killed at any moment, against plain values."""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from snakepit_nb import Pool, options
from snakepit_nb.errors.types import WorkerCrashed
from snakepit_nb.pool import loans
from tests.stores import descriptors

if TYPE_CHECKING:
    from snakepit_nb.pool.future import PoolFuture

LARGE = 1 << 17  # elements: a megabyte, born in shared memory where that can be


def _keep(name: str, array: np.ndarray) -> None:
    vars(builtins).setdefault("kept_for_a_test", {})[name] = array


def _kept(name: str) -> Any:
    return vars(builtins).get("kept_for_a_test", {}).get(name)


def _add(array: np.ndarray, number: int) -> np.ndarray:
    array += number
    return array


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _make(number: int) -> np.ndarray:
    return np.full(LARGE, number)


@dataclass
class Seen:
    """An array of the kernel, what it holds, and by which name a worker may hold the same memory."""

    array: np.ndarray
    value: int
    name: str = ""


class Processes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        Pool(1).start().shutdown()  # the process that workers are forked from stays
        gc.collect()
        store = loans.kernel_store()
        self.before = (store.stats().leases, store.stats().live_bytes, descriptors())
        # Deaths are the point here: no number of them breaks the pool.
        self.override = options.override(deaths=1000)
        self.override.__enter__()
        self.pool = Pool(1).start()
        self.count = 0
        self.all: list[Seen] = []
        self.kept: dict[str, int] = {}

    seen = Bundle("seen")

    def _add(self, array: np.ndarray, value: int, name: str = "") -> Seen:
        found = Seen(array, value, name)
        self.all.append(found)
        return found

    def _answer(self, future: PoolFuture[Any]) -> Any:
        """The result, or None where a death came first."""
        try:
            return future.result(60)
        except WorkerCrashed:
            self.kept.clear()
            return None

    @rule(target=seen)
    def make(self) -> Seen:
        self.count += 1
        return self._add(np.full(LARGE, self.count), self.count)

    @rule(target=seen)
    def let_make(self) -> Any:
        self.count += 1
        found = self._answer(self.pool.submit(_make, self.count))
        return multiple() if found is None else self._add(found, self.count)

    @rule(target=seen, given=seen)
    def send_and_change(self, given: Seen) -> Any:
        found = self._answer(self.pool.submit(_add, given.array, 1000))
        return multiple() if found is None else self._add(found, given.value + 1000)

    @rule(given=seen, times=st.integers(1, 4))
    def send_and_get_the_same_back(self, given: Seen, times: int) -> None:
        futures = [self.pool.submit(_same, given.array[turn:]) for turn in range(times)]
        for future in futures:
            found = self._answer(future)
            assert found is None or (found.min(), found.max()) == (given.value, given.value)

    @rule(given=seen)
    def let_keep(self, given: Seen) -> None:
        self.count += 1
        name = f"kept {self.count}"
        # What a worker keeps is no snapshot; so it is sent what nobody writes to.
        future = self.pool.submit(_keep, name, given.array.copy())
        with contextlib.suppress(WorkerCrashed):
            future.result(60)
            self.kept[name] = given.value

    @rule(target=seen, data=st.data())
    def fetch(self, data: st.DataObject) -> Any:
        if not self.kept:
            return multiple()
        name = data.draw(st.sampled_from(sorted(self.kept)))
        value = self.kept[name]
        found = self._answer(self.pool.submit(_kept, name))
        return multiple() if found is None else self._add(found, value, name)

    @rule(given=seen)
    def write(self, given: Seen) -> None:
        shared = [each for each in self.all if np.shares_memory(each.array, given.array)]
        self.count += 1
        given.array[...] = self.count
        for each in shared:
            each.value = self.count
            # It is the memory that the worker was lent, where the worker did not write to it.
            self.kept.pop(each.name, None)

    @rule(given=consumes(seen))
    def drop(self, given: Seen) -> None:
        self.all = [each for each in self.all if each is not given]
        given.array = np.empty(0)

    @rule(given=seen, while_it_works=st.booleans())
    def kill(self, given: Seen, while_it_works: bool) -> None:  # noqa: FBT001 - drawn
        pids = [each.pid for each in self.pool.workers() if each.pid]
        future = self.pool.submit(_add, given.array, 1) if while_it_works else None
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if future is not None:
            self._answer(future)
        self.kept.clear()
        self._answer(self.pool.submit(abs, -1))
        self.pool.start(timeout=60)

    @invariant()
    def every_array_holds_what_it_should(self) -> None:
        for each in self.all:
            if each.array.size:
                assert (int(each.array.min()), int(each.array.max())) == (each.value, each.value)

    def teardown(self) -> None:
        for each in self.all:
            each.array = np.empty(0)
        self.all.clear()
        self.pool.shutdown()
        self.override.__exit__(None, None, None)
        gc.collect()
        store = loans.kernel_store()
        assert (store.stats().leases, store.stats().live_bytes, descriptors()) == self.before


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
