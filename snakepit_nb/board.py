"""A pool's timeline, put together: what the pool tells goes into it, and its controls act on the pool.

*Rule:* a dashboard keeps no pool alive, and a pool that stops leaves its report behind and no model.
*Rule:* one model for a pool, however often it is asked for; small ones below a cell are models of their own.
"""

from __future__ import annotations

import inspect
import json
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import recordings, registry
from snakepit_nb.dashboard import answers
from snakepit_nb.dashboard.feed import Feed
from snakepit_nb.dashboard.protocol import FORMATS
from snakepit_nb.dashboard.replaying import Replay
from snakepit_nb.dashboard.timeline import Timeline
from snakepit_nb.errors.types import PoolClosed, PoolError
from snakepit_nb.pool.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from snakepit_nb.dashboard.history import RawEvent

_lock: Final = threading.RLock()
_shared: Final[weakref.WeakKeyDictionary[Pool, Dashboard]] = weakref.WeakKeyDictionary()


class _OneForAPool(type(Timeline)):  # type: ignore[misc]  # it comes without types
    """Gives the dashboard that a pool has already, instead of making a second one."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """What help shows: what `__init__` takes, whichever of the two is given."""
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]  # of this class, and of no instance
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __call__(cls, pool: Pool | str | None = None, **options: Any) -> Any:  # noqa: ANN401 - an instance of the class that is called
        found = _pool_of(pool)
        inspect.signature(cls).bind(found, **options)
        with _lock:
            shared = None if options.get("mini") else _shared.get(found)
            if shared is not None and not shared.closed:
                for name, value in options.items():
                    if name != "history":  # what it has, it has
                        setattr(shared, name, value)
                return shared
            if found.closed:
                raise PoolClosed(pool=found.name)
            made = super().__call__(found, **options)
            if not options.get("mini"):
                _shared[found] = made
            return made


class _Board(Timeline):
    """A timeline whose events can be had, and written to files."""

    _name: str

    def events(self) -> list[RawEvent]:
        """The events that are kept, oldest first, each as name, measurements and metadata.

        Example:
            In a notebook: `[name for name, _, _ in dashboard.events()]`.
        """
        return self._feed.events()

    def export(self, path: str | Path) -> Path:
        """Write what is shown to a file; the ending of its name says as what.

        `.trace.json` (or `.json`) is a trace that Perfetto opens, `.html` a page with the same timeline that
        needs no kernel and no network, `.svg` a picture, `.csv`, `.parquet` and `.arrow` the table of events.

        Raises:
            ValueError: The name has another ending.

        Example:
            In a notebook: `dashboard.export("run.html")`.
        """
        target = Path(path)
        kind = answers.ending_of(target.name)
        if not kind:
            endings = ", ".join(ending for ending, _ in FORMATS.values())
            text = f"{target.name!r} does not say what to write; give it one of the endings {endings}"
            raise ValueError(text)
        target.write_bytes(self.file(kind)[2])
        return target

    def file(self, kind: str) -> tuple[str, str, bytes]:
        """A file of what is shown: its name, its type, and what is in it.

        Args:
            kind: One of `protocol.FORMATS`.

        Example:
            In a notebook: `dashboard.file("svg")[1]` is `'image/svg+xml'`.
        """
        ending, mime = FORMATS[kind]
        return f"{self._name}{ending}", mime, self._written(kind, ending)

    def _written(self, kind: str, ending: str) -> bytes:
        # Each of these is loaded by who wants one.
        if kind == "trace":
            from snakepit_nb.exporters.trace import as_trace  # noqa: PLC0415

            return json.dumps(as_trace(self.events(), pool=self._name)).encode()
        if kind == "svg":
            from snakepit_nb.dashboard.picture import as_svg  # noqa: PLC0415

            return as_svg(self._feed.frame()).encode()
        if kind == "html":
            from snakepit_nb.dashboard.page import as_page  # noqa: PLC0415

            return as_page(self._feed.frame(), title=f"pool {self._name}").encode()
        from snakepit_nb.exporters import table  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="snakepit_nb-") as folder:
            target = Path(folder) / f"events{ending}"
            table.write(target, self.events())
            return target.read_bytes()


class Dashboard(_Board, metaclass=_OneForAPool):
    """The live timeline of a pool, as a widget; a pool has one, and asking again gives the same.

    As the last line of a cell it is shown below it, as often as you like. When the pool stops, on `close()`,
    and when the kernel ends, each display becomes the report of what was to be seen, which stays with the
    saved notebook. In a terminal it shows the report as text.

    Args:
        pool: A `Pool`, the name of one, or None for the default pool.
        mini: Make a small one, of the lanes alone, as a model of its own.
        history: Whether a small one begins with what was before; without, it begins now.
        height: Pixels of the lanes; 0 for what they need.
        follow: Whether the right edge stays at now.
        window: Seconds that are shown while it follows.

    Raises:
        PoolError: There is no pool of that name.
        PoolClosed: The pool has stopped.
        TypeError: `pool` is none of these.

    Example:
        >>> with Pool(1, name="doc_board") as pool:
        ...     dashboard = Dashboard(pool)
        ...     dashboard is Dashboard("doc_board"), dashboard
        ...     dashboard.close()
        (True, <Dashboard of pool 'doc_board'>)
    """

    def __init__(  # noqa: PLR0913 - all by name but the first
        self,
        pool: Pool | str | None = None,
        *,
        mini: bool = False,
        history: bool = True,
        height: int = 0,
        follow: bool = True,
        window: float = 30.0,
    ) -> None:
        found = _pool_of(pool)
        self._pool = weakref.ref(found)
        self._name = found.name
        since_ns = found.made_ns if history else time.monotonic_ns()
        super().__init__(
            found.name,
            lambda send: Feed(found.name, send, since_ns=since_ns),
            is_over=self._is_pool_over,
            act=self._act_on_pool,
            error_of=self._error_in_pool,
            export=self.file,
            mini=mini,
            height=height,
            follow=follow,
            window=window,
        )

    def __repr__(self) -> str:
        """Which pool it shows, and whether that goes on."""
        over = ", closed" if self.closed else ", ended" if self.ended else ""
        return f"<Dashboard of pool {self._name!r}{over}>"

    def close(self) -> None:
        """Leave the report in its place and let go of everything; the pool goes on. Idempotent.

        Example:
            In a notebook: `dashboard.close()`.
        """
        pool = self._pool() if "_pool" in self.__dict__ else None
        if pool is not None and not self.mini:
            with _lock:
                if _shared.get(pool) is self:
                    del _shared[pool]
        super().close()

    @classmethod
    def from_recording(
        cls,
        path: str | PathLike[str],
        pool: str | None = None,
        *,
        mini: bool = False,
        height: int = 0,
    ) -> Replayed:
        """The timeline of a recording: all that was recorded of a pool, with no pool behind it.

        It is the same widget, without anything that could be done to the pool: look closer, filter, read
        every event, write files. It has no end but `close()`, which leaves the report.

        Args:
            path: What `exporters.recording.Recording` wrote, or `export` as `.arrow` or `.parquet`.
            pool: Which pool, where it is of several.
            mini: Make a small one, of the lanes alone.
            height: Pixels of the lanes; 0 for what they need.

        Raises:
            FileNotFoundError: There is no such file.
            recordings.NotARecording: It is none.
            ValueError: It is of several pools and `pool` does not say which, or of none.

        Warns:
            recordings.RecordingTruncated: It was cut short; what is whole is shown.

        Example:
            In a notebook: `snakepit_nb.Dashboard.from_recording("run.arrows")`.
        """
        found = recordings.events(path)
        name = _recorded_pool(found, pool, Path(path).name)
        return Replayed(name, found, mini=mini, height=height)

    # What the timeline asks about the pool, and has done to it

    def _is_pool_over(self) -> bool:
        pool = self._pool()
        return pool is None or pool.finished

    def _alive(self) -> Pool:
        pool = self._pool()
        if pool is None or pool.closed:
            raise PoolClosed(pool=self._name)
        return pool

    def _act_on_pool(self, action: str, given: dict[str, Any]) -> str:
        pool = self._alive()
        if action == "scale":
            workers = given["workers"]
            pool.scale(workers)
            return f"pool {pool.name}: {workers} worker{'' if workers == 1 else 's'} from now on"
        if action == "recycle":
            pool.recycle(given["worker"])
            return f"{given['worker'] or 'every worker'} is being replaced"
        if action == "cancel":
            number = given["request"]
            if not pool.cancel(number):
                text = f"request {number} is over already"
                raise PoolError(text, pool=pool.name)
            return f"request {number} is cancelled"
        pool.kill()
        if pool.finished:
            # One that never started ends without an event.
            self.end()
        return f"pool {pool.name} is stopped"

    def _error_in_pool(self, number: int) -> tuple[str, str] | None:
        pool = self._pool()
        failure = pool.failure(number) if pool is not None else None
        return None if failure is None else (failure.html(), failure.text())


class Replayed(_Board):
    """The timeline of a recording; `Dashboard.from_recording` makes one.

    Args:
        name: The pool's name.
        events: What was recorded.
        mini: Whether only the lanes are shown.
        height: Pixels of the lanes; 0 for what they need.
    """

    def __init__(self, name: str, events: Sequence[RawEvent], *, mini: bool = False, height: int = 0) -> None:
        self._name = name
        super().__init__(
            name,
            lambda send: Replay(name, send, events),
            is_over=lambda: False,
            act=_cannot,
            error_of=lambda _: None,
            export=self.file,
            mini=mini,
            height=height,
            follow=False,
            recorded=True,
            ended="this is a recording",
        )

    def __repr__(self) -> str:
        """Which pool it shows."""
        return f"<Dashboard of a recording of pool {self._name!r}{', closed' if self.closed else ''}>"


def _cannot(action: str, given: dict[str, Any]) -> str:
    del given
    text = f"this is a recording: there is nothing to {action}"
    raise PoolError(text)


def _recorded_pool(found: Sequence[RawEvent], wanted: object, file: str) -> str:
    pools = dict.fromkeys(name for _, _, told in found if isinstance(name := told.get("pool"), str))
    there = ", ".join(map(repr, pools))
    if wanted is not None and not isinstance(wanted, str):
        text = f"pool: expected the name of a pool that was recorded, got {wanted!r}"
        raise TypeError(text)
    if not pools:
        text = f"{file} has no event of a pool; it has {len(found):,} events in all"
    elif wanted is not None and wanted not in pools:
        text = f"{file} has no pool {wanted!r}; it has {there}"
    elif wanted is None and len(pools) > 1:
        text = f"{file} is of several pools, {there}; say which: pool={next(iter(pools))!r}"
    else:
        return wanted or next(iter(pools))
    raise ValueError(text)


def _pool_of(pool: object) -> Pool:
    if isinstance(pool, Pool):
        return pool
    if pool is None or isinstance(pool, str):
        return registry.get_pool(pool)
    text = f"a dashboard is of a Pool, of the name of one, or of None for the default pool, got {pool!r}"
    raise TypeError(text)
