"""`%snakepit`: pools are started, stopped and looked at, and one expression is evaluated in a worker."""

from __future__ import annotations

import builtins
import difflib
from typing import TYPE_CHECKING, Final, get_args

from IPython.core.error import UsageError

from snakepit_nb import registry
from snakepit_nb.errors.types import PoolError
from snakepit_nb.magics.arguments import LineCommand, parse_line
from snakepit_nb.magics.cell import evaluate
from snakepit_nb.magics.config import config
from snakepit_nb.magics.doctor import Report, findings
from snakepit_nb.magics.grammar import LineKind
from snakepit_nb.magics.graphics import check_card
from snakepit_nb.magics.jobs import cancel, jobs
from snakepit_nb.magics.metrics import metrics, stop_serving
from snakepit_nb.magics.status import Status
from snakepit_nb.pool import loans

if TYPE_CHECKING:
    from collections.abc import Callable

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
    return _ACTS[command.kind](command)


def _start(command: LineCommand) -> object:
    return registry.start(
        command.pool,
        workers=command.workers,
        preload=command.preload,
        max_requests=command.max_requests,
        ttl=command.ttl,
        max_memory=command.max_memory,
        profile=command.profile or "process",
        gpu=_card(command.gpu),
    )


def _card(gpu: int | None) -> int | None:
    if gpu is not None:
        check_card(gpu)
    return gpu


def _stop(command: LineCommand) -> None:
    if command.every:
        registry.shutdown()
        stop_serving()
    else:
        registry.stop(command.pool)


def _scale(command: LineCommand) -> None:
    pool = registry.get_pool(command.pool)
    before, wanted = pool.max_workers, command.workers or 1
    there = pool.stats()["workers"]
    pool.scale(wanted)
    print(f"pool {pool.name}: {_scaled(before, wanted, there)}")  # noqa: T201 - the answer to the line


def _scaled(before: int, now: int, there: int) -> str:
    """What becomes of a pool that may have so many workers now, and of `there` that are started."""
    workers = f"{now} worker{'' if now == 1 else 's'}"
    if now == before:
        return f"{workers}, as before"
    if not there:
        return f"up to {workers} instead of {before}; the first cell starts them"
    if now > before:
        return f"{workers} instead of {before}; {now - before} more start now"
    return f"{workers} instead of {before}; those that go end first what they run"


def _status(command: LineCommand) -> Status:
    pools = registry.pools()
    if command.pool is not None:
        pools = [pool for pool in pools if pool.name == command.pool] or [registry.get_pool(command.pool)]
    arrays = loans.kernel_store().stats() if pools else None
    return Status(pools, arrays, None if pools else registry.why_broken())


def _dashboard(command: LineCommand) -> object:
    # What widgets take to load is paid by who wants one.
    from snakepit_nb.board import Dashboard  # noqa: PLC0415

    return Dashboard(command.pool)


_ACTS: Final[dict[str, Callable[[LineCommand], object]]] = {
    "start": _start,
    "stop": _stop,
    "scale": _scale,
    "jobs": lambda command: jobs(command.wait),
    "cancel": lambda command: cancel(" ".join(command.words), every=command.every),
    "recycle": lambda command: registry.recycle(command.pool),
    "status": _status,
    "dashboard": _dashboard,
    "metrics": lambda command: metrics(command.pool, command.serve),
    "doctor": lambda _: Report(findings()),
    "config": lambda command: config(command.words, reset=command.reset),
}
