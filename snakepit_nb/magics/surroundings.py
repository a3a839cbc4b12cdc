"""What a cell takes along besides names: where the notebook is, and how it has set up what is around it.

*Rule:* it never fails a cell; what cannot be taken along is one note, once.

*Rule:* only what changed since the last cell is packed again; nothing is imported to look at it.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import TYPE_CHECKING, Final

import cloudpickle

from snakepit_nb.magics import loggers
from snakepit_nb.magics.display import note
from snakepit_nb.wire import surroundings as wire
from snakepit_nb.wire.settings import LIBRARIES, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.wire.settings import Library, Values

# A worker has its own of these; which cards it sees is settled when it starts, by CUDA itself, too.
_OWN: Final = frozenset(
    ("SNAKEPIT_NB_DEPTH", "LD_PRELOAD", "ARROW_DEFAULT_MEMORY_POOL", "CUDA_VISIBLE_DEVICES")
)
_INLINE: Final = "module://matplotlib_inline.backend_inline"
_WITHOUT_WINDOWS: Final = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


class Observer:
    """Looks at this process when a cell is launched.

    Args:
        tell: Takes a note for the cell that is being launched.

    Example:
        >>> Observer(lambda text: None).look()
        <surroundings of a cell>
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[str] = set()
        self._environ = dict(os.environ)
        self._raw = dict(_raw_environ())
        self._changed: dict[str, str | None] = {}
        self._settings: dict[str, tuple[Values, bytes]] = {}
        self._filters: tuple[list[object], tuple[wire.Filter, ...]] = ([], ())
        self._last: wire.Surroundings | None = None
        self._packed = wire.NOTHING

    def look(self) -> wire.Around:
        """The surroundings as they are now, packed."""
        try:
            return self._look()
        except Exception as error:  # noqa: BLE001 - settings are any library's objects
            self._note(f"the cell runs with what its worker has around it ({type(error).__name__}: {error})")
            return wire.NOTHING

    def _look(self) -> wire.Around:
        logging, strange = loggers.observed()
        for text in strange:
            self._note(text)
        seen = wire.Surroundings(
            cwd=_where(),
            path=tuple(each for each in sys.path if isinstance(each, str)),
            environ=self._variables(),
            filters=self._warning_filters(),
            logging=logging,
            backend=self._backend(),
            libraries=tuple(self._libraries()),
        )
        if seen != self._last:
            self._last, self._packed = seen, wire.pack(seen)
        return self._packed

    def _note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def _variables(self) -> tuple[tuple[str, str | None], ...]:
        # Once changed, a variable is always said: a worker may have started before or after the change.
        if _raw_environ() != self._raw:
            self._raw = dict(_raw_environ())
            now = dict(os.environ)
            for name in now.keys() | self._environ.keys():
                if name not in _OWN and now.get(name) != self._environ.get(name):
                    self._changed[name] = now.get(name)
            self._environ = now
        return tuple(self._changed.items())

    def _warning_filters(self) -> tuple[wire.Filter, ...]:
        now = list(warnings.filters)
        if now != self._filters[0]:
            plain = tuple(found for each in now if (found := self._plain_filter(each)) is not None)
            self._filters = (list(now), plain)
        return self._filters[1]

    def _plain_filter(self, entry: tuple[object, ...]) -> wire.Filter | None:
        found = wire.plain_filter(entry)
        if found is not None and found[2][0] == "__main__":
            self._note(
                f"the filter for {found[2][1]} stays in the notebook: in a worker its warnings are shown; "
                "to silence them there, set the filter in the cell"
            )
            return None
        return found

    def _backend(self) -> str | None:
        if "matplotlib.pyplot" not in sys.modules:
            return None
        chosen = dict.get(sys.modules["matplotlib"].rcParams, "backend")
        if not isinstance(chosen, str):
            return None
        if chosen in {"inline", _INLINE}:
            return "inline"
        if chosen.lower() in _WITHOUT_WINDOWS:
            return chosen.lower()
        name = chosen.rpartition(".")[2].removeprefix("backend_")
        self._note(f"figures of workers come as pictures: {name} of matplotlib needs the notebook's process")
        return "inline"

    def _libraries(self) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for library in LIBRARIES:
            try:
                packed = self._of(library)
            except Exception as error:  # noqa: BLE001 - another release may keep its settings elsewhere
                self._note(
                    f"{library.module}'s settings stay in the notebook ({type(error).__name__}: {error})"
                )
                continue
            if packed:
                found.append((library.module, packed))
        return found

    def _of(self, library: Library) -> bytes:
        module = sys.modules.get(library.module)
        values = library.ahead() if module is None else library.read(module)
        before = self._settings.get(library.module)
        if before is not None and same(before[0], values):
            return before[1]
        changed = library.differences(values, {} if module is None else library.defaults(module))
        packed = self._pack(library, changed) if changed else b""
        self._settings[library.module] = (values, packed)
        return packed

    def _pack(self, library: Library, values: dict[str, object]) -> bytes:
        try:
            return _pickled(values)
        except Exception:  # noqa: BLE001 - one of them cannot travel; the others can
            kept: dict[str, object] = {}
            for name, value in values.items():
                try:
                    _pickled(value)
                except Exception:  # noqa: BLE001 - as above
                    self._note(f"{library.module}'s {name} stays in the notebook: it cannot travel")
                else:
                    kept[name] = value
            return _pickled(kept)


def _pickled(value: object) -> bytes:
    file = io.BytesIO()
    cloudpickle.Pickler(file, 5).dump(value)
    return file.getvalue()


def _raw_environ() -> Mapping[bytes, bytes]:
    """What is behind `os.environ`: to decode it anew for each cell takes longer than all the rest."""
    found: Mapping[bytes, bytes] = getattr(os.environ, "_data", os.environb)
    return found


def _where() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is what travels
    except OSError:
        return None


_observer: Observer | None = None


def observe() -> None:
    """From now on, variables of the environment that change are taken along.

    Example:
        >>> observe()
    """
    global _observer  # noqa: PLW0603 - a process has one environment
    if _observer is None:
        _observer = Observer(note)


def around() -> wire.Around:
    """What a cell that is launched now takes along.

    Example:
        >>> around()  # doctest: +SKIP
        <surroundings of a cell>
    """
    observe()
    return wire.NOTHING if _observer is None else _observer.look()
