"""What kernel and browser say to each other, recorded: a comm that keeps what is sent, and can say things."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from comm.base_comm import BaseComm

if TYPE_CHECKING:
    from collections.abc import Callable


class RecordedComm(BaseComm):
    """A comm whose other end is a test."""

    made: list[RecordedComm]

    def __init__(self, **arguments: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self._news = threading.Condition()
        super().__init__(**arguments)
        type(self).made.append(self)

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        del metadata, keys
        with self._news:
            self.sent.append({"kind": msg_type, "data": data or {}, "buffers": list(buffers or [])})
            self._news.notify_all()

    def close(self, *arguments: Any, **options: Any) -> None:
        super().close(*arguments, **options)
        self.on_msg(None)  # it is kept by the test, and what it served is not

    def say(self, content: object) -> None:
        """A custom message of a view."""
        self._say({"method": "custom", "content": content})

    def set(self, **state: object) -> None:
        """Traits that a view sets."""
        self._say({"method": "update", "state": state, "buffer_paths": []})

    def _say(self, data: dict[str, object]) -> None:
        self.handle_msg({"content": {"comm_id": self.comm_id, "data": data}, "buffers": []})

    def messages(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The custom messages so far, their buffers among them."""
        found = [
            {**each["data"]["content"], "buffers": each["buffers"]}
            for each in list(self.sent)
            if each["kind"] == "comm_msg" and each["data"].get("method") == "custom"
        ]
        return [each for each in found if kind in {None, each["type"]}]

    def wait_for(self, wanted: Callable[[dict[str, Any]], object], timeout: float = 10.0) -> dict[str, Any]:
        """The first custom message that is wanted, once it is there."""
        until = time.monotonic() + timeout
        with self._news:
            while True:
                for message in self.messages():
                    if wanted(message):
                        return message
                left = until - time.monotonic()
                assert left > 0, f"it did not come; there are {[each['type'] for each in self.messages()]}"
                self._news.wait(left)

    def answer(self, ask: int) -> dict[str, Any]:
        """The answer to a question."""
        return self.wait_for(lambda message: message.get("ask") == ask)

    @property
    def closed(self) -> bool:
        """Whether the kernel has closed it."""
        return any(each["kind"] == "comm_close" for each in self.sent)
