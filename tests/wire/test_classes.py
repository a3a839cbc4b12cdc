from __future__ import annotations

import enum
import pickle

import cloudpickle

from snakepit_nb.wire import classes


def made(source: str) -> dict[str, type]:
    """Classes as a notebook makes them: of a module that has no file."""
    namespace: dict[str, object] = {"__name__": "__main__", "enum": enum}
    exec(source, namespace)  # noqa: S102 - written two lines below
    return {
        name: value for name, value in namespace.items() if isinstance(value, type) and value is not enum.Enum
    }


def test_an_instance_comes_back_to_its_class_and_the_class_stays_as_it_is() -> None:
    point = made("class Point:\n    scale = 1\n    def double(self): return 2 * self.scale")["Point"]
    method = vars(point)["double"]
    data = cloudpickle.dumps(point())
    point.scale = 5  # type: ignore[attr-defined]
    back = classes.loads(data)
    assert type(back) is point
    assert vars(point)["double"] is method
    assert point.scale == 5  # type: ignore[attr-defined]


def test_a_member_of_an_enumeration_comes_back_as_itself() -> None:
    colour = made("class Colour(enum.Enum):\n    RED = 1")["Colour"]
    assert classes.loads(cloudpickle.dumps(colour["RED"])) is colour["RED"]  # type: ignore[index]


def test_a_class_that_is_new_here_is_set_up() -> None:
    data = cloudpickle.dumps(made("class New:\n    def one(self): return 1")["New"])
    tracked = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    known = dict(tracked)
    tracked.clear()
    try:
        found = classes.loads(data)
    finally:
        tracked.update(known)
    assert isinstance(found, type)
    assert found().one() == 1


def test_what_holds_no_class_is_loaded_as_ever() -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(pickle.PickleBuffer(b"abc"), 5, buffer_callback=buffers.append)
    assert bytes(classes.loads(data, buffers)) == b"abc"  # type: ignore[call-overload]
