"""A worker spoken to by hand: what it says, in which order, and how it ends."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.wire import messages
from snakepit_nb.wire.payload import pack
from snakepit_nb.worker.loop import EXIT_CHANNEL_LOST
from tests.conversation import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conversation import Conversation

KEY = b"k" * 16


@pytest.fixture
def spoken() -> Iterator[Conversation]:
    with worker() as conversation:
        yield conversation


def test_a_call_is_answered_with_its_value_and_times_of_the_machines_clock(spoken: Conversation) -> None:
    before = time.monotonic_ns()
    spoken.call(1, divmod, 7, 2)
    answer = spoken.expect(messages.Value)
    assert (answer.request_id, pickle.loads(answer.value)) == (1, (3, 1))
    assert before <= answer.started_ns <= answer.ended_ns <= time.monotonic_ns()


def test_a_defined_function_is_called_by_its_key_from_then_on(spoken: Conversation) -> None:
    spoken.say(messages.Define(KEY, pickle.dumps(abs), b""))
    for number in (1, 2):
        spoken.say(messages.Call(number, KEY, pack(((-number,), {}), spoken.store).data, b""))
    assert [spoken.value(), spoken.value()] == [1, 2]


def test_a_key_that_was_never_defined_is_an_error_and_no_death(spoken: Conversation) -> None:
    spoken.say(messages.Call(1, b"?" * 16, b"", b""))
    assert "had not sent" in str(spoken.error())
    spoken.call(2, abs, -1)
    assert spoken.value() == 1


def test_no_arguments_mean_no_unpacking(spoken: Conversation) -> None:
    spoken.say(messages.Define(KEY, pickle.dumps(os.getpid), b""), messages.Call(1, KEY, b"", b""))
    assert spoken.value() == spoken.worker.pid


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError("none")])
def test_whatever_a_call_raises_is_an_answer(spoken: Conversation, error: BaseException) -> None:
    def fails() -> None:
        raise error

    spoken.call(1, fails)
    assert isinstance(spoken.error(), type(error))
    spoken.call(2, abs, -1)
    assert spoken.value() == 1


def test_text_and_events_of_a_call_are_said_before_its_answer(spoken: Conversation) -> None:
    def works() -> int:
        from snakepit_nb import telemetry

        print("first")
        telemetry.execute("app.done", {"n": 1})
        print("last", end="")
        return 5

    spoken.call(1, works)
    said: list[messages.Message] = []
    while not said or not isinstance(said[-1], messages.Value):
        said.append(spoken.hear())
    assert "".join(each.text for each in said if isinstance(each, messages.Output)) == "first\nlast"
    assert [type(each).__name__ for each in said[-2:]] == ["Events", "Value"]


def test_an_interrupt_ends_the_call_that_runs(spoken: Conversation) -> None:
    def waits() -> None:
        print("begun", end="", flush=True)
        time.sleep(3600)

    spoken.call(1, waits)
    while "begun" not in spoken.expect(messages.Output).text:
        pass
    spoken.worker.kill(signal.SIGINT)
    assert isinstance(spoken.error(), KeyboardInterrupt)


def test_an_interrupt_between_calls_is_none(spoken: Conversation) -> None:
    for number in range(1, 50):
        spoken.worker.kill(signal.SIGINT)
        spoken.call(number, abs, -number)
        heard = spoken.hear()
        # It may still meet the call, and then says so; it never meets the worker.
        assert isinstance(heard, (messages.Value, messages.Error))


def test_an_answer_too_long_for_the_socket_arrives(spoken: Conversation) -> None:
    spoken.call(1, lambda: "x" * 3_000_000)
    assert len(str(spoken.value())) == 3_000_000


def test_stop_ends_the_worker_after_the_calls_before_it(spoken: Conversation) -> None:
    spoken.call(1, abs, -1)
    spoken.say(messages.Stop())
    assert spoken.value() == 1
    assert spoken.exit_code() == 0


def test_a_kernel_that_breaks_the_protocol_is_left(spoken: Conversation) -> None:
    spoken.say(messages.Hello(1, 0, "me", ""))
    assert spoken.exit_code() == EXIT_CHANNEL_LOST
    said = ""
    while text := spoken.worker.read("stderr"):
        said += text
    assert "the kernel may not say Hello" in said


def test_garbage_ends_the_worker_and_runs_nothing(spoken: Conversation) -> None:
    spoken.worker.channel.sock.send(b"\xff" * 40)
    assert spoken.exit_code() == EXIT_CHANNEL_LOST


def test_a_worker_whose_kernel_is_gone_ends() -> None:
    with worker() as spoken:
        spoken.worker.far.close()
        spoken.worker.channel.sock.shutdown(1)
        assert spoken.exit_code() == EXIT_CHANNEL_LOST


def test_a_call_lives_in_a_world_of_its_own_streams(spoken: Conversation) -> None:
    def looks() -> tuple[bool, str]:
        return sys.stdout.isatty(), sys.stdin.read()

    spoken.call(1, looks)
    assert spoken.value() == (False, "")
