"""Messages at random, for the tests of the wire."""

from __future__ import annotations

from typing import get_type_hints

from hypothesis import strategies as st

from snakepit_nb.wire import messages

numbers = st.integers(0, 2**64 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_FIELDS: dict[type, st.SearchStrategy[object]] = {int: numbers, bytes: st.binary(max_size=20), str: texts}
KINDS: tuple[type, ...] = messages.Message.__args__


def of_kind(kind: type) -> st.SearchStrategy[messages.Message]:
    """Any message of one kind."""
    return st.builds(kind, *(_FIELDS[each] for each in get_type_hints(kind).values()))


every = st.one_of(*map(of_kind, KINDS))
