"""The DLPack door: arrays of any library that speaks the protocol, known by the protocol and not by name.

*Rule:* an array comes back as what it was: by the `from_dlpack` of its own library, or by its own pickling.
NumPy's array takes its place only where it has neither.

*Rule:* a producer that fails, or whose memory is not this machine's, is left to its own pickling.

The exchange itself is NumPy's, which gives memory back from any thread and at any time. For a data type that
NumPy does not have (bfloat16, the 8-bit floats) the type's code in the exchanged struct is changed to that of
an unsigned integer of the same size for NumPy's eyes, and back for the library's on the other side.
"""

from __future__ import annotations

import contextlib
import copyreg
import ctypes
import io
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.doors import Lender

# Where a library keeps its types is not always where it keeps its functions.
_JAX: Final = "jax.numpy"
_LIBRARIES: Final = {"jaxlib": _JAX, "jax": _JAX}
# They never write to an array, so it may be made over memory that is only to be read. Others may: what was
# made over an array of NumPy or torch changes when that does.
_IMMUTABLE: Final = frozenset({_JAX})

_UINT: Final = 1
# What NumPy lacks, by its code in DLPack 1.1 (https://dmlc.github.io/dlpack/latest/c_api.html), as ml_dtypes
# names it. All but bfloat16 have one byte.
_FOREIGN: Final = {
    4: "bfloat16",
    7: "float8_e3m4",
    8: "float8_e4m3",
    9: "float8_e4m3b11fnuz",
    10: "float8_e4m3fn",
    11: "float8_e4m3fnuz",
    12: "float8_e5m2",
    13: "float8_e5m2fnuz",
    14: "float8_e8m0fnu",
}


class Producer(Protocol):
    """What the protocol asks of an array."""

    def __dlpack__(self, **wishes: object) -> object: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


# https://dmlc.github.io/dlpack/latest/c_api.html


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_OLD: Final = b"dltensor"
_NEW: Final = b"dltensor_versioned"
_is_named: Final = ctypes.pythonapi.PyCapsule_IsValid
_is_named.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer: Final = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer.restype = ctypes.c_void_p


def _tensor_in(capsule: object) -> _Tensor:
    """The struct in a capsule that nobody has consumed yet.

    Raises:
        ArrayError: it is no such capsule, or one of a version to come.
    """
    if _is_named(capsule, _NEW):
        whole = _Versioned.from_address(_pointer(capsule, _NEW))
        if whole.major == 1:
            return cast("_Tensor", whole.tensor)
    elif _is_named(capsule, _OLD):
        return _Tensor.from_address(_pointer(capsule, _OLD))
    message = f"__dlpack__ gave {type(capsule).__name__}, expected a capsule of DLPack 0 or 1"
    raise ArrayError(message)


class _ForNumPy:
    """A producer whose data type, if NumPy does not have it, is told as an unsigned integer."""

    __slots__ = ("_producer", "code")

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.code = 0

    def __dlpack__(self, **wishes: object) -> object:
        capsule = self._producer.__dlpack__(**wishes)
        tensor = _tensor_in(capsule)
        if tensor.code in _FOREIGN and tensor.lanes == 1:
            self.code, tensor.code = tensor.code, _UINT
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._producer.__dlpack_device__()


class _FromNumPy:
    """An array of unsigned integers as a producer of what they stand for."""

    __slots__ = ("_array", "_code")

    def __init__(self, array: np.ndarray, code: int) -> None:
        self._array = array
        self._code = code

    def __dlpack__(self, **wishes: object) -> object:
        capsule = cast("Producer", self._array).__dlpack__(**wishes)
        _tensor_in(capsule).code = self._code
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def take(producer: object) -> tuple[np.ndarray, int]:
    """A producer's memory as a NumPy array, without a copy, and the code of a data type that NumPy lacks.

    The code is 0 for the data types that it has.

    Raises:
        Exception: whatever the producer raises; or NumPy, for memory of a device and for a type of odd size.

    Example:
        >>> array, code = take(np.arange(3))
        >>> array.tolist(), code
        ([0, 1, 2], 0)
    """
    asked = _ForNumPy(cast("Producer", producer))
    array = np.from_dlpack(asked)  # type: ignore[arg-type] # its stub knows one wish of the many
    return array, asked.code


def door(kind: type) -> Callable[[object, Lender], tuple[object, ...]] | None:
    """The door for arrays of this type, or None for those whose own pickling keeps more of them.

    Example:
        >>> door(list) is None
        True
    """
    if issubclass(kind, np.ndarray) or not (
        callable(getattr(kind, "__dlpack__", None)) and callable(getattr(kind, "__dlpack_device__", None))
    ):
        return None
    library = _library_of(kind)
    if library is not None:
        return lambda producer, lender: _reduce_for(library, producer, lender)
    return None if _has_own_pickling(kind) else _reduce_unknown


def _library_of(kind: type) -> str | None:
    """The module whose `from_dlpack` makes arrays of this type, or None."""
    module = kind.__module__ if isinstance(kind.__module__, str) else ""
    root = module.partition(".")[0]
    if root in _LIBRARIES:
        return _LIBRARIES[root]
    if root == "__main__":  # there is another one in the other process
        return None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        function = getattr(sys.modules.get(name), "from_dlpack", None)
        # One that was only imported there makes arrays of another library.
        if callable(function) and str(getattr(function, "__module__", root)).partition(".")[0] == root:
            return name
    return None


def _has_own_pickling(kind: type) -> bool:
    names = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
    return kind in copyreg.dispatch_table or any(
        getattr(kind, name, None) is not getattr(object, name, None) for name in names
    )


def _reduce_for(library: str, producer: object, lender: Lender) -> tuple[object, ...]:
    # A weak type, which is JAX's for plain Python numbers, is not in the protocol.
    if getattr(producer, "weak_type", False) or not _on_cpu(producer):
        return _by_its_own(producer)
    try:
        array, code = take(producer)
    except Exception:  # noqa: BLE001 - a producer may raise anything, and says no by that
        return _by_its_own(producer)
    return _reduce_array(array, code, library, lender, producer)


def _reduce_unknown(producer: object, lender: Lender) -> tuple[object, ...]:
    if not _pickles(producer) and _on_cpu(producer):
        try:
            array, code = take(producer)
        except Exception:  # noqa: BLE001 - a producer may raise anything, and says no by that
            return _by_its_own(producer)
        return _reduce_array(array, code, None, lender, producer)
    return _by_its_own(producer)


def _by_its_own(producer: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", producer.__reduce_ex__(5))


def _on_cpu(producer: object) -> bool:
    try:
        return cast("Producer", producer).__dlpack_device__()[0] == 1
    except Exception:  # noqa: BLE001 - a producer may raise anything, and says no by that
        return False


class _Nowhere(io.RawIOBase):
    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def _pickles(obj: object) -> bool:
    import cloudpickle  # noqa: PLC0415 - only for types that no library stands for

    try:
        cloudpickle.Pickler(_Nowhere(), 5, buffer_callback=lambda _: False).dump(obj)
    except Exception:  # noqa: BLE001 - a user's __reduce__ may raise anything
        return False
    return True


def _reduce_array(
    array: np.ndarray, code: int, library: str | None, lender: Lender, producer: object
) -> tuple[object, ...]:
    if not array.flags.c_contiguous or not array.nbytes:
        return rebuild, (array, None, array.shape, code, library)
    data = array.reshape(-1).view(np.uint8)
    dtype = _FOREIGN.get(code, array.dtype.name)
    lent = lender.lend(data, dtype=dtype, shape=array.shape, owned_by=producer)
    return rebuild, (lent, array.dtype.str, array.shape, code, library)


def rebuild(
    data: np.ndarray | bytearray | bytes,
    dtype: str | None,
    shape: tuple[int, ...],
    code: int,
    library: str | None,
) -> object:
    """What was lent, as an array of the library that it came from, or of NumPy where that is not to be had.

    Raises:
        ArrayError: it comes to NumPy and has a data type that NumPy does not have, without `ml_dtypes`.

    Example:
        >>> rebuild(bytes([1, 0, 2, 0]), "<i2", (2,), 0, None).tolist()
        [1, 2]
    """
    array = data if isinstance(data, np.ndarray) else np.frombuffer(bytearray(data), np.uint8)
    if dtype is not None:
        array = array.view(dtype).reshape(shape)
    function = _from_dlpack(library) if library else None
    if library is None or function is None:
        return _for_numpy(array, code)
    if library in _IMMUTABLE and not array.flags.writeable:
        array = _unlocked(array)
    return _made(library, function, array, code)


def _from_dlpack(library: str) -> Callable[[object], object] | None:
    try:
        function = getattr(import_module(library), "from_dlpack", None)
    except ImportError:
        return None
    return function if callable(function) else None


def _made(library: str, function: Callable[[object], object], array: np.ndarray, code: int) -> object:
    """What a library makes of an array: over its memory, or where it refuses that, over a plain copy."""
    for copied in (False, True):
        given = array.copy() if copied else array
        with contextlib.suppress(Exception), _exactly(library, array.dtype):
            return function(_FromNumPy(given, code) if code else given)
    return _for_numpy(array, code)


def _exactly(library: str, dtype: np.dtype) -> contextlib.AbstractContextManager[object]:
    """JAX makes 32 bits of 64 unless it is told otherwise, which may have happened in one process alone."""
    if library != _JAX or dtype.name not in {"float64", "int64", "uint64", "complex128"}:
        return contextlib.nullcontext()
    jax = import_module("jax")
    allow = jax.enable_x64 if hasattr(jax, "enable_x64") else import_module("jax.experimental").enable_x64
    return cast("contextlib.AbstractContextManager[object]", allow(True))  # noqa: FBT003 - JAX's own


def _for_numpy(array: np.ndarray, code: int) -> np.ndarray:
    if not code:
        return array
    try:
        import ml_dtypes  # noqa: PLC0415 - only for types that NumPy lacks
    except ImportError as error:
        message = (
            f"an array of {_FOREIGN[code]} needs its own library or ml_dtypes here: pip install ml_dtypes"
        )
        raise ArrayError(message) from error
    return array.view(getattr(ml_dtypes, _FOREIGN[code]))


class _Unlocked:
    __slots__ = ("__array_interface__", "_owner")

    def __init__(self, array: np.ndarray) -> None:
        self._owner = array
        shown = array.__array_interface__
        self.__array_interface__ = {**shown, "data": (shown["data"][0], False)}


def _unlocked(array: np.ndarray) -> np.ndarray:
    """The same array without the mark "read-only", which DLPack's first version cannot carry.

    Only for a library that never writes to an array.
    """
    return np.asarray(_Unlocked(array))
