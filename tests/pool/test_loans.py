"""The kernel's store, as all pools use it."""

from __future__ import annotations

from snakepit_nb.pool import loans


def test_the_end_of_a_loan_that_is_booked_after_its_borrower_is_gone_is_struck_off() -> None:
    store = loans.kernel_store()
    books = store.borrower._books
    with books.lock:  # as another thread may have it
        store.give_back("gone", 7)
    books.settle()
    assert store.owed() == ["gone"]
    loans.unwatch("the next that is gone")
    assert store.owed() == []
