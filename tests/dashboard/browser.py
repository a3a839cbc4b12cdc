"""The browser's end of a feed, in Python: it keeps what it is sent, and says when something was lost."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from snakepit_nb.dashboard.packing import Table, tables
from tests.dashboard.story import Seen, seen

if TYPE_CHECKING:
    from collections.abc import Callable

Content: TypeAlias = dict[str, Any]
PATIENCE = 30.0
# A summary may come before the first batch does.
NOTHING: Content = {
    "key": False,
    "seq": 0,
    "open": [],
    "lanes": [],
    "summary": {"saturated_since": None, "queued": None, "state": ""},
}


class Browser:
    """Takes the messages of one feed in, as the widget's store does.

    Attributes:
        rows: All rows since the last keyframe, with their names.
        texts: The dictionary.
        lost: Whether a batch was missed since the last keyframe.
    """

    def __init__(self) -> None:
        self.messages: list[Content] = []
        self.last: Content = NOTHING
        self.rows: list[Seen] = []
        self.density: list[Any] = []
        self.samples = 0
        self.stats = 0
        self.texts: list[str] = []
        self.lost = False
        self._seq = 0
        self._came = threading.Condition()

    def __call__(self, content: Content, buffers: list[bytes]) -> None:
        """Take a message in."""
        content = json.loads(json.dumps(content, allow_nan=False))
        with self._came:
            self.messages.append(content)
            if content["type"] == "batch":
                self._take(content, tables(content, buffers))
            elif content["seq"] != self._seq:
                self.lost = True
            self._came.notify_all()

    def _take(self, content: Content, found: tuple[Table, Table, Table, Table]) -> None:
        if content["key"]:
            self.rows, self.density, self.samples, self.stats = [], [], 0, 0
            self.texts, self.lost = [], False
        elif content["seq"] != self._seq + 1:
            self.lost = True
        self._seq = content["seq"]
        self.last = content
        if self.lost:
            return
        assert content["base"] == len(self.texts)
        self.texts += content["strings"]
        self.rows += seen(found[0], self.texts)
        self.density += found[1].tolist()
        self.samples += len(found[2])
        self.stats += len(found[3])

    @property
    def batches(self) -> list[Content]:
        """The batches among the messages."""
        return [each for each in self.messages if each["type"] == "batch"]

    @property
    def summaries(self) -> list[Content]:
        """The messages that have nothing but a summary."""
        return [each for each in self.messages if each["type"] == "summary"]

    def wait(self, until: Callable[[], object]) -> None:
        """Return once something is so, which is looked at with each message."""
        with self._came:
            assert self._came.wait_for(until, PATIENCE), self.messages[-3:]
