"""The errors of this package, and the way of an exception from a worker to the kernel.

`types` holds the classes; `observe` sees an exception as a `record`, with `origin` telling which library
raised it; `parcel` makes bytes of it and `rebuild` an exception again, of the class that `mapping` knows for
it, with `stack` and `cells` for its frames; `render` shows it.
"""

from snakepit_nb.errors.observe import describe
from snakepit_nb.errors.parcel import pack_exception
from snakepit_nb.errors.rebuild import unpack_exception
from snakepit_nb.errors.record import ErrorRecord, Frame, from_json, to_json
from snakepit_nb.errors.render import render_text

__all__ = [
    "ErrorRecord",
    "Frame",
    "describe",
    "from_json",
    "pack_exception",
    "render_text",
    "to_json",
    "unpack_exception",
]
