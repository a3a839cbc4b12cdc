"""Pools whose workers see one graphics card: what they find in their environment, and what is told of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import PoolError, WorkerCrashed, events, options, registry
from snakepit_nb.pool.pool import Pool
from snakepit_nb.testing import capture_events

if TYPE_CHECKING:
    from collections.abc import Iterator

VISIBLE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def _no_pools_left() -> Iterator[None]:
    yield
    registry.shutdown()


def test_its_workers_see_that_card_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    with Pool(2, name="cards", gpu=1) as pool:
        assert set(pool.map(os.getenv, [VISIBLE] * 4)) == {"1"}
        assert {each.device for each in pool.workers()} == {"cuda:1"}
    assert VISIBLE not in os.environ


def test_cards_are_counted_among_those_that_this_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-aa,GPU-bb")
    with Pool(1, name="cards", gpu=1) as pool:
        assert pool.submit(os.getenv, VISIBLE).result() == "GPU-bb"
    with pytest.raises(ValueError, match="gpu=2: CUDA_VISIBLE_DEVICES lets this process see 2, counted"):
        Pool(1, gpu=2)


def test_a_worker_that_takes_the_place_of_another_sees_the_same_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "5,6")
    with options.override(taint=0.0), Pool(1, name="cards", gpu=1) as pool:
        with pytest.raises(WorkerCrashed):
            pool.submit(os.abort).result()
        assert pool.submit(os.getenv, VISIBLE).result() == "6"


def test_other_pools_see_all_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0,1")
    with Pool(1) as pool:
        assert pool.submit(os.getenv, VISIBLE).result() == "0,1"
        assert pool.gpu is None
        assert {each.device for each in pool.workers()} == {"cpu"}


@pytest.mark.parametrize("given", [-1, True, "0", 1.0])
def test_what_is_no_card_s_number_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="gpu: expected the number of a card, 0 or more, got"):
        Pool(1, gpu=given)  # type: ignore[arg-type]


def _dies_of_its_card() -> None:
    os.write(2, b"CUDA error: an illegal memory access was encountered on device cuda:0\n")
    os.abort()


def test_a_crash_on_the_card_names_it_as_the_notebook_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    with (
        capture_events(events.WORKER_CRASH) as seen,
        options.override(taint=0.0),
        Pool(1, name="cards", gpu=3) as pool,
    ):
        with pytest.raises(WorkerCrashed) as found:
            pool.submit(_dies_of_its_card).result()
        assert (found.value.classification, found.value.device) == ("gpu", "cuda:3")
        assert seen[0].metadata["device"] == "cuda:3"


def test_the_pool_of_a_card_is_made_once_and_has_its_name() -> None:
    pool = registry.on_gpu(1)
    assert (pool.name, pool.gpu, pool.max_workers) == ("gpu1", 1, 1)
    assert registry.on_gpu(1) is pool
    assert registry.on_gpu(0) is not pool


def test_a_pool_by_name_has_to_be_the_card_s() -> None:
    registry.start("train", workers=1, gpu=1)
    registry.start("plain", workers=1)
    assert registry.on_gpu(1, "train").name == "train"
    with pytest.raises(PoolError, match="pool 'train' sees card 1 alone; leave out its name"):
        registry.on_gpu(0, "train")
    with pytest.raises(PoolError, match="pool 'plain' sees all cards"):
        registry.on_gpu(0, "plain")
    with pytest.raises(PoolError, match="no pool 'other': start it with %snakepit start other --gpu 0"):
        registry.on_gpu(0, "other")
