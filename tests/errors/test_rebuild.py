from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import traceback
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.errors import pack_exception, unpack_exception
from snakepit_nb.errors.types import (
    CaptureError,
    ImportFailed,
    MissingKey,
    RemoteError,
    ShapeMismatch,
    WorkerCrashed,
)

if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from pathlib import Path

    Sent = Callable[[BaseException], BaseException]
    Cell = Callable[..., BaseException]
    Caught = Callable[[Callable[[], object]], BaseException]


class TwoArguments(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class KeywordOnly(Exception):
    def __init__(self, *, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __str__(self) -> str:
        return f"over the limit of {self.limit}"


class Slotted(Exception):
    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class OwnNew(Exception):
    def __new__(cls, *, place: str) -> Self:
        made = super().__new__(cls)
        made.args = (place,)
        return made

    def __init__(self, *, place: str) -> None:
        self.place = place


class Refusing(type):
    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, object]) -> Refusing:
        if len(bases) > 1:
            message = "not with me"
            raise TypeError(message)
        return super().__new__(cls, name, bases, space)


class WithMetaclass(ValueError, metaclass=Refusing):
    pass


class Final(Exception):
    def __init_subclass__(cls) -> None:
        message = "this class is final"
        raise TypeError(message)


class TwoBases(KeyError, AttributeError):
    pass


class FileTrouble(OSError):
    def __init__(self, code: int, text: str, file: str, *, owner: str) -> None:
        super().__init__(code, text, file)
        self.owner = owner


class Guarded(Exception):
    @property
    def record(self) -> str:
        return "the user's own"

    pool = property(lambda _self: "the user's own pool")


class Hidden(Exception):
    def __getattribute__(self, name: str) -> object:
        message = f"no {name} for you"
        raise RuntimeError(message)


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text, threading.Lock())
        self.lock = threading.Lock()
        self.size = 3


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyError("a"),
        KeyError(("a", 1)),
        ZeroDivisionError(),
        StopIteration(3),
        SystemExit(2),
        KeyboardInterrupt(),
        GeneratorExit(),
        MemoryError(),
        RecursionError("deep"),
        AssertionError("x", 1),
        TwoArguments(3, "bad"),
        KeywordOnly(limit=5),
        Slotted("here"),
        OwnNew(place="s"),
        WithMetaclass("m"),
        Final("f"),
        TwoBases("t"),
        Guarded("g"),
        np.linalg.LinAlgError("Singular matrix"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        UnicodeEncodeError("ascii", "é", 0, 1, "not in range"),
        json.JSONDecodeError("Expecting value", "{", 1),
        FileTrouble(2, "gone", "f.csv", owner="me"),
        subprocess.CalledProcessError(3, ["ls"], b"out"),
        ImportError("no", name="m", path="p"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_arrives_as_its_own_type_and_as_a_remote_error(sent: Sent, error: BaseException) -> None:
    arrived = sent(error)
    assert isinstance(arrived, type(error))
    assert isinstance(arrived, RemoteError)
    assert type(arrived).__name__ == type(error).__name__
    assert str(arrived) == str(error)
    assert arrived.args == error.args
    assert arrived.record.type.name == type(error).__qualname__.rpartition(".")[2]
    with pytest.raises(type(error)):
        raise arrived


def test_the_fields_of_builtin_exceptions_arrive(sent: Sent, caught: Caught) -> None:
    missing = sent(caught(lambda: open("/no such file")))  # noqa: PTH123, SIM115 - it cannot be opened
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename) == (2, "/no such file")
    assert "No such file or directory: '/no such file'" in str(missing)

    both = sent(caught(lambda: os.rename("/no such file", "/nor this")))  # noqa: PTH104 - it has two names
    assert isinstance(both, OSError)
    assert (both.filename, both.filename2) == ("/no such file", "/nor this")

    decode = sent(caught(b"ab\xff".decode))
    assert isinstance(decode, UnicodeDecodeError)
    assert (decode.start, decode.end, decode.object, decode.encoding) == (2, 3, b"ab\xff", "utf-8")

    parse = sent(caught(lambda: json.loads('{"a": }')))
    assert isinstance(parse, json.JSONDecodeError)
    assert (parse.pos, parse.lineno, parse.colno) == (6, 1, 7)

    syntax = sent(caught(lambda: compile("x = (\n1 +* 2)", "<In [4]>", "exec")))
    assert isinstance(syntax, SyntaxError)
    assert (syntax.filename, syntax.lineno, syntax.offset, syntax.text) == ("<In [4]>", 2, 4, "1 +* 2)\n")

    stop = sent(StopIteration("value"))
    assert isinstance(stop, StopIteration)
    assert stop.value == "value"
    left = sent(SystemExit(3))
    assert isinstance(left, SystemExit)
    assert left.code == 3

    module = sent(caught(lambda: __import__("no_such_module_here")))
    assert isinstance(module, ModuleNotFoundError)
    assert isinstance(module, ImportFailed)
    assert module.name == "no_such_module_here"


def test_attributes_and_slots_arrive(sent: Sent) -> None:
    assert sent(TwoArguments(3, "bad")).code == 3  # type: ignore[attr-defined]
    assert sent(KeywordOnly(limit=5)).limit == 5  # type: ignore[attr-defined]
    assert sent(Slotted("here")).place == "here"  # type: ignore[attr-defined]
    trouble = sent(FileTrouble(2, "gone", "f.csv", owner="me"))
    assert isinstance(trouble, FileTrouble)
    assert (trouble.errno, trouble.filename, trouble.owner) == (2, "f.csv", "me")


def test_one_unpicklable_attribute_loses_only_itself(sent: Sent) -> None:
    arrived = sent(Unpicklable("busy"))
    assert isinstance(arrived, Unpicklable)
    assert isinstance(arrived, RemoteError)
    assert arrived.size == 3
    assert arrived.args[0] == "busy"
    assert repr(arrived.args[1]) == "<a _thread.lock that stayed in the worker>"
    assert not hasattr(arrived, "lock")
    assert arrived.left_behind == ("args[1]", "lock")


def test_what_is_too_big_stays_and_the_rest_arrives(sent: Sent) -> None:
    error = ValueError("x" * 100_000_000)
    error.table = np.zeros(50_000_000)  # type: ignore[attr-defined]
    error.rows = 3  # type: ignore[attr-defined]
    data = pack_exception(error)
    assert len(data) < 200_000
    arrived = sent(error)
    assert isinstance(arrived, ValueError)
    assert isinstance(arrived, RemoteError)
    assert "99,980,000 characters left out" in str(arrived)
    assert arrived.rows == 3  # type: ignore[attr-defined]
    assert arrived.left_behind == ("args[0]", "table")


def test_the_names_of_the_original_win_over_those_of_the_house_but_for_the_record(sent: Sent) -> None:
    error = ValueError("v")
    error.command = "ls"  # type: ignore[attr-defined]
    error.pool = 3  # type: ignore[attr-defined]
    arrived = sent(error)
    assert isinstance(arrived, RemoteError)
    assert arrived.command == "ls"  # type: ignore[attr-defined]
    assert arrived.pool == 3  # type: ignore[attr-defined]
    assert arrived.worker_id == "w1"  # type: ignore[attr-defined]
    assert (arrived.record.command, arrived.record.pool) == ("cell", "default")

    guarded = sent(Guarded("g"))
    assert isinstance(guarded, RemoteError)
    assert guarded.record.message == "g"
    assert guarded.pool == "the user's own pool"  # type: ignore[attr-defined]


def test_classes_are_made_once(sent: Sent) -> None:
    one, other = sent(ValueError("a")), sent(ValueError("b"))
    assert type(one) is type(other)


def test_cause_context_notes_and_suppression_arrive(sent: Sent, caught: Caught) -> None:
    def direct() -> None:
        try:
            {"b": 1}["a"]
        except KeyError as first:
            first.add_note("while reading")
            message = "second"
            raise ValueError(message) from first

    def during() -> None:
        try:
            os.stat("/no such file")  # noqa: PTH116 - the plainest OSError
        except OSError:
            int("x")

    def silent() -> None:
        try:
            os.stat("/no such file")  # noqa: PTH116 - the plainest OSError
        except OSError:
            message = "new"
            raise ValueError(message) from None

    arrived = sent(caught(direct))
    assert isinstance(arrived.__cause__, KeyError)
    assert arrived.__context__ is arrived.__cause__
    assert arrived.__suppress_context__
    assert arrived.__cause__.__notes__ == ["while reading"]

    arrived = sent(caught(during))
    assert arrived.__cause__ is None
    assert isinstance(arrived.__context__, OSError)
    assert arrived.__context__.errno == 2
    assert not arrived.__suppress_context__

    arrived = sent(caught(silent))
    assert arrived.__suppress_context__
    assert isinstance(arrived.__context__, OSError)


def test_groups_arrive_and_except_star_takes_them_apart(sent: Sent) -> None:
    inner = ExceptionGroup("inner", [KeyError("k"), OSError(2, "gone")])
    group = ExceptionGroup("outer", [ValueError("v"), inner])
    arrived = sent(group)
    assert isinstance(arrived, ExceptionGroup)
    assert str(arrived) == str(group)
    assert arrived.message == "outer"
    seen: list[object] = []
    try:
        raise arrived
    except* ValueError as found:
        seen.append([str(each) for each in found.exceptions])
    except* OSError as found:
        (nested,) = found.exceptions
        assert isinstance(nested, ExceptionGroup)
        seen.append([each.errno for each in nested.exceptions])  # type: ignore[union-attr]
    except* KeyError as found:
        seen.append(len(found.exceptions))
    assert seen == [["v"], [2], 1]


def test_a_base_group_with_an_interrupt_arrives(sent: Sent) -> None:
    arrived = sent(BaseExceptionGroup("stop", [KeyboardInterrupt(), ValueError("v")]))
    assert isinstance(arrived, BaseExceptionGroup)
    assert isinstance(arrived.exceptions[0], KeyboardInterrupt)


def test_circles_of_causes_end(sent: Sent) -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    one.__context__ = other
    arrived = sent(one)
    assert str(arrived.__cause__) == "other"
    assert arrived.__cause__ is not None
    assert arrived.__cause__.__cause__ is None


def test_a_chain_of_thousands_arrives_with_its_newest_part(sent: Sent) -> None:
    error: BaseException = ValueError("oldest")
    for number in range(5000):
        newer = ValueError(f"number {number}")
        newer.__context__ = error
        error = newer
    arrived = sent(error)
    assert str(arrived) == "number 4999"
    assert str(arrived.__context__) == "number 4998"


def test_ten_thousand_members_arrive_bounded(sent: Sent) -> None:
    arrived = sent(ExceptionGroup("many", [ValueError(str(n)) for n in range(10_000)]))
    assert isinstance(arrived, ExceptionGroup)
    assert isinstance(arrived, RemoteError)
    assert len(arrived.exceptions) + arrived.record.omitted == 10_000
    assert str(arrived) == "many (10000 sub-exceptions)"


def test_an_exception_class_of_the_notebook_is_caught_by_its_name(
    notebook: types.ModuleType, sent: Sent, cell: Cell
) -> None:
    exec("class MyError(Exception):\n    pass", notebook.__dict__)  # noqa: S102 - a cell of the notebook
    arrived = sent(cell("class MyError(Exception):\n    pass\nraise MyError('mine', 3)"))
    assert isinstance(arrived, notebook.MyError)
    assert arrived.args == ("mine", 3)


def test_a_class_that_only_the_worker_knows_travels_by_value(
    notebook: types.ModuleType, sent: Sent, cell: Cell
) -> None:
    source = """
        class Odd(ValueError):
            def doubled(self):
                return self.args[0] * 2
        raise Odd(21)
    """
    arrived = sent(cell(textwrap.dedent(source)))
    assert not hasattr(notebook, "Odd")
    assert isinstance(arrived, ValueError)
    assert arrived.doubled() == 42  # type: ignore[attr-defined]
    assert type(arrived).__name__ == "Odd"


def test_an_instance_of_a_notebook_class_inside_an_exception_leaves_that_class_as_it_is(
    notebook: types.ModuleType, sent: Sent, cell: Cell
) -> None:
    exec("class Box:\n    made = 1\n    def __init__(self, v):\n        self.v = v", notebook.__dict__)  # noqa: S102 - a cell of the notebook
    arrived = sent(cell("class Box:\n    made = 99\nb = Box()\nb.v = 5\nraise ValueError(b)"))
    box = arrived.args[0]
    assert type(box) is notebook.Box
    assert box.v == 5
    assert notebook.Box.made == 1


def test_a_type_that_cannot_be_imported_falls_back_to_its_nearest_base(
    arrive: Callable[[bytes], BaseException], tmp_path: Path
) -> None:
    program = """
        import sys, types
        sys.path.insert(0, sys.argv[1])
        from only_there import Trouble
        from snakepit_nb.errors import pack_exception
        try:
            raise Trouble(5, "busy")
        except Trouble as error:
            sys.stdout.buffer.write(pack_exception(error))
    """
    (tmp_path / "only_there.py").write_text("class Base(OSError): pass\nclass Trouble(Base): pass\n")
    data = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], capture_output=True, check=True
    ).stdout
    error = arrive(data)
    assert isinstance(error, OSError)
    assert isinstance(error, RemoteError)
    assert type(error).__name__ == "Trouble"
    assert error.errno == 5
    assert str(error) == "[Errno 5] busy"
    assert str(error.record.type) == "only_there.Trouble"


def test_a_module_that_fails_to_import_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
        import sys, types
        module = types.ModuleType("breaks_here")
        exec("class Trouble(KeyError): pass", module.__dict__)
        sys.modules["breaks_here"] = module
        from snakepit_nb.errors import pack_exception
        sys.stdout.buffer.write(pack_exception(module.Trouble("k")))
    """
    data = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=True
    ).stdout
    (tmp_path / "breaks_here.py").write_text("raise SystemExit(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    error = unpack_exception(data, worker_id="w", pool="p", request_id=1, command="c")
    assert isinstance(error, KeyError)
    assert isinstance(error, RemoteError)


def test_nothing_but_the_own_module_of_the_type_is_imported() -> None:
    worker = """
        import sys, decimal, colorsys
        from snakepit_nb.errors import pack_exception
        error = ValueError("v", colorsys.rgb_to_hsv)
        error.method = colorsys.rgb_to_yiq
        sys.stdout.buffer.write(pack_exception(error))
    """
    data = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(worker)], capture_output=True, check=True
    ).stdout
    kernel = """
        import sys
        from snakepit_nb.errors import unpack_exception
        error = unpack_exception(sys.stdin.buffer.read(), worker_id="w", pool="p", request_id=1, command="c")
        print(isinstance(error, ValueError), "colorsys" in sys.modules, error.left_behind)
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(kernel)], input=data, capture_output=True, check=True
    ).stdout
    assert said.decode().strip() == "True False ('args[1]', 'method')"


def test_an_error_of_a_rule_is_of_its_class_and_of_the_original(sent: Sent, cell: Cell) -> None:
    arrived = sent(cell("x = np.ones(3)\nx + np.ones(4)", np=np))
    assert isinstance(arrived, ShapeMismatch)
    assert isinstance(arrived, ValueError)
    assert arrived.shapes == ((3,), (4,))
    assert arrived.facts == {"shapes": ((3,), (4,))}
    assert arrived.mapped
    assert arrived.suggestion
    assert type(arrived).__mro__[1] is ShapeMismatch
    plain = sent(cell("raise ValueError('plain')"))
    assert isinstance(plain, RemoteError)
    assert not plain.mapped
    assert plain.suggestion is None


def test_an_error_of_ours_without_the_users_code_stays_itself(sent: Sent) -> None:
    error = CaptureError(name="result", path="result.lock", type_name="lock", reason="no")
    arrived = sent(error)
    assert type(arrived) is CaptureError
    assert (arrived.path, str(arrived)) == ("result.lock", str(error))


def test_an_error_of_a_pool_inside_a_worker_keeps_its_type_and_both_tracebacks(
    sent: Sent, cell: Cell, arrive: Callable[[bytes], BaseException]
) -> None:
    inner = sent(cell("def deep():\n    {}['a']\ndeep()", number=3))
    assert isinstance(inner, MissingKey)
    outer = cell("raise error", number=4, error=inner)
    arrived = unpack_exception(pack_exception(outer), worker_id="w2", pool="outer", request_id=1, command="c")
    assert isinstance(arrived, MissingKey)
    assert isinstance(arrived, KeyError)
    assert [frame.cell for frame in arrived.record.frames] == [4, 3, 3]
    assert arrived.record.worker_id == "w1"
    assert arrived.args == ("a",)
    crash = cell("raise error", error=WorkerCrashed(worker_id="w3", pool="p", classification="oom", signal=9))
    arrived = arrive(pack_exception(crash))
    assert isinstance(arrived, WorkerCrashed)
    assert isinstance(arrived, RemoteError)
    assert arrived.worker_id == "w3"
    assert arrived.signal_name == "SIGKILL"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize(
    "error",
    [
        KeyError("a"),
        FileTrouble(2, "gone", "f.csv", owner="me"),
        KeywordOnly(limit=5),
        Slotted("here"),
        ExceptionGroup("g", [ValueError("v"), OSError(2, "x")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_arrived_exception_can_be_copied_and_pickled(
    sent: Sent, error: BaseException, again: Callable[[BaseException], BaseException]
) -> None:
    arrived = sent(error)
    assert isinstance(arrived, RemoteError)
    arrived.add_note("seen")
    arrived.extra = 3  # type: ignore[attr-defined]
    other = again(arrived)
    assert type(other) is type(arrived)
    assert isinstance(other, RemoteError)
    assert (str(other), str(other.args)) == (str(arrived), str(arrived.args))
    assert other.__notes__ == ["seen"]
    assert other.extra == 3  # type: ignore[attr-defined]
    assert other.record.worker_id == "w1"
    if isinstance(arrived, OSError):
        assert isinstance(other, OSError)
        assert (other.errno, other.filename) == (2, "f.csv")
    if isinstance(arrived, Slotted):
        assert other.place == "here"  # type: ignore[attr-defined]


def test_an_exception_that_hides_its_attributes_arrives(sent: Sent) -> None:
    arrived = sent(Hidden("h"))
    assert isinstance(arrived, Hidden)
    assert isinstance(arrived, RemoteError)
    assert RemoteError.record.__get__(arrived).type.name == "Hidden"


def test_pythons_own_traceback_shows_where_it_failed_in_the_worker(sent: Sent, cell: Cell) -> None:
    arrived = sent(cell("def inner():\n    return 1 / 0\ninner()", number=7))
    shown = "".join(traceback.format_exception(arrived))
    assert 'File "<In [7]>", line 3, in <module>' in shown
    assert 'File "<In [7]>", line 2, in inner' in shown
    assert shown.rstrip().endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    "data", [b"", b"SPE1", b"SPE1\xff\xff\xff\xff", b"x" * 100, b"SPE1\x02\x00\x00\x00{}"]
)
def test_malformed_bytes_give_an_error_that_says_so(
    arrive: Callable[[bytes], BaseException], data: bytes
) -> None:
    error = arrive(data)
    assert type(error) is RemoteError
    assert "arrived damaged" in str(error)
    assert error.record.worker_id == "w1"
    assert not error.mapped


@given(st.data())
def test_no_change_of_the_bytes_makes_unpacking_raise(draw: st.DataObject) -> None:
    data = bytearray(pack_exception(OSError(2, "gone", "file")))
    # Not inside the pickles: a changed pickle may name another function, and call it.
    last = data.index(b'"sizes"')
    for _ in range(draw.draw(st.integers(1, 5))):
        data[draw.draw(st.integers(0, last))] = draw.draw(st.integers(0, 255))
    error = unpack_exception(bytes(data), worker_id="w", pool="p", request_id=1, command="c")
    assert isinstance(error, BaseException)


def test_parts_that_are_missing_or_broken_lose_only_themselves(
    arrive: Callable[[bytes], BaseException],
) -> None:
    data = pack_exception(FileTrouble(2, "gone", "f.csv", owner="me"))
    broken = data[: data.index(b"\x80\x05")] + b"\xff" * (len(data) - data.index(b"\x80\x05"))
    error = arrive(broken)
    assert isinstance(error, FileTrouble)
    assert isinstance(error, RemoteError)
    assert str(error) == "[Errno 2] gone: 'f.csv'"
    assert "owner" in error.left_behind
