"""The metrics that this product's events are measured by where nothing else is asked for.

*Rule:* all are in base units, seconds and bytes, and their tags have few values: names of pools, and words of
the catalogue. `worker_id` stands only where its series end with the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.exporters import metrics
from snakepit_nb.exporters.metrics import counter, distribution, last_value, level

if TYPE_CHECKING:
    from snakepit_nb.exporters.metrics import Metric

REQUEST_BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    1800.0,
)  # fmt: skip
"""Seconds: from less than a message takes to half an hour."""

START_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Seconds that a worker takes to start."""

LIFE_BUCKETS: Final = (1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
"""Seconds that a worker lives, to a day."""

COPY_BUCKETS: Final = (0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Seconds that it takes to share or copy an array."""

_POOL: Final = ("pool",)
_WORKER: Final = ("pool", "worker_id")
_ARRAY: Final = ("kind", "direction")
_OVER: Final = "snakepit.pool.stopped"

_WORKERS: Final = (
    level(
        "snakepit.worker.started.count",
        also=["snakepit.worker.stats"],
        down="snakepit.worker.recycled",
        over=_OVER,
        by="worker_id",
        tags=_POOL,
        called="snakepit.workers",
        description="Workers that are alive.",
    ),
    counter(
        "snakepit.worker.started.count",
        tags=["pool", "profile"],
        called="snakepit.worker.started",
        description="Workers that started.",
    ),
    distribution(
        "snakepit.worker.started.startup_time_ms",
        buckets=START_BUCKETS,
        unit=("ms", "seconds"),
        tags=_POOL,
        called="snakepit.worker.startup",
        description="How long workers took to start.",
    ),
    counter(
        "snakepit.worker.recycled.count",
        tags=["pool", "reason"],
        called="snakepit.worker.recycled",
        description="Workers whose life ended before their pool's, by the reason.",
    ),
    distribution(
        "snakepit.worker.recycled.uptime_seconds",
        buckets=LIFE_BUCKETS,
        tags=_POOL,
        called="snakepit.worker.uptime",
        description="How long workers lived that were recycled.",
    ),
    counter(
        "snakepit.worker.crash.count",
        tags=["pool", "classification"],
        called="snakepit.worker.crash",
        description="Workers that died and were not asked to.",
    ),
    counter(
        "snakepit.worker.tainted.count",
        tags=_POOL,
        called="snakepit.worker.tainted",
        description="Slots of workers that took no work for a while after a crash.",
    ),
    counter(
        "snakepit.worker.restarted.count",
        tags=_POOL,
        called="snakepit.worker.restarted",
        description="Replacements of tainted workers that started.",
    ),
    counter(
        "snakepit.worker.health_check_failed.count",
        tags=["pool", "reason"],
        called="snakepit.worker.health_check_failed",
        description="Probes of workers that missed their deadline.",
    ),
    last_value(
        "snakepit.worker.stats.memory_mb",
        unit=("MB", "bytes"),
        tags=_WORKER,
        down="snakepit.worker.recycled",
        over=_OVER,
        by="worker_id",
        called="snakepit.worker.memory",
        description="Memory that a worker holds for itself; it has no series any more when it has ended.",
    ),
    last_value(
        "snakepit.worker.stats.cpu_percent",
        unit=("%", "ratio"),
        tags=_WORKER,
        down="snakepit.worker.recycled",
        over=_OVER,
        by="worker_id",
        called="snakepit.worker.cpu",
        description="Processor time of a worker, 1 for one whole core.",
    ),
)
_REQUESTS: Final = (
    counter(
        "snakepit.request.executed.count",
        tags=["pool", "outcome"],
        called="snakepit.request.executed",
        description="Requests that reached a worker and ended, by how they ended.",
    ),
    distribution(
        "snakepit.request.executed.duration_us",
        buckets=REQUEST_BUCKETS,
        unit=("us", "seconds"),
        tags=_POOL,
        called="snakepit.request.duration",
        description="How long requests ran.",
    ),
    distribution(
        "snakepit.request.executed.queue_us",
        buckets=REQUEST_BUCKETS,
        unit=("us", "seconds"),
        tags=_POOL,
        called="snakepit.request.queue",
        description="How long requests waited before they ran.",
    ),
    counter(
        "snakepit.request.withdrawn.count",
        tags=["pool", "outcome"],
        called="snakepit.request.withdrawn",
        description="Requests that were over before a worker had them.",
    ),
    level(
        "snakepit.request.queued.count",
        down=["snakepit.request.dispatched", "snakepit.request.withdrawn", "snakepit.request.executed"],
        over=_OVER,
        by="request_id",
        tags=_POOL,
        called="snakepit.pool.queue_size",
        description="Requests that wait for a worker.",
    ),
    counter(
        "snakepit.pool.saturated.count",
        tags=["pool", "outcome"],
        called="snakepit.pool.saturated",
        description="Changes of pools into saturation, and requests that they rejected.",
    ),
    counter(
        "snakepit.retry.attempt.count",
        tags=["pool", "reason"],
        called="snakepit.retry.attempt",
        description="Repetitions of requests that may run again.",
    ),
)
_ERRORS: Final = tuple(
    counter(
        f"snakepit.python.exception.{kind}.count",
        tags=["error"],
        called="snakepit.python.exception",
        description="Exceptions of the user's code, by the class that they became; `RemoteError` is the "
        "one for those that no rule knows.",
    )
    for kind in ("mapped", "unmapped")
)
_ARRAYS: Final = (
    counter(
        "snakepit.zero_copy.export.count",
        tags=_ARRAY,
        called="snakepit.zero_copy.export",
        description="Arrays and tables that were lent to another process without a copy.",
    ),
    counter(
        "snakepit.zero_copy.import.count",
        tags=_ARRAY,
        called="snakepit.zero_copy.import",
        description="Arrays and tables of another process that were mapped.",
    ),
    counter(
        "snakepit.zero_copy.fallback.count",
        tags=["kind", "direction", "reason"],
        called="snakepit.zero_copy.fallback",
        description="Arrays and tables that were copied instead, by the reason.",
    ),
    *(
        metrics.sum(
            f"snakepit.zero_copy.{way}.bytes",
            tags=[*_ARRAY, "copied"],
            called="snakepit.zero_copy.bytes",
            description="Bytes that went to another process, shared or copied.",
        )
        for way in ("export", "fallback")
    ),
    *(
        distribution(
            f"snakepit.zero_copy.{way}.duration_ms",
            buckets=COPY_BUCKETS,
            unit=("ms", "seconds"),
            tags=["direction", "copied"],
            called="snakepit.zero_copy.duration",
            description="How long it took to share or to copy an array or a table.",
        )
        for way in ("export", "fallback")
    ),
)
_OWN: Final = (
    counter(
        "snakepit.alert.fired.count",
        tags=["alert", "kind"],
        called="snakepit.alert.fired",
        description="Alerts that fired.",
    ),
    metrics.sum(
        "snakepit.telemetry.dropped.dropped",
        tags=["queue"],
        called="snakepit.telemetry.dropped",
        description="Events that a bounded queue had to drop.",
    ),
)

DEFAULT: Final[tuple[Metric, ...]] = (*_WORKERS, *_REQUESTS, *_ERRORS, *_ARRAYS, *_OWN)
"""The metrics of workers, requests, errors, arrays, and telemetry itself."""
