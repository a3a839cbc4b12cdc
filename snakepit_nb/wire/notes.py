"""One quiet line below a cell, as a display: not on stderr, which front ends show as an alarm."""

from __future__ import annotations

import html
from typing import Final

from snakepit_nb.errors.render import visible

_FAINT: Final = "color: var(--jp-ui-font-color2, #757575); font-size: 0.9em; padding: 2px 5px"


def quiet_line(text: str) -> dict[str, object]:
    """The display message that shows a line.

    Example:
        >>> quiet_line("nothing was lost")["data"]["text/plain"]
        'snakepit: nothing was lost'
    """
    line = f"snakepit: {visible(text)}"
    faint = f'<div style="{_FAINT}">{html.escape(line)}</div>'
    shown = {"text/plain": line, "text/html": faint}
    return {"type": "display_data", "data": shown, "metadata": {}, "transient": {}}
