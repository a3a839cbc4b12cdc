"""A cell that was looked at: what it is given, what is sent, and what becomes of what it made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from IPython.core.error import UsageError

from snakepit_nb import registry, telemetry
from snakepit_nb.arrays.sharing import Sharing
from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics import copies, inputs, joblist, surroundings
from snakepit_nb.magics.again import tell_attempts
from snakepit_nb.magics.capture import Captured, check_outputs, mutation_note, select
from snakepit_nb.magics.display import Shown, interrupted, note, show_as, show_below
from snakepit_nb.magics.job import meeting
from snakepit_nb.pool import loans
from snakepit_nb.wire import travel
from snakepit_nb.worker.namespace import Cell, CellResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from snakepit_nb.arrays.store import Mode
    from snakepit_nb.magics.arguments import CellOptions
    from snakepit_nb.magics.text import Text
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool

_ONCE: Final[Mapping[str, object]] = MappingProxyType({})


def _kept(chosen: CellOptions) -> set[str]:
    """What the cell's session is known to keep."""
    if chosen.session is None:
        return set()
    wanted = chosen.pool or registry.DEFAULT
    found = [pool.names_of(chosen.session) for pool in registry.pools() if pool.name == wanted]
    return set().union(*found)


@dataclass(frozen=True, slots=True)
class Run:
    """What is particular about one of the runs of a cell.

    Attributes:
        many: Whether it is one of many.
        timeout: Seconds that it may take, where that is not the cell's own.
        worker: The id of the one worker that is to run it.
    """

    many: bool = False
    timeout: float | None = None
    worker: str | None = None


class Prepared:
    """A cell that was looked at and is ready to go."""

    def __init__(self, shell: InteractiveShell, chosen: CellOptions, text: Text) -> None:
        self._shell = shell
        self.chosen = chosen
        source = text.read()
        self._names = names = source.names
        self.item_names = () if chosen.each is None else chosen.each.names
        self._captured = Captured()
        self._named = frozenset((*(chosen.inputs or ()), *chosen.inout))
        # What a session keeps goes before what the notebook calls the same.
        self._kept = kept = _kept(chosen) - self._named
        if chosen.capture:
            absent = kept.union(self.item_names)
            there = {name: value for name, value in shell.user_ns.items() if name not in absent}
            self._captured = select(
                names,
                there if absent else shell.user_ns,
                only=chosen.inputs,
                also=chosen.inout,
                hidden=shell.user_ns_hidden,
            )
        for name in chosen.inout:
            _check_inout(name, shell.user_ns[name])
        rebinds: frozenset[str] = frozenset()
        deletes: frozenset[str] = frozenset()
        brings_all = chosen.outputs is None and chosen.session is None and not chosen.fans_out
        if brings_all:
            deletes = names.deletes.intersection((*self._captured.values, *self._captured.modules))
        if brings_all and not names.dynamic:
            rebinds = names.writes.intersection(self._captured.values) - names.settled - names.deletes
        self._cell = Cell(
            source=source.python,
            filename=text.filename,
            modules=self._captured.imports(),
            outputs=self._outputs(),
            optional_outputs=brings_all,
            show_last=names.last_expression,
            name=chosen.name,
            header=text.header,
            rebinds=tuple(sorted(rebinds.difference(chosen.inout))),
            deletes=tuple(sorted(deletes)),
            session=chosen.session,
            wanted=tuple(sorted(self._named)),
            shown=not (chosen.background or chosen.fans_out),
            timed=source.timed,
            around=surroundings.around(),
        )
        self.span: str | None = None
        self._sent: frozenset[str] = frozenset()
        self._cannot_travel: set[str] = set()
        self._twins: dict[str, np.ndarray] = {}
        self._pool: Pool | None = None

    def _outputs(self) -> tuple[tuple[str, str], ...]:
        chosen = self.chosen
        if chosen.outputs is None:
            brings_all = chosen.session is None and not chosen.fans_out
            pairs = [(name, name) for name in sorted(self._names.writes) if brings_all]
        else:
            known = self._kept.union(self.item_names)
            check_outputs(self._names, [output.source for output in chosen.outputs], known)
            pairs = [(output.dest, output.source) for output in chosen.outputs]
        if chosen.fans_out:
            return tuple(pairs)  # what all runs change in place lies in memory that all share
        pairs.extend((name, name) for name in chosen.inout if (name, name) not in pairs)
        return tuple(pairs)

    @property
    def has_last(self) -> bool:
        """Whether the cell ends with an expression whose value is wanted."""
        return self._names.last_expression

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names that `-o` brings back, as the notebook calls them."""
        return tuple(dest for dest, _ in self._cell.outputs or ())

    def keep(self, values: Mapping[str, object]) -> None:
        """Put values into the notebook."""
        self._shell.push(dict(values))

    def awaited(self) -> list[inputs.Awaited]:
        """The jobs whose values it is given, and which are not done."""
        if not joblist.live():
            return []
        return inputs.awaited(self._captured.values, self._captured.optional)

    def hold(self) -> list[str]:
        """Keep what it is given as it is now; gives the names that it may not need and that cannot travel."""
        values = dict(self._captured.values)
        named = [values[name] for name in self.chosen.inout]
        left: list[str] = []
        with meeting():
            while True:
                try:
                    held = inputs.snapshot(values, named)
                except CaptureError as error:
                    left.append(_blame(error, values, self._captured))
                    del values[left[-1]]
                else:
                    self._captured = replace(self._captured, values=held)
                    return left

    def submit(
        self, pool: Pool, item: Mapping[str, object] = _ONCE, run: Run = Run()
    ) -> tuple[PoolFuture[CellResult], list[str]]:
        """Send the cell; also gives the names that it may not need and that could not travel.

        Args:
            pool: Where to.
            item: What this run alone is given.
            run: What is particular about it.
        """
        values = {**self._captured.values, **self._twins, **item}
        for name in self._cannot_travel:
            del values[name]
        left: list[str] = []
        chosen = self.chosen
        while True:
            try:
                with telemetry.within(self.span or telemetry.current_span()):
                    future = pool.request(
                        self._cell, (copies.named(values),), timeout=run.timeout or chosen.timeout,
                        command=chosen.name or "cell", alone=not run.many, sharing=self._sharing(values),
                        session=chosen.session, retries=chosen.retries, worker=run.worker,
                    )  # fmt: skip
            except CaptureError as error:
                dropped = _blame(error, values, self._captured)
                del values[dropped]
                left.append(dropped)
                self._cannot_travel.add(dropped)
            except KeyboardInterrupt:
                text = "the cell was stopped while it was sent to its worker"
                raise interrupted(text) from None
            else:
                if chosen.retries and not chosen.quiet and not run.many:
                    tell_attempts(future, chosen.retries)
                self._sent = frozenset((*values, *self._captured.modules))
                self._pool = pool
                return future, left

    def _sharing(self, values: Mapping[str, object]) -> Sharing:
        modes: dict[int, Mode] = {id(values[name]): "in_place" for name in self.chosen.inout}
        given = self.chosen.arrays
        mode: Mode = "readonly" if given == "readonly" else "copy_on_write"
        return Sharing(mode, modes, snapshot=given == "copy")

    def share_in_place(self) -> None:
        """Put what all runs of the cell change in place where all of them reach it.

        Raises:
            UsageError: There is no memory that processes share.
        """
        for name in self.chosen.inout:
            twin = loans.shared_twin(self._shell.user_ns[name])
            if twin is None:
                text = f"--inout {name} needs shared memory in many runs, and {name} cannot lie there; use -o"
                raise UsageError(text)
            self._twins[name] = twin

    def end_sharing(self) -> None:
        """Give what was changed in place back to the notebook's own arrays."""
        for name, twin in self._twins.items():
            np.copyto(self._shell.user_ns[name], twin)
        self._twins.clear()

    def tell_notes(self, left: list[str]) -> None:
        """Say in one line each what the user would not expect."""
        self.tell_left(left)
        if self.chosen.quiet:
            return
        outputs = None if self.chosen.outputs is None else [output.source for output in self.chosen.outputs]
        changed = None
        if self.chosen.arrays != "readonly":  # there a write says so itself
            changed = mutation_note(self._names, self._captured, outputs=outputs, inout=self.chosen.inout)
        if changed:
            note(changed)
        if self.chosen.fans_out and self.chosen.outputs is None and not self.has_last:
            made = ", ".join(sorted(self._names.writes))
            if made:
                note(f"{made} stays in the workers; to gather lists: -o {made.replace(' ', '')}")

    def tell_left(self, left: list[str]) -> None:
        """Say which names did not go along."""
        for name in left if not self.chosen.quiet else ():
            note(f"{name} was not taken along: it cannot travel, and the cell may not need it")

    def explain(self, error: BaseException) -> None:
        """Add to an error what only this side knows: why a name that is missing did not go along."""
        if not isinstance(error, NameError):
            return
        name = getattr(error, "name", None)
        if not isinstance(name, str) or name not in self._shell.user_ns or name not in self._names.reads:
            return
        if not self.chosen.capture:
            error.add_note(f"{name} is in the notebook; --no-capture leaves it there.")
        elif name in self._captured.excluded:
            error.add_note(f"{name} is in the notebook, and -i leaves it out; to take it along: -i {name}")
        elif name not in self._sent:
            error.add_note(f"{name} is in the notebook and could not travel.")

    def take_back(self, result: CellResult) -> object:
        """Put what the cell made into the notebook; its last value."""
        last = self._take(result, None)
        if result.figures:
            show_below(self._shell, result.figures)
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
        if self.chosen.session is not None and self._pool is not None:
            self._pool.session(self.chosen.session).learn(result.kept)
        namespace = self._shell.user_ns
        values = dict(result.values)
        for name in self.chosen.inout:
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
        if self.chosen.outputs is not None and result.left_behind:
            left = result.left_behind[0]
            raise CaptureError(name=left.name, type_name=left.type_name, reason=left.reason)
        for left in result.left_behind:
            if not self.chosen.quiet:
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
        unusable = inputs.refused(error, found.path)
        if unusable is not None:
            raise unusable from unusable.__cause__
        raise CaptureError(
            name=name, path=found.path, type_name=found.type_name, reason=found.reason
        ) from None
    raise error
