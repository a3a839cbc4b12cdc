"""Puts a display under its cell, and replaces it later, from any thread: in a kernel, and nowhere else.

*Rule:* a replacement names its display and not its cell: it arrives whatever cell runs by then, and is output
of none. The header is that of the cell that runs now all the same: programs that run notebooks hear no other.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOG: Final = logging.getLogger(__name__)


class Publisher(Protocol):
    """Who shows things to the user.

    Attributes:
        watched: Whether somebody may be there to see a widget; a program that runs notebooks shows none.
    """

    @property
    def watched(self) -> bool: ...  # noqa: D102 - see above

    def show(self, data: Mapping[str, object], display_id: str) -> None:
        """Show this below the cell that runs in this thread."""

    def replace(self, data: Mapping[str, object], display_id: str) -> None:
        """Show this in the place of what was shown with that id; in whatever thread, and never raise."""

    def after_cells(self, function: Callable[[], None]) -> None:
        """Call this whenever a cell has ended, before whoever asked for it hears so."""

    def no_more(self, function: Callable[[], None]) -> None:
        """Call it no more."""


class KernelPublisher:
    """Shows things in the notebook of a kernel.

    Args:
        shell: What `get_ipython()` gives in a kernel.
    """

    def __init__(self, shell: Any) -> None:  # noqa: ANN401 - IPython comes without types
        self._shell = shell

    @property
    def watched(self) -> bool:
        """Whether somebody may be there to see a widget."""
        return _watched()

    def after_cells(self, function: Callable[[], None]) -> None:
        """Call this whenever a cell has ended."""
        self._shell.events.register("post_execute", function)

    def no_more(self, function: Callable[[], None]) -> None:
        """Call it no more."""
        with contextlib.suppress(ValueError):  # the shell has forgotten it already
            self._shell.events.unregister("post_execute", function)

    def show(self, data: Mapping[str, object], display_id: str) -> None:
        """Show this below the cell that runs in this thread, or where its displays are captured, there."""
        self._shell.display_pub.publish(dict(data), {}, transient={"display_id": display_id})

    def replace(self, data: Mapping[str, object], display_id: str) -> None:
        """Show this in the place of what was shown with that id."""
        content = {"data": dict(data), "metadata": {}, "transient": {"display_id": display_id}}
        try:
            parent = self._shell.get_parent() or {}
            kernel = self._shell.kernel
            kernel.session.send(
                kernel.iopub_socket,
                "update_display_data",
                content,
                parent.get("header", parent),
                b"display_data",
            )
        except Exception:  # noqa: BLE001 - a socket that closes under a kernel's shutdown, most of all
            _LOG.debug("a display could not be replaced", exc_info=True)


_watched: Callable[[], bool] = lambda: True  # noqa: E731 - what holds until somebody knows better


def set_watched(watched: Callable[[], bool]) -> None:
    """Have this say whether somebody may be there to see a widget.

    Example:
        >>> set_watched(lambda: True)
    """
    global _watched  # noqa: PLW0603 - one process has one front end
    _watched = watched


def publisher() -> Publisher | None:
    """The notebook's, where this process is its kernel; None where no widget can be shown.

    Example:
        >>> publisher() is None
        True
    """
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    kernel = getattr(shell, "kernel", None)
    if hasattr(kernel, "iopub_socket") and hasattr(kernel, "session") and hasattr(shell, "get_parent"):
        return KernelPublisher(shell)
    return None
