"""Arrays that live on different devices, or on one that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import DeviceMismatch
from snakepit_nb.errors.rules.rule import Mapped, rule

if TYPE_CHECKING:
    import re

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Make, Rule

_MOVE: Final = "move all of them to one device, with x.to(device); a model too"
_HOST: Final = "copy it to the CPU first: x.detach().cpu().numpy()"


def _devices(suggestion: str, *known: str) -> Make:
    def make(match: re.Match[str], record: ErrorRecord) -> Mapped:
        groups = match.groupdict()
        named = tuple(text for name in ("first", "second") if (text := groups.get(name)))
        devices = tuple(map(_device, named)) + known
        if not devices:
            devices = tuple(dict.fromkeys(each.device for each in record.arrays if each.device))
        return Mapped(DeviceMismatch, {"devices": devices} if devices else {}, suggestion)

    return make


def _device(text: str) -> str:
    """A device's name; CuPy gives its number, and old messages of torch a type of tensor."""
    if text.isdigit():
        return f"cuda:{text}"
    if text.endswith("Tensor"):
        return "cuda" if ".cuda." in text else "cpu"
    return text


RULES: Final[tuple[Rule, ...]] = (
    rule(
        "torch",
        "RuntimeError",
        r"Expected all tensors to be on the same device, but found at least two devices, "
        r"(?P<first>[\w:]+) and "
        r"(?P<second>[\w:]+)!.*",
        _devices(_MOVE),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Expected all tensors to be on the same device, but got \S+ is on (?P<first>[\w:]+), different from "
        r"other tensors on (?P<second>\w+(?::\d+)?).*",
        _devices(_MOVE),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Expected all tensors to be on the same device\. addmm:? expected '\w+' to be (?:a )?CPU tensor, "
        r"but "
        r"got tensor on (?P<first>[\w:]+)",
        _devices(_MOVE, "cpu"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Tensor on device (?P<first>[\w:]+) is not on the expected device (?P<second>[\w:]+)!",
        _devices(_MOVE),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Input type \((?P<first>torch\.(?:cuda\.)?\w+Tensor)\) and weight type "
        r"\((?P<second>torch\.(?:cuda\.)?\w+Tensor)\) should be the same.*",
        _devices(_MOVE),
    ),
    rule(
        "torch",
        "TypeError",
        r"can't convert (?P<first>[\w:]+) device type tensor to numpy\. Use Tensor\.cpu\(\) to copy the "
        r"tensor "
        r"to host memory first\.",
        _devices(_HOST, "cpu"),
    ),
    rule(
        "torch",
        "AssertionError",
        r"Torch not compiled with CUDA enabled",
        _devices("this torch knows no GPU: install one that does, or use device='cpu'", "cuda"),
    ),
    rule(
        "torch",
        "RuntimeError",
        r"Attempting to deserialize object on a CUDA device but torch\.cuda\.is_available\(\) is False\..*",
        _devices("load it with torch.load(..., map_location='cpu')", "cuda"),
    ),
    rule(
        "cupy",
        "ValueError",
        r"The device where the array resides \((?P<first>\d+)\) is different from the current device "
        r"\((?P<second>\d+)\)\. Peer access is unavailable between these devices\.",
        _devices("work on it where it is: with cupy.cuda.Device(n): ..."),
    ),
    rule(
        "cupy",
        "ValueError",
        r"Array device must be same as the current device: array device = (?P<first>\d+) while current = "
        r"(?P<second>\d+)",
        _devices("work on it where it is: with cupy.cuda.Device(n): ..."),
    ),
    rule(
        "cupy",
        "TypeError",
        r"Implicit conversion to a NumPy array is not allowed\. Please use `\.get\(\)` to construct a NumPy "
        r"array explicitly\.",
        _devices("copy it to the CPU first, with x.get()", "cuda", "cpu"),
    ),
    rule(
        "jax",
        "RuntimeError",
        r"Unknown backend:? '(?P<first>\w+)' requested, but no platforms that are instances of \w+ are "
        r"present\. .*",
        _devices("jax.devices() lists those that are there"),
    ),
)
