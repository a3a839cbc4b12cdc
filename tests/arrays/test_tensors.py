"""Tensors of torch: taken apart, lent, and put together again; and moved to shared memory on request."""

from __future__ import annotations

import gc
import re
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakepit_nb.arrays import moving
from snakepit_nb.arrays.arena import Arena, ArenaFull
from snakepit_nb.arrays.memory import bytes_at
from snakepit_nb.errors.types import ArrayError
from tests.lenders import FakeLender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")


@pytest.fixture
def lender() -> FakeLender:
    return FakeLender()


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena(1 << 28)
    yield arena
    gc.collect()
    assert arena.live_bytes == 0
    arena.close()


def same(here: Any, there: Any) -> None:
    """Assert that two tensors are the same to every eye, the bits of their elements included."""
    shown = [
        (each.dtype, each.shape, each.stride(), each.requires_grad, each.is_conj(), each.is_neg(), type(each))
        for each in (here, there)
    ]
    assert shown[0] == shown[1]
    assert bits(here) == bits(there)


def bits(tensor: Any) -> bytes:
    plain = tensor.detach()
    if plain.is_conj() or plain.is_neg():
        plain = plain.resolve_conj().resolve_neg()
    copy = torch.empty(plain.shape, dtype=plain.dtype).copy_(plain)
    return bytes_at(copy.data_ptr(), copy.nbytes).tobytes()


def in_arena(arena: Arena, tensor: Any) -> bool:
    return FakeLender(arena).reaches(bytes_at(tensor.data_ptr(), tensor.nbytes))


ONLOOKERS: dict[str, Callable[[Any], object]] = {
    "an array of NumPy": lambda tensor: tensor.numpy(),
    "an array that was there before": lambda tensor: tensor.set_(torch.from_numpy(np.ones(2000))),
    "a consumer of DLPack": np.from_dlpack,
    "a consumer of a view of it": lambda tensor: np.from_dlpack(tensor[3:]),
    "a capsule": lambda tensor: tensor.__dlpack__(),
    "a graph": lambda tensor: tensor.requires_grad_() ** 2,
}


# What arrives

DTYPES = sorted(
    {
        str(each)
        for each in vars(torch).values()
        if isinstance(each, torch.dtype) and "q" not in str(each) and not str(each).endswith(("bit", "x2"))
    }
    - {f"torch.{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8)}
)


@pytest.mark.filterwarnings("ignore:ComplexHalf:UserWarning")
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("inline", [True, False])
def test_a_tensor_of_every_dtype_arrives_as_it_was(name: str, inline: bool) -> None:  # noqa: FBT001 - a parameter
    dtype = getattr(torch, name.removeprefix("torch."))
    whole = torch.empty(6, dtype=dtype)
    whole.untyped_storage().copy_(torch.arange(whole.nbytes, dtype=torch.uint8).untyped_storage())
    if name == "torch.bool":
        whole = torch.tensor([True, False] * 3)
    lender = FakeLender(inline=inline)
    same(whole.view(2, 3), lender.travel(whole.view(2, 3)))
    assert [(loan.nbytes, loan.shape) for loan in lender.loans] == [(whole.nbytes, (2, 3))]
    assert lender.loans[0].dtype == name.removeprefix("torch.")


LAYOUTS: dict[str, Callable[[], Any]] = {
    "no axis": lambda: torch.tensor(3.5),
    "no element": lambda: torch.ones(0),
    "no element on one axis of three": lambda: torch.ones(5, 0, 2),
    "nothing of something": lambda: torch.arange(5)[5:],
    "axes of length one, whose strides say nothing": lambda: torch.arange(4).as_strided((1, 4, 1), (9, 1, 7)),
    "transposed": lambda: torch.arange(12).reshape(3, 4).T,
    "three axes in another order": lambda: torch.rand(2, 3, 4).permute(2, 0, 1),
    "the channels last": lambda: torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "a column": lambda: torch.arange(20).reshape(4, 5)[:, 2],
    "every third from the second": lambda: torch.arange(20)[1::3],
    "expanded": lambda: torch.arange(3).expand(4, 3),
    "overlapping windows": lambda: torch.arange(8).unfold(0, 4, 1),
    "a diagonal": lambda: torch.rand(4, 4).diagonal(),
    "conjugated": lambda: torch.tensor([1 + 2j, 3j]).conj(),
    "negated": lambda: torch.tensor([1 + 2j, 3j]).conj().imag,
    "the real parts": lambda: torch.tensor([1 + 2j, 3j]).real,
    "asking for a gradient": lambda: torch.ones(3, requires_grad=True),
    "a step on the way to a gradient": lambda: torch.ones(3, requires_grad=True) * 2,
    "a parameter": lambda: torch.nn.Parameter(torch.rand(3, 4).T),
    "a parameter that asks for nothing": lambda: torch.nn.Parameter(torch.ones(3), requires_grad=False),
    "made from NumPy": lambda: torch.from_numpy(np.arange(6.0).reshape(2, 3)[:, ::2]),
    "bits seen as another type": lambda: torch.arange(4.0).view(torch.int32),
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("inline", [True, False])
def test_a_tensor_of_every_layout_arrives_as_it_was(make: Callable[[], Any], inline: bool) -> None:  # noqa: FBT001 - a parameter
    tensor = make()
    there = FakeLender(inline=inline).travel(tensor)
    same(tensor, there)
    if there.numel() and not there.requires_grad:
        there.as_strided((1,), (1,)).fill_(0)  # it may be written to


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=4),
    st.integers(0, 9),
    st.sampled_from([torch.uint8, torch.bfloat16, torch.float64, torch.complex64]),
    st.booleans(),
)
@settings(max_examples=200)
def test_any_view_of_any_storage_arrives_as_it_was(
    axes: list[tuple[int, int]],
    offset: int,
    dtype: Any,
    inline: bool,  # noqa: FBT001 - drawn
) -> None:
    reach = offset + sum(max(length - 1, 0) * step for length, step in axes) + 1
    base = torch.arange(reach, dtype=torch.uint8).to(dtype)
    view = base.as_strided([length for length, _ in axes], [step for _, step in axes], offset)
    same(view, FakeLender(inline=inline).travel(view))


EXOTIC: dict[str, Callable[[], Any]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse by rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(torch.arange(3.0), 0.5, 0, torch.quint8),
    "without memory": lambda: torch.empty(2, 3, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "nested, of the older kind": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
}


@pytest.mark.parametrize("make", EXOTIC.values(), ids=EXOTIC.keys())
@pytest.mark.filterwarnings("ignore:.*(beta|prototype|deprecated|internal).*:UserWarning")
def test_what_is_no_view_of_plain_memory_travels_as_torch_says(
    lender: FakeLender, make: Callable[[], Any]
) -> None:
    tensor = make()
    there: Any = lender.travel(tensor)
    assert (there.dtype, there.layout, there.device) == (tensor.dtype, tensor.layout, tensor.device)
    # torch numbers the lengths of nested ones that it does not know.
    assert re.sub(r"j\d", "j", repr(there)) == re.sub(r"j\d", "j", repr(tensor))


def test_the_parts_of_a_sparse_tensor_are_lent(lender: FakeLender) -> None:
    lender.travel(torch.eye(1000).to_sparse())
    assert sorted(loan.nbytes for loan in lender.loans) == [4000, 16000]


class Tagged(torch.Tensor):  # type: ignore[name-defined, misc]
    """A class of the user's own."""

    tag = "none"


def test_a_subclass_and_attributes_arrive_and_their_memory_is_lent(lender: FakeLender) -> None:
    tensor = torch.arange(5000.0).as_subclass(Tagged)
    tensor.tag = "seen"
    there: Any = lender.travel(tensor)
    assert type(there) is Tagged
    assert there.tag == "seen"
    assert there.sum() == tensor.sum()
    assert [(loan.nbytes, loan.copied) for loan in lender.loans] == [(20_000, True)]


def test_a_storage_travels_alone_too_also_of_the_older_kind(lender: FakeLender) -> None:
    tensor = torch.arange(3, dtype=torch.int16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        typed = tensor.storage()
    there: Any = lender.travel((tensor.untyped_storage(), typed, tensor))
    assert there[0].tolist() == tensor.untyped_storage().tolist()
    assert there[1].dtype == torch.int16
    assert there[0].data_ptr() == there[1]._untyped_storage.data_ptr() == there[2].data_ptr()
    assert [loan.nbytes for loan in lender.loans] == [6]


def test_of_a_tensor_whose_storage_was_emptied_nothing_is_read(lender: FakeLender) -> None:
    tensor = torch.ones(2000)
    tensor.untyped_storage().resize_(0)
    there: Any = lender.travel(tensor)
    assert there.shape == tensor.shape
    assert lender.loans == []


def test_a_tensor_inside_a_transform_is_refused_and_not_read(lender: FakeLender) -> None:
    def step(row: Any) -> Any:
        with pytest.raises((NotImplementedError, RuntimeError)):
            lender.travel(row)
        return row

    torch.func.vmap(step)(torch.ones(2, 2))
    assert lender.loans == []


# One storage


def test_views_of_one_storage_arrive_as_views_of_one_storage_that_was_lent_once(lender: FakeLender) -> None:
    base = torch.arange(2000.0)
    there: Any = lender.travel({"part": base[5:9], "whole": base, "all": [base.view(40, 50).T]})
    there["part"][0] = -1
    assert there["whole"][5] == there["all"][0][5, 0] == -1
    assert base[5] == 5
    assert [loan.nbytes for loan in lender.loans] == [8000]


def test_the_same_tensor_twice_arrives_as_one(lender: FakeLender) -> None:
    tensor = torch.ones(2000)
    first, second = lender.travel([tensor, tensor])
    assert first is second


def test_a_small_view_does_not_cost_a_large_tensor(lender: FakeLender) -> None:
    rows = torch.arange(1 << 20).view(1024, 1024)
    same(rows[3], lender.travel(rows[3]))
    same(rows[1:3, 5:7], lender.travel(rows[1:3, 5:7]))
    assert [loan.nbytes for loan in lender.loans] == [8192, 8192 + 16]


def test_a_small_view_of_what_is_shared_already_arrives_with_all_of_it(arena: Arena) -> None:
    rows = torch.arange(1 << 20).view(1024, 1024)
    moving.share(rows, arena)
    lender = FakeLender(arena)
    first, second = lender.travel([rows[3], rows])
    assert first.untyped_storage().data_ptr() == second.data_ptr() == rows.data_ptr()
    assert [(loan.nbytes, loan.copied) for loan in lender.loans] == [(8 << 20, False)]


def test_a_state_dict_is_lent_by_storage(lender: FakeLender) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(100, 50), torch.nn.BatchNorm1d(50), torch.nn.Linear(50, 100))
    model[2].weight = torch.nn.Parameter(model[0].weight.detach().T)
    there: Any = lender.travel(model.state_dict())
    for name, tensor in model.state_dict().items():
        same(tensor, there[name])
    storages = {each.untyped_storage().data_ptr() for each in model.state_dict().values()}
    assert len(lender.loans) == len(storages) < len(there)


def test_a_module_arrives_with_its_ties_and_works(lender: FakeLender) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(30, 30), torch.nn.Dropout(), torch.nn.Linear(30, 30)).eval()
    model[2].weight = model[0].weight
    there: Any = lender.travel(model)
    assert there[2].weight is there[0].weight
    assert isinstance(there[0].weight, torch.nn.Parameter)
    given_input = torch.rand(4, 30)
    assert torch.equal(there(given_input), model(given_input))
    there(given_input).sum().backward()
    assert there[0].weight.grad is not None
    assert model[0].weight.grad is None


# Memory


def test_what_is_not_shared_is_copied_each_time_as_it_is_then(lender: FakeLender) -> None:
    tensor = torch.zeros(2000)
    for expected in (1.0, 2.0):
        tensor += 1
        assert lender.travel(tensor)[7] == expected
    assert [loan.copied for loan in lender.loans] == [True, True]
    assert lender.cached_by == [None, None]


def test_a_tensor_made_from_shared_numpy_memory_is_lent_as_it_lies(arena: Arena) -> None:
    block = arena.allocate(8000)
    array = bytes_at(arena.address + block.offset, 8000).view(np.float32)
    array[:] = 7
    lender = FakeLender(arena)
    there: Any = lender.travel(torch.from_numpy(array)[5:])
    assert there.data_ptr() == array[5:].ctypes.data
    assert [(loan.nbytes, loan.copied) for loan in lender.loans] == [(8000, False)]
    arena.free(block)


def test_being_lent_leaves_no_mark_on_a_tensor(lender: FakeLender) -> None:
    tensor = torch.ones(2000)
    lender.travel(tensor)
    tensor.resize_(4000)
    assert tensor[:2000].sum() == 2000


def test_a_small_tensor_that_arrived_can_be_resized() -> None:
    there: Any = FakeLender(inline=True).travel(torch.ones(3))
    there.resize_(4000)
    assert there[:3].tolist() == [1, 1, 1]


def test_memory_that_is_only_to_be_read_is_copied_for_torch_would_write_to_it() -> None:
    lender = FakeLender(writable=False)
    memory = lender.arrived
    tensor = torch.ones(2000)
    there: Any = lender.travel(tensor)
    there[:] = 5
    assert (there.sum(), tensor.sum(), memory[0].view(np.float32).sum()) == (10_000, 2000, 2000)


def test_the_loan_ends_with_the_last_tensor_over_it(lender: FakeLender) -> None:
    memory = lender.arrived
    there: Any = lender.travel(torch.ones(2000))
    loan = weakref.ref(memory.pop())
    view = there[5:].numpy()
    rest = torch.from_numpy(view).view(5, -1)
    del there, view
    gc.collect()
    assert loan() is not None
    del rest
    gc.collect()
    assert loan() is None


# Moving by itself


@pytest.fixture
def mover(arena: Arena) -> FakeLender:
    return FakeLender(arena, moves=True)


def copies(lender: FakeLender) -> list[int]:
    """The bytes of the copies since the last call."""
    loans, lender.loans = lender.loans, []
    return [loan.nbytes for loan in loans if loan.copied]


def test_an_ordinary_tensor_is_copied_once_and_lies_in_shared_memory_from_then_on(
    arena: Arena, mover: FakeLender
) -> None:
    tensor = torch.arange(2000.0)
    same(tensor, mover.travel(tensor))
    assert copies(mover) == [8000]
    assert in_arena(arena, tensor)
    tensor[0] = -1
    assert mover.travel(tensor)[0] == -1
    assert copies(mover) == []


def test_all_views_of_a_tensor_move_along_with_it(arena: Arena, mover: FakeLender) -> None:
    tensor = torch.arange(2000.0)
    rows, last = tensor.view(40, 50), tensor[-1:]
    there = mover.travel({"rows": rows, "all": tensor})
    assert copies(mover) == [8000]
    assert in_arena(arena, rows)
    last[0] = 7
    assert rows[-1, -1] == tensor[-1] == 7
    there["all"][0] = -1
    assert there["rows"][0, 0] == -1


def test_a_state_dict_costs_one_copy_for_each_storage_and_none_the_second_time(mover: FakeLender) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(600, 600), torch.nn.Linear(600, 1200, bias=False))
    model[1].weight.data.fill_(0.5)
    mover.travel(model.state_dict())
    assert sorted(copies(mover)) == [2400, 600 * 600 * 4, 600 * 1200 * 4]
    there = mover.travel(model.state_dict())
    assert copies(mover) == [2400]  # less than a page travels in the message
    assert torch.equal(there["0.weight"], model[0].weight)
    before = model[0].weight.detach().clone()
    step = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.rand(3, 600)).sum().backward()
    step.step()
    assert not torch.equal(before, model[0].weight)


def test_a_module_is_copied_once_too(mover: FakeLender) -> None:
    model = torch.nn.Linear(600, 600)
    mover.travel(model)
    assert 600 * 600 * 4 in copies(mover)
    there = mover.travel(model)
    assert 600 * 600 * 4 not in copies(mover)
    assert torch.equal(there.weight, model.weight)


@pytest.mark.parametrize("look", ONLOOKERS.values(), ids=ONLOOKERS.keys())
def test_what_something_else_looks_at_is_copied_each_time_and_does_not_move(
    arena: Arena, mover: FakeLender, look: Callable[[Any], object]
) -> None:
    tensor = torch.ones(2000, dtype=torch.float64)
    onlooker = look(tensor)
    address = tensor.data_ptr()
    for _ in range(2):
        mover.travel(tensor.detach())
        assert copies(mover) == [16_000]
    assert tensor.data_ptr() == address
    assert not in_arena(arena, tensor)
    del onlooker


def test_a_tensor_whose_onlooker_is_gone_moves_the_next_time(arena: Arena, mover: FakeLender) -> None:
    tensor = torch.ones(2000)
    array = np.from_dlpack(tensor)
    mover.travel(tensor)
    del array
    mover.travel(tensor)
    assert in_arena(arena, tensor)


def test_where_moving_is_switched_off_or_there_is_no_room_a_tensor_is_copied_each_time() -> None:
    small = Arena(1 << 16)
    for lender in (FakeLender(small), FakeLender(small, moves=True), FakeLender(moves=True)):
        tensor = torch.ones(1 << 20)
        for _ in range(2):
            same(tensor, lender.travel(tensor))
            assert copies(lender) == [4 << 20]
    small.close()


# Moving on its owner's word


def test_a_shared_model_is_lent_without_a_copy_from_then_on(arena: Arena) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(600, 600), torch.nn.BatchNorm1d(2000))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert moving.share(model, arena) is model
    lender = FakeLender(arena)
    there: Any = lender.travel(model.state_dict())
    for name, tensor in before.items():
        same(tensor, there[name])
    assert [loan.nbytes for loan in lender.loans if loan.copied] == [2400, 8]  # these travel in the message
    used = arena.live_bytes
    moving.share(model, arena)
    assert arena.live_bytes == used


def test_views_move_along(arena: Arena) -> None:
    base = torch.arange(5000.0)
    row, hidden = base[7:], torch.arange(5000.0).view(50, 100)
    moving.share([row, {"deep": hidden}], arena)
    base[7] = -1
    assert row[0] == -1
    assert in_arena(arena, base)
    assert in_arena(arena, hidden)
    assert hidden[49, 99] == 4999


def test_training_goes_on_in_shared_memory(arena: Arena) -> None:
    model = torch.nn.Linear(100, 100)
    step = torch.optim.Adam(model.parameters())
    for shared in (False, True):
        loss = model(torch.rand(3, 100)).square().sum()
        step.zero_grad()
        loss.backward()
        step.step()
        del loss
        if not shared:
            moving.share(model, arena)
            before = model.weight.detach().clone()
    assert in_arena(arena, model.weight)
    assert not torch.equal(before, model.weight)


@pytest.mark.parametrize("look", ONLOOKERS.values(), ids=ONLOOKERS.keys())
def test_nothing_moves_while_something_else_looks_at_it(arena: Arena, look: Callable[[Any], object]) -> None:
    tensor, other = torch.ones(2000, dtype=torch.float64), torch.ones(2000)
    onlooker = look(tensor)
    address = tensor.data_ptr()
    with pytest.raises(ArrayError, match=r"^value\['x'\]\[1\] cannot be moved"):
        moving.share({"x": [other, tensor]}, arena)
    assert tensor.data_ptr() == address
    assert not in_arena(arena, other)
    del onlooker


def test_a_tensor_moves_once_its_onlookers_are_gone(arena: Arena) -> None:
    tensor = torch.ones(2000)
    array = np.from_dlpack(tensor)
    with pytest.raises(ArrayError):
        moving.share(tensor, arena)
    del array
    moving.share(tensor, arena)
    assert in_arena(arena, tensor)


@pytest.mark.parametrize("value", [3, "text", np.ones(3), None])
def test_what_is_no_tensor_is_not_moved(arena: Arena, value: object) -> None:
    with pytest.raises(ArrayError, match=f"got {type(value).__name__}"):
        moving.share(value, arena)


def test_what_is_no_plain_memory_stays_where_it_is(arena: Arena) -> None:
    moving.share([torch.eye(2000).to_sparse(), torch.empty(9000, device="meta"), torch.ones(3), 5], arena)
    assert arena.live_bytes == 0


def test_without_shared_memory_sharing_changes_nothing() -> None:
    tensor = torch.ones(2000)
    address = tensor.data_ptr()
    assert moving.share(tensor, None) is tensor
    assert tensor.data_ptr() == address


def test_a_full_arena_says_so_and_the_tensor_stays_whole() -> None:
    small = Arena(1 << 20)
    tensor = torch.ones(1 << 20)
    with pytest.raises(ArenaFull):
        moving.share(tensor, small)
    assert tensor.sum() == 1 << 20
    small.close()
