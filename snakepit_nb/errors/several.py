"""What some of the runs of one cell raised, with what the others gave: the error of `--map` and `--all`.

*Rule:* what went well is not lost with what did not.
"""

# ruff: noqa: N818 - named for what happened, as its neighbours are

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from snakepit_nb.errors.base import SnakepitError
from snakepit_nb.errors.hostile import text_of
from snakepit_nb.errors.render import colours, render_notice, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KINDS_SHOWN: Final = 4
_RUNS_SHOWN: Final = 6
_LONGEST: Final = 160
_WHERE: Final = "import sys; sys.last_value.results"


class ItemsFailed(SnakepitError, ExceptionGroup[Exception]):
    """Some items of a `--map`, or some workers of an `--all`, failed; the others' results are in here.

    It is a group: `except* ValueError` takes those that failed so, and `exceptions` are all in order.

    Attributes:
        results: The last values in order; in the place of one that failed its exception.
        outputs: What `-o` gathered, by the names that it would have in the notebook, in the same way.
        failed: The exceptions by the number of their item, which counts from 0.
        names: What the runs are called where they are no numbered items: the ids of workers.

    Example:
        >>> error = ItemsFailed([1, ValueError("no")])
        >>> str(error), list(error.failed)
        ('1 of 2 items failed: item 1 with ValueError: no', [1])
    """

    results: list[object]
    outputs: dict[str, list[object]]
    failed: dict[int, Exception]
    names: tuple[str, ...]

    def __new__(
        cls,
        results: Sequence[object],
        outputs: Mapping[str, Sequence[object]] | None = None,
        failed: Mapping[int, Exception] | None = None,
        names: Sequence[str] = (),
    ) -> Self:
        """Take the results, in which exceptions are failures where `failed` does not say which are."""
        found = {at: each for at, each in enumerate(results) if isinstance(each, Exception)}
        faults = dict(found if failed is None else failed)
        self = super().__new__(cls, _sentence(faults, len(results), names), list(faults.values()))
        self.results, self.failed, self.names = list(results), faults, tuple(names)
        self.outputs = {name: list(values) for name, values in (outputs or {}).items()}
        return self

    def __init__(
        self,
        results: Sequence[object],
        outputs: Mapping[str, Sequence[object]] | None = None,
        failed: Mapping[int, Exception] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        del results, outputs, failed, names  # `__new__` took them

    def __str__(self) -> str:
        """Say how many failed, which, and how."""
        return self.message

    def derive(self, excs: Sequence[Exception], /) -> ExceptionGroup[Exception]:  # type: ignore[override]
        """What `except*` and `split` make of a part: a group without the results."""
        return ExceptionGroup(self.message, excs)

    def __reduce__(self) -> tuple[type[ItemsFailed], tuple[object, ...]]:
        return type(self), (self.results, self.outputs, self.failed, self.names)

    def _render_traceback_(self) -> list[str]:
        number, first = next(iter(self.failed.items()))
        render = getattr(first, "_render_traceback_", None)
        lines = render() if render is not None else [f"{type(first).__name__}: {first}"]
        good = len(self.results) - len(self.failed)
        said = [str(self), *getattr(self, "__notes__", ())]
        head = render_notice(type(self).__name__, "\n".join(said), colour=colours()).splitlines()
        left = f"What the other {good:,} gave: {_WHERE}" if good else ""
        name = _label(number, self.names)
        return [*head, "", f"The first, {visible(name)}:", *lines, *(["", left] if left else [])]


def _sentence(failed: Mapping[int, Exception], total: int, names: Sequence[str]) -> str:
    what = "workers" if names else "items"
    kinds: dict[str, list[int]] = {}
    for number, error in failed.items():
        kinds.setdefault(_line(error), []).append(number)
    return f"{len(failed):,} of {total:,} {what} failed: {'; '.join(_told(kinds, names))}"


def _told(kinds: Mapping[str, Sequence[int]], names: Sequence[str]) -> Iterator[str]:
    for line, numbers in list(kinds.items())[:_KINDS_SHOWN]:
        shown = [_label(number, names) for number in numbers[:_RUNS_SHOWN]]
        if not names and len(shown) > 1:
            shown = [f"items {numbers[0]}", *(str(number) for number in numbers[1:_RUNS_SHOWN])]
        more = len(numbers) - len(shown)
        yield f"{', '.join(shown)}{f' and {more:,} more' if more else ''} with {line}"
    if len(kinds) > _KINDS_SHOWN:
        yield f"and in {len(kinds) - _KINDS_SHOWN:,} other ways"


def _label(number: int, names: Sequence[str]) -> str:
    return names[number] if names else f"item {number}"


def _line(error: Exception) -> str:
    text = " ".join((text_of(error) or "").split())
    name = type(error).__name__
    line = f"{name}: {text}" if text else name
    return visible(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…")
