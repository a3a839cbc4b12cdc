"""`%snakepit`: pools are started, stopped and looked at, and one expression is evaluated in a worker."""

from __future__ import annotations

import builtins
import difflib
from typing import TYPE_CHECKING, Final, get_args

from IPython.core.error import UsageError

from snakepit_nb import registry
from snakepit_nb.errors.types import PoolError
from snakepit_nb.magics.arguments import LineCommand, LineKind, parse_line
from snakepit_nb.magics.cell import evaluate
from snakepit_nb.magics.display import Status
from snakepit_nb.magics.doctor import Report, findings
from snakepit_nb.pool import loans

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_SUBCOMMANDS: Final = tuple(kind for kind in get_args(LineKind) if kind != "expression")


def run_line(shell: InteractiveShell, line: str) -> object:
    """Do what a `%snakepit` line says.

    Raises:
        UsageError: the line is not one, or names a pool that is not there.
    """
    command = parse_line(line)
    if command.kind == "expression":
        _check_word(shell, command.expression or "")
        return evaluate(shell, command.expression or "")
    try:
        return _act(command)
    except PoolError as error:
        raise UsageError(str(error)) from None


def _check_word(shell: InteractiveShell, expression: str) -> None:
    """Refuse a misspelt subcommand, which reads as an expression of one unknown name."""
    word = expression.strip()
    if word.isidentifier() and word not in shell.user_ns and not hasattr(builtins, word):
        close = difflib.get_close_matches(word, _SUBCOMMANDS, n=1)
        if close:
            message = f"%snakepit {word}: the notebook has no such name; did you mean %snakepit {close[0]}?"
            raise UsageError(message)


def _act(command: LineCommand) -> object:
    if command.kind == "start":
        return registry.start(
            command.pool,
            workers=command.workers,
            preload=command.preload,
            max_requests=command.max_requests,
            ttl=command.ttl,
            max_memory=command.max_memory,
        )
    if command.kind == "stop":
        if command.every:
            registry.shutdown()
        else:
            registry.stop(command.pool)
        return None
    if command.kind == "recycle":
        registry.recycle(command.pool)
        return None
    if command.kind == "doctor":
        return Report(findings())
    pools = registry.pools()
    if command.pool is not None:
        pools = [pool for pool in pools if pool.name == command.pool] or [registry.get_pool(command.pool)]
    arrays = loans.kernel_store().stats() if pools else None
    return Status(pools, arrays)
