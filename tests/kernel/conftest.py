"""Kernels with the extension loaded: one for tests that leave it as it was, new ones for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _event_loop(clients_event_loop: None) -> None:
    """See there."""


def _loaded() -> Iterator[Notebook]:
    with Notebook() as kernel:
        kernel.run("%load_ext snakepit_nb").ok()
        kernel.run("%snakepit start").ok()
        yield kernel


@pytest.fixture(scope="module")
def shared() -> Iterator[Notebook]:
    """One kernel for a module, its workers started: for cells that kill nothing that others use."""
    yield from _loaded()


@pytest.fixture
def own() -> Iterator[Notebook]:
    """A kernel for this test alone: its workers may die."""
    yield from _loaded()
