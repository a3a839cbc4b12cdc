"""What is around a cell in its worker, made like what the notebook has around it when the cell is launched.

*Rule:* it never fails a cell; what cannot be had here is said in a line below the cell.

*Rule:* nothing is imported for it: what concerns a library that is not loaded waits for its import.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Final

from snakepit_nb.wire import surroundings as wire
from snakepit_nb.wire.settings import LIBRARIES, same
from snakepit_nb.worker import front, shell
from snakepit_nb.worker.imports import after_import

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from snakepit_nb.wire.settings import Library
    from snakepit_nb.worker.loggers import Loggers

_INLINE: Final = "module://matplotlib_inline.backend_inline"


def enter(packed: bytes) -> None:
    """Makes this process like the surroundings of a cell that begins; never fails.

    Example:
        >>> enter(b"")
    """
    if packed:
        with _lock:
            _here.follow(packed)


class _Here:
    """This process's surroundings."""

    def __init__(self) -> None:
        self._packed = b""
        self._wanted = wire.Surroundings()
        self._path: tuple[str, ...] = ()
        self._filters: list[object] = []
        self._filtered: tuple[object, object] = ((), ())
        self._first_filters: list[object] | None = None
        self._awaited: set[str] = set()
        self._imported: set[str] = set()
        self._switching = False
        self._loggers: Loggers | None = None
        self._first: dict[str, Mapping[str, object]] = {}
        self._settled: dict[str, tuple[bytes, Mapping[str, object]]] = {}

    def follow(self, packed: bytes) -> None:
        """Sets all that is not so yet: because the notebook changed it, or a cell before this one."""
        if packed != self._packed:
            if not self._packed:
                for library in LIBRARIES:
                    self._await(library.module, self._libraries_changed)
            self._wanted = wire.unpack(packed)
            self._packed = packed
        for step in (
            self._follow_folder,
            self._follow_environ,
            self._follow_path,
            self._follow_filters,
            self._follow_logging,
            self._follow_libraries,
        ):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the rule of this room
                what = step.__name__.removeprefix("_follow_")
                # Nothing of the environment is told, not even by Python.
                why = "" if what == "environ" else f": {error}"
                front.tell(f"the worker's {what} is not the notebook's ({type(error).__name__}{why})")

    def _follow_folder(self) -> None:
        wanted = self._wanted.cwd
        if wanted is not None and wanted != _folder():
            os.chdir(wanted)

    def _follow_environ(self) -> None:
        for name, value in self._wanted.environ:
            if value is None:
                os.environ.pop(name, None)
            elif os.environ.get(name) != value:
                os.environ[name] = value

    def _follow_path(self) -> None:
        path, before = self._wanted.path, self._path
        if path == before:
            return
        known = {*path, *before}
        first = next((at for at, each in enumerate(sys.path) if each in known), 0)
        own = [(at, each) for at, each in enumerate(sys.path) if each not in known]
        front = [each for at, each in own if at < first]
        back = [each for at, each in own if at > first]
        sys.path[:] = [*front, *path, *back]
        self._path = path

    def _follow_filters(self) -> None:
        if self._filtered == (self._wanted.filters, list(warnings.filters)):
            return
        if self._first_filters is None:
            self._first_filters = list(warnings.filters)
        live: list[object] = []
        for plain in self._wanted.filters:
            found = wire.live_filter(plain)
            if found is not None:
                live.append(found)
            elif plain[2][0] not in sys.modules:
                self._await(plain[2][0], self._filters_changed)
        rest = [
            each
            for each in warnings.filters
            if each not in live
            and each not in self._filters
            # What silences all is a cell's doing, and over with it; a library knows what it silences.
            and (each in self._first_filters or each[1] is not None or each[3] is not None)
        ]
        self._filters = live
        if [*live, *rest] != list(warnings.filters):
            # This way Python forgets what it decided by the filters that were.
            warnings.resetwarnings()
            warnings.filters[:] = [*live, *rest]  # type: ignore[index] # a list, typed as a sequence
        self._filtered = (self._wanted.filters, [*live, *rest])

    def _filters_changed(self, _module: ModuleType) -> None:
        self._filtered = ((), ())
        self._guarded(self._follow_filters)

    def _follow_logging(self) -> None:
        wanted = self._wanted.logging
        if self._loggers is None:
            if "logging" not in sys.modules and wanted == wire.Logging():
                return
            from snakepit_nb.worker.loggers import Loggers  # noqa: PLC0415 - only for those who log

            self._loggers = Loggers()
        self._loggers.follow(wanted)

    def _follow_libraries(self) -> None:
        matplotlib = sys.modules.get("matplotlib")
        if matplotlib is not None and not self._switching and self._is_there("matplotlib", matplotlib):
            # It may import what is waited for, and would find itself in the middle.
            self._switching = True
            try:
                _follow_backend(matplotlib, self._wanted.backend)
            finally:
                self._switching = False
        asked = dict(self._wanted.libraries)
        for library in LIBRARIES:
            module = sys.modules.get(library.module)
            if module is None or not self._is_there(library.module, module):
                continue
            try:
                self._follow_library(library, module, asked.get(library.module, b""))
            except Exception as error:  # noqa: BLE001 - as in follow
                front.tell(
                    f"{library.module}'s settings stay in the notebook ({type(error).__name__}: {error})"
                )

    def _follow_library(self, library: Library, module: ModuleType, packed: bytes) -> None:
        now = library.read(module)
        settled = self._settled.get(library.module)
        if settled is not None and settled[0] == packed and same(settled[1], now):
            return
        first = self._first.setdefault(library.module, now)
        asked: Mapping[str, object] = pickle.loads(packed) if packed else {}  # noqa: S301 - the kernel's own
        changes = library.differences({**first, **asked}, now)
        if changes:
            _write(library, module, changes)
            now = library.read(module)
        self._settled[library.module] = (packed, now)

    def _is_there(self, name: str, module: ModuleType) -> bool:
        """Whether a module is whole; Python says so only after what is done at its import."""
        return name in self._imported or not getattr(module.__spec__, "_initializing", False)

    def _libraries_changed(self, module: ModuleType) -> None:
        self._imported.add(module.__name__)
        self._guarded(self._follow_libraries)

    def _await(self, module: str, action: Callable[[ModuleType], None]) -> None:
        if module not in sys.modules and module not in self._awaited:
            self._awaited.add(module)
            after_import(module, action)

    def _guarded(self, step: Callable[[], None]) -> None:
        """In the middle of an import, which must not fail of it."""
        try:
            with _lock:
                step()
        except Exception as error:  # noqa: BLE001 - as in follow
            front.tell(f"settings stay in the notebook ({type(error).__name__}: {error})")


# Re-entrant: what is set may import what is waited for.
_lock: Final = threading.RLock()
_here: Final = _Here()


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is what is compared
    except OSError:
        return None


def _write(library: Library, module: ModuleType, changes: Mapping[str, object]) -> None:
    try:
        library.write(module, changes)
    except Exception:  # noqa: BLE001 - one of them is not to be had here; the others are
        for name, value in changes.items():
            try:
                library.write(module, {name: value})
            except Exception as error:  # noqa: BLE001 - as above
                front.tell(
                    f"{library.module}'s {name} stays in the notebook ({type(error).__name__}: {error})"
                )


def _follow_backend(matplotlib: ModuleType, wanted: str | None) -> None:
    """Has figures drawn by what draws them in the notebook, "inline" or something without windows."""
    if wanted is None:
        return
    now = dict.get(matplotlib.rcParams, "backend")
    if now in {wanted, _INLINE if wanted == "inline" else wanted}:
        return
    pyplot = sys.modules.get("matplotlib.pyplot")
    name = _INLINE if wanted == "inline" else wanted
    if pyplot is None:
        matplotlib.rcParams["backend"] = name
    elif not shell.draw_with(wanted):
        pyplot.switch_backend(name)
