"""A page in a real browser that shows a timeline, as a notebook would, and tells what it costs there.

*Rule:* the module is the one that is shipped, called as anywidget calls it, over a model of a few lines.
*Rule:* the browser draws without a graphics card (`--disable-gpu`), as it must where there is none.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import queue
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import snakepit_nb.dashboard

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

STATIC: Final = Path(snakepit_nb.dashboard.__file__).parent / "static"
BROWSERS: Final = ("/usr/bin/chromium", "chromium", "chromium-browser")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE: Final = (1280, 1000)
_START: Final = """async ({ module, style }) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const seen = (globalThis.seen = { deltas: [], frames: [], painted: [], taking: [], said: [], taken: 0 });
  const real = globalThis.requestAnimationFrame.bind(globalThis);
  let paints = 0;
  const begin = CanvasRenderingContext2D.prototype.setTransform;
  CanvasRenderingContext2D.prototype.setTransform = function (...given) {
    paints += 1;
    return begin.apply(this, given);
  };
  globalThis.requestAnimationFrame = (turn) => real((time) => {
    const [before, began] = [paints, performance.now()];
    turn(time);
    const spent = performance.now() - began;
    seen.frames.push(spent);
    if (paints > before) seen.painted.push(spent);
  });
  let last = 0;
  const tick = (time) => {
    if (last > 0) seen.deltas.push(time - last);
    last = time;
    real(tick);
  };
  real(tick);
  const traits = { mini: false, height: 0, follow: true, window: 30, selection: [], ended: "" };
  const ears = new Map();
  const model = {
    get: (name) => traits[name],
    set: (name, value) => void (traits[name] = value),
    save_changes() {},
    send: (content) => void seen.said.push(content),
    on: (name, heard) => void ears.set(name, [...(ears.get(name) ?? []), heard]),
    off: (name, heard) => void ears.set(name, (ears.get(name) ?? []).filter((one) => one !== heard)),
  };
  globalThis.take = (messages) => {
    for (const [content, buffers] of messages) {
      const views = buffers.map((text) => new DataView(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer));
      const began = performance.now();
      for (const heard of ears.get("msg:custom") ?? []) heard(content, views);
      seen.taking.push(performance.now() - began);
      seen.taken += 1;
    }
    return seen.said.splice(0);
  };
  const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const widget = await (await import(address)).default();
  await widget.initialize({ model });
  await widget.render({ model, el: document.body.appendChild(document.createElement("div")) });
}"""  # noqa: E501 - JavaScript
_FIGURES: Final = """() => {
  const figure = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const at = (share) => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0) / 1000;
    return { median: at(0.5), p95: at(0.95), sample: sorted.length };
  };
  const { deltas, frames, painted, taking, taken } = seen;
  const found = { deltas: figure(deltas), frames: figure(frames), painted: figure(painted) };
  return { taken, taking: figure(taking), ...found };
}"""
_COUNT: Final = r"""() => {
  const text = document.querySelector(".snakepit-nb .events caption").textContent;
  return Number((/ of ([\d,.\s]+)/.exec(text)?.[1] ?? "0").replace(/\D/g, ""));
}"""


class Figure(NamedTuple):
    """Seconds, and of how many."""

    median: float
    p95: float
    sample: int


class Heap(NamedTuple):
    """MB after a collection: of objects, and of the arrays beside them."""

    objects: float
    arrays: float


def missing() -> str | None:
    """Why there is no page to be had; None where there is one."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (pip install playwright)"
    if _browser() is None:
        return "there is no browser (Debian's package chromium)"
    return None


def _browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name)) is not None), None)


class Page:
    """A timeline in a browser; `post` may be called from any thread, everything else from one.

    Args:
        heard: Is told what the page says to its kernel.
    """

    def __init__(self, heard: Callable[[dict[str, Any]], None]) -> None:
        self.posted = 0
        self._heard = heard
        self._messages: queue.SimpleQueue[tuple[dict[str, Any], list[bytes]]] = queue.SimpleQueue()
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start the browser, and show a timeline that knows nothing yet."""
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it may be missing

        try:
            playwright = self._ends.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=_browser(), args=list(ARGUMENTS))
            self._ends.callback(browser.close)
            width, height = SIZE
            self._page = browser.new_page(viewport={"width": width, "height": height})
            self._session = self._page.context.new_cdp_session(self._page)
            module = (STATIC / "timeline.js").read_text(encoding="utf-8")
            style = (STATIC / "timeline.css").read_text(encoding="utf-8")
            self._page.evaluate(_START, {"module": module, "style": style})
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        self._ends.close()

    def post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Lay a message ready; the feed's `send`."""
        self._messages.put((content, buffers))

    def take(self, patience: float) -> bool:
        """Hand over what lies ready; whether anything did within so many seconds."""
        ready = []
        with contextlib.suppress(queue.Empty):
            ready.append(self._messages.get(timeout=patience))
            while True:
                ready.append(self._messages.get_nowait())
        texts = [
            [content, [base64.b64encode(each).decode() for each in buffers]] for content, buffers in ready
        ]
        self.posted += len(ready)
        # As a text, which the page parses at once: Playwright's own way of passing objects is slow.
        for said in self._page.evaluate("text => take(JSON.parse(text))", json.dumps(texts)):
            self._heard(said)
        return bool(ready)

    def heap(self) -> Heap:
        """What is left after a collection."""
        self._session.send("HeapProfiler.collectGarbage")
        used = self._session.send("Runtime.getHeapUsage")
        return Heap(used["usedSize"] / 1e6, used.get("backingStorageSize", 0.0) / 1e6)

    def figures(self) -> dict[str, Any]:
        """What `seen` has: messages taken, and seconds of each kind."""
        found = self._page.evaluate(_FIGURES)
        taken = found.pop("taken")
        return {"taken": taken, **{name: Figure(**values) for name, values in found.items()}}

    def count(self, name: str) -> int:
        """How many rows of this name the table has."""
        self._page.get_by_role("searchbox").fill(name)
        self._page.get_by_role("button", name="Table", exact=True).click()
        self._page.wait_for_function(
            "() => document.querySelector('.snakepit-nb .events caption')?.textContent"
        )
        return int(self._page.evaluate(_COUNT))
