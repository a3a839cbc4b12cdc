"""Events as handlers get them, for tests of what takes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from snakepit_nb import events

RawEvent = tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]
MARKUP = "</script><b>\x00\x1b[31m\u202e\ud800"


class Log:
    """A pool's events in the making; times in milliseconds."""

    def __init__(self, pool: str = "p") -> None:
        self.pool = pool
        self.events: list[RawEvent] = []

    def add(
        self, event: tuple[str, ...], at: float, measured: dict[str, Any] | None = None, /, **facts: Any
    ) -> None:
        stamps = {"time_ns": 10**18 + int(at * 1e6), "monotonic_ns": int(at * 1e6), "pid": 7}
        self.events.append((event, {"count": 1, **(measured or {})}, {"pool": self.pool, **stamps, **facts}))

    def started(self, at: float, worker: str, capacity: int = 1) -> None:
        facts = {"worker_id": worker, "profile": "process" if capacity == 1 else "thread"}
        self.add(events.WORKER_STARTED, at, {"startup_time_ms": 3}, capacity=capacity, **facts)

    def request(  # noqa: PLR0913 - what there is to say of one
        self,
        number: int,
        queued: float,
        sent: float,
        ended: float,
        *,
        worker: str = "p-0",
        ran: float | None = None,
        outcome: str = "ok",
        command: str = "fit",
    ) -> None:
        facts = {"request_id": number, "command": command}
        self.add(events.REQUEST_QUEUED, queued, {"queue_size": 1}, **facts)
        waited = int((sent - queued) * 1000)
        self.add(events.REQUEST_DISPATCHED, sent, {"queue_us": waited}, worker_id=worker, **facts)
        figures = {"duration_us": int((ended - sent if ran is None else ran) * 1000), "queue_us": waited}
        told = {"worker_id": worker, "success": outcome == "ok", "outcome": outcome, **facts}
        self.add(events.REQUEST_EXECUTED, ended, figures, **told)


def lived() -> Log:
    """A pool that did something of everything."""
    log = Log()
    log.add(events.POOL_STARTED, 0, workers=2, profile="process")
    log.started(1, "p-0")
    log.started(1, "p-1")
    span: dict[str, Any] = {"telemetry_span_context": "c1", "cell": 4, "name": None}
    log.add(events.CELL_START, 2, {"monotonic_time": 2, "system_time": 2}, **span)
    lent: dict[str, Any] = {
        "kind": "dlpack",
        "device": "cpu",
        "dtype": "float64",
        "shape": [1000],
        "direction": "to_worker",
    }
    lent |= {"handle_id": "h1", "copied": False, "request_id": 1}
    log.add(events.ZERO_COPY_EXPORT, 2.5, {"duration_ms": 0.1, "bytes": 8000}, **lent)
    log.request(1, 3, 4, 9)
    log.request(2, 3, 4, 7, worker="p-1", outcome="error")
    facts: dict[str, Any] = {
        "python_type": "ValueError",
        "library": "numpy",
        "function": "mean",
        "error": "RemoteError",
    }
    log.add(events.PYTHON_EXCEPTION_UNMAPPED, 7, worker_id="p-1", **facts)
    log.add(events.ZERO_COPY_IMPORT, 4.5, {"duration_ms": 0.1, "bytes": 8000}, **lent)
    log.add(events.ZERO_COPY_RELEASE, 9, {"age_ms": 6.5, "bytes": 8000}, handle_id="h1", device="cpu")
    log.add(events.CELL_STOP, 10, {"duration": 8_000_000}, **span)
    log.add(events.WORKER_STATS, 10, {"memory_mb": 120.5, "cpu_percent": 99.0}, worker_id="p-0")
    death: dict[str, Any] = {
        "worker_id": "p-1",
        "reason": "signal",
        "exit_code": -11,
        "device": None,
        "signal": "SIGSEGV",
    }
    log.request(3, 10, 11, 12, worker="p-1", outcome="crashed")
    log.add(events.WORKER_CRASH, 12, classification="segfault", **death)
    log.add(events.WORKER_TAINTED, 12, {"duration_ms": 5}, classification="segfault", **death)
    log.add(events.WORKER_RESTARTED, 17, **{**death, "worker_id": "p-1.2"})
    log.started(17, "p-1.2")
    log.request(4, 17, 18, 20, worker="p-1.2")
    log.add(events.POOL_STOPPED, 21, reason="shutdown")
    return log


TEXTS = st.text(max_size=20) | st.sampled_from([MARKUP, "=1+1", "p", "p-0", "ok", "start"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
KEYS = TEXTS | st.sampled_from(
    sorted({key.name for each in events.CATALOGUE.values() for key in each.metadata})
)
NAMES = st.sampled_from(list(events.CATALOGUE)) | st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
STAMPS = st.fixed_dictionaries(
    {}, optional={"time_ns": st.integers(), "monotonic_ns": st.integers() | st.integers(0, 10**10)}
)
ANY: st.SearchStrategy[list[RawEvent]] = st.lists(
    st.tuples(
        NAMES,
        st.dictionaries(KEYS | st.just("duration_us"), st.integers() | st.floats(), max_size=4),
        st.tuples(st.dictionaries(KEYS, VALUES, max_size=6), STAMPS).map(lambda both: {**both[0], **both[1]}),
    ),
    max_size=12,
)
"""Events that are not as they should be."""
