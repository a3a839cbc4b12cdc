"""Progress bars that a notebook draws with widgets, drawn with text: a worker has no way to the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.worker import front

if TYPE_CHECKING:
    from types import ModuleType

_LINE: Final = "tqdm.notebook draws with text here: a worker has no widgets. tqdm.auto does so in silence"


def draw_with_text(module: ModuleType) -> None:
    """Makes the bars of `tqdm.notebook`, which was imported just now, those of `tqdm`, and says so."""
    bar, trange = _bars(module.__name__, "tqdm_notebook", "tnrange", _LINE)
    vars(module).update(tqdm_notebook=bar, tqdm=bar, tnrange=trange, trange=trange)


def take_widths_of_a_page(module: ModuleType) -> None:
    """Has those of `tqdm.autonotebook`, and so of `tqdm.auto`, take what those of a notebook take."""
    bar, trange = _bars(module.__name__, "tqdm", "trange", "")
    vars(module).update(tqdm=bar, trange=trange)


def _bars(module: str, name: str, name_of_range: str, line: str) -> tuple[type, object]:
    """A bar of text that takes what one of widgets takes, and a range with one."""
    from tqdm.std import tqdm  # noqa: PLC0415 - it is loaded: the module is made of it

    class Bar(tqdm):  # type: ignore[misc] # tqdm has no types
        def __init__(self, *values: object, **options: object) -> None:
            if line:
                front.tell(line)
            options.pop("display", None)
            if not isinstance(options.get("ncols"), int):  # of widgets, a width of the page such as "80%"
                options.pop("ncols", None)
            super().__init__(*values, **options)

    def trange(*values: int, **options: object) -> object:
        return Bar(range(*values), **options)

    # What a notebook refers to is pickled by these names.
    for each, its_name in ((Bar, name), (trange, name_of_range)):
        each.__module__ = module
        each.__name__ = each.__qualname__ = its_name
    return Bar, trange
