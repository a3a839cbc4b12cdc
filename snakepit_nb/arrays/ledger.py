"""The ledger of one process's loans: it counts what was lent and copied, and tells of it on the bus.

*Rule:* one copy is one `fallback` event and no `export`; memory lent as it lies is one `export` and no
`fallback`; every array made from a handle is one `import`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

from snakepit_nb import events, telemetry
from snakepit_nb.arrays import dtypes

if TYPE_CHECKING:
    import numpy as np

    from snakepit_nb.arrays.handle import ArrayHandle
    from snakepit_nb.arrays.lending import Lease

Role = Literal["kernel", "worker"]

_OUT: Final[dict[str, str]] = {"kernel": "to_worker", "worker": "to_kernel"}
_IN: Final[dict[str, str]] = {"kernel": "to_kernel", "worker": "to_worker"}


class Ledger:
    """Counts and tells; facts that are handed to it are the bus's from then on.

    Attributes:
        shared: Arrays lent as they lay.
        shared_bytes: Their bytes.
        copied: Copies made.
        copied_bytes: Their bytes.

    Example:
        >>> ledger = Ledger("kernel")
        >>> ledger.tell_copied(80, {"kind": "dlpack"}, None, 0.1)
        >>> ledger.copied_bytes
        80
    """

    __slots__ = ("_direction_in", "copied", "copied_bytes", "direction_out", "role", "shared", "shared_bytes")

    def __init__(self, role: Role) -> None:
        self.role: Final = role
        self.direction_out = _OUT[role]
        self._direction_in = _IN[role]
        self.shared = self.shared_bytes = self.copied = self.copied_bytes = 0

    def tell_shared(self, nbytes: int, facts: dict[str, object], lease: int, elapsed_ms: float) -> None:
        """An array was lent as it lies."""
        self.shared += 1
        self.shared_bytes += nbytes
        facts["handle_id"] = name(lease)
        facts["copied"] = False
        telemetry.execute(events.ZERO_COPY_EXPORT, {"duration_ms": elapsed_ms, "bytes": nbytes}, facts)

    def tell_copied(
        self, nbytes: int, facts: dict[str, object], lease: int | None, elapsed_ms: float
    ) -> None:
        """A copy was made; `lease` is None where it travels inside the message."""
        self.copied += 1
        self.copied_bytes += nbytes
        facts["handle_id"] = None if lease is None else name(lease)
        facts["copied"] = True
        telemetry.execute(events.ZERO_COPY_FALLBACK, {"duration_ms": elapsed_ms, "bytes": nbytes}, facts)

    def tell_import(
        self, handle: ArrayHandle, array: np.ndarray, request_id: int | None, elapsed_ms: float
    ) -> None:
        """An array was made from a handle."""
        facts: dict[str, object] = {
            "kind": handle.kind,
            "device": handle.device,
            "direction": self._direction_in,
            "dtype": dtypes.name(array.dtype),
            "shape": list(handle.shape),
            "handle_id": name(handle.lease),
            "copied": False,
        }
        if request_id is not None:
            facts["request_id"] = request_id
        measurements = {"duration_ms": elapsed_ms, "bytes": array.nbytes}
        telemetry.execute(events.ZERO_COPY_IMPORT, measurements, facts)

    @staticmethod
    def tell_end(event: tuple[str, ...], number: int, lease: Lease) -> None:
        """A loan ended."""
        age_ms = (time.monotonic_ns() - lease.since_ns) / 1e6
        measurements = {"age_ms": age_ms, "bytes": lease.nbytes}
        telemetry.execute(event, measurements, {"handle_id": name(number), "device": "cpu"})


def name(lease: int) -> str:
    """A lease's number as events, and peers, know it.

    Example:
        >>> name(255)
        'ff'
    """
    return f"{lease:x}"
