"""`%snakepit doctor`: what machine and installation give, and what to do where something is missing.

*Rule:* a check that fails is a finding, too, and keeps nobody from the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from snakepit_nb.magics import frontend, graphics, machine, memories, packages
from snakepit_nb.magics.finding import Finding
from snakepit_nb.magics.tables import Column, Marked, as_html, block, hung, paragraph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snakepit_nb.magics.finding import Level
    from snakepit_nb.magics.tables import Cell


class _Group(NamedTuple):
    title: str
    checks: tuple[Callable[[], Finding], ...]


_GROUPS: Final = (
    _Group(
        "Versions",
        (packages.release, machine.python, machine.system, packages.needed, packages.libraries),
    ),
    _Group("Notebook", (frontend.kernel, frontend.page, frontend.widgets)),
    _Group("Processes", (machine.cores, machine.linear_algebra, machine.start_methods, machine.limits)),
    _Group(
        "Memory",
        (memories.memory, memories.swap, memories.memfd, memories.named_memory, memories.huge_pages),
    ),
    _Group("Arrays", (memories.arrays, memories.results, graphics.graphics)),
)
_MARKS: Final[dict[Level, str]] = {"ok": " ", "note": "*", "problem": "!"}
_LOOKS: Final[dict[Level, Marked]] = {
    "ok": Marked("✓", "good", "ok"),
    "note": Marked("●", "coming", "note"),
    "problem": Marked("◆", "bad", "problem"),
}


def findings() -> dict[str, list[Finding]]:
    """All findings by the titles of their groups, in the order in which they are shown.

    Example:
        >>> findings()["Versions"][0].what
        'snakepit_nb'
    """
    return {title: [_looked(each) for each in checks] for title, checks in _GROUPS}


def _looked(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a machine may be odd in any way
        name = check.__name__.replace("_", " ")
        why = f"could not be looked at: {type(error).__name__}: {error}"
        return Finding(name, why, "nothing else depends on this look")


class Report:
    """Findings as a table: text in a terminal, HTML in a notebook."""

    def __init__(self, found: dict[str, list[Finding]]) -> None:
        self._found = found

    def __repr__(self) -> str:
        width = max((len(each.what) for each in self._all()), default=0)
        lines = []
        for title, group in self._found.items():
            lines += ["", title]
            for each in group:
                lines += hung(f"{_MARKS[each.level]} {each.what.ljust(width)}  ", each.found)
                if each.advice:
                    lines += hung(f"  {' ' * width}  -> ", each.advice)
        return "\n".join([*lines[1:], "", self._summary(marks=True)])

    def _repr_html_(self) -> str:
        columns = (Column(""), Column("what"), Column("found, and what to do", long=True))
        rows: list[Sequence[Cell] | str] = []
        for title, group in self._found.items():
            rows.append(title)
            for each in group:
                said = f"{each.found}\n→ {each.advice}" if each.advice else each.found
                rows.append((_LOOKS[each.level], each.what, said))
        return block(as_html(columns, rows), paragraph(self._summary(), faint=True))

    def _summary(self, *, marks: bool = False) -> str:
        levels = [each.level for each in self._all()]
        counted = [
            f"{levels.count(level)} {level}{'' if levels.count(level) == 1 else 's'}"
            f"{f' ({_MARKS[level]})' if marks else ''}"
            for level in ("problem", "note")
            if level in levels
        ]
        return ", ".join(counted) or "nothing needs to be done"

    def _all(self) -> Iterator[Finding]:
        for group in self._found.values():
            yield from group
