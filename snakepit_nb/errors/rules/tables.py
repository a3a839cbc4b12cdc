"""Lengths and widths of tables that do not go together: pandas, Polars, Arrow, scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.rules.rule import rule, shapes

if TYPE_CHECKING:
    from snakepit_nb.errors.rules.rule import Rule

_LENGTH: Final = shapes("a new column needs one value for each row: look at len(df)")
_COLUMNS: Final = shapes("give all the columns the same length")
_LABELS: Final = shapes("give one label for each row or column that there is")
_JOIN: Final = shapes("give all the tables the same columns")
_ALIGN: Final = shapes("give both the same index and columns, for instance with .reset_index(drop=True)")
_DOT: Final = shapes("the inner sizes, and in pandas their labels too, have to be equal")
_SAMPLES: Final = shapes("X and y need the same number of rows")
_FEATURES: Final = shapes("give it the features that it was fitted with, no more and no fewer")
_TWO: Final = shapes("X has to have rows and columns: use x.reshape(-1, 1) for one feature")
_EMPTY: Final = shapes("there are no rows left: look at what was filtered out before")

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "pandas",
        "ValueError",
        r"Length of values \((?P<first>\d+)\) does not match length of index \((?P<second>\d+)\)",
        _LENGTH,
    ),
    rule(
        "pandas",
        "ValueError",
        r"Length mismatch: Expected axis has (?P<first>\d+) elements, new values have (?P<second>\d+) "
        r"elements",
        _LABELS,
    ),
    rule("pandas", "ValueError", r"Columns must be same length as key", _LABELS),
    rule("pandas", "ValueError", r"All arrays must be of the same length", _COLUMNS),
    rule(
        "pandas",
        "ValueError",
        r"Shape of passed values is \(\d+, \d+\), indices imply \(\d+, \d+\)",
        _LABELS,
    ),
    rule("pandas", "ValueError", r"Item wrong length (?P<first>\d+) instead of (?P<second>\d+)\.", _LENGTH),
    rule(
        "pandas",
        "ValueError",
        r"Can only compare identically-labeled (?:Series|\(both index and columns\) DataFrame) objects",
        _ALIGN,
    ),
    rule("pandas", "pandas:IndexingError", r"Unalignable boolean Series provided as indexer .*", _ALIGN),
    rule("pandas", "ValueError", r"matrices are not aligned", _DOT),
    rule("pandas", "ValueError", r"Dot product shape mismatch, \([\d, ]+\) vs \([\d, ]+\)", _DOT),
    rule(
        "polars",
        "polars:ShapeError",
        r"could not create a new DataFrame: height of column '.*' \((?P<first>\d+)\) does not match "
        r"height of "
        r"column '.*' \((?P<second>\d+)\)",
        _COLUMNS,
    ),
    rule(
        "polars",
        "polars:ShapeError",
        r"can't broadcast Series '.*' of length (?P<first>\d+) to length (?P<second>\d+)",
        _LENGTH,
    ),
    rule("polars", "polars:ShapeError", r"unable to vstack, column names don't match: .*", _JOIN),
    rule(
        "polars",
        "polars:ShapeError",
        r"unable to append to a DataFrame of width (?P<first>\d+) with a DataFrame of width (?P<second>\d+)",
        _JOIN,
    ),
    rule(
        "polars",
        "polars:ShapeError",
        r"Series length mismatch: expected (?P<first>\d+), found (?P<second>\d+)",
        _COLUMNS,
    ),
    rule(
        "polars",
        "polars:InvalidOperationError",
        r"cannot do arithmetic operation on series of different lengths: got (?P<first>\d+) and "
        r"(?P<second>\d+)",
        _COLUMNS,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"Column \d+ named .* expected length (?P<second>\d+) but got length (?P<first>\d+)",
        _COLUMNS,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"Added column's length must match table's length\. Expected length (?P<second>\d+) but got length "
        r"(?P<first>\d+)",
        _LENGTH,
    ),
    rule(
        "pyarrow",
        "ValueError",
        r"Length of names \((?P<first>\d+)\) does not match length of arrays \((?P<second>\d+)\)",
        _LABELS,
    ),
    rule("pyarrow", "pyarrow:ArrowInvalid", r"Array arguments must all be the same length", _COLUMNS),
    rule("pyarrow", "pyarrow:ArrowInvalid", r"Schema at index \d+ was different: .*", _JOIN),
    rule("pyarrow", "pyarrow:ArrowInvalid", r"only handle 1-dimensional arrays", _COLUMNS),
    rule(
        "sklearn",
        "ValueError",
        r"Found input variables with inconsistent numbers of samples: (?P<shapes>)\[(?P<first>\d+), "
        r"(?P<second>\d+)\]",
        _SAMPLES,
    ),
    rule(
        "sklearn",
        "ValueError",
        r"X has (?P<first>\d+) features, but \w+ is expecting (?P<second>\d+) features as input\.",
        _FEATURES,
    ),
    rule(
        "sklearn",
        "ValueError",
        r"The feature names should match those that were passed during fit\..*",
        _FEATURES,
    ),
    rule("sklearn", "ValueError", r"Expected 2D array, got (?:1D|scalar) array instead:.*", _TWO),
    rule(
        "sklearn",
        "ValueError",
        r"Found array with dim \d+, while dim <= \d+ is required(?: by \w+)?\.",
        shapes("make one row of each sample: x.reshape(len(x), -1)"),
    ),
    rule(
        "sklearn",
        "ValueError",
        r"Found array with \d+ (?:sample|feature)\(s\) \(shape=(?P<shapes>\([\d, ]+\))\) while a minimum of "
        r"\d+ is required(?: by \w+)?\.",
        _EMPTY,
    ),
    rule(
        "sklearn",
        "ValueError",
        r"y should be a 1d array, got an array of shape \([\d, ]+\) instead\.",
        shapes("give one target for each sample: y.ravel(), or a column of it"),
    ),
)
