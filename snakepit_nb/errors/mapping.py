r"""The table of rules: which exceptions of which libraries become one of the structured classes.

*Rule:* the table is pure: a record in, a class with facts and one suggestion out.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.rules import (
    devices,
    dtypes,
    files,
    keys,
    memory,
    modules,
    numerical,
    program,
    shapes,
    tables,
    tensors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Mapped, Rule

RULES: Final[tuple[Rule, ...]] = (
    *shapes.RULES,
    *tensors.RULES,
    *tables.RULES,
    *dtypes.RULES,
    *devices.RULES,
    *memory.RULES,
    *keys.RULES,
    *modules.RULES,
    *numerical.RULES,
    *files.RULES,
    *program.RULES,
)


def _index() -> dict[tuple[str, str], tuple[Rule, ...]]:
    """The rules by the package and the name of their type, in the order of the table."""
    found: defaultdict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in RULES:
        package, _, name = rule.type.rpartition(":")
        found[package or "builtins", name].append(rule)
    return {key: tuple(rules) for key, rules in found.items()}


_BY_TYPE: Final = _index()


def map_record(record: ErrorRecord) -> Mapped | None:
    """The structured class for a record, with facts and a suggestion; None where no rule fits.

    Example:
        >>> from snakepit_nb.errors.record import ErrorRecord, TypeName
        >>> message = "operands could not be broadcast together with shapes (3,) (4,) "
        >>> mapped = map_record(ErrorRecord(TypeName("builtins", "ValueError"), (), message, library="numpy"))
        >>> mapped.cls.__name__, mapped.facts
        ('ShapeMismatch', {'shapes': ((3,), (4,))})
        >>> map_record(ErrorRecord(TypeName("builtins", "ValueError"), (), message, library="python")) is None
        True
    """
    for rule in _candidates(record):
        match = rule.fits(record)
        mapped = None if match is None else rule.make(match, record)
        if mapped is not None:
            return mapped
    return None


def _candidates(record: ErrorRecord) -> Iterator[Rule]:
    """The few rules that speak of the record's type or of one of its bases, the nearest first."""
    for name in record.types:
        yield from _BY_TYPE.get((name.root, name.name), ())
