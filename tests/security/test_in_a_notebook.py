"""In a real notebook: what data says is text that nobody obeys, and what is secret is shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernels import CellOutcome

# Markup, a cleared screen, a new title, the line written over, and text that runs from right to left.
EVIL: Final = r"<script>alert(1)</script>\x1b[2J\x1b]0;title\x07\rover\x08\u202e"
COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
OBEYED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ENVIRONMENT: Final = "tell-no-one-environment"
# Put together in the notebook, since the source of a cell that fails is shown.
LOCAL: Final = "tell-no-one-" + "local"


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    with Notebook(env={"SECRET_OF_A_TEST": ENVIRONMENT}) as kernel:
        kernel.run("%load_ext snakepit_nb\n%snakepit config deaths=1000").ok()
        kernel.run("%snakepit start -w 1").ok()
        kernel.run("import threading, time\nfrom snakepit_nb import get_pool").ok()
        yield kernel


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """The workers of a notebook for many tests come and go; its own end is tested elsewhere."""


def shown(cell: CellOutcome) -> Iterator[tuple[str, str]]:
    """The texts below a cell, each with its kind, without colours."""
    for message in cell.messages:
        content = message.content
        if message.kind == "error":
            yield "text/plain", COLOUR.sub("", "\n".join(content["traceback"]))
        elif message.kind == "stream":
            yield "text/plain", COLOUR.sub("", content["text"])
        else:
            for kind, text in content["data"].items():
                yield kind, str(text)


def failing(body: str) -> str:
    return f"%%snakepit\n{body}"


HOSTILE: Final = {
    "message": failing(f"raise ValueError('{EVIL}')"),
    "type": failing(f"raise type('{EVIL}', (Exception,), {{}})('m')"),
    "note": failing(f"error = ValueError('m'); error.add_note('{EVIL}')\nraise error"),
    "file": failing(f"exec(compile('1 / 0', '{EVIL}', 'exec'))"),
    "function": failing(f"def f(): 1 / 0\nf.__code__ = f.__code__.replace(co_name='{EVIL}')\nf()"),
    "group": failing(f"raise ExceptionGroup('{EVIL}', [OSError('{EVIL}')])"),
    "syntax": failing(f"compile('1 +', '{EVIL}', 'exec')"),
    "what_stays": failing(f"x = type('{EVIL}', (), {{'__reduce__': lambda self: 1 / 0}})()"),
    "why_it_stays": failing(
        f"class C:\n    def __reduce__(self):\n        raise ValueError('{EVIL}')\nx = C()"
    ),
    "what_cannot_go": failing("len(key)"),
    "why_it_cannot_go": failing("id(reason)"),
    "line": f"%%snakepit --session {EVIL}\n1",
    "command": f"%snakepit stop {EVIL}",
    "option": f"%snakepit config {EVIL}=1",
    "status": "%snakepit status",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_data_says_is_text(notebook: Notebook, name: str) -> None:
    notebook.run(
        f"key = {{'{EVIL}': threading.Lock()}}\n"
        f"class R:\n    def __reduce__(self):\n        raise ValueError('{EVIL}')\nreason = R()"
    ).ok()
    if name == "status":
        notebook.run(f"future = get_pool().request(time.sleep, (600,), command='{EVIL}')").ok()
    cell = notebook.run(HOSTILE[name])
    if name == "status":
        notebook.run("future.cancel()").ok()
    texts = list(shown(cell))
    assert any("alert(1)" in text for _, text in texts), cell
    for kind, text in texts:
        assert OBEYED.findall(text) == [], text
        if kind == "text/html":
            assert "<script" not in text


def test_a_failed_job_says_so_in_a_line_that_nobody_obeys(notebook: Notebook) -> None:
    cell = notebook.run(f"%%snakepit -b -n failed\nraise ValueError('{EVIL}')").ok()
    notebook.run("failed.exception()").ok()
    notebook.wait_until(lambda: "its result() shows where" in cell.stderr, what="the line of the job")
    assert r"failed: ValueError: <script>alert(1)</script>\x1b[2J" in cell.stderr
    assert OBEYED.findall(cell.stderr) == []


SECRETIVE: Final = {
    "shapes": "held = np.array([password] * 3)\nnp.concatenate([held, held.reshape(3, 1)])",
    "dtypes": "held = np.array([password])\nheld @ 1",
    "column": "table = pd.DataFrame({'alpha': [password]})\ntable['alpah']",
    "key": "rows = {'alpha': password}\nrows['alpah']",
    "name": "pasword = password\npassword.uper()",
    "file": "token = password.upper()\nopen('/no/such/file')",
    "assertion": "assert password == 'x', 'no'",
    "recursion": "def f(given):\n    return f(given)\nf(password)",
    "memory": "held = np.array([password])\nnp.zeros((10**7, 10**7))",
    "module": "token = password.upper()\nimport no_such_module",
    "fails": "token = password.upper()\ndef f(given):\n    mine = given\n    return {}[0]\nf(password)",
    "dies": "token = password.upper()\nimport os\nos.abort()",
    "takes_long": "token = password.upper()\nimport time\ntime.sleep(600)",
    "keeps_what_cannot_travel": "held = (each for each in [password])",
}


def test_what_is_secret_is_shown_nowhere(notebook: Notebook) -> None:
    notebook.run(
        "heard = []\nfrom snakepit_nb import telemetry\n"
        "telemetry.attach_prefix('secrets', 'snakepit', lambda *told: heard.append(told))\n"
        "password = '-'.join(['tell', 'no', 'one', 'local'])\nimport numpy as np, pandas as pd"
    ).ok()
    cells = [
        notebook.run(f"%%snakepit {'-t 0.3' if name == 'takes_long' else ''}\n{body}")
        for name, body in SECRETIVE.items()
    ]
    cells += [notebook.run(f"%snakepit {what}").ok() for what in ("status", "doctor", "config")]
    cells.append(notebook.run("repr(heard)").ok())
    said = [text for cell in cells for _, text in shown(cell)]
    assert sum(cell.error is not None for cell in cells) == len(SECRETIVE) - 1
    # All but what dies, takes too long, or cannot travel.
    assert sum("Try: " in text for text in said) == len(SECRETIVE) - 3
    assert "request" in said[-1]
    # What everybody on the machine may read of a process.
    for pid in (notebook.pid, *notebook.descendants()):
        said += [Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "comm")]
    said.append(notebook.log())
    for text in said:
        for secret in (ENVIRONMENT, LOCAL, LOCAL.upper()):
            assert secret not in text
