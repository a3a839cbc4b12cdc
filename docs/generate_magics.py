"""Writes what docs/magics.md says of the grammar of the magics into it; `--check` says whether it is stale.

*Rule:* usage and tables are made from `snakepit_nb.magics.grammar`; the sentences around them stay.
*Rule:* every option and subcommand has a table, and a sentence or an example outside of it.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snakepit_nb.magics.grammar import COMMANDS, cell_parser

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE: Final = Path(__file__).with_name("magics.md")
_BLOCK: Final = re.compile(
    r"<!-- (%{1,2}snakepit[^:\n]*): written by[^>]*-->\n.*?<!-- until here -->\n", re.DOTALL
)


def render(page: str) -> str:
    """The page as it should be.

    Raises:
        ValueError: It has no place for a command, one for a command that there is not, or no word about an
            option.
    """
    parsers: dict[str, argparse.ArgumentParser] = {"%%snakepit": cell_parser()}
    parsers |= {f"%snakepit {name}": command.parser() for name, command in COMMANDS.items()}
    places = {found[1] for found in _BLOCK.finditer(page)}
    if places != set(parsers):
        lacks, surplus = sorted(set(parsers) - places), sorted(places - set(parsers))
        message = f"no place for {lacks}, and one for {surplus}, which there is not"
        raise ValueError(message)
    # What is said about a command stands between its block and the next one.
    parts = _BLOCK.split(page)
    for name, said in zip(parts[1::2], parts[2::2], strict=True):
        for flags in filter(None, (action.option_strings for action in _actions(parsers[name]))):
            if not any(re.search(rf"(?<![\w-]){flag}(?![\w-])", said) for flag in flags):
                message = f"{name} has the option {flags[0]}, and nothing is said about it after its table"
                raise ValueError(message)
    return _BLOCK.sub(lambda found: _block(found[1], parsers[found[1]]), page)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no other list of them


def _block(name: str, parser: argparse.ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").replace("\n       ", "\n").strip()
    rows = [_row(action) for action in _actions(parser)]
    table = ["", "| | it means |", "| --- | --- |", *rows] if rows else []
    head = f"<!-- {name}: written by docs/generate_magics.py from snakepit_nb/magics/grammar.py -->"
    lines = [head, "```text", usage, "```", "", f"{parser.description}", *table, "<!-- until here -->", ""]
    return "\n".join(lines)


def _row(action: argparse.Action) -> str:
    takes = f" {action.metavar}" if action.nargs != 0 and action.option_strings else ""
    names = action.option_strings or [str(action.metavar)]
    shown = ", ".join(f"`{name}{takes}`" for name in names)
    return f"| {shown} | {action.help} |".replace("[bar|timeline]", r"[bar\|timeline]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with `--check` return 1 where it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when the page is stale")
    check = parser.parse_args(arguments).check
    there = PAGE.read_text(encoding="utf-8")
    try:
        page = render(there)
    except ValueError as error:
        sys.stderr.write(f"docs/{PAGE.name}: {error}\n")
        return 1
    if page == there:
        return 0
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    sys.stderr.write(f"docs/{PAGE.name} is stale: run `make docs` and commit the page\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
