from __future__ import annotations

import asyncio
import functools
import sys
import types
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.errors import describe, from_json, pack_exception, to_json, unpack_exception
from snakepit_nb.errors.types import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Sent = Callable[[BaseException], BaseException]
    Cell = Callable[..., BaseException]
    Caught = Callable[[Callable[[], object]], BaseException]


def _fail(*_args: object, **_options: object) -> object:
    message = "not even this"
    raise RuntimeError(message)


def _quit(*_args: object, **_options: object) -> object:
    raise SystemExit(1)


class BadStr(Exception):
    __str__ = _fail  # type: ignore[assignment]
    __repr__ = _fail  # type: ignore[assignment]


class BadReduce(Exception):
    __reduce__ = _quit  # type: ignore[assignment]
    __reduce_ex__ = _quit  # type: ignore[assignment]


class BadGet(Exception):
    __getattribute__ = _fail
    __getattr__ = _fail


class BadSet(Exception):
    __setattr__ = _fail  # type: ignore[assignment, misc]
    __delattr__ = _fail  # type: ignore[assignment]


class BadEqual(Exception):
    __eq__ = _fail  # type: ignore[assignment]
    __hash__ = _fail  # type: ignore[assignment]
    __bool__ = _fail
    __len__ = _fail


class BadState:
    def __reduce__(self) -> tuple[object, ...]:
        return _quit, ()

    __repr__ = _fail  # type: ignore[assignment]


class SelfNamed(Exception):
    __name__ = "Nothing"


class NoSuchText(str):
    __slots__ = ()
    __len__ = _fail  # type: ignore[assignment]
    __str__ = _fail  # type: ignore[assignment]
    encode = _fail  # type: ignore[assignment]


class LyingStr(Exception):
    def __str__(self) -> str:
        return NoSuchText("a lie")


class WrongStr(Exception):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value] # noqa: PLE0307 - that is what is wrong with it


class EndlessStr(Exception):
    def __str__(self) -> str:
        return str(self)


class EndlessReduce(Exception):
    def __init__(self) -> None:
        self.loop = self
        self.rows = [self]


def _with_bad_metaclass() -> BaseException:
    # Not at the top of this file, where pytest would ask the class for attributes.
    class BadMeta(type):
        __getattribute__ = _fail
        __eq__ = _fail  # type: ignore[assignment]
        __hash__ = type.__hash__
        __instancecheck__ = _fail  # type: ignore[assignment]
        __subclasscheck__ = _fail  # type: ignore[assignment]

    return BadMeta("WithBadMeta", (Exception,), {})("m")  # type: ignore[no-any-return]


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "str": lambda: BadStr("s"),
    "reduce": lambda: BadReduce("r"),
    "getattribute": lambda: BadGet("g"),
    "setattr": lambda: BadSet("set"),
    "comparison": lambda: BadEqual("e"),
    "metaclass": _with_bad_metaclass,
    "argument": lambda: ValueError(BadState()),
    "own name": lambda: SelfNamed("n"),
    "a str that lies": LyingStr,
    "a str that is none": WrongStr,
    "an endless str": EndlessStr,
    "an endless reduce": EndlessReduce,
    "surrogates": lambda: ValueError("\ud800 alone"),
    "control characters": lambda: ValueError("nul \x00 and \x1b[31m"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_exception_is_described_and_arrives_as_itself(sent: Sent, kind: str) -> None:
    error = HOSTILE[kind]()
    record = describe(error)
    assert from_json(to_json(record)) == record
    arrived = sent(error)
    bases = type.mro(type(arrived))
    assert any(base is RemoteError for base in bases)
    assert any(base is type(error) for base in bases) or kind == "metaclass"
    assert str(arrived) == record.message
    assert repr(arrived)


def test_a_str_that_fails_is_told_in_its_place() -> None:
    assert describe(BadStr("s")).message == "<the str() of this BadStr failed>"
    assert describe(LyingStr()).message == "a lie"


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ("one text", ("one text",)),
        ([1, None], ("1", "None")),
        ([BadStr()], ("<a note whose str() failed>",)),
        (None, ()),
        (BadStr(), ("<a note whose str() failed>",)),
    ],
)
def test_notes_are_kept_whatever_they_are(sent: Sent, notes: object, expected: tuple[str, ...]) -> None:
    error = ValueError("v")
    error.__notes__ = notes  # type: ignore[assignment]
    assert describe(error).notes == expected
    assert tuple(getattr(sent(error), "__notes__", ())) == expected


def test_a_thousand_notes_are_bounded() -> None:
    error = ValueError("v")
    for number in range(1000):
        error.add_note(str(number))
    notes = describe(error).notes
    assert len(notes) == 51
    assert notes[-1] == "[... 950 notes left out ...]"


def test_an_attribute_dict_that_lies_is_no_obstacle(sent: Sent) -> None:
    class Dict(dict[str, object]):
        items = _fail  # type: ignore[assignment]
        get = _fail

    error = ValueError("v")
    error.__dict__ = Dict(size=3)
    assert sent(error).size == 3  # type: ignore[attr-defined]


def test_the_frames_of_a_cell_carry_its_number_its_lines_and_the_failing_part(cell: Cell) -> None:
    source = "a = 1\nb = 0\n\ny = a + a / b\nz = 2\nw = 3\nv = 4\n"
    (frame,) = describe(cell(source, number=7)).frames
    assert frame.in_cell
    assert frame.cell == 7
    assert frame.line == 4
    assert frame.source == "y = a + a / b"
    assert frame.before == ("b = 0", "")
    assert frame.after == ("z = 2", "w = 3")
    assert frame.columns is not None
    assert frame.source[slice(*frame.columns)] == "a / b"


def test_columns_count_characters_and_not_bytes(cell: Cell) -> None:
    (frame,) = describe(cell("größe = 'ü' ; x = 1 / 0")).frames
    assert frame.columns is not None
    assert frame.source[slice(*frame.columns)] == "1 / 0"


def test_a_cell_of_unknown_number_is_a_cell(cell: Cell) -> None:
    (frame,) = describe(cell("1 / 0", number="*")).frames
    assert frame.in_cell
    assert frame.cell is None
    assert frame.place == "In [*], line 1"


def test_a_deep_recursion_keeps_both_ends_and_counts_the_rest(caught: Caught) -> None:
    def down(depth: int) -> int:
        return down(depth - 1) if depth else 1 // 0

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(12_000)
    try:
        record = describe(caught(lambda: down(10_000)))
    finally:
        sys.setrecursionlimit(limit)
    assert len(record.frames) == 60
    assert record.frames[30].skipped == 10_001 + 3 - 60 - 1
    assert len(pack_exception(ZeroDivisionError())) < 1000


def test_an_unbounded_recursion_arrives(sent: Sent, cell: Cell) -> None:
    arrived = sent(cell("def f(n):\n    return f(n + 1)\nf(0)"))
    assert isinstance(arrived, RecursionError)
    assert isinstance(arrived, RemoteError)
    assert sum(frame.skipped for frame in arrived.record.frames) > 0


def _machinery(function: Callable[[], object], file: str) -> BaseException:
    """What a function raises when a file of the package calls it."""
    space: dict[str, object] = {"__name__": "snakepit_nb.worker.loop"}
    exec(compile("def call(function):\n    return function()", file, "exec"), space)  # noqa: S102 - stands for the loop
    call = space["call"]
    assert isinstance(call, types.FunctionType)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever the function raises
        call(function)
    trace = caught.value.__traceback__
    assert trace is not None
    return caught.value.with_traceback(trace.tb_next)


def _loop_file() -> str:
    return describe.__code__.co_filename.replace("errors/observe.py", "worker/loop.py")


def test_the_machinery_above_the_users_code_is_left_out(cell: Cell) -> None:
    error = cell("1 / 0")

    def user() -> object:
        raise error

    record = describe(_machinery(user, _loop_file()))
    assert [frame.function for frame in record.frames] == ["user", "<module>"]


def test_the_event_loop_that_ran_a_cell_is_machinery_too(cell: Cell) -> None:
    error = cell("1 / 0")

    async def main() -> None:
        raise error

    record = describe(_machinery(functools.partial(asyncio.run, main()), _loop_file()))
    assert [frame.function for frame in record.frames] == ["main", "<module>"]


def test_native_code_that_was_the_whole_request_leaves_its_name_and_no_frame() -> None:
    record = describe(_machinery(functools.partial(int, "x"), _loop_file()))
    assert record.frames == ()
    assert str(record.type) == "ValueError"


def test_library_frames_have_a_line_and_no_cell(caught: Caught) -> None:
    import json

    record = describe(caught(lambda: json.loads("{")))
    last = record.frames[-1]
    assert not last.in_cell
    assert last.module == "json.decoder"
    assert last.source.strip().startswith("obj, end = self.scan_once")
    assert (record.library, record.function) == ("json", "raw_decode")


def test_a_syntax_error_keeps_its_place(caught: Caught) -> None:
    record = describe(caught(lambda: compile("x = (1 +\ny = 2", "<In [3]>", "exec")))
    assert record.syntax is not None
    assert (record.syntax.file, record.syntax.line) == ("<In [3]>", 1)
    assert record.syntax.text.startswith("x = (1 +")


def test_a_record_of_a_huge_tree_stays_small() -> None:
    errors: list[Exception] = [ValueError("x" * 30_000) for _ in range(50)]
    for _ in range(4):
        errors = [ExceptionGroup("g", errors) for _ in range(3)]
    assert len(pack_exception(ExceptionGroup("all", errors))) < 32 << 20


def test_functions_of_the_notebook_are_told_by_their_cell(
    monkeypatch: pytest.MonkeyPatch, cell: Cell, tmp_path: Path
) -> None:
    import linecache

    class Compiler:
        def format_code_name(self, name: str) -> tuple[str, str] | None:
            return ("Cell", "In[5]") if name == file else None

    file = str(tmp_path / "ipykernel_1" / "2.py")
    source = "def f(x):\n    y = x\n    return y / 0\n"
    space = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), space)  # noqa: S102 - a cell of the notebook
    # The worker has the function by value, and not the file that it was compiled under.
    data = pack_exception(cell("f(1)", number=6, f=space["f"]))
    shell = types.SimpleNamespace(compile=Compiler(), colors="nocolor")
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    arrived = unpack_exception(data, worker_id="w", pool="p", request_id=1, command="c")
    assert isinstance(arrived, RemoteError)
    assert [frame.place for frame in arrived.record.frames] == ["In [6], line 1", "In [5], line 3, in f"]
    assert arrived.record.frames[-1].source == "    return y / 0"
