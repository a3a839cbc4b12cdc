"""Pools, gates and logs as the tests of pools have them; kernels are talked to here, too."""

from __future__ import annotations

import pytest

from tests.pool.conftest import gate, gates, log, pool  # noqa: F401 - fixtures


@pytest.fixture(scope="session", autouse=True)
def _event_loop(clients_event_loop: None) -> None:
    """See there."""
