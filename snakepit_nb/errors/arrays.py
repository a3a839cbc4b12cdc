"""The arrays that a failing frame held, told by library, shape, dtype and device.

*Rule:* never a value of an array, and never a name of its parts.
*Rule:* nothing is imported, and no code of a subclass runs: a library's own class says what its array is.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snakepit_nb.errors.held import held_around, held_by
from snakepit_nb.errors.hostile import MRO, guarded, type_name
from snakepit_nb.errors.record import ArrayFacts

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Iterator

    from snakepit_nb.errors.held import Held

_MOST: Final = 8
_TEXT: Final = 80
_COLUMNS: Final = 1_000
_NAMES: Final = 10_000
_KINDS: Final = 3
# Python's own errors, and those that the user raises, say nothing of arrays that their line does not name.
_PLAIN: Final = frozenset({"builtins", "python"})


class Read(NamedTuple):
    """What is asked of an array: attributes as `owner`, a class of the library's, defines them."""

    value: object
    owner: type

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - whatever the library's class gives
        """Give the attribute of that name."""
        for cls in MRO.__get__(self.owner):
            if name in vars(cls):
                found = vars(cls)[name]
                return found.__get__(self.value, self.owner)
        # Not of a class, but the instance's own.
        return object.__getattribute__(self.value, name)


class _Kind(NamedTuple):
    """A class that a library's arrays derive from, how shape, dtype and device are read, and its columns."""

    module: str
    name: str
    read: Callable[[Read], tuple[object, object, str]]
    names: Callable[[Read], Iterable[object]] = lambda _read: ()

    @property
    def library(self) -> str:
        return self.module.partition(".")[0]


def arrays_of(step: types.TracebackType, library: str) -> tuple[ArrayFacts, ...]:
    """The arrays that a failing line names, or else that its frame holds where a library raised.

    Example:
        >>> def f(x):
        ...     return x + 1 // 0
        >>> try:
        ...     f([1])
        ... except ZeroDivisionError as error:
        ...     arrays_of(error.__traceback__.tb_next, "builtins")
        ()
    """
    kinds = _loaded()
    if not kinds:
        return ()
    found = _each(held_by(step), kinds)
    if not found and library not in _PLAIN:
        found = _each(held_around(step), kinds)
    return found


def _loaded() -> dict[type, _Kind]:
    """The classes of arrays of those libraries that are loaded."""
    found = {}
    for kind in _KNOWN:
        module = sys.modules.get(kind.module)
        cls = None if module is None else vars(module).get(kind.name)
        if isinstance(cls, type):
            found[cls] = kind
    return found


def _each(held: Iterable[Held], kinds: dict[type, _Kind]) -> tuple[ArrayFacts, ...]:
    found: list[ArrayFacts] = []
    seen: set[int] = set()
    for each in held:
        if id(each.value) in seen or len(found) == _MOST:
            continue
        facts = guarded(lambda each=each: _facts(each, kinds), None)  # type: ignore[misc]
        if facts is not None:
            seen.add(id(each.value))
            found.append(facts)
    return tuple(found)


def _facts(held: Held, kinds: dict[type, _Kind]) -> ArrayFacts | None:
    found = _found(held.value, kinds)
    if found is None:
        return None
    kind, read = found
    shape, dtype, device = kind.read(read)
    # A length that is a symbol, as where a function is traced, is none that could be told.
    if not isinstance(shape, tuple) or any(type(length) is not int for length in shape):
        return None
    return ArrayFacts(held.name[:_TEXT], kind.library, tuple(shape), str(dtype)[:_TEXT], device[:_TEXT])


def _found(value: object, kinds: dict[type, _Kind]) -> tuple[_Kind, Read] | None:
    mro: tuple[type, ...] = MRO.__get__(type(value))
    kind = next((kinds[cls] for cls in mro if cls in kinds), None)
    if kind is None:
        return None
    owner = next(cls for cls in mro if type_name(cls).root in {kind.library, f"{kind.library}lib"})
    return kind, Read(value, owner)


def columns_of(value: object) -> Iterator[object]:
    """The names of a table's columns, or of a structured array's fields; none for other values.

    Example:
        >>> list(columns_of([1]))
        []
    """
    found = guarded(lambda: _found(value, _loaded()), None)
    if found is not None:
        kind, read = found
        nothing: list[object] = []
        yield from guarded(lambda: list(itertools.islice(kind.names(read), _NAMES)), nothing)


def _numpy(read: Read) -> tuple[object, object, str]:
    dtype = read("dtype")
    # Written out, a structured dtype is a list of its fields.
    fields = getattr(dtype, "names", None)
    return read("shape"), dtype if fields is None else getattr(dtype, "name", ""), "cpu"


def _cupy(read: Read) -> tuple[object, object, str]:
    return read("shape"), read("dtype"), f"cuda:{getattr(read('device'), 'id', 0)}"


def _torch(read: Read) -> tuple[object, object, str]:
    torch = sys.modules["torch"]
    mro: tuple[type, ...] = MRO.__get__(type(read.value))
    above = mro[: mro.index(torch.Tensor)]
    if any("__torch_dispatch__" in vars(cls) for cls in above):
        # Such a tensor may answer even for its shape with Python code of its own.
        return None, None, ""
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - no code of a subclass is to run
        return tuple(read("shape")), str(read("dtype")).removeprefix("torch."), str(read("device"))


def _jax(read: Read) -> tuple[object, object, str]:
    def place() -> str:
        devices = list(read("devices")())
        return ", ".join(sorted({_jax_device(each) for each in devices[:_KINDS]}))

    return read("shape"), read("dtype"), guarded(place, "")


def _jax_device(device: object) -> str:
    platform = getattr(device, "platform", "")
    return "cpu" if platform == "cpu" else f"{platform.replace('gpu', 'cuda')}:{getattr(device, 'id', 0)}"


def _frame(read: Read) -> tuple[object, object, str]:
    dtypes = [getattr(each, "name", "") for each in list(read("dtypes"))[:_COLUMNS]]
    return read("shape"), _few(dtypes), "cpu"


def _column(read: Read) -> tuple[object, object, str]:
    return read("shape"), getattr(read("dtype"), "name", ""), "cpu"


def _polars_frame(read: Read) -> tuple[object, object, str]:
    # Without their parts: an Enum's are what its columns hold.
    return read("shape"), _few([_base(each) for each in read("dtypes")[:_COLUMNS]]), "cpu"


def _polars_column(read: Read) -> tuple[object, object, str]:
    return read("shape"), _base(read("dtype")), "cpu"


def _base(dtype: Any) -> str:  # noqa: ANN401 - a dtype or a class of them
    return str(dtype.base_type().__name__)


def _table(read: Read) -> tuple[object, object, str]:
    return read("shape"), _few([_id(each) for each in read("schema").types[:_COLUMNS]]), "cpu"


def _arrow(read: Read) -> tuple[object, object, str]:
    return (read("__len__")(),), _id(read("type")), "cpu"


def _id(kind: object) -> str:
    # A nested type writes out the names of its fields.
    text = str(kind)
    return text.partition("<")[0]


def _sparse(read: Read) -> tuple[object, object, str]:
    return read("shape"), read("dtype"), "cpu"


def _few(names: list[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = ["..."] if len(distinct) > _KINDS else []
    return ", ".join([*distinct[:_KINDS], *more])


_KNOWN: Final = (
    _Kind("numpy", "ndarray", _numpy, lambda read: read("dtype").names or ()),
    _Kind("torch", "Tensor", _torch),
    _Kind("cupy", "ndarray", _cupy),
    _Kind("jax", "Array", _jax),
    _Kind("jax.core", "Tracer", _jax),
    _Kind("pandas", "DataFrame", _frame, lambda read: read("columns")),
    _Kind("pandas", "Series", _column),
    _Kind("pandas", "Index", _column),
    _Kind("polars", "DataFrame", _polars_frame, lambda read: read("columns")),
    _Kind("polars", "Series", _polars_column),
    _Kind("pyarrow", "Table", _table, lambda read: read("schema").names),
    _Kind("pyarrow", "RecordBatch", _table, lambda read: read("schema").names),
    _Kind("pyarrow", "Array", _arrow),
    _Kind("pyarrow", "ChunkedArray", _arrow),
    _Kind("scipy.sparse", "spmatrix", _sparse),
    _Kind("scipy.sparse", "sparray", _sparse),
)
