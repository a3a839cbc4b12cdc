"""What Chrome's trace event format asks of a trace, as a check.

After the "Trace Event Format" of the Chromium project, and what Perfetto's guide "Visualizing external trace
formats" says of it: slices of one thread nest, an asynchronous slice is matched by category and id within its
process, the values of a counter are numbers, a moment has a scope.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    Made = list[dict[str, Any]]

PHASES: Final = {"X", "b", "n", "e", "C", "i", "M"}


def faults(trace: dict[str, Any]) -> list[str]:
    """What the format does not allow, a sentence for each."""
    made: Made = trace["traceEvents"]
    json.dumps(trace, allow_nan=False).encode()
    return [*_each(made), *_names(made), *_order(made), *_pairs(made), *_nesting(made)]


def _each(made: Made) -> Iterator[str]:
    for event in made:
        phase = event["ph"]
        if phase not in PHASES:
            yield f"a phase {phase!r}"
        if not isinstance(event["name"], str):
            yield f"a name {event['name']!r}"
        if not math.isfinite(event["ts"]) or event["ts"] < 0:
            yield f"a time {event['ts']}"
        if phase == "C" and not all(_is_number(value) for value in event["args"].values()):
            yield f"a counter that is no number: {event['args']}"
        if phase == "i" and event["s"] not in {"g", "p", "t"}:
            yield f"a moment without a scope: {event}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _names(made: Made) -> Iterator[str]:
    named = {(event["pid"], event["tid"]) for event in made if event["name"] == "thread_name"}
    processes = {event["pid"] for event in made if event["name"] == "process_name"}
    for event in made:
        if (event["pid"], event["tid"]) not in named or event["pid"] not in processes:
            yield f"a track without a name: {event}"


def _order(made: Made) -> Iterator[str]:
    times = [event["ts"] for event in made if event["ph"] != "M"]
    yield from (f"{later} after {earlier}" for earlier, later in itertools.pairwise(times) if later < earlier)


def _pairs(made: Made) -> Iterator[str]:
    opened: Counter[tuple[int, str, str]] = Counter()
    for event in made:
        if event["ph"] not in {"b", "n", "e"}:
            continue
        key = (event["pid"], event["cat"], event["id"])
        if event["ph"] == "b":
            opened[key] += 1
            continue
        if not opened[key]:
            yield f"{event['ph']!r} of {key} before its beginning"
        opened[key] -= event["ph"] == "e"
    yield from (f"no end: {key}" for key, count in opened.items() if count)


def _nesting(made: Made) -> Iterator[str]:
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in made:
        if event["ph"] == "X":
            begin = round(event["ts"] * 1000)
            span = (begin, begin + round(event["dur"] * 1000))
            tracks.setdefault((event["pid"], event["tid"]), []).append(span)
    for track, spans in tracks.items():
        around: list[tuple[int, int]] = []
        for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            if end < begin:
                yield f"a slice that ends before it begins: {begin} to {end}"
            while around and around[-1][1] <= begin:
                around.pop()
            if around and end > around[-1][1]:
                yield f"slices that do not nest in {track}: {around[-1]} and {begin} to {end}"
            around.append((begin, end))
