"""One end of a conversation: the only reader and writer of its socket.

*Rule:* a packet is one datagram of a SEQPACKET pair: it arrives whole or not at all, and whoever receives it
is the only one who does. That is what makes taking back an unclaimed call exact.

*Rule:* a packet too long for the socket goes through memory, and a `Spill` says where: the sender's arena, or
where there is none or no room in it, memory for this packet alone, whose descriptor goes along the lane.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.types import ArrayError
from snakepit_nb.wire import codec
from snakepit_nb.wire.messages import Spill
from snakepit_nb.wire.patience import LONG_NS, Patience

if TYPE_CHECKING:
    from snakepit_nb.arrays.store import Store
    from snakepit_nb.wire.lane import DescriptorLane
    from snakepit_nb.wire.messages import Message

LONGEST: Final = 60_000
_ROOM: Final = 1 << 16
_SNDBUF: Final = 1 << 20
_DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)
_NOSIGNAL: Final = getattr(socket, "MSG_NOSIGNAL", 0)
_FLAGS: Final = _DONTWAIT | _NOSIGNAL
_clock = time.monotonic_ns
_cpu_clock = time.thread_time_ns
_give_way = os.sched_yield


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends of a conversation: the kernel's and the worker's.

    Raises:
        OSError: the platform has no SEQPACKET pairs.

    Example:
        >>> for end in pair(): end.close()
    """
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF)
    return ends


class Channel:
    """Packets out, messages in.

    Args:
        sock: This side's end.
        store: Where packets too long for the socket are put and found.
        peer: The peer's name in the store, for leases that go back.
        lane: The way for descriptors beside this channel; without one a long packet needs room in an arena.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> from snakepit_nb.wire.messages import Stop
        >>> ours, theirs = (Channel(end, Store("kernel", None), "other") for end in pair())
        >>> ours.send(codec.encode(Stop()))
        True
        >>> theirs.receive()
        [Stop()]
        >>> ours.close(); theirs.close()
    """

    __slots__ = ("_patience", "_readable", "_recv", "_send", "lane", "peer", "peer_arena", "sock", "store")

    def __init__(
        self, sock: socket.socket, store: Store, peer: str, lane: DescriptorLane | None = None
    ) -> None:
        self.sock = sock
        self.lane = lane
        self.store = store
        self.peer = peer
        self.peer_arena = ""
        self._patience = Patience()
        self._send = sock.send
        self._recv = sock.recv
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)

    def send(self, packet: bytes, *, wait: bool = False) -> bool:
        """Send one packet; False where the socket has no room now and `wait` is not set.

        Raises:
            OSError: the peer is gone.
            ArrayError: the packet is too long for the socket, and there is no memory for it either.
        """
        if len(packet) > LONGEST:
            return self._spill(packet, wait=wait)
        try:
            self._send(packet, _NOSIGNAL if wait else _FLAGS)
        except BlockingIOError:
            return False
        return True

    def _spill(self, packet: bytes, *, wait: bool) -> bool:
        store = self.store
        spill = store.put(packet)
        store.hand((spill.lease,), self.peer)
        arrived = False
        try:
            if store.arena is None or spill.arena != store.arena.id:
                self._pass_on(spill.arena, wait=wait)
            note = codec.encode(Spill(spill.offset, len(packet), spill.lease, spill.arena))
            self._send(note, _NOSIGNAL if wait else _FLAGS)
            arrived = True
        except BlockingIOError:
            return False
        finally:
            if not arrived:
                self._take_back(spill.arena, spill.lease)
        return True

    def _pass_on(self, parcel: str, *, wait: bool) -> None:
        """Send the descriptor of memory that was made for one packet ahead of it."""
        try:
            found = self.store.open_readonly(parcel) if self.lane is not None else None
            if self.lane is None or found is None:
                message = (
                    "a message that is too long for its socket needs an arena, or a lane for descriptors"
                )
                raise ArrayError(message)
            fd, nbytes = found
            try:
                self.lane.hand_over(parcel, fd, nbytes, wait=wait)
            finally:
                os.close(fd)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as error:  # too many descriptors are open, or on their way
            message = f"a message that is too long for its socket cannot be handed over: {error.strerror}"
            raise ArrayError(message) from error

    def _take_back(self, arena: str, lease: int) -> None:
        self.store.release((lease,))
        if self.lane is not None and (self.store.arena is None or arena != self.store.arena.id):
            with contextlib.suppress(OSError):  # who is gone has nothing to forget
                self.lane.recall(arena)

    def receive(self) -> list[Message] | None:
        """The messages of the next packet, or None where none waits.

        Raises:
            EOFError: the peer closed its end.
            ProtocolError: the packet is not one of ours.
        """
        try:
            packet = self._recv(_ROOM, _DONTWAIT)
        except BlockingIOError:
            return None
        if not packet:
            raise EOFError
        return self.open(packet)

    def open(self, packet: bytes) -> list[Message]:
        """The messages of a packet that was received, or of the one that it stands for.

        Raises:
            ProtocolError: the packet is not one of ours.
            ArrayError: what it stands for is not there.
        """
        found = codec.decode(packet)
        if len(found) == 1 and type(found[0]) is Spill:
            spill = found[0]
            alone = spill.arena != self.peer_arena
            if alone and self.lane is not None:
                self.lane.update(self.store)
            data = self.store.read(spill.arena, spill.offset, spill.nbytes)
            if alone:
                self.store.detach(spill.arena)
            self.store.give_back(self.peer, spill.lease)
            return codec.decode(data)
        return found

    def own(self, packet: bytes) -> list[Message]:
        """The messages of a packet that this side sent and took back; the memory of a long one is freed.

        Raises:
            ArrayError: the lease of that memory has ended, because the peer was taken for dead.
        """
        found = codec.decode(packet)
        if len(found) == 1 and type(found[0]) is Spill:
            spill = found[0]
            data = self.store.read(spill.arena, spill.offset, spill.nbytes)
            self._take_back(spill.arena, spill.lease)
            return codec.decode(data)
        return found

    def spin(self, spin_ns: int) -> list[Message] | None:
        """Poll for at most `spin_ns` nanoseconds without sleeping, where it is worth it (see `patience`)."""
        began = _clock()
        patience = self._patience
        if not patience.may_poll(began):
            return None
        cpu = _cpu_clock()
        packet = self._poll(began + spin_ns)
        wall = _clock() - began
        # The processor's clock is a system call, and what came this fast was not kept waiting by anybody.
        patience.polled(began, wall, _cpu_clock() - cpu if wall > LONG_NS else wall)
        if packet is None:
            return None
        if not packet:
            raise EOFError
        return self.open(packet)

    def _poll(self, until: int) -> bytes | None:
        recv = self._recv
        while True:
            try:
                return recv(_ROOM, _DONTWAIT)
            except BlockingIOError:
                if _clock() >= until:
                    return None
                # The peer may be waiting for this very core.
                _give_way()

    def wait(self, timeout: float | None) -> bool:
        """Sleep until a packet waits (or the peer is gone), at most `timeout` seconds; whether one does."""
        return bool(self._readable.poll(None if timeout is None else max(0, timeout) * 1000))

    def close(self) -> None:
        """Close this end. Idempotent."""
        self.sock.close()
