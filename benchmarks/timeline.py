"""What a live timeline costs: whoever emits an event, the thread that tells the browser, and the browser.

    python benchmarks/timeline.py --quick --json timeline.json

*Rule:* where the kernel's part is measured, what is sent is packed as for a browser, and goes nowhere. The
browser's part has stretches of its own; with them a real browser takes its share of the same machine.
*Rule:* nothing here passes or fails. The aims are told beside what was measured, and the exit status is 0
whatever they say.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import timeline_page
from rounds import duration, machine

from snakepit_nb import Pool, events, telemetry
from snakepit_nb.dashboard.feed import Feed
from snakepit_nb.dashboard.packing import tables
from snakepit_nb.dashboard.protocol import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POOL: Final = "timeline"
LANES: Final = 16
RATES: Final = (10_000, 100_000)
MARKER: Final = 100  # one event in so many is a marker
REASON: Final = "timeout"
SHARE: Final = 0.03
RECORD: Final = 1e-6
MESSAGES: Final = 20
_BURST: Final = 0.002  # seconds between two bursts of a paced emitter


class Effort(NamedTuple):
    """How much is measured."""

    pairs: int
    events: int
    seconds: float
    calls: int


QUICK: Final = Effort(pairs=40, events=300, seconds=5.0, calls=2_000)
FULL: Final = Effort(pairs=400, events=300, seconds=30.0, calls=4_000)


class Aim(NamedTuple):
    """What this package aims at, what this run says about it, and whether it is so here."""

    aim: str
    found: str
    met: bool


class Sink:
    """What stands for the browser: counts, and knows what the feed's thread has used but for that."""

    def __init__(self) -> None:
        self.messages = self.bytes = self.markers = self.bars = self.dense = 0
        self.cpu = self._counting = 0.0

    def __call__(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Take a message."""
        text = json.dumps(content)  # as a comm would
        began = time.thread_time()  # of the feed's thread, which this runs in
        self.cpu = began - self._counting
        self.messages += 1
        self.bytes += len(text) + sum(map(len, buffers))
        if content["type"] == "batch":
            rows, density, *_ = tables(content, buffers)
            bars = int((rows["kind"] == Kind.REQUEST).sum())
            self.bars += bars
            self.markers += len(rows) - bars
            self.dense += int(density["count"].sum())
        self._counting += time.thread_time() - began


class Load(NamedTuple):
    """One stretch of events at one rate.

    Attributes:
        wanted: Events in a second that were asked for.
        emitted: Events in a second that were emitted.
        share: Of a core that the feed's thread took.
        event: Seconds of the feed's thread for each event.
        messages: In a second.
        bytes: In a second.
        markers: That were emitted.
        markers_shown: That came in rows.
        requests: That ended.
        requests_shown: In bars and in density.
        memory_mb: By which the process grew at its largest.
    """

    wanted: int
    emitted: float
    share: float
    event: float
    messages: float
    bytes: float
    markers: int
    markers_shown: int
    requests: int
    requests_shown: int
    memory_mb: float


def request(number: int) -> None:
    """The three events of a request."""
    facts: dict[str, object] = {"pool": POOL, "command": "fit", "request_id": number}
    there = {**facts, "worker_id": f"{POOL}-{number % LANES}"}
    telemetry.execute(events.REQUEST_QUEUED, {"queue_size": 0}, facts)
    telemetry.execute(events.REQUEST_DISPATCHED, {"queue_us": 12}, there)
    ended = {**there, "success": True, "outcome": "ok"}
    telemetry.execute(events.REQUEST_EXECUTED, {"duration_us": 100, "queue_us": 12}, ended)


def marker(number: int) -> None:
    """An event that is never left out."""
    facts: dict[str, object] = {"pool": POOL, "worker_id": f"{POOL}-{number % LANES}", "reason": REASON}
    telemetry.execute(events.WORKER_HEALTH_CHECK_FAILED, {}, facts)


def recording(effort: Effort) -> tuple[list[float], list[float]]:
    """Seconds that one event takes its emitter, without a timeline and with one, in pairs."""
    facts: dict[str, object] = {"pool": POOL, "worker_id": f"{POOL}-1", "command": "fit", "request_id": 7}

    def once() -> float:
        began = time.perf_counter()
        for _ in range(effort.events):
            telemetry.execute(events.REQUEST_DISPATCHED, {"queue_us": 12}, facts)
        return (time.perf_counter() - began) / effort.events

    without, with_one = [], []
    for _ in range(effort.pairs):
        once()
        without.append(once())
        feed = Feed(POOL, lambda *_: None)
        feed.start()
        once()
        with_one.append(once())
        feed.close()
    return without, with_one


class Emitter(threading.Thread):
    """Emits at a steady rate, for so many seconds."""

    def __init__(self, rate: int, seconds: float) -> None:
        super().__init__()
        self.requests = self.markers = 0
        self.passed = 0.0
        self._rate, self._seconds = rate, seconds

    @property
    def count(self) -> int:
        """How many events it has emitted."""
        return 3 * self.requests + self.markers

    def run(self) -> None:
        """Emit; the thread's own."""
        each = (MARKER - 1) // 3  # requests to a marker
        began = time.perf_counter()
        while self.passed < self._seconds:
            due = int(self.passed * self._rate / (3 * each + 1)) - self.markers
            for _ in range(due):
                for _ in range(each):
                    self.requests += 1
                    request(self.requests)
                self.markers += 1
                marker(self.markers)
            time.sleep(_BURST)
            self.passed = time.perf_counter() - began


def load(rate: int, effort: Effort) -> Load:
    """Emit at a steady rate, and see what the feed makes of it."""
    telemetry.set_ring_size(0)
    telemetry.set_ring_size(telemetry.RING_SIZE)
    sink = Sink()
    feed = Feed(POOL, sink)
    feed.start()
    feed.heard("benchmark")
    before = _largest()
    emitter = Emitter(rate, effort.seconds)
    emitter.start()
    emitter.join()
    feed.close()
    requests, markers, passed, count = emitter.requests, emitter.markers, emitter.passed, emitter.count
    return Load(
        wanted=rate,
        emitted=count / passed,
        share=sink.cpu / passed,
        event=sink.cpu / count,
        messages=sink.messages / passed,
        bytes=sink.bytes / passed,
        markers=markers,
        markers_shown=sink.markers,
        requests=requests,
        requests_shown=sink.bars + sink.dense,
        memory_mb=_largest() - before,
    )


class Shown(NamedTuple):
    """One stretch of events at one rate, as a page in a browser had it.

    Attributes:
        wanted: Events in a second that were asked for.
        emitted: Events in a second that were emitted.
        markers: That were emitted.
        markers_held: That the page's table has at the end.
        messages: That the feed sent.
        taken: That the page was handed.
        deltas: Seconds from one frame of the browser to the next.
        frames: Seconds of each turn of the view.
        painted: The same, of those in which the lanes were painted.
        taking: Seconds in which the page took a message.
        third: Its heap after a third of the time.
        end: Its heap at the end.
        load: Of the machine, then.
    """

    wanted: int
    emitted: float
    markers: int
    markers_held: int
    messages: int
    taken: int
    deltas: timeline_page.Figure
    frames: timeline_page.Figure
    painted: timeline_page.Figure
    taking: timeline_page.Figure
    third: timeline_page.Heap
    end: timeline_page.Heap
    load: float


def shown(rate: int, effort: Effort) -> Shown:
    """Emit at a steady rate, and see what a browser makes of what the feed sends."""
    telemetry.set_ring_size(0)
    telemetry.set_ring_size(telemetry.RING_SIZE)
    feed: Feed | None = None

    def heard(said: dict[str, Any]) -> None:
        if feed is None:
            return
        match said["verb"]:
            case "visible":
                feed.visible(said["view"], said["on"])
            case "hello" | "ping":
                feed.heard(said["view"])
        if said["verb"] in {"hello", "resync"}:
            feed.keyframe()

    with timeline_page.Page(heard) as page:
        feed = Feed(POOL, page.post)
        feed.start()
        emitter = Emitter(rate, effort.seconds)
        emitter.start()
        third = None
        while emitter.is_alive():
            page.take(_BURST * 10)
            if third is None and emitter.passed > effort.seconds / 3:
                third = page.heap()
        feed.close()
        while page.take(0.1):
            pass
        figures = page.figures()
        end = page.heap()
        held = page.count(REASON)
    return Shown(
        wanted=rate,
        emitted=emitter.count / emitter.passed,
        markers=emitter.markers,
        markers_held=held,
        messages=page.posted,
        **figures,
        third=third or end,
        end=end,
        load=os.getloadavg()[0],
    )


def _largest() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def calls(effort: Effort) -> tuple[list[float], list[float]]:
    """Seconds of one of many small calls to a real pool, without a timeline and with one, in pairs."""
    without, with_one = [], []
    with Pool(2, name=POOL) as pool:

        def once() -> float:
            began = time.perf_counter()
            for future in [pool.submit(abs, number) for number in range(effort.calls)]:
                future.result()
            return (time.perf_counter() - began) / effort.calls

        once()
        for _ in range(max(2, effort.pairs // 8)):
            without.append(once())
            feed = Feed(POOL, Sink())
            feed.start()
            feed.heard("benchmark")
            with_one.append(once())
            feed.close()
    return without, with_one


def pair(title: str, without: Sequence[float], with_one: Sequence[float]) -> str:
    """Both medians, the median of the differences, and that of the ratios."""
    more = statistics.median(b - a for a, b in zip(without, with_one, strict=True))
    ratio = statistics.median(b / a for a, b in zip(without, with_one, strict=True))
    medians = f"{duration(statistics.median(without))} without, {duration(statistics.median(with_one))} with"
    return f"{title}: {medians} a timeline; {duration(more)} more, ratio {ratio:.2f}"


def told(found: Load) -> str:
    """A stretch in one line."""
    markers = f"markers {found.markers_shown:,} of {found.markers:,}"
    requests = f"requests {found.requests_shown:,} of {found.requests:,}"
    sent = f"{found.messages:.1f} messages, {found.bytes / 1e3:,.0f} KB a second"
    return (
        f"  {found.wanted:>7,} asked, {found.emitted:>7,.0f} emitted: {found.share:.2%} of a core, "
        f"{duration(found.event)} an event; {sent}\n"
        f"  {'':>7} shown: {markers}, {requests}; at its largest {found.memory_mb:.0f} MB more"
    )


def told_shown(found: Shown) -> str:
    """What a page had of a stretch."""

    def seconds(figure: timeline_page.Figure) -> str:
        return f"{duration(figure.median)} (p95 {duration(figure.p95)})"

    third, end = found.third, found.end
    held = f"markers {found.markers_held:,} of {found.markers:,}"
    heap = f"heap {third.objects:.1f} MB after a third, {end.objects:.1f} MB at the end"
    return (
        f"  {found.wanted:>7,} asked, {found.emitted:>7,.0f} emitted, load {found.load:.1f}: "
        f"{held}, messages {found.taken:,} of {found.messages:,}\n"
        f"  {'':>7} {found.deltas.sample:,} frames, one each {seconds(found.deltas)}; the view took "
        f"{seconds(found.frames)}, or {seconds(found.painted)} in the {found.painted.sample:,} it painted\n"
        f"  {'':>7} a message {seconds(found.taking)}; {heap} (ratio {end.objects / third.objects:.2f}), "
        f"arrays beside it {third.arrays:.1f} and {end.arrays:.1f} MB"
    )


def as_dict(found: Shown) -> dict[str, object]:
    """For JSON: figures by their names, at every depth."""
    nested = (timeline_page.Figure, timeline_page.Heap)
    return {
        name: value._asdict() if isinstance(value, nested) else value
        for name, value in found._asdict().items()
    }


def aims(record: tuple[list[float], list[float]], loads: Sequence[Load]) -> Iterator[Aim]:
    """The aims, beside what this run found."""
    more = statistics.median(b - a for a, b in zip(*record, strict=True))
    yield Aim(f"a timeline adds less than {duration(RECORD)} to an event", duration(more), more < RECORD)
    slow = loads[0]
    yield Aim(
        f"at {slow.wanted:,} events a second the feed takes less than {SHARE:.0%} of a core",
        f"{slow.share:.2%}",
        slow.share < SHARE,
    )
    shown = ", ".join(f"{each.markers_shown:,} of {each.markers:,}" for each in loads)
    yield Aim("no marker is lost", shown, all(each.markers == each.markers_shown for each in loads))
    counted = ", ".join(f"{each.requests_shown:,} of {each.requests:,}" for each in loads)
    yield Aim(
        "each request is in a bar or in the density",
        counted,
        all(each.requests == each.requests_shown for each in loads),
    )
    most = max(each.messages for each in loads)
    yield Aim(f"at most {MESSAGES} messages a second", f"{most:.1f}", most <= MESSAGES)


def main(arguments: list[str]) -> int:
    """Run from a command line; the exit status."""
    parser = argparse.ArgumentParser(description="Measure what a live timeline costs.")
    parser.add_argument("--quick", action="store_true", help="seconds rather than minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    chosen = parser.parse_args(arguments)
    effort = QUICK if chosen.quick else FULL
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), end="\n\n")
    record = recording(effort)
    print(pair("An event, for whoever emits it", *record), end="\n\n", flush=True)
    loads = []
    print(f"Events in a second, for the thread of the timeline, {LANES} lanes:")
    for rate in RATES:
        loads.append(load(rate, effort))
        print(told(loads[-1]), flush=True)
    pages = []
    print(f"\nThe same, for a page in a browser that follows it, {LANES} lanes:")
    why = timeline_page.missing()
    if why is not None:
        print(f"  left out: {why}")
    for rate in RATES if why is None else ():
        pages.append(shown(rate, effort))
        print(told_shown(pages[-1]), flush=True)
    real = calls(effort)
    print(pair("\nOne of many small calls to a real pool", *real), end="\n\n")
    found = list(aims(record, loads))
    for each in found:
        print(f"{'yes' if each.met else 'NO ':4}{each.aim}: {each.found}")
    if chosen.json is not None:
        seconds = {"record": record, "call": real}
        result: dict[str, object] = {"machine": facts, "effort": effort._asdict(), "seconds": seconds}
        result |= {"loads": [each._asdict() for each in loads], "pages": [as_dict(each) for each in pages]}
        result |= {"aims": [each._asdict() for each in found]}
        chosen.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
