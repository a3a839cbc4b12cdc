"""`--map` and `--all`: what each run of the cell is given, and what becomes of what all of them made."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from snakepit_nb.errors.several import ItemsFailed
from snakepit_nb.errors.types import CaptureError
from snakepit_nb.magics import copies, inputs, items, joblist
from snakepit_nb.magics.display import Shown, interrupted, note
from snakepit_nb.magics.fanning import Fan, FanFuture
from snakepit_nb.magics.prepared import Run
from snakepit_nb.magics.progress import Bar
from snakepit_nb.magics.timelinebar import TimelineBar
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snakepit_nb.magics.fanning import Outcome, Runs
    from snakepit_nb.magics.prepared import Prepared
    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool
    from snakepit_nb.worker.namespace import CellResult


class Many:
    """The runs of one cell.

    Args:
        prepared: The cell.
        pool: Where it runs.
        values: The items of `--map`; None for a run in every worker.
    """

    def __init__(self, prepared: Prepared, pool: Pool, values: Iterable[object] | None) -> None:
        self._prepared, self._pool = prepared, pool
        self._chosen = chosen = prepared.chosen
        self._origin = output.origin()
        self._workers: tuple[str, ...] = ()
        self._left_told = False
        if chosen.each is not None and values is not None:
            what, total = "items", items.how_many(values)
            given = chosen.each.bound(values)
            _check_items(values)
        else:
            self._workers = _workers_of(pool)
            what, total = "workers", len(self._workers)
            given = iter([dict[str, object]() for _ in self._workers])
        self._aims = iter(self._workers)
        self._tally = copies.Tally(quiet=chosen.quiet)
        quiet = False if chosen.quiet else None
        wanted = quiet if chosen.progress is None else chosen.progress
        label = chosen.name or "snakepit:"
        # Where nothing can be redrawn there are no widgets either, and the bar says how far it is.
        if wanted == "timeline" and output.sink().redraws:
            bar: Bar = TimelineBar(pool, what, total, label, self._origin)
        else:
            bar = Bar(what, total, label, self._origin, wanted=None if wanted is None else bool(wanted))
        prepared.share_in_place()
        self._fan = Fan(pool, self._launch, given, own=prepared.item_names, bar=bar, timeout=chosen.timeout)

    def run(self) -> object:
        """Go through all; the list of last values, or None where no run has one.

        Raises:
            ItemsFailed: Some runs failed; what the others gave is in the error.
            KeyboardInterrupt: The user pressed stop; what is done is in the error, too.
            Exception: What the items raised, or what ended the pool.
        """
        return self._take_back(self._fan.run())

    def begin(self) -> FanFuture:
        """Go through all in the background."""
        return FanFuture(self._fan, f"snakepit_nb-map-{self._pool.name}").begin()

    def take_back_later(self, runs: Runs, origin: object) -> object:
        """Put what came of it in the notebook, in whatever thread; see `run`."""
        del origin
        return self._take_back(runs)

    def _launch(self, item: Mapping[str, object], seconds: float | None) -> PoolFuture[CellResult]:
        if joblist.live():
            jobs = inputs.awaited(item, ())
            inputs.wait(jobs)
            inputs.check(jobs)
        run = Run(many=True, timeout=seconds, worker=next(self._aims, None))
        # In the background this is another thread, and what is said belongs to the cell all the same.
        with output.asked_by(self._origin):
            future, left = self._prepared.submit(self._pool, item, run)
            self._tally.add(future)
            if not self._left_told:
                self._left_told = True
                self._prepared.tell_notes(left)
        return future

    def _take_back(self, runs: Runs) -> object:
        self._prepared.end_sharing()
        self._tally.tell(self._origin)
        gathered = self._gathered(runs)
        if runs.stopped:
            raise _stopped(gathered)
        if runs.ended is not None:
            done = len(runs.outcomes) - len(gathered.failed)
            runs.ended.__dict__["results"] = gathered.results
            if done:
                where = "import sys; sys.last_value.results"
                runs.ended.add_note(f"{done:,} runs were done by then; what they gave: {where}")
            raise runs.ended
        for error in gathered.failed.values():
            self._prepared.explain(error)
        if gathered.failed:
            raise ItemsFailed(gathered.results, gathered.outputs, gathered.failed, self._workers)
        self._prepared.keep(cast("dict[str, object]", gathered.outputs))
        # As a cell that ends with a call of print has no value, so have many such.
        has_value = self._prepared.has_last and (
            not gathered.results or any(each is not None for each in gathered.results)
        )
        return gathered.results if has_value else None

    def _gathered(self, runs: Runs) -> _Gathered:
        gathered = _Gathered(self._prepared.output_names)
        for outcome in runs.outcomes:
            gathered.add(outcome)
        return gathered


class _Gathered:
    """What the runs gave, each thing as a list in order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.results: list[object] = []
        self.outputs: dict[str, list[object]] = {name: [] for name in names}
        self.failed: dict[int, Exception] = {}

    def add(self, outcome: Outcome) -> None:
        """Take in one run; a failure stands in the place of all that it would have given."""
        if not isinstance(outcome, Exception) and outcome.left_behind:
            left = outcome.left_behind[0]
            outcome = CaptureError(name=left.name, type_name=left.type_name, reason=left.reason)
        if isinstance(outcome, Exception):
            self.failed[len(self.results)] = outcome
            self.results.append(outcome)
            for values in self.outputs.values():
                values.append(outcome)
            return
        bundle = outcome.last_bundle
        self.results.append(Shown(bundle) if outcome.last is None and bundle is not None else outcome.last)
        for name, values in self.outputs.items():
            values.append(outcome.values[name])


def _stopped(gathered: _Gathered) -> KeyboardInterrupt:
    done = len(gathered.results) - len(gathered.failed)
    text = "the runs of the cell were stopped"
    if done:
        text += f"; what {done:,} of them gave: import sys; sys.last_value.results"
    error = interrupted(text)
    error.__dict__["results"] = gathered.results
    return error


def _workers_of(pool: Pool) -> tuple[str, ...]:
    """The workers that there are once all have started."""
    pool.start()
    return tuple(each.worker_id for each in pool.workers() if each.state in {"idle", "busy"})


def _check_items(values: Iterable[object]) -> None:
    """Say what a table gives one after the other, which is rarely what is meant."""
    kind = type(values)
    if kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas":
        note("going through a DataFrame gives its column names; groups: df.groupby(…), rows: df.itertuples()")
