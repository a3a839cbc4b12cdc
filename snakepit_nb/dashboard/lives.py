"""The lives of workers, put together from the rows of a keyframe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snakepit_nb.dashboard.protocol import Kind, Outcome

if TYPE_CHECKING:
    from snakepit_nb.dashboard.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Life:
    """One worker of a slot; times in seconds since the origin.

    Attributes:
        label: The slot's, and which of its workers this is.
        end: Why it ended; "" where it lives, or ended with its pool.
    """

    label: str
    begin: float
    seconds: float
    requests: int
    failed: int
    end: str


def lives(shot: Snapshot) -> list[Life]:
    """The lives that rows tell of, in order of slots and time."""
    rows = shot.rows
    known = rows["life"] > 0
    keys = rows["lane"][known].astype(np.int64) * 65536 + rows["life"][known]
    if not len(keys):
        return []
    chosen = rows.where(known)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    ends = np.append(starts[1:], len(keys))
    ends_of_pool = rows["t"][rows["kind"] == Kind.POOL_STOPPED]
    over = float(ends_of_pool.max()) if len(ends_of_pool) else shot.now
    last = {int(key >> 16): int(key) for key in keys}
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        mine = chosen.where(order[start:end])
        requests = mine["kind"] == Kind.REQUEST
        failed = requests & (mine["outcome"] > Outcome.OK)
        begun = float(mine["t"].min())
        until = float((mine["t"] + np.where(mine["kind"] == Kind.TAINTED, 0, mine["dur"])).max())
        ended = np.isin(mine["kind"], (int(Kind.RECYCLED), int(Kind.CRASH)))
        lane, life = int(mine["lane"][0]), int(mine["life"][0])
        if not ended.any() and last[lane] == int(keys[start]):
            until = max(until, over)
        why = ""
        for place in np.flatnonzero(ended).tolist():
            name = shot.name(int(mine["name"][place]), 40)
            if int(mine["kind"][place]) == Kind.CRASH:
                why = f"crash: {name}" if name else "crash"
            elif not why:
                why = name
        found.append(
            Life(
                f"{shot.label(lane, 40)} #{life}",
                begun,
                max(until - begun, 0.0),
                int(requests.sum()),
                int(failed.sum()),
                why,
            )
        )
    return found
