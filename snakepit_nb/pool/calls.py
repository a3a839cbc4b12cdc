"""A call of a function becomes what is sent: the function by its key, its arguments packed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from snakepit_nb.arrays.sharing import ORDINARY
from snakepit_nb.arrays.store import Store
from snakepit_nb.pool.functions import APPLY, pack_arguments, pack_function
from snakepit_nb.pool.future import PoolFuture
from snakepit_nb.pool.request import Request, next_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.arrays.sharing import Sharing
    from snakepit_nb.pool.functions import Function
    from snakepit_nb.wire.payload import Packed


def packed(  # noqa: PLR0913, PLR0917 - the facts of one call
    fn: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    store: Store,
    number: int,
    sharing: Sharing = ORDINARY,
) -> tuple[Function, Packed]:
    """A function and its arguments as they travel; memory is lent through `store`.

    Raises:
        CaptureError: a part cannot travel.

    Example:
        >>> function, arguments = packed(abs, (-1,), {}, Store("kernel", None), 1)
        >>> arguments.leases
        ()
    """
    function = pack_function(fn, store)
    if function is None:
        return APPLY, pack_arguments((fn, args, kwargs), {}, store, number, sharing=sharing)
    return function, pack_arguments(args, kwargs, store, number, sharing=sharing)


def own_request(
    fn: Callable[..., object], args: tuple[object, ...], command: str, *, session: str | None = None
) -> Request:
    """A request that the pool makes for itself; nobody waits for it.

    Its arrays are copied, for it may be sent to many workers, and a loan is for one.

    Raises:
        CaptureError: a part cannot travel.

    Example:
        >>> own_request(abs, (-1,), "initializer").command
        'initializer'
    """
    number = next_number()
    function, arguments = packed(fn, args, {}, Store("kernel", None), number)
    future: PoolFuture[Any] = PoolFuture(_Nobody(), number, command)
    return Request(
        number, future, function, arguments, command, None, time.monotonic_ns(), alone=True, timeout=None,
        session=session,
    )  # fmt: skip


class _Nobody:
    """Keeps the future of a request that nobody waits for."""

    def attend(self, future: PoolFuture[Any], timeout: float | None) -> None:
        del future, timeout

    def cancel(self, future: PoolFuture[Any]) -> bool:
        del future
        return False

    def running(self, future: PoolFuture[Any]) -> bool:
        del future
        return False
