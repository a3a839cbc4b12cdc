"""The torch door: a CPU tensor travels as its storage and a view of it.

*Rule:* a storage is lent once for a message, and its tensors arrive as views of one storage.

*Rule:* a storage is never moved behind its owner's back, and a copy of it is never lent a second time.

torch has no hook for its CPU allocator, so a tensor that torch made in the kernel lies in private memory and
is copied each time that it is lent. It could be moved to shared memory on that occasion, but whoever holds
its address alone would go on with the old memory: a consumer of DLPack, a C library that was given
`data_ptr()`, another thread in the middle of an operation. Not all of them can be seen from here. Lent as
they lie are
- what came from NumPy: `torch.from_numpy(np.empty(shape, np.float32))`,
- what was moved on its owner's word: `share(model)`,
- what a worker made: there torch's memory is shared from the start.

A view that is small beside its storage goes alone where the storage would have to be copied: a row of a
large tensor must not cost the tensor. Everything else that is torch's (sparse, quantized, nested, subclasses,
other devices) is taken apart by torch itself, and what storages it is made of come through this door again.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from operator import methodcaller
from typing import TYPE_CHECKING, Final, TypeVar, cast

import numpy as np

from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import torch

    from snakepit_nb.arrays.arena import Allocator
    from snakepit_nb.arrays.doors import Lender

T = TypeVar("T")

# Below this many bytes a storage goes whole, so that its views stay views of one storage.
_MODEST: Final = 1 << 20
# A view is small where its storage is this many times larger.
_TIMES: Final = 2

# Below this many bytes a storage travels inside the message, or as good as that.
_SMALL: Final = 4096
# torch's own memory is aligned to as many bytes, for the widest vector instructions.
_ALIGNED: Final = 64

# Not public and not in torch's stubs, but its only ways to know, and to do it in place.
_use_count: Final = methodcaller("_use_count")
_SWAP: Final = "_swap_data_ptr_"

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
    storage = _plain_storage(tensor)
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
        return rebuild_view, (lender.lend(part, dtype=name, shape=size), *shown)
    # The pickler comes to the storage next, which knows neither.
    _naming.last = (storage._cdata, name, size)  # noqa: SLF001 - torch's name for its identity
    return rebuild_tensor, (storage, offset, *shown)


def _by_torch(value: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", value.__reduce_ex__(5))


def _plain_storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The storage of a tensor that is nothing but a strided view of memory of this process, else None."""
    if tensor.device.type != "cpu" or str(tensor.layout) != "torch.strided":
        return None
    if tensor.is_quantized or tensor.is_nested or tensor.is_conj() or tensor.is_neg():
        return None
    if tensor.__dict__ or tensor._backward_hooks:  # noqa: SLF001 - what torch's own pickling looks at
        return None
    try:
        storage = tensor.untyped_storage()
        return storage if storage.data_ptr() or not tensor.numel() else None
    except (RuntimeError, NotImplementedError):  # a tensor of a transform has no memory of its own
        return None


def _reaches(lender: Lender, storage: torch.UntypedStorage) -> bool:
    reaches = getattr(lender, "reaches", None)
    return reaches is not None and bool(reaches(_bytes_of(storage, 0, storage.nbytes())))


def _reduce_storage(storage: torch.UntypedStorage, lender: Lender) -> tuple[object, ...]:
    if storage.device.type != "cpu":
        return _by_torch(storage)
    nbytes = storage.nbytes()
    if not nbytes:
        return rebuild_storage, (b"",)
    cdata, dtype, shape = getattr(_naming, "last", (None, None, None))
    if cdata != storage._cdata:  # noqa: SLF001 - torch's name for its identity
        dtype = shape = None
    return rebuild_storage, (lender.lend(_bytes_of(storage, 0, nbytes), dtype=dtype, shape=shape),)


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


# Moving a tensor on its owner's word


def share(value: T, arena: Allocator | None) -> T:
    """Move tensors of torch into shared memory, in place: from now on they are lent without a copy.

    All tensors over one storage move with it, also those that are not named here. Call it while nothing else
    works with them: what another thread writes meanwhile is lost, and an address that was taken before, by
    `data_ptr()`, is of no use any more. A storage that was moved can no longer be resized.

    Args:
        value: A tensor, a module (its parameters and buffers), or a list, a tuple or a dict of these. What
            torch does not keep as plain memory of this machine stays where it is, and so does what is small.
        arena: Where to; None where there is no shared memory, and then nothing is moved.

    Returns:
        The value itself.

    Raises:
        ArrayError: it is none of these; or something else looks at the memory of a tensor, such as a NumPy
            array, another library or a graph for `backward`. Nothing was moved then.
        ArenaFull: the shared memory is used up. What was moved stays moved.

    Example:
        >>> share([], None)
        []
    """
    found = dict(_tensors_in(value, "value"))
    if arena is None:
        return value
    waiting: dict[int, tuple[str, torch.UntypedStorage]] = {}
    for path, tensor in found.items():
        storage = _plain_storage(tensor)
        if storage is None or storage.nbytes() < _SMALL or _lies_in(arena, storage):
            continue
        if not storage.resizable():
            message = (
                f"{path} cannot be moved to shared memory: its memory is not torch's own, or a NumPy array "
                "was made over it; share a .clone() of it"
            )
            raise ArrayError(message)
        waiting.setdefault(storage._cdata, (path, storage))  # noqa: SLF001 - torch's name for its identity
    if waiting:
        _refuse_what_others_hold(waiting)
        _move([storage for _, storage in waiting.values()], arena)
    return value


def _tensors_in(value: object, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    import torch  # noqa: PLC0415 - only where tensors are

    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, torch.nn.Module):
        for name, tensor in (*value.named_parameters(), *value.named_buffers()):
            yield f"{path}.{name}", tensor
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors_in(each, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from _tensors_in(each, f"{path}[{index}]")
    elif path == "value":
        message = f"share takes a tensor, a module, or lists and dicts of them, got {type(value).__name__}"
        raise ArrayError(message)


def _lies_in(arena: Allocator, storage: torch.UntypedStorage) -> bool:
    block = arena.find(storage.data_ptr(), storage.nbytes())
    if block is not None:
        arena.free(block)
    return block is not None


def _refuse_what_others_hold(waiting: Mapping[int, tuple[str, torch.UntypedStorage]]) -> None:
    """Make sure that all who look at these storages are tensors, which move along.

    torch counts who holds a storage and who holds a tensor. A tensor of Python's is held by Python once, and
    by each view that was made of it; whatever is above that is somebody who may know the memory's address.

    Raises:
        ArrayError: something else looks at one, or this torch cannot tell.
    """
    import torch  # noqa: PLC0415 - only where tensors are

    holders = getattr(torch._C, "_storage_Use_Count", None)  # noqa: SLF001 - nothing public tells
    if holders is None or not hasattr(torch.UntypedStorage, _SWAP):
        message = (
            f"torch {torch.__version__} cannot move a tensor in place; use a newer one, or make tensors by "
            "torch.from_numpy of new NumPy arrays, which need no move"
        )
        raise ArrayError(message)
    known = _tensors_over(waiting)
    over, views = Counter[int](), Counter[int]()
    for tensor, cdata in known.values():
        over[cdata] += 1
        if tensor._is_view():  # noqa: SLF001 - nothing public tells
            views[id(tensor._base)] += 1  # noqa: SLF001 - nothing public tells
    seen = {cdata for cdata, (_, storage) in waiting.items() if holders(storage._cdata) == over[cdata] + 1}  # noqa: SLF001 - torch's name for its identity
    for identity, (tensor, cdata) in known.items():
        if _use_count(tensor) != 1 + views[identity]:
            seen.discard(cdata)
    for cdata, (path, _) in waiting.items():
        if cdata not in seen:
            message = (
                f"{path} cannot be moved to shared memory: something else looks at it, such as an array of "
                "another library or a graph for backward(); drop that first, or share a .clone() of it"
            )
            raise ArrayError(message)


def _tensors_over(waiting: Collection[int]) -> dict[int, tuple[torch.Tensor, int]]:
    """All tensors of this process that are views of these storages, by identity, each with its storage."""
    import torch  # noqa: PLC0415 - only where tensors are

    known: dict[int, tuple[torch.Tensor, int]] = {}
    # A subclass may answer these questions with code of its own.
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - nothing public does
        # By the type, not isinstance: a proxy answers that with what it stands for.
        found = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
        while found:
            tensor = found.pop()
            try:
                cdata = tensor.untyped_storage()._cdata  # noqa: SLF001 - torch's name for its identity
            except (RuntimeError, NotImplementedError):  # a sparse one has no storage, a fake one no memory
                continue
            if cdata in waiting and id(tensor) not in known:
                known[id(tensor)] = tensor, cdata
                # What it is a view of may be known to no other object of Python.
                if tensor._is_view() and tensor._base is not None:  # noqa: SLF001 - nothing public tells
                    found.append(tensor._base)  # noqa: SLF001 - nothing public tells
    return known


class _Room:
    """A block of the arena as NumPy takes it; the end of the last storage in it is its end."""

    __slots__ = ("__array_interface__", "_arena", "_block")

    def __init__(self, arena: Allocator, nbytes: int) -> None:
        self._arena = arena
        self._block = arena.allocate(nbytes)
        self.__array_interface__ = {
            "version": 3,
            "data": (arena.address + self._block.offset, False),
            "typestr": "|u1",
            "shape": (nbytes,),
        }

    def __del__(self) -> None:
        if hasattr(self, "_block"):
            self._arena.free(self._block)


def _move(storages: Sequence[torch.UntypedStorage], arena: Allocator) -> None:
    import torch  # noqa: PLC0415 - only where tensors are

    # A large one gets a room of its own, which ends with it; the small ones share one.
    large = [[each] for each in storages if each.nbytes() >= _MODEST]
    small = [each for each in storages if each.nbytes() < _MODEST]
    for together in (*large, small):
        if not together:
            continue
        ends = list(accumulate(-(-each.nbytes() // _ALIGNED) * _ALIGNED for each in together))
        room = np.asarray(_Room(arena, ends[-1]))
        for storage, end in zip(together, (0, *ends), strict=False):
            place = torch.from_numpy(room[end : end + storage.nbytes()]).untyped_storage()
            place.copy_(storage)
            methodcaller(_SWAP, place)(storage)
