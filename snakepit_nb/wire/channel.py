"""One end of a conversation: the only reader and writer of its socket.

*Rule:* a packet is one datagram of a SEQPACKET pair: it arrives whole or not at all, and whoever receives it
is the only one who does. That is what makes taking back an unclaimed call exact.

*Rule:* a packet too long for the socket goes through the sender's arena, and a `Spill` says where.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, Final

from snakepit_nb.wire import codec
from snakepit_nb.wire.messages import Spill
from snakepit_nb.wire.patience import Patience

if TYPE_CHECKING:
    from snakepit_nb.arrays.store import Store
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

    __slots__ = ("_patience", "_readable", "_recv", "_send", "peer", "peer_arena", "sock", "store")

    def __init__(self, sock: socket.socket, store: Store, peer: str) -> None:
        self.sock = sock
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
            ArenaFull, ArrayError: the packet is too long for the socket and does not fit the arena either.
        """
        lease = None
        if len(packet) > LONGEST:
            offset, lease = self.store.put(packet)
            self.store.hand((lease,), self.peer)
            packet = codec.encode(Spill(offset, len(packet), lease))
        try:
            self._send(packet, _NOSIGNAL if wait else _FLAGS)
        except BlockingIOError:
            if lease is not None:
                self.store.release((lease,))
            return False
        return True

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
        """The messages of a packet, its spilled part included."""
        found = codec.decode(packet)
        if len(found) == 1 and type(found[0]) is Spill:
            spill = found[0]
            data = self.store.read(self.peer_arena, spill.offset, spill.nbytes)
            self.store.give_back(self.peer, spill.lease)
            return codec.decode(data)
        return found

    def own(self, packet: bytes) -> list[Message]:
        """The messages of a packet that this side sent and took back; its spilled part is freed."""
        found = codec.decode(packet)
        if len(found) == 1 and type(found[0]) is Spill:
            spill = found[0]
            arena = self.store.arena
            data = self.store.read(arena.id, spill.offset, spill.nbytes) if arena else b""
            self.store.release((spill.lease,))
            return codec.decode(data)
        return found

    def spin(self, spin_ns: int) -> list[Message] | None:
        """Poll for at most `spin_ns` nanoseconds without sleeping, where polling is worth it (see `patience`)."""
        began = _clock()
        if not self._patience.may_poll(began):
            return None
        recv = self._recv
        try:
            packet = recv(_ROOM, _DONTWAIT)
        except BlockingIOError:
            cpu = _cpu_clock()
            found = self._poll(began + spin_ns)
            self._patience.polled(began, _clock() - began, _cpu_clock() - cpu)
            if found is None:
                return None
            packet = found
        if not packet:
            raise EOFError
        return self.open(packet)

    def _poll(self, until: int) -> bytes | None:
        recv = self._recv
        while _clock() < until:
            # The peer may be waiting for this very core.
            _give_way()
            try:
                return recv(_ROOM, _DONTWAIT)
            except BlockingIOError:
                continue
        return None

    def wait(self, timeout: float | None) -> bool:
        """Sleep until a packet waits (or the peer is gone), at most `timeout` seconds; whether one does."""
        return bool(self._readable.poll(None if timeout is None else max(0, timeout) * 1000))

    def close(self) -> None:
        """Close this end. Idempotent."""
        self.sock.close()
