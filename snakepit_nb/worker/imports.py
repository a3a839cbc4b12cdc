"""What is to be done right after a module's first import, by whomever it is imported.

*Rule:* nothing is imported for it; other imports cost one look into a dict.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def after_import(name: str, action: Callable[[ModuleType], None]) -> None:
    """Calls `action` with the module: now where it is loaded, else once it is, after those asked for before.

    Example:
        >>> after_import("sys", lambda module: print(module.__name__))
        sys
    """
    if name in sys.modules:
        action(sys.modules[name])
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.actions.setdefault(name, []).append(action)


class _AfterImport:
    """The first on `sys.meta_path`."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Callable[[ModuleType], None]]] = {}

    def find_spec(
        self,
        name: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
        /,
    ) -> ModuleSpec | None:
        actions = self.actions.pop(name, None)
        if actions is None:
            return None
        # They are out of the table, so this search passes by here; an import that fails puts them back.
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            self.actions[name] = actions
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            try:
                execute(module)
            except BaseException:
                self.actions[name] = actions
                raise
            for action in actions:
                action(module)

        # On this loader alone: wrapping it would hide what inspect and importlib.resources ask it for.
        vars(spec.loader)["exec_module"] = exec_module
        return spec


_finder: Final = _AfterImport()
