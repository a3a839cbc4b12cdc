r"""What a rule is, and how a rule's words become facts.

*Rule:* a rule fits by library and by type and by the whole message; part of a message alone never decides.
*Rule:* what the user's own code raises, in whatever words, is no library's error.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.remote import DtypeMismatch, NumericalError, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.remote import RemoteError

# Any library and Python itself; the user's own code; one of the two.
ANY: Final = "*"
USER: Final = "python"
_UNITS: Final = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4, "PiB": 5, "EiB": 6}
# What torch and Arrow call NumPy's dtypes.
_DTYPES: Final = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
}


class Mapped(NamedTuple):
    """What a rule makes of a record: the class, its facts (they become attributes) and what to try."""

    cls: type[RemoteError]
    facts: Mapping[str, object]
    suggestion: str


if TYPE_CHECKING:
    Make = Callable[[re.Match[str], ErrorRecord], Mapped | None]


class Rule(NamedTuple):
    """One line of the table.

    `library` raised it (`"*"` is any, Python among them) or owns its type; `type` is a builtin's name, or
    `package:name` for a type, or a base of it, wherever in that package it lives; `pattern` fits the whole
    message; `make` may still find that it does not fit, and give None.

    Example:
        >>> rule("numpy", "ValueError", "no", shapes("say yes")).type
        'ValueError'
    """

    library: str
    type: str
    pattern: str
    make: Make

    def fits(self, record: ErrorRecord) -> re.Match[str] | None:
        """The match of the message where library and type fit too."""
        package, _, name = self.type.rpartition(":")
        if package:
            known = any(each.root == package and each.name == name for each in record.types)
        else:
            known = record.type == ("builtins", name)
        if not known or not self._by(record.library, package):
            return None
        return compiled(self.pattern).fullmatch(record.message)

    def _by(self, library: str, package: str) -> bool:
        if library == USER:
            return self.library == USER
        return self.library in {ANY, library, package}


def rule(library: str, type_: str, pattern: str, make: Make) -> Rule:
    """A line of the table.

    Example:
        >>> rule("numpy", "ValueError", "a.b", shapes("")).library
        'numpy'
    """
    return Rule(library, type_, pattern, make)


# Compiled when they are first needed: a worker needs none of them.
@cache
def compiled(pattern: str) -> re.Pattern[str]:
    r"""The pattern of a rule; `.` fits line breaks too.

    Example:
        >>> compiled("a.b").fullmatch("a\nb") is None
        False
    """
    return re.compile(pattern, re.DOTALL)


def shapes_in(text: str) -> tuple[tuple[int, ...], ...]:
    """The shapes that a text names, in order: as tuples are written, as torch writes them, or as `2x3`.

    Example:
        >>> shapes_in("shapes (3,2) and (4,2) not aligned: 2 (dim 1) != 4 (dim 0)")
        ((3, 2), (4, 2))
        >>> shapes_in("() (5,)"), shapes_in("(2x3 and 4x5)"), shapes_in("got [2] and [3, 4]")
        (((), (5,)), ((2, 3), (4, 5)), ((2,), (3, 4)))
    """
    found = re.findall(
        r"(?<!\w)\((\d+(?:, ?\d+)+|\d+,|)\)|\[(\d+(?:, ?\d+)*)\]|(?<![\w.])(\d+(?:x\d+)+)(?![\w.])", text
    )
    texts = (next((each for each in groups if each), "") for groups in found)
    return tuple(tuple(int(size) for size in re.split(r"[,x]", shape) if size.strip()) for shape in texts)


def nbytes(number: str, unit: str) -> int:
    """The bytes that a number and a unit say.

    Example:
        >>> nbytes("1.50", "KiB"), nbytes("1,024", "bytes")
        (1536, 1024)
    """
    return round(float(number.replace(",", "")) * (1 << 10 * _UNITS[unit]))


def dtype_name(text: str) -> str:
    """A dtype as NumPy calls it, whatever library wrote it.

    Example:
        >>> dtype_name("Long"), dtype_name("c10::Half"), dtype_name("torch.cuda.FloatTensor")
        ('int64', 'float16', 'float32')
    """
    plain = text.removeprefix("c10::").removeprefix("torch.").removeprefix("cuda.").removesuffix("Tensor")
    return _DTYPES.get(plain.lower(), plain.lower() if plain.isalnum() else plain)


def meant(record: ErrorRecord, otherwise: str) -> str:
    """What to try: the names that are near the missing one, where there are any.

    Example:
        >>> from snakepit_nb.errors.record import ErrorRecord, TypeName
        >>> meant(ErrorRecord(TypeName("builtins", "KeyError"), (), "'a'", close=("b", "c")), "look")
        "did you mean 'b' or 'c'?"
    """
    if not record.close:
        return otherwise
    *others, last = [repr(name) for name in record.close]
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def shapes(suggestion: str) -> Make:
    """A shape mismatch: the shapes that the message names, else those of the line's arrays.

    Named groups `first` and `second` of the pattern are lengths of one axis; a group `shapes` holds the
    shapes where other things in the message look like some, and is empty where there are only those.
    """

    def make(match: re.Match[str], record: ErrorRecord) -> Mapped:
        named = match.groupdict()
        facts: dict[str, object] = {}
        found = shapes_in(named.get("shapes", match[0]))
        if not found and len(record.arrays) > 1:
            found = tuple(each.shape for each in record.arrays)
        if found:
            facts["shapes"] = found
        if "first" in named:
            facts["sizes"] = (int(named["first"]), int(named["second"]))
        return Mapped(ShapeMismatch, facts, suggestion)

    return make


def dtypes(suggestion: str) -> Make:
    """A dtype mismatch: those that the groups `first` and `second` hold, else those of the line's arrays."""

    def make(match: re.Match[str], record: ErrorRecord) -> Mapped:
        groups = match.groupdict()
        named = [text for name in ("first", "second") if (text := groups.get(name))]
        if not named:
            # A dtype's own name, dtype('<U1'), or the class of one, <class 'numpy.dtypes.StrDType'>.
            found = re.findall(r"dtype\('([^']+)'\)|<class '[\w.]+?(\w+)DType'>", match[0])
            named = [text or kind.lower() for text, kind in found]
        names = tuple(dtype_name(text) for text in named) or tuple(each.dtype for each in record.arrays)
        return Mapped(DtypeMismatch, {"dtypes": names} if names else {}, suggestion)

    return make


def numerical(suggestion: str) -> Make:
    """A computation without an answer; the message says all that there is to say."""
    return lambda _match, _record: Mapped(NumericalError, {}, suggestion)
