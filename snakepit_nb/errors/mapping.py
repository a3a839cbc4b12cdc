r"""The table of rules: which exceptions of which libraries become one of the structured classes.

*Rule:* a rule fits by library and by type and by the whole message; part of a message alone never decides.
*Rule:* the table is pure: a record in, a class with facts and one suggestion out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.errors.remote import (
    DtypeMismatch,
    ImportFailed,
    MissingKey,
    NumericalError,
    OutOfMemory,
    RemoteError,
    ShapeMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.errors.record import ErrorRecord

ANY: Final = "*"


class Mapped(NamedTuple):
    """What a rule makes of a record: the class, its facts (they become attributes) and what to try."""

    cls: type[RemoteError]
    facts: Mapping[str, object]
    suggestion: str


class Rule(NamedTuple):
    """One line of the table.

    `library` raised it (`"*"` is any) or owns its type; `type` is a builtin's name, or `package:name` for a
    type, or a base of it, wherever in that package it lives; `pattern` fits the whole message.

    Example:
        >>> RULES[0].library, RULES[0].type
        ('numpy', 'ValueError')
    """

    library: str
    type: str
    pattern: re.Pattern[str]
    make: Callable[[re.Match[str]], Mapped]

    def fits(self, record: ErrorRecord) -> re.Match[str] | None:
        """The match of the message where library and type fit too."""
        package, _, name = self.type.rpartition(":")
        known = (
            any(each.root == package and each.name == name for each in record.types)
            if package
            else record.type == ("builtins", name)
        )
        if not known or (self.library not in {ANY, record.library} and self.library != package):
            return None
        return self.pattern.fullmatch(record.message)


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
    for rule in RULES:
        match = rule.fits(record)
        if match is not None:
            return rule.make(match)
    return None


def shapes_in(text: str) -> tuple[tuple[int, ...], ...]:
    """The shapes that a text names, in order.

    Example:
        >>> shapes_in("shapes (3,2) and (4,2) not aligned: 2 (dim 1) != 4 (dim 0)")
        ((3, 2), (4, 2))
        >>> shapes_in("() (5,)")
        ((), (5,))
    """
    found = re.findall(r"\((\d+(?:, ?\d+)+|\d+,|)\)", text)
    return tuple(tuple(int(size) for size in shape.split(",") if size.strip()) for shape in found)


# What to install for a module whose package has another name.
_PACKAGES: Final = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "jwt": "PyJWT",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "PyYAML",
}
_UNITS: Final = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4, "PiB": 5, "EiB": 6}
_ITEM_SIZE: Final = re.compile(r"(?:u?int|float|complex)(\d+)")

_BROADCAST: Final = "make the sizes equal, or one of them 1: compare the shapes counted from the right"
_JOIN: Final = "give all the arrays the same shape, but for the axis that they are joined along"
_SMALLER: Final = "work on pieces, use a smaller dtype, or free what is not needed any more"


def _shapes(suggestion: str) -> Callable[[re.Match[str]], Mapped]:
    def make(match: re.Match[str]) -> Mapped:
        facts: dict[str, object] = {}
        if shapes := shapes_in(match[0]):
            facts["shapes"] = shapes
        if sizes := match.groupdict():
            facts["sizes"] = (int(sizes["first"]), int(sizes["second"]))
        return Mapped(ShapeMismatch, facts, suggestion)

    return make


def _dtypes(suggestion: str) -> Callable[[re.Match[str]], Mapped]:
    def make(match: re.Match[str]) -> Mapped:
        # A dtype's own name, dtype('<U1'), or the class of one, <class 'numpy.dtypes.StrDType'>.
        names = re.findall(r"dtype\('([^']+)'\)|<class '[\w.]+?(\w+)DType'>", match[0])
        return Mapped(DtypeMismatch, {"dtypes": tuple(a or b.lower() for a, b in names)}, suggestion)

    return make


def _numerical(suggestion: str) -> Callable[[re.Match[str]], Mapped]:
    return lambda _: Mapped(NumericalError, {}, suggestion)


def _array_memory(match: re.Match[str]) -> Mapped:
    (shape,) = shapes_in(match["shape"]) or ((),)
    size = _ITEM_SIZE.fullmatch(match["dtype"])
    if size is not None:
        # The message rounds to three digits; shape and dtype do not.
        asked = int(size[1]) // 8
        for length in shape:
            asked *= length
    else:
        asked = round(float(match["size"]) * 1024 ** _UNITS[match["unit"]])
    return Mapped(OutOfMemory, {"asked_bytes": asked, "device": "cpu"}, _SMALLER)


def _memory(_: re.Match[str]) -> Mapped:
    return Mapped(OutOfMemory, {"device": "cpu"}, _SMALLER)


def _module(match: re.Match[str]) -> Mapped:
    module = match["module"]
    root, _, rest = module.partition(".")
    if match["parent"] is not None:
        hint = f"'{match['parent']}' is a module and holds no others: check the name {module!r}"
        return Mapped(ImportFailed, {"module": module, "package": None}, hint)
    if rest:
        # Python names the first part that is missing: here the package was there.
        hint = f"'{root}' is installed, but has no {module!r}: check the name, or the version of {root!r}"
        return Mapped(ImportFailed, {"module": module, "package": None}, hint)
    package = _PACKAGES.get(root, root)
    hint = f"%pip install {package}, and then run the cell again in a new worker"
    return Mapped(ImportFailed, {"module": module, "package": package}, hint)


def _key(match: re.Match[str]) -> Mapped:
    return Mapped(
        MissingKey, {"key": match[0]}, "look at the keys that are there, or use .get() with a default"
    )


def _column(match: re.Match[str]) -> Mapped:
    return Mapped(MissingKey, {"key": match[0]}, "look at .columns and .index for the names that are there")


def _index(match: re.Match[str]) -> Mapped:
    facts = {"key": match["index"], "axis": int(match["axis"]), "size": int(match["size"])}
    last = facts["size"] - 1 if isinstance(facts["size"], int) else 0
    hint = (
        f"axis {match['axis']} is indexed from 0 to {last}" if last >= 0 else f"axis {match['axis']} is empty"
    )
    return Mapped(MissingKey, facts, hint)


def _position(_: re.Match[str]) -> Mapped:
    return Mapped(MissingKey, {}, "compare the index with the length; the first one is 0")


def _rule(library: str, type_: str, pattern: str, make: Callable[[re.Match[str]], Mapped]) -> Rule:
    return Rule(library, type_, re.compile(pattern, re.DOTALL), make)


_SHAPE: Final = r"\([\d, ]*\)"

RULES: Final[tuple[Rule, ...]] = (
    _rule(
        "numpy",
        "ValueError",
        rf"operands could not be broadcast together with shapes (?:{_SHAPE} ?)+",
        _shapes(_BROADCAST),
    ),
    _rule(
        "numpy",
        "ValueError",
        rf"operands could not be broadcast together with remapped shapes \[original->remapped\]: {_SHAPE}.*",
        _shapes(_BROADCAST),
    ),
    _rule(
        "numpy",
        "ValueError",
        rf"non-broadcastable output operand with shape {_SHAPE} doesn't match the broadcast shape {_SHAPE}",
        _shapes(
            "the result is larger than the array that it is written into: write `x = x + y`, not `x += y`"
        ),
    ),
    _rule(
        "numpy",
        "ValueError",
        rf"could not broadcast input array from shape {_SHAPE} into shape {_SHAPE}",
        _shapes("assign an array of the size of the part that it goes into"),
    ),
    _rule(
        "numpy",
        "ValueError",
        r"matmul: Input operand 1 has a mismatch in its core dimension \d+, .* "
        r"\(size (?P<second>\d+) is different from (?P<first>\d+)\)",
        _shapes(
            "the left array's last axis has to be as long as the right one's last but one: try `.T` on one"
        ),
    ),
    _rule(
        "numpy",
        "ValueError",
        rf"shapes {_SHAPE} and {_SHAPE} not aligned: .*",
        _shapes("the inner sizes have to be equal: try `.T` on one of the arrays"),
    ),
    _rule(
        "numpy",
        "ValueError",
        r"all the input array dimensions except for the concatenation axis must match exactly, but .* "
        r"has size (?P<first>\d+) and the array .* has size (?P<second>\d+)",
        _shapes(_JOIN),
    ),
    _rule(
        "numpy",
        "ValueError",
        r"all the input arrays must have same number of dimensions, but .*",
        _shapes("give all the arrays as many axes, for instance with x[:, None] or np.atleast_2d"),
    ),
    _rule("numpy", "ValueError", r"all input arrays must have the same shape", _shapes(_JOIN)),
    _rule(
        "numpy",
        "ValueError",
        r"cannot reshape array of size \d+ into shape \(.*\)",
        _shapes("the product of the new shape has to be the array's size; one length may be -1"),
    ),
    _rule(
        "numpy",
        "numpy:UFuncTypeError",
        r"ufunc '\w+' did not contain a loop with signature matching types .*",
        _dtypes("convert one of the arrays with .astype(...) first"),
    ),
    _rule(
        "numpy",
        "numpy:UFuncTypeError",
        r"Cannot cast ufunc '\w+' (?:in|out)put(?: \d+)? from dtype\(.*\) to dtype\(.*\) "
        r"with casting rule '\w+'",
        _dtypes(
            "the result needs a wider dtype than the array it goes into: write `x = x + y`, not `x += y`"
        ),
    ),
    _rule(
        "numpy",
        "numpy:LinAlgError",
        r"Singular matrix",
        _numerical("look at its rank with np.linalg.matrix_rank, or use np.linalg.lstsq or np.linalg.pinv"),
    ),
    _rule(
        "numpy",
        "numpy:LinAlgError",
        r"Matrix is not positive definite",
        _numerical("make sure that it is symmetric, or add a small multiple of the identity"),
    ),
    _rule(
        "numpy",
        "numpy:LinAlgError",
        r"(?:SVD|Eigenvalues) did not converge(?: .*)?",
        _numerical("look for NaN and infinite values with np.isfinite"),
    ),
    _rule(
        "numpy",
        "numpy:LinAlgError",
        r"Last 2 dimensions of the array must be square",
        _shapes("this needs a square matrix; np.linalg.pinv and np.linalg.lstsq take others"),
    ),
    _rule(
        "numpy",
        "numpy:_ArrayMemoryError",
        r"Unable to allocate (?P<size>[\d.]+) (?P<unit>bytes|[KMGTPE]iB) for an array with shape "
        r"(?P<shape>\([\d, ]*\)) and data type (?P<dtype>.+)",
        _array_memory,
    ),
    _rule(ANY, "MemoryError", r".*", _memory),
    _rule(
        ANY,
        "ModuleNotFoundError",
        r"No module named '(?P<module>[\w.]+)'(?:; '(?P<parent>[\w.]+)' is not a package)?",
        _module,
    ),
    _rule("builtins", "KeyError", r".+", _key),
    _rule("pandas", "KeyError", r".+", _column),
    _rule(
        "numpy",
        "IndexError",
        r"index (?P<index>-?\d+) is out of bounds for axis (?P<axis>\d+) with size (?P<size>\d+)",
        _index,
    ),
    _rule(
        "builtins",
        "IndexError",
        r"(?:list|tuple|string|bytearray|range object|pop)(?: assignment)? index out of range"
        r"|pop from empty list",
        _position,
    ),
    _rule("pandas", "IndexError", r"single positional indexer is out-of-bounds", _position),
)
