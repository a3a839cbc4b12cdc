"""`%%snakepit`: a cell goes to a worker, and what it made comes back as if it had run here."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np
from IPython.core.error import UsageError

from snakepit_nb import events, options, registry, telemetry
from snakepit_nb.errors.types import CaptureError, PoolError, RemoteError, SnakepitError
from snakepit_nb.magics.arguments import CellOptions, parse_cell
from snakepit_nb.magics.capture import Captured, check_outputs, mutation_note, select
from snakepit_nb.magics.display import Shown, cell_number, interrupted, note, show_as
from snakepit_nb.magics.job import Job
from snakepit_nb.magics.text import Text, above
from snakepit_nb.wire import travel
from snakepit_nb.worker.namespace import Cell, CellResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.arrays.store import Mode
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool

_LINE_MAGIC: Final = "<%snakepit>"
_AGAIN: Final = 0.1  # seconds between two signals of one interrupt


def run_cell(shell: InteractiveShell, line: str, body: str) -> object:
    """Run the body of a `%%snakepit` cell in a worker; what comes back is its last value.

    Args:
        shell: The shell whose cell it is.
        line: What follows `%%snakepit` in its line.
        body: The lines below.

    Raises:
        UsageError: the line is not one, or names something that is not there.
        Exception: named SyntaxError, where the body is not Python.
        CaptureError: a value that the cell needs, or that `-o` asks for, cannot travel.
        RemoteError: whatever the cell raised, as its own type too.
        WorkerCrashed, RequestTimeout: the worker died, or `-t` is over.
        KeyboardInterrupt: the user pressed stop.
    """
    chosen = parse_cell(line)
    number = cell_number(shell)
    text = Text(shell, body, above(shell, line, body), f"<In [{number}]>")
    prepared = _Prepared(shell, chosen, text)
    pool = _pool(chosen.pool)
    with ExitStack() as work:
        metadata = {"pool": pool.name, "cell": number, "name": chosen.name}
        work.enter_context(telemetry.span(events.CELL, metadata))
        future, left = prepared.submit(pool)
        prepared.tell_notes(left)
        if not chosen.background:
            return prepared.take_back(_wait(pool, future, prepared.explain))
        # The span goes on until the job is over.
        job = Job(future, chosen.name or f"In [{number}]", prepared.take_back_later, work.pop_all())
    if chosen.name and chosen.name.isidentifier():
        shell.push({chosen.name: job})
    return job


def evaluate(shell: InteractiveShell, expression: str) -> object:
    """Evaluate one expression of a `%snakepit` line in a worker of the default pool.

    Raises:
        CaptureError, RemoteError, WorkerCrashed, KeyboardInterrupt: as for a cell.
    """
    prepared = _Prepared(shell, CellOptions(outputs=()), Text(shell, expression, "", _LINE_MAGIC))
    pool = _pool(None)
    future, left = prepared.submit(pool)
    prepared.tell_notes(left)
    return prepared.take_back(_wait(pool, future, prepared.explain))


def _pool(name: str | None) -> Pool:
    broken = registry.why_broken()
    try:
        pool = registry.get_pool(name)
    except PoolError as error:
        raise UsageError(str(error)) from None
    if broken is not None and pool.name == registry.DEFAULT:
        note(f"a new pool takes the place of one that broke: {broken}")
    return pool


class _Prepared:
    """A cell that was looked at and is ready to go."""

    def __init__(self, shell: InteractiveShell, chosen: CellOptions, text: Text) -> None:
        self._shell = shell
        self._chosen = chosen
        source = text.read()
        self._names = names = source.names
        self._captured = Captured()
        if chosen.capture:
            self._captured = select(
                names, shell.user_ns, only=chosen.inputs, also=chosen.inout, hidden=shell.user_ns_hidden
            )
        for name in chosen.inout:
            _check_inout(name, shell.user_ns[name])
        rebinds: frozenset[str] = frozenset()
        deletes: frozenset[str] = frozenset()
        if chosen.outputs is None:
            deletes = names.deletes.intersection((*self._captured.values, *self._captured.modules))
        if chosen.outputs is None and not names.dynamic:
            rebinds = names.writes.intersection(self._captured.values) - names.settled - names.deletes
        self._cell = Cell(
            source=source.python,
            filename=text.filename,
            modules=self._captured.imports(),
            outputs=self._outputs(),
            optional_outputs=chosen.outputs is None,
            show_last=names.last_expression,
            name=chosen.name,
            header=text.header,
            rebinds=tuple(sorted(rebinds.difference(chosen.inout))),
            deletes=tuple(sorted(deletes)),
        )
        self._sent: frozenset[str] = frozenset()

    def _outputs(self) -> tuple[tuple[str, str], ...]:
        chosen = self._chosen
        if chosen.outputs is None:
            pairs = [(name, name) for name in sorted(self._names.writes)]
        else:
            check_outputs(self._names, [output.source for output in chosen.outputs])
            pairs = [(output.dest, output.source) for output in chosen.outputs]
        pairs.extend((name, name) for name in chosen.inout if (name, name) not in pairs)
        return tuple(pairs)

    def submit(self, pool: Pool) -> tuple[PoolFuture[CellResult], list[str]]:
        """Send the cell; also gives the names that it may not need and that could not travel."""
        values = dict(self._captured.values)
        left: list[str] = []
        chosen = self._chosen
        modes: dict[int, Mode] = {id(values[name]): "in_place" for name in chosen.inout}
        while True:
            try:
                future = pool.request(
                    self._cell, (values,), timeout=chosen.timeout, command=chosen.name or "cell", alone=True,
                    modes=modes,
                )  # fmt: skip
            except CaptureError as error:
                dropped = _blame(error, values, self._captured)
                del values[dropped]
                left.append(dropped)
            except KeyboardInterrupt:
                text = "the cell was stopped while it was sent to its worker"
                raise interrupted(text) from None
            else:
                self._sent = frozenset((*values, *self._captured.modules))
                return future, left

    def tell_notes(self, left: list[str]) -> None:
        """Say in one line each what the user would not expect."""
        if self._chosen.quiet:
            return
        for name in left:
            note(f"{name} was not taken along: it cannot travel, and the cell may not need it")
        outputs = None if self._chosen.outputs is None else [output.source for output in self._chosen.outputs]
        changed = mutation_note(self._names, self._captured, outputs=outputs, inout=self._chosen.inout)
        if changed:
            note(changed)

    def explain(self, error: BaseException) -> None:
        """Add to an error what only this side knows: why a name that is missing did not go along."""
        if not isinstance(error, NameError):
            return
        name = getattr(error, "name", None)
        if not isinstance(name, str) or name not in self._shell.user_ns or name not in self._names.reads:
            return
        if not self._chosen.capture:
            error.add_note(f"{name} is in the notebook; --no-capture leaves it there.")
        elif name in self._captured.excluded:
            error.add_note(f"{name} is in the notebook, and -i leaves it out; to take it along: -i {name}")
        elif name not in self._sent:
            error.add_note(f"{name} is in the notebook and could not travel.")

    def take_back(self, result: CellResult) -> object:
        """Put what the cell made into the notebook; its last value."""
        last = self._take(result, None)
        if result.has_last and result.last_bundle is not None:
            if last is None:
                return Shown(result.last_bundle)
            show_as(self._shell, last, result.last_bundle)
        return last

    def take_back_later(self, result: CellResult, origin: object) -> object:
        """The same for a job, whose cell is `origin`, in whatever thread."""
        last = self._take(result, origin)
        return Shown(result.last_bundle) if last is None and result.last_bundle is not None else last

    def _take(self, result: CellResult, origin: object) -> object:
        namespace = self._shell.user_ns
        values = dict(result.values)
        for name in self._chosen.inout:
            here, there = namespace.get(name), values.get(name)
            if isinstance(here, np.ndarray) and isinstance(there, np.ndarray) and _alike(here, there):
                # An array that lies in shared memory was changed where it is.
                if not _is_the_same(here, there):
                    np.copyto(here, there)
                del values[name]
        self._shell.push(values)
        for name in result.deleted:
            if name in self._sent:
                namespace.pop(name, None)
        if self._chosen.outputs is not None and result.left_behind:
            left = result.left_behind[0]
            raise CaptureError(name=left.name, type_name=left.type_name, reason=left.reason)
        for left in result.left_behind:
            if not self._chosen.quiet:
                kind = _a(left.type_name)
                note(f"{left.name} stayed in the worker: {kind} cannot travel ({left.reason})", origin)
        return result.last if result.has_last else None


def _a(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiouAEIOU' else 'a'} {noun}"


def _alike(here: np.ndarray, there: np.ndarray) -> bool:
    """Whether one can be written over the other; a cell that bound the name anew may have changed either."""
    return here.shape == there.shape and here.dtype == there.dtype


def _is_the_same(here: np.ndarray, there: np.ndarray) -> bool:
    """Whether both are one memory, seen in the same way."""
    return bool(
        here.strides == there.strides
        and here.__array_interface__["data"][0] == there.__array_interface__["data"][0]
    )


def _check_inout(name: str, value: object) -> None:
    if type(value) not in {np.ndarray, np.memmap}:
        kind = _a(type(value).__name__)
        text = (
            f"--inout {name}: expected a NumPy array, {name} is {kind}; use -o {name} to have it back changed"
        )
        raise UsageError(text)
    if not value.flags.writeable:  # type: ignore[attr-defined]
        text = f"--inout {name}: {name} is read-only; use -o {name} to have a changed copy of it"
        raise UsageError(text)


def _blame(error: CaptureError, values: Mapping[str, object], captured: Captured) -> str:
    """The name to leave out, where the cell may do without it; otherwise the error that names it."""
    for name, value in values.items():
        found = travel.obstacle(value, name)
        if found is None:
            continue
        if name in captured.optional:
            return name
        if isinstance(value, Job):
            message = f"{name} is a job, which stays in the notebook; use its value: x = {name}.result()"
            raise CaptureError(message, name=name, type_name="Job", reason=found.reason) from None
        raise CaptureError(
            name=name, path=found.path, type_name=found.type_name, reason=found.reason
        ) from None
    raise error


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
