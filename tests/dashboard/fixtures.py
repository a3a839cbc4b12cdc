"""Writes the messages that the front end's tests decode, beside what is in them, in plain JSON.

python -m tests.dashboard.fixtures
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import events
from snakepit_nb.dashboard.feed import Feed
from snakepit_nb.dashboard.packing import COUNTS, tables
from snakepit_nb.dashboard.requests import BUDGET
from tests.dashboard.story import SECOND, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snakepit_nb.telemetry import EventName

FOLDER: Final = Path(__file__).parents[2] / "widgets" / "tests" / "fixtures"
ORIGIN_MS: Final = 1_700_000_000_000.0
HOSTILE: Final = '<img src=x onerror=alert(1)>"\u202e\x1b[31m\n\ud800' + "x" * 1000


class Recording:
    """One feed whose clock is the story's."""

    def __init__(self, pool: str) -> None:
        self.feed = Feed(pool, lambda *_: None)
        self.feed._begin(0)
        self.feed._origin_ms = ORIGIN_MS
        self.messages: list[dict[str, Any]] = []

    def tell(self, event: EventName, at: float, measured: dict[str, Any] | None = None, **facts: Any) -> None:
        """Something happened."""
        self.feed._pending.append(record(event, at, measured, **{"pool": self.feed.pool, **facts}))

    def request(self, number: int, worker: str, at: float, lasts: float, **facts: Any) -> None:
        """A request waited, ran and ended."""
        told: dict[str, Any] = {"request_id": number, "command": "fit", "outcome": "ok", **facts}
        self.tell(events.REQUEST_QUEUED, at - 0.01, {"queue_size": 0}, **told)
        self.tell(events.REQUEST_DISPATCHED, at, {"queue_us": 10_000}, worker_id=worker, **told)
        measured = {"queue_us": 10_000, "duration_us": round(lasts * 1e6)}
        self.tell(events.REQUEST_EXECUTED, at + lasts, measured, worker_id=worker, **told)

    def send(self, at: float, *, key: bool = False) -> None:
        """A batch goes out."""
        if key:
            self.feed.keyframe()
        self.feed._catch_up(round(at * SECOND))
        content, buffers = self.feed._news(round(at * SECOND))
        found = tables(content, buffers)
        self.messages.append(
            {
                "content": content,
                "buffers": [base64.b64encode(buffer).decode() for buffer in buffers],
                "tables": {
                    count: [
                        dict(zip(table.dtype.names or (), map(_plain, row), strict=True))
                        for row in table.tolist()
                    ]
                    for count, table in zip(COUNTS, found, strict=True)
                },
            }
        )


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def life() -> Recording:
    """A life with everything in it: a keyframe, two batches more, and another keyframe."""
    told = Recording("life")
    tell = told.tell
    tell(events.POOL_STARTED, 0.0, workers=2, profile="process")
    for number in (0, 1):
        facts: dict[str, Any] = {"worker_id": f"life-{number}", "profile": "process", "capacity": 1}
        tell(events.WORKER_STARTED, 0.05 + number / 100, {"startup_time_ms": 31}, **facts)
    for number, outcome in enumerate(("ok", "error", "cancelled", "timeout"), 1):
        told.request(number, f"life-{number % 2}", number / 10, 0.05, outcome=outcome)
    raised: dict[str, Any] = {"python_type": "ValueError", "error": "ShapeMismatch", "request_id": 2}
    tell(events.PYTHON_EXCEPTION_MAPPED, 0.25, **raised)
    there: dict[str, Any] = {"worker_id": "life-1"}
    tell(events.ZERO_COPY_EXPORT, 0.3, {"bytes": 8 << 20}, **there, direction="to_kernel")
    tell(events.ZERO_COPY_FALLBACK, 0.31, {"bytes": 4096}, **there, reason="dtype")
    tell(events.WORKER_STATS, 0.4, {"memory_mb": 33.964, "cpu_percent": 2.0}, **there)
    tell(
        events.WORKER_STATS,
        0.41,
        {"memory_mb": 1.5, "cpu_percent": 0, "gpu_memory_mb": 7},
        worker_id="life-0",
    )
    told.send(0.5)
    sent: dict[str, Any] = {"request_id": 9, "worker_id": "life-1", "command": HOSTILE}
    tell(events.REQUEST_DISPATCHED, 0.6, {"queue_us": 100}, **sent)
    tell(events.REQUEST_QUEUED, 0.6, {"queue_size": 0}, request_id=10, command="fit")
    tell(events.POOL_SATURATED, 0.6, {"queue_size": 1}, outcome="queued")
    crash: dict[str, Any] = {**there, "classification": "segfault"}
    tell(events.REQUEST_DISPATCHED, 0.61, {"queue_us": 0}, request_id=11, worker_id="life-0", command="train")
    tell(events.WORKER_CRASH, 0.7, **crash)
    tell(events.WORKER_TAINTED, 0.7, {"duration_ms": 500}, **crash)
    tell(events.WORKER_RECYCLED, 0.7, **there, reason="worker_died", uptime_seconds=0.64)
    # As long as the others took: percentiles between different ones may differ in the last digit elsewhere.
    measured = {"queue_us": 10_000, "duration_us": 50_000}
    tell(events.REQUEST_EXECUTED, 0.7, measured, **sent, outcome="crashed")
    span: dict[str, Any] = {"telemetry_span_context": "1"}
    tell(events.CELL_EXCEPTION, 0.8, {"duration": SECOND // 4}, cell=3, name=None, kind="error", **span)
    tell(("app", "epoch", "stop"), 0.8, {"duration": SECOND // 10}, **span, worker_id="life-0")
    tell(events.WORKER_HEALTH_CHECK_FAILED, 0.81, worker_id=HOSTILE, reason="timeout")
    told.send(1.0)
    for number in range(BUDGET + 1):
        told.request(20 + number, "life-0", 1.0 + number / 1e4, 5e-5, outcome="error" if number % 4 else "ok")
    tell(
        events.WORKER_STARTED,
        1.3,
        {"startup_time_ms": 5},
        worker_id="life-1.2",
        profile="process",
        capacity=1,
    )
    tell(events.WORKER_RESTARTED, 1.3, worker_id="life-1.2", classification="segfault")
    told.send(1.5)
    tell(events.POOL_STOPPED, 2.0, reason="shutdown")
    told.send(2.0, key=True)
    return told


def empty() -> Recording:
    """A pool to which nothing happened yet."""
    told = Recording("empty")
    told.send(0.0)
    return told


FIXTURES: Final[dict[str, Callable[[], Recording]]] = {"life": life, "empty": empty}


def written() -> Iterator[tuple[Path, str]]:
    """Each fixture's place, and what is to stand there."""
    for name, tell in FIXTURES.items():
        text = json.dumps({"messages": tell().messages}, indent=1, allow_nan=False)
        yield FOLDER / f"{name}.json", text + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in written():
        path.write_text(text)
