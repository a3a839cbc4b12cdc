"""Files that are not there, that may not be touched, or that are something else."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import DiskFull, FileMissing, NotPermitted, WrongKindOfFile
from snakepit_nb.errors.rules.rule import ANY, Mapped, rule

if TYPE_CHECKING:
    import re

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.remote import RemoteError
    from snakepit_nb.errors.rules.rule import Make, Rule

# A path as an OSError writes it: the repr of a text, of bytes, or the number of a descriptor.
_PATH: Final = r"(?P<path>b?'[^']*'|b?\"[^\"]*\"|\d+)(?: -> (?:b?'[^']*'|b?\"[^\"]*\"))?"
_WHERE: Final = "check the path; where it is relative, os.getcwd() in the cell says what it is relative to"


def _file(cls: type[RemoteError], suggestion: str) -> Make:
    def make(match: re.Match[str], _record: ErrorRecord) -> Mapped:
        path = match.groupdict().get("path")
        return Mapped(cls, {} if path is None else {"path": _plain(path)}, suggestion)

    return make


def _plain(path: str) -> str:
    """The path without its quotes."""
    if path[:1] not in {"'", '"', "b"} or len(path) < 2:  # noqa: PLR2004 - one quote at each end
        return path
    try:
        value = ast.literal_eval(path)
    except (SyntaxError, ValueError):
        return path
    return value if isinstance(value, str) else path


_MISSING: Final = _file(FileMissing, _WHERE)

RULES: Final[tuple[Rule, ...]] = (
    rule(ANY, "FileNotFoundError", rf"\[Errno 2\] No such file or directory(?:: {_PATH})?", _MISSING),
    rule("numpy", "FileNotFoundError", r"(?P<path>(?!\w+: ).+) not found\.", _MISSING),
    rule(
        "pyarrow",
        "FileNotFoundError",
        rf"\[Errno 2\] Failed to open local file {_PATH}\. Detail: \[errno 2\] No such file or directory",
        _MISSING,
    ),
    rule("pyarrow", "FileNotFoundError", r"(?P<path>\S+)", _MISSING),
    rule(
        "polars",
        "FileNotFoundError",
        r"No such file or directory \(os error 2\): (?P<path>[^\n]+).*",
        _MISSING,
    ),
    rule(
        "pandas",
        "OSError",
        rf"Cannot save file into a non-existent directory: {_PATH}",
        _file(FileMissing, "make the folder first: os.makedirs(path, exist_ok=True)"),
    ),
    rule(
        ANY,
        "PermissionError",
        rf"\[Errno (?:1|13)\] (?:Permission denied|Operation not permitted)(?:: {_PATH})?",
        _file(NotPermitted, "write to a folder of your own, or look at the rights with ls -l"),
    ),
    rule(
        ANY,
        "IsADirectoryError",
        rf"\[Errno 21\] Is a directory(?:: {_PATH})?",
        _file(WrongKindOfFile, "this is a folder: name a file in it"),
    ),
    rule(
        ANY,
        "NotADirectoryError",
        rf"\[Errno 20\] Not a directory(?:: {_PATH})?",
        _file(WrongKindOfFile, "a part of the path is a file and not a folder: check the path"),
    ),
    rule(
        ANY,
        "FileExistsError",
        rf"\[Errno 17\] File exists(?:: {_PATH})?",
        _file(WrongKindOfFile, "it is there already: use another name, or exist_ok=True"),
    ),
    rule(
        ANY,
        "OSError",
        rf"\[Errno (?:28|122)\] (?:No space left on device|Disk quota exceeded)(?:: {_PATH})?",
        _file(DiskFull, "free space on that disk, or write to another one"),
    ),
)
