"""An exception as bytes: its record, and beside it what of the exception itself can travel, each part apart.

*Rule:* a part that cannot be pickled, or is too big, is left behind by its name; the rest arrives.
*Rule:* unpickling imports nothing: what belongs to a module that is not loaded here stays behind too.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import types
from functools import cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.hostile import BASE, guarded, names_of, state_of, type_name
from snakepit_nb.errors.observe import Node, minimal, record_of, survey
from snakepit_nb.errors.record import ErrorRecord, TypeName, from_data, to_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

_MAGIC: Final = b"SPE1"
_HEAD: Final = struct.Struct("<4sI")
_PART: Final = 4 << 20
_ALL: Final = 8 << 20
_MAIN: Final = b"__main__"
_DESCRIPTORS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
# `obj` is whatever object lacked the attribute; a group's members travel as exceptions of their own.
_NOT_FIELDS: Final = frozenset(
    {(AttributeError, "obj"), (BaseExceptionGroup, "exceptions"), (BaseException, "args")}
)
_HOUSE: Final = ("worker_id", "pool", "request_id", "command")


class LeftBehind:
    """Stands for an argument of an exception that could not travel.

    Example:
        >>> LeftBehind("_thread.lock")
        <a _thread.lock that stayed in the worker>
    """

    __slots__ = ("type_name",)

    def __init__(self, type_name: str) -> None:
        """Keep the name of the type that stayed."""
        self.type_name = type_name

    def __repr__(self) -> str:
        """Say what stayed."""
        return f"<a {self.type_name} that stayed in the worker>"


class Part(NamedTuple):
    """What travelled of one exception, still pickled: `kind` is its class, where a name would not do."""

    kind: bytes | None
    args: tuple[bytes | str, ...]
    state: dict[str, bytes]
    fields: dict[str, bytes]
    left: tuple[str, ...]


class _TooBig(Exception):  # noqa: N818 - caught in this module
    pass


class _Bounded(io.RawIOBase):
    """Takes so many bytes and then refuses."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = bytearray()

    def write(self, data: Buffer, /) -> int:
        size = memoryview(data).nbytes
        if len(self.taken) + size > self.limit:
            raise _TooBig
        self.taken += data
        return size


class _Packer:
    """Pickles the parts of one exception tree under one limit."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []
        self.size = 0

    def add(self, value: object) -> int | None:
        """The number of the value's pickle, or None where it stays behind."""
        data = self._dump(value)
        if data is None:
            return None
        self.size += len(data)
        self.blobs.append(data)
        return len(self.blobs) - 1

    def _dump(self, value: object) -> bytes | None:
        limit = min(_PART, _ALL - self.size)
        plain = guarded(lambda: _dump(value, pickle.Pickler, limit), None)
        if plain is not None and _MAIN not in plain:
            return plain
        return guarded(lambda: _dump(value, _by_value(), limit), None)

    def part(self, exception: BaseException) -> dict[str, object]:
        """One exception's parts, by the numbers of their pickles."""
        classes = names_of(exception)
        cls = classes[0]
        left: list[str] = []
        args: list[object] = []
        if not issubclass(type(exception), BaseExceptionGroup):
            for number, value in enumerate(BASE["args"].__get__(exception)):
                index = self.add(value)
                args.append(str(type_name(type(value))) if index is None else index)
                if index is None:
                    left.append(f"args[{number}]")
        state = self._each(_own_state(exception), left)
        fields = self._each(_fields(exception, classes), left)
        kind = None if _found(type_name(cls)) is cls else self.add(cls)
        return {"kind": kind, "args": args, "state": state, "fields": fields, "left": left}

    def _each(self, values: dict[str, object], left: list[str]) -> dict[str, int]:
        indexes = {name: self.add(value) for name, value in values.items()}
        left += [name for name, index in indexes.items() if index is None]
        return {name: index for name, index in indexes.items() if index is not None}


def pack_exception(exception: BaseException) -> bytes:
    """An exception as bytes for another process, whatever it is; never raises.

    Example:
        >>> pack_exception(ValueError("no"))[:4]
        b'SPE1'
    """
    packed = guarded(lambda: pack(survey(exception)), None)
    return packed if packed is not None else pack(Node(exception), minimal(exception))


def pack(node: Node, record: ErrorRecord | None = None) -> bytes:
    """A surveyed exception as bytes; a `record` given stands in place of the one that would be made of it.

    Example:
        >>> record, parts = load(pack(survey(KeyError("a"))))
        >>> record.message, len(parts)
        ("'a'", 1)
    """
    packer = _Packer()
    record = record_of(node) if record is None else record
    nothing: dict[str, object] = {"kind": None, "args": [], "state": {}, "fields": {}, "left": ["args"]}
    parts = [guarded(partial(packer.part, each.exception), nothing) for each in _nodes(node)]
    header = json.dumps(
        {"record": to_data(record), "parts": parts, "sizes": [len(blob) for blob in packer.blobs]},
        separators=(",", ":"),
    ).encode("ascii")
    return b"".join((_HEAD.pack(_MAGIC, len(header)), header, *packer.blobs))


def load(data: bytes) -> tuple[ErrorRecord, list[Part]]:
    """What `pack` wrote: the record, and the parts of each exception in the order of `record.walk`.

    Raises:
        ValueError: the bytes are not such a parcel.

    Example:
        >>> load(b"nonsense")
        Traceback (most recent call last):
        ...
        ValueError: not a packed exception
    """
    try:
        magic, length = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            message = "not a packed exception"
            raise ValueError(message)
        start = _HEAD.size + length
        header = json.loads(data[_HEAD.size : start])
        blobs: list[bytes] = []
        for size in header["sizes"]:
            if size < 0 or start + size > len(data):
                message = "a packed exception is cut off"
                raise ValueError(message)
            blobs.append(data[start : start + size])
            start += size
        parts = [
            Part(
                kind=None if part["kind"] is None else blobs[part["kind"]],
                args=tuple(each if isinstance(each, str) else blobs[each] for each in part["args"]),
                state={name: blobs[index] for name, index in part["state"].items()},
                fields={name: blobs[index] for name, index in part["fields"].items()},
                left=tuple(map(str, part["left"])),
            )
            for part in header["parts"]
        ]
        return from_data(header["record"]), parts
    except (struct.error, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        message = "not a packed exception"
        raise ValueError(message) from error


def loads(data: bytes, own_module: str) -> object:
    """An unpickled part; `own_module` is the module of the exception's type, which may be imported.

    Raises:
        Exception: whatever the object's own way of being rebuilt raises, or `pickle.UnpicklingError` where
            it needs a module that is not loaded.

    Example:
        >>> loads(pickle.dumps((1, 2)), "builtins")
        (1, 2)
    """
    return _Unpickler(io.BytesIO(data), own_module).load()


def find(name: TypeName) -> type[BaseException] | None:
    """The exception class of that name among the modules that are loaded.

    Example:
        >>> find(TypeName("builtins", "KeyError")), find(TypeName("nowhere", "Error"))
        (<class 'KeyError'>, None)
    """
    found = _found(name)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def notebook_class(qualname: str, data: bytes) -> object:
    """The class of that name in this process's `__main__`, else the one that was sent by value.

    Example:
        >>> notebook_class("no such class", pickle.dumps(int))
        <class 'int'>
    """
    found = _found(TypeName("__main__", qualname))
    return found if isinstance(found, type) else loads(data, "__main__")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, own_module: str) -> None:
        super().__init__(file)
        self._own = own_module

    def find_class(self, module: str, name: str) -> object:
        if module.partition(".")[0] == "cloudpickle" and name == "subimport":
            return _loaded
        if module not in sys.modules and module != self._own and module.partition(".")[0] != "cloudpickle":
            message = f"{module} is not loaded here"
            raise pickle.UnpicklingError(message)
        return super().find_class(module, name)


def _loaded(name: str) -> types.ModuleType:
    if name not in sys.modules:
        message = f"{name} is not loaded here"
        raise pickle.UnpicklingError(message)
    return sys.modules[name]


def _found(name: TypeName) -> object:
    found: object = sys.modules.get(name.module)
    for step in name.qualname.split("."):
        found = guarded(lambda owner=found, step=step: vars(owner).get(step), None)  # type: ignore[misc]
    return found


def _dump(value: object, make: Callable[..., pickle.Pickler], limit: int) -> bytes:
    def fits(buffer: pickle.PickleBuffer) -> bool:
        # Asked before the pickler copies the buffer, which may be larger than what memory is left.
        if buffer.raw().nbytes > limit:
            raise _TooBig
        return True

    file = _Bounded(limit)
    make(file, 5, buffer_callback=fits).dump(value)
    return bytes(file.taken)


@cache
def _by_value() -> Callable[..., pickle.Pickler]:
    import cloudpickle  # noqa: PLC0415 - only for what plain pickle cannot carry

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: object) -> object:
            # cloudpickle would write the worker's copy over the notebook's class.
            if isinstance(obj, type):
                name = type_name(obj)
                if name.module == "__main__":
                    return notebook_class, (name.qualname, cloudpickle.dumps(obj, 5))
            return super().reducer_override(obj)

    return Pickler


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for linked in (node.cause, node.context, *node.members):
        if linked is not None:
            yield from _nodes(linked)


def _own_state(exception: BaseException) -> dict[str, object]:
    """The exception's own attributes; of one that came from a worker, without those that the house added."""
    state = dict(state_of(exception))
    state.pop("__notes__", None)
    inside = state.pop("_remote", None)
    if type(inside) is not tuple or type(inside[0]) is not ErrorRecord:
        return state
    added = {**{name: getattr(inside[0], name) for name in _HOUSE}, **inside[1]}
    return {name: value for name, value in state.items() if name not in added or added[name] is not value}


def _fields(exception: BaseException, classes: tuple[type, ...]) -> dict[str, object]:
    """What an exception keeps outside its `__dict__`: fields of the builtin types, and slots."""
    fields: dict[str, object] = {}
    for cls in classes:
        for name, descriptor in vars(cls).items():
            if type(descriptor) not in _DESCRIPTORS or name in fields or (cls, name) in _NOT_FIELDS:
                continue
            if name.startswith("__") and name.endswith("__"):
                continue
            value = guarded(partial(descriptor.__get__, exception), None)
            # None is what a field that was never set reads as, and what it will read as there.
            if value is not None:
                fields[name] = value
    return fields
