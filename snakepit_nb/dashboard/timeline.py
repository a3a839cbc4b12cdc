"""The live timeline as a widget: what a feed tells goes to the browser, what a view asks is answered.

It is a `DOMWidget` of ipywidgets: it goes into an `HBox`, has a `layout`, and its traits can be observed.

*Rule:* a message may be handled in any thread, beside the user's cell: whatever it asks for that takes time,
or ends the pool, is done in a thread of its own.
*Rule:* nothing that a message or a feed does raises here: an error would land below whatever cell runs.
*Rule:* every display of it is replaced by the report of what was to be seen, before its model is gone.
"""

from __future__ import annotations

import atexit
import functools
import logging
import math
import os
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import anywidget
import ipywidgets
import traitlets

from snakepit_nb.dashboard import answers, controls, publishing
from snakepit_nb.dashboard.protocol import ACTIONS
from snakepit_nb.dashboard.report import as_html, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snakepit_nb.dashboard.controls import Asked
    from snakepit_nb.dashboard.history import RawEvent

_LOG: Final = logging.getLogger(__name__)
_STATIC: Final = Path(__file__).parent / "static"
_VIEW: Final = "application/vnd.jupyter.widget-view+json"
_MOST_VIEWS: Final = 64
_MOST_ERRANDS: Final = 4
_REPORTS: Final = 20.0  # seconds between two reports, and how often the time that one takes has to pass
_REPORT_SHARE: Final = 200.0
_PATIENCE: Final = 1.0
_LONGEST_WINDOW: Final = 7 * 86_400.0
_SPAN: Final = 2
_TALLEST: Final = 4_000
# What a browser may set; ipywidgets would let it set any trait, the code of the widget included.
_FROM_BROWSER: Final = frozenset({"follow", "window", "selection"})
_OWN: Final = _FROM_BROWSER | {"pool_name", "mini", "height", "recorded", "ended"}

Frame: TypeAlias = "tuple[dict[str, Any], list[bytes]]"
Send: TypeAlias = "Callable[[dict[str, Any], list[bytes]], None]"


class Source(Protocol):
    """What a timeline shows: see `feed.Feed`."""

    on_stopped: Callable[[], None] | None

    def start(self) -> None:
        """Send from now on, beginning with what was before."""

    def close(self) -> None:
        """Send what is left, and no more."""

    def keyframe(self) -> None:
        """Send everything anew."""

    def shown(self) -> None:
        """A view was displayed, which may not be heard for long."""

    def visible(self, view: str, on: bool) -> None:  # noqa: FBT001 - as the message has it
        """A view is looked at, or not any more."""

    def heard(self, view: str) -> None:
        """A view says that it is there."""

    def event(self, event_id: int) -> RawEvent | None:
        """An event by its number; None where it is forgotten."""

    def events(self) -> list[RawEvent]:
        """The events that are kept, oldest first."""

    def frame(self) -> Frame:
        """Everything as it is now, as one batch."""


class Timeline(anywidget.AnyWidget):
    """The timeline of one pool.

    Args:
        pool_name: What the pool is called.
        feed: Makes what is shown; it is handed the way to the browser.
        is_over: Whether the pool has stopped, its last worker gone.
        act: Does one of `protocol.ACTIONS` and says so in a sentence; raises where it cannot.
        error_of: The page and the text of the error of a request, by its number; None where there is none.
        export: A file in one of `protocol.FORMATS`: its name, its type, and what is in it.
        traits: Values of the traits below, and what every `DOMWidget` takes.

    Traits:
        pool_name: What the pool is called.
        mini: Whether only the lanes are shown, without charts and controls.
        height: Pixels of the lanes; 0 for what they need.
        follow: Whether the right edge stays at now.
        window: Seconds that are shown while it follows.
        selection: From when to when something is selected, as two Unix times in seconds; else empty.
        recorded: Whether it shows a recording, in which no time passes.
        ended: Why it shows nothing new any more; empty while it does.
    """

    _esm = (_STATIC / "timeline.js").read_text(encoding="utf-8")
    _css = (_STATIC / "timeline.css").read_text(encoding="utf-8")

    pool_name = traitlets.Unicode().tag(sync=True)
    mini = traitlets.Bool(default_value=False).tag(sync=True)
    height = traitlets.Int(0, min=0, max=_TALLEST).tag(sync=True)
    follow = traitlets.Bool(default_value=True).tag(sync=True)
    window = traitlets.Float(30.0).tag(sync=True)
    selection = traitlets.List(traitlets.Float()).tag(sync=True)
    recorded = traitlets.Bool(default_value=False).tag(sync=True)
    ended = traitlets.Unicode().tag(sync=True)

    def __init__(  # noqa: PLR0913 - all by name but two
        self,
        pool_name: str,
        feed: Callable[[Send], Source],
        *,
        is_over: Callable[[], bool],
        act: Callable[[str, dict[str, Any]], str],
        error_of: Callable[[int], tuple[str, str] | None],
        export: Callable[[str], tuple[str, str, bytes]],
        **traits: Any,  # noqa: ANN401 - as ipywidgets takes them
    ) -> None:
        # One for all of it, and reentrant: an observer of a trait may set another one.
        self._guard = threading.RLock()
        self._is_over, self._act, self._error_of, self._export = is_over, act, error_of, export
        self._pid = os.getpid()
        self._publisher = publishing.publisher()
        self._views: set[str] = set()
        self._displays: list[str] = []
        self._shown = 0
        self._over = self._gone = False
        self._reports_at = 0.0
        self._frozen = threading.Event()
        self._errands = threading.BoundedSemaphore(_MOST_ERRANDS)
        # A model of its own, which ipywidgets would never close. In a box it would have no width by itself.
        self._own_layout = None if "layout" in traits else ipywidgets.Layout(width="100%")
        super().__init__(pool_name=pool_name, **({"layout": self._own_layout} | traits))
        self.on_msg(self._hear)
        source = feed(self._pass_on)
        source.on_stopped = self.end
        self._feed = source
        _open.add(self)
        if self._publisher is not None:
            self._publisher.after_cells(self._after_cell)
        source.start()

    def __setattr__(self, name: str, value: object) -> None:
        """Set one trait after the other: the user's cells do, and the thread that serves the browser."""
        if name not in _OWN:
            super().__setattr__(name, value)
            return
        with self._guard:
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        """What it shows, and whether it still does."""
        return f"<Timeline of pool {self.pool_name!r}{', ended' if self._over else ''}>"

    @property
    def closed(self) -> bool:
        """Whether it is closed: it can be shown as its report, and no more as a widget."""
        return self._gone

    # What is shown

    def still(self) -> dict[str, str]:
        """The report of what is to be seen now, as text and as HTML without scripts.

        Example:
            In a notebook: `IPython.display.display(dashboard.still(), raw=True)`.
        """
        title = f"pool {answers.cut(self.pool_name, answers.LONGEST_NAME)}"
        try:
            frame = self._feed.frame()
            return {"text/plain": as_text(frame), "text/html": as_html(frame, title=title)}
        except Exception:  # noqa: BLE001 - the notebook's own life does not hang on a picture
            _LOG.exception("the report of %s could not be made", title)
            return {"text/plain": f"{title}: its report could not be made"}

    def _ipython_display_(self, **_: object) -> None:
        """Show it below the cell: live where there is a notebook, as text elsewhere."""
        self.show()

    def show(self, publish: Callable[[Mapping[str, object], str], None] | None = None) -> None:
        """Show it below the cell that runs in this thread; each call makes another view of the same model.

        Args:
            publish: Shows a bundle under a display id, where another cell is meant.
        """
        data: dict[str, object] = dict(self.still())
        if self._publisher is None:
            print(data["text/plain"])  # noqa: T201 - what a terminal can show
            return
        display_id = uuid.uuid4().hex
        with self._guard:
            if self.comm is not None and not self._over:
                self._displays.append(display_id)
                self._shown += 1
                if self._publisher.watched:
                    self._feed.shown()
                    data[_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            (publish or self._publisher.show)(data, display_id)

    def freeze(self, text: str = "") -> None:
        """Replace every display of it by the report; `text` takes the place of the report's own text."""
        with self._guard:
            displays, self._displays = self._displays, []
        self._replace(displays, text)

    def _replace(self, displays: list[str], text: str = "") -> None:
        if not displays or self._publisher is None:
            return
        data = self.still()
        if text:
            data["text/plain"] = text
        for display_id in displays:
            self._publisher.replace(data, display_id)

    def _after_cell(self) -> None:
        """Say at once what a program that runs the notebook would not hear after the last cell."""
        try:
            if self._is_over():
                self.end()
            elif self._publisher is not None and not self._publisher.watched:
                self._replace(list(self._displays))
        except Exception:  # noqa: BLE001 - it would land below the cell
            _LOG.debug("the displays could not be brought up to date", exc_info=True)

    def end(self, why: str = "the pool has stopped") -> None:
        """Nothing new comes any more: the report stays, and the model goes where no view needs it.

        Args:
            why: What is said to those views of it that stay.
        """
        with self._guard:
            was_over, self._over = self._over, True
        if was_over:
            # By another thread, at this very moment perhaps: a cell that waits for it must not end before.
            self._frozen.wait(_PATIENCE)
            return
        self.freeze()
        self._frozen.set()
        # A view that no display of ours made survived a reload of its page, which replaces it itself; or it
        # is inside of another widget, where nothing does, and goes on showing what it has.
        stays = len(self._views) > self._shown
        if stays:
            self._report()
        self.ended = why
        if stays:
            self._feed.close()
        else:
            self.close()

    def finish(self, text: str) -> None:
        """Replace it by its report, with this as the plain text, and let go of everything."""
        self.freeze(text)
        self.close()

    def close(self) -> None:
        """Replace it by its report and let go of everything that it holds. Idempotent."""
        feed: Source | None = self.__dict__.get("_feed")
        if feed is not None and not self._gone:
            if self._over:
                self._frozen.wait(_PATIENCE)
            self.freeze()
            self._over = self._gone = True
            self._frozen.set()
            feed.on_stopped = None
            feed.close()
            if self._publisher is not None:
                self._publisher.no_more(self._after_cell)
            self.on_msg(self._hear, remove=True)
            _open.discard(self)
        super().close()
        layout = self.__dict__.get("_own_layout")
        if layout is not None:
            layout.close()

    # To the browser

    def _pass_on(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)
        if content["type"] == "batch" and time.monotonic() >= self._reports_at:
            self._report()

    def _report(self) -> None:
        """Tell the page what to put in its place where the kernel cannot: see widgets/src/notebook.ts."""
        began = time.thread_time()
        still = self.still()
        told = {"text": still["text/plain"], "html": still.get("text/html", "")}
        self._answer({"type": "report", "model": self.model_id, **told})
        # Of a long life it takes long to make.
        self._reports_at = time.monotonic() + max(_REPORTS, (time.thread_time() - began) * _REPORT_SHARE)

    def _answer(self, content: dict[str, object], buffers: list[bytes] | None = None) -> None:
        try:
            self.send(content, buffers)
        except Exception:  # noqa: BLE001 - a socket that closes under a kernel's shutdown, most of all
            _LOG.debug("an answer could not be sent", exc_info=True)

    # From the browser

    def set_state(self, sync_data: Mapping[str, object]) -> None:
        """Take over traits that a browser has set: those that are the user's to set there, and no others."""
        allowed = {name: value for name, value in sync_data.items() if name in _FROM_BROWSER}
        try:
            with self._guard:
                super().set_state(allowed)
        except Exception:  # noqa: BLE001 - a value that is none, or an observer of the user's
            _LOG.debug("what a browser set was not taken over", exc_info=True)

    def _hear(self, _: object, content: object, buffers: object) -> None:
        """Do what a message asks for; in whatever thread."""
        del buffers
        try:
            asked = controls.read(content)
        except controls.Refused as refused:
            _LOG.debug("a message of a front end is refused: %s", refused)
            number = controls.number_of(content)
            if number is not None:
                self._answer(_refusal(content, number, str(refused)))
            return
        try:
            self._do(asked)
        except Exception:  # noqa: BLE001 - it would land below whatever cell runs
            _LOG.debug("a message of a front end could not be served", exc_info=True)

    def _do(self, asked: Asked) -> None:
        if asked.view and not self._is_known(asked.view):
            return
        match asked.verb:
            case "hello":
                self._feed.heard(asked.view)
                self._show_all()
            case "resync":
                self._show_all()
            case "visible":
                self._feed.visible(asked.view, asked.on)
            case "ping":
                self._feed.heard(asked.view)
            case "details":
                self._tell(asked)
            case "do":
                self._errand(functools.partial(self._perform, asked), asked)
            case "export":
                self._errand(functools.partial(self._write, asked), asked)

    def _is_known(self, view: str) -> bool:
        with self._guard:
            if view not in self._views and len(self._views) >= _MOST_VIEWS:
                return False
            self._views.add(view)
            return True

    def _show_all(self) -> None:
        if self._over:
            # Its feed says nothing any more.
            content, buffers = self._feed.frame()
            self._answer(content, buffers)
        else:
            self._feed.keyframe()

    def _tell(self, asked: Asked) -> None:
        event = self._feed.event(asked.id)
        number = event[2].get("request_id") if event is not None else None
        error = self._error_of(number) if isinstance(number, int) else None
        self._answer(answers.details(asked.ask, asked.id, event, error))

    def _perform(self, asked: Asked) -> None:
        given = {name: getattr(asked, name) for name in ACTIONS[asked.action]}
        if asked.action == "stop":
            # First the answer: with the pool goes the model that carries it.
            self._answer(answers.done(asked.ask, "the pool is being stopped", ok=True))
            self._act(asked.action, given)
            return
        try:
            text = self._act(asked.action, given)
        except Exception as error:  # noqa: BLE001 - whatever it is, the view says so
            self._answer(answers.done(asked.ask, str(error), ok=False))
        else:
            self._answer(answers.done(asked.ask, text, ok=True))

    def _write(self, asked: Asked) -> None:
        try:
            name, mime, data = self._export(asked.format)
        except Exception as error:  # noqa: BLE001 - whatever it is, the view says so
            self._answer(answers.file(asked.ask, str(error), ok=False))
        else:
            self._answer(answers.file(asked.ask, "", ok=True, name=name, mime=mime), [data])

    def _errand(self, run: Callable[[], None], asked: Asked) -> None:
        """Do what may take long in a thread of its own; a few at a time."""
        if not self._errands.acquire(blocking=False):
            text = "the kernel is still at work on what was asked before; try again in a moment"
            self._answer(_refusal({"verb": asked.verb}, asked.ask, text))
            return

        def go() -> None:
            try:
                run()
            except Exception:  # noqa: BLE001 - nobody waits for it
                _LOG.debug("what a view asked for failed", exc_info=True)
            finally:
                self._errands.release()

        threading.Thread(target=go, name=f"snakepit_nb-dashboard-{asked.verb}", daemon=True).start()

    @traitlets.validate("window")
    def _check_window(self, proposal: Mapping[str, Any]) -> float:
        value = float(proposal["value"])
        if not math.isfinite(value) or not 0 < value <= _LONGEST_WINDOW:
            text = f"window is a number of seconds above zero, at most {_LONGEST_WINDOW:g}, got {value!r}"
            raise traitlets.TraitError(text)
        return value

    @traitlets.validate("selection")
    def _check_selection(self, proposal: Mapping[str, Any]) -> list[float]:
        value: list[float] = proposal["value"]
        is_span = len(value) == _SPAN and all(map(math.isfinite, value)) and value[0] <= value[1]
        if value and not is_span:
            text = f"selection is empty, or from when to when in Unix seconds, got {value!r}"
            raise traitlets.TraitError(text)
        return value


def _refusal(content: object, ask: int, text: str) -> dict[str, object]:
    """The answer to a question that is not done, in the form that whoever asked waits for."""
    verb = content.get("verb") if isinstance(content, dict) else None
    if verb == "export":
        return answers.file(ask, text, ok=False)
    if verb == "details":
        return {**answers.details(ask, 0, None, None), "text": text}
    return answers.done(ask, text, ok=False)


_open: Final[set[Timeline]] = set()


def _end_all() -> None:
    """At the kernel's end, while its sockets are still there."""
    for each in list(_open):
        if each._pid == os.getpid():  # noqa: SLF001 - same room; a child that the user forked has none
            each.end("the kernel has ended")


# Hooks run last first: after this one those of the pools, and of the kernel's own sockets.
atexit.register(_end_all)
