"""Writes docs/events.md from the catalogue in `snakepit_nb.events`; `--check` says whether it is stale."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from snakepit_nb import events
from snakepit_nb.telemetry import dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).with_name("events.md")

_TITLES = {
    "worker": "Workers",
    "zero_copy": "Zero copy",
    "python": "Exceptions",
    "pool": "Pools",
    "request": "Requests",
    "cell": "Cells",
    "retry": "Retries",
    "circuit_breaker": "Circuit breaker",
    "session": "Sessions",
    "alert": "Alerts",
    "telemetry": "Telemetry",
}

_HEAD = """\
<!-- Written by docs/generate_events.py from snakepit_nb/events.py; change it there. -->

# Events

Every event that snakepit_nb emits. Attach a handler to one, to several, or to all that begin alike:

```python
from snakepit_nb import telemetry


def show(event, measurements, metadata, config):
    print(telemetry.dotted(event), measurements, metadata)


telemetry.attach("recycles", "snakepit.worker.recycled", show)
telemetry.attach_prefix("everything", "snakepit", show)
telemetry.replay("everything")  # what happened before it was attached
telemetry.detach("everything")
```

A handler runs in the thread that emits and should be quick; one that raises is detached, and
`telemetry.handler.failure` says so. Measurements are numbers, metadata is safe to write as JSON and never
holds a value of your program. Where a type says `float`, a whole number may stand.

## The envelope

On top of its own keys every event carries these.
"""


def render() -> str:
    """The page as it should be."""
    parts = [_HEAD, _table(events.ENVELOPE_MEASUREMENTS, events.ENVELOPE_METADATA)]
    # sorted() is stable, so that within a section the catalogue's order stays.
    sections = list(_TITLES)
    catalogue = sorted(events.CATALOGUE.values(), key=lambda event: sections.index(_section(event)))
    for section, members in groupby(catalogue, key=_section):
        parts.append(f"\n## {_TITLES[section]}\n")
        parts.extend(_entry(event) for event in members)
    return "\n".join(parts)


def _section(event: events.Event) -> str:
    return event.name[1] if event.name[0] == "snakepit" else event.name[0]


def _entry(event: events.Event) -> str:
    keys = (
        _table(event.measurements, event.metadata)
        if event.measurements or event.metadata
        else "Only the envelope.\n"
    )
    return f"### `{dotted(event.name)}`\n\n{event.moment}\n\n{keys}"


def _table(measurements: Sequence[events.Key], metadata: Sequence[events.Key]) -> str:
    rows = [*(("measurement", key) for key in measurements), *(("metadata", key) for key in metadata)]
    lines = ["| key | of the | type | values |", "| --- | --- | --- | --- |"]
    lines += [f"| `{key.name}` | {part} | {_type(key)} | {_values(key)} |" for part, key in rows]
    return "\n".join([*lines, ""])


def _type(key: events.Key) -> str:
    unit = f", {key.unit}" if key.unit else ""
    return f"{key.type}{' or None' if key.nullable else ''}{unit}"


def _values(key: events.Key) -> str:
    notes = [
        ", ".join(f"`{str(value).lower() if value in (True, False) else value}`" for value in key.values)
    ]
    if key.optional:
        notes.append("may be missing")
    if key.when:
        notes.append(f"where `{key.when[0]}` is `{key.when[1]}`")
    return "; ".join(note for note in notes if note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with `--check` return 1 where it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when the page is stale")
    check = parser.parse_args(arguments).check
    page = render()
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(
        f"docs/{PAGE.name} is stale: run `python docs/{Path(__file__).name}` and commit the page\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
