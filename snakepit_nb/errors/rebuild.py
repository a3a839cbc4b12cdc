"""A worker's exception made again in the kernel: an instance of its own type and of `RemoteError`.

*Rule:* nothing in here raises, whatever the bytes say; what cannot be made again is told by the record.
*Rule:* no code of the original class runs but what unpickles its attributes: not `__new__`, not `__init__`.
*Rule:* the one module that may be imported for an exception is the one that its own type comes from.
"""

from __future__ import annotations

import abc
import importlib
import sys
import types
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from snakepit_nb.errors import parcel
from snakepit_nb.errors.base import SnakepitError
from snakepit_nb.errors.cells import localised
from snakepit_nb.errors.hostile import BASE, MRO, guarded, state_of
from snakepit_nb.errors.mapping import map_record
from snakepit_nb.errors.observe import record_of, survey
from snakepit_nb.errors.record import ErrorRecord, TypeName, located
from snakepit_nb.errors.remote import RemoteError
from snakepit_nb.errors.stack import traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

E = TypeVar("E", bound=BaseException)

_HEAP: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made at run time, as every class statement does
_FIELDS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
_NOTHING: Final = parcel.Part(None, (), {}, {}, ())
# The key names classes by id: an entry lives as long as its class, which keeps those it names alive.
_stand_ins: WeakValueDictionary[tuple[object, ...], type[RemoteError]] = WeakValueDictionary()


class _Originals(NamedTuple):
    """What a stand-in derives from: the original where it was found (`exact`), else its nearest bases."""

    classes: tuple[type[BaseException], ...]
    exact: bool


def unpack_exception(
    data: bytes, *, worker_id: str, pool: str, request_id: int, command: str
) -> BaseException:
    """The exception that `pack_exception` packed, ready to be raised; never raises.

    The class raised derives from `RemoteError`, or one of its children where a rule fits, and from the
    original type, so that `except ValueError` works. An error of this package is of its own class alone.

    Example:
        >>> from snakepit_nb.errors import pack_exception
        >>> data = pack_exception(KeyError("a"))
        >>> error = unpack_exception(data, worker_id="w1", pool="default", request_id=1, command="f")
        >>> isinstance(error, KeyError), error.args, error.record.pool
        (True, ('a',), 'default')
        >>> print(unpack_exception(b"", worker_id="w1", pool="default", request_id=1, command="f"))
        the error of f arrived damaged (not a packed exception), and nothing else is known of it: run it again
    """
    try:
        record, parts = parcel.load(data)
        record = located(record, worker_id=worker_id, pool=pool, request_id=request_id, command=command)
        told = guarded(lambda: localised(record), record)
        return _build(told, iter(parts))
    except Exception as error:  # noqa: BLE001 - the bytes are another process's, and may say anything
        message = (
            f"the error of {command or 'a request'} arrived damaged ({error}), "
            f"and nothing else is known of it: run it again"
        )
        name = TypeName(RemoteError.__module__, RemoteError.__qualname__)
        damaged = ErrorRecord(name, (), message)
        return RemoteError(
            located(damaged, worker_id=worker_id, pool=pool, request_id=request_id, command=command)
        )


def reduced(error: RemoteError) -> tuple[Callable[[bytes], BaseException], tuple[bytes]]:
    """How a remote error pickles: as a worker packs it, without the frames that it passed here.

    Example:
        >>> reduced(RemoteError(ErrorRecord(TypeName("builtins", "OSError"), (), "no")))[0].__name__
        '_restore'
    """
    node = survey(error)
    record = replace(record_of(node), frames=error.record.frames)
    return _restore, (parcel.pack(node, record),)


def duplicate(error: RemoteError) -> RemoteError:
    """Another instance of the same class with the very same attributes.

    Example:
        >>> one = RemoteError(ErrorRecord(TypeName("builtins", "OSError"), (), "no"))
        >>> duplicate(one).record is one.record
        True
    """
    cls = type(error)
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    args: tuple[object, ...] = BASE["args"].__get__(error)
    copy = _bare(cls, args, tuple(members), error.record.message)
    for _, descriptor in _slots(cls):
        if (value := guarded(partial(descriptor.__get__, error), None)) is not None:
            guarded(partial(descriptor.__set__, copy, value), None)
    copy.__dict__.update(state_of(error))
    return copy


def _restore(data: bytes) -> BaseException:
    record, parts = parcel.load(data)
    return _build(record, iter(parts))


def _build(record: ErrorRecord, parts: Iterator[parcel.Part]) -> BaseException:
    part = next(parts, _NOTHING)
    cause = None if record.cause is None else _build(record.cause, parts)
    context = None if record.context is None else _build(record.context, parts)
    members = tuple(_build(member, parts) for member in record.members)
    error = _make(record, part, members)
    BASE["__cause__"].__set__(error, cause)
    BASE["__context__"].__set__(error, cause if record.context_is_cause else context)
    BASE["__suppress_context__"].__set__(error, record.suppress_context)
    BASE["__traceback__"].__set__(error, guarded(lambda: traceback_of(record.frames), None))
    if record.notes:
        error.__dict__["__notes__"] = list(record.notes)
    return error


def _make(record: ErrorRecord, part: parcel.Part, members: tuple[BaseException, ...]) -> BaseException:
    originals = _originals(record, part)
    left = list(part.left)
    args, state, fields = _unpickled(record, part, left)
    original = originals.classes[0] if originals.classes else BaseException
    if issubclass(original, SnakepitError) and not issubclass(original, RemoteError) and not record.frames:
        # The machinery's own word, such as a result that cannot travel; no code of the user's is in it.
        error = _bare(original, args, (), record.message)
        error.__dict__.update(state)
        return error
    mapped = guarded(lambda: map_record(record), None)
    base = RemoteError if mapped is None else mapped.cls
    made = guarded(lambda: _stand_in_instance(base, originals, record, args, members), None)
    error = _bare(base, args, (), record.message) if made is None else made
    for name, descriptor in _slots(type(error)):
        if name in fields:
            guarded(partial(descriptor.__set__, error, fields[name]), None)
    error.__dict__.update(state)
    facts = {} if mapped is None else mapped.facts
    error.settle(record, facts, None if mapped is None else mapped.suggestion, tuple(left))
    return error


def _unpickled(
    record: ErrorRecord, part: parcel.Part, left: list[str]
) -> tuple[tuple[object, ...], dict[str, object], dict[str, object]]:
    """Arguments, attributes and fields; what does not come out of its pickle is added to `left`."""

    def value(name: str, data: bytes | str) -> object:
        if isinstance(data, str):
            return parcel.LeftBehind(data)
        found = guarded(lambda: (parcel.loads(data, record.type.module),), None)
        if found is None:
            left.append(name)
            return parcel.LeftBehind("value")
        return found[0]

    def each(blobs: dict[str, bytes]) -> dict[str, object]:
        values = {name: value(name, data) for name, data in blobs.items()}
        return {name: found for name, found in values.items() if type(found) is not parcel.LeftBehind}

    args = tuple(value(f"args[{number}]", data) for number, data in enumerate(part.args))
    return args, each(part.state), each(part.fields)


def _originals(record: ErrorRecord, part: parcel.Part) -> _Originals:
    found = guarded(lambda: _original(record.type, part), None)
    if found is not None:
        return _Originals((found,), exact=True)
    nearest: list[type[BaseException]] = []
    for name in record.bases:
        base = guarded(partial(parcel.find, name), None)
        if base is not None and not any(_derives(one, base) for one in nearest):
            nearest.append(base)
    return _Originals(tuple(nearest), exact=False)


def _original(name: TypeName, part: parcel.Part) -> type[BaseException] | None:
    """The original type: by its name, where it may be imported, else by value."""
    if name.module not in sys.modules and part.kind is None:
        importlib.import_module(name.module)
    found = parcel.find(name)
    if found is None and part.kind is not None:
        cls = parcel.loads(part.kind, name.module)
        found = cls if isinstance(cls, type) and issubclass(cls, BaseException) else None
    return found


def _stand_in_instance(
    base: type[RemoteError],
    originals: _Originals,
    record: ErrorRecord,
    args: tuple[object, ...],
    members: tuple[BaseException, ...],
) -> RemoteError | None:
    """An instance that derives from the originals, or from the nearest of their bases that allow it."""
    tries = [originals]
    tries += [
        _Originals((one,), exact=False) for each in originals.classes for one in MRO.__get__(each)[1:-1]
    ]
    for each in tries:
        made = guarded(
            lambda each=each: _bare(_stand_in(base, each, record.type), args, members, record.message),  # type: ignore[misc]
            None,
        )
        if made is not None:
            return made
    return None


def _stand_in(base: type[RemoteError], originals: _Originals, name: TypeName) -> type[RemoteError]:
    """The class that derives from `base` and from the originals; one for each such pair."""
    key = (base, originals.exact, name, *map(id, originals.classes))
    known = _stand_ins.get(key)
    if known is not None:
        return known
    first = originals.classes[0] if originals.classes else None
    # NumPy's ArrayMemoryError calls itself MemoryError: `__name__` is not always the end of `__qualname__`.
    shown = str(type.__getattribute__(first, "__name__")) if originals.exact else name.name
    # What the base derives from already must not come before it, such as Exception itself.
    others = tuple(cls for cls in originals.classes if not _derives(base, cls))
    kept = () if any(_derives(cls, base) for cls in others) else (base,)
    namespace = {
        "__module__": name.module,
        "__qualname__": name.qualname,
        "__doc__": None if first is None else type.__getattribute__(first, "__doc__"),
        "_original": first if originals.exact else None,
        # Made for this process alone, the class cannot be pickled by its name.
        "__reduce_ex__": lambda self, _protocol: reduced(self),
        "__reduce__": reduced,
        "__copy__": duplicate,
        "__deepcopy__": lambda self, _memo: _restore(*reduced(self)[1]),
    }
    made = _class(shown, (*kept, *others), namespace)
    _stand_ins[key] = made
    return made


def _derives(cls: type, base: type) -> bool:
    # Not issubclass: that asks the metaclass of the base, which may be the user's.
    return any(each is base for each in MRO.__get__(cls))


def _class(name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> type[RemoteError]:
    kinds = {type(base) for base in bases}
    kind = next((one for one in kinds if all(issubclass(one, other) for other in kinds)), type)
    if kind in {type, abc.ABCMeta}:
        return kind(name, bases, namespace)
    # A metaclass of the user's may register classes, or refuse them; its own __new__ is passed over.
    return type.__new__(kind, name, bases, namespace)


def _bare(cls: type[E], args: tuple[object, ...], members: tuple[BaseException, ...], message: str) -> E:
    """An instance whose builtin part is set up and whose own `__new__` and `__init__` did not run."""
    solid = _solid(cls)
    create = solid.__new__
    if issubclass(cls, BaseExceptionGroup):
        text = args[0] if args and isinstance(args[0], str) else message.rpartition(" (")[0]
        args = (text, list(members))
    made = guarded(lambda: create(cls, *args), None)
    error: E = create(cls) if made is None else made
    # OSError, SyntaxError, UnicodeError, StopIteration and SystemExit take their fields from here.
    guarded(lambda: solid.__init__(error, *args), None)
    BASE["args"].__set__(error, args)
    return error


def _solid(cls: type[BaseException]) -> type[BaseException]:
    """The builtin type that an exception's memory is laid out as."""
    solid = cls
    while solid.__flags__ & _HEAP and solid.__base__ is not None:
        solid = solid.__base__
    return solid


def _slots(
    cls: type[BaseException],
) -> Iterator[tuple[str, types.MemberDescriptorType | types.GetSetDescriptorType]]:
    """The fields that an exception keeps outside its `__dict__`, but for those of every exception."""
    for owner in MRO.__get__(cls):
        if owner is BaseException or owner is object or owner is BaseExceptionGroup:
            continue
        for name, descriptor in vars(owner).items():
            if isinstance(descriptor, _FIELDS) and not (name.startswith("__") and name.endswith("__")):
                yield name, descriptor
