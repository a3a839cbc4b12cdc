"""How libraries show things, as a notebook sets it: read in the kernel, set in a worker.

*Rule:* no library is imported for it; a function here is handed a module that is loaded.

*Rule:* what is read are plain dictionaries, the same keys in kernel and worker, so that a difference is a
comparison and undoing is setting what was there before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

Values = Mapping[str, object]

_PRINTING: Final = (
    "precision", "threshold", "edgeitems", "linewidth", "suppress", "nanstr", "infstr", "sign", "floatmode",
    "formatter", "legacy",
)  # fmt: skip
# What a process is, not how it draws.
_PROCESS: Final = ("backend", "backend_fallback", "interactive", "toolbar")
_FORMATS: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
}
_INLINE: Final = ("figure_formats", "print_figure_kwargs", "close_figures")
_REGISTRIES: Final = ("renderers", "data_transformers")


class Library(NamedTuple):
    """What one library can be told.

    Attributes:
        module: The module that holds the settings; they are read and set once it is loaded.
        read: All settings as they are.
        defaults: Those that the library had when it was loaded; {} where that is not known.
        write: Sets some of them.
        ahead: Those that the notebook chose before the library is loaded.
        counts: Whether a setting is one that a worker follows.
    """

    module: str
    read: Callable[[ModuleType], Values]
    defaults: Callable[[ModuleType], Values]
    write: Callable[[ModuleType, Values], None]
    ahead: Callable[[], Values] = dict
    counts: Callable[[str], bool] = bool

    def differences(self, values: Values, others: Values) -> dict[str, object]:
        """The values that are not the same among the others.

        Example:
            >>> LIBRARIES[0].differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
            {'b': 2}
        """
        return {
            name: value
            for name, value in values.items()
            if (name not in others or not same(value, others[name])) and self.counts(name)
        }


def same(one: object, other: object) -> bool:
    """Whether two settings are equal; those that cannot be compared are not.

    Example:
        >>> same("ggplot", "ggplot"), same(1, 2)
        (True, False)
    """
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - a setting may be any object, with a comparison of its own
        return False


def _none(_module: ModuleType) -> Values:
    return {}


def _read_numpy(module: ModuleType) -> Values:
    printing: Values = module.get_printoptions()
    return {name: printing[name] for name in _PRINTING if name in printing}


def _write_numpy(module: ModuleType, values: Values) -> None:
    module.set_printoptions(**values)


def _read_pandas(module: ModuleType) -> Values:
    outdated = getattr(_pandas_books(module), "_deprecated_options", {})
    found: dict[str, object] = {}
    _flatten(module.options.d, "", found)
    return {name: value for name, value in found.items() if name not in outdated}


def _flatten(nested: Mapping[str, object], above: str, found: dict[str, object]) -> None:
    for name, value in nested.items():
        if isinstance(value, dict):
            _flatten(value, f"{above}{name}.", found)
        else:
            found[above + name] = value


def _defaults_of_pandas(module: ModuleType) -> Values:
    known = getattr(_pandas_books(module), "_registered_options", {})
    return {name: option.defval for name, option in known.items()}


def _pandas_books(module: ModuleType) -> object:
    return getattr(getattr(module, "_config", None), "config", None)


def _write_pandas(module: ModuleType, values: Values) -> None:
    for name, value in values.items():
        module.set_option(name, value)


def _read_matplotlib(module: ModuleType) -> Values:
    # By way of dict: its own methods would choose a backend, and check each value.
    return dict(dict.items(module.rcParams))


def _defaults_of_matplotlib(module: ModuleType) -> Values:
    return dict(dict.items(module.rcParamsOrig))


def _is_about_drawing(name: str) -> bool:
    return name not in _PROCESS and not name.startswith(("webagg.", "tk."))


def _write_matplotlib(module: ModuleType, values: Values) -> None:
    module.rcParams.update(values)


def _read_inline(module: ModuleType) -> Values:
    if not module.InlineBackend.initialized():
        return {}
    backend = module.InlineBackend.instance()
    values: dict[str, object] = {
        "figure_formats": frozenset(backend.figure_formats),
        "print_figure_kwargs": dict(backend.print_figure_kwargs),
        "close_figures": backend.close_figures,
    }
    # set_matplotlib_formats() goes past the backend's own settings, to those who draw.
    values.update(_drawn_as(backend.shell))
    return values


def _drawn_as(shell: object) -> Values:
    figure = sys.modules.get("matplotlib.figure")
    formatter = getattr(shell, "display_formatter", None)
    if figure is None or formatter is None:
        return {}
    formats: set[str] = set()
    drawing: dict[str, object] = {}
    for mime, name in _FORMATS.items():
        printer = formatter.formatters[mime].type_printers.get(figure.Figure)
        if printer is None:
            continue
        if not isinstance(printer, partial):
            return {}
        formats.add("retina" if printer.func.__name__ == "retina_figure" else name)
        drawing = {key: value for key, value in printer.keywords.items() if key not in {"fmt", "base64"}}
    if not formats:
        return {}
    return {"figure_formats": frozenset(formats), "print_figure_kwargs": drawing}


def _configured_inline() -> Values:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    config = getattr(shell, "config", {}).get("InlineBackend", {})
    return {name: config[name] for name in _INLINE if name in config}


def _write_inline(module: ModuleType, values: Values) -> None:
    backend = module.InlineBackend.instance()
    for name, value in values.items():
        setattr(backend, name, set(value) if isinstance(value, frozenset | list) else value)


def _read_ipython(module: ModuleType) -> Values:
    formatter = getattr(module.get_ipython(), "display_formatter", None)
    if formatter is None:
        return {}
    text = formatter.formatters["text/plain"]
    return {
        name: getattr(text, name) for name in ("float_precision", "pprint", "max_seq_length", "max_width")
    }


def _write_ipython(module: ModuleType, values: Values) -> None:
    formatter = getattr(module.get_ipython(), "display_formatter", None)
    if formatter is not None:
        for name, value in values.items():
            setattr(formatter.formatters["text/plain"], name, value)


def _read_renderer(module: ModuleType) -> Values:
    return {"default": module.renderers.default}


def _write_renderer(module: ModuleType, values: Values) -> None:
    module.renderers.default = values["default"]


def _read_template(module: ModuleType) -> Values:
    return {"default": module.templates.default}


def _write_template(module: ModuleType, values: Values) -> None:
    module.templates.default = values["default"]


def _read_altair(module: ModuleType) -> Values:
    found: dict[str, object] = {}
    for name in _REGISTRIES:
        registry = getattr(module, name, None)
        if registry is not None:
            found[name] = (registry.active, dict(registry.options))
    return found


def _write_altair(module: ModuleType, values: Values) -> None:
    for name in _REGISTRIES:
        chosen = values.get(name)
        if isinstance(chosen, tuple):
            active, options = chosen
            getattr(module, name).enable(active, **options)


LIBRARIES: Final = (
    # Before NumPy: how floats are shown in IPython sets how NumPy prints.
    Library("IPython", _read_ipython, _none, _write_ipython),
    Library("numpy", _read_numpy, _none, _write_numpy),
    Library("pandas", _read_pandas, _defaults_of_pandas, _write_pandas),
    Library(
        "matplotlib", _read_matplotlib, _defaults_of_matplotlib, _write_matplotlib, counts=_is_about_drawing
    ),
    Library("matplotlib_inline.backend_inline", _read_inline, _none, _write_inline, _configured_inline),
    Library("plotly.io._renderers", _read_renderer, _none, _write_renderer),
    Library("plotly.io", _read_template, _none, _write_template),
    Library("altair", _read_altair, _none, _write_altair),
)
