"""Objects to bytes and back: pickle 5, arrays as handles beside it, cloudpickle only where it is needed.

*Rule:* plain pickle first; cloudpickle takes over when plain pickle cannot carry the object, or would name
something of `__main__`, which exists in the kernel's process alone, or of a module registered with it.

*Rule:* what fails to pack leaves no lease behind, and what fails to unpack gives all of its leases back.
"""

from __future__ import annotations

import copyreg
import io
import json
import pickle
import sys
from functools import cache
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


class _Session:
    """One object being packed; a second try with the other pickler reuses the handles of the first."""

    def __init__(self, store: Store, request_id: int | None) -> None:
        self.store = store
        self.request_id = request_id
        self.handles: list[ArrayHandle] = []
        # By identity for arrays, by place for buffers; whose memory is kept here cannot become another's.
        self.taken: dict[int | tuple[int, int], tuple[object, ArrayHandle | None]] = {}
        self.pending: ArrayHandle | None = None

    def dump(self, obj: object) -> bytes:
        out = io.BytesIO()
        pickler = pickle.Pickler(out, 5, buffer_callback=self.buffer)
        pickler.dispatch_table = {**copyreg.dispatch_table, np.ndarray: self.reduce}  # type: ignore[dict-item]
        pickler.dump(obj)
        return out.getvalue()

    def dump_by_value(self, obj: object) -> bytes:
        self.handles.clear()
        self.pending = None
        out = io.BytesIO()
        _by_value_pickler()(out, self).dump(obj)
        return out.getvalue()

    def reduce(self, array: np.ndarray) -> tuple[object, ...]:
        known = self.taken.get(id(array))
        if known is None:
            handle = self.store.export(array, request_id=self.request_id)
            self.taken[id(array)] = (array, handle)
        else:
            handle = known[1]
        if handle is None:
            # It goes in band, and its buffer, which the pickler asks about next, is not to be lent after all.
            self.taken.setdefault(_place(array), (array, None))
            return array.__reduce_ex__(5)  # type: ignore[return-value]
        # The pickler asks `buffer` about this stand-in next, and that puts the handle in its place.
        self.pending = handle
        return take, (pickle.PickleBuffer(bytearray()),)

    def buffer(self, buffer: pickle.PickleBuffer) -> bool:
        handle, self.pending = self.pending, None
        if handle is None:
            raw = buffer.raw()
            if raw.nbytes < self.store.inline_bytes:
                return True
            view = np.frombuffer(raw, np.uint8)
            known = self.taken.get(_place(view))
            if known is None:
                handle = self.store.export(view, kind="arrow", request_id=self.request_id)
                self.taken[_place(view)] = (view, handle)
            else:
                handle = known[1]
        if handle is None:
            return True
        self.handles.append(handle)
        return False

    def close(self, *, used: bool) -> tuple[int, ...]:
        leases = [handle.lease for _, handle in self.taken.values() if handle is not None]
        kept = {handle.lease: None for handle in self.handles} if used else {}
        unused = [lease for lease in leases if lease not in kept]
        if unused:
            self.store.release(unused)
        return tuple(kept)


def _place(array: np.ndarray) -> tuple[int, int]:
    return array.__array_interface__["data"][0], array.nbytes


@cache
def _by_value_pickler() -> Callable[[io.BytesIO, _Session], pickle.Pickler]:
    import cloudpickle  # noqa: PLC0415 - only for what plain pickle cannot carry

    class ByValue(cloudpickle.Pickler):  # type: ignore[misc]
        # It answers for functions and classes in `reducer_override`, and a dispatch table would not be asked.
        def __init__(self, out: io.BytesIO, session: _Session) -> None:
            super().__init__(out, 5, buffer_callback=session.buffer)
            self._session = session

        def reducer_override(self, obj: object) -> object:
            if type(obj) is np.ndarray:
                return self._session.reduce(obj)
            return super().reducer_override(obj)

    return ByValue


def _registered_by_value() -> bool:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return cloudpickle is not None and bool(cloudpickle.list_registry_pickle_by_value())


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
    if not _registered_by_value():
        try:
            data = session.dump(obj)
        except Exception:  # noqa: BLE001 - a user's __reduce__ may raise anything; cloudpickle has the last word
            data = _MAIN
        if _MAIN not in data:
            return data
    return session.dump_by_value(obj)


def unpack(  # noqa: PLR0913 - all but two are for some callers only, and named
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
    handles = handles_of(packed.buffers)
    # Two buffers may be one loan; it is mapped once, or its end would come twice.
    waiting = list({handle.lease: handle for handle in reversed(handles)}.values())
    arrays: dict[int, object] = {}
    try:
        while waiting:
            handle = waiting.pop()
            arrays[handle.lease] = store.import_(handle, peer=peer, mode=mode, request_id=request_id)
    finally:
        for handle in waiting:
            store.give_back(peer, handle.lease)
    return load(packed.data, buffers=[arrays[handle.lease] for handle in handles])


def decline(buffers: bytes, store: Store, *, peer: str) -> None:
    """Give back what came beside a pickle that nobody wants any more.

    Raises:
        ProtocolError, ArrayError: the handles are not what `pack` writes.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> decline(b"", Store("kernel", None), peer="default-0")
    """
    for handle in handles_of(buffers):
        store.give_back(peer, handle.lease)


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
    except (ValueError, TypeError, RecursionError) as error:
        message = f"the handles beside a message cannot be read: {error}"
        raise ProtocolError(message) from error
