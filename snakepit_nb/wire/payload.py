"""Objects to bytes and back: pickle 5, with arrays as handles beside it and cloudpickle only where it is needed.

*Rule:* plain pickle first; cloudpickle takes over when plain pickle cannot carry the object, or would name
something of `__main__`, which exists in the kernel's process alone.

*Rule:* what fails to pack leaves no lease behind.
"""

from __future__ import annotations

import copyreg
import io
import json
import pickle
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from snakepit_nb.arrays.handle import ArrayHandle, from_fields
from snakepit_nb.errors.types import ProtocolError
from snakepit_nb.wire import classes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from snakepit_nb.arrays.store import Mode, Store

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_MAIN: Final = b"__main__"


class Packed(NamedTuple):
    """A packed object: the pickle, the handles beside it as JSON, and the leases that they stand for."""

    data: bytes
    buffers: bytes
    leases: tuple[int, ...]


def take(array: object) -> object:
    """What a shared array's pickle calls with the array that was put in its place.

    Example:
        >>> take("anything")
        'anything'
    """
    return array


def apply(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """Call a function that travels with its arguments, because arrays that it refers to are lent for this call.

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


class _Session:
    """One object being packed; a second try with the other pickler reuses the handles of the first."""

    def __init__(self, store: Store, request_id: int | None) -> None:
        self.store = store
        self.request_id = request_id
        self.handles: list[ArrayHandle] = []
        self.taken: dict[int, tuple[object, ArrayHandle | None]] = {}
        self.pending: ArrayHandle | None = None

    def dump(self, obj: object, make: Callable[..., pickle.Pickler], table: dict[type, object]) -> bytes:
        self.handles.clear()
        self.pending = None
        out = io.BytesIO()
        pickler = make(out, 5, buffer_callback=self.buffer)
        pickler.dispatch_table = {**table, np.ndarray: self.reduce}  # type: ignore[dict-item]
        pickler.dump(obj)
        return out.getvalue()

    def handle_for(self, array: np.ndarray, kind: str, key: int, keep: object) -> ArrayHandle | None:
        known = self.taken.get(key)
        if known is not None:
            return known[1]
        handle = self.store.export(array, kind=kind, request_id=self.request_id)
        self.taken[key] = (keep, handle)
        return handle

    def reduce(self, array: np.ndarray) -> tuple[object, ...]:
        handle = self.handle_for(array, "dlpack", id(array), array)
        if handle is None:
            return array.__reduce_ex__(5)  # type: ignore[return-value]
        # The pickler asks `buffer` about this stand-in next, and that puts the handle in its place.
        self.pending = handle
        return take, (pickle.PickleBuffer(bytearray()),)

    def buffer(self, buffer: pickle.PickleBuffer) -> bool:
        handle = self.pending
        self.pending = None
        if handle is None:
            raw = buffer.raw()
            if raw.nbytes < self.store.inline_bytes:
                return True
            view = np.frombuffer(raw, np.uint8)
            key = view.__array_interface__["data"][0]
            handle = self.handle_for(view, "arrow", -key - raw.nbytes, view)
        if handle is None:
            return True
        self.handles.append(handle)
        return False

    def close(self, *, used: bool) -> tuple[int, ...]:
        leases = [handle.lease for _, handle in self.taken.values() if handle is not None]
        kept = {handle.lease for handle in self.handles} if used else set()
        unused = [lease for lease in leases if lease not in kept]
        if unused:
            self.store.release(unused)
        return tuple(kept)


def pack(obj: object, store: Store, *, request_id: int | None = None) -> Packed:
    """Pack an object for the peer; its arrays are lent through `store`.

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
    session = _Session(store, request_id)
    used = False
    try:
        data = _dump(obj, session)
        used = True
    finally:
        leases = session.close(used=used)
    buffers = json.dumps(session.handles, separators=(",", ":")).encode() if session.handles else b""
    return Packed(data, buffers, leases)


def _dump(obj: object, session: _Session) -> bytes:
    try:
        data = session.dump(obj, pickle.Pickler, copyreg.dispatch_table)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a user's __reduce__ may raise anything; cloudpickle has the last word
        data = None
    if data is None or _MAIN in data:
        import cloudpickle  # noqa: PLC0415 - only for what plain pickle cannot carry

        table = dict(cloudpickle.Pickler.dispatch_table)
        data = session.dump(obj, cloudpickle.Pickler, table)
    return data


def unpack(
    packed: Packed,
    store: Store,
    *,
    peer: str,
    mode: Mode = "copy_on_write",
    request_id: int | None = None,
    keep_classes: bool = False,
) -> object:
    """Undo `pack` on the other side; shared arrays are mapped in `mode`.

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
    arrays = [
        store.import_(handle, peer=peer, mode=mode, request_id=request_id) for handle in handles_of(packed.buffers)
    ]
    return load(packed.data, buffers=arrays)


def handles_of(buffers: bytes) -> list[ArrayHandle]:
    """The handles that `pack` put beside a pickle.

    Raises:
        ProtocolError: the bytes are not a JSON list.

    Example:
        >>> handles_of(b"")
        []
    """
    if not buffers:
        return []
    try:
        listed = json.loads(buffers)
        return [from_fields(fields) for fields in listed]
    except (ValueError, TypeError) as error:
        message = f"the handles beside a message cannot be read: {error}"
        raise ProtocolError(message) from error
