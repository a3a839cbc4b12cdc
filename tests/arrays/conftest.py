"""What the tests of arrays start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.stores import two_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.arrays.store import Store


@pytest.fixture
def pair() -> Iterator[tuple[Store, Store]]:
    """A kernel's and a worker's store that are introduced to each other; every array is lent."""
    with two_stores() as both:
        yield both
