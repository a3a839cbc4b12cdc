"""Shapes that do not go together, in NumPy, SciPy and JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.rules.rule import rule, shapes

if TYPE_CHECKING:
    from snakepit_nb.errors.rules.rule import Rule

_SHAPE: Final = r"\([\d, ]*\)"
_BROADCAST: Final = shapes(
    "make the sizes equal, or one of them 1: compare the shapes counted from the right"
)
_JOIN: Final = shapes("give all the arrays the same shape, but for the axis that they are joined along")
_SAME: Final = shapes("give all the arrays the same shape")
_DIMENSIONS: Final = shapes("give all the arrays as many axes, for instance with x[:, None] or np.atleast_2d")
_INNER: Final = shapes("the inner sizes have to be equal: try `.T` on one of the arrays")
_MATMUL: Final = shapes(
    "the left array's last axis has to be as long as the right one's last but one: try `.T` on one"
)
_INPLACE: Final = shapes(
    "the result is larger than the array that it is written into: write `x = x + y`, not `x += y`"
)
_ASSIGN: Final = shapes("assign an array of the size of the part that it goes into")
_RESHAPE: Final = shapes("the product of the new shape has to be the array's size; one length may be -1")
_SQUARE: Final = shapes("this needs a square matrix; np.linalg.pinv and np.linalg.lstsq take others")
_AXIS: Final = shapes("axes count from 0; look at .ndim for how many there are")
_INDICES: Final = shapes("index with at most as many indices as the array has axes")
_MASK: Final = shapes("make the mask of the array that it selects from, or of its shape")
_RAGGED: Final = shapes("give all the rows the same length, or make it an array with dtype=object")
_ROWS: Final = shapes("the right side needs as many rows as the matrix has")

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "numpy",
        "ValueError",
        rf"operands could not be broadcast together with shapes (?:{_SHAPE} ?)+",
        _BROADCAST,
    ),
    rule(
        "numpy",
        "ValueError",
        r"operands could not be broadcast together with remapped shapes \[original->remapped\]: "
        rf"(?P<shapes>){_SHAPE}->.*",
        _BROADCAST,
    ),
    rule(
        "numpy",
        "ValueError",
        r"operands could not be broadcast together with remapped shapes \[original->remapped\]: "
        rf"{_SHAPE}  and requested shape {_SHAPE}",
        _BROADCAST,
    ),
    rule(
        "numpy",
        "ValueError",
        r"shape mismatch: objects cannot be broadcast to a single shape\.  Mismatch is between arg \d+ "
        rf"with shape {_SHAPE} and arg \d+ with shape {_SHAPE}\.",
        _BROADCAST,
    ),
    rule(
        "numpy",
        "ValueError",
        rf"non-broadcastable output operand with shape {_SHAPE} doesn't match the broadcast shape {_SHAPE}",
        _INPLACE,
    ),
    rule(
        "numpy",
        "ValueError",
        rf"could not broadcast input array from shape {_SHAPE} into shape {_SHAPE}",
        _ASSIGN,
    ),
    rule(
        "numpy",
        "ValueError",
        rf"shape mismatch: value array of shape {_SHAPE} could not be broadcast to indexing result of shape "
        rf"{_SHAPE} ?",
        _ASSIGN,
    ),
    rule(
        "numpy",
        "ValueError",
        r"(?:matmul|vecdot|matvec|vecmat): Input operand 1 has a mismatch in its core dimension \d+, .* "
        r"\(size (?P<second>\d+) is different from (?P<first>\d+)\)",
        _MATMUL,
    ),
    rule(
        "numpy",
        "ValueError",
        r"solve1?: Input operand 1 has a mismatch in its core dimension \d+, .* "
        r"\(size (?P<second>\d+) is different from (?P<first>\d+)\)",
        _ROWS,
    ),
    rule("numpy", "ValueError", rf"shapes {_SHAPE} and {_SHAPE} not aligned: .*", _INNER),
    rule("numpy", "ValueError", r"shape-mismatch for sum", _INNER),
    rule(
        "numpy",
        "ValueError",
        r"all the input array dimensions except for the concatenation axis must match exactly, but .* "
        r"has size (?P<first>\d+) and the array .* has size (?P<second>\d+)",
        _JOIN,
    ),
    rule(
        "numpy",
        "ValueError",
        r"all the input arrays must have same number of dimensions, but .*",
        _DIMENSIONS,
    ),
    rule("numpy", "ValueError", r"all input arrays must have the same shape", _SAME),
    rule("numpy", "ValueError", r"cannot reshape array of size \d+ into shape \(.*\)", _RESHAPE),
    rule(
        "numpy",
        "ValueError",
        r"setting an array element with a sequence\. The requested array has an inhomogeneous shape after "
        r"\d+ dimensions?\. (?P<shapes>).*",
        _RAGGED,
    ),
    rule("numpy", "numpy:LinAlgError", r"Last 2 dimensions of the array must be square", _SQUARE),
    rule(
        "numpy",
        "numpy:LinAlgError",
        r"\d+-dimensional array given\. Array must be (?:at least )?two-dimensional",
        _SQUARE,
    ),
    rule(
        "numpy",
        "numpy:AxisError",
        r"(?:(?:axis\d*|source|destination): )?axis -?\d+ is out of bounds for array of dimension \d+",
        _AXIS,
    ),
    rule(
        "numpy",
        "IndexError",
        r"too many indices for array: array is \d+-dimensional, but \d+ were indexed",
        _INDICES,
    ),
    rule(
        "numpy",
        "IndexError",
        r"boolean index did not match indexed array along axis \d+; size of axis is (?P<first>\d+) but size "
        r"of corresponding boolean axis is (?P<second>\d+)",
        _MASK,
    ),
    rule("scipy", "ValueError", rf"inconsistent shapes(?: {_SHAPE} and {_SHAPE})?", _BROADCAST),
    rule(
        "scipy",
        "ValueError",
        r"matmul: dimension mismatch with signature \(.*k=(?P<first>\d+)\),\(k=(?P<second>\d+).*\)->\(.*\)",
        _INNER,
    ),
    rule("scipy", "ValueError", r"Mismatching dimensions along axis \d+: \{[\d, ]+\}", _JOIN),
    rule("scipy", "ValueError", r"incompatible dimensions for axis \d+", _JOIN),
    rule("scipy", "ValueError", rf"Expected square matrix, got \w+\.shape={_SHAPE}", _SQUARE),
    rule(
        "scipy",
        "ValueError",
        rf"incompatible shapes: \w+\.shape={_SHAPE} and \w+\.shape={_SHAPE}",
        _ROWS,
    ),
    rule(
        "jax",
        "TypeError",
        rf"\w+ got incompatible shapes for broadcasting: {_SHAPE}(?:, {_SHAPE})+\.",
        _BROADCAST,
    ),
    rule(
        "jax",
        "TypeError",
        rf"dot_general requires contracting dimensions to have the same shape, got {_SHAPE} and {_SHAPE}\.",
        _INNER,
    ),
    rule(
        "jax",
        "TypeError",
        r"Cannot concatenate arrays with shapes that differ in dimensions other than the one being "
        rf"concatenated: concatenating along dimension \d+ for shapes {_SHAPE}(?:, {_SHAPE})+\.",
        _JOIN,
    ),
    rule(
        "jax",
        "ValueError",
        rf"All input arrays must have the same shape\. Got {_SHAPE}(?:, {_SHAPE})+\.",
        _SAME,
    ),
    rule(
        "jax",
        "TypeError",
        rf"cannot reshape array of shape (?P<shapes>{_SHAPE}) \(size \d+\) into shape \(.*",
        _RESHAPE,
    ),
    rule(
        "jax",
        "ValueError",
        r"Incompatible types for broadcasting: input type=\w+\[[\d,]*\] and requested type=\w+\[[\d,]*\]",
        _BROADCAST,
    ),
    rule("jax", "IndexError", r"Too many indices: array is \d+-dimensional, but \d+ were indexed", _INDICES),
    rule("jax", "ValueError", r"axis -?\d+ is out of bounds for array of dimension \d+", _AXIS),
    rule(
        "jax", "ValueError", r"vmap got inconsistent sizes for array axes to be mapped:(?P<shapes>).*", _SAME
    ),
)
