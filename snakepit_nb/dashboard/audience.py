"""Who looks at a timeline, and when it has to be told everything again.

*Rule:* pure; times come in as numbers, in seconds.
*Rule:* a view is taken to be there until one has said something: a kernel that is busy with a cell hears
nothing, and its page is to be drawn all the same.
"""

from __future__ import annotations

from typing import Final

_BLIND: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""So long after a view was shown a keyframe goes out, whether or not it was heard to ask for one."""

_BLIND_EVERY: Final = 30.0
_PATIENCE: Final = 16.0  # three pings
_MOST: Final = 64


class Audience:
    """The views of one timeline.

    Example:
        >>> audience = Audience(0.0)
        >>> audience.looks(), audience.wants_keyframe(0.6), audience.wants_keyframe(0.7)
        (True, True, False)
        >>> audience.visible("a", False, 0.8)
        >>> audience.looks(), audience.wants_keyframe(1.1)
        (False, False)
    """

    def __init__(self, now: float) -> None:
        self._views: dict[str, bool] = {}
        self._heard: dict[str, float] = {}
        self._shown: float | None = now
        self._step = 0

    def shown(self, now: float) -> None:
        """A view was shown somewhere, and has not been heard yet."""
        self._shown = now
        self._step = 0

    def heard(self, view: str, now: float) -> None:
        """A view said something; one that is new is taken to be visible."""
        self._shown = None
        self._views.setdefault(view, True)
        self._heard[view] = now
        # A page that was reloaded took no leave, and its new view is another. While nobody at all is heard,
        # the kernel may be busy, and nobody is taken to be gone.
        for other, last in list(self._heard.items()):
            if last < now - _PATIENCE and self._views[other]:
                self._gone(other)
        while len(self._views) > _MOST:
            self._gone(next(iter(self._views)))

    def _gone(self, view: str) -> None:
        del self._views[view], self._heard[view]

    def visible(self, view: str, on: bool, now: float) -> None:  # noqa: FBT001 - what the browser says
        """A view is looked at, or not any more."""
        self.heard(view, now)
        self._views[view] = on

    def looks(self) -> bool:
        """Whether anybody may be looking."""
        return self._shown is not None or any(self._views.values())

    def wants_keyframe(self, now: float) -> bool:
        """Whether it is time for a keyframe that nobody asked for."""
        if self._shown is None or now < self._shown + self._due():
            return False
        while now >= self._shown + self._due():
            self._step += 1
        return True

    def _due(self) -> float:
        late = self._step - len(_BLIND) + 1
        return _BLIND[self._step] if late <= 0 else _BLIND[-1] + late * _BLIND_EVERY
