"""The timeline as one file of HTML: the same code as the live one, with a keyframe in place of a kernel.

*Rule:* nothing comes from outside and nothing goes there: the page's own policy forbids both, and of scripts
it allows the one that was written here, by its hash.
*Rule:* data is data: it lies in a block that no browser runs, and cannot end it.
*Rule:* where scripts do not run, the static picture is there.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snakepit_nb.dashboard import picture
from snakepit_nb.dashboard.scales import when
from snakepit_nb.dashboard.snapshot import NAME, one_line, read

if TYPE_CHECKING:
    from snakepit_nb.dashboard.snapshot import Frame

_STATIC: Final = Path(__file__).parent / "static"
_TITLE: Final = 100
_PICTURE: Final = 60_000

# The module's exports are names here, since this follows it in the same script.
_START: Final = """
const still = document.getElementById("still");
const told = JSON.parse(document.getElementById("told").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
still.hidden = true;
try {
  await standalone(document.getElementById("timeline"), told.content, told.buffers.map((text) => new DataView(bytes(text).buffer)));
} catch (error) {
  still.hidden = false;
  console.error(error);
}
"""  # noqa: E501 - a line of JavaScript
_STYLE: Final = """
:root { color-scheme: light dark; }
body { margin: 16px; font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
  background: #fff; color: #1f2430; }
h1 { font-size: 18px; margin: 0 0 12px; overflow-wrap: anywhere; }
p { color: #5f6875; font-size: 12px; overflow-wrap: anywhere; }
figure { margin: 0; }
figure img { max-width: 100%; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1014; color: #e8ebf0; }
  p { color: #98a2ae; }
}
"""
_POLICY: Final = (
    "default-src 'none'; script-src 'sha256-{hash}' blob:; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def as_page(frame: Frame, *, title: str) -> str:
    """A keyframe as a page that needs neither a kernel nor a network.

    Example:
        >>> page = as_page(({"summary": {"pool": "default"}}, []), title="</title><script>")
        >>> page.count("&lt;/title&gt;&lt;script&gt;"), page.count("</script>")
        (2, 2)
    """
    shot = read(frame)
    module = (_STATIC / "timeline.js").read_text(encoding="utf-8")
    style = (_STATIC / "timeline.css").read_text(encoding="utf-8").replace("</style", "<\\/style")
    # A script's text ends at the first of these, wherever it stands.
    script = f"{module}\n{_START}".replace("</script", "<\\/script")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    svg = picture.draw(shot, dark=None, largest=_PICTURE)
    image = base64.b64encode(svg.encode()).decode("ascii")
    shown = html.escape(one_line(title, _TITLE))
    said = html.escape(picture.describe(shot))
    written = html.escape(f"Written at {when(shot.origin + shot.now)}.")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(hash=digest)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{shown}</title>
<style>{_STYLE}</style>
<style>{style}</style>
</head>
<body>
<h1>{shown}</h1>
<div id="timeline"></div>
<figure id="still"><img alt="{said}" width="960" src="data:image/svg+xml;base64,{image}"></figure>
<p>{written}</p>
<script type="application/json" id="told">{_data(frame)}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def _data(frame: Frame) -> str:
    """The keyframe as JSON that holds no `<`, so that nothing in it ends its block."""
    content, buffers = frame
    told = {
        "content": {
            **_plain(content),
            "strings": [one_line(each, NAME) for each in content.get("strings", ())],
        },
        "buffers": [base64.b64encode(each).decode("ascii") for each in buffers],
    }
    return json.dumps(told, allow_nan=False).replace("<", "\\u003c")


def _plain(value: Any) -> Any:  # noqa: ANN401 - what JSON holds
    """A value without numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else 0
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
