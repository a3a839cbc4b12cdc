"""A cell that may run again says so below it each time that it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from snakepit_nb import events, telemetry
from snakepit_nb.magics.display import note
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snakepit_nb.pool.future import PoolFuture
    from snakepit_nb.telemetry import EventName

_WHY: Final = {"crashed": "its worker died", "error": "it raised an error"}


def tell_attempts(future: PoolFuture[Any], most: int) -> None:
    """Say below the cell that runs now when this request of its runs again.

    Args:
        future: The request.
        most: How often it may run again.
    """
    number, origin = future.request_id, output.origin()
    handler = f"snakepit_nb.magics.again.{number}"

    def told(_: EventName, numbers: Mapping[str, float], facts: Mapping[str, object], config: object) -> None:
        del config
        if facts.get("request_id") == number:
            why = _WHY.get(str(facts.get("reason")), "it failed")
            attempt = int(numbers["attempt"]) + 1
            note(f"{facts['command']} runs again, for {why}: attempt {attempt} of {most + 1}", origin)

    telemetry.attach(handler, events.RETRY_ATTEMPT, told)
    future.add_done_callback(lambda _: telemetry.detach(handler))
