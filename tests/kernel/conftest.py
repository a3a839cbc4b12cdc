"""Kernels with the extension loaded: one for tests that leave it as it was, new ones for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jupyter_core.utils import ensure_event_loop

from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _the_clients_event_loop() -> Iterator[None]:
    """A kernel's client makes one at its first use and keeps it: made before a test looks for leaks."""
    loop = ensure_event_loop()
    yield
    loop.close()


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
