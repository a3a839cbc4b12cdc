"""Inks of the picture that stays: themes and style sheet, hatches, and numbers in few letters."""

from __future__ import annotations

from typing import Final, NamedTuple

from snakepit_nb.dashboard.protocol import Outcome
from snakepit_nb.dashboard.signs import BLUE, GREEN, INK, OUTCOMES, SKY, VERMILLION, YELLOW, Mark


class _Theme(NamedTuple):
    """The colours of a ground; `much` is how much of the yellow of saturation lies on it."""

    ground: str
    edge: str
    ink: str
    faint: str
    line: str
    stripe: str
    wait: str
    ok: str
    cell: str
    blue: str
    much: str


_LIGHT: Final = _Theme(
    *("#fbfcfd", "#d9dee5", "#1d2530", "#5c6773", "#e3e8ee", "#f4f6f9", "#9aa5b1"),
    *(GREEN, "#b9cfe4", BLUE, ".35"),
)
_DARK: Final = _Theme(
    *("#171b21", "#343c47", "#e8ecf1", "#a3aebb", "#2b323c", "#1b2027", "#7a8794"),
    *("#0aa87d", "#2c4763", SKY, ".2"),
)


def patterns() -> str:
    """Hatches: a second sign of what failed, and of a slot that takes no work.

    Example:
        >>> patterns().count("<pattern")
        4
    """
    made = []
    for css, colour, way in (
        ("e", OUTCOMES[Outcome.ERROR][1], "M0 5L5 0"),
        ("t", OUTCOMES[Outcome.TIMEOUT][1], "M2.5 0V5"),
        ("k", OUTCOMES[Outcome.CRASHED][1], "M0 5L5 0M0 0L5 5"),
    ):
        made.append(
            f'<pattern id="{css}" width="5" height="5" patternUnits="userSpaceOnUse">'
            f'<path fill="{colour}" d="M0 0h5v5h-5z"/><path stroke="#0007" d="{way}"/></pattern>'
        )
    made.append(
        '<pattern id="x" width="7" height="7" patternUnits="userSpaceOnUse">'
        f'<path fill="{VERMILLION}" fill-opacity=".2" d="M0 0h7v7h-7z"/>'
        f'<path stroke="{VERMILLION}" stroke-width="1.4" d="M-1 8L8 -1"/></pattern>'
    )
    return f"<defs>{''.join(made)}</defs>"


def style_of(*, dark: bool | None) -> str:
    """The style sheet; where it is not said which, the reader's system chooses.

    Example:
        >>> "prefers-color-scheme" in style_of(dark=None), "prefers-color-scheme" in style_of(dark=True)
        (True, False)
    """
    fixed = (
        ".h{font-size:16px;font-weight:600}.r{text-anchor:end}.m1{text-anchor:middle}.q{font-size:9.5px}"
        ".n,.nl{font-size:9.5px}.n{fill:#10141a}.k1{font-size:9px;font-weight:600;stroke-width:2.5px;"
        "paint-order:stroke;stroke-linejoin:round}.e{fill:url(#e)}.t{fill:url(#t)}.k{fill:url(#k)}"
        ".e,.t,.k{stroke-width:1}.c{fill:none;stroke-width:1.2;stroke-dasharray:2.5 1.5}"
        f".u{{fill:{BLUE}}}.x{{fill:url(#x)}}.s{{fill:{YELLOW}}}"
        ".lf{fill:url(#e);fill-opacity:.45;stroke:#d55e00}.p{fill-opacity:.4;stroke-dasharray:3 2}"
        ".l{fill-opacity:.6}.m{stroke-width:.8}.mh{stroke-width:1.8}"
        ".a{fill:none}.d{stroke-width:1.4;stroke-linejoin:round}"
    )
    if dark is not None:
        return fixed + _themed(_DARK if dark else _LIGHT)
    return f"{fixed}{_themed(_LIGHT)}@media(prefers-color-scheme:dark){{{_themed(_DARK)}}}"


def _themed(theme: _Theme) -> str:
    ground, edge, ink, faint, line, stripe, wait, ok, cell, blue, much = theme
    return (
        f".g{{fill:{ground};stroke:{edge}}}.h,.i,.nl{{fill:{ink}}}.f{{fill:{faint}}}"
        f".k1{{fill:{ink};stroke:{ground}}}.a{{stroke:{line}}}.z{{fill:{stripe}}}.w{{fill:{wait}}}"
        f".o{{fill:{ok}}}.p{{fill:{ok};stroke:{ok}}}.e,.t,.k{{stroke:{ink}}}.c{{stroke:{faint}}}"
        f".l{{fill:{cell};stroke:{faint}}}.m{{stroke:{ground}}}.mi{{fill:{ink}}}.mh{{fill:{ground}}}"
        f".b{{stroke:{blue}}}.mb{{fill:{blue}}}.s{{fill-opacity:{much}}}.y{{fill:{ground}}}"
        f".v{{stroke:{faint};stroke-dasharray:2 2}}"
    )


def looks(mark: Mark) -> str:
    """The attributes that give a marker its colours.

    Example:
        >>> looks(Mark("crash", "", VERMILLION))
        'class="m" fill="#d55e00"'
    """
    themed = {INK: "i", BLUE: "b"}.get(mark.colour, "")
    if mark.hollow:
        return f'class="mh {themed}" stroke="{mark.colour}"'
    return f'class="m m{themed}"' if themed else f'class="m" fill="{mark.colour}"'


def cut(text: str, letters: float) -> str:
    """A text of at most so many letters.

    Example:
        >>> cut("default-1", 5)
        'defa…'
    """
    most = max(int(letters), 1)
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def few(number: int) -> str:
    """A count in at most four letters or so.

    Example:
        >>> few(120), few(12_345)
        ('120', '12k')
    """
    return f"{number}" if number < 10_000 else f"{number / 1000:.0f}k"  # noqa: PLR2004 - five digits are wide


def at(value: float) -> str:
    """A coordinate to a tenth of a pixel, in as few letters as it takes.

    Example:
        >>> at(3.04), at(2.5)
        ('3', '2.5')
    """
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def pixel(value: float) -> str:
    """A coordinate to a pixel.

    Example:
        >>> pixel(2.7)
        '3'
    """
    return f"{value:.0f}"
