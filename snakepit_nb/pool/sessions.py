"""Sessions as the pool sees them: which there are, what they keep, and whether they are lost.

*Rule:* a session that is lost says so once, and says what it kept; whoever uses its name after that begins
anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from snakepit_nb import events
from snakepit_nb.errors.types import PoolError, SessionLost
from snakepit_nb.pool.calls import own_request
from snakepit_nb.wire.sessions import forget

if TYPE_CHECKING:
    from snakepit_nb.pool import actions
    from snakepit_nb.pool.office import Office

_SECOND: Final = 1_000_000_000


class _Entry:
    """What the kernel knows of one session."""

    __slots__ = ("lost", "names", "told", "used_at", "worker_id")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.worker_id = ""
        self.used_at = time.monotonic()
        self.lost = ""
        self.told = False


class Sessions:
    """The sessions of one pool; the pool's lock is held."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._entries: dict[str, _Entry] = {}

    def use(self, name: str) -> None:
        """Somebody has a request for a session.

        Raises:
            SessionLost: it is gone, and nobody was told; the next use begins a new one.
            PoolError: there are as many as there may be.
        """
        entry = self._entries.get(name)
        if entry is not None and entry.lost:
            del self._entries[name]
            if not entry.told:
                raise self._error(name, entry)
            entry = None
        if entry is None:
            self._check_room()
            entry = self._entries[name] = _Entry()
        entry.used_at = time.monotonic()

    def _check_room(self) -> None:
        office = self._office
        most = office.options.max_sessions
        kept = sorted(name for name, entry in self._entries.items() if not entry.lost)
        if len(kept) >= most:
            text = (
                f"pool {office.name!r} keeps {most} sessions, and may keep no more (option max_sessions): "
                f"close one of {', '.join(kept)}"
            )
            raise PoolError(text, pool=office.name)

    def opened(self, action: actions.Opened) -> None:
        """A session was given its worker."""
        entry = self._entries.setdefault(action.session, _Entry())
        entry.worker_id = action.worker_id
        self._office.tell(events.SESSION_OPENED, {}, self._facts(action.session, entry))
        if self._office.options.session_ttl:
            self._look_later(action.session, entry)

    def lost(self, action: actions.Lost) -> None:
        """A session's worker keeps it no longer."""
        self._lose(action.session, "stopped" if self._office.state.closing else action.reason)

    def _lose(self, name: str, reason: str) -> None:
        entry = self._entries.get(name)
        if entry is not None and not entry.lost:
            entry.lost = reason
            self._office.tell(events.SESSION_LOST, {}, {**self._facts(name, entry), "reason": reason})

    def why_lost(self, name: str) -> SessionLost:
        """What those hear whose requests waited for a session when it was lost; it is said then."""
        entry = self._entries.get(name)
        if entry is None or not entry.lost:
            # It was said already, or the session was closed; it may have begun anew since.
            entry = _Entry()
            entry.lost = "stopped"
        entry.told = True
        return self._error(name, entry)

    def _error(self, name: str, entry: _Entry) -> SessionLost:
        return SessionLost(
            pool=self._office.name,
            session=name,
            worker_id=entry.worker_id,
            reason=entry.lost,
            names=sorted(entry.names),
        )

    def _facts(self, name: str, entry: _Entry) -> dict[str, object]:
        return {"worker_id": entry.worker_id, "pool": self._office.name, "session": name}

    # Ends that are asked for

    def close(self, name: str) -> None:
        """Have the worker of a session forget it."""
        entry = self._entries.pop(name, None)
        if entry is None or entry.lost or not entry.worker_id:
            return
        office = self._office
        request = own_request(forget, (name,), "close session", session=name)
        office.requests[request.number] = request
        office.enter(request)
        office.state.ended(name)

    def _look_later(self, name: str, entry: _Entry) -> None:
        """See whether a session is used when its time is over."""
        due = entry.used_at + self._office.options.session_ttl
        self._office.reactor.at(
            int(max(due, time.monotonic()) * _SECOND),
            lambda: self._look(name, entry),
            lambda: self._entries.get(name) is entry,
        )

    def _look(self, name: str, entry: _Entry) -> None:
        office = self._office
        with office.lock:
            if entry.lost or self._entries.get(name) is not entry:
                return
            if any(request.session == name for request in office.requests.values()):
                entry.used_at = time.monotonic()
            if time.monotonic() - entry.used_at < office.options.session_ttl:
                self._look_later(name, entry)
            else:
                self.close(name)
                self._entries[name] = entry
                self._lose(name, "expired")
        office.flush()

    # What may be asked

    def names_of(self, name: str) -> set[str]:
        """The names that a session keeps; who learns of more adds them. Empty where there is none."""
        entry = self._entries.get(name)
        return entry.names if entry is not None and not entry.lost else set()

    def now(self) -> dict[str, str]:
        """The sessions that there are, and the worker of each."""
        return {name: entry.worker_id for name, entry in self._entries.items() if not entry.lost}
