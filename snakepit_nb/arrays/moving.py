"""Tensors of torch that move to shared memory: the storage stays what it is, its memory becomes the arena's.

*Rule:* a storage moves only where all who look at it are tensors, which move along. Others have its address
alone and would go on with the old memory: an array of NumPy, a consumer of DLPack, a graph for `backward`.

Not all can be seen from here: who was given `data_ptr()`, or an operation that another thread is in
the middle of. That much it asks of its users, as `torch.multiprocessing` does, which moves what it sends.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from operator import methodcaller
from typing import TYPE_CHECKING, Final, TypeVar

from snakepit_nb.arrays.room import room_in
from snakepit_nb.errors.types import ArrayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import torch

    from snakepit_nb.arrays.arena import Allocator
    from snakepit_nb.arrays.doors import Lender

T = TypeVar("T")

# Below this many bytes a storage travels inside the message, or as good as that.
_SMALL: Final = 4096
# From this many bytes on a storage gets a block of its own, which ends with it.
_MODEST: Final = 1 << 20
# torch's own memory is aligned to as many bytes, for the widest vector instructions.
_ALIGNED: Final = 64
# How many storages that could not move are remembered, so that nobody looks for their onlookers again.
_REFUSED: Final = 1024

# Not public and not in torch's stubs, but its only ways to know, and to do it in place.
_use_count: Final = methodcaller("_use_count")
_SWAP: Final = "_swap_data_ptr_"

_refused: Final[dict[int, tuple[int, int]]] = {}


def plain_storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
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


def moved(tensor: torch.Tensor, storage: torch.UntypedStorage, lender: Lender) -> bool:
    """Move the storage of a tensor that is lent for the first time, where that is safe and there is room.

    Whether it was moved now: then it was copied once, and is lent as it lies from now on.
    """
    nbytes, cdata = storage.nbytes(), storage._cdata  # noqa: SLF001 - torch's name for its identity
    if nbytes < _SMALL or not storage.resizable() or not lender.moves:
        return False
    holders = _holders()
    if holders is None:
        return False
    counts = holders(cdata), int(_use_count(tensor))
    if _refused.get(cdata) == counts:
        return False
    # The tensor and the storage's own face in Python: nobody else.
    alone = counts == (2, 1) and not tensor._is_view()  # noqa: SLF001 - nothing public tells
    if not alone and cdata not in _only_seen_by_tensors({cdata: storage}, _census(lender, tensor)):
        if len(_refused) >= _REFUSED:
            _refused.clear()
        _refused[cdata] = counts
        return False
    room = lender.room(nbytes)
    if room is None:
        return False
    _swap(storage, room)
    return True


def _census(lender: Lender, tensor: torch.Tensor) -> dict[int, tuple[torch.Tensor, int]]:
    """All tensors there are, looked for once for each message; and this one, which may be younger."""
    found = lender.notes.get("tensors")
    if not isinstance(found, dict):
        found = lender.notes["tensors"] = _tensors()
    known = dict(found)
    known[id(tensor)] = tensor, tensor.untyped_storage()._cdata  # noqa: SLF001 - torch's name for its identity
    return known


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
        storage = plain_storage(tensor)
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
    """Make sure that all who look at these storages are tensors.

    Raises:
        ArrayError: something else looks at one, or this torch cannot tell.
    """
    import torch  # noqa: PLC0415 - only where tensors are

    if _holders() is None:
        message = (
            f"torch {torch.__version__} cannot move a tensor in place; use a newer one, or make tensors by "
            "torch.from_numpy of new NumPy arrays, which need no move"
        )
        raise ArrayError(message)
    seen = _only_seen_by_tensors({cdata: storage for cdata, (_, storage) in waiting.items()}, _tensors())
    for cdata, (path, _) in waiting.items():
        if cdata not in seen:
            message = (
                f"{path} cannot be moved to shared memory: something else looks at it, such as an array of "
                "another library or a graph for backward(); drop that first, or share a .clone() of it"
            )
            raise ArrayError(message)


def _holders() -> Callable[[int], int] | None:
    """What counts who holds a storage; None where this torch cannot tell, or cannot move one in place."""
    import torch  # noqa: PLC0415 - only where tensors are

    holders = getattr(torch._C, "_storage_Use_Count", None)  # noqa: SLF001 - nothing public tells
    return holders if hasattr(torch.UntypedStorage, _SWAP) else None


def _only_seen_by_tensors(
    storages: Mapping[int, torch.UntypedStorage], known: Mapping[int, tuple[torch.Tensor, int]]
) -> set[int]:
    """Those of the storages that nothing looks at but tensors.

    torch counts who holds a storage and who holds a tensor. A tensor of Python's is held by Python once, and
    by each view that was made of it; whatever is above that is somebody who may know the memory's address.
    """
    holders = _holders()
    if holders is None:
        return set()
    here = {identity: both for identity, both in known.items() if both[1] in storages}
    over, views = Counter[int](), Counter[int]()
    for tensor, cdata in here.values():
        over[cdata] += 1
        if tensor._is_view():  # noqa: SLF001 - nothing public tells
            views[id(tensor._base)] += 1  # noqa: SLF001 - nothing public tells
    seen = {cdata for cdata in storages if holders(cdata) == over[cdata] + 1}
    for identity, (tensor, cdata) in here.items():
        if _use_count(tensor) != 1 + views[identity]:
            seen.discard(cdata)
    return seen


def _tensors() -> dict[int, tuple[torch.Tensor, int]]:
    """All tensors of this process that have a storage, by identity, each with what torch calls that."""
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
            if id(tensor) not in known:
                known[id(tensor)] = tensor, cdata
                # What it is a view of may be known to no other object of Python.
                if tensor._is_view() and tensor._base is not None:  # noqa: SLF001 - nothing public tells
                    found.append(tensor._base)  # noqa: SLF001 - nothing public tells
    return known


def _move(storages: Sequence[torch.UntypedStorage], arena: Allocator) -> None:
    # A large one gets a room of its own, which ends with it; the small ones share one.
    large = [[each] for each in storages if each.nbytes() >= _MODEST]
    small = [each for each in storages if each.nbytes() < _MODEST]
    for together in (*large, small):
        if not together:
            continue
        ends = list(accumulate(-(-each.nbytes() // _ALIGNED) * _ALIGNED for each in together))
        room = room_in(arena, ends[-1])
        for storage, end in zip(together, (0, *ends), strict=False):
            _swap(storage, room[end : end + storage.nbytes()])


def _swap(storage: torch.UntypedStorage, room: np.ndarray) -> None:
    """Copy a storage to other memory, and make that its own."""
    import torch  # noqa: PLC0415 - only where tensors are

    place = torch.from_numpy(room).untyped_storage()
    place.copy_(storage)
    methodcaller(_SWAP, place)(storage)
