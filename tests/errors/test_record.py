from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.errors.record import (
    ArrayFacts,
    ErrorRecord,
    Frame,
    SyntaxFacts,
    TypeName,
    from_json,
    located,
    to_json,
    walk,
)

_text = st.text(st.characters(), max_size=8)
_count = st.integers(0, 10**6)
_frames = st.builds(
    Frame,
    file=_text,
    line=_count,
    function=_text,
    module=_text,
    source=_text,
    before=st.tuples(_text),
    after=st.tuples(_text, _text),
    columns=st.none() | st.tuples(_count, _count),
    in_cell=st.booleans(),
    cell=st.none() | _count,
    skipped=_count,
)
_arrays = st.builds(ArrayFacts, _text, _text, st.lists(_count, max_size=3).map(tuple), _text, _text)
_names = st.builds(TypeName, _text, _text)


def _records(linked: st.SearchStrategy[ErrorRecord]) -> st.SearchStrategy[ErrorRecord]:
    return st.builds(
        ErrorRecord,
        type=_names,
        bases=st.lists(_names, max_size=2).map(tuple),
        message=_text,
        frames=st.lists(_frames, max_size=2).map(tuple),
        notes=st.lists(_text, max_size=2).map(tuple),
        cause=st.none() | linked,
        context=st.none() | linked,
        context_is_cause=st.booleans(),
        suppress_context=st.booleans(),
        members=st.lists(linked, max_size=2).map(tuple),
        omitted=_count,
        library=_text,
        function=_text,
        syntax=st.none() | st.builds(SyntaxFacts, _text, _text, _count, _text, _count, _count, _count),
        arrays=st.lists(_arrays, max_size=2).map(tuple),
        close=st.lists(_text, max_size=2).map(tuple),
        free_bytes=st.none() | _count,
        worker_id=_text,
        pool=_text,
        request_id=st.none() | _count,
        command=_text,
    )


_leaf = st.builds(ErrorRecord, _names, st.just(()), _text)


@given(_records(_leaf))
def test_a_record_is_the_same_after_json(record: ErrorRecord) -> None:
    text = to_json(record)
    assert text.isascii()
    assert from_json(text) == record


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "'record'"),
        ("{}", "'type'"),
        ('{"type": ["a"]}', "'type'"),
        ('{"type": ["a", "b"], "bases": []}', "'message'"),
        ('{"type": ["a", "b"], "bases": [], "message": "m", "omitted": true}', "'omitted'"),
        ('{"type": ["a", "b"], "bases": [], "message": "m", "notes": [3]}', "'text'"),
        ('{"type": ["a", "b"], "bases": [], "message": "m", "frames": [{"file": "f"}]}', "'line'"),
        ('{"type": ["a", "b"], "bases": [], "message": "m", "cause": 3}', "'record'"),
        ('{"type": ["a", "b"], "bases": [], "message": "m", "arrays": [["x", "numpy"]]}', "'arrays'"),
        (
            '{"type": ["a", "b"], "bases": [], "message": "m", "arrays": [["x", "l", [true], "d", "c"]]}',
            "'arrays'",
        ),
        ('{"type": ["a", "b"], "bases": [], "message": "m", "close": [3]}', "'text'"),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_record_is_refused_with_the_field_that_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        from_json(text)


def test_endless_nesting_is_refused() -> None:
    data: dict[str, object] = {"type": ["a", "b"], "bases": [], "message": "m"}
    for _ in range(200):
        data = {"type": ["a", "b"], "bases": [], "message": "m", "cause": data}
    with pytest.raises(ValueError, match="too deep"):
        from_json(json.dumps(data))
    with pytest.raises(ValueError, match=r"too deep|Expecting"):
        from_json('{"cause":' * 100_000)


def test_the_place_is_told_in_every_part_that_has_none() -> None:
    name = TypeName("builtins", "OSError")
    inner = ErrorRecord(name, (), "inner", worker_id="w9", pool="inner", request_id=1, command="f")
    record = ErrorRecord(name, (), "outer", cause=inner, members=(ErrorRecord(name, (), "member"),))
    placed = located(record, worker_id="w1", pool="p", request_id=2, command="c")
    assert [(part.message, part.worker_id, part.request_id) for part in walk(placed)] == [
        ("outer", "w1", 2),
        ("inner", "w9", 1),
        ("member", "w1", 2),
    ]
