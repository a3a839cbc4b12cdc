"""Which graphics card a pool's workers see, and what it is called.

*Rule:* no card is touched here: a worker that sees one alone finds it as its first, whatever library asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def seen_here(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The cards that this process is allowed to see, in order; None where it sees all.

    Example:
        >>> seen_here({"CUDA_VISIBLE_DEVICES": "2, 3"}), seen_here({})
        (('2', '3'), None)
    """
    said = environ.get(VISIBLE)
    if said is None:
        return None
    return tuple(each for each in (part.strip() for part in said.split(",")) if each not in {"", "-1"})


def alone(gpu: int, environ: Mapping[str, str]) -> dict[str, str]:
    """What has a process see one card of those that are seen here, and no other.

    Raises:
        ValueError: fewer are seen here.

    Example:
        >>> alone(1, {"CUDA_VISIBLE_DEVICES": "2,3"}), alone(1, {})
        ({'CUDA_VISIBLE_DEVICES': '3'}, {'CUDA_VISIBLE_DEVICES': '1'})
    """
    seen = seen_here(environ)
    if seen is None:
        return {VISIBLE: str(gpu)}
    if gpu >= len(seen):
        text = f"gpu={gpu}: {VISIBLE} lets this process see {len(seen)}, counted from 0"
        raise ValueError(text)
    return {VISIBLE: seen[gpu]}


def device(gpu: int | None) -> str:
    """What a pool's workers compute on.

    Example:
        >>> device(1), device(None)
        ('cuda:1', 'cpu')
    """
    return "cpu" if gpu is None else f"cuda:{gpu}"
