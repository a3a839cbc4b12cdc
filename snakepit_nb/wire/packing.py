"""One object on its way into a pickle: what is pickled how, and which memory goes beside it.

*Rule:* plain pickle first; cloudpickle takes over when plain pickle cannot carry the object, or would name
something of `__main__`, which exists in the kernel's process alone, or of a module registered with it.

*Rule:* memory goes beside the pickle: an object whose memory is lent is pickled as a call with a stand-in,
and the pickler's buffer callback puts the handle in the stand-in's place.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
import types
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np

from snakepit_nb.arrays import doors, dtypes
from snakepit_nb.arrays.account import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snakepit_nb.arrays.doors import Door, Reduced
    from snakepit_nb.arrays.loan import Item
    from snakepit_nb.arrays.shipping import Shipment
    from snakepit_nb.arrays.store import Mode

_MAIN: Final = b"__main__"
_NOWHERE: Final = "<dynamic-code>"
_CALL: Final = 2
_ARRAYS: Final = {np.ndarray}


def take(array: object) -> object:
    """What a shared array's pickle calls with the array that was put in its place.

    Example:
        >>> take("anything")
        'anything'
    """
    return array


def rebuild(data: bytes, descr: dtypes.Descr, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    """What the pickle of an array calls whose dtype NumPy's own pickling would change.

    Example:
        >>> rebuild(bytes(8), ">M8[s]", (1,), "C").dtype.str
        '>M8[s]'
    """
    array: np.ndarray = np.ndarray(shape, dtypes.restore(descr), bytearray(data), order=order)
    return array


def filed_under(code: types.CodeType, filename: str) -> types.CodeType:
    """What the pickle of a function that travels by value calls: its code says from which cell it is.

    Example:
        >>> filed_under(compile("1", "somewhere", "eval"), "<In [3]>").co_filename
        '<In [3]>'
    """
    return code.replace(co_filename=filename)


class Session:
    """One object being packed; a second try with the other pickler reuses what the first took in.

    Args:
        shipment: Takes in the memory.
        inline_bytes: Memory below this many bytes stays in the pickle.
    """

    def __init__(self, shipment: Shipment, inline_bytes: int) -> None:
        self.shipment = shipment
        self.inline_bytes = inline_bytes
        self.items: list[Item] = []
        # By identity, which is an object's own as long as it is kept here.
        self.taken: dict[int, tuple[object, Item | None]] = {}
        self.stand_ins: dict[int, tuple[pickle.PickleBuffer, Item | None]] = {}
        self.places: dict[tuple[int, int], tuple[object, Item | None]] = {}
        self.mode: Mode | None = None
        self.notes: dict[str, object] = {}
        self._out = io.BytesIO()

    def dump(self, obj: object) -> bytes:
        """Pickle by the names of things."""
        pickler = pickle.Pickler(self._out, 5, buffer_callback=self.buffer)
        pickler.dispatch_table = _Table(self)  # type: ignore[assignment]
        pickler.dump(obj)
        return self._dumped()

    def dump_by_value(self, obj: object) -> bytes:
        """Pickle with cloudpickle, from the start."""
        self.items.clear()
        self.stand_ins.clear()
        self._out = io.BytesIO()
        if self.shipment.account is not None:
            self.shipment.account.restart()
        _by_value_pickler()(self._out, self).dump(obj)
        return self._dumped()

    def _dumped(self) -> bytes:
        account = self.shipment.account
        if account is not None:
            account.end(self._out.tell())
        return self._out.getvalue()

    # Names

    def reduce_name(self, name: Name) -> Reduced:
        """What is pickled in the place of a name: the same as a plain string. Its value comes next."""
        account = self.shipment.account = name.account
        account.begin(name, self._out.tell())
        return str, (str(name),)

    # Arrays

    def reduce(self, array: np.ndarray) -> Reduced:
        """What is pickled in the place of an array."""
        if array.nbytes < self.inline_bytes and array.base is None:
            return self._writable_or_not(array, _in_band(array))
        known = self.taken.get(id(array))
        item = self.shipment.add(array) if known is None else known[1]
        if known is None:
            self.taken[id(array)] = (array, item)
        if item is None:
            reduced = _in_band(array)
            arguments = reduced[1]
            for each in arguments if isinstance(arguments, tuple) else ():
                if type(each) is pickle.PickleBuffer:
                    self.stand_ins[id(each)] = (each, None)  # it goes in band
            return self._writable_or_not(array, reduced)
        return take, (self._stand_in(item),)

    def _writable_or_not(self, array: np.ndarray, reduced: Reduced) -> Reduced:
        if self.shipment.mode_of(array) != "readonly":
            return reduced
        return read_only, tuple(reduced)

    def take_in(self, arrays: Sequence[np.ndarray]) -> bool:
        """Take these in, and no others; whether all of them are lent. If not, `dump` goes on with them."""
        for array in arrays:
            if array.nbytes < self.inline_bytes and array.base is None:
                self.items.clear()
                return False
            item = self.shipment.add(array)
            self.taken[id(array)] = (array, item)
            if item is None:
                self.items.clear()
                return False
            self.items.append(item)
        return True

    def _stand_in(self, item: Item) -> pickle.PickleBuffer:
        made = pickle.PickleBuffer(bytearray())
        self.stand_ins[id(made)] = (made, item)
        return made

    # Values of other libraries

    def enter(self, door: Door, obj: object) -> Reduced:
        """What is pickled in the place of an object that there is a door for."""
        before, mode = self.mode, self.shipment.mode_of(obj)
        # Torch, and whoever else does not ask, would write to a read-only mapping all the same, and die.
        self.mode = "copy_on_write" if mode == "readonly" else mode
        try:
            return door(obj, self)
        finally:
            self.mode = before

    def lend(  # noqa: PLR0913 - as the protocol has it
        self,
        data: np.ndarray,
        *,
        kind: str = "dlpack",
        dtype: str | None = None,
        shape: tuple[int, ...] | None = None,
        cached_by: object | None = None,
        owned_by: object | None = None,
        moved: bool = False,
    ) -> object:
        """See `doors.Lender`."""
        place = (_address(data), data.nbytes)
        known = self.places.get(place)
        if known is None:
            item = self.shipment.add(
                data, kind=kind, mode=self.mode, dtype=dtype, shape=shape, cached_by=cached_by,
                owned_by=owned_by, moved=moved,
            )  # fmt: skip
            self.places[place] = (data, item)
        else:
            item = known[1]
        if item is not None:
            return self._stand_in(item)
        made = pickle.PickleBuffer(data.data)
        self.stand_ins[id(made)] = (made, None)
        return made

    def reaches(self, data: np.ndarray) -> bool:
        """See `doors.Lender`."""
        return self.shipment.reaches(data)

    @property
    def moves(self) -> bool:
        """See `doors.Lender`."""
        return self.shipment.moves

    @property
    def trusts(self) -> bool:
        """See `doors.Lender`."""
        return self.shipment.trusts

    def room(self, nbytes: int) -> np.ndarray | None:
        """See `doors.Lender`."""
        return self.shipment.room(nbytes)

    # Buffers

    def buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """The pickler's question about a buffer: True keeps it in the pickle."""
        stand_in = self.stand_ins.get(id(buffer))
        item = stand_in[1] if stand_in is not None else self._plain_buffer(buffer)
        if item is None:
            return True
        self.items.append(item)
        return False

    def _plain_buffer(self, buffer: pickle.PickleBuffer) -> Item | None:
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return None
        if raw.nbytes < self.inline_bytes:
            return None
        view = np.frombuffer(raw, np.uint8)
        place = (_address(view), view.nbytes)
        known = self.places.get(place)
        if known is None:
            known = self.places[place] = (view, self.shipment.add(view, kind="arrow", owned_by=raw.obj))
        return known[1]


def _in_band(array: np.ndarray) -> Reduced:
    # NumPy's own pickling gives dates back in this machine's byte order, whatever theirs was.
    if not array.dtype.isnative:
        descr = dtypes.describe(array.dtype)
        if descr is not None:
            order = "F" if array.flags.fnc else "C"
            return rebuild, (array.tobytes(order), descr, array.shape, order)  # type: ignore[arg-type]
    return array.__reduce_ex__(5)  # type: ignore[return-value]


def read_only(
    make: Callable[..., np.ndarray], arguments: tuple[object, ...], state: object = None
) -> np.ndarray:
    """Make an array out of a pickle, and have it refuse to be written to.

    Example:
        >>> read_only(np.arange, (3,)).flags.writeable
        False
    """
    array = make(*arguments)
    if state is not None:
        array.__setstate__(state)  # type: ignore[arg-type]
    array.flags.writeable = False
    return array


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class _Table(dict[type, "Callable[[object], Reduced]"]):
    """How one session takes things apart, by type: arrays, what `copyreg` knows, and what a door is for."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self[np.ndarray] = session.reduce  # type: ignore[assignment]
        self[Name] = session.reduce_name  # type: ignore[assignment]
        self._session = session

    def __missing__(self, kind: type) -> Callable[[object], Reduced]:
        registered = copyreg.dispatch_table.get(kind)
        if registered is not None:
            return registered  # type: ignore[return-value]
        door = doors.find(kind)
        if door is None:
            raise KeyError(kind)
        session = self._session
        found: Callable[[object], Reduced] = lambda obj: session.enter(door, obj)  # noqa: E731 - kept for its type
        self[kind] = found
        return found


@cache
def _by_value_pickler() -> Callable[[io.BytesIO, Session], pickle.Pickler]:
    import cloudpickle  # noqa: PLC0415 - only for what plain pickle cannot carry

    class ByValue(cloudpickle.Pickler):  # type: ignore[misc]
        # It answers for functions and classes in `reducer_override`, and a dispatch table would not be asked.
        def __init__(self, out: io.BytesIO, session: Session) -> None:
            super().__init__(out, 5, buffer_callback=session.buffer)
            self._session = session

        def reducer_override(self, obj: object) -> object:
            kind = type(obj)
            if kind is np.ndarray:
                return self._session.reduce(obj)  # type: ignore[arg-type]
            if kind is Name:
                return self._session.reduce_name(obj)  # type: ignore[arg-type]
            if kind is types.CodeType and obj.co_filename != _NOWHERE:  # type: ignore[attr-defined]
                # cloudpickle leaves the name of the file out from 3.1.3 on; tracebacks want it.
                code = cast("types.CodeType", obj)
                return filed_under, (code.replace(co_filename=_NOWHERE), code.co_filename)
            door = None if kind in copyreg.dispatch_table else doors.find(kind)
            if door is not None:
                return self._session.enter(door, obj)
            return super().reducer_override(obj)

    return ByValue


def _registered_by_value() -> bool:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return cloudpickle is not None and bool(cloudpickle.list_registry_pickle_by_value())


def _only_arrays(obj: object) -> tuple[np.ndarray, ...]:
    """The arrays of what is nothing else: an array, or the arguments of a call; of anything else none."""
    if type(obj) is np.ndarray:
        return (obj,)
    if type(obj) is tuple and len(obj) == _CALL and type(obj[1]) is dict and not obj[1]:
        given = obj[0]
        if type(given) is tuple and set(map(type, given)) == _ARRAYS:
            return given if len(set(map(id, given))) == len(given) else ()
    return ()


class _Place:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return take, (pickle.PickleBuffer(bytearray()),)


@lru_cache(32)
def _skeleton(count: int, *, call: bool) -> bytes:
    """What so many arrays are pickled as that are lent: always the same."""
    places = tuple(_Place() for _ in range(count))
    return pickle.dumps((places, {}) if call else places[0], 5, buffer_callback=lambda _: False)


def dump(obj: object, session: Session) -> bytes:
    """Pickle an object; what memory it has is in the session's `items` then, in order.

    Raises:
        Exception: whatever pickle and cloudpickle raise for an object that cannot travel.

    Example:
        >>> from snakepit_nb.arrays.shipping import Shipment
        >>> from snakepit_nb.arrays.store import Store
        >>> pickle.loads(dump([1], Session(Shipment(Store("kernel", None)), 0)))
        [1]
    """
    arrays = _only_arrays(obj)
    if arrays and session.take_in(arrays):
        return _skeleton(len(arrays), call=obj is not arrays[0])
    if not _registered_by_value():
        try:
            data = session.dump(obj)
        except Exception:  # noqa: BLE001 - a user's __reduce__ may raise anything; cloudpickle has the last word
            data = _MAIN
        if _MAIN not in data:
            return data
    return session.dump_by_value(obj)
