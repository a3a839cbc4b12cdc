"""Operations that are not defined for the dtypes that they met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.rules.rule import dtypes, rule

if TYPE_CHECKING:
    from snakepit_nb.errors.rules.rule import Rule

_CONVERT: Final = dtypes("convert one of the arrays with .astype(...) first")
_INPLACE: Final = dtypes(
    "the result needs a wider dtype than the array it goes into: write `x = x + y`, not `x += y`"
)
_NUMBERS: Final = dtypes("text has to become numbers first: pd.to_numeric(x, errors='coerce'), or an encoder")
_TENSOR: Final = dtypes("convert one of them, with .float(), .to(other.dtype) or .type_as(other)")
_INTEGERS: Final = dtypes("convert it to integers, with .long() or .int()")
_FLOATS: Final = dtypes("convert it to floats first, with .float()")
_CAST: Final = dtypes("cast one of the two first, so that both are of one type")
_KEYS: Final = dtypes("give the keys of both tables one dtype, with .astype(...)")
_ACCESSOR: Final = dtypes("convert the column first, with .astype(str) or pd.to_datetime")
_CLASSES: Final = dtypes("give a classifier classes, and a regressor numbers")
_JAX: Final = dtypes("JAX has numbers and booleans only: encode the text as numbers")

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "numpy",
        "numpy:UFuncTypeError",
        r"ufunc '\w+' did not contain a loop with signature matching types .*",
        _CONVERT,
    ),
    rule(
        "numpy",
        "numpy:UFuncTypeError",
        r"Cannot cast ufunc '\w+' (?:in|out)put(?: \d+)? from dtype\(.*\) to dtype\(.*\) "
        r"with casting rule '\w+'",
        _INPLACE,
    ),
    rule(
        "numpy",
        "numpy:UFuncTypeError",
        r"ufunc '\w+' cannot use operands with types dtype\(.*\) and dtype\(.*\)",
        _CONVERT,
    ),
    rule(
        "numpy",
        "TypeError",
        r"ufunc '\w+' not supported for the input types, and the inputs could not be safely coerced to any "
        r"supported types according to the casting rule ''\w+''",
        _CONVERT,
    ),
    rule("numpy", "ValueError", r"could not convert string to float: .*", _NUMBERS),
    rule(
        "numpy",
        "TypeError",
        r"numpy boolean (?:subtract|negative), the `-` operator, is not supported, .*"
        r"|The numpy boolean negative, the `-` operator, is not supported, .*",
        dtypes("use ~x for the opposite and x ^ y for the difference, or convert with .astype(int)"),
    ),
    rule("numpy", "TypeError", r"data type '.*' not understood", dtypes("use a name such as 'float32'")),
    rule(
        "numpy",
        "OverflowError",
        r"Python integer -?\d+ out of bounds for (?P<first>\w+)",
        dtypes("convert the array to a wider dtype first, such as int64"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"dot : expected both vectors to have same dtype, but found (?P<first>\S+) and (?P<second>\S+)",
        _TENSOR,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"expected m1 and m2 to have the same dtype, but got: (?P<first>\S+) != (?P<second>\S+)",
        _TENSOR,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"mat1 and mat2 must have the same dtype, but got (?P<first>\S+) and (?P<second>\S+)",
        _TENSOR,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Input type \((?P<first>[\w:]+)\) and (?:bias|weight) type \((?P<second>[\w:]+)\) should be the "
        r"same",
        _TENSOR,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"\w+\(\): could not infer output dtype\. Input dtype must be either a floating point or complex "
        r"dtype\. Got: (?P<first>\w+)",
        _FLOATS,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"result type (?P<first>\S+) can't be cast to the desired output type (?P<second>\S+)",
        _INPLACE,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"expected target dtype to be Long or Byte, but got (?P<first>\S+)",
        _INTEGERS,
    ),
    rule("torch", "NotImplementedError", r"\"\w+\" not implemented for '(?P<first>\w+)'", _INTEGERS),
    rule(
        "torch",
        "RuntimeError",
        r"where expected condition to be a boolean tensor, but got a tensor with dtype (?P<first>\w+)",
        dtypes("make a condition of it, such as x > 0"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"one_hot is only applicable to index tensor of type LongTensor\.",
        _INTEGERS,
    ),
    rule(
        "torch",
        "TypeError",
        r"can't convert np\.ndarray of type numpy\.(?P<first>\w+)\. The only supported types are: .*",
        dtypes("convert the array with .astype(...) to a dtype that torch has"),
    ),
    rule("pandas", "TypeError", r"operation '\w+' not supported for dtype '(?P<first>.+)' with .*", _CONVERT),
    rule(
        "pandas",
        "TypeError",
        r"Cannot perform reduction '\w+' with (?P<first>\w+) dtype",
        dtypes("take the columns of numbers alone: numeric_only=True, or df.select_dtypes('number')"),
    ),
    rule(
        "pandas",
        "ValueError",
        r"You are trying to merge on (?P<first>\S+) and (?P<second>\S+) columns for key '.*'\. .*",
        _KEYS,
    ),
    rule(
        "pandas",
        "TypeError",
        r"Invalid value '.*' for dtype '(?P<first>\S+)'",
        dtypes("convert the column to a dtype that holds the value first, with .astype(...)"),
    ),
    rule("pandas", "AttributeError", r"Can only use \.\w+ accessor with \w+ values(?:, not \w+)?", _ACCESSOR),
    rule("pandas", "ValueError", r"Unable to parse string (['\"]).*\1 at position \d+", _NUMBERS),
    rule(
        "polars",
        "polars:InvalidOperationError",
        r"arithmetic on dtypes (?P<first>.+) and (?P<second>.+) is not allowed .*",
        _CAST,
    ),
    rule(
        "polars",
        "polars:InvalidOperationError",
        r"conversion from `(?P<first>[^`]+)` to `(?P<second>[^`]+)` failed in column .*",
        dtypes("cast with strict=False, which makes null of what cannot be cast"),
    ),
    rule(
        "polars",
        "polars:InvalidOperationError",
        r"`\w+` operation not supported for dtype `(?P<first>[^`]+)`.*",
        _CAST,
    ),
    rule(
        "polars",
        "polars:InvalidOperationError",
        r"filter predicate must be of type `(?P<second>\w+)`, got `(?P<first>\w+)`.*",
        dtypes("make a condition of it, such as pl.col('x') > 0"),
    ),
    rule(
        "polars",
        "polars:SchemaError",
        r"datatypes of join keys don't match - .*: (?P<first>\S+) on left does not match .*: "
        r"(?P<second>\S+) on right .*",
        _KEYS,
    ),
    rule(
        "polars",
        "polars:SchemaError",
        r"type (?P<first>\S+) is incompatible with expected type (?P<second>\S+).*",
        _CAST,
    ),
    rule(
        "polars",
        "polars:SchemaError",
        r"invalid series dtype: expected `(?P<second>[^`]+)`, got `(?P<first>[^`]+)`.*",
        _CAST,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowNotImplementedError",
        r"Function '\w+' has no kernel matching input types \((?P<first>[^,()]+)(?:, (?P<second>[^,()]+))?\)",
        _CAST,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"Could not convert .* with type (?P<first>\w+): tried to convert to (?P<second>\w+)",
        _CAST,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"Failed to parse string: '.*' as a scalar of type (?P<first>\w+)",
        _NUMBERS,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"arrays to be concatenated must be identically typed, but (?P<first>\S+) and (?P<second>\S+) were "
        r"encountered\.",
        _CAST,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"Float value \S+ was truncated converting to (?P<first>\w+)",
        dtypes("round it first, or cast with safe=False"),
    ),
    rule("sklearn", "ValueError", r"Unknown label type: .*", _CLASSES),
    rule(
        "sklearn",
        "ValueError",
        r"Classification metrics can't handle a mix of [\w-]+ and [\w-]+ targets",
        _CLASSES,
    ),
    rule(
        "scipy",
        "ValueError",
        r"scipy\.sparse does not support dtype (?P<first>\S+)\. The only supported types are: .*",
        _CONVERT,
    ),
    rule(
        "jax",
        "TypeError",
        r"Value .* with dtype (?P<first>\S+) is not a valid JAX array type\. .*",
        _JAX,
    ),
    rule(
        "jax",
        "TypeError",
        r"\w+ does not accept dtype (?P<first>\w+) at position \d+\. .*",
        dtypes("convert it with .astype(...) first"),
    ),
    rule(
        "jax",
        "TypeError",
        r"lax\.\w+ requires arguments to have the same dtypes, got (?P<first>\w+), (?P<second>\w+)\..*",
        dtypes("convert one of them with .astype(...), or use the function of jax.numpy"),
    ),
    rule(
        "jax",
        "TypeError",
        r"grad requires real- or complex-valued inputs .*, but got (?P<first>\w+)\. .*",
        dtypes("give it a float, as 3.0 and not 3"),
    ),
)
