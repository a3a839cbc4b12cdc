"""Objects through `pack` and `unpack`: what arrives, what is copied, and what a failure leaves."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import textwrap
import threading
import types
from typing import TYPE_CHECKING, Any, NoReturn

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from snakepit_nb.arrays.handle import to_bytes
from snakepit_nb.arrays.store import Store
from snakepit_nb.errors.types import ArrayError, ProtocolError
from snakepit_nb.wire import packing, payload
from snakepit_nb.wire.payload import Packed, decline, handles_of, pack, unpack
from tests.stores import KERNEL, WORKER, checked_events, settle, two_stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FALLBACK = "snakepit.zero_copy.fallback"
EXPORT = "snakepit.zero_copy.export"
IMPORT = "snakepit.zero_copy.import"


@pytest.fixture
def pair() -> Iterator[tuple[Store, Store]]:
    with two_stores(inline_bytes=4096) as both:
        yield both


def over(pair: tuple[Store, Store], obj: object) -> Any:
    """The object as it arrives in the worker."""
    kernel, worker = pair
    return unpack(pack(obj, kernel), worker, peer=KERNEL)


def lies_in_lent_memory(store: Store, array: np.ndarray) -> bool:
    """Whether an array is a view of what was lent: its base ends the loan."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    del store
    return type(base).__name__ == "Lent"


def is_clean(pair: tuple[Store, Store]) -> bool:
    settle(*pair)
    return all((each.stats().leases, each.stats().live_bytes) == (0, 0) for each in pair)


@dataclasses.dataclass
class Model:
    weights: np.ndarray
    name: str = "model"
    inner: Model | None = None


class Refuses:
    def __reduce__(self) -> NoReturn:
        message = "I stay here"
        raise RuntimeError(message)


class RaisesWhenRebuilt:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _raise, ()


def _raise() -> NoReturn:
    message = "not in this process"
    raise RuntimeError(message)


class MakesAnArrayEachTime:
    """Its array is new at each try of pickling, and the first try fails later on."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return list, ((np.zeros(5000),),)


BIG = np.arange(10_000.0)


@pytest.mark.parametrize(
    "obj",
    [
        None,
        3.5,
        "text",
        b"bytes" * 10_000,
        [1, {"a": (2, {3})}],
        types.SimpleNamespace(a=1),
        {"nested": [{"deep": (1, [2])}], "none": None},
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_plain_objects_arrive_as_they_were_and_nothing_is_lent(
    pair: tuple[Store, Store], obj: object
) -> None:
    packed = pack(obj, pair[0])
    assert packed.leases == ()
    assert b"cloudpickle" not in packed.data
    assert unpack(packed, pair[1], peer=KERNEL) == obj


def test_arrays_deep_inside_an_object_arrive_by_mapping(pair: tuple[Store, Store]) -> None:
    with checked_events() as captured:
        found = over(pair, {"a": [Model(BIG, inner=Model(BIG + 1))], "small": np.arange(3)})
    assert captured.names() == [FALLBACK, FALLBACK, IMPORT, IMPORT]
    model = found["a"][0]
    np.testing.assert_array_equal(model.weights, BIG, strict=True)
    np.testing.assert_array_equal(model.inner.weights, BIG + 1, strict=True)
    assert lies_in_lent_memory(pair[1], model.weights)
    assert not lies_in_lent_memory(pair[1], found["small"])
    model.weights[0] = -1
    assert BIG[0] == 0
    del found, model
    assert is_clean(pair)


def test_an_array_that_is_there_twice_arrives_as_one(pair: tuple[Store, Store]) -> None:
    with checked_events(FALLBACK) as captured:
        found = over(pair, [BIG, BIG, {"again": BIG}])
    assert len(captured) == 1
    assert found[0] is found[1] is found[2]["again"]
    del found
    assert is_clean(pair)


def test_two_buffers_over_one_memory_are_one_loan_that_ends_once(pair: tuple[Store, Store]) -> None:
    data = bytearray(10_000)
    with checked_events() as captured:
        found = over(pair, [pickle.PickleBuffer(data), pickle.PickleBuffer(data)])
        first = np.frombuffer(found[0], np.uint8)
        second = np.frombuffer(found[1], np.uint8)
        del found
        first[0] = 5
        assert second[0] == 5
        del first
        settle(*pair)
        assert pair[0].stats().leases == 1
        del second
        settle(*pair)
    assert captured.names() == [FALLBACK, IMPORT, "snakepit.zero_copy.release"]
    assert is_clean(pair)


def test_buffers_that_end_at_the_same_place_are_not_taken_for_one_another(pair: tuple[Store, Store]) -> None:
    data = memoryview(bytes(range(256)) * 40)
    halves = [pickle.PickleBuffer(data[:]), pickle.PickleBuffer(data[5000:])]
    whole, tail = over(pair, halves)
    assert bytes(whole) == bytes(data)
    assert bytes(tail) == bytes(data[5000:])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(2000, np.dtype("f8", metadata={"unit": "m"})), "dtype"),
        (np.array([None, "a", 3] * 2000, object), "dtype"),
        (np.zeros(20 << 20), "capacity"),
    ],
    ids=["metadata", "objects", "capacity"],
)
def test_an_array_that_cannot_be_lent_travels_in_band_and_is_told_once(
    pair: tuple[Store, Store], array: np.ndarray, reason: str
) -> None:
    with checked_events() as captured:
        packed = pack([array, array], pair[0])
    assert [(each.name[-1], each.metadata["reason"]) for each in captured] == [("fallback", reason)]
    assert packed.leases == ()
    found: Any = unpack(packed, pair[1], peer=KERNEL)
    assert found[0] is found[1]
    np.testing.assert_array_equal(found[0], array, strict=True)


def test_without_an_arena_each_array_is_one_fallback_and_arrives() -> None:
    kernel, worker = Store("kernel", None), Store("worker", None)
    with checked_events() as captured:
        packed = pack({"a": BIG, "b": BIG[::2], "c": pd.DataFrame({"x": BIG})}, kernel)
    assert [each.metadata["reason"] for each in captured] == ["disabled"] * 3
    assert packed.buffers == b""
    found: Any = unpack(packed, worker, peer=KERNEL)
    np.testing.assert_array_equal(found["b"], BIG[::2], strict=True)
    pd.testing.assert_frame_equal(found["c"], pd.DataFrame({"x": BIG}))


def test_what_came_from_the_peer_goes_home_without_a_copy(pair: tuple[Store, Store]) -> None:
    kernel, worker = pair
    here: Any = unpack(pack({"a": BIG}, worker), kernel, peer=WORKER, mode="in_place")
    with checked_events() as captured:
        back = over(pair, [here["a"], here["a"][::-1]])
    assert captured.names() == [EXPORT, EXPORT, IMPORT, IMPORT]
    np.testing.assert_array_equal(back[1], BIG[::-1], strict=True)
    del here, back
    assert is_clean(pair)


# Which pickler


def test_what_plain_pickle_carries_never_loads_cloudpickle() -> None:
    code = """
        import sys
        import numpy as np
        from snakepit_nb.arrays.store import Store
        from snakepit_nb.wire.payload import pack, unpack
        store = Store("kernel", None)
        found = unpack(pack({"a": [np.zeros(9999), print]}, store), store, peer="kernel")
        assert "cloudpickle" not in sys.modules
        unpack(pack(lambda: 1, store), store, peer="kernel")
        assert "cloudpickle" in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_lambda_travels_with_the_arrays_it_refers_to(pair: tuple[Store, Store]) -> None:
    weights = BIG + 1
    with checked_events() as captured:
        function = over(pair, lambda x: weights * x)
    assert captured.names() == [FALLBACK, IMPORT]
    assert {each.metadata["kind"] for each in captured} == {"dlpack"}
    np.testing.assert_array_equal(function(2), weights * 2)


@pytest.fixture
def of_main() -> Iterator[type]:
    main = sys.modules["__main__"]
    made = type("OfMain", (), {"__module__": "__main__", "double": lambda self: self.x * 2})
    vars(main)["OfMain"] = made
    yield made
    del vars(main)["OfMain"]


def test_a_class_of_the_notebook_travels_by_value(pair: tuple[Store, Store], of_main: type) -> None:
    instance = of_main()
    vars(instance)["x"] = BIG
    packed = pack([instance, np.ones(5000)], pair[0])
    assert b"cloudpickle" in packed.data
    assert len(packed.leases) == 2
    main = sys.modules["__main__"]
    del vars(main)["OfMain"]
    found: Any = unpack(packed, pair[1], peer=KERNEL)
    vars(main)["OfMain"] = of_main
    np.testing.assert_array_equal(found[0].double(), BIG * 2)
    del found
    assert is_clean(pair)


def test_a_module_registered_by_value_travels_by_value(pair: tuple[Store, Store]) -> None:
    module = types.ModuleType("of_the_notebook_alone")
    exec("def f():\n    return 7", vars(module))  # noqa: S102 - a module without a file
    sys.modules[module.__name__] = module
    try:
        cloudpickle.register_pickle_by_value(module)
        packed = pack(module.f, pair[0])
        cloudpickle.unregister_pickle_by_value(module)
    finally:
        del sys.modules[module.__name__]
    found: Any = unpack(packed, pair[1], peer=KERNEL)
    assert found() == 7


# Failures


@pytest.mark.parametrize("culprit", [Refuses(), threading.Lock(), sys.stdout], ids=["raises", "lock", "file"])
def test_what_cannot_be_packed_leaves_no_lease(pair: tuple[Store, Store], culprit: object) -> None:
    with pytest.raises(Exception, match=r"I stay here|cannot pickle|pickle"):
        pack([BIG, {"deep": [BIG + 1, culprit]}], pair[0])
    assert is_clean(pair)


def test_leases_of_a_first_try_that_the_second_did_not_need_are_ended(
    pair: tuple[Store, Store], of_main: type
) -> None:
    packed = pack([MakesAnArrayEachTime(), BIG, of_main()], pair[0])
    assert len(packed.leases) == pair[0].stats().leases == 2
    found: Any = unpack(packed, pair[1], peer=KERNEL)
    assert found[0][0].sum() == 0
    del found
    assert is_clean(pair)


def test_an_interrupt_while_packing_leaves_no_lease(pair: tuple[Store, Store]) -> None:
    class Interrupts:
        def __reduce__(self) -> NoReturn:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack([BIG, Interrupts()], pair[0])
    assert is_clean(pair)


def test_what_raises_while_it_is_rebuilt_gives_its_leases_back(pair: tuple[Store, Store]) -> None:
    packed = pack([BIG, RaisesWhenRebuilt(), BIG + 1], pair[0])
    with pytest.raises(RuntimeError, match="not in this process"):
        unpack(packed, pair[1], peer=KERNEL)
    assert is_clean(pair)


def test_a_handle_that_does_not_fit_gives_all_leases_of_its_message_back(pair: tuple[Store, Store]) -> None:
    packed = pack([BIG, BIG + 1, BIG + 2], pair[0])
    handles = handles_of(packed.buffers)
    handles[1] = handles[1]._replace(arena="elsewhere")
    broken = packed._replace(buffers=b"".join(map(to_bytes, handles)))
    with pytest.raises(ArrayError, match="elsewhere"):
        unpack(broken, pair[1], peer=KERNEL)
    assert is_clean(pair)


def test_what_nobody_waits_for_any_more_can_be_declined(pair: tuple[Store, Store]) -> None:
    packed = pack([BIG, BIG + 1], pair[0])
    decline(packed.buffers, pair[1], peer=KERNEL)
    assert is_clean(pair)


@pytest.mark.parametrize("buffers", [b"{", b"\xff", b"7", b"[7]", b"[" * 100_000], ids=repr)
def test_handles_that_cannot_be_read_are_a_protocol_error(buffers: bytes) -> None:
    with pytest.raises(ProtocolError, match="the handles beside a message cannot be read"):
        handles_of(buffers)


def test_the_helpers_that_pickles_name_keep_their_names() -> None:
    named = {packing.take, packing.rebuild, payload.apply, payload.run_chunk}
    assert all(pickle.loads(pickle.dumps(each)) is each for each in named)
    assert unpack(Packed(pickle.dumps(1), b"", ()), Store("kernel", None), peer=WORKER) == 1
