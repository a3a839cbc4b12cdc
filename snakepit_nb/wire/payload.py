"""Objects to bytes and back, with the memory that they lend as handles beside the pickle.

*Rule:* what fails to pack leaves no lease behind, and what fails to unpack gives all of its leases back.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.arrays.handle import from_bytes
from snakepit_nb.arrays.shipping import Shipment, WouldLend
from snakepit_nb.errors.types import ArrayError, ProtocolError
from snakepit_nb.wire import classes
from snakepit_nb.wire.packing import Session, dump, take

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from snakepit_nb.arrays.handle import ArrayHandle
    from snakepit_nb.arrays.loan import Item
    from snakepit_nb.arrays.store import Mode, Store

__all__ = [
    "Packed",
    "Prepared",
    "apply",
    "decline",
    "handles_of",
    "pack",
    "pack_alone",
    "prepare",
    "run_chunk",
    "take",
    "unpack",
]

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_NO_MODES: Final[Mapping[int, Mode]] = {}


class Packed(NamedTuple):
    """A packed object: the pickle, and what `Sealed` says of the memory beside it."""

    data: bytes
    buffers: bytes
    leases: tuple[int, ...]
    arenas: tuple[str, ...] = ()


def apply(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """Call a function that travels with its arguments: arrays that it refers to are lent for this call.

    Example:
        >>> apply(max, (1, 2), {})
        2
    """
    return function(*args, **kwargs)


def run_chunk(function: Callable[..., object], rows: Sequence[Sequence[object]]) -> list[object]:
    """Call a function once for each row of arguments: a chunk of a map.

    Example:
        >>> run_chunk(pow, [(2, 3), (3, 2)])
        [8, 9]
    """
    return [function(*row) for row in rows]


class Prepared:
    """A packed object whose memory is not lent yet: `seal` decides about it, `close` drops it.

    Attributes:
        data: The pickle.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> prepare([1], Store("worker", None)).seal().leases
        ()
    """

    __slots__ = ("_items", "_shipment", "data")

    def __init__(self, data: bytes, shipment: Shipment, items: list[Item]) -> None:
        self.data = data
        self._shipment = shipment
        self._items = items

    @property
    def lends(self) -> bool:
        """Whether memory goes along."""
        return bool(self._items)

    def seal(self, *, moving: bool = False) -> Packed:
        """Lend the memory; with `moving`, what nobody here holds any more becomes the other side's own.

        Call it when this process has let go of the object, then.
        """
        items, self._items = self._items, []
        return Packed(self.data, *self._shipment.seal(items, moving=moving))

    def close(self) -> None:
        """Lend nothing. Idempotent."""
        self._items = []
        self._shipment.close()


def prepare(  # noqa: PLR0913 - what is rarely said, by name
    obj: object,
    store: Store,
    *,
    request_id: int | None = None,
    mode: Mode = "copy_on_write",
    modes: Mapping[int, Mode] = _NO_MODES,
    snapshot: bool = False,
) -> Prepared:
    """Pack an object, and leave open what becomes of its memory until it is sealed.

    Args:
        obj: What to pack.
        store: Whose memory is lent.
        request_id: The request that it belongs to, for the events.
        mode: How the other side is to map the memory.
        modes: Other modes for some objects inside, by their `id`: of an array, a tensor.
        snapshot: Whether arrays are copied, so that what is written to them later is not seen there.

    Raises:
        Exception: whatever pickle and cloudpickle raise for an object that cannot travel.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> prepare("text", Store("kernel", None)).lends
        False
    """
    shipment = Shipment(store, request_id=request_id, mode=mode, modes=modes, snapshot=snapshot)
    if type(obj) in _PLAIN:
        return Prepared(pickle.dumps(obj, 5), shipment, [])
    session = Session(shipment, store.inline_bytes)
    try:
        data = dump(obj, session)
    except BaseException:
        shipment.close()
        raise
    return Prepared(data, shipment, session.items)


def pack(  # noqa: PLR0913 - as above
    obj: object,
    store: Store,
    *,
    request_id: int | None = None,
    mode: Mode = "copy_on_write",
    modes: Mapping[int, Mode] = _NO_MODES,
    snapshot: bool = False,
) -> Packed:
    """Pack an object for the peer; its memory is lent through `store`, as `prepare` says.

    Raises:
        Exception: whatever pickle and cloudpickle raise for an object that cannot travel.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> store = Store("kernel", None)
        >>> unpack(pack({"a": [1, 2]}, store), store, peer="kernel")
        {'a': [1, 2]}
    """
    if type(obj) in _PLAIN:
        return Packed(pickle.dumps(obj, 5), b"", ())
    return prepare(obj, store, request_id=request_id, mode=mode, modes=modes, snapshot=snapshot).seal()


def pack_alone(obj: object, store: Store) -> bytes | None:
    """Pack an object that is to travel by itself; None where memory would have to be lent along with it.

    Raises:
        Exception: whatever pickle and cloudpickle raise for an object that cannot travel.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> pickle.loads(pack_alone(abs, Store("kernel", None))) is abs
        True
    """
    shipment = Shipment(store, lending=False)
    try:
        return dump(obj, Session(shipment, store.inline_bytes))
    except WouldLend:
        return None
    finally:
        shipment.close()


def unpack(  # noqa: PLR0913 - all but two are for some callers only, and named
    packed: Packed,
    store: Store,
    *,
    peer: str,
    mode: Mode | None = None,
    request_id: int | None = None,
    keep_classes: bool = False,
) -> object:
    """Undo `pack` on the other side; shared memory is mapped in `mode`, or as the handles say.

    With `keep_classes`, a class that travels by value and that this process knows already is left as it is.

    Raises:
        ProtocolError: the handles are not what `pack` writes.
        ArrayError: a handle does not fit its arena.
        Exception: whatever the objects raise while they are rebuilt.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> unpack(Packed(pickle.dumps(1), b"", ()), Store("worker", None), peer="kernel")
        1
    """
    load = classes.loads if keep_classes else pickle.loads
    if not packed.buffers:
        return load(packed.data)
    handles = handles_of(packed.buffers)
    return load(packed.data, buffers=store.import_all(handles, peer=peer, mode=mode, request_id=request_id))


def decline(buffers: bytes, store: Store, *, peer: str) -> None:
    """Give back what came beside a pickle that nobody wants any more.

    Raises:
        ProtocolError: the handles are not what `pack` writes.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> decline(b"", Store("kernel", None), peer="default-0")
    """
    for lease in {handle.lease: None for handle in handles_of(buffers) if handle.memory == "arena"}:
        store.give_back(peer, lease)


def handles_of(buffers: bytes) -> list[ArrayHandle]:
    """The handles that `pack` put beside a pickle.

    Raises:
        ProtocolError: the bytes are not handles.

    Example:
        >>> handles_of(b"")
        []
    """
    if not buffers:
        return []
    try:
        return from_bytes(buffers)
    except ArrayError as error:
        message = f"the handles beside a message cannot be read: {error}"
        raise ProtocolError(message) from error
