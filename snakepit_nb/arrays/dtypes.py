"""Dtypes as plain values, in NumPy's own description of them.

*Rule:* a dtype is described only where the description gives the very same dtype back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, cast

import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr

from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Sequence

Descr: TypeAlias = "str | list[object]"

_names: Final[dict[int, str]] = {}


def describe(dtype: np.dtype) -> Descr | None:
    """What `restore` makes this dtype from, or None for one with objects in it or that NumPy cannot describe.

    Example:
        >>> describe(np.dtype(">i4"))
        '>i4'
    """
    if dtype.hasobject or dtype.metadata:
        return None
    if dtype.isbuiltin == 1:
        return dtype.str
    try:
        descr = dtype.str if dtype.names is None else dtype_to_descr(dtype)
        if isinstance(descr, str):
            return descr if np.dtype(descr) == dtype else None
        if not isinstance(descr, list):
            return None
        listed = cast("list[object]", descr)
        return listed if restore(listed) == dtype else None
    except (ValueError, TypeError, ArrayError):
        return None


def restore(descr: Descr) -> np.dtype:
    """The dtype that `describe` described, also after a way through JSON.

    Raises:
        ArrayError: it is not such a description, or one of Python objects.

    Example:
        >>> restore([["x", "<f8"], ["y", "<i4", [2]]])["y"].shape
        (2,)
    """
    try:
        found = np.dtype(descr) if isinstance(descr, str) else descr_to_dtype(_tuples(descr))
    except Exception as error:
        message = f"array handle with an unknown dtype {descr!r}: {error}"
        raise ArrayError(message) from error
    if found.hasobject:
        message = f"array handle with a dtype of Python objects: {descr!r}"
        raise ArrayError(message)
    return found


def name(dtype: np.dtype) -> str:
    """What events call a dtype.

    Example:
        >>> name(np.dtype(">i4"))
        '>i4'
    """
    if dtype.isbuiltin == 1:
        known = _names.get(dtype.num)
        if known is None:
            known = _names[dtype.num] = str(dtype)
        return known
    return str(dtype)


def _tuples(descr: Sequence[object]) -> list[tuple[str, str]]:
    """A descr as NumPy wants it: JSON knows no tuples, NumPy wants one for each field and each shape."""
    fields: list[object] = []
    for entry in descr:
        if not isinstance(entry, (list, tuple)):
            message = f"{entry!r} is no field"
            raise TypeError(message)
        name, kind, *shape = entry
        fields.append(
            (
                tuple(name) if isinstance(name, list) else name,
                _tuples(kind) if isinstance(kind, list) else kind,
                *(tuple(axes) for axes in shape),
            )
        )
    return cast("list[tuple[str, str]]", fields)
