"""Kernels are talked to here."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _event_loop(clients_event_loop: None) -> None:
    """See there."""
