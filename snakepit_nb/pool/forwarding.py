"""What a pool's workers send of their events: the rules, and that each worker hears of them.

*Rule:* a worker knows the rules before its next request, whatever was in its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snakepit_nb.wire import codec, messages
from snakepit_nb.wire.sampling import ALL

if TYPE_CHECKING:
    from snakepit_nb.pool.office import Office
    from snakepit_nb.pool.process import WorkerProcess


class Forwarding:
    """The rules of one pool.

    Attributes:
        rules: What they are now; a worker that was told others is told these with its next request.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self.rules = ALL
        self._packet = b""

    def set(self, prefix: object, rate: object) -> None:
        """Add a rule, and tell the workers, where they can hear it now.

        Raises:
            TypeError, ValueError: as for `Rules.set`.
        """
        with self._office.lock:
            self.rules = self.rules.set(prefix, rate)
            self._packet = codec.encode(messages.Forward(self.rules.pack()))
            for worker in self._office.workers.values():
                if worker.greeted:
                    self.tell(worker)

    def tell(self, worker: WorkerProcess) -> None:
        """Tell a worker now, if there is room in its socket; the lock is held."""
        if worker.rules is self.rules or worker.ended is not None:
            return
        try:
            if worker.channel.send(self._packet):
                worker.rules = self.rules
        except OSError:
            return  # it is gone, and is buried soon

    def news(self) -> bytes:
        """What stands before a request for a worker that was told other rules."""
        return self._packet
