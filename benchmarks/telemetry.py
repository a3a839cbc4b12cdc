"""What it costs to tell an event, and what exporters cost who calls a worker.

    python benchmarks/telemetry.py --quick --json telemetry.json

*Rule:* exporters are measured with what they do later in their own threads: a stretch of calls is longer than
the time for which they gather events, and of each pair of stretches, without and with, there is a ratio.
*Rule:* nothing here passes or fails. The aims are told beside what was measured, and the exit status is 0
whatever they say.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter
from rounds import Figure, duration, figure, in_turns, machine, table

from snakepit_nb import Pool, events, telemetry
from snakepit_nb.exporters.aggregates import Aggregates
from snakepit_nb.exporters.alerts import Alerts, RateAlert, ThresholdAlert
from snakepit_nb.exporters.log import LogExporter
from snakepit_nb.exporters.opentelemetry import OpenTelemetryExporter
from snakepit_nb.exporters.prometheus import PrometheusExporter
from snakepit_nb.exporters.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace import ReadableSpan

NONE: Final = "execute, no handler"
LOOKUP: Final = "a dictionary look-up"
INC: Final = "prometheus_client, labels().inc()"
ALL: Final = "all of them"
SLOWER: Final = 1.10
_FACTS: Final[dict[str, object]] = {
    "pool": "benchmark", "worker_id": "benchmark-0", "command": "nothing", "success": True, "outcome": "ok",
    "request_id": 7,
}  # fmt: skip
_FIGURES: Final[dict[str, float]] = {"duration_us": 20, "queue_us": 40}


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    events: int
    pairs: int
    seconds: float


QUICK: Final = Effort(rounds=10, events=200, pairs=6, seconds=0.5)
FULL: Final = Effort(rounds=60, events=500, pairs=30, seconds=0.6)


class Aim(NamedTuple):
    """What this package aims at, what this run says about it, and whether it is so here."""

    aim: str
    found: str
    met: bool


class Beside(NamedTuple):
    """Calls of a worker that does nothing, with exporters attached, beside the same without.

    Attributes:
        without: Seconds of a call without, and with them.
        within: The same with them.
        median: The ratio of the medians, with to without: the median of all pairs.
        mean: The same of the means, which is that of the calls in a second, the other way round.
        slowest: The same of the slowest call in a hundred.
        dropped: How many events the exporters had no room for.
    """

    without: Figure
    within: Figure
    median: float
    mean: float
    slowest: float
    dropped: int


class _Nowhere(SpanExporter):
    """What stands for a collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans."""
        del spans
        return SpanExportResult.SUCCESS


def _opentelemetry(stack: ExitStack) -> AbstractContextManager[object]:
    tracing, metering = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    stack.callback(metering.shutdown)
    stack.callback(tracing.shutdown)
    tracing.add_span_processor(BatchSpanProcessor(_Nowhere()))
    return OpenTelemetryExporter(tracer_provider=tracing, meter_provider=metering)


def _recording(stack: ExitStack) -> AbstractContextManager[object]:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    return Recording(Path(folder) / "events.arrows")


def _log(_: ExitStack) -> AbstractContextManager[object]:
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [logging.NullHandler()]
    return LogExporter(logger=logger)


def _alerts(_: ExitStack) -> AbstractContextManager[object]:
    churn = RateAlert("snakepit.worker.recycled", limit=10, window=60)
    return Alerts(churn, ThresholdAlert("snakepit.request.executed", "duration_us", above=1e9))


EXPORTERS: Final[Mapping[str, Callable[[ExitStack], AbstractContextManager[object]]]] = {
    "aggregates": lambda _: Aggregates(),
    "prometheus": lambda _: PrometheusExporter(),
    "recording": _recording,
    "log": _log,
    "alerts": _alerts,
    "opentelemetry": _opentelemetry,
}


def executing(effort: Effort) -> dict[str, Figure]:
    """Seconds of one event for whoever tells it."""
    names = {event: event for event in events.CATALOGUE}
    name = events.REQUEST_EXECUTED
    client = Counter("requests", "Requests.", ("pool", "outcome"), registry=CollectorRegistry())

    def several(once: Callable[[], object]) -> list[float]:
        found = []
        for _ in range(6):
            began = time.perf_counter()
            for _ in range(effort.events):
                once()
            found.append((time.perf_counter() - began) / effort.events)
        return found[1:]

    def execute() -> None:
        telemetry.execute(name, _FIGURES, _FACTS)

    def handlers(count: int) -> list[float]:
        ids = [f"benchmark:{number}" for number in range(count)]
        for each in ids:
            telemetry.attach(each, name, lambda *_: None)
        found = several(execute)
        for each in ids:
            telemetry.detach(each)
        return found

    def exporters(*chosen: str) -> list[float]:
        with ExitStack() as stack:
            for each in chosen:
                stack.enter_context(EXPORTERS[each](stack))
            return several(execute)

    return in_turns(
        effort.rounds,
        {
            LOOKUP: lambda: several(lambda: names[name]),
            INC: lambda: several(lambda: client.labels("benchmark", "ok").inc()),
            NONE: lambda: handlers(0),
            "execute, one handler": lambda: handlers(1),
            "execute, ten handlers": lambda: handlers(10),
            "execute, prometheus": lambda: exporters("prometheus"),
            "execute, recording": lambda: exporters("recording"),
            "execute, all exporters": lambda: exporters(*EXPORTERS),
        },
    )


def nothing() -> None:
    """What the worker does."""


def beside(pool: Pool, names: Sequence[str], effort: Effort) -> Beside:
    """Calls one after the other, without exporters and with them, in pairs."""

    def stretch(seconds: float) -> list[float]:
        found = []
        before = time.perf_counter()
        until = before + seconds
        while before < until:
            pool.submit(nothing).result()
            now = time.perf_counter()
            found.append(now - before)
            before = now
        return found

    withouts, withins, dropped = [], [], 0
    for _ in range(effort.pairs):
        stretch(effort.seconds / 3)
        withouts.append(stretch(effort.seconds))
        with ExitStack() as stack:
            attached = [stack.enter_context(EXPORTERS[each](stack)) for each in names]
            stretch(effort.seconds / 2)  # until what they do afterwards goes on beside the calls
            withins.append(stretch(effort.seconds))
            dropped += sum(getattr(each, "dropped", 0) for each in attached)

    def ratio(of: Callable[[Sequence[float]], float]) -> float:
        return statistics.median(of(b) / of(a) for a, b in zip(withouts, withins, strict=True))

    def over(all_of: list[list[float]]) -> Figure:
        each = [figure(one) for one in all_of]
        return Figure(*(statistics.median(column) for column in zip(*each, strict=True)))

    slowest = ratio(lambda seconds: sorted(seconds)[int(len(seconds) * 0.99)])
    medians, means = ratio(statistics.median), ratio(statistics.fmean)
    return Beside(over(withouts), over(withins), medians, means, slowest, dropped)


def calling(effort: Effort) -> dict[str, Beside]:
    """What exporters cost who calls a worker: nothing attached on either side, each of them, and all."""
    chosen = {"nothing": (), **{name: (name,) for name in EXPORTERS}, ALL: tuple(EXPORTERS)}
    with Pool(1, name="benchmark") as pool:
        found = {}
        for name, names in chosen.items():
            found[name] = beside(pool, names, effort)
            print(told(name, found[name]), flush=True)
        return found


def told(name: str, found: Beside) -> str:
    """One line."""
    medians = f"{duration(found.without.median):>9} {duration(found.within.median):>9}"
    ratios = f"{found.median:>10.2f}{found.mean:>10.2f}{found.slowest:>10.2f}"
    return f"  {name:16}{medians}{ratios}{found.dropped:>10,}"


def aims(executed: Mapping[str, Figure], called: Mapping[str, Beside]) -> Iterator[Aim]:
    """The aims, beside what this run found."""
    every = called[ALL].median
    yield Aim(
        f"with all exporters attached a call is at most {SLOWER - 1:.0%} slower, by the median",
        f"{every:.2f} times",
        every <= SLOWER,
    )
    ours, theirs = executed["execute, all exporters"].median, executed[INC].median
    less = ours - executed[NONE].median
    yield Aim(
        "all exporters together add less to an event than one labels().inc() of prometheus_client takes",
        f"{duration(less)}, {duration(theirs)}",
        less < theirs,
    )
    lost = sum(each.dropped for each in called.values())
    yield Aim("no exporter drops an event of calls one after the other", f"{lost:,}", not lost)


def main(arguments: list[str]) -> int:
    """Run from a command line; the exit status."""
    parser = argparse.ArgumentParser(description="Measure what telling events costs, and exporting them.")
    parser.add_argument("--quick", action="store_true", help="a minute, not several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    chosen = parser.parse_args(arguments)
    effort = QUICK if chosen.quick else FULL
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), end="\n\n")
    executed = executing(effort)
    print(table("An event, for whoever tells it", executed, LOOKUP, INC, NONE), end="\n\n", flush=True)
    print("A call of a worker that does nothing, with exporters attached, and what that is to none attached")
    print(f"  {'':16}{'without':>9} {'with':>9}{'median':>10}{'mean':>10}{'p99':>10}{'dropped':>10}")
    called = calling(effort)
    print()
    found = list(aims(executed, called))
    for each in found:
        print(f"{'yes' if each.met else 'NO ':4}{each.aim}: {each.found}")
    if chosen.json is not None:
        result: dict[str, object] = {"machine": facts, "effort": effort._asdict()}
        result["execute"] = {name: each._asdict() for name, each in executed.items()}
        result["calls"] = {
            name: {**each._asdict(), "without": each.without._asdict(), "within": each.within._asdict()}
            for name, each in called.items()
        }
        result["aims"] = [each._asdict() for each in found]
        chosen.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
