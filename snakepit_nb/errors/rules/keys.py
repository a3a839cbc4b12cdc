"""Keys, columns, indices and names that are not there, with those that are near."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import MissingKey, MissingName
from snakepit_nb.errors.rules.rule import ANY, Mapped, meant, rule

if TYPE_CHECKING:
    import re

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Make, Rule

_KEYS: Final = "look at the keys that are there, or use .get() with a default"
_COLUMNS: Final = "look at .columns and .index for the names that are there"
_SCHEMA: Final = "look at .columns or .schema for the names that are there"
_LENGTH: Final = "compare the index with the length; the first one is 0"


def _key(otherwise: str) -> Make:
    """A missing key: the group `key`, or `keys` as they are written, else the whole message."""

    def make(match: re.Match[str], record: ErrorRecord) -> Mapped:
        groups = match.groupdict()
        key = repr(groups["key"]) if "key" in groups else groups.get("keys", match[0])
        facts: dict[str, object] = {"key": key}
        if record.close:
            facts["close"] = record.close
        return Mapped(MissingKey, facts, meant(record, otherwise))

    return make


def _index(match: re.Match[str], _record: ErrorRecord) -> Mapped:
    size = int(match["size"])
    axis = int(match.groupdict().get("axis") or 0)
    hint = f"axis {axis} is indexed from 0 to {size - 1}" if size else f"axis {axis} is empty"
    return Mapped(MissingKey, {"key": match["index"], "axis": axis, "size": size}, hint)


def _position(suggestion: str = _LENGTH) -> Make:
    def make(match: re.Match[str], _record: ErrorRecord) -> Mapped:
        index = match.groupdict().get("index")
        return Mapped(MissingKey, {} if index is None else {"key": index}, suggestion)

    return make


def _name(otherwise: str) -> Make:
    """A missing name: `owner` is the module or the type that has no such attribute."""

    def make(match: re.Match[str], record: ErrorRecord) -> Mapped:
        facts: dict[str, object] = {"name": match["name"]}
        if owner := match.groupdict().get("owner"):
            facts["owner"] = owner
        if record.close:
            facts["close"] = record.close
        return Mapped(MissingName, facts, meant(record, otherwise.format(**match.groupdict())))

    return make


_missing_attribute: Final = _name("look at what {owner!r} has, with dir()")
_nothing: Final = _name("something is None that should not be: look at where it comes from")


def _attribute(match: re.Match[str], record: ErrorRecord) -> Mapped | None:
    """An attribute that the user's own code asked for; what a library lacks inside is not theirs to mend."""
    last = record.frames[-1] if record.frames else None
    if last is None or not (last.in_cell or last.module in {"", "__main__"} or "getattr" in last.function):
        return None
    return (_nothing if match["owner"] == "NoneType" else _missing_attribute)(match, record)


_OUT_OF_BOUNDS: Final = (
    r"index (?P<index>-?\d+) is out of bounds for (?:axis|dimension) (?P<axis>\d+) with size (?P<size>\d+)"
)
_ATTRIBUTE: Final = (
    r"(?:module |type object )?'(?P<owner>[\w.<>]+)' (?:object )?has no attribute '(?P<name>\w+)'.*"
)

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "builtins",
        "KeyError",
        r"'pop from an empty set'|'popitem\(\): dictionary is empty'",
        _position("ask whether there is anything left before taking it"),
    ),
    rule("builtins", "KeyError", r".+", _key(_KEYS)),
    # Its dicts are Python's own in all but the name: OrderedDict and the like.
    rule("collections", "KeyError", r".+", _key(_KEYS)),
    rule("collections", "IndexError", r"(?:deque )?index out of range|pop from an empty deque", _position()),
    rule(
        "os",
        "KeyError",
        r".+",
        _key("workers have the environment that the kernel had when they were started"),
    ),
    rule("pandas", "KeyError", r"[\"']\[(?P<keys>.+)\] not (?:in index|found in axis)[\"']", _key(_COLUMNS)),
    rule(
        "pandas",
        "KeyError",
        r"\"None of \[(?:Index\(\[)?(?P<keys>.+?)[\],].* are in the .*\"",
        _key(_COLUMNS),
    ),
    rule("pandas", "KeyError", r"'Column not found: (?P<key>.+)'", _key(_COLUMNS)),
    rule("pandas", "KeyError", r".+", _key(_COLUMNS)),
    rule("pandas", "pandas:UndefinedVariableError", r"name '(?P<key>.+)' is not defined", _key(_COLUMNS)),
    rule("pyarrow", "KeyError", r"'Field \"(?P<key>.+)\" does not exist in schema'", _key(_SCHEMA)),
    rule("pyarrow", "KeyError", r"'Column (?P<key>.+) does not exist in schema'", _key(_SCHEMA)),
    rule("pyarrow", "KeyError", r"\"Column '(?P<key>.+)' not found\"", _key(_SCHEMA)),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"(?:Invalid sort key column: )?No match for FieldRef\.Name\((?P<key>.+?)\) in .*",
        _key(_SCHEMA),
    ),
    rule(
        "polars",
        "polars:ColumnNotFoundError",
        r"unable to find column \"(?P<key>.+?)\"; valid columns: \[.*",
        _key(_SCHEMA),
    ),
    rule("polars", "polars:ColumnNotFoundError", r"\"(?P<key>.+)\" not found.*", _key(_SCHEMA)),
    rule("numpy", "ValueError", r"no field of name (?P<key>.+)", _key("look at x.dtype.names")),
    *(rule(library, "IndexError", _OUT_OF_BOUNDS, _index) for library in ("numpy", "pandas", "torch")),
    rule("torch", "RuntimeError", _OUT_OF_BOUNDS, _index),
    rule(
        "torch",
        "IndexError",
        r"index out of range in self",
        _position("every index has to be below num_embeddings"),
    ),
    rule(
        "torch",
        "IndexError",
        r"Target (?P<index>-?\d+) is out of bounds\.",
        _position("targets count from 0 to the number of classes less 1"),
    ),
    rule(
        "polars",
        "IndexError",
        r"index (?P<index>-?\d+) is out of bounds for (?:sequence of length|DataFrame of height) "
        r"(?P<size>\d+)",
        _index,
    ),
    rule(
        "polars",
        "polars:OutOfBoundsError",
        r"index (?P<index>-?\d+) is out of bounds for sequence of length (?P<size>\d+)",
        _index,
    ),
    rule("pyarrow", "IndexError", r"index out of bounds", _position()),
    rule("pyarrow", "pyarrow:ArrowIndexError", r"Index (?P<index>-?\d+) out of bounds", _position()),
    rule("scipy", "IndexError", r"index \((?P<index>-?\d+)\) out of range", _position()),
    rule(
        "builtins",
        "IndexError",
        r"(?:list|tuple|string|bytearray|range object|pop)(?: assignment)? index out of range"
        r"|index out of range|pop from empty list",
        _position(),
    ),
    rule(
        "pandas",
        "IndexError",
        r"single positional indexer is out-of-bounds|positional indexers are out-of-bounds",
        _position(),
    ),
    rule(
        "numpy",
        "IndexError",
        r"only integers, slices \(`:`\), ellipsis \(`\.\.\.`\), numpy\.newaxis \(`None`\) and integer or "
        r"boolean arrays are valid indices",
        _position("index with integers: int(i), or i.astype(int)"),
    ),
    rule(
        "builtins",
        "NameError",
        r"name '(?P<name>\w+)' is not defined.*",
        _name("assign or import {name!r} in this cell, or before it in the notebook"),
    ),
    rule(ANY, "AttributeError", _ATTRIBUTE, _attribute),
)
