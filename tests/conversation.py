"""A worker spoken to by hand, as its kernel would."""

from __future__ import annotations

import hashlib
import pickle
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from snakepit_nb import options
from snakepit_nb.errors import unpack_exception
from snakepit_nb.pool import loans
from snakepit_nb.pool.process import WorkerProcess
from snakepit_nb.wire import codec, messages
from snakepit_nb.wire.payload import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANG: Final = 60.0
Said = TypeVar("Said", bound=messages.Message)


class Conversation:
    """The kernel's side, by hand."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.waiting: list[messages.Message] = []
        self.store = loans.kernel_store()

    def say(self, *several: messages.Message) -> None:
        """Send messages in one packet."""
        assert self.worker.channel.send(codec.encode_all(several))

    def call(self, number: int, function: Callable[..., object], *args: object) -> None:
        """Have a function run."""
        data = pack(function, self.store).data
        key = hashlib.md5(data, usedforsecurity=False).digest()
        arguments = pack((args, {}), self.store).data
        self.say(messages.Define(key, data, b""), messages.Call(number, key, arguments, b""))

    def hear(self) -> messages.Message:
        """The next message."""
        while not self.waiting:
            assert self.worker.channel.wait(HANG), "the worker says nothing"
            self.waiting = self.worker.channel.receive() or []
        return self.waiting.pop(0)

    def expect(self, kind: type[Said]) -> Said:
        """The next message, of that kind."""
        heard = self.hear()
        assert isinstance(heard, kind), heard
        return heard

    def value(self) -> object:
        """What the next message gives back."""
        return pickle.loads(self.expect(messages.Value).value)

    def error(self) -> BaseException:
        """What the next message raises."""
        error = self.expect(messages.Error).error
        return unpack_exception(error, worker_id="w", pool="p", request_id=1, command="c")

    def exit_code(self) -> int | None:
        """How the worker ended; waits until it does."""
        poll = select.poll()
        poll.register(self.worker.obituary, select.POLLIN)
        assert poll.poll(HANG * 1000), "the worker lives on"
        return self.worker.read_obituary().exit_code


@contextmanager
def worker(threads: int = 0) -> Iterator[Conversation]:
    """A worker that has said hello; with `threads`, one that runs so many calls at once."""
    made = WorkerProcess("w-0", "w", loans.kernel_store(), (), options.current(), threads)
    spoken = Conversation(made)
    try:
        hello = spoken.expect(messages.Hello)
        assert (hello.worker_id, hello.pid) == ("w-0", made.pid)
        made.lane.update(spoken.store)
        made.channel.peer_arena = hello.arena
        yield spoken
    finally:
        made.kill()
        spoken.exit_code()
        spoken.store.forget(made.peer)
        spoken.store.detach(made.channel.peer_arena)
        made.close()
