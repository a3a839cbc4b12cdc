"""What is installed beside the kernel, for `%snakepit doctor`.

*Rule:* a package is asked for by its metadata; none is imported.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Final

from snakepit_nb.magics.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_US: Final = "snakepit_nb"
_OPTIONAL: Final = ("pandas", "polars", "torch", "cupy", "jax", "distributed", "matplotlib", "tqdm")
# Packages that come under other names, one for each release of CUDA.
_ALSO: Final = {"cupy": ("cupy", "cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x")}


def version_of(package: str) -> str:
    """The version of an installed package; empty where there is none.

    Example:
        >>> version_of("numpy") != ""
        True
    """
    for name in _ALSO.get(package, (package,)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def release() -> Finding:
    """This package."""
    return Finding(_US, version_of(_US) or "not installed, used from its sources")


def needed() -> Finding:
    """What this package cannot do without, and whether it is new enough."""
    found, wanted = [], []
    for name, there, request in _requests():
        found.append(f"{name} {there or 'missing'}")
        if request:
            wanted.append(request)
    if wanted:
        shell = " ".join(f"'{each}'" for each in wanted)
        return Finding(
            "packages", ", ".join(found), f"pip install {shell}, and restart the kernel", grave=True
        )
    return Finding("packages", ", ".join(found) or "not known: used from its sources")


def _requests() -> Iterator[tuple[str, str, str]]:
    """What is needed: name, version that is there, and where that will not do what to ask pip for."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - comes with ipykernel; only who asks needs it

    try:
        lines = requires(_US) or []
    except PackageNotFoundError:
        return
    for line in lines:
        request = Requirement(line)
        if request.marker is not None and not request.marker.evaluate({"extra": ""}):
            continue
        there = version_of(request.name)
        fits = there and request.specifier.contains(there, prereleases=True)
        yield request.name, there, "" if fits else f"{request.name}{request.specifier}"


def libraries() -> Finding:
    """What can be used with it."""
    versions = {name: version_of(name) for name in _OPTIONAL}
    there = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    return Finding("libraries", there or "none of those that are known here")
