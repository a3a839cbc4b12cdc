"""`%%snakepit`: a cell goes to a worker, and what it made comes back as if it had run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from IPython.core.error import UsageError

from snakepit_nb import events, options, registry, telemetry
from snakepit_nb.errors.types import CaptureError, PoolError
from snakepit_nb.magics.arguments import CellOptions, parse_cell
from snakepit_nb.magics.capture import Captured, CellNames, analyse, check_outputs, mutation_note, select
from snakepit_nb.magics.display import Shown, note
from snakepit_nb.magics.job import Job
from snakepit_nb.wire import travel
from snakepit_nb.worker.namespace import Cell, CellResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool

_HEADER: Final = 1  # lines of the notebook's cell above the body: the one with %%snakepit


def run_cell(shell: InteractiveShell, line: str, body: str) -> object:
    """Run the body of a `%%snakepit` cell in a worker; what comes back is its last value.

    Raises:
        UsageError: the line is not one, or names something that is not there.
        SyntaxError: the body is not Python.
        CaptureError: a value that the cell needs cannot travel.
        RemoteError: whatever the cell raised, as its own type too.
        WorkerCrashed, RequestTimeout: the worker died, or `-t` is over.
        KeyboardInterrupt: the user pressed stop.
    """
    chosen = parse_cell(line)
    prepared = _Prepared(shell, chosen, body)
    pool = _pool(chosen.pool)
    metadata = {"pool": pool.name, "cell": shell.execution_count, "name": chosen.name}
    if chosen.background:
        future, left = prepared.submit(pool)
        prepared.tell_notes(left)
        job = Job(future, chosen.name or f"In [{shell.execution_count}]", prepared.take_back)
        if chosen.name and chosen.name.isidentifier():
            shell.push({chosen.name: job})
        return job
    with telemetry.span(events.CELL, metadata):
        future, left = prepared.submit(pool)
        prepared.tell_notes(left)
        result = _wait(pool, future)
        return prepared.take_back(result)


def evaluate(shell: InteractiveShell, expression: str) -> object:
    """Evaluate one expression of a `%snakepit` line in a worker of the default pool."""
    prepared = _Prepared(shell, CellOptions(outputs=()), expression, header=0)
    pool = _pool(None)
    future, left = prepared.submit(pool)
    prepared.tell_notes(left)
    return prepared.take_back(_wait(pool, future))


def _pool(name: str | None) -> Pool:
    try:
        return registry.get_pool(name)
    except PoolError as error:
        raise UsageError(str(error)) from None


class _Prepared:
    """A cell that was looked at and is ready to go."""

    def __init__(self, shell: InteractiveShell, chosen: CellOptions, body: str, *, header: int = _HEADER) -> None:
        self._shell = shell
        self._chosen = chosen
        filename = f"<In [{shell.execution_count}]>"
        source = "\n" * header + shell.transform_cell(body)
        self.names: CellNames = _analyse(source, filename)
        namespace = shell.user_ns
        self.captured = Captured()
        if chosen.capture:
            self.captured = select(
                self.names, namespace, only=chosen.inputs, also=chosen.inout, hidden=shell.user_ns_hidden
            )
        for name in chosen.inout:
            if not isinstance(namespace[name], np.ndarray):
                kind = type(namespace[name]).__name__
                text = f"--inout {name}: expected a NumPy array, {name} is a {kind}; use -o {name} to have it back changed"
                raise UsageError(text)
        self._cell = Cell(
            source=source,
            filename=filename,
            modules=self.captured.imports(),
            outputs=self._outputs(),
            optional_outputs=chosen.outputs is None,
            show_last=self.names.last_expression,
            name=chosen.name,
        )

    def _outputs(self) -> tuple[tuple[str, str], ...]:
        chosen = self._chosen
        if chosen.outputs is None:
            pairs = [(name, name) for name in sorted(self.names.writes)]
        else:
            check_outputs(self.names, [output.source for output in chosen.outputs])
            pairs = [(output.dest, output.source) for output in chosen.outputs]
        pairs.extend((name, name) for name in chosen.inout if (name, name) not in pairs)
        return tuple(pairs)

    def submit(self, pool: Pool) -> tuple[PoolFuture[CellResult], list[str]]:
        """Send the cell; also gives the names that it may not need and that could not travel."""
        values = dict(self.captured.values)
        left: list[str] = []
        chosen = self._chosen
        while True:
            try:
                future = pool.request(
                    self._cell, (values,), timeout=chosen.timeout, command=chosen.name or "cell", alone=True
                )
            except CaptureError as error:
                dropped = _blame(error, values, self.captured)
                del values[dropped]
                left.append(dropped)
            else:
                return future, left

    def tell_notes(self, left: list[str]) -> None:
        """Say in one line each what the user would not expect."""
        if self._chosen.quiet:
            return
        for name in left:
            note(f"{name} was not taken along: it cannot travel, and the cell may not need it")
        outputs = None if self._chosen.outputs is None else [output.source for output in self._chosen.outputs]
        changed = mutation_note(self.names, self.captured, outputs=outputs, inout=self._chosen.inout)
        if changed:
            note(changed)

    def take_back(self, result: CellResult) -> object:
        """Put what the cell made into the notebook; its last value."""
        namespace = self._shell.user_ns
        values = dict(result.values)
        for name in self._chosen.inout:
            here, there = namespace.get(name), values.get(name)
            if isinstance(here, np.ndarray) and isinstance(there, np.ndarray) and here.shape == there.shape:
                np.copyto(here, there, casting="unsafe")
                del values[name]
        self._shell.push(values)
        if self._chosen.outputs is None:
            for name in self.names.deletes:
                namespace.pop(name, None)
        for left in result.left_behind:
            if not self._chosen.quiet:
                note(f"{left.name} stayed in the worker: a {left.type_name} cannot travel ({left.reason})")
        if not result.has_last:
            return None
        if result.last_bundle is not None:
            return Shown.of(self._shell, result.last, result.last_bundle)
        return result.last


def _analyse(source: str, filename: str) -> CellNames:
    try:
        return analyse(source, filename)
    except SyntaxError as error:
        # Without our frames: the front end then shows it as it does for an ordinary cell.
        raise error.with_traceback(None) from None


def _blame(error: CaptureError, values: Mapping[str, object], captured: Captured) -> str:
    """The name to leave out, where the cell may do without it; otherwise the error that names it."""
    for name, value in values.items():
        found = travel.obstacle(value, name)
        if found is None:
            continue
        if name in captured.optional:
            return name
        raise CaptureError(
            name=name, path=found.path, type_name=found.type_name, reason=found.reason
        ) from None
    raise error


def _wait(pool: Pool, future: PoolFuture[CellResult]) -> CellResult:
    """The result; the stop button interrupts the cell, and kills its worker where that does not help."""
    try:
        return future.result()
    except KeyboardInterrupt:
        if future.done():
            raise
    try:
        pool.interrupt(future)
        future.exception(timeout=options.current().interrupt_grace)
    except (TimeoutError, KeyboardInterrupt):
        future.cancel()
    if future.cancelled():
        text = "the cell did not end when it was interrupted: its worker was killed and replaced"
        raise KeyboardInterrupt(text) from None
    return future.result()
