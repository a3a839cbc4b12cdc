"""Functions as they travel: packed once, named by the hash of their bytes, sent to each worker once.

*Rule:* a cached packing must still be what a new one would be. That is so for a function that travels by
name; one of the notebook travels by value, with what it refers to, and is packed at every submit.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import types
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.arrays.sharing import ORDINARY
from snakepit_nb.errors.types import CaptureError
from snakepit_nb.wire import travel
from snakepit_nb.wire.payload import Packed, apply, pack, pack_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.sharing import Sharing
    from snakepit_nb.arrays.store import Store

_KEPT: Final = 512
_BY_NAME: Final = (types.FunctionType, types.BuiltinFunctionType, type)
_EMPTY: Final = Packed(b"", b"", ())


class Function(NamedTuple):
    """A packed function: `key` is the hash of `data`, and what `Call` names it by."""

    key: bytes
    data: bytes


_by_name: dict[object, Function] = {}


def pack_function(function: Callable[..., object], store: Store) -> Function | None:
    """Pack a function; None where it refers to arrays that are shared, and so has to travel with a call.

    Raises:
        CaptureError: it, or something that it refers to, cannot travel; the message says what.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> pack_function(abs, Store("kernel", None)).key == pack_function(abs, Store("kernel", None)).key
        True
    """
    try:
        known = _by_name.get(function)
    except TypeError:  # a callable object that cannot be hashed
        known = None
    if known is not None:
        return known
    data = _pack(function, store, "function", getattr(function, "__qualname__", type(function).__name__))
    if data is None:
        return None
    made = Function(hashlib.blake2b(data, digest_size=16).digest(), data)
    if _travels_by_name(function):
        if len(_by_name) >= _KEPT:
            _by_name.clear()
        _by_name[function] = made
    return made


def _travels_by_name(function: object) -> bool:
    module = getattr(function, "__module__", None)
    if not isinstance(function, _BY_NAME) or module == "__main__" or module not in sys.modules:
        return False
    found: object = sys.modules[module]
    for part in str(getattr(function, "__qualname__", "")).split("."):
        found = getattr(found, part, None)
    # cloudpickle takes some modules by value when asked to; then the name is not in the bytes.
    return found is function and module.split(".")[0] not in _by_value()


def _by_value() -> frozenset[str]:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    listed = getattr(cloudpickle, "list_registry_pickle_by_value", None)
    return frozenset(listed()) if listed else frozenset()


def pack_arguments(
    args: tuple[object, ...],
    kwargs: dict[str, object],
    store: Store,
    request_id: int,
    *,
    sharing: Sharing = ORDINARY,
) -> Packed:
    """Pack the arguments of one call, with its arrays shared so.

    Raises:
        CaptureError: one of them cannot travel; the message says which, and what inside it.

    Example:
        >>> from snakepit_nb.arrays.store import Store
        >>> pack_arguments((), {}, Store("kernel", None), 1).data
        b''
    """
    if not args and not kwargs:
        return _EMPTY
    try:
        return pack(
            (args, kwargs), store, request_id=request_id, mode=sharing.mode, modes=sharing.modes,
            snapshot=sharing.snapshot,
        )  # fmt: skip
    except RecursionError:
        raise
    except Exception as refused:
        named = [(f"argument {index + 1}", each) for index, each in enumerate(args)]
        for name, value in (*named, *kwargs.items()):
            found = travel.obstacle(value, name)
            if found is not None:
                raise CaptureError(
                    name=name, path=found.path, type_name=found.type_name, reason=found.reason
                ) from refused
        raise CaptureError(
            name="arguments", path="arguments", type_name="tuple", reason=travel.describe(refused)
        ) from refused


def _pack(value: object, store: Store, what: str, name: str) -> bytes | None:
    try:
        return pack_alone(value, store)
    except Exception as refused:
        found = travel.obstacle(value, name)
        path = found.path if found else name
        type_name = found.type_name if found else what
        reason = found.reason if found else travel.describe(refused)
        raise CaptureError(name=name, path=path, type_name=type_name, reason=reason) from refused


APPLY: Final = Function(
    hashlib.blake2b(pickle.dumps(apply, 5), digest_size=16).digest(),
    pickle.dumps(apply, 5),
)
