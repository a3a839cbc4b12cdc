"""The stop button at any moment: held back in critical steps, let through while waiting, and nothing lost."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.pool.bell import Bell
from snakepit_nb.pool.interrupts import Uninterrupted
from tests.pool.conftest import HANG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snakepit_nb import Pool
    from tests.pool.conftest import Gate


@pytest.fixture(autouse=True)
def the_usual_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), Uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done


def test_an_interrupt_comes_through_while_the_block_waits() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), Uninterrupted() as guard:
        guard.waiting = True
        signal.raise_signal(signal.SIGINT)
        done = True
    assert not done


def test_only_one_interrupt_comes_through_while_the_block_waits() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), Uninterrupted() as guard:
        guard.waiting = True
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
                steps.append("clean-up went on")
    assert steps == ["clean-up went on"]


def test_nested_blocks_hold_it_back_to_the_outermost_end() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), Uninterrupted():
        with Uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("inner")
        steps.append("outer")
    assert steps == ["inner", "outer"]


def test_an_error_of_the_block_is_kept_behind_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, Uninterrupted():
        signal.raise_signal(signal.SIGINT)
        raise ValueError
    assert isinstance(caught.value.__context__, ValueError)


def test_a_handler_that_is_none_is_left_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Uninterrupted():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_another_thread_changes_no_handler() -> None:
    seen: list[object] = []

    def run() -> None:
        with Uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_an_interrupt_ends_the_wait_for_a_result_and_the_request_goes_on(pool: Pool, gate: Gate) -> None:
    future = pool.submit(gate.task, "done")
    main = threading.get_ident()

    waiting = threading.Event()

    def press_stop() -> None:
        gate.wait_begun()
        waiting.wait(HANG)
        signal.pthread_kill(main, signal.SIGINT)

    presser = threading.Thread(target=press_stop)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        waiting.set()
        future.result(HANG)
    presser.join()
    assert future.running()
    gate.open()
    assert future.result(HANG) == "done"


@pytest.mark.parametrize("kind", ["result", "bell", "another_workers_result"])
def test_an_interrupt_that_came_just_before_the_wait_is_not_slept_through(
    pool: Pool, gate: Gate, kind: str
) -> None:
    # A signal that is handled between Python's last look and the system call wakes nobody; this never does.
    future = pool.submit(gate.task, "done")
    gate.wait_begun()
    slept = Bell()
    wait: dict[str, Callable[[], object]] = {
        "result": future.result,
        "bell": slept.wait,
        "another_workers_result": lambda: future._sleep(None),
    }
    presser = threading.Timer(0.05, _thread.interrupt_main)

    given_up = []

    def give_up() -> None:
        given_up.append(kind)
        slept.ring()
        gate.open()

    rescue = threading.Timer(HANG, give_up)
    with pytest.raises(KeyboardInterrupt):
        presser.start()
        rescue.start()
        wait[kind]()
    rescue.cancel()
    assert not given_up, "it was heard only when the wait was over"
    gate.open()
    assert future.result(HANG) == "done"


# Python cannot raise an interrupt that arrives inside a weak reference's callback: it reports and drops it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_at_any_moment_lose_nothing(pool: Pool) -> None:
    """A timer presses stop during submit and result, again and again: each future has its own result."""
    futures = []
    interrupted = 0
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        for number in range(1_500):
            try:
                # Short of the time of one round trip and of two, so that it meets all of their steps.
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number * 7 % 400))
                future = pool.submit(abs, -number)
                futures.append((number, future))
                future.result(HANG)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert interrupted
    assert all(future.result(HANG) == number for number, future in futures)
    assert pool.stats()["queued"] == 0
