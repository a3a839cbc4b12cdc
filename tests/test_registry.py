"""The pools of this process by name: the default one comes by itself, others are started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

import snakepit_nb
from snakepit_nb import Pool, PoolError, registry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_before() -> Iterator[None]:
    registry.shutdown()
    yield
    registry.shutdown()


def test_the_default_pool_is_made_at_the_first_call_and_stays() -> None:
    assert registry.pools() == []
    first = snakepit_nb.get_pool()
    assert registry.get_pool("default") is first
    assert registry.pools() == [first]
    assert first.workers() == []


def test_the_default_pool_is_made_anew_after_it_was_stopped() -> None:
    first = registry.get_pool()
    registry.stop()
    assert registry.get_pool() is not first


def test_a_name_that_is_unknown_starts_nothing_and_says_how() -> None:
    registry.start("training", workers=1)
    with pytest.raises(PoolError, match=r"there is no pool 'trainning'.*did you mean 'training'\?") as caught:
        registry.get_pool("trainning")
    assert caught.value.pool == "trainning"
    assert [pool.name for pool in registry.pools()] == ["training"]


def test_a_pool_that_the_user_made_is_found_by_its_name() -> None:
    with Pool(1, name="mine") as pool:
        assert registry.get_pool("mine") is pool
    with pytest.raises(PoolError):
        registry.get_pool("mine")


def test_start_brings_all_workers_up() -> None:
    pool = registry.start("two", workers=2, preload=("json",))
    assert [worker.state for worker in pool.workers()] == ["idle", "idle"]


def test_a_name_can_be_started_once_at_a_time() -> None:
    registry.start("one", workers=1)
    with pytest.raises(PoolError, match="there is a pool 'one'"):
        registry.start("one", workers=1)
    registry.stop("one")
    registry.start("one", workers=1)


@pytest.mark.parametrize("workers", [0, -1])
def test_a_start_that_is_refused_leaves_no_name_behind(workers: int) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        registry.start("bad", workers=workers)
    assert registry.pools() == []


def test_a_start_that_fails_leaves_no_name_behind() -> None:
    with pytest.raises(PoolError, match="no_such_module_here"):
        registry.start("bad", workers=1, preload=("no_such_module_here",))
    assert registry.pools() == []
    registry.start("bad", workers=1)


def test_stopping_what_is_not_there_says_so() -> None:
    with pytest.raises(PoolError, match="there is no pool 'none' to stop"):
        registry.stop("none")


def test_shutdown_ends_every_process_and_the_next_use_starts_anew() -> None:
    before = set(psutil.Process().children(recursive=True))
    for name in ("a", "b"):
        registry.start(name, workers=1)
    began = set(psutil.Process().children(recursive=True)) - before
    assert began
    registry.shutdown()
    assert not psutil.wait_procs(began, timeout=60)[1]
    assert registry.get_pool().submit(os.getpid).result() != os.getpid()
