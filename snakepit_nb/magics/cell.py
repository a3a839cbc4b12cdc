"""`%%snakepit`: a cell goes to a worker, and what it made comes back as if it had run here."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from snakepit_nb import events, options, registry, telemetry
from snakepit_nb.errors.types import CaptureError, PoolError, RemoteError, SnakepitError
from snakepit_nb.magics import copies, inputs
from snakepit_nb.magics.arguments import CellOptions, parse_cell
from snakepit_nb.magics.display import cell_number, interrupted, note
from snakepit_nb.magics.graphics import check_card
from snakepit_nb.magics.launching import Background
from snakepit_nb.magics.many import Many
from snakepit_nb.magics.prepared import Prepared
from snakepit_nb.magics.presets import configured
from snakepit_nb.magics.text import MAGIC, Text, above
from snakepit_nb.wire import travel

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.magics.grammar import Found
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool
    from snakepit_nb.worker.namespace import CellResult

_LINE_MAGIC: Final = "<%snakepit>"
_AGAIN: Final = 0.1  # seconds between two signals of one interrupt


def run_cell(
    shell: InteractiveShell, line: str, body: str, *, magic: str = MAGIC, preset: Found | None = None
) -> object:
    """Run the body of a `%%snakepit` cell in a worker; what comes back is its last value.

    Args:
        shell: The shell whose cell it is.
        line: What follows the magic in its line.
        body: The lines below.
        magic: What the magic is called.
        preset: What holds where the line does not say.

    Raises:
        UsageError: the line is not one, or names something that is not there.
        Exception: named SyntaxError, where the body is not Python.
        CaptureError: a value that the cell needs, or that `-o` asks for, cannot travel.
        RemoteError: whatever the cell raised, as its own type too.
        WorkerCrashed, RequestTimeout: the worker died, or `-t` is over.
        KeyboardInterrupt: the user pressed stop.
    """
    before = (configured(shell).found(),)
    chosen = parse_cell(line, *before if preset is None else (preset, *before))
    number = cell_number(shell)
    text = Text(shell, body, above(shell, line, body, magic), f"<In [{number}]>")
    prepared = Prepared(shell, chosen, text)
    # ITEMS are the notebook's own code: they come before a worker is asked for anything.
    values = None if chosen.each is None else chosen.each.values(shell.user_ns, text.filename)
    pool = _pool(chosen.pool, chosen.gpu)
    with ExitStack() as work:
        metadata = {"pool": pool.name, "cell": number, "name": chosen.name}
        span = work.enter_context(telemetry.span(events.CELL, metadata))
        prepared.span = span.context
        many = Many(prepared, pool, values) if chosen.fans_out else None
        if not chosen.background:
            if many is not None:
                _await_jobs(prepared)
                return many.run()
            return _run_here(pool, prepared)
        job = Background(pool, prepared, many, chosen.name or f"In [{number}]", number).launch(work)
        span.leave()
    if job.name.isidentifier():
        shell.push({job.name: job})
    return job


def evaluate(shell: InteractiveShell, expression: str) -> object:
    """Evaluate one expression of a `%snakepit` line in a worker of the default pool.

    Raises:
        CaptureError, RemoteError, WorkerCrashed, KeyboardInterrupt: as for a cell.
    """
    prepared = Prepared(shell, CellOptions(outputs=()), Text(shell, expression, "", _LINE_MAGIC))
    pool = _pool(None)
    return _run_here(pool, prepared)


def _await_jobs(prepared: Prepared) -> None:
    """Wait for the jobs that a cell needs."""
    jobs = prepared.awaited()
    inputs.wait(jobs)
    inputs.check(jobs)


def _send(pool: Pool, prepared: Prepared) -> PoolFuture[CellResult]:
    """Send a cell, once the jobs that it needs are done."""
    _await_jobs(prepared)
    future, left = prepared.submit(pool)
    prepared.tell_notes(left)
    return future


def _run_here(pool: Pool, prepared: Prepared) -> object:
    """Send a cell, wait for it, and put what it made into the notebook; its last value."""
    future = _send(pool, prepared)
    with copies.told(future, quiet=prepared.chosen.quiet):
        return prepared.take_back(_wait(pool, future, prepared.explain))


def _pool(name: str | None, gpu: int | None = None) -> Pool:
    broken = registry.why_broken()
    if gpu is not None:
        check_card(gpu)
    try:
        pool = registry.get_pool(name) if gpu is None else registry.on_gpu(gpu, name)
    except (PoolError, ValueError) as error:
        raise UsageError(str(error)) from None
    if broken is not None and pool.name == registry.DEFAULT:
        note(f"a new pool takes the place of one that broke: {broken}")
    return pool


def _wait(pool: Pool, future: PoolFuture[CellResult], explain: Callable[[BaseException], None]) -> CellResult:
    """The result, or an error that says what became of the cell."""
    try:
        return _unless_interrupted(pool, future)
    except (SnakepitError, CancelledError) as error:
        explain(error)
        raise
    except KeyboardInterrupt:
        future.cancel()
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {travel.describe(error)}"
        what = f"what the cell made could not be rebuilt in the notebook ({why})"
        message = f"{what}; to bring back the rest: -o NAMES"
        raise CaptureError(message, name="result", reason=why) from error


def _unless_interrupted(pool: Pool, future: PoolFuture[CellResult]) -> CellResult:
    """The result; the stop button interrupts the cell, and kills its worker where that does not help."""
    try:
        return future.result()
    except KeyboardInterrupt as pressed:
        if isinstance(pressed, RemoteError):
            raise
    try:
        if not _interrupt(pool, future):
            future.cancel()
    except KeyboardInterrupt:
        future.cancel()
    if future.cancelled():
        text = "the cell did not end when it was interrupted: its worker was killed and replaced"
        raise interrupted(text) from None
    return future.result()


def _interrupt(pool: Pool, future: PoolFuture[CellResult]) -> bool:
    """Interrupt a cell; whether it ended in time."""
    until = time.monotonic() + options.current().interrupt_grace
    while (left := until - time.monotonic()) > 0:
        # A signal that comes right before the system call that waits does not end the wait: only another one
        # does. A worker that was interrupted already takes no notice of it.
        pool.interrupt(future)
        try:
            future.exception(timeout=min(left, _AGAIN))
        except TimeoutError:
            continue
        return True
    return False
