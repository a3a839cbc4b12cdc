"""The torch door: a CPU tensor travels as its storage and a view of it.

*Rule:* a storage is lent once for a message, and its tensors arrive as views of one storage.

*Rule:* a copy of a storage is lent a second time only after every byte of it was compared (see `sameness`).

torch has no hook for its CPU allocator, so a tensor that torch made in the kernel lies in private memory.
On its first loan its storage is moved to shared memory, where `moving` sees that only tensors look at it;
otherwise it is copied, and the copy is lent again as long as it is still the same. From the start
there lies in shared memory
- what came from NumPy: `torch.from_numpy(np.empty(shape, np.float32))`,
- what a worker made: there torch's memory is shared from the start.

A view that is small beside its storage goes alone where the storage would have to be copied: a row of a
large tensor must not cost the tensor. Everything else that is torch's (sparse, quantized, nested, subclasses,
other devices) is taken apart by torch itself, and what storages it is made of come through this door again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from snakepit_nb.arrays import moving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from snakepit_nb.arrays.doors import Lender

# Below this many bytes a storage goes whole, so that its views stay views of one storage.
_MODEST: Final = 1 << 20
# A view is small where its storage is this many times larger.
_TIMES: Final = 2

_naming: Final = threading.local()


def door(kind: type) -> Callable[[object, Lender], tuple[object, ...]] | None:
    """The door for torch's tensors and storages, or None for what torch's own pickling takes apart.

    A `Parameter`, a subclass and a module need none: torch makes them of plain tensors and storages.

    Example:
        >>> door(list) is None
        True
    """
    return _DOORS.get(f"{kind.__module__}.{kind.__qualname__}")


class _Bytes:
    """Memory as NumPy takes it; an array over it keeps the owner alive, and leaves no mark on it."""

    __slots__ = ("__array_interface__", "_owner")

    def __init__(self, owner: object, address: int, nbytes: int) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "typestr": "|u1",
            "shape": (nbytes,),
        }


def _bytes_of(storage: torch.UntypedStorage, start: int, nbytes: int) -> np.ndarray:
    # Not by `Tensor.numpy()`: that forbids torch to resize the storage ever after.
    return np.asarray(_Bytes(storage, storage.data_ptr() + start, nbytes))


def _reduce_tensor(tensor: torch.Tensor, lender: Lender) -> tuple[object, ...]:
    storage = moving.plain_storage(tensor)
    if storage is None:
        return _by_torch(tensor)
    size, stride, itemsize = tuple(tensor.shape), tensor.stride(), tensor.element_size()
    shown = tensor.dtype, size, stride, tensor.requires_grad
    if 0 in size:
        return rebuild_view, (b"", *shown)
    offset = int(tensor.storage_offset())
    extent = (sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1) * itemsize
    nbytes = storage.nbytes()
    if offset * itemsize + extent > nbytes:  # its storage was emptied under it
        return _by_torch(tensor)
    name = str(tensor.dtype).removeprefix("torch.")
    if nbytes >= _MODEST and extent * _TIMES <= nbytes and not _reaches(lender, storage):
        part = _bytes_of(storage, offset * itemsize, extent)
        return rebuild_view, (lender.lend(part, dtype=name, shape=size, owned_by=storage), *shown)
    moved = moving.moved(tensor, storage, lender)
    # The pickler comes to the storage next, which knows nothing of this.
    _naming.last = (storage._cdata, name, size, moved)  # noqa: SLF001 - torch's name for its identity
    return rebuild_tensor, (storage, offset, *shown)


def _by_torch(value: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", value.__reduce_ex__(5))


def _reaches(lender: Lender, storage: torch.UntypedStorage) -> bool:
    return lender.reaches(_bytes_of(storage, 0, storage.nbytes()))


def _reduce_storage(storage: torch.UntypedStorage, lender: Lender) -> tuple[object, ...]:
    if storage.device.type != "cpu":
        return _by_torch(storage)
    nbytes = storage.nbytes()
    if not nbytes:
        return rebuild_storage, (b"",)
    cdata, dtype, shape, moved = getattr(_naming, "last", (None, None, None, False))
    if cdata != storage._cdata:  # noqa: SLF001 - torch's name for its identity
        dtype, shape, moved = None, None, False
    data = _bytes_of(storage, 0, nbytes)
    return rebuild_storage, (lender.lend(data, dtype=dtype, shape=shape, owned_by=storage, moved=moved),)


def _reduce_typed_storage(storage: torch.TypedStorage, _lender: Lender) -> tuple[object, ...]:
    return rebuild_typed_storage, (storage._untyped_storage, storage.dtype)  # noqa: SLF001 - `untyped()` warns


_DOORS: Final[dict[str, Callable[..., tuple[object, ...]]]] = {
    "torch.Tensor": _reduce_tensor,
    "torch.storage.UntypedStorage": _reduce_storage,
    "torch.storage.TypedStorage": _reduce_typed_storage,
}


def rebuild_storage(data: np.ndarray | bytearray | bytes) -> torch.UntypedStorage:
    """A storage over memory that arrived; it keeps that memory alive.

    torch knows no memory that is only to be read: a write to it would end the process. So what may not be
    written is copied.

    Example:
        >>> rebuild_storage(b"abc").tolist()
        [97, 98, 99]
    """
    import torch  # noqa: PLC0415 - only where tensors are

    if isinstance(data, np.ndarray):
        if not data.flags.writeable:
            data = data.copy()
        return torch.from_numpy(data).untyped_storage()
    if not data:
        return torch.UntypedStorage(0)
    # torch's own memory: it is aligned as torch wants it, and can be resized.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).clone().untyped_storage()


def rebuild_typed_storage(storage: torch.UntypedStorage, dtype: torch.dtype) -> torch.TypedStorage:
    """The older kind of storage, which knows a dtype, over the newer."""
    import torch  # noqa: PLC0415 - only where tensors are

    return torch.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def rebuild_tensor(  # noqa: PLR0913, PLR0917 - what makes a tensor, as it stands in the pickle
    storage: torch.UntypedStorage,
    offset: int,
    dtype: torch.dtype,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool,  # noqa: FBT001 - likewise
) -> torch.Tensor:
    """A tensor that is a view of a storage."""
    import torch  # noqa: PLC0415 - only where tensors are

    tensor = torch.empty(0, dtype=dtype).set_(storage, offset, size, stride)
    return tensor.requires_grad_() if requires_grad else tensor


def rebuild_view(
    data: np.ndarray | bytearray | bytes,
    dtype: torch.dtype,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool,  # noqa: FBT001 - likewise
) -> torch.Tensor:
    """A tensor over memory that arrived for it alone."""
    return rebuild_tensor(rebuild_storage(data), 0, dtype, size, stride, requires_grad)
