"""The list of kept functions, held on both sides: what the kernel takes for kept, the worker has."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.wire import kept
from snakepit_nb.wire.kept import Kept

AHEAD = 3


def test_the_function_called_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 2)
    mine = Kept()
    for key in (b"a", b"b", b"a"):
        assert not mine.used(key, 1)
    assert mine.used(b"c", 1) == [b"b"]
    assert list(mine) == [b"a", b"c"]


def test_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 100)
    mine = Kept()
    mine.used(b"a", 60)
    assert mine.used(b"b", 60) == [b"a"]
    assert not mine.used(b"c", 40)


def test_what_is_too_large_is_not_kept_and_drives_nobody_out() -> None:
    mine = Kept()
    mine.used(b"a", 1)
    assert not mine.used(b"big", kept.LARGEST + 1)
    assert list(mine) == [b"a"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(0, 9)),
            st.tuples(st.sampled_from(["run", "hear", "take back"]), st.just(0)),
        ),
        max_size=150,
    )
)
def test_a_call_sent_without_its_function_finds_it(steps: list[tuple[str, int]]) -> None:
    """Calls are run behind the kernel's back, answered late, and taken back at any time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kept, "MOST", 3)
        patched.setattr(kept, "MOST_BYTES", 20)
        patched.setattr(kept, "LARGEST", 8)
        kernel, worker = Kept(), Kept(AHEAD + 2)
        functions: set[int] = set()
        socket: deque[tuple[int, bool]] = deque()
        answers: deque[int] = deque()
        for step, number in steps:
            key = bytes([number])
            if step == "send" and len(socket) + len(answers) < AHEAD:
                socket.append((number, key not in kernel))
            elif step == "run" and socket:
                number, brought = socket.popleft()  # noqa: PLW2901 - the next one in line
                key = bytes([number])
                if brought:
                    functions.add(number)
                    functions -= {each[0] for each in worker.used(key, number)}
                elif key in worker:
                    worker.move_to_end(key)
                assert number in functions
                if key not in worker:
                    functions.discard(number)
                answers.append(number)
            elif step == "hear" and answers:
                number = answers.popleft()  # noqa: PLW2901 - the next one in line
                kernel.used(bytes([number]), number)
            elif step == "take back" and socket:
                socket.popleft()
            assert len(functions) <= 3 + AHEAD + 2
