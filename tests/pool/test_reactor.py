"""The thread of a pool: nothing that callers do at the same time ends it."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from snakepit_nb.pool.reactor import Reactor

PIPES = 200
TURNS = 40


@contextmanager
def running() -> Iterator[Reactor]:
    reactor = Reactor("test", between=lambda: None, after=lambda: None, fault=print)
    reactor.start()
    yield reactor
    reactor.stop()


@contextmanager
def impatient_threads() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def answers(reactor: Reactor) -> bool:
    done = threading.Event()
    reactor.later(done.set)
    return done.wait(20)


def test_descriptors_are_borrowed_while_the_thread_looks_at_those_left_alone() -> None:
    with ExitStack() as stack:
        reactor = stack.enter_context(running())
        stack.enter_context(impatient_threads())
        ends = [os.pipe() for _ in range(PIPES)]
        for reading, _ in ends:
            reactor.watch(reading, lambda: None)
        for _ in range(TURNS):
            for reading, _ in ends:
                reactor.borrow(reading)
            for reading, _ in ends:
                reactor.give_back(reading)
        assert answers(reactor)
        for end in ends:
            reactor.forget(end[0])
            os.close(end[0])
            os.close(end[1])


def test_what_is_to_be_done_soon_is_done_whether_or_not_the_thread_looks_about() -> None:
    with running() as reactor:
        for _ in range(2):
            done = threading.Event()
            reactor.soon(done.set)
            assert done.wait(20)
            reading, writing = os.pipe()
            reactor.watch(reading, lambda: None)
            for _ in range(3):
                reactor.borrow(reading)
                reactor.give_back(reading)
            reactor.forget(reading)
            os.close(reading)
            os.close(writing)


def test_what_is_due_is_not_done_where_what_came_just_before_made_it_needless() -> None:
    with running() as reactor:
        needed, done = [True], threading.Event()
        did: list[str] = []
        now = time.monotonic_ns()
        hold = threading.Event()
        reactor.later(lambda: hold.wait(20))  # so that all of them are due together
        reactor.at(now, needed.clear, lambda: True)
        reactor.at(now + 1, lambda: did.append("needless"), lambda: bool(needed))
        reactor.at(now + 2, done.set, lambda: True)
        hold.set()
        assert done.wait(20)
    assert did == []
