"""What cells are run with where their line does not say: `%config SnakepitMagics`, and magics of one's own.

*Rule:* what a line says goes before what its magic was made with, and that before what is configured.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from traitlets import Bool, Enum, Float, TraitError, Unicode, Union, validate
from traitlets.config import Configurable

from snakepit_nb.magics import values
from snakepit_nb.magics.arguments import parse_found
from snakepit_nb.magics.grammar import Found, cell_parser

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class SnakepitMagics(Configurable):
    """What `%%snakepit` cells are run with where their line does not say; `%config SnakepitMagics` shows it.

    Example:
        >>> SnakepitMagics(timeout=30.0).found().timeout
        30.0
    """

    pool = Unicode(None, allow_none=True, help="The pool that cells run in; None for the default pool.").tag(
        config=True
    )
    timeout = Float(None, allow_none=True, help="Seconds that a cell may run; None for any number.").tag(
        config=True
    )
    quiet = Bool(False, help="Whether notes and progress are left out.").tag(config=True)  # noqa: FBT003 - the signature of traitlets
    progress = Union(
        (Bool(), Enum(("timeline",))),
        allow_none=True,
        default_value=None,
        help="Whether --map and --all show a bar, or the 'timeline'; None for a bar where they take long.",
    ).tag(config=True)

    @validate("pool")
    def _pool(self, proposal: dict[str, Any]) -> str | None:
        given = proposal["value"]
        return None if given is None else _checked(values.pool_name, given)

    @validate("timeout")
    def _timeout(self, proposal: dict[str, Any]) -> float | None:
        given = proposal["value"]
        return None if given is None else _checked(values.timer("timeout"), str(given))

    def found(self) -> Found:
        """The same as a line would say it."""
        return Found(pool=self.pool, timeout=self.timeout, quiet=self.quiet, progress=self.progress)


def _checked(read: Any, given: str) -> Any:  # noqa: ANN401 - what it reads is what it gives
    try:
        return read(given)
    except UsageError as error:
        raise TraitError(str(error)) from None


def configured(shell: InteractiveShell) -> SnakepitMagics:
    """The shell's settings, made at the first call, with what its configuration files say."""
    for each in shell.configurables:
        if isinstance(each, SnakepitMagics):
            return each
    made = SnakepitMagics(parent=shell)
    shell.configurables.append(made)  # type: ignore[arg-type]  # typed as holding the shell alone
    return made


def forget(shell: InteractiveShell) -> None:
    """Take the settings away again."""
    shell.configurables[:] = [each for each in shell.configurables if not isinstance(each, SnakepitMagics)]


def as_line(chosen: dict[str, object]) -> str:
    """Options by name as the line that says the same.

    Raises:
        ValueError: There is no such option, or it does not take that.

    Example:
        >>> as_line({"gpu": 0, "output": ["a", "b"], "quiet": True, "pool": "train"})
        'train --gpu=0 --output=a,b --quiet'
    """
    flags = [flag for flag in cell_parser().flags() if flag.startswith("--")]
    words: list[str] = []
    for name, value in chosen.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "pool":
            words.insert(0, shlex.quote(str(value)))
        elif flag not in flags or flag.startswith("--no-p"):
            known = [each[2:].replace("-", "_") for each in flags]
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"there are pool, {', '.join(known)}"
            text = f"%%snakepit has no option {name!r}; {meant}"
            raise ValueError(text)
        elif value is True:
            words.append(flag)
        elif value is False and name == "progress":
            words.append("--no-progress")
        elif value is not None and value is not False:
            several = isinstance(value, Iterable) and not isinstance(value, str)
            given = ",".join(map(str, value)) if several else str(value)  # type: ignore[call-overload]
            words.append(f"{flag}={shlex.quote(given)}")
    line = " ".join(words)
    try:
        parse_found(line)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return line
