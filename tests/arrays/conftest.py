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


@pytest.fixture
def small_inline() -> Iterator[tuple[Store, Store]]:
    """The same with arrays below 4 KiB inside the message, as it is outside of tests."""
    with two_stores(inline_bytes=4096) as both:
        yield both
