"""NumPy's functions about memory handlers, out of its table: NEP 49 gives them no face in Python."""

from __future__ import annotations

import ctypes
import functools
import importlib
from typing import Final

import numpy as np

from snakepit_nb.arrays.library import loaded

# The places in numpy/__multiarray_api.h; NumPy never moves them.
_SET_HANDLER: Final = 304
_GET_HANDLER: Final = 305
_DEFAULT_HANDLER: Final = 306


class NumPyMemory:
    """What NumPy can be told and asked about where arrays get their memory.

    Attributes:
        default: The capsule of NumPy's own handler.
        capsule: Makes a capsule, of a pointer, the address of its name, and no destructor.
        set_handler: Makes a capsule's handler that of this context; the capsule that was there before.
        get_handler: The capsule that is in force in this context.
    """

    def __init__(self) -> None:
        # NumPy 2 renamed the folder and warns about the old name.
        folder = "_core" if int(np.__version__.split(".")[0]) > 1 else "core"
        table = vars(importlib.import_module(f"numpy.{folder}.multiarray"))["_ARRAY_API"]
        api = ctypes.pythonapi
        self._pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
            ("PyCapsule_GetPointer", api)
        )
        self.capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
            ("PyCapsule_New", api)
        )
        functions = ctypes.cast(self._pointer(table, None), ctypes.POINTER(ctypes.c_void_p))
        one = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)
        self.set_handler = one(functions[_SET_HANDLER] or 0)
        self.get_handler = ctypes.PYFUNCTYPE(ctypes.py_object)(functions[_GET_HANDLER] or 0)
        self.default = ctypes.cast(functions[_DEFAULT_HANDLER] or 0, ctypes.POINTER(ctypes.py_object))[0]

    def address(self, capsule: object) -> int:
        """Where the handler of a capsule lies."""
        return int(self._pointer(capsule, loaded().capsule_name))


@functools.cache
def numpy_memory() -> NumPyMemory:
    """The one of this process."""
    return NumPyMemory()
