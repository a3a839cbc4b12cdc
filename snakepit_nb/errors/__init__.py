"""The errors of this package, and the way of an exception from a worker to the kernel.

`types` holds the classes; `observe` sees an exception as a `record`, with `origin` telling which library
raised it; `parcel` makes bytes of it and `rebuild` an exception again, of the class that `mapping` knows for
it, with `stack` and `cells` for its frames; `render` shows it as text and `page` as HTML, both with its
`facts`. `held`, `arrays` and `close` look at what the failing line had in hand, and `rules` are what
`mapping` knows. `several` is the error of many runs.
"""

from snakepit_nb.errors.observe import describe
from snakepit_nb.errors.parcel import pack_exception
from snakepit_nb.errors.rebuild import unpack_exception
from snakepit_nb.errors.record import ArrayFacts, ErrorRecord, Frame, from_json, to_json
from snakepit_nb.errors.render import render_line, render_text

__all__ = [
    "ArrayFacts",
    "ErrorRecord",
    "Frame",
    "describe",
    "from_json",
    "pack_exception",
    "render_line",
    "render_text",
    "to_json",
    "unpack_exception",
]
