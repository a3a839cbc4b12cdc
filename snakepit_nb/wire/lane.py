"""The lane beside a channel on which descriptors of arenas travel, and the news that one is gone.

*Rule:* a descriptor is sent before the first packet that names its arena, and never taken out of the lane: so
a reader that meets an unknown arena finds it by emptying its lane, and of several each waits for the others.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.types import ArrayError, ProtocolError
from snakepit_nb.wire import codec
from snakepit_nb.wire.messages import Dismiss, Introduce

if TYPE_CHECKING:
    from snakepit_nb.arrays.store import Store
    from snakepit_nb.wire.messages import Message

_ROOM: Final = 4096


class DescriptorLane:
    """Introduces arenas to a peer and learns of the peer's.

    Args:
        sock: This side's end of a SEQPACKET pair.

    Example:
        >>> from snakepit_nb.arrays.arena import Arena
        >>> from snakepit_nb.arrays.store import Store
        >>> ours, theirs = map(DescriptorLane, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        >>> arena, store = Arena(1 << 20), Store("worker", None)
        >>> ours.introduce(arena.id, arena.fd, arena.nbytes)
        >>> theirs.update(store)
        >>> fd, nbytes = store.open_readonly(arena.id)
        >>> nbytes == arena.nbytes
        True
        >>> os.close(fd)
        >>> ours.close(); theirs.close(); store.close(); arena.close()
    """

    __slots__ = ("_owed", "_reading", "_told", "_writing", "sock")

    def __init__(self, sock: socket.socket) -> None:
        # `socket.send_fds` and `recv_fds` take flags and drop them: the socket itself must not block.
        sock.setblocking(False)  # noqa: FBT003 - the name says what it is
        self.sock = sock
        self._told: set[str] = set()
        self._owed: deque[Dismiss] = deque()
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def knows(self, arena: str) -> bool:
        """Whether the peer was told of this arena.

        Example:
            >>> lane = DescriptorLane(socket.socket(socket.AF_UNIX))
            >>> lane.knows("k1")
            False
            >>> lane.close()
        """
        return arena in self._told

    def introduce(self, arena: str, fd: int, nbytes: int) -> None:
        """Hand the peer an arena's descriptor, once.

        Raises:
            OSError: the peer is gone, or does not read its lane.
        """
        if arena not in self._told:
            self.hand_over(arena, fd, nbytes)
            self._told.add(arena)

    def hand_over(self, arena: str, fd: int, nbytes: int, *, wait: bool = False) -> None:
        """Hand the peer the descriptor of memory that it forgets by itself; with `wait`, when there is room.

        Raises:
            OSError: the peer is gone; or without `wait`, it does not read its lane.
        """
        packet = codec.encode(Introduce(nbytes, arena))
        while True:
            try:
                with self._writing:
                    self._pay()
                    socket.send_fds(self.sock, [packet], [fd])
            except BlockingIOError:
                if not wait:
                    raise
                room = select.poll()
                room.register(self.sock, select.POLLOUT)
                room.poll()
            else:
                return

    def dismiss(self, arena: str) -> None:
        """Tell the peer that an arena is gone, if it ever knew of it; later, where the lane is full.

        Raises:
            OSError: the peer is gone.
        """
        if arena in self._told:
            self._told.discard(arena)
            self.recall(arena)

    def recall(self, arena: str) -> None:
        """Have the peer forget memory that was handed over; later, where the lane is full.

        Raises:
            OSError: the peer is gone.
        """
        self._owed.append(Dismiss(arena))
        with self._writing, contextlib.suppress(BlockingIOError):
            self._pay()

    def _pay(self) -> None:
        while self._owed:
            self.sock.send(codec.encode(self._owed[0]))
            self._owed.popleft()

    def update(self, store: Store) -> None:
        """Take in all that waits on the lane.

        Raises:
            ProtocolError: something else than an arena came along it.
            ArrayError: a descriptor holds less than it is said to; or this process has none left for it, and
                it waits until there is one.
        """
        with self._reading:
            while self._take_in(store):
                pass

    def _take_in(self, store: Store) -> bool:
        try:
            # What there is no descriptor for would be lost by being received.
            if isinstance(_message(self.sock.recv(_ROOM, socket.MSG_PEEK)), Introduce):
                self._ask_for_a_descriptor()
            packet, fds, _, _ = socket.recv_fds(self.sock, _ROOM, 1)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # The peer died with something unread. This is said once, and what it sent itself is still there.
            return True
        if packet:
            match _message(packet):
                case Introduce(nbytes, arena) if len(fds) == 1:
                    os.set_inheritable(fds[0], False)  # noqa: FBT003 - as above
                    store.attach(arena, fds[0], nbytes)
                case Dismiss(arena) if not fds:
                    store.detach(arena)
                case found:
                    for fd in fds:
                        os.close(fd)
                    message = f"a lane for descriptors carried {found or packet[:40]!r} with {len(fds)}"
                    raise ProtocolError(message)
        return bool(packet)

    def _ask_for_a_descriptor(self) -> None:
        try:
            os.close(os.dup(self.sock.fileno()))
        except OSError as error:
            text = (
                f"no descriptor is left here for memory that was handed over ({error.strerror}): close files"
            )
            raise ArrayError(text) from error

    def close(self) -> None:
        """Close this end. Idempotent."""
        self.sock.close()


def _message(packet: bytes) -> Message | None:
    """The one message of a packet; None where it is something else."""
    try:
        found = codec.decode(packet) if packet else []
    except ProtocolError:
        return None
    return found[0] if len(found) == 1 else None
