"""A session: calls that share what one worker keeps for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from snakepit_nb.wire.sessions import Kept, call_in

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable

    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.pool.pool import Pool

T = TypeVar("T")
P = ParamSpec("P")


class Session:
    """Calls that run in one worker, with what it keeps for them between two calls; `Pool.session` makes it.

    A model, a database connection or a GPU's memory stays where it is, under a name; `session["name"]` stands
    for it among the arguments of a call. `%%snakepit --session NAME` cells see the same names.

    Args:
        pool: The pool whose worker keeps it.
        name: What it is called; two sessions of one name are one.
        strict: Whether calls wait for that worker. If not, one goes elsewhere where that worker is busy, and
            what it finds there is what it kept there: for caches that any worker can fill.

    Example:
        >>> from snakepit_nb import Pool
        >>> with Pool(1) as pool, pool.session("counting") as session:
        ...     session.keep("numbers", list, range(4)).result()
        ...     session.submit(sum, session["numbers"]).result()
        6
    """

    def __init__(self, pool: Pool, name: str, *, strict: bool = True) -> None:
        self._pool = pool
        self.name = name
        self.strict = strict

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> PoolFuture[T]:
        """Have the session's worker call `fn(*args, **kwargs)`; `session["name"]` may stand among these.

        Raises:
            SessionLost: its worker is gone, and what it kept with it. Said once: the next call begins anew.
            CaptureError, PoolClosed, PoolBroken, PoolSaturated, ArrayError: as for `Pool.submit`.
        """
        return self._call(None, fn, args, kwargs)

    def keep(
        self, name: str, fn: Callable[..., object], /, *args: object, **kwargs: object
    ) -> PoolFuture[None]:
        """Have the session's worker call `fn` and keep the result under `name`, which stays there.

        Raises:
            ValueError: `name` is no identifier.
            SessionLost, CaptureError, PoolClosed, PoolBroken, PoolSaturated, ArrayError: as for `submit`.
        """
        if not name.isidentifier():
            text = f"name: expected an identifier, like 'model', got {name!r}"
            raise ValueError(text)
        return self._call(name, fn, args, kwargs)

    def get(self, name: str) -> PoolFuture[Any]:
        """Bring back a copy of what the session keeps under `name`.

        Raises:
            SessionLost, PoolClosed, PoolBroken, PoolSaturated: as for `submit`.
        """
        return self._call(None, _itself, (Kept(name),), {})

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - it stands for an object of any type
        """What stands for the value that the session keeps under `name`, among the arguments of a call."""
        return Kept(name)

    @property
    def names(self) -> set[str]:
        """What the session is known to keep."""
        return self._pool.names_of(self.name)

    def learn(self, names: Iterable[str]) -> None:
        """Take note that these, and no others, are the names that the session keeps."""
        self._pool.names_of(self.name, names)

    def close(self) -> None:
        """Have the worker forget all that the session keeps. Idempotent."""
        self._pool.end_session(self.name)

    def _call(
        self, keep: str | None, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> PoolFuture[Any]:
        command = getattr(fn, "__name__", None) or type(fn).__name__
        home, near = (self.name, None) if self.strict else (None, self.name)
        return self._pool.request(
            call_in,
            (self.name, keep, fn, args, kwargs),
            command=command,
            session=home,
            near=near,
            keeps=keep if self.strict else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: types.TracebackType | None
    ) -> None:
        if not self._pool.closed:
            self.close()

    def __repr__(self) -> str:
        kept = ", ".join(sorted(self.names)) or "nothing yet"
        return f"<Session {self.name!r} of pool {self._pool.name!r}: {kept}>"


def _itself(value: T) -> T:
    return value
