"""The door for tables: what Arrow holds travels by its buffers, and arrives as Arrow over lent memory.

*Rule:* Arrow's own reduction takes an array apart and puts it together again, so every type passes that Arrow
can pickle; only its buffers are exchanged for lent ones, and a type is sent only where nothing else tells it.

*Rule:* memory counts as unchangeable only where its maker says so (`constant`), and where that is trusted.
"""

from __future__ import annotations

import copyreg
import pickle
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from snakepit_nb.arrays.constant import beside, is_constant
from snakepit_nb.arrays.cuts import arrays_of, without_the_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from snakepit_nb.arrays.doors import Door, Lender, Reduced

    # An array's data as Arrow takes it apart: type, length, nulls, offset, buffers, children, dictionary.
    # In a recipe, a type that its surroundings tell is None, and a buffer is a place.
    Parts: TypeAlias = (
        "tuple[pa.DataType | None, int, int, int, Sequence[Any], Sequence[Parts], Parts | None]"
    )
    Form: TypeAlias = tuple[pa.Schema | bytes, list[list[Parts]]]


def door(kind: type) -> Door | None:
    """How an object of this type is taken apart; None where ordinary pickling is right.

    pandas' frames are taken apart by their own pickling, down to the arrays inside. An object of any other
    library that offers itself to Arrow and cannot be pickled arrives as a table, batch or array of pyarrow.

    Example:
        >>> import pyarrow as pa
        >>> door(pa.Table) is None, door(pa.Schema) is None
        (False, True)
    """
    libraries = [str(base.__module__).partition(".")[0] for base in kind.__mro__]
    for base, library in zip(kind.__mro__, libraries, strict=True):
        reduce = _DOORS.get((library, base.__name__))
        if reduce is not None and (library != "polars" or base is kind):
            return reduce
    if "pandas" in libraries or "polars" in libraries or kind in copyreg.dispatch_table:
        return None
    offered = hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__arrow_c_array__")
    return _reduce_offered if offered else None


# How each kind is taken apart


def _reduce_table(table: pa.Table, lender: Lender) -> Reduced:
    return _table, _taken_apart(table, lender)


def _reduce_batch(batch: pa.RecordBatch, lender: Lender) -> Reduced:
    return _batch, _taken_apart(batch, lender)


def _reduce_chunked(array: pa.ChunkedArray, lender: Lender) -> Reduced:
    return _chunked, _taken_apart(array, lender)


def _reduce_array(array: pa.Array, lender: Lender) -> Reduced:
    return _array, _taken_apart(array, lender)


def _reduce_buffer(buffer: pa.Buffer, lender: Lender) -> Reduced:
    if not buffer.is_cpu:
        return cast("Reduced", buffer.__reduce_ex__(5))
    if not buffer.size:
        return _buffer, (b"", buffer.is_mutable)
    # One that may be written to is not constant, and arrives so that it may be.
    owner = buffer if lender.trusts and not buffer.is_mutable and is_constant(buffer) else None
    data = np.frombuffer(buffer, np.uint8)
    lent = lender.lend(data, kind="arrow", dtype="uint8", shape=data.shape, cached_by=owner, owned_by=buffer)
    return _buffer, (lent, buffer.is_mutable)


class _Given(NamedTuple):
    """The table that a frame of polars gave, and where its memory lies."""

    table: pa.Table
    places: list[tuple[int, int]]


def _reduce_polars(frame: pl.DataFrame | pl.Series, lender: Lender) -> Reduced:
    # polars writes in place where nobody else holds a column. The table that it gave is kept for as long as
    # the frame lives, so polars makes a new column for a write, and what was shared stays as it was.
    import polars as pl  # noqa: PLC0415 - who has a frame of it has loaded it
    import pyarrow as pa  # noqa: PLC0415 - as light as the house must be for who has no tables

    del lender  # the table comes through its own door
    whole = frame.to_frame() if isinstance(frame, pl.Series) else frame
    known = beside.find(frame)
    try:
        # Its stream would first copy all chunks into one.
        table = whole.to_arrow(compat_level=pl.CompatLevel.newest())
        places = _places(table)
        if isinstance(known, _Given) and known.places == places:
            table = known.table
        elif not _arrives_as(whole, table):
            return cast("Reduced", frame.__reduce_ex__(5))
        else:
            beside.keep(frame, _Given(table, places))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, KeyError):
        # KeyError: pyarrow is older than a type of polars.
        return cast("Reduced", frame.__reduce_ex__(5))
    return (_frame if whole is frame else _series), (table,)


def _arrives_as(frame: pl.DataFrame, table: pa.Table) -> bool:
    """Whether polars makes a frame of the same types from this table; Arrow has no place for some of them."""
    return _frame(table.schema.empty_table()).schema == frame.schema and table.num_rows == frame.height


def _places(table: pa.Table) -> list[tuple[int, int]]:
    """Where the memory of a table lies."""
    buffers = chain.from_iterable(array.buffers() for array in arrays_of(table))
    return [(each.address, each.size) for each in buffers if each is not None]


def _reduce_column(column: pd.arrays.ArrowExtensionArray, lender: Lender) -> Reduced:
    # Its own pickling first copies all chunks into one. The array inside comes through its own door.
    del lender
    state = dict(column.__dict__)
    if "_cache" in state:
        state["_cache"] = {}
    return _column, (type(column), state)


def _reduce_offered(obj: object, lender: Lender) -> Reduced:
    try:
        return cast("Reduced", obj.__reduce_ex__(5))
    except Exception:  # noqa: BLE001 - each library refuses in its own way
        found = _taken_over(obj)
        reduce = cast("Callable[[object, Lender], Reduced]", door(type(found)))
        return reduce(found, lender)


_DOORS: Final[dict[tuple[str, str], Callable[..., Reduced]]] = {
    ("pyarrow", "Table"): _reduce_table,
    ("pyarrow", "RecordBatch"): _reduce_batch,
    ("pyarrow", "ChunkedArray"): _reduce_chunked,
    ("pyarrow", "Array"): _reduce_array,
    ("pyarrow", "Buffer"): _reduce_buffer,
    ("pandas", "ArrowExtensionArray"): _reduce_column,
    ("polars", "DataFrame"): _reduce_polars,
    ("polars", "Series"): _reduce_polars,
}


def _taken_over(obj: object) -> object:
    """A table, batch or array over what an object offers to Arrow."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    streams = hasattr(obj, "__arrow_c_stream__")
    try:
        return pa.table(obj) if streams else pa.record_batch(obj)
    except (pa.ArrowException, TypeError, ValueError):  # it has values that are no rows
        return pa.chunked_array(obj) if streams else pa.array(obj)


class _Memory(NamedTuple):
    """The memory of one buffer, and what is said of it when it is lent."""

    data: np.ndarray
    dtype: str
    shape: tuple[int, ...]
    constant: bool


class _Recipe(NamedTuple):
    """What an object is made from.

    `form` is a schema, and for each column the parts of its chunks, in which each buffer is a place in
    `memory`; pickled where that can be done once for all. `cut` is what was cut out and is sent instead.
    `trusting` says whether memory that Arrow takes for unchangeable was taken for that.
    """

    form: object
    memory: list[_Memory]
    cut: object | None
    trusting: bool


def _taken_apart(held: pa.Table, lender: Lender) -> Reduced:
    """The arguments of `_table` and the like, for a table, a batch, a chunked array or an array."""
    recipe, owner, sent = beside.find(held), held, held
    if not isinstance(recipe, _Recipe) or recipe.trusting != lender.trusts:
        sent, lasting = without_the_rest(held, lender)
        recipe = _recipe_of(sent, None if sent is held else sent, trusting=lender.trusts)
        if lasting:
            beside.keep(held, recipe)
        elif sent is not held:
            owner = None
    if recipe.cut is not None and owner is not None:
        owner = recipe.cut
    lend = lender.lend
    lent = [
        lend(
            data,
            kind="arrow",
            dtype=dtype,
            shape=shape,
            cached_by=owner if constant and recipe.trusting else None,
            owned_by=sent,
        )
        for data, dtype, shape, constant in recipe.memory
    ]
    return recipe.form, held.num_rows if hasattr(held, "num_rows") else len(held), lent


def _recipe_of(sent: pa.Table, cut: object | None, *, trusting: bool) -> _Recipe:
    import pyarrow as pa  # noqa: PLC0415 - as above

    if hasattr(sent, "schema"):
        schema, columns = sent.schema, [list(arrays_of(each)) for each in sent.columns]
    else:
        schema, columns = pa.schema([("", sent.type)]), [list(arrays_of(sent))]
    writing = _Writing()
    form = [writing.chunks(chunks, kind) for chunks, kind in zip(columns, schema.types, strict=True)]
    # A type that extends Arrow is known by its class, which a pickle within a pickle might not find; and in a
    # column without chunks nobody looked for one.
    if writing.extended or not all(columns):
        return _Recipe((schema, form), writing.memory, cut, trusting)
    message = schema.serialize()
    faithful = pa.ipc.read_schema(message).equals(schema, check_metadata=True)
    told = message.to_pybytes() if faithful else schema
    return _Recipe(pickle.dumps((told, form), 5), writing.memory, cut, trusting)


class _Writing:
    """Writes a recipe."""

    def __init__(self) -> None:
        self.memory: list[_Memory] = []
        self.extended = False

    def chunks(self, arrays: Iterable[pa.Array], kind: pa.DataType) -> list[Parts]:
        dtype = str(kind)
        return [self._parts(each.__reduce__()[1][0], kind, dtype, (len(each),)) for each in arrays]

    def _parts(self, data: Parts, told: object, dtype: str, shape: tuple[int, ...]) -> Parts:
        import pyarrow as pa  # noqa: PLC0415 - as above

        kind, length, nulls, offset, buffers, children, dictionary = data
        known = cast("pa.DataType", kind)
        inner, values = _inner(known)
        self.extended = self.extended or isinstance(known, pa.BaseExtensionType)
        return (
            None if told is not None and known.equals(told, check_metadata=True) else known,
            length,
            nulls,
            offset,
            tuple([self._buffer(each, dtype, shape) for each in buffers]),
            tuple([self._parts(each, its, dtype, shape) for each, its in zip(children, inner, strict=True)]),
            None if dictionary is None else self._parts(dictionary, values, dtype, shape),
        )

    def _buffer(self, buffer: object, dtype: str, shape: tuple[int, ...]) -> object:
        """The place of a buffer; -1 for one that is empty, None for none."""
        if buffer is None:
            return None
        held = cast("pa.Buffer", buffer)
        if not held.size:
            return -1
        self.memory.append(_Memory(np.frombuffer(held, np.uint8), dtype, shape, is_constant(held)))
        return len(self.memory) - 1


def _inner(kind: pa.DataType) -> tuple[list[pa.DataType], pa.DataType | None]:
    """The types of an array's children and of its dictionary, as its own type tells them."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if isinstance(kind, pa.DictionaryType):
        return [], kind.value_type
    return [kind.field(place).type for place in range(kind.num_fields)], None


# How it is put together again; these names stand in the pickles


def _table(form: object, rows: int, lent: Sequence[object]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - as above

    schema, columns = _read(form, lent)
    if not columns:
        return pa.Table.from_batches([_batch(form, rows, lent)])
    pairs = zip(columns, schema.types, strict=True)
    return pa.Table.from_arrays(
        [pa.chunked_array(chunks, type=kind) for chunks, kind in pairs], schema=schema
    )


def _batch(form: object, rows: int, lent: Sequence[object]) -> pa.RecordBatch:
    import pyarrow as pa  # noqa: PLC0415 - as above

    schema, columns = _read(form, lent)
    if not columns:
        empty = pa.record_batch([pa.nulls(rows)], [""]).select([])
        return empty.replace_schema_metadata(schema.metadata)
    return pa.RecordBatch.from_arrays([array for [array] in columns], schema=schema)


def _chunked(form: object, rows: int, lent: Sequence[object]) -> pa.ChunkedArray:
    import pyarrow as pa  # noqa: PLC0415 - as above

    del rows
    schema, [chunks] = _read(form, lent)
    return pa.chunked_array(chunks, type=schema.field(0).type)


def _array(form: object, rows: int, lent: Sequence[object]) -> pa.Array:
    del rows
    _, [[array]] = _read(form, lent)
    return array


def _read(form: object, lent: Sequence[object]) -> tuple[pa.Schema, list[list[pa.Array]]]:
    """The schema of a recipe, and the chunks of each column."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    told, columns = pickle.loads(form) if isinstance(form, bytes) else cast("Form", form)  # noqa: S301 - from a pickle
    schema = pa.ipc.read_schema(pa.py_buffer(told)) if isinstance(told, bytes) else told
    buffers = [_buffer(each) for each in lent]
    # The function that Arrow's own pickles name: so it stays there.
    restore = pa.lib._restore_array  # noqa: SLF001
    pairs = zip(columns, schema.types, strict=True)
    return schema, [[restore(_data(each, kind, buffers)) for each in chunks] for chunks, kind in pairs]


def _data(parts: Parts, told: pa.DataType | None, buffers: Sequence[pa.Buffer]) -> Parts:
    given, length, nulls, offset, places, children, dictionary = parts
    kind = told if given is None else given
    inner, values = _inner(kind) if children or dictionary is not None else ([], None)
    return (
        kind,
        length,
        nulls,
        offset,
        [None if each is None else buffers[each] if each >= 0 else _buffer(b"") for each in places],
        [_data(each, its, buffers) for each, its in zip(children, inner, strict=True)],
        None if dictionary is None else _data(dictionary, values, buffers),
    )


def _buffer(lent: object, mutable: bool = False) -> pa.Buffer:  # noqa: FBT001, FBT002 - a pickle has no names
    import pyarrow as pa  # noqa: PLC0415 - as above

    if isinstance(lent, np.ndarray):
        data = lent.view()
    else:
        inside = cast("bytes", lent)
        data = np.frombuffer(inside, np.uint8) if inside else np.empty(0, np.uint8)
    if data.flags.writeable and not mutable:
        data.flags.writeable = False
    elif mutable and not data.flags.writeable:
        data = data.copy()
    return pa.py_buffer(data)


def _frame(table: pa.Table) -> pl.DataFrame:
    import polars as pl  # noqa: PLC0415 - as above

    return cast("pl.DataFrame", pl.from_arrow(table, rechunk=False))


def _series(table: pa.Table) -> pl.Series:
    return _frame(table).to_series()


def _column(kind: type[pd.arrays.ArrowExtensionArray], state: dict[str, object]) -> object:
    column = kind.__new__(kind)
    column.__dict__.update(state)
    return column
