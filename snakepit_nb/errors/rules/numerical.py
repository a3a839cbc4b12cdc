"""Computations that have no answer for the numbers they were given, and models that know none yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import NotFitted
from snakepit_nb.errors.rules.rule import Mapped, numerical, rule

if TYPE_CHECKING:
    import re

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Rule

_SINGULAR: Final = numerical(
    "look at its rank with np.linalg.matrix_rank, or use np.linalg.lstsq or np.linalg.pinv"
)
_DEFINITE: Final = numerical("make sure that it is symmetric, or add a small multiple of the identity")
_FINITE: Final = numerical("look for NaN and infinite values with np.isfinite")
_TORCH_SINGULAR: Final = numerical(
    "look at its rank with torch.linalg.matrix_rank, or use torch.linalg.lstsq"
)
_TORCH_FINITE: Final = numerical("look for NaN and infinite values with torch.isfinite")
_MISSING: Final = numerical("drop the missing values, with df.dropna(), or fill them, with df.fillna(...)")
_FLOATING: Final = numerical(
    "find the values that are zero, negative or too large, or allow it with np.errstate"
)


def _fitted(match: re.Match[str], _record: ErrorRecord) -> Mapped:
    estimator = match["estimator"]
    return Mapped(NotFitted, {"estimator": estimator}, f"call .fit(X, y) on the {estimator} before")


RULES: Final[tuple[Rule, ...]] = (
    rule("numpy", "numpy:LinAlgError", r"Singular matrix", _SINGULAR),
    rule("numpy", "numpy:LinAlgError", r"Matrix is not positive definite", _DEFINITE),
    rule("numpy", "numpy:LinAlgError", r"(?:SVD|Eigenvalues) did not converge(?: .*)?", _FINITE),
    rule("numpy", "numpy:LinAlgError", r"Array must not contain infs or NaNs", _FINITE),
    rule("numpy", "ValueError", r"array must not contain infs or NaNs", _FINITE),
    rule("numpy", "ValueError", r"cannot convert float (?:NaN|infinity) to integer", _FINITE),
    rule("numpy", "ValueError", r"autodetected range of \[.*\] is not finite", _FINITE),
    rule(
        "numpy",
        "FloatingPointError",
        r"(?:divide by zero|overflow|underflow|invalid value) encountered in \w+",
        _FLOATING,
    ),
    rule(
        "scipy",
        "numpy:LinAlgError",
        r"A singular matrix detected(?:: slice\(s\) .* are singular)?\.|[Ss]ingular matrix",
        _SINGULAR,
    ),
    rule(
        "scipy",
        "numpy:LinAlgError",
        r"\d+-th leading minor of the array is not positive definite",
        _DEFINITE,
    ),
    rule("scipy", "RuntimeError", r"Factor is exactly singular", _SINGULAR),
    rule(
        "torch",
        "torch:_LinAlgError",
        r"(?:torch\.)?linalg\.\w+: .*the input matrix is singular\.",
        _TORCH_SINGULAR,
    ),
    rule(
        "torch",
        "torch:_LinAlgError",
        r"linalg\.\w+: .*the input is not positive-definite .*",
        numerical("make sure that it is symmetric, or add a small multiple of torch.eye"),
    ),
    rule(
        "torch",
        "torch:_LinAlgError",
        r"linalg\.\w+: .*the input matrix contained non-finite values\.",
        _TORCH_FINITE,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"probability tensor contains either `inf`, `nan` or element < 0",
        _TORCH_FINITE,
    ),
    rule(
        "torch",
        "ValueError",
        r"Expected parameter \w+ \(Tensor of shape \(.*\)\) of distribution .* to satisfy the constraint .*, "
        r"but found invalid values:.*",
        _TORCH_FINITE,
    ),
    rule("jax", "FloatingPointError", r"invalid value \((?:nan|inf)\) encountered in .*", _FINITE),
    rule(
        "pandas",
        "pandas:IntCastingNaNError",
        r"Cannot convert non-finite values \(NA or inf\) to integer.*",
        _MISSING,
    ),
    rule(
        "sklearn",
        "ValueError",
        r"Input(?: [Xy])? contains (?:NaN|infinity or a value too large for dtype\('\w+'\))\..*",
        _MISSING,
    ),
    rule(
        "pyarrow",
        "pyarrow:ArrowInvalid",
        r"divide by zero|overflow|square root of negative number",
        _FLOATING,
    ),
    rule(
        "sklearn",
        "sklearn:NotFittedError",
        r"This (?P<estimator>\w+) instance is not fitted yet\. .*",
        _fitted,
    ),
)
