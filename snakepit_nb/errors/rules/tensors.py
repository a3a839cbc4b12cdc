"""Shapes that do not go together, in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.rules.rule import rule, shapes

if TYPE_CHECKING:
    from snakepit_nb.errors.rules.rule import Rule

_SIZES: Final = r"\[[\d, ]*\]"
_BROADCAST: Final = shapes(
    "make the sizes equal, or one of them 1: compare the shapes counted from the right"
)
_INNER: Final = shapes("the inner sizes have to be equal: try `.T` on one of the tensors")
_LAYER: Final = shapes(
    "the layer was made for another number of features or channels: change it, or the input"
)
_JOIN: Final = shapes("give all the tensors the same shape, but for the dimension that they are joined along")
_RESHAPE: Final = shapes("the product of the new shape has to be the tensor's size; one length may be -1")
_BATCH: Final = shapes("input and target need the same first dimension, the batch")
_TARGET: Final = shapes("give input and target the same shape: try .view_as(input) or .squeeze()")

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "torch",
        "RuntimeError",
        r"mat1 and mat2 shapes cannot be multiplied \(\d+x\d+ and \d+x\d+\)",
        _INNER,
    ),
    rule("torch", "RuntimeError", r"size mismatch, got input \(\d+\), mat \(\d+x\d+\), vec \(\d+\)", _INNER),
    rule(
        "torch",
        "RuntimeError",
        rf"inconsistent tensor size, expected tensor {_SIZES} and src {_SIZES} to have the same number of "
        r"elements, but got \d+ and \d+ elements respectively",
        _INNER,
    ),
    rule(
        "torch",
        "RuntimeError",
        rf"Expected size for first two dimensions of batch2 tensor to be: {_SIZES} but got: {_SIZES}\.",
        _INNER,
    ),
    rule("torch", "RuntimeError", r"batch[12] must be a 3D tensor", _INNER),
    rule(
        "torch",
        "RuntimeError",
        r"The size of tensor a \((?P<first>\d+)\) must match the size of tensor b \((?P<second>\d+)\) at "
        r"non-singleton dimension \d+",
        _BROADCAST,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"The expanded size of the tensor \((?P<second>\d+)\) must match the existing size "
        r"\((?P<first>\d+)\) "
        rf"at non-singleton dimension \d+\.  Target sizes: {_SIZES}\.  Tensor sizes: {_SIZES}",
        shapes("assign or expand to a shape whose sizes are the tensor's own, or where the tensor's are 1"),
    ),
    rule(
        "torch",
        "RuntimeError",
        rf"output with shape {_SIZES} doesn't match the broadcast shape {_SIZES}",
        shapes(
            "the result is larger than the tensor that it is written into: write `x = x + y`, not `x += y`"
        ),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Sizes of tensors must match except in dimension \d+\. Expected size (?P<first>\d+) but got size "
        r"(?P<second>\d+) for tensor number \d+ in the list\.",
        _JOIN,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Tensors must have same number of dimensions: got \d+ and \d+",
        shapes("give all the tensors as many dimensions, for instance with .unsqueeze(0)"),
    ),
    rule(
        "torch",
        "RuntimeError",
        rf"stack expects each tensor to be equal size, but got {_SIZES} at entry \d+ and {_SIZES} at "
        rf"entry \d+",
        shapes("give all the tensors the same shape, or pad them with torch.nn.utils.rnn.pad_sequence"),
    ),
    rule("torch", "RuntimeError", r"shape '\[[-\d, ]+\]' is invalid for input of size \d+", _RESHAPE),
    rule(
        "torch",
        "RuntimeError",
        r"view size is not compatible with input tensor's size and stride \(.*\)\. Use \.reshape\(\.\.\.\) "
        r"instead\.",
        shapes("use .reshape(...), or .contiguous().view(...)"),
    ),
    rule(
        "torch",
        "IndexError",
        rf"The shape of the mask {_SIZES} at index \d+ does not match the shape of the indexed tensor "
        rf"{_SIZES} "
        r"at index \d+",
        shapes("make the mask of the tensor that it selects from, or of its shape"),
    ),
    rule(
        "torch",
        "IndexError",
        r"too many indices for tensor of dimension \d+",
        shapes("index with at most as many indices as the tensor has dimensions"),
    ),
    rule(
        "torch",
        "IndexError",
        r"Dimension out of range \(expected to be in range of \[-?\d+, -?\d+\], but got -?\d+\)",
        shapes("dimensions count from 0; look at .ndim for how many there are"),
    ),
    rule(
        "torch",
        "RuntimeError",
        rf"Given groups=\d+, weight of size (?P<shapes>{_SIZES}, expected input{_SIZES}) to have \d+ "
        rf"channels, "
        r"but got \d+ channels instead",
        _LAYER,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Expected \dD \(unbatched\) or \dD \(batched\) input to \w+, but got input of size: \[[\d, ]*\]",
        shapes("add the missing dimension with .unsqueeze(0)"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Calculated padded input size per channel: .*\. Kernel size: .*\. Kernel size can't be greater than "
        r"actual input size",
        shapes("use a smaller kernel, padding, or a larger input"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"running_mean should contain (?P<second>\d+) elements not (?P<first>\d+)",
        _LAYER,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Given normalized_shape=(?P<shapes>\[[\d, ]+\], expected input with shape \[\*, [\d, ]+\], but got "
        r"input of size\[[\d, ]*\])",
        _LAYER,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"input\.size\(-1\) must be equal to input_size\. Expected (?P<first>\d+), got (?P<second>\d+)",
        _LAYER,
    ),
    rule(
        "torch",
        "ValueError",
        r"Expected input batch_size \((?P<first>\d+)\) to match target batch_size \((?P<second>\d+)\)\.",
        _BATCH,
    ),
    rule(
        "torch",
        "ValueError",
        r"Using a target size \(torch\.Size\(\[[\d, ]*\]\)\) that is different to the input size "
        r"\(torch\.Size\(\[[\d, ]*\]\)\) is deprecated\. Please ensure they have the same size\.",
        _TARGET,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"linalg\.\w+: A must be batches of square matrices, but they are \d+ by \d+ matrices",
        shapes("this needs square matrices; torch.linalg.pinv and torch.linalg.lstsq take others"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"einsum\(\): subscript \w has size (?P<second>\d+) for operand \d+ which does not broadcast with "
        r"previously seen size (?P<first>\d+)",
        _BROADCAST,
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Error\(s\) in loading state_dict for \w+:\n\tsize mismatch for \S+: .*",
        shapes("make the model as it was when its state was saved, with the same sizes"),
    ),
    rule(
        "torch",
        "ValueError",
        r"expected sequence of length (?P<first>\d+) at dim \d+ \(got (?P<second>\d+)\)",
        shapes("give all the rows the same length, or pad them"),
    ),
)
