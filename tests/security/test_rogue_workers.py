"""A worker that says what it may not: it is ended and told as what it was, and costs nobody else anything.

*Rule:* what it sends as the result of its own request is unpickled, as results are; nothing else is.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from snakepit_nb import Pool, WorkerCrashed, options, testing
from snakepit_nb.wire import codec, messages
from snakepit_nb.worker.loop import Worker
from tests.pool.conftest import HANG, gate, gates, outcome, pids  # noqa: F401 - some are fixtures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pool.conftest import Gate

FOREIGN: Final = 1 << 40  # a request that there is not
HUGE: Final = 1 << 62


class Touches:
    """A pickle that leaves a mark where it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self._path),)


def head(tag: int, version: int, *numbers: int) -> bytes:
    return struct.pack(f"<BBxx{'Q' * len(numbers)}", tag, version, *numbers)


# What a worker may not say, by what its last words are then to be. `bad` is a pickle that leaves a mark.
FORBIDDEN: Final[dict[str, tuple[Callable[[bytes], messages.Message | bytes], str]]] = {
    "noise": (lambda _: bytes(range(255, 0, -1)), "a packet of 255 bytes"),
    "a_pickle": (lambda bad: bad, "no whole frame"),
    "half_a_head": (lambda _: b"\x07", "no whole frame"),
    "a_huge_length": (lambda _: head(7, 1, 1, 1, 1, HUGE, HUGE), "more bytes than its packet holds"),
    "the_hugest_length": (lambda _: head(7, 1, 1, 1, 1, (1 << 64) - 1, 1), "more bytes than its packet"),
    "more_than_a_packet_holds": (lambda _: bytes(70_000), "a packet of 65536 bytes"),
    "another_release": (lambda _: head(4, 9), "wire version 9"),
    "a_call": (lambda bad: messages.Call(1, b"k", bad, b""), "Call is not said"),
    "a_function": (lambda bad: messages.Define(b"k", bad, b""), "Define is not said"),
    "the_end": (lambda _: messages.Stop(), "Stop is not said"),
    "hello_again": (lambda _: messages.Hello(1, 1, "reach-0", "k"), "Hello is not said"),
    "broken": (messages.Broken, "Broken is not said"),
    "an_arena_on_the_wrong_way": (lambda _: messages.Introduce(100, "z"), "Introduce is not said"),
    "a_display_that_is_no_json": (lambda bad: messages.Display(0, bad), "can't decode"),
    "events_with_objects": (lambda bad: messages.Events(0, bad), "an event may not hold pathlib.Path.touch"),
    "events_that_are_none": (lambda _: messages.Events(0, pickle.dumps([(5, 6, 7)])), "cannot be read"),
    "half_a_lease": (lambda _: messages.Release(b"123"), "leases of 3 bytes"),
    "handles_that_are_none": (lambda bad: messages.Value(FOREIGN, 1, 2, bad, b"x"), "cannot be read"),
    "memory_of_nobody": (lambda _: messages.Spill(0, 100, 1, "nobody"), "cannot be read here"),
}


@pytest.fixture
def others(gates: Callable[[], Gate]) -> Iterator[Pool]:  # noqa: F811 - a fixture's name is its argument's
    """A pool of two of which one worker is at work, to the end of the test and for somebody else."""
    held = gates()
    with reach() as pool:
        neighbour = pool.submit(held.task, "untouched")
        held.wait_begun()
        yield pool
        held.open()
        assert neighbour.result(HANG) == "untouched"


@contextlib.contextmanager
def reach() -> Iterator[Pool]:
    """A pool of two whose workers may die, while somebody hears the events of all."""
    with (
        options.override(deaths=10**6, taint=0.0, health_interval=0.0),
        testing.capture_events(),
        Pool(2, name="reach") as pool,
    ):
        try:
            yield pool.start()
        finally:
            pool.kill()


def myself() -> Worker:
    """In a worker: what speaks with the kernel."""
    (found,) = (each for each in gc.get_objects() if isinstance(each, Worker))
    return found


def says(said: bytes, *, then_waits: bool) -> int:
    """In a worker: send a packet past whatever would look at it."""
    myself()._channel.sock.send(said)
    if then_waits:
        threading.Event().wait()
    return os.getpid()


def packet(said: messages.Message | bytes) -> bytes:
    return said if isinstance(said, bytes) else codec.encode(said)


def assert_unruly(pool: Pool, victim: Any, why: str) -> None:
    """The request failed with a crash that says why, and the pool serves on."""
    error = outcome(victim)
    assert isinstance(error, WorkerCrashed)
    assert (error.classification, error.request_id) == ("killed", victim.request_id)
    assert "it broke the protocol and was killed: " in error.stderr_tail
    assert why in error.stderr_tail
    assert [each.result(HANG) for each in [pool.submit(abs, -n) for n in range(5)]] == list(range(5))


@pytest.mark.parametrize("name", FORBIDDEN)
def test_who_breaks_the_protocol_is_ended_and_its_error_says_so(
    others: Pool, tmp_path: Path, name: str
) -> None:
    mark = tmp_path / "unpickled"
    make, why = FORBIDDEN[name]
    said = packet(make(pickle.dumps(Touches(str(mark)), 5)))
    assert_unruly(others, others.submit(says, said, then_waits=True), why)
    assert not mark.exists()


HARMLESS: Final[dict[str, Callable[[bytes], messages.Message]]] = {
    "an_answer_to_nobody": lambda bad: messages.Value(FOREIGN, 1, 2, bad, b""),
    "an_error_to_nobody": lambda bad: messages.Error(FOREIGN, 1, 2, bad),
    "a_value_of_no_stream": lambda bad: messages.Item(FOREIGN, bad, b""),
    "leases_of_others": lambda _: messages.Release(struct.pack("<3Q", 0, 1, (1 << 64) - 1)),
    "text_of_no_stream": lambda _: messages.Output(FOREIGN, "no such stream", "text\n"),
    "a_display_of_the_wrong_kind": lambda _: messages.Display(FOREIGN, b'[{"data": 7}]'),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_concerns_nobody_is_passed_over_and_never_unpickled(
    others: Pool, tmp_path: Path, name: str
) -> None:
    mark = tmp_path / "unpickled"
    said = packet(HARMLESS[name](pickle.dumps(Touches(str(mark)), 5)))
    pid = others.submit(says, said, then_waits=False).result(HANG)
    assert others.submit(os.getpid).result(HANG) == pid
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["a_result", "an_error", "a_value_of_a_stream"])
def test_a_worker_answers_for_itself_and_never_for_another(tmp_path: Path, gate: Gate, kind: str) -> None:  # noqa: F811 - as above
    mark = tmp_path / "unpickled"
    bad = pickle.dumps(Touches(str(mark)), 5)
    with reach() as pool:
        running = pool.submit(gate.task, "mine")
        gate.wait_begun()
        said: dict[str, messages.Message] = {
            "a_result": messages.Value(running.request_id, 1, 2, bad, b""),
            "an_error": messages.Error(running.request_id, 1, 2, bad),
            "a_value_of_a_stream": messages.Item(running.request_id, bad, b""),
        }
        rogue = pool.submit(says, codec.encode(said[kind]), then_waits=True)
        assert_unruly(pool, rogue, f"request {running.request_id} is not in the hands of reach-")
        assert not running.done()
        gate.open()
        assert running.result(HANG) == "mine"
    assert not mark.exists()


def spills(kind: str) -> None:
    """In a worker: say that a long packet lies somewhere in memory."""
    me = myself()
    own = me._store.arena
    assert own is not None
    where = {
        "all_of_its_arena": (0, own.nbytes, own.id),
        "what_nobody_wrote": (own.nbytes // 2, 100_000_000, own.id),
        "beyond_its_end": (own.nbytes, 100, own.id),
        "more_than_there_is": (0, (1 << 64) - 1, own.id),
        "before_its_start": ((1 << 64) - 8, 8, own.id),
        "the_kernel_s_own": (0, 100, me._channel.peer_arena),
    }
    offset, nbytes, arena = where[kind]
    says(codec.encode(messages.Spill(offset, nbytes, 1, arena)), then_waits=True)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        # The kernel would need as much memory as the arena has addresses.
        ("all_of_its_arena", "were never written"),
        ("what_nobody_wrote", "were never written"),
        ("beyond_its_end", "cannot be read here"),
        ("more_than_there_is", "cannot be read here"),
        ("before_its_start", "cannot be read here"),
        ("the_kernel_s_own", ""),
    ],
)
def test_a_packet_that_is_said_to_lie_in_memory_is_read_from_what_was_written_alone(
    others: Pool, kind: str, why: str
) -> None:
    assert_unruly(others, others.submit(spills, kind), why)


def lies_on_its_lane(kind: str) -> None:
    """In a worker: hand over what is no arena, and have the kernel look."""
    me = myself()
    lane = me._lane.sock
    with socket.socket() as other:
        if kind == "noise":
            lane.send(b"\xff" * 100)
        elif kind == "no_descriptor":
            lane.send(codec.encode(messages.Introduce(4096, "lie")))
        elif kind == "another_message":
            socket.send_fds(lane, [codec.encode(messages.Stop())], [other.fileno()])
        else:
            socket.send_fds(lane, [codec.encode(messages.Introduce(4096, "lie"))], [other.fileno()])
    says(codec.encode(messages.Spill(0, 100, 1, "lie")), then_waits=True)


@pytest.mark.parametrize("kind", ["noise", "no_descriptor", "another_message", "no_memory"])
def test_a_descriptor_that_is_no_memory_is_refused_and_closed(others: Pool, kind: str) -> None:
    assert_unruly(others, others.submit(lies_on_its_lane, kind), "lie" if kind == "no_memory" else "a lane")


def floods(name: str) -> None:
    """In a worker: write noise to each descriptor that leads out, and go on."""
    noise = os.urandom(10_000)
    me = myself()
    for fd in {"pipes": (1, 2), "heart": (me._heart.fileno(),)}[name]:
        os.set_blocking(fd, False)
        for _ in range(50):
            try:
                os.write(fd, noise)
            except BlockingIOError:
                break


@pytest.mark.parametrize("name", ["pipes", "heart"])
def test_noise_in_its_pipes_is_text_and_on_its_heart_a_sign_of_life(
    others: Pool, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = pids(others)
    others.submit(floods, name).result(HANG)
    assert others.submit(abs, -1).result(HANG) == 1
    assert pids(others) == before
    capfd.readouterr()


def test_random_packets_of_a_worker_never_hurt_the_pool(others: Pool) -> None:
    """Changed bytes of real messages, the likeliest to be taken for real ones."""
    for seed in range(12):
        error = outcome(others.submit(says_changed, seed))
        assert error is None or isinstance(error, WorkerCrashed), error
        assert others.submit(abs, -seed).result(HANG) == seed


def says_changed(seed: int) -> None:
    """In a worker: fifty real messages with some bytes changed."""
    import random

    chance = random.Random(seed)  # noqa: S311 - the same next time
    real = [
        codec.encode(each)
        for each in (
            messages.Output(0, "stdout", "text"),
            messages.Display(0, b"{}"),
            messages.Events(0, pickle.dumps([])),
            messages.Release(struct.pack("<Q", 7)),
            messages.Spill(0, 100, 1, "nobody"),
        )
    ]
    for _ in range(50):
        changed = bytearray(chance.choice(real))
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        says(bytes(changed), then_waits=False)
