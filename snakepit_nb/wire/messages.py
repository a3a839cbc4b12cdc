"""What kernel and worker say to each other, as frozen values, and who may say what when.

*Rule:* a message holds numbers, text and bytes only; what the bytes mean (a pickled call, say) is the
business of the rooms that write and read them.

*Rule:* one packet carries at most one `Call`, and comes out of the socket whole. A worker that has taken a
packet has claimed its call; a packet that nobody has taken can still be taken back by the kernel.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Define(NamedTuple):
    """Kernel to worker: from now on `key` names this function or cell."""

    key: bytes
    function: bytes
    buffers: bytes


class Call(NamedTuple):
    """Kernel to worker: call function `key` with the packed arguments."""

    request_id: int
    key: bytes
    arguments: bytes
    buffers: bytes


class Stream(NamedTuple):
    """Kernel to worker, before a `Call`: send what it yields one by one, and at most `credit` unasked."""

    request_id: int
    credit: int


class More(NamedTuple):
    """Kernel to worker: so many values more of this stream may come."""

    request_id: int
    credit: int


class Enough(NamedTuple):
    """Kernel to worker: no value of this stream is wanted any more; close what yields them."""

    request_id: int


class Interrupt(NamedTuple):
    """Kernel to worker, where calls run in threads: raise KeyboardInterrupt in this one, if it runs."""

    request_id: int


class Forward(NamedTuple):
    """Kernel to worker: which events to send from now on (see `sampling`)."""

    rules: bytes


class Release(NamedTuple):
    """Either way: these leases (unsigned 64-bit numbers, packed) of yours are no longer used here."""

    leases: bytes


class Introduce(NamedTuple):
    """Either way, on the lane for descriptors: an arena whose descriptor comes along with this packet."""

    nbytes: int
    arena: str


class Dismiss(NamedTuple):
    """Either way, on the lane for descriptors: no handle will name this arena any more."""

    arena: str


class Stop(NamedTuple):
    """Kernel to worker: end when the packets before this one are done."""


class Nudge(NamedTuple):
    """Kernel to itself, through the worker's end: whoever waits for this worker should look up."""


class Hello(NamedTuple):
    """Worker to kernel, first of all: who I am, and the arena, if any, that I sent along the other lane."""

    pid: int
    arena_bytes: int
    worker_id: str
    arena: str


class Value(NamedTuple):
    """Worker to kernel: the call returned; times in nanoseconds of the machine's monotonic clock."""

    request_id: int
    started_ns: int
    ended_ns: int
    value: bytes
    buffers: bytes


class Item(NamedTuple):
    """Worker to kernel: one value of a stream."""

    request_id: int
    value: bytes
    buffers: bytes


class Error(NamedTuple):
    """Worker to kernel: the call raised; `error` is what `errors.pack_exception` made of it."""

    request_id: int
    started_ns: int
    ended_ns: int
    error: bytes


class Output(NamedTuple):
    """Worker to kernel: text that the call of `request_id` wrote to `stream`."""

    request_id: int
    stream: str
    text: str


class Display(NamedTuple):
    """Worker to kernel: a display message of the call of `request_id`, as JSON."""

    request_id: int
    content: bytes


class Events(NamedTuple):
    """Worker to kernel: telemetry events (see `forwarding`)."""

    request_id: int
    events: bytes


class Spill(NamedTuple):
    """Either way, alone in its packet: the real one is too long for the socket and lies in this memory.

    `arena` is the sender's, or where that has no room, memory for this packet alone; its descriptor came
    along the lane before.
    """

    offset: int
    nbytes: int
    lease: int
    arena: str


class Broken(NamedTuple):
    """Worker to kernel instead of `Hello`: I cannot start, and why, as `errors.pack_exception` tells it."""

    error: bytes


Message = (
    Define
    | Call
    | Stream
    | More
    | Enough
    | Interrupt
    | Forward
    | Release
    | Introduce
    | Dismiss
    | Stop
    | Nudge
    | Hello
    | Value
    | Item
    | Error
    | Output
    | Display
    | Events
    | Spill
    | Broken
)


class Side(Enum):
    """Who speaks."""

    KERNEL = "kernel"
    WORKER = "worker"


class Phase(Enum):
    """How far a conversation has come."""

    GREETING = "greeting"
    SERVING = "serving"
    STOPPING = "stopping"
    OVER = "over"


_ANSWERS: Final[dict[type, Phase]] = {
    Value: Phase.SERVING,
    Item: Phase.SERVING,
    Error: Phase.SERVING,
    Output: Phase.SERVING,
    Display: Phase.SERVING,
    Events: Phase.SERVING,
    Release: Phase.SERVING,
    Spill: Phase.SERVING,
    Nudge: Phase.SERVING,
}

WHAT_MAY_FOLLOW: Final[Mapping[tuple[Side, Phase], Mapping[type, Phase]]] = {
    (Side.WORKER, Phase.GREETING): {
        Hello: Phase.SERVING,
        Broken: Phase.OVER,
        Nudge: Phase.GREETING,
    },
    (Side.WORKER, Phase.SERVING): _ANSWERS,
    (Side.KERNEL, Phase.SERVING): {
        Define: Phase.SERVING,
        Call: Phase.SERVING,
        Stream: Phase.SERVING,
        More: Phase.SERVING,
        Enough: Phase.SERVING,
        Interrupt: Phase.SERVING,
        Forward: Phase.SERVING,
        Release: Phase.SERVING,
        Spill: Phase.SERVING,
        Stop: Phase.STOPPING,
    },
    (Side.KERNEL, Phase.STOPPING): {Release: Phase.STOPPING},
}
"""For each side and phase: the messages it may send, and the phase that each leads to."""


def follow(side: Side, phase: Phase, message: Message) -> Phase | None:
    """The phase after `message`, or None where `side` may not say it in `phase`.

    Example:
        >>> follow(Side.WORKER, Phase.GREETING, Hello(1, 0, "default-0", ""))
        <Phase.SERVING: 'serving'>
        >>> follow(Side.WORKER, Phase.SERVING, Stop()) is None
        True
    """
    return WHAT_MAY_FOLLOW.get((side, phase), {}).get(type(message))
