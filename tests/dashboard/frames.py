"""Keyframes for tests, written by hand after the protocol: add what happened, then take the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snakepit_nb.dashboard.protocol import DENSITY_COLUMNS, ROW_COLUMNS, Kind, Outcome

NAN = float("nan")


@dataclass
class Frames:
    """What a pool did, told row by row; `origin` is Unix time, all else seconds since it."""

    pool: str = "default"
    workers: int = 2
    origin: float = 1_790_000_000.0
    now: float = 10.0
    state: str = "stopped"
    strings: list[str] = field(default_factory=list)
    rows: list[tuple[float, float, float, int, int, int, int, int, int]] = field(default_factory=list)
    density: list[tuple[float, float, float, int, int, int]] = field(default_factory=list)
    samples: list[tuple[float, ...]] = field(default_factory=list)
    stats: list[tuple[float, ...]] = field(default_factory=list)
    open: list[list[Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    labels: list[str] | None = None

    def text(self, text: str) -> int:
        """The index of a string."""
        if text not in self.strings:
            self.strings.append(text)
        return self.strings.index(text)

    def row(  # noqa: PLR0913 - a row has these columns
        self,
        kind: Kind,
        t: float,
        *,
        lane: int = 0,
        dur: float = 0.0,
        extra: float = 0.0,
        name: str = "",
        life: int = 0,
        outcome: Outcome = Outcome.NONE,
    ) -> None:
        """One row of any kind."""
        number = len(self.rows) + 1
        self.rows.append((t, dur, extra, number, lane, self.text(name), life, int(kind), int(outcome)))

    def request(  # noqa: PLR0913 - a row has these columns
        self,
        t: float,
        dur: float,
        *,
        lane: int = 1,
        outcome: Outcome = Outcome.OK,
        wait: float = 0.0,
        name: str = "work",
        life: int = 1,
    ) -> None:
        """A request that ended."""
        self.row(Kind.REQUEST, t, lane=lane, dur=dur, extra=wait, name=name, life=life, outcome=outcome)

    def size(self, kind: Kind) -> int:
        """How many bytes the rows of a kind tell of."""
        return sum(int(row[2]) for row in self.rows if row[7] == kind and math.isfinite(row[2]))

    def frame(self) -> tuple[dict[str, Any], list[bytes]]:
        """The keyframe."""
        counts = dict.fromkeys(("ok", "error", "cancelled", "timeout", "crashed"), 0)
        for row in self.rows:
            if row[7] == Kind.REQUEST and row[8] != Outcome.NONE:
                counts[Outcome(row[8]).name.lower()] += 1
        labels = self.labels or [f"{self.pool}-{number}" for number in range(1, self.workers + 1)]
        lanes = [{"lane": 0, "label": "pool", "kind": "pool", "worker": None, "state": "idle"}]
        lanes += [
            {"lane": lane, "label": label, "kind": "worker", "worker": f"{label}#2", "state": "gone"}
            for lane, label in enumerate(labels, 1)
        ]
        for lane in lanes:
            lane["tainted_until"] = None
        summary = {
            "pool": self.pool,
            "profile": "process",
            "state": self.state,
            "reason": "shutdown" if self.state == "stopped" else "",
            "workers": {"busy": 0, "idle": 0, "tainted": 0, "starting": 0, "target": self.workers},
            "queued": 0,
            "requests": counts,
            "bytes_shared": self.size(Kind.EXPORT),
            "bytes_copied": self.size(Kind.FALLBACK),
            "recycled": sum(1 for row in self.rows if row[7] == Kind.RECYCLED),
            "crashes": sum(1 for row in self.rows if row[7] == Kind.CRASH),
            "exceptions": sum(1 for row in self.rows if row[7] == Kind.EXCEPTION),
            "saturated_since": None,
            "events": len(self.rows),
            "forgotten": 0,
            **self.summary,
        }
        content = {
            "type": "batch",
            "seq": 1,
            "key": True,
            "origin_ms": self.origin * 1000,
            "now": self.now,
            "base": 0,
            "strings": self.strings,
            "lanes": lanes,
            "open": self.open,
            "rows": len(self.rows),
            "density": len(self.density),
            "samples": len(self.samples),
            "stats": len(self.stats),
            "summary": summary,
        }
        buffers = [
            columns(self.rows, ROW_COLUMNS),
            columns(self.density, DENSITY_COLUMNS),
            np.array(self.samples, "<f8").tobytes(),
            np.array(self.stats, "<f8").tobytes(),
        ]
        return content, buffers


def columns(rows: list[Any], layout: tuple[tuple[str, str], ...]) -> bytes:
    """Rows as the columns of a buffer."""
    turned = list(zip(*rows, strict=True)) if rows else [() for _ in layout]
    return b"".join(
        np.asarray(values, np.dtype(kind)).tobytes() for values, (_, kind) in zip(turned, layout, strict=True)
    )
