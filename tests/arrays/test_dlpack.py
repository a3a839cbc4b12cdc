"""Arrays of any library that speaks DLPack: as themselves, by their own pickling, or at least as NumPy's."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from snakepit_nb.arrays import dlpack, doors
from snakepit_nb.errors.types import ArrayError
from tests.lenders import FakeLender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU, CUDA = (1, 0), (2, 0)


class Producer:
    """It has nothing but the protocol, and cannot be pickled: its memory is somebody else's to know."""

    def __init__(self, array: np.ndarray, device: Any = CPU) -> None:
        self.array = array
        self.device = device
        self.asked: list[dict[str, object]] = []
        self.unpicklable: object = (each for each in "")

    def __dlpack__(self, **wishes: object) -> object:
        self.asked.append(wishes)
        return self.array.__dlpack__(**wishes)  # type: ignore[arg-type]

    def __dlpack_device__(self) -> Any:
        return self.device


class OldProducer(Producer):
    """One from before version 1: it knows no wish but the stream."""

    def __dlpack__(self, stream: object = None) -> object:  # type: ignore[override]
        return self.array.__dlpack__()


@pytest.fixture
def lender() -> FakeLender:
    return FakeLender()


# A producer that no library stands for


ARRAYS: dict[str, Callable[[], np.ndarray]] = {
    "booleans": lambda: np.array([True, False]),
    "bytes": lambda: np.arange(5, dtype=np.int8),
    "the largest integers": lambda: np.array([0, 2**64 - 1], np.uint64),
    "half floats": lambda: np.linspace(0, 1, 5, dtype=np.float16),
    "complex": lambda: np.array([1 + 2j, np.nan]),
    "no axis": lambda: np.array(3.5),
    "no element": lambda: np.ones((3, 0, 2)),
    "Fortran order": lambda: np.asfortranarray(np.arange(12).reshape(3, 4)),
    "a column": lambda: np.arange(20).reshape(4, 5)[:, 2],
    "backwards": lambda: np.arange(10)[::-1],
    "broadcast": lambda: np.broadcast_to(np.arange(3), (4, 3)).copy()[:, ::2],
    "two elements far apart": lambda: np.arange(1 << 16)[:: (1 << 16) - 1],
    "many axes": lambda: np.arange(64).reshape((2,) * 6),
    "axes of length one": lambda: np.arange(4)[None, :, None],
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS.keys())
@pytest.mark.parametrize("kind", [Producer, OldProducer])
@pytest.mark.parametrize("inline", [True, False])
def test_what_only_speaks_the_protocol_arrives_as_an_array(
    make: Callable[[], np.ndarray],
    kind: type[Producer],
    inline: bool,  # noqa: FBT001 - a parameter
) -> None:
    array = make()
    there = FakeLender(inline=inline).travel(kind(array))
    assert type(there) is np.ndarray
    np.testing.assert_array_equal(there, array, strict=True)


@given(
    hnp.arrays(hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.array_shapes(min_dims=0))
)
def test_any_array_behind_the_protocol_arrives_as_it_was(array: np.ndarray) -> None:
    native = array.astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(FakeLender().travel(Producer(native)), native, strict=True)


def test_its_memory_is_lent_and_the_events_hear_of_its_dtype_and_shape(lender: FakeLender) -> None:
    lender.travel(Producer(np.ones((20, 30), np.float32)))
    loan = lender.loans[0]
    assert (loan.nbytes, loan.kind, loan.dtype, loan.shape) == (2400, "dlpack", "float32", (20, 30))
    assert lender.cached_by == [None]


def test_it_is_asked_for_version_1_first(lender: FakeLender) -> None:
    producer = Producer(np.ones(3))
    lender.travel(producer)
    assert producer.asked[0]["max_version"] == (1, 0)


def test_what_may_not_be_written_is_lent_all_the_same(lender: FakeLender) -> None:
    array = np.arange(3)
    array.flags.writeable = False
    there: Any = lender.travel(Producer(array))
    assert there.tolist() == [0, 1, 2]


def test_the_producer_s_memory_is_let_go_of(lender: FakeLender) -> None:
    array = np.ones(2000)
    gone = weakref.ref(array)
    lender.travel(Producer(array))
    del array
    gc.collect()
    assert gone() is None


class Picture:
    """A class of the user's own, with more to it than its array."""

    def __init__(self, pixels: np.ndarray, title: str) -> None:
        self.pixels = pixels
        self.title = title

    def __dlpack__(self, **wishes: object) -> object:
        return self.pixels.__dlpack__(**wishes)  # type: ignore[arg-type]

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU


class Reducing(Picture):
    def __reduce__(self) -> tuple[object, ...]:
        return Reducing, (self.pixels, self.title + ", reduced")


def test_what_can_be_pickled_arrives_as_itself_with_all_that_it_has(lender: FakeLender) -> None:
    there: Any = lender.travel([Picture(np.ones(3), "one"), Reducing(np.ones(3), "two")])
    assert [type(each) for each in there] == [Picture, Reducing]
    assert [each.title for each in there] == ["one", "two, reduced"]


def test_a_type_that_says_how_it_is_pickled_needs_no_door() -> None:
    assert doors.find(Reducing) is None
    assert dlpack.door(np.ndarray) is None
    assert dlpack.door(np.ma.MaskedArray) is None


# Producers that fail


class Wrong(Producer):
    def __init__(self, answer: Callable[[np.ndarray], object]) -> None:
        super().__init__(np.ones(3))
        self.answer = answer

    def __dlpack__(self, **_wishes: object) -> object:
        return self.answer(self.array)


def wrong(answer: Callable[[np.ndarray], object]) -> Callable[[], Producer]:
    return lambda: Wrong(answer)


def raising(error: Exception) -> Callable[[np.ndarray], object]:
    def answer(_array: np.ndarray) -> object:
        raise error

    return answer


def consumed(array: np.ndarray) -> object:
    class Once:
        capsule = array.__dlpack__()

        def __dlpack__(self, **_wishes: object) -> object:
            return self.capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return CPU

    once = Once()
    np.from_dlpack(once)  # type: ignore[arg-type]
    return once.capsule


FAILING: dict[str, Callable[[], Producer]] = {
    "raises": wrong(raising(RuntimeError("no"))),
    "raises what says no politely": wrong(raising(BufferError("not exportable"))),
    "takes no wishes, not even none": wrong(raising(TypeError("argument"))),
    "gives nothing": wrong(lambda _: None),
    "gives a number": wrong(lambda _: 3),
    "gives the array": wrong(lambda array: array),
    "gives another capsule": wrong(lambda _: np._core.multiarray._ARRAY_API),  # type: ignore[attr-defined]
    "gives a capsule that was used": wrong(consumed),
    "lies on a device": lambda: Producer(np.ones(3), CUDA),
    "does not know where it lies": lambda: Producer(np.ones(3), None),
    "says where it lies in words": lambda: Producer(np.ones(3), "cpu"),
}


@pytest.mark.parametrize("make", FAILING.values(), ids=FAILING.keys())
def test_a_producer_that_fails_is_left_to_its_own_pickling(
    lender: FakeLender, make: Callable[[], Producer]
) -> None:
    producer = make()
    with pytest.raises(TypeError, match="cannot pickle 'generator' object"):
        lender.travel(producer)
    assert lender.loans == []


# A library of its own


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module with arrays of its own kind, as CuPy has."""
    module = types.ModuleType("numlib")

    class Array(Producer):
        __module__ = "numlib.core"

        def __reduce__(self) -> tuple[object, ...]:
            return list, (["pickled by itself"],)

    def from_dlpack(producer: Any) -> Array:
        return Array(np.from_dlpack(producer))

    from_dlpack.__module__ = "numlib.core"
    module.Array, module.from_dlpack = Array, from_dlpack  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numlib", module)
    yield module
    doors._found.clear()


def test_an_array_comes_back_as_what_its_library_makes_of_it(lender: FakeLender, library: Any) -> None:
    there: Any = lender.travel(library.Array(np.arange(3000)))
    assert type(there) is library.Array
    assert there.array.sum() == 4498500
    assert [loan.nbytes for loan in lender.loans] == [24_000]


def test_a_library_that_wants_plain_memory_gets_it(
    lender: FakeLender, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = library.from_dlpack

    def particular(producer: Any) -> object:
        if not producer.flags.c_contiguous:
            raise ValueError
        return make(producer)

    monkeypatch.setattr(library, "from_dlpack", particular)
    particular.__module__ = "numlib.core"
    there: Any = lender.travel(library.Array(np.arange(12).reshape(3, 4)[:, ::2]))
    assert there.array.tolist() == [[0, 2], [4, 6], [8, 10]]


def test_where_the_library_is_missing_or_refuses_the_array_is_numpy_s(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_producer: object) -> object:
        raise RuntimeError

    reduced = dlpack.door(library.Array)(library.Array(np.arange(3)), FakeLender(inline=True))  # type: ignore[misc]
    monkeypatch.setattr(library, "from_dlpack", refuse)
    assert type(reduced[0](*reduced[1])) is np.ndarray  # type: ignore[operator, misc]
    monkeypatch.delitem(sys.modules, "numlib")
    assert reduced[0](*reduced[1]).tolist() == [0, 1, 2]  # type: ignore[operator, misc]


def test_an_array_of_a_device_is_pickled_by_its_library(lender: FakeLender, library: Any) -> None:
    assert lender.travel(library.Array(np.arange(3), CUDA)) == ["pickled by itself"]
    assert lender.loans == []


def test_a_module_that_only_imported_from_dlpack_is_no_library(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "from_dlpack", np.from_dlpack)
    assert dlpack.door(library.Array) is None


def test_an_array_of_the_array_api_s_strict_library_arrives_as_its_own(lender: FakeLender) -> None:
    strict = pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    there: Any = lender.travel(strict.arange(3000.0))
    assert type(there) is type(strict.ones(1))
    assert strict.all(there == strict.arange(3000.0))
    assert [loan.nbytes for loan in lender.loans] == [24_000]


# JAX


@pytest.fixture
def jax(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return pytest.importorskip("jax", reason="pip install jax")


@pytest.mark.parametrize(
    "name",
    [
        "bool",
        "int8",
        "uint32",
        "float16",
        "bfloat16",
        "float32",
        "complex64",
        "float8_e4m3fn",
        "float8_e5m2",
        "int4",
    ],
)
@pytest.mark.parametrize("inline", [True, False])
def test_an_array_of_jax_arrives_as_it_was(jax: Any, name: str, inline: bool) -> None:  # noqa: FBT001 - a parameter
    array = jax.numpy.array([[0, 1, 2], [3, 4, 5]]).astype(name)
    there: Any = FakeLender(inline=inline).travel(array)
    assert isinstance(there, jax.Array)
    assert (there.dtype, there.shape, there.weak_type) == (array.dtype, array.shape, False)
    assert np.asarray(there).tobytes() == np.asarray(array).tobytes()


def test_a_jax_array_may_lie_over_memory_that_changes_so_its_copy_is_not_taken_for_true(
    jax: Any, lender: FakeLender
) -> None:
    array = jax.numpy.ones((40, 50), "bfloat16")
    lender.travel(array)
    assert lender.cached_by == [None]
    assert lender.owned_by == [id(array)]
    assert (lender.loans[0].dtype, lender.loans[0].shape, lender.loans[0].nbytes) == (
        "bfloat16",
        (40, 50),
        4000,
    )


@pytest.mark.usefixtures("jax")
def test_a_jax_array_lies_in_the_memory_that_was_lent_also_where_that_may_not_be_written() -> None:
    for writable in (True, False):
        memory = np.zeros(4096 + 64, np.uint8)
        memory = memory[-memory.ctypes.data % 64 :][:4096]
        memory.flags.writeable = writable
        there: Any = dlpack.rebuild(memory, "<f4", (4, 256), 0, "jax.numpy")
        assert there.unsafe_buffer_pointer() == memory.ctypes.data
        loan = weakref.ref(memory.base)
        del memory
        gc.collect()
        assert loan() is not None
        del there
        gc.collect()
        assert loan() is None


def test_a_number_keeps_its_weak_type(jax: Any, lender: FakeLender) -> None:
    there: Any = lender.travel(jax.numpy.asarray(3.0))
    assert there.weak_type


def test_a_random_key_of_jax_arrives(jax: Any, lender: FakeLender) -> None:
    key = jax.random.key(3)
    there: Any = lender.travel(key)
    assert jax.random.normal(there) == jax.random.normal(key)


def test_the_precision_of_an_array_does_not_depend_on_what_the_other_process_is_set_to(
    jax: Any, lender: FakeLender
) -> None:
    with jax.enable_x64(True):
        array = jax.numpy.array([1 / 3, 2 / 3])
    there: Any = lender.travel(array)
    assert isinstance(there, jax.Array)
    assert there.dtype == "float64"
    assert np.asarray(there).tolist() == [1 / 3, 2 / 3]


def test_a_deleted_array_of_jax_says_so(jax: Any, lender: FakeLender) -> None:
    array = jax.numpy.ones(3)
    array.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        lender.travel(array)


def test_a_type_that_numpy_lacks_comes_to_it_by_ml_dtypes_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    data = np.array([1.5, -2], ml_dtypes.bfloat16).tobytes()
    there: Any = dlpack.rebuild(data, "<u2", (2,), 4, None)
    assert there.astype(float).tolist() == [1.5, -2]
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ArrayError, match="pip install ml_dtypes"):
        dlpack.rebuild(data, "<u2", (2,), 4, None)
