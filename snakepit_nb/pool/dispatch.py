"""Requests on their way into workers' sockets, and back out of them where nobody has taken them yet.

*Rule:* the pool's lock is held; what is written is written whole or not at all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from snakepit_nb import events
from snakepit_nb.wire import codec, messages
from snakepit_nb.wire.sampling import ALL

if TYPE_CHECKING:
    from snakepit_nb.pool import actions
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.process import WorkerProcess
    from snakepit_nb.pool.reception import Reception
    from snakepit_nb.pool.request import Request

NUDGE: Final = codec.encode(messages.Nudge())


class Dispatch:
    """Sends the requests of one pool.

    Args:
        office: The pool's desk.
        reception: Where a request ends that cannot be sent at all.
    """

    def __init__(self, office: Office, reception: Reception) -> None:
        self._office = office
        self._reception = reception

    def send(self, action: actions.Send) -> None:
        """Write a request to a worker's socket; where it has no room, the request waits on."""
        office = self._office
        worker_id, number = action
        worker = office.workers[worker_id]
        request = office.requests[number]
        function, arguments = request.function, request.arguments
        packet = codec.encode_call(number, function.key, arguments.data, arguments.buffers)
        stream = request.stream() if request.stream is not None else None
        if stream is not None:
            packet = stream.opening() + packet
        if function.key not in worker.known:
            packet = codec.encode(messages.Define(function.key, function.data, b"")) + packet
        rules = office.forwarding.rules
        if worker.rules is not rules:
            packet = office.forwarding.news() + packet
        returns = office.store.take_returns(worker.peer)
        if returns:
            packet = codec.encode(messages.Release(codec.pack_leases(returns))) + packet
        sent = self._write(worker, request, packet)
        if not sent:
            for lease in returns:
                office.store.give_back(worker.peer, lease)
            if sent is False:
                office.act(office.state.bounced(worker_id, number))
            office.reactor.later(lambda: self._resume(worker_id))
            return
        now = time.monotonic_ns()
        request.sent_ns = now
        worker.rules = rules
        request.worker_id = worker_id
        if arguments.leases:
            office.repeats.spare(request)
            office.store.hand(arguments.leases, worker.peer)
        office.tell(
            events.REQUEST_DISPATCHED,
            {"queue_us": (now - request.submitted_ns) // 1000},
            {"pool": office.name, "worker_id": worker_id, "command": request.command, "request_id": number},
        )

    def _write(self, worker: WorkerProcess, request: Request, packet: bytes) -> bool | None:
        """Write to a worker: whether it has the packet now, or None where the request itself is over."""
        office = self._office
        try:
            for arena in request.arguments.arenas:
                worker.introduce(office.store, arena)
            return worker.channel.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            # It closed its descriptors: what it is sent never arrives, and nor would its answers.
            worker.kill()
            return False
        except Exception as error:  # noqa: BLE001 - there is no room in the arena, say
            del office.requests[request.number]
            office.store.release(request.arguments.leases)
            office.soon(self._reception.settle, request, None, error, "error", worker.worker_id, 0)
            office.state.refused(worker.worker_id, request.number)
            return None

    def _resume(self, worker_id: str) -> None:
        office = self._office
        with office.lock:
            office.act(office.state.resumed(worker_id))

    def reclaim(self, action: actions.Reclaim) -> None:
        """Take back what a worker has not claimed, at most so much, from the head of its socket."""
        office = self._office
        worker_id, most = action
        worker = office.workers.get(worker_id)
        if worker is None:
            return
        taken: list[int] = []
        steering: list[messages.More | messages.Enough] = []
        while len(taken) < most:
            packet = worker.unclaimed()
            if packet is None:
                break
            for message in worker.channel.own(packet):
                if isinstance(message, messages.Call):
                    taken.append(message.request_id)
                elif isinstance(message, (messages.More, messages.Enough)):
                    steering.append(message)
                self._came_back(worker, message)
        for said in steering:
            # What runs goes on, and waits for it.
            office.say(said.request_id, codec.encode(said))
        office.forwarding.tell(worker)
        if taken:
            # Whoever waits at this worker for one of them waits at the wrong place now.
            worker.nudge(NUDGE)
        office.act(office.state.reclaimed(worker_id, taken))

    def _came_back(self, worker: WorkerProcess, message: messages.Message) -> None:
        office = self._office
        match message:
            case messages.Call(request_id=number):
                request = office.requests.get(number)
                if request is not None:
                    request.worker_id = ""
                    request.sent_ns = 0
            case messages.Forward():
                worker.rules = ALL
            case messages.Release(leases):
                for lease in codec.unpack_leases(leases):
                    office.store.give_back(worker.peer, lease)
            case _:
                pass
